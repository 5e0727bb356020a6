"""The data of the release before this one: migrated, and then everything is there, answered as before, and goes on."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from steelyard.server.context import Registry
from steelyard.server.core.history.commits import Words, create_tree, sha_of
from steelyard.server.db.engine import Database
from steelyard.server.db.migrate import downgrade, migrate
from steelyard.server.db.tables import Branch, Commit, Model, Org, TreeBlob, Version
from tests.house import Person, Registered
from tests.house.people import oid_of
from tests.house.postgres import postgres_url
from tests.house.registries import open_registered
from tests.server.db.data.building import HALF, NEVER_SENT, PART_BYTES, asker_of, bump, stored, weights

DATA = Path(__file__).parent / "data"
RELEASE = json.loads((DATA / "0.1.0.json").read_text())
ITS_REVISION = "0001"
LONG = 10**9


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The database as the release left it. It knew SQLite only; PostgreSQL gets the same rows at its revision."""
    file = tmp_path / "old.sqlite3"
    with closing(sqlite3.connect(file)) as old:
        old.executescript((DATA / "0.1.0.sql").read_text())
    if request.param == "sqlite":
        return f"sqlite:///{file}"
    moved = postgres_url(migrated=False)
    with closing(Database(moved)) as database:
        migrate(database, ITS_REVISION)
        _fill(database, f"sqlite:///{file}")
    return moved


def _fill(database: Database, source: str) -> None:
    with closing(Database(source)) as old:
        rows = rows_of(old)
    with database.write() as session:
        tables = sa.MetaData()
        tables.reflect(session.connection())
        for table in tables.sorted_tables:
            if table.name != "alembic_version" and rows[table.name]:
                session.execute(table.insert(), rows[table.name])
                if "id" in table.columns and isinstance(table.c.id.type, sa.BigInteger):
                    session.execute(sa.select(sa.func.setval(f"{table.name}_id_seq", sa.func.max(table.c.id))))


def rows_of(database: Database) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table, as the database knows them without this release's code; moments are in UTC."""
    with database.read() as session:
        tables = sa.MetaData()
        tables.reflect(session.connection())
        found = {}
        for table in tables.sorted_tables:
            query = sa.select(table).order_by(*table.primary_key.columns)
            found[table.name] = [_in_utc(row) for row in session.execute(query).mappings()]
        return found


def _in_utc(row: sa.RowMapping) -> dict[str, Any]:
    return {name: value.replace(tzinfo=UTC) if _is_naive(value) else value for name, value in row.items()}


def _is_naive(value: object) -> bool:
    return isinstance(value, datetime) and value.tzinfo is None


@pytest.fixture
def data(url: str, tmp_path: Path) -> Path:
    """The data directory, with the bytes that the release had stored where it had put them."""
    folder = tmp_path / "data"
    with closing(Database(url)) as database:
        rows = rows_of(database)
    contents = {oid_of(content): content for content in stored()}
    for blob in rows["blobs"]:
        _put(folder / "store/blobs/sha256" / blob["key"][:2] / blob["key"][2:4] / blob["key"], contents[blob["oid"]])
    [half] = [upload for upload in rows["uploads"] if upload["oid"] == oid_of(HALF)]
    arrived = HALF[:PART_BYTES] + bytes(PART_BYTES) + HALF[2 * PART_BYTES :]
    _put(folder / "store/staged" / half["id"], arrived)
    return folder


