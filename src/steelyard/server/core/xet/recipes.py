"""Files made of chunks: how each is made, who may have it so, and what of it a client has to fetch."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import exists, func, insert, select, union
from sqlalchemy.orm import Session

from steelyard.server.core.xet.layouts import layout_of
from steelyard.server.db.engine import in_batches
from steelyard.server.db.tables import Blob, Commit, Recipe, RecipeXorb, TreeBlob, Version, Xorb
from steelyard.server.errors import RangeNotSatisfiable
from steelyard.server.storage.chunked import Layout, Term, XorbPlace, place_xorb
from steelyard.server.xet import hashes
from steelyard.server.xet.hashes import Hash
from steelyard.server.xet.xorbs import unpack_table


@dataclass(frozen=True, slots=True)
class PlannedTerm:
    """A run of a xorb's chunks that the answer needs; `raw_bytes` is how long all of it is."""

    xorb_hash: str
    start: int
    end: int
    raw_bytes: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """Chunks `start` to `end` of a xorb, which are the bytes `[first_byte, end_byte)` of its stored form."""

    xorb_id: int
    xorb_hash: str
    start: int
    end: int
    first_byte: int
    end_byte: int


@dataclass(frozen=True, slots=True)
class Plan:
    """How a client makes a range of a file: terms in their order, the first `offset_bytes` of the first one left out,
    and what to fetch for them, in the order of xorbs' first use and ascending within each; every term lies in one."""

    size_bytes: int
    offset_bytes: int
    terms: tuple[PlannedTerm, ...]
    fetches: tuple[Fetch, ...]


def find_recipe(session: Session, org_id: int, file_hash: Hash) -> Recipe | None:
    """How the file of that name is made of an organisation's own chunks."""
    named = (Recipe.org_id == org_id, Recipe.file_hash == hashes.to_text(file_hash))
    return session.scalars(select(Recipe).where(*named).limit(1)).first()


def has_recipe(session: Session, org_id: int, blob_id: int) -> bool:
    """Whether the organisation has the blob in chunks."""
    named = (Recipe.org_id == org_id, Recipe.blob_id == blob_id)
    return session.scalar(select(Recipe.id).where(*named)) is not None


def add_recipe(session: Session, org_id: int | None, blob_id: int, file_hash: Hash, layout: Layout) -> None:
    """An organisation has a blob so from now on; or, without one, its bytes lie so. The xorbs are kept for it."""
    terms = [list(term) for term in layout.terms]
    recipe = Recipe(blob_id=blob_id, org_id=org_id, file_hash=hashes.to_text(file_hash), terms=terms)
    session.add(recipe)
    session.flush()
    needed = sorted({term.xorb_id for term in layout.terms})
    if needed:
        session.execute(insert(RecipeXorb), [{"recipe_id": recipe.id, "xorb_id": xorb_id} for xorb_id in needed])


def find_lighter(session: Session, org_id: int, oids: Collection[str]) -> dict[str, str]:
    """OID -> the name in Xet, of those of these that take a tenth fewer bytes as chunks, as far as all of their xorbs
    tell, and that their organisation has in chunks. For callers who have shown that they may read what holds them."""
    found: dict[str, str] = {}
    query = select(Blob.oid, Recipe.file_hash).join(Recipe, Recipe.blob_id == Blob.id)
    query = query.join(RecipeXorb, RecipeXorb.recipe_id == Recipe.id).join(Xorb, Xorb.id == RecipeXorb.xorb_id)
    query = query.where(Recipe.org_id == org_id).group_by(Blob.oid, Recipe.file_hash)
    query = query.having(10 * func.sum(Xorb.size_bytes) <= 9 * func.sum(Xorb.raw_bytes))
    for some in in_batches(oids):
        found.update((row.oid, row.file_hash) for row in session.execute(query.where(Blob.oid.in_(some))))
    return found


def is_of_model(session: Session, recipe: Recipe, model_id: int, *, drafts: bool) -> bool:
    """Whether a version of the model has the file; with `drafts`, any commit."""
    tables = (Version, Commit) if drafts else (Version,)
    trees = union(*(select(table.tree_id).where(table.model_id == model_id) for table in tables))
    needed = exists().where(TreeBlob.blob_id == recipe.blob_id, TreeBlob.tree_id.in_(trees))
    return bool(session.scalar(select(needed)))


# --- what a client has to fetch


def plan_reconstruction(session: Session, recipe: Recipe, start: int = 0, end: int | None = None) -> Plan:
    """How to make the bytes `[start, end)` of a file, `end` clipped to its size. Raises `RangeNotSatisfiable` where
    `start` lies at its end or after; an empty file asked for whole has an empty plan."""
    layout = layout_of(recipe)
    size_bytes = layout.size_bytes
    end = size_bytes if end is None else min(end, size_bytes)
    if start >= size_bytes and (start, end) != (0, 0):
        raise RangeNotSatisfiable(
            f"The file has {size_bytes} bytes.", headers={"Content-Range": f"bytes */{size_bytes}"}
        )
    needed = list(_overlapping(layout, start, end))
    xorbs = _load_xorbs(session, {term.xorb_id for term, _, _ in needed})
    cut = [_cut(term, xorbs[term.xorb_id], low, high) for term, low, high in needed]
    terms = tuple(term for term, _ in cut)
    ids = [term.xorb_id for term, _, _ in needed]
    return Plan(size_bytes, cut[0][1] if cut else 0, terms, tuple(_fetches(list(zip(ids, terms, strict=True)), xorbs)))


@dataclass(frozen=True, slots=True)
class _Xorb:
    hash: str
    place: XorbPlace


def _overlapping(layout: Layout, start: int, end: int) -> Iterator[tuple[Term, int, int]]:
    """The terms with bytes of `[start, end)`, and which of their bytes these are."""
    for term, offset in zip(layout.terms, layout.offsets, strict=False):
        low, high = max(start - offset, 0), min(end - offset, term.raw_bytes)
        if low < high:
            yield term, low, high


def _load_xorbs(session: Session, xorb_ids: set[int]) -> dict[int, _Xorb]:
    found: dict[int, _Xorb] = {}
    for some in in_batches(xorb_ids):
        for row in session.execute(select(Xorb.id, Xorb.hash, Xorb.chunks).where(Xorb.id.in_(some))):
            found[row.id] = _Xorb(row.hash, place_xorb("", unpack_table(row.chunks)))
    return found


def _cut(term: Term, xorb: _Xorb, low: int, high: int) -> tuple[PlannedTerm, int]:
    """Those chunks of a term that have its bytes from `low` to `high`; and how many of their bytes come before."""
    offsets = xorb.place.raw_offsets
    base = offsets[term.start]
    first = bisect_right(offsets, base + low) - 1
    last = bisect_left(offsets, base + high)
    return PlannedTerm(xorb.hash, first, last, offsets[last] - offsets[first]), base + low - offsets[first]


def _fetches(terms: Sequence[tuple[int, PlannedTerm]], xorbs: dict[int, _Xorb]) -> Iterator[Fetch]:
    runs: dict[int, list[tuple[int, int]]] = {}
    for xorb_id, term in terms:
        runs.setdefault(xorb_id, []).append((term.start, term.end))
    for xorb_id, some in runs.items():
        xorb = xorbs[xorb_id]
        for start, end in _merged(some):
            stored = xorb.place.stored_offsets
            yield Fetch(xorb_id, xorb.hash, start, end, stored[start], stored[end])


def _merged(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Runs that touch or overlap as one; what lies between two that do not is nobody's business."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(runs):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged
