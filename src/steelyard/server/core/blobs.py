"""Which organisation holds which bytes, and what nothing needs any more.

Knowing a digest is not owning its bytes: an organisation holds what was uploaded to it, and only that can be published.
"""

import secrets
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, case, delete, exists, func, insert, or_, select, update
from sqlalchemy.orm import Session

from steelyard.server.core.xet import chunking
from steelyard.server.db.engine import Database, in_batches
from steelyard.server.db.tables import (
    Blob,
    BlobUpload,
    Commit,
    Garbage,
    Manifest,
    ManifestBlob,
    Model,
    OrgBlob,
    OrgXorb,
    Recipe,
    RecipeXorb,
    RepositoryBlob,
    TreeBlob,
    Upload,
    Version,
    Xorb,
    utc_now,
)
from steelyard.server.names import Oid
from steelyard.server.storage.chunked import is_chunked

_ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class HeldBlob:
    """Bytes that an organisation holds."""

    id: int
    oid: str
    size_bytes: int
    key: str


def new_key(oid: Oid) -> str:
    """A physical name for these bytes that was never used before."""
    return f"{oid.hex}.{secrets.token_hex(4)}"


def find_held(session: Session, org_id: int, oids: Collection[str]) -> dict[str, HeldBlob]:
    """Those of the OIDs that the organisation holds."""
    held: dict[str, HeldBlob] = {}
    for some in in_batches(oids):
        query = (
            select(Blob.id, Blob.oid, Blob.size_bytes, Blob.key)
            .join(OrgBlob, OrgBlob.blob_id == Blob.id)
            .where(OrgBlob.org_id == org_id, Blob.oid.in_(some))
        )
        held.update((row.oid, HeldBlob(*row)) for row in session.execute(query))
    return held


def find_keys(session: Session, oids: Collection[str]) -> dict[str, str]:
    """OID -> physical name. For callers who have shown that they may read what holds them."""
    found: dict[str, str] = {}
    for some in in_batches(oids):
        found.update(session.execute(select(Blob.oid, Blob.key).where(Blob.oid.in_(some))).all())
    return found


@dataclass(frozen=True, slots=True)
class HubForm:
    """What the Hub's clients know bytes by: Git's SHA-1, of those that came inside a commit, and the name of the file
    that Xet makes of chunks, of those that it has."""

    key: str
    git_sha1: str | None
    xet_hash: str | None


def find_hub_forms(session: Session, org_id: int, oids: Collection[str]) -> dict[str, HubForm]:
    """OID -> what the Hub's clients know it by, as far as its organisation brought that about: what others do with the
    same bytes shows nowhere. For callers who have shown that they may read what holds them."""
    found: dict[str, HubForm] = {}
    query = select(Blob.oid, Blob.key, OrgBlob.git_sha1, Recipe.file_hash)
    query = query.outerjoin(OrgBlob, (OrgBlob.blob_id == Blob.id) & (OrgBlob.org_id == org_id))
    query = query.outerjoin(Recipe, (Recipe.blob_id == Blob.id) & (Recipe.org_id == org_id))
    for some in in_batches(oids):
        found.update((row.oid, HubForm(*row[1:])) for row in session.execute(query.where(Blob.oid.in_(some))))
    return found


def touch(session: Session, org_id: int, blob_ids: Collection[int]) -> None:
    """Begin the grace of these bytes anew: somebody was just told that he need not send them."""
    for some in in_batches(blob_ids):
        where = (OrgBlob.org_id == org_id, OrgBlob.blob_id.in_(some))
        session.execute(update(OrgBlob).where(*where).values(touched_at=utc_now()))


def begin_grace(session: Session, org_id: int, tree_ids: Collection[int]) -> None:
    """These trees are about to go: the grace of the bytes that they needed begins now, not when they came."""
    for some in in_batches(tree_ids):
        needed = select(TreeBlob.blob_id).where(TreeBlob.tree_id.in_(some))
        where = (OrgBlob.org_id == org_id, OrgBlob.blob_id.in_(needed))
        session.execute(
            update(OrgBlob).where(*where).values(touched_at=utc_now()), execution_options={"synchronize_session": False}
        )


def link(session: Session, org_id: int, oid: str, size_bytes: int, key: str, *, lost_key: str | None = None) -> str:
    """Note that the organisation holds these proven bytes. Answers the key that is kept: ours, or an earlier one.

    An earlier one whose bytes the store has lost, `lost_key`, is replaced: so lost bytes come back when anybody sends
    them again.
    """
    blob = session.scalar(select(Blob).where(Blob.oid == oid))
    if blob is not None and blob.key == lost_key:
        move(session, blob, key)
    if blob is None:
        blob = Blob(oid=oid, size_bytes=size_bytes, key=key)
        session.add(blob)
        session.flush()
    owned = session.get(OrgBlob, (org_id, blob.id))
    if owned is None:
        session.add(OrgBlob(org_id=org_id, blob_id=blob.id))
    else:
        owned.touched_at = utc_now()
    return blob.key


