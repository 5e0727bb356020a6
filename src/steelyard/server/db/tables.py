"""Every table of the registry. SQLAlchemy 2 declarative; nothing here that only one database understands.

Numbers (`id`) are for joins and never leave the house; what the outside sees is a `uuid`, a name or a digest.
"""

from datetime import UTC, datetime
from enum import IntEnum
from typing import Any
from uuid import uuid4

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

BigInt = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER PRIMARY KEY is SQLite's own row id


def utc_now() -> datetime:
    """Now, in UTC, aware."""
    return datetime.now(UTC)


def line(length: int) -> String:
    """A text of at most so many characters, whose order is that of its bytes on every database.

    PostgreSQL would have the order of the operating system's locale, which is slower, differs from machine to machine,
    and changes under an index when the system is upgraded.
    """
    return String(length).with_variant(String(length, collation="C"), "postgresql")


class Instant(TypeDecorator[datetime]):
    """A moment in UTC: aware in Python, stored without a zone where the database knows none."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Databases answer without a zone, or in the zone of their own clock."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Table(DeclarativeBase):
    """The root of all tables; constraint names are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        int: BigInt,
        datetime: Instant(),
        dict[str, Any]: JSON,
        list[Any]: JSON,
        bytes: LargeBinary,
    }


def _new_uuid() -> str:
    return str(uuid4())


