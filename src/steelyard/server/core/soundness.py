"""What versions and drafts promise by their rows: which of them need some bytes, and whether the rows are there that
keep these.

Asked by a check of the whole registry, never by a request.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from steelyard.server.core import blobs
from steelyard.server.db.tables import (
    Blob,
    Commit,
    Manifest,
    ManifestBlob,
    Model,
    Org,
    OrgBlob,
    Tree,
    TreeBlob,
    Version,
)
from steelyard.server.names import Oid


@dataclass(frozen=True, slots=True)
class Use:
    """A file of a version, `org/name:version`, or of a commit that no version has, `org/name@sha`; or a manifest that
    names the bytes, `org/name@sha256:…`, which knows no path of them."""

    version: str
    path: str


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """Bytes that a tree's files name, and that no row keeps for the tree: clean-up would let go of them."""

    tree_id: int
    oid: str
    size_bytes: int


_VERSIONS = (
    select(Org.slug, Model.name, Version.version, Tree.files)
    .select_from(Version)
    .join(Model, Model.id == Version.model_id)
    .join(Org, Org.id == Model.org_id)
    .join(Tree, Tree.id == Version.tree_id)
    .order_by(Org.slug, Model.name, Version.id)
)


_DRAFTS = (
    select(Org.slug, Model.name, Commit.sha, Tree.files)
    .select_from(Commit)
    .join(Model, Model.id == Commit.model_id)
    .join(Org, Org.id == Model.org_id)
    .join(Tree, Tree.id == Commit.tree_id)
    .where(~exists().where(Version.tree_id == Commit.tree_id))
    .order_by(Org.slug, Model.name, Commit.id)
)


def list_uses(session: Session, oid: str, tree_id: int | None = None) -> list[Use]:
    """Every file of every version and draft that is these bytes; of one tree, whatever its rows say."""
    needed = select(TreeBlob.tree_id).join(Blob, Blob.id == TreeBlob.blob_id).where(Blob.oid == oid)
    condition = Tree.id.in_(needed) if tree_id is None else Tree.id == tree_id
    named = [] if tree_id is not None else _list_manifests(session, oid)
    return named + [
        Use(f"{org}/{name}{mark}{version}", path)
        for query, mark in ((_VERSIONS, ":"), (_DRAFTS, "@"))
        for org, name, version, files in session.execute(query.where(condition))
        for path, named, _ in files
        if named == oid
    ]


def _list_manifests(session: Session, oid: str) -> list[Use]:
    query = (
        select(Org.slug, Model.name, Manifest.digest)
        .join(Model, Model.org_id == Org.id)
        .join(Manifest, Manifest.model_id == Model.id)
        .join(ManifestBlob, ManifestBlob.manifest_id == Manifest.id)
        .join(Blob, Blob.id == ManifestBlob.blob_id)
        .where(Blob.oid == oid, ~Manifest.made)
        .order_by(Org.slug, Model.name, Manifest.id)
    )
    return [Use(f"{org}/{name}@{digest}", "") for org, name, digest in session.execute(query)]


def list_trees(session: Session, *, after_id: int, most: int) -> list[int]:
    """The numbers of trees, in their order."""
    return list(session.scalars(select(Tree.id).where(Tree.id > after_id).order_by(Tree.id).limit(most)))


def find_unrecorded(session: Session, tree_ids: Sequence[int]) -> list[Unrecorded]:
    """What the files of these trees name and no row keeps for them."""
    rows = select(TreeBlob.tree_id, Blob.oid).join(Blob, Blob.id == TreeBlob.blob_id)
    kept = {tuple(row) for row in session.execute(rows.where(TreeBlob.tree_id.in_(tree_ids)))}
    trees = session.execute(select(Tree.id, Tree.files).where(Tree.id.in_(tree_ids)).order_by(Tree.id))
    named = {(tree_id, oid): size for tree_id, files in trees for _, oid, size in files}
    return [Unrecorded(tree_id, oid, size) for (tree_id, oid), size in named.items() if (tree_id, oid) not in kept]


def record(session: Session, found: Unrecorded, key: str | None) -> bool:
    """Write the rows that keep these bytes for the tree. Where nothing knows them, `key` is where they lie; answers
    whether it could be done. The tree's version may be gone by now, and the key garbage."""
    org_id = _find_owner(session, found.tree_id)
    blob = session.scalar(select(Blob).where(Blob.oid == found.oid))
    if org_id is None or (blob is None and (key is None or not blobs.find_unknown(session, [key]))):
        return False
    if blob is None:
        blob = Blob(oid=Oid(found.oid), size_bytes=found.size_bytes, key=key)
        session.add(blob)
        session.flush()
    if session.get(OrgBlob, (org_id, blob.id)) is None:
        session.add(OrgBlob(org_id=org_id, blob_id=blob.id))
    if session.get(TreeBlob, (blob.id, found.tree_id)) is None:
        blobs.attach(session, found.tree_id, [blob.id])
    return True


def _find_owner(session: Session, tree_id: int) -> int | None:
    for table in (Version, Commit):
        query = select(Model.org_id).join(table, table.model_id == Model.id).where(table.tree_id == tree_id)
        if (org_id := session.scalar(query.limit(1))) is not None:
            return org_id
    return None


def move(session: Session, oid: str, lost_key: str, key: str) -> bool:
    """Let these bytes, lost under one physical name, be those under another; answers whether it could be done. They may
    have been sent anew by now, and the other name may be somebody's or garbage."""
    blob = session.scalar(select(Blob).where(Blob.oid == oid, Blob.key == lost_key))
    if blob is None or not blobs.find_unknown(session, [key]):
        return False
    blobs.move(session, blob, key)
    return True