def move(session: Session, blob: Blob, key: str) -> None:
    """A blob's bytes are those of another name from now on: it had lost its own. What it was made of is forgotten."""
    if is_chunked(blob.key):
        session.execute(delete(Recipe).where(Recipe.blob_id == blob.id))
    blob.key = key
    chunking.enqueue(session, [blob.id])


def held_bytes(session: Session, org_id: int) -> int:
    """How many bytes the organisation holds, each digest counted once, and the manifests that were pushed to its
    models."""
    total = select(func.coalesce(func.sum(Blob.size_bytes), 0)).join(OrgBlob, OrgBlob.blob_id == Blob.id)
    pushed = select(func.coalesce(func.sum(Manifest.size_bytes), 0)).join(Model, Model.id == Manifest.model_id)
    queries = (total.where(OrgBlob.org_id == org_id), pushed.where(Model.org_id == org_id, ~Manifest.made))
    return sum(int(session.scalar(query) or 0) for query in queries)


def attach(session: Session, tree_id: int, blob_ids: Iterable[int]) -> None:
    """Note that a tree needs these bytes."""
    rows = [{"tree_id": tree_id, "blob_id": blob_id} for blob_id in sorted(set(blob_ids))]
    if rows:
        session.execute(insert(TreeBlob), rows)
        chunking.enqueue(session, [row["blob_id"] for row in rows])


def list_unneeded(session: Session, until: datetime) -> list[tuple[int | None, int]]:
    """`(org_id, blob_id)` of links that nothing has needed since that moment, and `(None, blob_id)` of bytes that no
    organisation holds. Only a look: `let_go` asks again, in the transaction that lets go."""
    links = session.execute(select(OrgBlob.org_id, OrgBlob.blob_id).where(unneeded_link(until)))
    unheld = session.scalars(select(Blob.id).where(*_ORPHANED))
    return [*((org_id, blob_id) for org_id, blob_id in links), *((None, blob_id) for blob_id in unheld)]


def let_go(session: Session, some: Sequence[tuple[int | None, int]], until: datetime) -> list[tuple[str, int]]:
    """Let go of those of these that are unneeded still: the links, then the bytes that no organisation holds any more.

    Answers `(oid, size_bytes)` of the bytes let go; their keys are in `garbage` until the store has deleted them. What
    is made of chunks takes no bytes itself: these are xorbs'.
    """
    for org_id in {org_id for org_id, _ in some if org_id is not None}:
        ids = [blob_id for held_by, blob_id in some if held_by == org_id]
        where = (OrgBlob.org_id == org_id, OrgBlob.blob_id.in_(ids), unneeded_link(until))
        session.execute(delete(OrgBlob).where(*where), execution_options={"synchronize_session": False})
        _unlink(session, org_id, ids)
        held = exists().where(OrgBlob.org_id == Recipe.org_id, OrgBlob.blob_id == Recipe.blob_id)
        session.execute(delete(Recipe).where(Recipe.org_id == org_id, Recipe.blob_id.in_(ids), ~held))
    query = select(Blob.id, Blob.oid, Blob.key, _STORED_BYTES)
    orphans = session.execute(query.where(Blob.id.in_({blob_id for _, blob_id in some}), *_ORPHANED)).all()
    ids = [row.id for row in orphans]
    for table, column in ((Recipe, Recipe.blob_id), (Xorb, Xorb.blob_id), (Blob, Blob.id)):
        session.execute(delete(table).where(column.in_(ids)))
    session.add_all(Garbage(key=row.key) for row in orphans if not is_chunked(row.key))
    return [(row.oid, row[3]) for row in orphans]


def _unlink(session: Session, org_id: int, blob_ids: Collection[int]) -> None:
    """Those of these bytes that the organisation holds no longer are in none of its repositories."""
    held = exists().where(OrgBlob.org_id == org_id, OrgBlob.blob_id == RepositoryBlob.blob_id)
    of_org = RepositoryBlob.model_id.in_(select(Model.id).where(Model.org_id == org_id))
    session.execute(delete(RepositoryBlob).where(RepositoryBlob.blob_id.in_(blob_ids), of_org, ~held))


