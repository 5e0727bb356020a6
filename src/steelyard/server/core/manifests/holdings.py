"""What a repository holds: which bytes answer to a digest there. Knowing a digest opens nothing.

A model's repository holds what its versions and manifests name, and what was pushed to it or mounted into it.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, union_all, update
from sqlalchemy.orm import Session

from steelyard.server.core.access import Action, Actor, may, visible_to
from steelyard.server.core.blobs import HeldBlob, find_held
from steelyard.server.db.engine import in_batches
from steelyard.server.db.tables import (
    Blob,
    BlobDigest,
    Commit,
    Manifest,
    ManifestBlob,
    Model,
    Org,
    OrgBlob,
    RepositoryBlob,
    TreeBlob,
    Version,
    utc_now,
)


@dataclass(frozen=True, slots=True)
class Holding:
    """What answers to a digest: a blob's bytes; with `tar_path`, a tar of them alone; or `content` that we made."""

    digest: str
    blob: HeldBlob | None = None
    tar_path: str | None = None
    content: bytes | None = None


def find_holding(session: Session, model_id: int, digest: str, *, drafts: bool) -> Holding | None:
    """What answers to this digest in a model's repository; with `drafts`, what only commits of it have, too."""
    blob = find_all(session, model_id, [digest], drafts=drafts).get(digest)
    return Holding(digest, blob) if blob else find_made(session, model_id, [digest]).get(digest)


def find_all(session: Session, model_id: int, digests: Collection[str], *, drafts: bool) -> dict[str, HeldBlob]:
    """Those of the digests that name bytes which the repository holds as they are."""
    found: dict[str, HeldBlob] = {}
    held = _is_held(model_id, drafts=drafts)
    columns = (Blob.id, Blob.oid, Blob.size_bytes, Blob.key)
    for some in in_batches(digests):
        plain = select(Blob.oid, *columns).where(Blob.oid.in_(some), held)
        other = select(BlobDigest.digest, *columns).join(Blob, Blob.id == BlobDigest.blob_id)
        found.update((row[0], HeldBlob(*row[1:])) for row in session.execute(plain))
        if len(found) < len(digests):
            query = other.where(BlobDigest.digest.in_(some), held)
            found.update((row[0], HeldBlob(*row[1:])) for row in session.execute(query))
    return found


def find_made(session: Session, model_id: int, digests: Collection[str]) -> dict[str, Holding]:
    """Those of the digests that name what only we make, as the config of a version's manifest or a tar of its twin."""
    of_model = select(ManifestBlob.digest, func.min(ManifestBlob.manifest_id).label("manifest_id"))
    of_model = of_model.join(Manifest, Manifest.id == ManifestBlob.manifest_id).where(Manifest.model_id == model_id)
    of_model = of_model.where(or_(ManifestBlob.tar_path.is_not(None), ManifestBlob.content.is_not(None)))
    found: dict[str, Holding] = {}
    for some in in_batches(digests):
        first = of_model.where(ManifestBlob.digest.in_(some)).group_by(ManifestBlob.digest).subquery()
        is_first = (ManifestBlob.manifest_id == first.c.manifest_id) & (ManifestBlob.digest == first.c.digest)
        query = (
            select(ManifestBlob.digest, ManifestBlob.tar_path, ManifestBlob.content, Blob)
            .join(first, is_first)
            .outerjoin(Blob, Blob.id == ManifestBlob.blob_id)
        )
        for digest, tar_path, content, blob in session.execute(query):
            held = HeldBlob(blob.id, blob.oid, blob.size_bytes, blob.key) if blob else None
            found[digest] = Holding(digest, held, tar_path, content)
    return found


def find_held_in_org(session: Session, org_id: int, digest: str) -> HeldBlob | None:
    """The bytes of this digest, if the organisation holds them."""
    oid = session.scalar(select(Blob.oid).join(BlobDigest).where(BlobDigest.digest == digest)) or digest
    return find_held(session, org_id, [oid]).get(oid)


def find_pushable(session: Session, actor: Actor, slug: str, digest: str) -> HeldBlob | None:
    """The bytes of this digest, if the organisation holds them and the caller may publish there."""
    org_id = session.scalar(select(Org.id).where(Org.slug == slug))
    if org_id is None or not may(actor, Action.PUBLISH, org_id):
        return None
    return find_held_in_org(session, org_id, digest)


