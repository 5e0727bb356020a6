BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE alias_moves (
	id INTEGER NOT NULL, 
	model_id INTEGER NOT NULL, 
	alias VARCHAR(50) NOT NULL, 
	at DATETIME NOT NULL, 
	"by" VARCHAR(140) NOT NULL, 
	from_version VARCHAR(120), 
	to_version VARCHAR(120), 
	CONSTRAINT pk_alias_moves PRIMARY KEY (id), 
	CONSTRAINT fk_alias_moves_model_id FOREIGN KEY(model_id) REFERENCES models (id)
);
INSERT INTO "alias_moves" VALUES(1,1,'production','2026-11-23 10:21:54.774190','ada',NULL,'1.1.0');
INSERT INTO "alias_moves" VALUES(2,1,'stable','2026-11-23 10:21:54.996052','acme-owner',NULL,'1.0.0');
INSERT INTO "alias_moves" VALUES(3,1,'production','2026-11-23 10:21:55.006766','acme-owner','1.1.0','2.0.0+build.7');
INSERT INTO "alias_moves" VALUES(4,1,'passing','2026-11-23 10:21:55.111965','acme-owner',NULL,'1.0.0');
INSERT INTO "alias_moves" VALUES(5,1,'passing','2026-11-23 10:21:55.116723','acme-owner','1.0.0',NULL);
CREATE TABLE aliases (
	id INTEGER NOT NULL, 
	model_id INTEGER NOT NULL, 
	version_id INTEGER NOT NULL, 
	alias VARCHAR(50) NOT NULL, 
	protected BOOLEAN NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_aliases PRIMARY KEY (id), 
	CONSTRAINT fk_aliases_model_id FOREIGN KEY(model_id) REFERENCES models (id), 
	CONSTRAINT fk_aliases_version_id FOREIGN KEY(version_id) REFERENCES versions (id), 
	CONSTRAINT uq_aliases_model_id_alias UNIQUE (model_id, alias)
);
INSERT INTO "aliases" VALUES(1,1,4,'production',0,'2026-11-23 10:21:54.773644','2026-11-23 10:21:55.004171');
INSERT INTO "aliases" VALUES(2,1,1,'stable',1,'2026-11-23 10:21:54.995913','2026-11-23 10:21:54.995410');
CREATE TABLE audit_events (
	id INTEGER NOT NULL, 
	org_id INTEGER, 
	at DATETIME NOT NULL, 
	actor VARCHAR(140) NOT NULL, 
	token_uuid VARCHAR(36), 
	action VARCHAR(50) NOT NULL, 
	target VARCHAR(400) NOT NULL, 
	details JSON NOT NULL, 
	address VARCHAR(64), 
	request_id VARCHAR(128), 
	CONSTRAINT pk_audit_events PRIMARY KEY (id), 
	CONSTRAINT fk_audit_events_org_id FOREIGN KEY(org_id) REFERENCES orgs (id)
);
INSERT INTO "audit_events" VALUES(1,1,'2026-11-23 10:21:53.280105','system','system','user.create','admin','{"is_admin": true}',NULL,NULL);
INSERT INTO "audit_events" VALUES(2,2,'2026-11-23 10:21:54.361179','admin','e5e1ba15-9ba7-41c9-84f5-e335ccb6937a','user.create','ada','{}','testclient','766421947d914d5eb9a6b3ac37d56ad5');
INSERT INTO "audit_events" VALUES(3,3,'2026-11-23 10:21:54.369487','admin','e5e1ba15-9ba7-41c9-84f5-e335ccb6937a','user.create','bob','{}','testclient','ea09c8875d864c79bb55ac3be45bbaf1');
INSERT INTO "audit_events" VALUES(4,4,'2026-11-23 10:21:54.377355','admin','e5e1ba15-9ba7-41c9-84f5-e335ccb6937a','user.create','eve','{}','testclient','b09bf12747d54b41959045c96cfdd003');
INSERT INTO "audit_events" VALUES(5,5,'2026-11-23 10:21:54.384155','admin','e5e1ba15-9ba7-41c9-84f5-e335ccb6937a','user.create','acme-owner','{}','testclient','5a561b6ef47b441aa88c82fe0dd5e00d');
INSERT INTO "audit_events" VALUES(6,6,'2026-11-23 10:21:54.390031','admin','e5e1ba15-9ba7-41c9-84f5-e335ccb6937a','org.create','acme','{"owner": "acme-owner"}','testclient','af8d2ebbdead4ad0ac32fbcbe30d076b');
INSERT INTO "audit_events" VALUES(7,6,'2026-11-23 10:21:54.405342','acme-owner','1624219b-bada-48db-a628-6c11110a3452','member.add','ada','{"role": "contributor"}','testclient','14d4facc11f146ca83fb6e91903e1973');
INSERT INTO "audit_events" VALUES(8,6,'2026-11-23 10:21:54.432148','acme-owner','1624219b-bada-48db-a628-6c11110a3452','member.add','bob','{"role": "reader"}','testclient','e1f03af837694a2f8391b7f2b948ed44');
INSERT INTO "audit_events" VALUES(9,6,'2026-11-23 10:21:54.444592','acme-owner','1624219b-bada-48db-a628-6c11110a3452','service_account.add','ci','{"role": "contributor"}','testclient','22ff9ff24e99449f9de67d6c19efe805');
INSERT INTO "audit_events" VALUES(10,6,'2026-11-23 10:21:54.450426','acme-owner','1624219b-bada-48db-a628-6c11110a3452','token.create','service:acme/ci/473d7994-b070-4b6e-a65d-ffe34675bc49','{"name": "pipeline"}','testclient','262c19470dd547fd937d55257181fe88');
INSERT INTO "audit_events" VALUES(11,3,'2026-11-23 10:21:54.455385','bob','1d5f2352-47df-4a55-b5d9-27ed776ab41b','token.create','bob/9fff1525-7179-4f3f-85cf-152a761fb068','{"name": "lost"}','testclient','f38605ae9a5e4835913651c55edfa0a0');
INSERT INTO "audit_events" VALUES(12,3,'2026-11-23 10:21:54.461150','bob','1d5f2352-47df-4a55-b5d9-27ed776ab41b','token.revoke','bob/9fff1525-7179-4f3f-85cf-152a761fb068','{"name": "lost"}','testclient','92c22b6d38ad4c93ada3d3d07e69f1f8');
INSERT INTO "audit_events" VALUES(13,4,'2026-11-23 10:21:54.465609','admin','e5e1ba15-9ba7-41c9-84f5-e335ccb6937a','user.update','eve','{"disabled": true}','testclient','7d0d4a5a63d5410ab3d07c11693f3a84');
INSERT INTO "audit_events" VALUES(14,6,'2026-11-23 10:21:54.610221','ada','5c1942d7-4bba-4597-a115-355f861e1a90','model.create','acme/Tiny.Net','{"is_public": false}','testclient','6c973e5af3a04455b1dd3b83b5e4930d');
INSERT INTO "audit_events" VALUES(15,6,'2026-11-23 10:21:54.618285','ada','5c1942d7-4bba-4597-a115-355f861e1a90','version.publish','acme/Tiny.Net:1.0.0','{"files": 2, "via": "api"}','testclient','6c973e5af3a04455b1dd3b83b5e4930d');
INSERT INTO "audit_events" VALUES(16,6,'2026-11-23 10:21:54.774337','ada','5c1942d7-4bba-4597-a115-355f861e1a90','alias.set','acme/Tiny.Net:production','{"before": null, "after": "1.1.0"}','testclient','7d05729013344e14b5a28d49767b0ecd');
INSERT INTO "audit_events" VALUES(17,6,'2026-11-23 10:21:54.774634','ada','5c1942d7-4bba-4597-a115-355f861e1a90','version.publish','acme/Tiny.Net:1.1.0','{"files": 2, "via": "api"}','testclient','7d05729013344e14b5a28d49767b0ecd');
INSERT INTO "audit_events" VALUES(18,6,'2026-11-23 10:21:54.924310','ada','5c1942d7-4bba-4597-a115-355f861e1a90','version.publish','acme/Tiny.Net:2.0.0-rc.1','{"files": 2, "via": "api"}','testclient','ca6bfdd0a2bb46188bf3aac9aa9ee8f2');
INSERT INTO "audit_events" VALUES(19,6,'2026-11-23 10:21:54.982504','ada','5c1942d7-4bba-4597-a115-355f861e1a90','version.publish','acme/Tiny.Net:2.0.0+build.7','{"files": 2, "via": "api"}','testclient','6f2466dc78d44ecba42248d6e2042540');
INSERT INTO "audit_events" VALUES(20,6,'2026-11-23 10:21:54.996402','acme-owner','1624219b-bada-48db-a628-6c11110a3452','alias.protect','acme/Tiny.Net:stable','{}','testclient','a39eda51a8e6401ca8b8a2f5cf008812');
INSERT INTO "audit_events" VALUES(21,6,'2026-11-23 10:21:54.996403','acme-owner','1624219b-bada-48db-a628-6c11110a3452','alias.set','acme/Tiny.Net:stable','{"before": null, "after": "1.0.0"}','testclient','a39eda51a8e6401ca8b8a2f5cf008812');
INSERT INTO "audit_events" VALUES(22,6,'2026-11-23 10:21:55.006860','acme-owner','1624219b-bada-48db-a628-6c11110a3452','alias.set','acme/Tiny.Net:production','{"before": "1.1.0", "after": "2.0.0+build.7"}','testclient','57de582c6cd047a585568241087d4291');
INSERT INTO "audit_events" VALUES(23,6,'2026-11-23 10:21:55.112053','acme-owner','1624219b-bada-48db-a628-6c11110a3452','alias.set','acme/Tiny.Net:passing','{"before": null, "after": "1.0.0"}','testclient','d760890e976540a0ad61311a23d65273');
INSERT INTO "audit_events" VALUES(24,6,'2026-11-23 10:21:55.116816','acme-owner','1624219b-bada-48db-a628-6c11110a3452','alias.remove','acme/Tiny.Net:passing','{"before": "1.0.0", "after": null}','testclient','e874412e169b4553b515b91d5fc94dda');
INSERT INTO "audit_events" VALUES(25,6,'2026-11-23 10:21:55.121443','acme-owner','1624219b-bada-48db-a628-6c11110a3452','version.metrics','acme/Tiny.Net:1.0.0','{"keys": ["accuracy", "loss", "note"]}','testclient','1ff29f95165f4476b7341e42b8751351');
INSERT INTO "audit_events" VALUES(26,6,'2026-11-23 10:21:55.128026','acme-owner','1624219b-bada-48db-a628-6c11110a3452','version.yank','acme/Tiny.Net:1.1.0','{"reason": "wrong labels"}','testclient','22b811a4cedd46f6a2bf2a443a9ba22f');
INSERT INTO "audit_events" VALUES(27,2,'2026-11-23 10:21:55.253600','ada','5c1942d7-4bba-4597-a115-355f861e1a90','model.create','ada/open','{"is_public": true}','testclient','76af7ae7ef9043e4a7d5bb4b6a75e339');
INSERT INTO "audit_events" VALUES(28,2,'2026-11-23 10:21:55.256577','ada','5c1942d7-4bba-4597-a115-355f861e1a90','version.publish','ada/open:1.0.0','{"files": 1, "via": "api"}','testclient','76af7ae7ef9043e4a7d5bb4b6a75e339');
INSERT INTO "audit_events" VALUES(29,2,'2026-11-23 10:21:55.283926','ada','5c1942d7-4bba-4597-a115-355f861e1a90','version.publish','ada/open:1.1.0','{"files": 2, "via": "api"}','testclient','a5653afdd261432baab660d416697951');
INSERT INTO "audit_events" VALUES(30,2,'2026-11-23 10:21:55.319041','ada','5c1942d7-4bba-4597-a115-355f861e1a90','version.publish','ada/open:1.2.0','{"files": 1, "via": "api"}','testclient','1c9b7893c7c64f5491a71ff37dd446e0');
INSERT INTO "audit_events" VALUES(31,2,'2026-11-23 10:21:55.343371','ada','5c1942d7-4bba-4597-a115-355f861e1a90','version.delete','ada/open:1.2.0','{}','testclient','f08c2b30b0e5411cb14851b5626e4adb');
INSERT INTO "audit_events" VALUES(32,2,'2026-11-23 10:21:55.430747','ada','5c1942d7-4bba-4597-a115-355f861e1a90','model.create','ada/gone','{"is_public": false}','testclient','7ba2f18885b247a49a3a19e704f8b828');
INSERT INTO "audit_events" VALUES(33,2,'2026-11-23 10:21:55.435339','ada','5c1942d7-4bba-4597-a115-355f861e1a90','version.publish','ada/gone:1.0.0','{"files": 1, "via": "api"}','testclient','7ba2f18885b247a49a3a19e704f8b828');
INSERT INTO "audit_events" VALUES(34,2,'2026-11-23 10:21:55.502710','ada','5c1942d7-4bba-4597-a115-355f861e1a90','model.delete','ada/gone','{"versions": 1}','testclient','fe061a95d62e42aa9cf23e64f65826c3');
INSERT INTO "audit_events" VALUES(35,2,'2026-11-23 10:21:55.586332','ada','5c1942d7-4bba-4597-a115-355f861e1a90','version.publish','ada/open:1.3.0','{"files": 1, "via": "api"}','testclient','8c4f2f36f6954e01bd48a5fcf9103580');
CREATE TABLE blobs (
	id INTEGER NOT NULL, 
	oid VARCHAR(71) NOT NULL, 
	size_bytes INTEGER NOT NULL, 
	"key" VARCHAR(80) NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_blobs PRIMARY KEY (id), 
	CONSTRAINT uq_blobs_key UNIQUE ("key"), 
	CONSTRAINT uq_blobs_oid UNIQUE (oid)
);
INSERT INTO "blobs" VALUES(1,'sha256:2fe8486376633e7abce2271996f0d544771c390b33f25346c2b097b3b947c48c',16,'2fe8486376633e7abce2271996f0d544771c390b33f25346c2b097b3b947c48c.6a49642e','2026-11-23 10:21:54.499703');
INSERT INTO "blobs" VALUES(2,'sha256:3f22095641508576e91dc7c6c7f7e08a093985d53ea998043c6619ad240dc92c',7,'3f22095641508576e91dc7c6c7f7e08a093985d53ea998043c6619ad240dc92c.53bf7ea9','2026-11-23 10:21:54.530223');
INSERT INTO "blobs" VALUES(3,'sha256:d6dbbac855bb5be2d3e9eadbe48f523e0554187e22ef0391d99b79918aec91a8',16,'d6dbbac855bb5be2d3e9eadbe48f523e0554187e22ef0391d99b79918aec91a8.c8b545a3','2026-11-23 10:21:54.728477');
INSERT INTO "blobs" VALUES(4,'sha256:86ccc3805261f610f3947be3bbc3a0a7e42cf40757efd91cce6a9adec5ec9f4d',21,'86ccc3805261f610f3947be3bbc3a0a7e42cf40757efd91cce6a9adec5ec9f4d.7f57f035','2026-11-23 10:21:54.900751');
INSERT INTO "blobs" VALUES(5,'sha256:7626bf7f61eca9be2362bb1e93f443c47bf3a1cdadf21e5285eea1a627c55541',24,'7626bf7f61eca9be2362bb1e93f443c47bf3a1cdadf21e5285eea1a627c55541.3402941c','2026-11-23 10:21:54.967206');
INSERT INTO "blobs" VALUES(6,'sha256:b1285bd3db1d1f8beb7a291c97d31b957ae758768cbb811a5d26e461e4111892',12,'b1285bd3db1d1f8beb7a291c97d31b957ae758768cbb811a5d26e461e4111892.fd188b92','2026-11-23 10:21:55.240093');
INSERT INTO "blobs" VALUES(7,'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',0,'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855.bb312b8b','2026-11-23 10:21:55.271699');
INSERT INTO "blobs" VALUES(8,'sha256:5e6b92178f0b4743f13acad7fe4daa662191bd31695798fff4768928fd717e77',13,'5e6b92178f0b4743f13acad7fe4daa662191bd31695798fff4768928fd717e77.37f39bb2','2026-11-23 10:21:55.298382');
INSERT INTO "blobs" VALUES(9,'sha256:e7b957895f21176b2b9c1e4d9cc3d7c2c53d3a200b63215b7a64a46214a00b9e',10,'e7b957895f21176b2b9c1e4d9cc3d7c2c53d3a200b63215b7a64a46214a00b9e.bd1b5552','2026-11-23 10:21:55.412190');
CREATE TABLE download_hits (
	version_id INTEGER NOT NULL, 
	principal VARCHAR(64) NOT NULL, 
	hour INTEGER NOT NULL, 
	CONSTRAINT pk_download_hits PRIMARY KEY (version_id, principal, hour), 
	CONSTRAINT fk_download_hits_version_id FOREIGN KEY(version_id) REFERENCES versions (id) ON DELETE CASCADE
);
INSERT INTO "download_hits" VALUES(1,'user:787ef953-67b9-4e14-8701-9e50edbec0c0',498730);
CREATE TABLE downloads (
	id INTEGER NOT NULL, 
	uuid VARCHAR(36) NOT NULL, 
	org_id INTEGER NOT NULL, 
	version_id INTEGER, 
	model_name VARCHAR(96) NOT NULL, 
	model_version VARCHAR(120) NOT NULL, 
	format VARCHAR(20) NOT NULL, 
	status VARCHAR(20) NOT NULL, 
	principal VARCHAR(50) NOT NULL, 
	user_uuid VARCHAR(36), 
	file_size_bytes INTEGER, 
	created_at DATETIME NOT NULL, 
	completed_at DATETIME, 
	CONSTRAINT pk_downloads PRIMARY KEY (id), 
	CONSTRAINT fk_downloads_org_id FOREIGN KEY(org_id) REFERENCES orgs (id), 
	CONSTRAINT fk_downloads_version_id FOREIGN KEY(version_id) REFERENCES versions (id) ON DELETE SET NULL, 
	CONSTRAINT uq_downloads_uuid UNIQUE (uuid)
);
INSERT INTO "downloads" VALUES(1,'dde59387-8e46-4988-9ce8-a692eafa8109',6,1,'Tiny.Net','1.0.0','tar','ready','user:787ef953-67b9-4e14-8701-9e50edbec0c0','787ef953-67b9-4e14-8701-9e50edbec0c0',23,'2026-11-23 10:21:55.827489','2026-11-23 10:21:55.827489');
CREATE TABLE garbage (
	"key" VARCHAR(80) NOT NULL, 
	at DATETIME NOT NULL, 
	CONSTRAINT pk_garbage PRIMARY KEY ("key")
);
CREATE TABLE idempotency_keys (
	model_id INTEGER NOT NULL, 
	principal VARCHAR(50) NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	request_sha256 BLOB NOT NULL, 
	version VARCHAR(120) NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_idempotency_keys PRIMARY KEY (model_id, principal, "key"), 
	CONSTRAINT fk_idempotency_keys_model_id FOREIGN KEY(model_id) REFERENCES models (id) ON DELETE CASCADE
);
INSERT INTO "idempotency_keys" VALUES(2,'user:1509e059-dc52-4f23-abf2-204578eff64a','the-same-again',X'7F411981296A4476DB5B5425F8C56769DC428A9DDBEE29E843377A004FAF4403','1.3.0','2026-11-23 10:21:55.585268');
CREATE TABLE members (
	org_id INTEGER NOT NULL, 
	user_id INTEGER NOT NULL, 
	role VARCHAR(20) NOT NULL, 
	added_at DATETIME NOT NULL, 
	CONSTRAINT pk_members PRIMARY KEY (org_id, user_id), 
	CONSTRAINT fk_members_org_id FOREIGN KEY(org_id) REFERENCES orgs (id), 
	CONSTRAINT fk_members_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);
INSERT INTO "members" VALUES(1,1,'owner','2026-11-23 10:21:53.274025');
INSERT INTO "members" VALUES(2,2,'owner','2026-11-23 10:21:54.360584');
INSERT INTO "members" VALUES(3,3,'owner','2026-11-23 10:21:54.367048');
INSERT INTO "members" VALUES(4,4,'owner','2026-11-23 10:21:54.376868');
INSERT INTO "members" VALUES(5,5,'owner','2026-11-23 10:21:54.383681');
INSERT INTO "members" VALUES(6,5,'owner','2026-11-23 10:21:54.389866');
INSERT INTO "members" VALUES(6,2,'contributor','2026-11-23 10:21:54.405139');
INSERT INTO "members" VALUES(6,3,'reader','2026-11-23 10:21:54.431927');
CREATE TABLE model_facets (
	model_id INTEGER NOT NULL, 
	kind VARCHAR(20) NOT NULL, 
	value VARCHAR(200) NOT NULL, 
	CONSTRAINT pk_model_facets PRIMARY KEY (model_id, kind, value), 
	CONSTRAINT fk_model_facets_model_id FOREIGN KEY(model_id) REFERENCES models (id) ON DELETE CASCADE
);
INSERT INTO "model_facets" VALUES(1,'framework','safetensors');
INSERT INTO "model_facets" VALUES(1,'size_category','tiny');
INSERT INTO "model_facets" VALUES(2,'framework','pytorch');
INSERT INTO "model_facets" VALUES(2,'size_category','tiny');
CREATE TABLE models (
	id INTEGER NOT NULL, 
	org_id INTEGER NOT NULL, 
	name VARCHAR(96) NOT NULL, 
	name_key VARCHAR(96) NOT NULL, 
	is_public BOOLEAN NOT NULL, 
	latest_version_id INTEGER, 
	search_text TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_models PRIMARY KEY (id), 
	CONSTRAINT fk_models_org_id FOREIGN KEY(org_id) REFERENCES orgs (id), 
	CONSTRAINT uq_models_org_id_name_key UNIQUE (org_id, name_key)
);
INSERT INTO "models" VALUES(1,6,'Tiny.Net','tiny.net',0,4,'acme/tiny.net
with build metadata','2026-11-23 10:21:54.609716','2026-11-23 10:21:55.127411');
INSERT INTO "models" VALUES(2,2,'open','open',1,7,'ada/open
','2026-11-23 10:21:55.253328','2026-11-23 10:21:55.585725');
CREATE TABLE org_blobs (
	org_id INTEGER NOT NULL, 
	blob_id INTEGER NOT NULL, 
	touched_at DATETIME NOT NULL, 
	CONSTRAINT pk_org_blobs PRIMARY KEY (org_id, blob_id), 
	CONSTRAINT fk_org_blobs_blob_id FOREIGN KEY(blob_id) REFERENCES blobs (id), 
	CONSTRAINT fk_org_blobs_org_id FOREIGN KEY(org_id) REFERENCES orgs (id)
);
INSERT INTO "org_blobs" VALUES(6,1,'2026-11-23 10:21:54.500747');
INSERT INTO "org_blobs" VALUES(6,2,'2026-11-23 10:21:54.948944');
INSERT INTO "org_blobs" VALUES(6,3,'2026-11-23 10:21:54.729350');
INSERT INTO "org_blobs" VALUES(6,4,'2026-11-23 10:21:54.901301');
INSERT INTO "org_blobs" VALUES(6,5,'2026-11-23 10:21:54.967625');
INSERT INTO "org_blobs" VALUES(2,6,'2026-11-23 10:21:55.263712');
INSERT INTO "org_blobs" VALUES(2,7,'2026-11-23 10:21:55.272286');
INSERT INTO "org_blobs" VALUES(2,8,'2026-11-23 10:21:55.334958');
INSERT INTO "org_blobs" VALUES(2,9,'2026-11-23 10:21:55.448415');
CREATE TABLE orgs (
	id INTEGER NOT NULL, 
	uuid VARCHAR(36) NOT NULL, 
	slug VARCHAR(64) NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_orgs PRIMARY KEY (id), 
	CONSTRAINT uq_orgs_slug UNIQUE (slug), 
	CONSTRAINT uq_orgs_uuid UNIQUE (uuid)
);
INSERT INTO "orgs" VALUES(1,'eafb30fd-ddc0-4732-848f-3388fa1d6bfc','admin','admin','2026-11-23 10:21:53.271446','2026-11-23 10:21:53.271449');
INSERT INTO "orgs" VALUES(2,'d7ad4219-9b01-41a0-91d5-7806c66b31d7','ada','ada','2026-11-23 10:21:54.360400','2026-11-23 10:21:54.360401');
INSERT INTO "orgs" VALUES(3,'f59334e0-d153-4ebf-b00b-65f5f3cee16a','bob','bob','2026-11-23 10:21:54.366894','2026-11-23 10:21:54.366895');
INSERT INTO "orgs" VALUES(4,'65c047f5-e010-445f-93ba-2b566d75bb0f','eve','eve','2026-11-23 10:21:54.376713','2026-11-23 10:21:54.376714');
INSERT INTO "orgs" VALUES(5,'01cbd183-0765-470b-837e-20fda6386f29','acme-owner','acme-owner','2026-11-23 10:21:54.383532','2026-11-23 10:21:54.383533');
INSERT INTO "orgs" VALUES(6,'6e0f5956-6b75-49db-bcd7-b199e9f46c0a','acme','acme','2026-11-23 10:21:54.389700','2026-11-23 10:21:54.389702');
CREATE TABLE service_accounts (
	id INTEGER NOT NULL, 
	uuid VARCHAR(36) NOT NULL, 
	org_id INTEGER NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	role VARCHAR(20) NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_service_accounts PRIMARY KEY (id), 
	CONSTRAINT fk_service_accounts_org_id FOREIGN KEY(org_id) REFERENCES orgs (id), 
	CONSTRAINT uq_service_accounts_org_id_name UNIQUE (org_id, name), 
	CONSTRAINT uq_service_accounts_uuid UNIQUE (uuid)
);
INSERT INTO "service_accounts" VALUES(1,'131cd4c2-57e1-4fc0-a8d2-c23e180ea3af',6,'ci','contributor','2026-11-23 10:21:54.444261');
CREATE TABLE signing_keys (
	id INTEGER NOT NULL, 
	secret BLOB NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_signing_keys PRIMARY KEY (id)
);
INSERT INTO "signing_keys" VALUES(1,X'B9DD3FC4BBB1C7387F9F6B63AF79584E79CB08D6B1FF65EE17070D7448FA98F0','2026-11-23 10:21:53.245656');
CREATE TABLE spent_versions (
	org_id INTEGER NOT NULL, 
	name_key VARCHAR(96) NOT NULL, 
	version VARCHAR(120) NOT NULL, 
	deleted_at DATETIME NOT NULL, 
	CONSTRAINT pk_spent_versions PRIMARY KEY (org_id, name_key, version), 
	CONSTRAINT fk_spent_versions_org_id FOREIGN KEY(org_id) REFERENCES orgs (id)
);
INSERT INTO "spent_versions" VALUES(2,'open','1.2.0','2026-11-23 10:21:55.330308');
INSERT INTO "spent_versions" VALUES(2,'gone','1.0.0','2026-11-23 10:21:55.448058');
CREATE TABLE tokens (
	id INTEGER NOT NULL, 
	uuid VARCHAR(36) NOT NULL, 
	secret_sha256 BLOB NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	user_id INTEGER, 
	service_account_id INTEGER, 
	org_id INTEGER, 
	access VARCHAR(10) NOT NULL, 
	created_at DATETIME NOT NULL, 
	expires_at DATETIME, 
	revoked_at DATETIME, 
	last_used_at DATETIME, 
	CONSTRAINT pk_tokens PRIMARY KEY (id), 
	CONSTRAINT fk_tokens_org_id FOREIGN KEY(org_id) REFERENCES orgs (id), 
	CONSTRAINT fk_tokens_service_account_id FOREIGN KEY(service_account_id) REFERENCES service_accounts (id), 
	CONSTRAINT fk_tokens_user_id FOREIGN KEY(user_id) REFERENCES users (id), 
	CONSTRAINT uq_tokens_secret_sha256 UNIQUE (secret_sha256), 
	CONSTRAINT uq_tokens_uuid UNIQUE (uuid)
);
INSERT INTO "tokens" VALUES(1,'e5e1ba15-9ba7-41c9-84f5-e335ccb6937a',X'588CBA7A4054BB3D7100693F2181F982BF86AF71879E8634778F50F83ECBE904','first token',1,NULL,NULL,'write','2026-11-23 10:21:53.276959',NULL,NULL,'2026-11-23 10:21:54.463641');
INSERT INTO "tokens" VALUES(2,'5c1942d7-4bba-4597-a115-355f861e1a90',X'E64730807319D1F5C260354E5ABB88ACE2F4AA66C83A5AA0351CE0E16438F8D7','first token',2,NULL,NULL,'write','2026-11-23 10:21:54.360782',NULL,NULL,'2026-11-23 10:21:56.011223');
INSERT INTO "tokens" VALUES(3,'1d5f2352-47df-4a55-b5d9-27ed776ab41b',X'249877C35F8239C7F6580EDA906F3E3C1AD4FA99DB67E12EC052840920C9A3F4','first token',3,NULL,NULL,'write','2026-11-23 10:21:54.367666',NULL,NULL,'2026-11-23 10:21:55.848232');
INSERT INTO "tokens" VALUES(4,'fe1b51d3-59c4-4168-96e3-d7b6df323162',X'07B05CEA633B858C2B3B20102C0EB3D0807DB68E11D21C04E7EBBBDB4AD89C7A','first token',4,NULL,NULL,'write','2026-11-23 10:21:54.377035',NULL,NULL,NULL);
INSERT INTO "tokens" VALUES(5,'1624219b-bada-48db-a628-6c11110a3452',X'E6E716E5E77FD1F96E422FEB5AEF6E498B5231D5ECDF635D93DDC00B433301AD','first token',5,NULL,NULL,'write','2026-11-23 10:21:54.383841',NULL,NULL,'2026-11-23 10:21:56.032745');
INSERT INTO "tokens" VALUES(6,'473d7994-b070-4b6e-a65d-ffe34675bc49',X'0FEFED76D8F769AF0F7045297A3DBB58B2B8A4964387106DE73084FC8FC57038','pipeline',NULL,1,6,'write','2026-11-23 10:21:54.450128',NULL,NULL,NULL);
INSERT INTO "tokens" VALUES(7,'9fff1525-7179-4f3f-85cf-152a761fb068',X'C810DA12627C93E02308477C34B104899203FBDDED1CBEDCC84A57918057BFB6','lost',3,NULL,NULL,'write','2026-11-23 10:21:54.455030',NULL,'2026-11-23 10:21:54.460955',NULL);
CREATE TABLE tree_blobs (
	blob_id INTEGER NOT NULL, 
	tree_id INTEGER NOT NULL, 
	CONSTRAINT pk_tree_blobs PRIMARY KEY (blob_id, tree_id), 
	CONSTRAINT fk_tree_blobs_blob_id FOREIGN KEY(blob_id) REFERENCES blobs (id), 
	CONSTRAINT fk_tree_blobs_tree_id FOREIGN KEY(tree_id) REFERENCES trees (id) ON DELETE CASCADE
)
 WITHOUT ROWID

;
INSERT INTO "tree_blobs" VALUES(1,1);
INSERT INTO "tree_blobs" VALUES(2,1);
INSERT INTO "tree_blobs" VALUES(2,2);
INSERT INTO "tree_blobs" VALUES(3,2);
INSERT INTO "tree_blobs" VALUES(2,3);
INSERT INTO "tree_blobs" VALUES(4,3);
INSERT INTO "tree_blobs" VALUES(2,4);
INSERT INTO "tree_blobs" VALUES(5,4);
INSERT INTO "tree_blobs" VALUES(6,5);
INSERT INTO "tree_blobs" VALUES(6,6);
INSERT INTO "tree_blobs" VALUES(7,6);
INSERT INTO "tree_blobs" VALUES(6,7);
CREATE TABLE trees (
	id INTEGER NOT NULL, 
	files JSON NOT NULL, 
	file_count INTEGER NOT NULL, 
	size_bytes INTEGER NOT NULL, 
	CONSTRAINT pk_trees PRIMARY KEY (id)
);
INSERT INTO "trees" VALUES(1,'[["README.md", "sha256:3f22095641508576e91dc7c6c7f7e08a093985d53ea998043c6619ad240dc92c", 7], ["model.safetensors", "sha256:2fe8486376633e7abce2271996f0d544771c390b33f25346c2b097b3b947c48c", 16]]',2,23);
INSERT INTO "trees" VALUES(2,'[["README.md", "sha256:3f22095641508576e91dc7c6c7f7e08a093985d53ea998043c6619ad240dc92c", 7], ["model.safetensors", "sha256:d6dbbac855bb5be2d3e9eadbe48f523e0554187e22ef0391d99b79918aec91a8", 16]]',2,23);
INSERT INTO "trees" VALUES(3,'[["README.md", "sha256:3f22095641508576e91dc7c6c7f7e08a093985d53ea998043c6619ad240dc92c", 7], ["model.safetensors", "sha256:86ccc3805261f610f3947be3bbc3a0a7e42cf40757efd91cce6a9adec5ec9f4d", 21]]',2,28);
INSERT INTO "trees" VALUES(4,'[["README.md", "sha256:3f22095641508576e91dc7c6c7f7e08a093985d53ea998043c6619ad240dc92c", 7], ["model.safetensors", "sha256:7626bf7f61eca9be2362bb1e93f443c47bf3a1cdadf21e5285eea1a627c55541", 24]]',2,31);
INSERT INTO "trees" VALUES(5,'[["a.bin", "sha256:b1285bd3db1d1f8beb7a291c97d31b957ae758768cbb811a5d26e461e4111892", 12]]',1,12);
INSERT INTO "trees" VALUES(6,'[["a.bin", "sha256:b1285bd3db1d1f8beb7a291c97d31b957ae758768cbb811a5d26e461e4111892", 12], ["b/c.bin", "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", 0]]',2,12);
INSERT INTO "trees" VALUES(7,'[["a.bin", "sha256:b1285bd3db1d1f8beb7a291c97d31b957ae758768cbb811a5d26e461e4111892", 12]]',1,12);
CREATE TABLE upload_parts (
	upload_id VARCHAR(32) NOT NULL, 
	number INTEGER NOT NULL, 
	CONSTRAINT pk_upload_parts PRIMARY KEY (upload_id, number), 
	CONSTRAINT fk_upload_parts_upload_id FOREIGN KEY(upload_id) REFERENCES uploads (id) ON DELETE CASCADE
);
INSERT INTO "upload_parts" VALUES('cf98dd4bb0614278a92dd87dfb284ae6',1);
INSERT INTO "upload_parts" VALUES('cf98dd4bb0614278a92dd87dfb284ae6',3);
CREATE TABLE uploads (
	id VARCHAR(32) NOT NULL, 
	org_id INTEGER NOT NULL, 
	principal VARCHAR(50) NOT NULL, 
	oid VARCHAR(71) NOT NULL, 
	size_bytes INTEGER NOT NULL, 
	part_size_bytes INTEGER NOT NULL, 
	"key" VARCHAR(80), 
	state VARCHAR(10) NOT NULL, 
	failure TEXT, 
	created_at DATETIME NOT NULL, 
	touched_at DATETIME NOT NULL, 
	CONSTRAINT pk_uploads PRIMARY KEY (id), 
	CONSTRAINT fk_uploads_org_id FOREIGN KEY(org_id) REFERENCES orgs (id)
);
INSERT INTO "uploads" VALUES('cf98dd4bb0614278a92dd87dfb284ae6',2,'user:1509e059-dc52-4f23-abf2-204578eff64a','sha256:6018a70f09e53d07ad99cde3bc4a15d00371d6217fcfd5ad86cd2cf8bbfe087c',196608,65536,NULL,'open',NULL,'2026-11-23 10:21:55.872378','2026-11-23 10:21:55.943486');
INSERT INTO "uploads" VALUES('20c9f77ea1a04840b39f83b7387ccfb9',2,'user:1509e059-dc52-4f23-abf2-204578eff64a','sha256:23efd0ab117e71dc3accb6d524b7c4f41ded0107d594aef8d4caadb3052d7ada',10,65536,NULL,'open',NULL,'2026-11-23 10:21:55.953874','2026-11-23 10:21:55.953876');
CREATE TABLE users (
	id INTEGER NOT NULL, 
	uuid VARCHAR(36) NOT NULL, 
	username VARCHAR(64) NOT NULL, 
	email_address VARCHAR(320), 
	is_admin BOOLEAN NOT NULL, 
	disabled_at DATETIME, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_users PRIMARY KEY (id), 
	CONSTRAINT uq_users_username UNIQUE (username), 
	CONSTRAINT uq_users_uuid UNIQUE (uuid)
);
INSERT INTO "users" VALUES(1,'156e3b1b-428a-4220-8d36-1aef0bc12e00','admin',NULL,1,NULL,'2026-11-23 10:21:53.267749');
INSERT INTO "users" VALUES(2,'1509e059-dc52-4f23-abf2-204578eff64a','ada','ada@example.com',0,NULL,'2026-11-23 10:21:54.359973');
INSERT INTO "users" VALUES(3,'787ef953-67b9-4e14-8701-9e50edbec0c0','bob','bob@example.com',0,NULL,'2026-11-23 10:21:54.366555');
INSERT INTO "users" VALUES(4,'31cafe0c-adee-4f31-b308-be8fa9831191','eve','eve@example.com',0,'2026-11-23 10:21:54.464509','2026-11-23 10:21:54.376404');
INSERT INTO "users" VALUES(5,'90b5ea9d-b12e-4c0f-ba05-e61b9c8570d3','acme-owner','acme-owner@example.com',0,NULL,'2026-11-23 10:21:54.383228');
CREATE TABLE versions (
	id INTEGER NOT NULL, 
	uuid VARCHAR(36) NOT NULL, 
	model_id INTEGER NOT NULL, 
	version VARCHAR(120) NOT NULL, 
	precedence BLOB NOT NULL, 
	standing SMALLINT NOT NULL, 
	yank_reason TEXT, 
	yanked_at DATETIME, 
	tree_id INTEGER NOT NULL, 
	artifacts_hash VARCHAR(71) NOT NULL, 
	content_sha256 BLOB NOT NULL, 
	size_bytes INTEGER NOT NULL, 
	framework VARCHAR(100) NOT NULL, 
	summary TEXT, 
	description TEXT, 
	task TEXT, 
	architecture TEXT, 
	base_model TEXT, 
	license TEXT, 
	pretty_name TEXT, 
	size_category VARCHAR(100), 
	tags JSON, 
	language JSON, 
	task_categories JSON, 
	dataset_refs JSON, 
	metrics JSON, 
	origin JSON NOT NULL, 
	parents JSON NOT NULL, 
	download_count INTEGER NOT NULL, 
	created_by_user_id INTEGER, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_versions PRIMARY KEY (id), 
	CONSTRAINT fk_versions_created_by_user_id FOREIGN KEY(created_by_user_id) REFERENCES users (id), 
	CONSTRAINT fk_versions_model_id FOREIGN KEY(model_id) REFERENCES models (id), 
	CONSTRAINT fk_versions_tree_id FOREIGN KEY(tree_id) REFERENCES trees (id), 
	CONSTRAINT uq_versions_model_id_version UNIQUE (model_id, version), 
	CONSTRAINT uq_versions_uuid UNIQUE (uuid)
);
INSERT INTO "versions" VALUES(1,'82e78ca6-907e-4ad3-8540-0142ceed989a',1,'1.0.0',X'01310130013003',2,NULL,NULL,1,'sha256:9fff049876a6a5e662809ebaf0fb72a8f89865fe535ed2e366cb58d276582a0b',X'1E32C163B033C23A31F2660FB3BE85DCC1FAADB948C87C5187AE45E0B4ED240F',23,'safetensors','the first — größer als nichts','# Card

line ''two'' "quoted" \ back; 🦀',NULL,NULL,NULL,'mit',NULL,'tiny','["vision", "Gr\u00f6\u00dfe"]','null','["image-classification"]','null','{"accuracy": 0.75, "big": 9007199254740992, "loss": 0.001}','{"registry": {"published_by": "ada", "via": "api", "at": "2026-11-23T10:21:54.610885Z"}}','[]',1,2,'2026-11-23 10:21:54.610885','2026-11-23 10:21:55.121287');
INSERT INTO "versions" VALUES(2,'dc6fc0bd-14e6-4ddf-bf71-2498ad8d70af',1,'1.1.0',X'01310131013003',0,'wrong labels','2026-11-23 10:21:55.126682',2,'sha256:c4ebf4f0da2cbd9014aecfa987fd0a17d71cae38157b86b540a4b481afcbe28f',X'EC04AC45A991CF49C2DB43197046E5708CFC6BA37DFBF0F751F2EBCD542D68E9',23,'safetensors','second',NULL,NULL,NULL,NULL,NULL,NULL,'tiny','null','null','null','["acme/data", {"name": "d", "rows": 3}]','null','{"registry": {"published_by": "ada", "via": "api", "at": "2026-11-23T10:21:54.770694Z"}}','[]',0,2,'2026-11-23 10:21:54.770694','2026-11-23 10:21:55.126696');
INSERT INTO "versions" VALUES(3,'63bf6bb6-3974-46e1-a053-827592a7138c',1,'2.0.0-rc.1',X'013201300130027263010131',1,NULL,NULL,3,'sha256:55e7543681f48059eb55077c543f84d861368abd1ef7ccdc82ef5d56c4efa4ea',X'B55B2E53F89E0EF3047464DA73C4DD2D1E2449A1130301E0C8A406D9BE75B41B',28,'safetensors','candidate',NULL,NULL,NULL,NULL,NULL,NULL,'tiny','null','null','null','null','null','{"registry": {"published_by": "ada", "via": "api", "at": "2026-11-23T10:21:54.917924Z"}}','[]',0,2,'2026-11-23 10:21:54.917924','2026-11-23 10:21:54.917924');
INSERT INTO "versions" VALUES(4,'f96430f5-2b91-4b47-bac9-5356c2ed6a47',1,'2.0.0+build.7',X'01320130013003',2,NULL,NULL,4,'sha256:435bdd555a52adaf7a2c2e31ffea64d3882a32123883a41f2bbb503899f62c82',X'89E79338662CE898941C5242AD57531AA74FD97C54C41FB63AA860F68F613988',31,'safetensors','with build metadata',NULL,NULL,NULL,NULL,NULL,NULL,'tiny','null','["en", "de"]','null','null','null','{"run": {"id": 7, "by": "ada"}, "registry": {"published_by": "ada", "via": "api", "at": "2026-11-23T10:21:54.980872Z"}}','[]',0,2,'2026-11-23 10:21:54.980872','2026-11-23 10:21:54.980872');
INSERT INTO "versions" VALUES(5,'95dadb0b-7b2d-4ac5-8bf1-46a7daa8ce16',2,'1.0.0',X'01310130013003',2,NULL,NULL,5,'sha256:1a4a3d3f387de928cce3158b597108737ab782ed2fcdb9a05eff35f238508d90',X'580EA166436D35438900268DF5D00380F31DB421315C0D291A4A726B13449F6D',12,'pytorch',NULL,NULL,NULL,NULL,'acme/Tiny.Net',NULL,NULL,'tiny','null','null','null','null','null','{"base_model": "acme/Tiny.Net", "registry": {"published_by": "ada", "via": "api", "at": "2026-11-23T10:21:55.253797Z"}}','[["acme/tiny.net", 1]]',0,2,'2026-11-23 10:21:55.253797','2026-11-23 10:21:55.253797');
INSERT INTO "versions" VALUES(6,'93f148ab-7ca3-4c14-bb39-349d8cb4f29c',2,'1.1.0',X'01310131013003',2,NULL,NULL,6,'sha256:b6d729c9fcc1b6269d09ac39cd93890fe6702bf680373f372dc5ff43915ca398',X'720ED766949BFF3640DF8ABDF54DF0C2BAB48F8187CE5DCF9A39A6317862BF1B',12,'pytorch',NULL,NULL,NULL,NULL,NULL,NULL,NULL,'tiny','null','null','null','null','null','{"registry": {"published_by": "ada", "via": "api", "at": "2026-11-23T10:21:55.282117Z"}}','[]',0,2,'2026-11-23 10:21:55.282117','2026-11-23 10:21:55.282117');
INSERT INTO "versions" VALUES(7,'ea9663cb-4974-4c21-badc-8beabb5607a1',2,'1.3.0',X'01310133013003',2,NULL,NULL,7,'sha256:1a4a3d3f387de928cce3158b597108737ab782ed2fcdb9a05eff35f238508d90',X'86EA5DD2EE8C369C1C95303691617A5B8C9F8323BAA4409638223142146161B1',12,'pytorch',NULL,NULL,NULL,NULL,NULL,NULL,NULL,'tiny','null','null','null','null','null','{"registry": {"published_by": "ada", "via": "api", "at": "2026-11-23T10:21:55.583829Z"}}','[]',0,2,'2026-11-23 10:21:55.583829','2026-11-23 10:21:55.583829');
CREATE INDEX ix_audit_events_org ON audit_events (org_id, id);
CREATE INDEX ix_members_user_id ON members (user_id);
CREATE INDEX ix_models_latest_version_id ON models (latest_version_id);
CREATE INDEX ix_models_public ON models (is_public, org_id);
CREATE INDEX ix_org_blobs_blob_id ON org_blobs (blob_id);
CREATE INDEX ix_tree_blobs_tree_id ON tree_blobs (tree_id);
CREATE INDEX ix_uploads_session ON uploads (org_id, oid, principal);
CREATE INDEX ix_uploads_touched_at ON uploads (touched_at);
CREATE INDEX ix_alias_moves_alias ON alias_moves (model_id, alias, id);
CREATE INDEX ix_model_facets_value ON model_facets (kind, value, model_id);
CREATE INDEX ix_tokens_service_account_id ON tokens (service_account_id);
CREATE INDEX ix_tokens_user_id ON tokens (user_id);
CREATE INDEX ix_versions_order ON versions (model_id, standing, precedence, id);
CREATE INDEX ix_versions_tree_id ON versions (tree_id);
CREATE INDEX ix_aliases_version_id ON aliases (version_id);
CREATE INDEX ix_downloads_activity ON downloads (org_id, id);
CREATE INDEX ix_downloads_version_id ON downloads (version_id);
COMMIT;