class User(Table):
    """A person. Each owns the organisation whose slug is the user name."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    uuid: Mapped[str] = mapped_column(line(36), unique=True, default=_new_uuid)
    username: Mapped[str] = mapped_column(line(64), unique=True)
    email_address: Mapped[str | None] = mapped_column(line(320))
    is_admin: Mapped[bool] = mapped_column(Boolean, default=False)
    disabled_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class Org(Table):
    """An organisation: the owner of models and bytes. `xet_generation` is part of the address that Xet clients keep
    their caches by."""

    __tablename__ = "orgs"
    id: Mapped[int] = mapped_column(primary_key=True)
    uuid: Mapped[str] = mapped_column(line(36), unique=True, default=_new_uuid)
    slug: Mapped[str] = mapped_column(line(64), unique=True)
    name: Mapped[str] = mapped_column(line(200))
    xet_generation: Mapped[int] = mapped_column(default=0, server_default="0")
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now)


class Member(Table):
    """A person's role in an organisation."""

    __tablename__ = "members"
    org_id: Mapped[int] = mapped_column(ForeignKey("orgs.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True, index=True)
    role: Mapped[str] = mapped_column(line(20))
    added_at: Mapped[datetime] = mapped_column(default=utc_now)


class ServiceAccount(Table):
    """A member with tokens and no person."""

    __tablename__ = "service_accounts"
    __table_args__ = (UniqueConstraint("org_id", "name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    uuid: Mapped[str] = mapped_column(line(36), unique=True, default=_new_uuid)
    org_id: Mapped[int] = mapped_column(ForeignKey("orgs.id"))
    name: Mapped[str] = mapped_column(line(64))
    role: Mapped[str] = mapped_column(line(20))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class Token(Table):
    """A credential of a person or a service account. Only the SHA-256 of the secret is kept."""

    __tablename__ = "tokens"
    id: Mapped[int] = mapped_column(primary_key=True)
    uuid: Mapped[str] = mapped_column(line(36), unique=True, default=_new_uuid)
    secret_sha256: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    name: Mapped[str] = mapped_column(line(200))
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"), index=True)
    service_account_id: Mapped[int | None] = mapped_column(ForeignKey("service_accounts.id"), index=True)
    org_id: Mapped[int | None] = mapped_column(ForeignKey("orgs.id"))
    access: Mapped[str] = mapped_column(line(10), default="write")
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    identity_id: Mapped[int | None]  # made for one session, of this identity; no foreign key, as with versions


class BrowserSession(Table):
    """Somebody signed in to the web pages, with a token: the session dies with it, and can do no more. Its secret
    changes now and then; `former_sha256` is the one before, good until `former_until`, which is null while nobody has
    come with the new one.
    """

    __tablename__ = "browser_sessions"
    id: Mapped[int] = mapped_column(primary_key=True)
    uuid: Mapped[str] = mapped_column(line(36), unique=True, default=_new_uuid)
    secret_sha256: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    former_sha256: Mapped[bytes | None] = mapped_column(LargeBinary(32), index=True)
    former_until: Mapped[datetime | None]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    token_id: Mapped[int] = mapped_column(ForeignKey("tokens.id"), index=True)
    agent: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    rotated_at: Mapped[datetime] = mapped_column(default=utc_now)
    used_at: Mapped[datetime] = mapped_column(default=utc_now)
    expires_at: Mapped[datetime]


class Identity(Table):
    """Who a person is to an OpenID provider: `subject` is what that one calls him, and never changes."""

    __tablename__ = "identities"
    __table_args__ = (UniqueConstraint("issuer", "subject"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    uuid: Mapped[str] = mapped_column(line(36), unique=True, default=_new_uuid)
    issuer: Mapped[str] = mapped_column(line(255))
    subject: Mapped[str] = mapped_column(line(255))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class Model(Table):
    """A name in an organisation under which versions are published."""

    __tablename__ = "models"
    __table_args__ = (
        UniqueConstraint("org_id", "name_key"),
        Index("ix_models_public", "is_public", "org_id"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    org_id: Mapped[int] = mapped_column(ForeignKey("orgs.id"))
    name: Mapped[str] = mapped_column(line(96))
    name_key: Mapped[str] = mapped_column(line(96))
    is_public: Mapped[bool] = mapped_column(Boolean, default=False)
    latest_version_id: Mapped[int | None] = mapped_column(index=True)  # no foreign key: versions refer to models
    search_text: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now)


class Tree(Table):
    """The files of one version, written once: `files` is a list of `[path, oid, size_bytes]`, sorted by path.

    One JSON document and the narrow `tree_blobs`, instead of a wide row a file: a version of a thousand files was
    written in a fifth of the time (docs/decisions/0004), and no query ever asks for one path of many versions.
    """

    __tablename__ = "trees"
    id: Mapped[int] = mapped_column(primary_key=True)
    files: Mapped[list[Any]]
    file_count: Mapped[int]
    size_bytes: Mapped[int]


class Commit(Table):
    """A state of a model's files, as the Hub's clients know it: `sha` is its name, 40 hex digits, and never moves.

    A draft came by a push to a branch; the others were made for versions that came by another door.
    """

    __tablename__ = "commits"
    __table_args__ = (UniqueConstraint("model_id", "sha"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))
    sha: Mapped[str] = mapped_column(line(40))
    tree_id: Mapped[int] = mapped_column(ForeignKey("trees.id"), index=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("commits.id"), index=True)
    is_draft: Mapped[bool] = mapped_column(Boolean, default=True)
    title: Mapped[str] = mapped_column(Text)
    message: Mapped[str] = mapped_column(Text, default="")
    author: Mapped[str] = mapped_column(line(140))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class Branch(Table):
    """A line of drafts, and where it has come to."""

    __tablename__ = "branches"
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"), primary_key=True)
    name: Mapped[str] = mapped_column(line(250), primary_key=True)
    commit_id: Mapped[int] = mapped_column(ForeignKey("commits.id"), index=True)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now)


class Tag(Table):
    """A name for one commit that is no version's number: those are versions."""

    __tablename__ = "tags"
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"), primary_key=True)
    name: Mapped[str] = mapped_column(line(250), primary_key=True)
    commit_id: Mapped[int] = mapped_column(ForeignKey("commits.id"), index=True)
    message: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class Standing(IntEnum):
    """How a version stands when the latest is chosen: the higher goes first, and a yanked one never."""

    YANKED = 0
    PRERELEASE = 1
    STABLE = 2


class Version(Table):
    """A published version. All but metrics, yank and the count of downloads stays as it was published.

    `precedence` is the binary key of `names.Version`: its byte order is SemVer's. `parents` is what of its origin was a
    model here when it was published, as `[org/name, model id]`.
    """

    __tablename__ = "versions"
    __table_args__ = (
        UniqueConstraint("model_id", "version"),
        # Read backwards, this index gives a model's versions in their order, and its latest as the first row.
        Index("ix_versions_order", "model_id", "standing", "precedence", "id"),
        # What was taken of a model is added up without reading its versions, which are long rows.
        Index("ix_versions_downloads", "model_id", "download_count"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    uuid: Mapped[str] = mapped_column(line(36), unique=True, default=_new_uuid)
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))
    version: Mapped[str] = mapped_column(line(120))
    precedence: Mapped[bytes] = mapped_column(LargeBinary(512))
    standing: Mapped[int] = mapped_column(SmallInteger)
    yank_reason: Mapped[str | None] = mapped_column(Text)
    yanked_at: Mapped[datetime | None]
    tree_id: Mapped[int] = mapped_column(ForeignKey("trees.id"), index=True)
    commit_id: Mapped[int | None] = mapped_column(index=True)  # no foreign key: SQLite adds none to a table of before
    artifacts_hash: Mapped[str] = mapped_column(line(71))
    content_sha256: Mapped[bytes] = mapped_column(LargeBinary(32))
    size_bytes: Mapped[int]
    framework: Mapped[str] = mapped_column(line(100))
    summary: Mapped[str | None] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text)
    task: Mapped[str | None] = mapped_column(Text)
    architecture: Mapped[str | None] = mapped_column(Text)
    base_model: Mapped[str | None] = mapped_column(Text)
    license: Mapped[str | None] = mapped_column(Text)
    pretty_name: Mapped[str | None] = mapped_column(Text)
    size_category: Mapped[str | None] = mapped_column(line(100))
    parameter_count: Mapped[int | None]
    tags: Mapped[list[Any] | None]
    language: Mapped[list[Any] | None]
    task_categories: Mapped[list[Any] | None]
    dataset_refs: Mapped[list[Any] | None]
    metrics: Mapped[dict[str, Any] | None]
    origin: Mapped[dict[str, Any]]
    parents: Mapped[list[Any]]
    download_count: Mapped[int] = mapped_column(default=0)
    created_by_user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now)


class VersionParent(Table):
    """A version was made from a model here, as `Version.parents` has it: by this is found what was made from a model.
    `parent_version` is the number that the version names of it, or empty.
    """

    __tablename__ = "version_parents"
    __table_args__ = (
        Index("ix_version_parents_parent", "parent_model_id", "parent_version", "version_id"),
        {"sqlite_with_rowid": False},
    )
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True)
    parent_model_id: Mapped[int] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"), primary_key=True)
    parent_version: Mapped[str] = mapped_column(line(120), primary_key=True)


class ModelFacet(Table):
    """What a model's latest version can be filtered by: one row a value. Remade whenever the latest moves."""

    __tablename__ = "model_facets"
    __table_args__ = (Index("ix_model_facets_value", "kind", "value", "model_id"),)
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str] = mapped_column(line(20), primary_key=True)
    value: Mapped[str] = mapped_column(line(200), primary_key=True)


class SpentVersion(Table):
    """The number of a deleted version. It is never given again, also after the whole model went."""

    __tablename__ = "spent_versions"
    org_id: Mapped[int] = mapped_column(ForeignKey("orgs.id"), primary_key=True)
    name_key: Mapped[str] = mapped_column(line(96), primary_key=True)
    version: Mapped[str] = mapped_column(line(120), primary_key=True)
    deleted_at: Mapped[datetime] = mapped_column(default=utc_now)


class Alias(Table):
    """A movable name for one version."""

    __tablename__ = "aliases"
    __table_args__ = (UniqueConstraint("model_id", "alias"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"), index=True)
    alias: Mapped[str] = mapped_column(line(50))
    protected: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now)


class AliasMove(Table):
    """One step of an alias's history: `from_version` is null when it was set, `to_version` when it was removed."""

    __tablename__ = "alias_moves"
    __table_args__ = (Index("ix_alias_moves_alias", "model_id", "alias", "id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))
    alias: Mapped[str] = mapped_column(line(50))
    at: Mapped[datetime] = mapped_column(default=utc_now)
    by: Mapped[str] = mapped_column(line(140))
    from_version: Mapped[str | None] = mapped_column(line(120))
    to_version: Mapped[str | None] = mapped_column(line(120))


class Blob(Table):
    """Proven bytes. `key` is their physical name in the store and is never used a second time; of bytes that came in
    chunks it names nothing there, and they are what their `Recipe` makes of xorbs."""

    __tablename__ = "blobs"
    id: Mapped[int] = mapped_column(primary_key=True)
    oid: Mapped[str] = mapped_column(line(71), unique=True)
    size_bytes: Mapped[int]
    key: Mapped[str] = mapped_column(line(80), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class OrgBlob(Table):
    """An organisation holds these bytes: it has proven to possess them. `touched_at` is for clean-up's grace.

    `git_sha1` is known of bytes that it sent inside a commit: to it they are what the Hub calls regular files.
    """

    __tablename__ = "org_blobs"
    org_id: Mapped[int] = mapped_column(ForeignKey("orgs.id"), primary_key=True)
    blob_id: Mapped[int] = mapped_column(ForeignKey("blobs.id"), primary_key=True, index=True)
    git_sha1: Mapped[str | None] = mapped_column(line(40))
    touched_at: Mapped[datetime] = mapped_column(default=utc_now)


class TreeBlob(Table):
    """Which bytes a tree needs: what clean-up must keep."""

    __tablename__ = "tree_blobs"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012 - SQLAlchemy reads it from the class
    blob_id: Mapped[int] = mapped_column(ForeignKey("blobs.id"), primary_key=True)
    tree_id: Mapped[int] = mapped_column(ForeignKey("trees.id", ondelete="CASCADE"), primary_key=True, index=True)


class Xorb(Table):
    """A run of chunks under one BLAKE3 name (Xet). `chunks` is the table of them, as `xet.xorbs` packs it.

    It has an object of its own in the store, `key`, or stands for a run of a whole blob's bytes, from
    `blob_offset_bytes` on: then it is `size_bytes` long only when it is sent.
    """

    __tablename__ = "xorbs"
    id: Mapped[int] = mapped_column(primary_key=True)
    hash: Mapped[str] = mapped_column(line(64), unique=True)
    key: Mapped[str | None] = mapped_column(line(80), unique=True)
    blob_id: Mapped[int | None] = mapped_column(ForeignKey("blobs.id"), index=True)
    blob_offset_bytes: Mapped[int] = mapped_column(default=0)
    size_bytes: Mapped[int]
    raw_bytes: Mapped[int]
    chunks: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class OrgXorb(Table):
    """An organisation has sent this xorb, or bytes of its own stand behind it. `touched_at` is for clean-up's grace."""

    __tablename__ = "org_xorbs"
    org_id: Mapped[int] = mapped_column(ForeignKey("orgs.id"), primary_key=True)
    xorb_id: Mapped[int] = mapped_column(ForeignKey("xorbs.id", ondelete="CASCADE"), primary_key=True, index=True)
    touched_at: Mapped[datetime] = mapped_column(default=utc_now)


class DedupChunk(Table):
    """A chunk that clients may ask for, and a xorb that has it."""

    __tablename__ = "dedup_chunks"
    chunk_hash: Mapped[str] = mapped_column(line(64), primary_key=True)
    xorb_id: Mapped[int] = mapped_column(ForeignKey("xorbs.id", ondelete="CASCADE"), primary_key=True, index=True)


class Recipe(Table):
    """How a blob's bytes are made of chunks: `terms` is a list of `[xorb id, first chunk, end, bytes]`.

    An organisation has its own, over xorbs of its own: so it tells nothing of what others sent. Without `org_id` it is
    what the bytes of a chunked blob lie in.
    """

    __tablename__ = "recipes"
    __table_args__ = (
        UniqueConstraint("blob_id", "org_id", name="uq_recipes_blob_id_org_id"),
        Index("ix_recipes_org_id_file_hash", "org_id", "file_hash"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    blob_id: Mapped[int] = mapped_column(ForeignKey("blobs.id"))
    org_id: Mapped[int | None] = mapped_column(ForeignKey("orgs.id"))
    file_hash: Mapped[str] = mapped_column(line(64))
    terms: Mapped[list[Any]]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class RecipeXorb(Table):
    """Which xorbs a recipe needs: what clean-up must keep."""

    __tablename__ = "recipe_xorbs"
    recipe_id: Mapped[int] = mapped_column(ForeignKey("recipes.id", ondelete="CASCADE"), primary_key=True)
    xorb_id: Mapped[int] = mapped_column(ForeignKey("xorbs.id"), primary_key=True, index=True)


class RepositoryBlob(Table):
    """A model has these bytes as a repository has, before any version or manifest of it does: they were pushed to it,
    or mounted into it. What git-lfs sent is `kept` for good, since nothing that we see will ever name it."""

    __tablename__ = "repository_blobs"
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"), primary_key=True)
    blob_id: Mapped[int] = mapped_column(ForeignKey("blobs.id"), primary_key=True, index=True)
    kept: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class BlobDigest(Table):
    """Another digest of bytes, by which container tools may call them: `sha512:…`."""

    __tablename__ = "blob_digests"
    digest: Mapped[str] = mapped_column(line(135), primary_key=True)
    blob_id: Mapped[int] = mapped_column(ForeignKey("blobs.id", ondelete="CASCADE"), index=True)


class Manifest(Table):
    """A manifest of a model's repository, to the byte: pushed, or `made` by us for a version.

    What is asked about it is written out of it: `subject` is the digest of what it refers to.
    """

    __tablename__ = "manifests"
    __table_args__ = (
        UniqueConstraint("model_id", "digest"),
        Index("ix_manifests_subject", "model_id", "subject", "id"),
        Index("ix_manifests_size", "model_id", "made", "size_bytes"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"))
    digest: Mapped[str] = mapped_column(line(135))
    media_type: Mapped[str] = mapped_column(line(255))
    artifact_type: Mapped[str | None] = mapped_column(line(255))
    subject: Mapped[str | None] = mapped_column(line(135))
    annotations: Mapped[dict[str, Any] | None]
    size_bytes: Mapped[int]
    content: Mapped[bytes] = mapped_column(deferred=True)
    made: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class ManifestTag(Table):
    """A tag of a repository, in one of its forms: `artifact` is what the tag leads to, `image` the twin of a version
    under `-image`, `config` the manifest of a version in the native API's own dialect."""

    __tablename__ = "manifest_tags"
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"), primary_key=True)
    form: Mapped[str] = mapped_column(line(10), primary_key=True)
    name: Mapped[str] = mapped_column(line(128), primary_key=True)
    manifest_id: Mapped[int] = mapped_column(ForeignKey("manifests.id", ondelete="CASCADE"), index=True)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now)


class ManifestBlob(Table):
    """What a manifest names by digest: bytes that are held (`blob_id`), a tar of them alone under `tar_path`, or a few
    bytes that we made, `content`. The files of a version that a made manifest names stand in the version's tree."""

    __tablename__ = "manifest_blobs"
    manifest_id: Mapped[int] = mapped_column(ForeignKey("manifests.id", ondelete="CASCADE"), primary_key=True)
    digest: Mapped[str] = mapped_column(line(135), primary_key=True, index=True)
    blob_id: Mapped[int | None] = mapped_column(ForeignKey("blobs.id"), index=True)
    tar_path: Mapped[str | None] = mapped_column(Text)
    content: Mapped[bytes | None] = mapped_column(deferred=True)


class BlobUpload(Table):
    """Bytes on their way into a repository, whose digest is told at the end (OCI). `received_bytes` lie under
    `stage_id`; `sha256` and `sha512` are theirs in hex, where they came in one stream. `key` is where they go, known
    once they end.
    """

    __tablename__ = "blob_uploads"
    id: Mapped[str] = mapped_column(line(32), primary_key=True)
    org_id: Mapped[int] = mapped_column(ForeignKey("orgs.id"), index=True)
    name_key: Mapped[str] = mapped_column(line(96))
    principal: Mapped[str] = mapped_column(line(50))
    stage_id: Mapped[str] = mapped_column(line(32), unique=True)
    received_bytes: Mapped[int] = mapped_column(default=0)
    sha256: Mapped[str | None] = mapped_column(line(64))
    sha512: Mapped[str | None] = mapped_column(line(128))
    wants_sha512: Mapped[bool] = mapped_column(Boolean, default=False)
    key: Mapped[str | None] = mapped_column(line(80))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    touched_at: Mapped[datetime] = mapped_column(default=utc_now, index=True)


class Garbage(Table):
    """A key whose bytes nothing needs any more, until the store has let go of them."""

    __tablename__ = "garbage"
    key: Mapped[str] = mapped_column(line(80), primary_key=True)
    at: Mapped[datetime] = mapped_column(default=utc_now)


class Upload(Table):
    """Bytes on their way in. `state`: `open`, `proving`, `failed`. `key` is where they go, known while proving.

    `handle` is the store's own name of an upload whose parts the client sends straight to the store; `checksums` says
    that its links are bound to a checksum of each part.
    """

    __tablename__ = "uploads"
    __table_args__ = (Index("ix_uploads_session", "org_id", "oid", "principal"),)
    id: Mapped[str] = mapped_column(line(32), primary_key=True)
    org_id: Mapped[int] = mapped_column(ForeignKey("orgs.id"))
    principal: Mapped[str] = mapped_column(line(50))
    oid: Mapped[str] = mapped_column(line(71))
    size_bytes: Mapped[int]
    part_size_bytes: Mapped[int]
    key: Mapped[str | None] = mapped_column(line(80))
    state: Mapped[str] = mapped_column(line(10), default="open")
    failure: Mapped[str | None] = mapped_column(Text)
    handle: Mapped[str | None] = mapped_column(Text)
    checksums: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    touched_at: Mapped[datetime] = mapped_column(default=utc_now, index=True)


class UploadPart(Table):
    """A part that arrived whole and is on disk."""

    __tablename__ = "upload_parts"
    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class Job(Table):
    """Work to be done at least once, by whichever server leases it. One of a kind for each subject."""

    __tablename__ = "jobs"
    __table_args__ = (UniqueConstraint("kind", "subject"), Index("ix_jobs_due", "run_at"))
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(line(20))
    subject: Mapped[str] = mapped_column(line(80), default="")
    run_at: Mapped[datetime] = mapped_column(default=utc_now)
    leased_until: Mapped[datetime | None]
    leased_by: Mapped[str | None] = mapped_column(line(32))
    attempts: Mapped[int] = mapped_column(default=0)
    failure: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class Download(Table):
    """Somebody asked for a whole version. Kept, by name, when the version goes."""

    __tablename__ = "downloads"
    __table_args__ = (Index("ix_downloads_activity", "org_id", "id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    uuid: Mapped[str] = mapped_column(line(36), unique=True, default=_new_uuid)
    org_id: Mapped[int] = mapped_column(ForeignKey("orgs.id"))
    version_id: Mapped[int | None] = mapped_column(ForeignKey("versions.id", ondelete="SET NULL"), index=True)
    model_name: Mapped[str] = mapped_column(line(96))
    model_version: Mapped[str] = mapped_column(line(120))
    format: Mapped[str] = mapped_column(line(20))
    status: Mapped[str] = mapped_column(line(20))
    principal: Mapped[str] = mapped_column(line(50))
    user_uuid: Mapped[str | None] = mapped_column(line(36))
    file_size_bytes: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    completed_at: Mapped[datetime | None]


class DownloadHit(Table):
    """One version, one caller, one hour: what `download_count` counts once."""

    __tablename__ = "download_hits"
    __table_args__ = (Index("ix_download_hits_hour", "version_id", "hour"),)
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True)
    principal: Mapped[str] = mapped_column(line(64), primary_key=True)
    hour: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class AuditEvent(Table):
    """Who did what, when, from where. Written in the transaction that did it; never changed."""

    __tablename__ = "audit_events"
    __table_args__ = (Index("ix_audit_events_org", "org_id", "id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    org_id: Mapped[int | None] = mapped_column(ForeignKey("orgs.id"))
    at: Mapped[datetime] = mapped_column(default=utc_now)
    actor: Mapped[str] = mapped_column(line(140))
    token_uuid: Mapped[str | None] = mapped_column(line(36))
    action: Mapped[str] = mapped_column(line(50))
    target: Mapped[str] = mapped_column(line(400))
    details: Mapped[dict[str, Any]]
    address: Mapped[str | None] = mapped_column(line(64))
    request_id: Mapped[str | None] = mapped_column(line(128))


class IdempotencyKey(Table):
    """What a publish with `bump` answered, so that its retry answers the same."""

    __tablename__ = "idempotency_keys"
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"), primary_key=True)
    principal: Mapped[str] = mapped_column(line(50), primary_key=True)
    key: Mapped[str] = mapped_column(line(255), primary_key=True)
    request_sha256: Mapped[bytes] = mapped_column(LargeBinary(32))
    version: Mapped[str] = mapped_column(line(120))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class SigningKey(Table):
    """Secrets that tickets are signed with; the newest signs, all verify."""

    __tablename__ = "signing_keys"
    id: Mapped[int] = mapped_column(primary_key=True)
    secret: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