def find_in_org(session: Session, actor: Actor, slug: str, digest: str) -> Holding | None:
    """What answers to this digest in any of the organisation's models that the caller may see."""
    org_id = session.scalar(select(Org.id).where(Org.slug == slug))
    if org_id is None:
        return None
    drafts = actor.role_in(org_id) is not None
    model_id = session.scalar(
        select(Model.id)
        .where(Model.org_id == org_id, visible_to(actor), or_(*_holders(session, digest, drafts=drafts)))
        .limit(1)
    )
    return None if model_id is None else find_holding(session, model_id, digest, drafts=drafts)


def _holders(session: Session, digest: str, *, drafts: bool) -> list[ColumnElement[bool]]:
    """The conditions on `models`, any of which is enough. They are looked up from the blob."""
    made = select(Manifest.model_id).join(ManifestBlob, ManifestBlob.manifest_id == Manifest.id)
    holds: list[ColumnElement[bool]] = [Model.id.in_(made.where(ManifestBlob.digest == digest))]
    oid = session.scalar(select(Blob.oid).join(BlobDigest).where(BlobDigest.digest == digest)) or digest
    blob_id = session.scalar(select(Blob.id).where(Blob.oid == oid))
    if blob_id is None:
        return holds
    pushed = select(RepositoryBlob.model_id).where(RepositoryBlob.blob_id == blob_id)
    named = made.where(and_(ManifestBlob.blob_id == blob_id, ManifestBlob.tar_path.is_(None)))
    tables = (Version, Commit) if drafts else (Version,)
    in_trees = [
        select(table.model_id).join(TreeBlob, TreeBlob.tree_id == table.tree_id).where(TreeBlob.blob_id == blob_id)
        for table in tables
    ]
    return [*holds, Model.id.in_(union_all(pushed, named, *in_trees))]


def link(session: Session, model_id: int, blob_id: int, *, kept: bool = False) -> None:
    """Note that the repository has these bytes, which its organisation holds."""
    row = session.get(RepositoryBlob, (model_id, blob_id))
    if row is None:
        session.add(RepositoryBlob(model_id=model_id, blob_id=blob_id, kept=kept))
    elif kept:
        row.kept = True
    session.flush()


def unlink(session: Session, model_id: int, blob_id: int) -> None:
    """The repository has these bytes no longer, unless a version or a manifest of it names them."""
    session.execute(
        delete(RepositoryBlob).where(RepositoryBlob.model_id == model_id, RepositoryBlob.blob_id == blob_id)
    )


def unlink_all(session: Session, org_id: int, model_id: int) -> None:
    """A model goes, with all that its repository has. The grace of these bytes begins now."""
    linked = RepositoryBlob.model_id == model_id
    held = (OrgBlob.org_id == org_id, OrgBlob.blob_id.in_(select(RepositoryBlob.blob_id).where(linked)))
    session.execute(
        update(OrgBlob).where(*held).values(touched_at=utc_now()), execution_options={"synchronize_session": False}
    )
    session.execute(delete(RepositoryBlob).where(linked))


def note_digest(session: Session, blob_id: int, digest: str) -> None:
    """Note another digest of some bytes, which was proven."""
    if session.get(BlobDigest, digest) is None:
        session.add(BlobDigest(digest=digest, blob_id=blob_id))
        session.flush()


def is_named(session: Session, model_id: int, blob_id: int) -> bool:
    """Whether a version, a commit or a manifest of the model names these bytes."""
    named = or_(_in_tree(Version, model_id), _in_tree(Commit, model_id), _in_manifest(model_id))
    return session.scalar(select(Blob.id).where(Blob.id == blob_id, named)) is not None


def _is_held(model_id: int, *, drafts: bool) -> ColumnElement[bool]:
    """The condition on `blobs`. Each part of it is looked up from the blob: a model may have very many files."""
    pushed = exists().where(RepositoryBlob.model_id == model_id, RepositoryBlob.blob_id == Blob.id)
    tables = (Version, Commit) if drafts else (Version,)
    return or_(pushed, _in_manifest(model_id), *(_in_tree(table, model_id) for table in tables))


def _in_manifest(model_id: int) -> ColumnElement[bool]:
    named = exists().where(ManifestBlob.blob_id == Blob.id, ManifestBlob.tar_path.is_(None))
    return named.where(Manifest.id == ManifestBlob.manifest_id, Manifest.model_id == model_id)


def _in_tree(table: type[Version | Commit], model_id: int) -> ColumnElement[bool]:
    named = exists().where(TreeBlob.blob_id == Blob.id, table.tree_id == TreeBlob.tree_id)
    return named.where(table.model_id == model_id)
