"""Which other versions have the same bytes as one, and how many: told by whole files.

Candidates are looked for by the heaviest files alone: a tokenizer that a thousand versions have costs nothing
where there are weights beside it. Versions that the caller may not see are left out by the query itself, before
anything is summed, ranked or cut.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, aliased, load_only

from steelyard.server.core.access import Actor, visible_to
from steelyard.server.core.models import Found
from steelyard.server.db.tables import Blob, Model, Org, Standing, TreeBlob, Version

MOST_SHARERS = 8
LEAST_SHARE = 0.01
_WEIGHED_OF_MODEL = 4  # candidates of a model whose bytes are summed: the heaviest files alone tell few apart
_MOST_HEAVY = 8  # files by which candidates are looked for
_MOST_WEIGHED = 20_000  # files that are summed: of a version with more, the heaviest


@dataclass(frozen=True, slots=True)
class Sharer:
    """A version that has some of the bytes; `share` is how much that is of the version asked about, up to 1."""

    found: Found
    version: Version
    shared_bytes: int
    share: float


@dataclass(frozen=True, slots=True)
class Sharing:
    """What a version's files take, each once, and who else has them: of every model the version that has most."""

    distinct_bytes: int
    sharers: Sequence[Sharer]


def get_sharing(session: Session, actor: Actor, version: Version) -> Sharing:
    """The versions that this caller may see and that have most of a version's bytes, the best first."""
    total = int(session.scalar(_files_of(version, func.sum(Blob.size_bytes))) or 0)
    heavy = _heaviest(session, version, total)
    candidates = session.execute(_candidates(actor, version, heavy)).all() if heavy else []
    ids = [row.version_id for row in candidates]
    shared = _shared_bytes(session, version, {row.tree_id for row in candidates}) if ids else {}
    rows = session.execute(_with_names().where(Version.id.in_(ids))).all() if ids else []
    sharers = [
        Sharer(Found(model, org), other, shared[other.tree_id], shared[other.tree_id] / total)
        for other, model, org in rows
    ]
    return Sharing(total, _best([sharer for sharer in sharers if sharer.share >= LEAST_SHARE]))


def _best(sharers: Sequence[Sharer]) -> list[Sharer]:
    """Of each model the one that has most; of those that have as much, one that is not yanked, then the newest."""

    def rank(sharer: Sharer) -> tuple[int, bool, int]:
        return -sharer.shared_bytes, sharer.version.standing == Standing.YANKED, -sharer.version.id

    best: dict[int, Sharer] = {}
    for sharer in sorted(sharers, key=rank):
        best.setdefault(sharer.found.model.id, sharer)
    return list(best.values())[:MOST_SHARERS]


def _files_of(version: Version, *columns: Any) -> Select[Any]:
    query = select(*columns).select_from(TreeBlob).join(Blob, Blob.id == TreeBlob.blob_id)
    return query.where(TreeBlob.tree_id == version.tree_id, Blob.size_bytes > 0)


def _heaviest(session: Session, version: Version, total: int) -> list[int]:
    """The files that make up nearly all of a version."""
    query = _files_of(version, Blob.id, Blob.size_bytes).order_by(Blob.size_bytes.desc(), Blob.id)
    heavy: list[int] = []
    left = total
    for blob_id, size_bytes in session.execute(query.limit(_MOST_HEAVY)):
        if left < total * LEAST_SHARE:
            break
        heavy.append(blob_id)
        left -= size_bytes
    return heavy


def _candidates(actor: Actor, version: Version, heavy: Sequence[int]) -> Select[Any]:
    """Of every visible model the versions that have most of these files, by their bytes; then the newest."""
    bytes_had = func.sum(Blob.size_bytes).label("bytes_had")
    had = (
        select(Version.id.label("version_id"), Version.tree_id, Version.model_id, Version.standing, bytes_had)
        .select_from(TreeBlob)
        .join(Blob, Blob.id == TreeBlob.blob_id)
        .join(Version, Version.tree_id == TreeBlob.tree_id)
        .where(TreeBlob.blob_id.in_(heavy), Version.id != version.id)
        .group_by(Version.id, Version.tree_id, Version.model_id, Version.standing)
        .subquery()
    )
    best = (had.c.bytes_had.desc(), had.c.standing.desc(), had.c.version_id.desc())
    # Ranks are within a model: whichever others have the files, seen or not, does not change them.
    ranked = select(had, func.row_number().over(partition_by=had.c.model_id, order_by=best).label("rank")).subquery()
    first = select(ranked.c.version_id, ranked.c.tree_id).join(Model, Model.id == ranked.c.model_id)
    seen = first.where(ranked.c.rank <= _WEIGHED_OF_MODEL, visible_to(actor))
    most = MOST_SHARERS * _WEIGHED_OF_MODEL
    return seen.order_by(ranked.c.bytes_had.desc(), ranked.c.version_id.desc()).limit(most)


def _shared_bytes(session: Session, version: Version, tree_ids: set[int]) -> Mapping[int, int]:
    """By tree, how many bytes of a version's files it has."""
    weighed = _files_of(version, Blob.id, Blob.size_bytes).order_by(Blob.size_bytes.desc(), Blob.id)
    ours, theirs = weighed.limit(_MOST_WEIGHED).subquery(), aliased(TreeBlob)
    query = select(theirs.tree_id, func.sum(ours.c.size_bytes)).join(ours, ours.c.id == theirs.blob_id)
    rows = session.execute(query.where(theirs.tree_id.in_(tree_ids)).group_by(theirs.tree_id))
    return {tree_id: int(shared) for tree_id, shared in rows}


def _with_names() -> Select[Version, Model, Org]:
    columns = (Version.model_id, Version.version, Version.standing, Version.tree_id, Version.created_at)
    query = select(Version, Model, Org).options(load_only(*columns)).join(Model, Model.id == Version.model_id)
    return query.join(Org, Org.id == Model.org_id)