def _put(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


@contextmanager
def upgraded(url: str, data: Path) -> Iterator[Registered]:
    """This release on that data, which may be years old by now."""
    chosen = {"gc_interval_seconds": 0, "upload_ttl_seconds": LONG, "part_size_bytes": PART_BYTES}
    with open_registered(data=data, database=url, store=None, **chosen) as registered:
        yield registered


def registry_of(registered: Registered) -> Registry:
    registry = registered.client.app.state.registry  # type: ignore[attr-defined]
    assert isinstance(registry, Registry)
    return registry


def person(registered: Registered, name: str) -> Person:
    return Person(registered.client, name, RELEASE["tokens"][name])


def test_everything_is_answered_as_the_release_before_answered_it(url: str, data: Path) -> None:
    with upgraded(url, data) as registered:
        for path, answer in RELEASE["answers"].items():
            assert person(registered, asker_of(path)).get(path).json() == answer, path
        bob = person(registered, "bob")
        for number in ("1.0.0", "2.0.0-rc.1", "2.0.0+build.7"):
            path = f"/org/acme/models/Tiny.Net/{number}/files/model.safetensors"
            assert bob.get(path).content == weights(number)
        assert person(registered, "revoked").get("/user").status_code == 401
        assert person(registered, "ci").get("/user").status_code == 200


def test_what_was_begun_goes_on(url: str, data: Path) -> None:
    with upgraded(url, data) as registered:
        ada = person(registered, "ada")
        [half] = ada.offer("ada/half", HALF).json()["objects"]
        assert half["parts_done"] == [1, 3]
        link = half["actions"]["upload"]["header"]["2"]
        assert ada.client.put(link, content=HALF[PART_BYTES : 2 * PART_BYTES]).status_code == 200
        assert ada.client.post(half["actions"]["upload"]["href"]).status_code == 200
        published = ada.publish("ada/half:1.0.0", {"half.bin": HALF, "small.bin": NEVER_SENT})
        assert published.status_code == 201
        assert ada.get("/org/ada/models/half/1.0.0/files/half.bin").content == HALF


def test_what_was_settled_stays_so(url: str, data: Path) -> None:
    with upgraded(url, data) as registered:
        ada, owner = person(registered, "ada"), person(registered, "acme-owner")
        again = bump(ada)
        assert (again.status_code, again.json()["version"]) == (200, "1.3.0")
        for spent in ("ada/open:1.2.0", "ada/gone:1.0.0"):
            assert ada.publish(spent, {"a.bin": b"public bytes"}).status_code == 409
        assert ada.publish("acme/Tiny.Net:3.0.0", {"a.bin": b"new"}).status_code == 201, "numbers of rows go on"
        assert owner.get("/org/acme/models/Tiny.Net").json()["version"] == "3.0.0"
        assert owner.put("/org/acme/models/Tiny.Net/3.0.0/yank", {"reason": "no"}).status_code == 200
        latest = RELEASE["answers"]["/org/acme/models/Tiny.Net"]["version"]
        assert owner.get("/org/acme/models/Tiny.Net").json()["version"] == latest


def test_every_version_has_the_commit_that_publishing_would_make_now(url: str, data: Path) -> None:
    with upgraded(url, data) as registered:
        with registry_of(registered).database.read() as session:
            rows = session.execute(
                sa.select(Version, Commit, Model, Org)
                .join_from(Version, Commit, Commit.id == Version.commit_id)
                .join(Model, Model.id == Version.model_id)
                .join(Org, Org.id == Model.org_id)
                .order_by(Version.id)
            ).all()
            count = len(session.scalars(sa.select(Version.id)).all())
            line: dict[int, Commit] = {}
            for version, commit, model, org in rows:
                words = Words(
                    f"Publish {version.version}", version.summary or "", version.origin["registry"]["published_by"]
                )
                sha = sha_of(org, model, line.get(model.id), version.artifacts_hash, words, is_draft=False)
                assert (commit.sha, commit.tree_id, commit.is_draft) == (sha, version.tree_id, False)
                assert commit.parent_id == (line[model.id].id if model.id in line else None)
                assert (commit.author, commit.created_at) == (words.author, version.created_at)
                line[model.id] = commit
        assert len(rows) == count > len(line) > 1


def test_main_of_every_model_is_at_its_latest_version_and_goes_on(url: str, data: Path) -> None:
    with upgraded(url, data) as registered:
        database = registry_of(registered).database
        with database.read() as session:
            mains = dict(session.execute(sa.select(Branch.model_id, Branch.commit_id)).all())
            at = {version.commit_id: version for version in session.scalars(sa.select(Version))}
            for model in session.scalars(sa.select(Model)):
                assert model.id not in mains or mains[model.id] in at
                if model.latest_version_id is not None:
                    assert at[mains[model.id]].id == model.latest_version_id
        assert person(registered, "ada").publish("acme/Tiny.Net:3.0.0", {"a.bin": b"new"}).status_code == 201
        with database.read() as session:
            new = session.scalars(sa.select(Commit).order_by(Commit.id.desc()).limit(1)).one()
            assert (new.title, new.parent_id) == ("Publish 3.0.0", mains[new.model_id])


def test_the_way_back_and_up_again_keeps_every_row(url: str, data: Path) -> None:
    with closing(Database(url)) as database:
        before = rows_of(database)
        migrate(database)
        downgrade(database, ITS_REVISION)
        assert rows_of(database) == before
        migrate(database)
        after = rows_of(database)
    assert {name: len(rows) for name, rows in after.items() if name in before} == {
        name: len(rows) for name, rows in before.items()
    }
    with upgraded(url, data) as registered:
        path = "/org/acme/models/Tiny.Net"
        assert person(registered, "bob").get(path).json() == RELEASE["answers"][path]


def test_the_way_back_leaves_no_files_of_drafts(url: str, data: Path) -> None:
    """The release before does not know that nothing has them any more, and would keep their bytes for ever."""
    with upgraded(url, data) as registered:
        database = registry_of(registered).database
        with database.write() as session:
            [model_id, tree_id] = session.execute(sa.select(Version.model_id, Version.tree_id).limit(1)).one()
            blob_id = session.scalars(sa.select(TreeBlob.blob_id).where(TreeBlob.tree_id == tree_id)).first()
            draft = create_tree(session, [("a.bin", "sha256:" + 64 * "0", 1)], [blob_id] if blob_id else [])
            session.add(Commit(model_id=model_id, sha=40 * "0", tree_id=draft.id, title="", author=""))
        with closing(Database(url)) as old:
            trees = len(rows_of(old)["trees"])
    with closing(Database(url)) as database:
        downgrade(database, "0002")
        rows = rows_of(database)
    assert len(rows["trees"]) == trees - 1
    assert {row["tree_id"] for row in rows["tree_blobs"]} == {row["id"] for row in rows["trees"]}