def list_collectable(session: Session, org_grace_until: datetime) -> dict[int, tuple[str, int]]:
    """What `collect` would let go, but for what is built on it: number -> `(oid, size_bytes)`."""
    kept = exists().where(OrgBlob.blob_id == Blob.id, ~unneeded_link(org_grace_until))
    named = (~exists().where(table.blob_id == Blob.id) for table in (TreeBlob, ManifestBlob))
    query = select(Blob.id, Blob.oid, _STORED_BYTES).where(~kept, *named)
    return {blob_id: (oid, size) for blob_id, oid, size in session.execute(query)}


_STORED_BYTES = case((Blob.key.like("%.x%"), 0), else_=Blob.size_bytes)

_BUILT_ON = exists().where(
    Xorb.blob_id == Blob.id,
    or_(
        exists().where(OrgXorb.xorb_id == Xorb.id),
        exists().where(
            RecipeXorb.xorb_id == Xorb.id, Recipe.id == RecipeXorb.recipe_id, Recipe.blob_id != Xorb.blob_id
        ),
    ),
)
"""Xorbs stand over the blob that a file is made of, or that some client may build on."""

_ORPHANED = (
    ~exists().where(OrgBlob.blob_id == Blob.id),
    ~exists().where(TreeBlob.blob_id == Blob.id),
    ~exists().where(ManifestBlob.blob_id == Blob.id),
    ~exists().where(RepositoryBlob.blob_id == Blob.id),
    ~_BUILT_ON,
)


def unneeded_link(until: datetime) -> ColumnElement[bool]:
    """Whether nothing in its organisation has needed an `OrgBlob` since that moment."""
    needed = (_needed_by(Version), _needed_by(Commit), _named_by_manifest(), _kept_in_repository())
    return (OrgBlob.touched_at <= until) & ~or_(*needed)


def _needed_by(table: type[Version | Commit]) -> ColumnElement[bool]:
    return (
        exists()
        .where(TreeBlob.blob_id == OrgBlob.blob_id)
        .where(table.tree_id == TreeBlob.tree_id)
        .where(Model.id == table.model_id, Model.org_id == OrgBlob.org_id)
    )


def _named_by_manifest() -> ColumnElement[bool]:
    return (
        exists()
        .where(ManifestBlob.blob_id == OrgBlob.blob_id)
        .where(Manifest.id == ManifestBlob.manifest_id)
        .where(Model.id == Manifest.model_id, Model.org_id == OrgBlob.org_id)
    )


def _kept_in_repository() -> ColumnElement[bool]:
    return (
        exists()
        .where(RepositoryBlob.blob_id == OrgBlob.blob_id, RepositoryBlob.kept)
        .where(Model.id == RepositoryBlob.model_id, Model.org_id == OrgBlob.org_id)
    )


def list_garbage(session: Session) -> list[str]:
    """Keys that the store has not let go of yet."""
    return list(session.scalars(select(Garbage.key)))


def forget_garbage(session: Session, keys: Collection[str]) -> None:
    """The store has let go of these."""
    for some in in_batches(keys):
        session.execute(delete(Garbage).where(Garbage.key.in_(some)))


def disown(session: Session, keys: Collection[str]) -> set[str]:
    """Note as garbage those of these physical names that no row stands for; answers them."""
    unknown = find_unknown(session, keys)
    session.add_all(Garbage(key=key) for key in unknown)
    return unknown


def find_unknown(session: Session, keys: Collection[str]) -> set[str]:
    """Those of these physical names that no row stands for: not of bytes, of chunks, of an unfinished upload, or of
    garbage."""
    unknown = set(keys)
    for some in in_batches(keys):
        for column in (Blob.key, Xorb.key, Upload.key, BlobUpload.key, Garbage.key):
            unknown.difference_update(session.scalars(select(column).where(column.in_(some))))
    return unknown


def list_blobs(session: Session, *, after_id: int = 0, most: int | None = None) -> list[HeldBlob]:
    """The bytes that the registry knows of, in the order in which it came to know them."""
    query = select(Blob.id, Blob.oid, Blob.size_bytes, Blob.key).where(Blob.id > after_id).order_by(Blob.id)
    return [HeldBlob(*row) for row in session.execute(query.limit(most))]


def list_by_pages(database: Database) -> Iterator[list[HeldBlob]]:
    """The same, in short looks: for who takes his time with each of them."""
    after_id = 0
    while True:
        with database.read() as session:
            rows = list_blobs(session, after_id=after_id, most=_ROWS_AT_ONCE)
        if not rows:
            return
        yield rows
        after_id = rows[-1].id
