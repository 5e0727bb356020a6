"""Versions side by side: what is said of them, their metrics, their files, and the tensors of their weights.

Each is held against the first. Counts are always of everything; lines are told by the page, since a version may have
a hundred thousand files and as many tensors.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Generic, TypeVar

from sqlalchemy.orm import Session

from steelyard.server.core import blobs
from steelyard.server.core.access import Actor
from steelyard.server.core.files.reading import read_header_of
from steelyard.server.core.files.tensors import Header
from steelyard.server.core.files.trees import File, TreeCache
from steelyard.server.core.files.weights import SHARD
from steelyard.server.core.lineage.origins import base_model_for, hidden_parents
from steelyard.server.core.models import Found, aliases_of_versions
from steelyard.server.core.versions import resolve
from steelyard.server.db.tables import Version
from steelyard.server.errors import Invalid, NotFound, StorageFailed
from steelyard.server.storage import BlobStore

LEAST_VERSIONS, MOST_VERSIONS = 2, 5
MOST_WEIGHT_FILES = 300  # read for one comparison: each is at least one request to the store
MOST_NAMED_FILES = 3_000  # of weights, the same bytes counted each time: each is a line of the answer at the worst
MOST_TENSORS = 500_000  # compared at once, counted in each version anew; a large model has 100,000
_ENDINGS = (".safetensors", ".gguf")
Metric = int | float | str
K = TypeVar("K", bound=Any)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Choice:
    """The versions that somebody chose, and what is wrong with his choice, in words for him."""

    versions: list[Version]
    problems: list[str]


def choose_versions(session: Session, found: Found, references: Sequence[str]) -> Choice:
    """The versions that these lead to: numbers, aliases, `latest` or ranges. Of more than five none is looked up."""
    if len(references) > MOST_VERSIONS:
        return Choice([], [f"At most {MOST_VERSIONS} versions are compared at once; these are {len(references)}."])
    chosen: list[Version] = []
    problems: list[str] = []
    for reference in references:
        try:
            chosen.append(resolve(session, found, reference).version)
        except (Invalid, NotFound) as error:
            problems.append(error.detail)
    if len(references) < LEAST_VERSIONS:
        problems.append(f"Choose at least {LEAST_VERSIONS} versions.")
    return Choice(chosen, problems)


class Change(StrEnum):
    """What became of a thing of the first version in another one."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Part:
    """Which lines to tell: those that differ, or all; one page of them."""

    page: int = 1
    limit: int = 200
    unchanged: bool = False

    def of(self, lines: Sequence[K]) -> Sequence[K]:
        """The lines of this page."""
        return lines[(self.page - 1) * self.limit : self.page * self.limit]


@dataclass(frozen=True, slots=True)
class Line(Generic[K, T]):
    """One thing in each of the versions, None where it is not there. Of the first version, and where neither it nor
    the other has the thing, the change is None, too."""

    key: K
    values: tuple[T | None, ...]
    changes: tuple[Change | None, ...]


@dataclass(frozen=True, slots=True)
class SideBySide(Generic[K, T]):
    """Versions held against the first: `counts` has one for each of the others, `total` counts the lines on all
    pages."""

    counts: tuple[Mapping[Change, int], ...]
    lines: list[Line[K, T]]
    total: int


def put_side_by_side(sides: Sequence[Mapping[K, T]], part: Part) -> SideBySide[K, T]:
    """Things by their keys, held against those of the first side."""
    first, *others = sides
    found = [_changes_of(first, other) for other in others]
    different = (keys for changes in found for keys in changes.values())
    keys = set().union(*(sides if part.unchanged else different))
    lines = [
        Line(key, tuple(side.get(key) for side in sides), (None, *(_change(first, other, key) for other in others)))
        for key in part.of(sorted(keys))
    ]
    counts = tuple(_count(first, changes) for changes in found)
    return SideBySide(counts, lines, len(keys))


def _changes_of(first: Mapping[K, T], other: Mapping[K, T]) -> dict[Change, set[K]]:
    """The keys of what differs."""
    both = first.keys() & other.keys()
    return {
        Change.ADDED: other.keys() - both,
        Change.REMOVED: first.keys() - both,
        Change.CHANGED: {key for key in both if first[key] != other[key]},
    }


def _count(first: Mapping[K, T], changes: Mapping[Change, set[K]]) -> Mapping[Change, int]:
    counts = {change: len(keys) for change, keys in changes.items()}
    return {**counts, Change.UNCHANGED: len(first) - counts[Change.REMOVED] - counts[Change.CHANGED]}


def _change(first: Mapping[K, T], other: Mapping[K, T], key: K) -> Change | None:
    before, after = first.get(key), other.get(key)
    if before is None or after is None:
        return Change.ADDED if after is not None else Change.REMOVED if before is not None else None
    return Change.UNCHANGED if before == after else Change.CHANGED


# --- what is said of them, and measured


@dataclass(frozen=True, slots=True)
class Row:
    """Something that is said of at least one of the versions."""

    key: str
    values: tuple[Any, ...]

    @property
    def differs(self) -> bool:
        """Whether it is not the same of all."""
        return any(value != self.values[0] for value in self.values)


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A metric, and how far each value lies from that of the first version: None where one of them is no number."""

    key: str
    values: tuple[Metric | None, ...]
    differences: tuple[int | float | Decimal | None, ...]


_SAID = (
    *("created_at", "pretty_name", "summary", "framework", "task", "architecture", "base_model", "license"),
    *("size_category", "tags", "language", "task_categories", "dataset_refs", "size_bytes", "aliases", "yank_reason"),
)


def list_metadata(session: Session, actor: Actor, found: Found, versions: Sequence[Version]) -> list[Row]:
    """What is said of any of these, as far as this caller may know; without what is said of none."""
    aliases = aliases_of_versions(session, [version.id for version in versions])
    known: dict[str, Callable[[Version], Any]] = {
        "base_model": lambda version: base_model_for(version, hidden_parents(session, actor, found, version)),
        "aliases": lambda version: aliases.get(version.id),
    }
    rows = (
        Row(key, tuple(known[key](version) if key in known else getattr(version, key) or None for version in versions))
        for key in _SAID
    )
    return [row for row in rows if any(value is not None for value in row.values)]


def list_metrics(versions: Sequence[Version], part: Part) -> tuple[list[MetricRow], int]:
    """A page of the metrics that any of these has, by name, and how many there are on all pages."""
    keys = sorted(set().union(*(version.metrics or {} for version in versions)))
    rows = (MetricRow(key, values, _differences(values)) for key, values in _values_of(versions, part.of(keys)))
    return list(rows), len(keys)


def _values_of(versions: Sequence[Version], keys: Iterable[str]) -> Iterable[tuple[str, tuple[Metric | None, ...]]]:
    return ((key, tuple((version.metrics or {}).get(key) for version in versions)) for key in keys)


def _differences(values: tuple[Metric | None, ...]) -> tuple[int | float | Decimal | None, ...]:
    first, *others = values
    return (None, *(difference(first, other) for other in others))


def difference(first: Metric | None, other: Metric | None) -> int | float | Decimal | None:
    """How far the second lies above the first; None where one of them is no number. A `Decimal` where no float can
    say it: 1e308 lies 2e308 above -1e308."""
    if not isinstance(first, int | float) or not isinstance(other, int | float):
        return None
    above = other - first
    return above if isinstance(above, int) or math.isfinite(above) else Decimal(other) - Decimal(first)


# --- files


def compare_files(session: Session, trees: TreeCache, versions: Sequence[Version], part: Part) -> SideBySide[str, File]:
    """The files of versions by path. One whose bytes are others has changed."""
    return put_side_by_side([trees.get(session, version).files for version in versions], part)


# --- tensors


@dataclass(frozen=True, slots=True)
class Form:
    """What a header tells of a tensor, but for where its bytes are: `shape` has the dimensions in the file's order."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Weights:
    """The files of a version's weights by the set they belong to: shards of one set are compared as one. `keys` are
    the physical names of their bytes, by OID."""

    version: str
    sets: Mapping[str, list[File]]
    keys: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Unread:
    """A set of weights that is compared in no version, since what this one has of it cannot be read."""

    version: str
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class ComparedTensors:
    """Tensors by set and name. Unchanged is what has the same type and shape: its numbers may be others."""

    side_by_side: SideBySide[tuple[str, str], Form]
    unread: list[Unread]


def find_weights(session: Session, trees: TreeCache, versions: Sequence[Version]) -> list[Weights]:
    """Where the weights of these are: all that reading them takes, so that it is done outside the transaction.

    Raises `Invalid` where there are too many files.
    """
    sides = [_sets_of(trees.get(session, version).files.values()) for version in versions]
    if all(len(side) == 1 for side in sides):  # there is one set, whatever each version calls it
        name = next(iter(sides[0]))
        sides = [{name: files} for side in sides for files in side.values()]
    named = [file.oid for side in sides for files in side.values() for file in files]
    if len(named) > MOST_NAMED_FILES:
        raise Invalid(f"These versions name {len(named)} files of weights; at most {MOST_NAMED_FILES} are compared.")
    oids = set(named)
    if len(oids) > MOST_WEIGHT_FILES:
        raise Invalid(f"These versions have {len(oids)} files of weights; at most {MOST_WEIGHT_FILES} are compared.")
    keys = blobs.find_keys(session, oids)
    if keys.keys() != oids:
        raise StorageFailed("The registry has no record of some bytes. The operator runs `steelyard admin check`.")
    return [Weights(version.version, side, keys) for version, side in zip(versions, sides, strict=True)]


def compare_tensors(store: BlobStore, weights: Sequence[Weights], part: Part) -> ComparedTensors:
    """The tensors of versions, from the headers of their weights: each distinct file is read once, and by range.

    Has to wait for the store. Raises what the store raises.
    """
    reader = _Reader(store)
    sides = [{name: reader.read(side, name) for name in side.sets} for side in weights]
    broken = {unread.name for unread in reader.unread}
    forms = [
        {(name, tensor): form for name, forms in side.items() if name not in broken for tensor, form in forms.items()}
        for side in sides
    ]
    return ComparedTensors(put_side_by_side(forms, part), reader.unread)


def _sets_of(files: Iterable[File]) -> dict[str, list[File]]:
    sets: dict[str, list[File]] = {}
    for file in files:
        if file.path.lower().endswith(_ENDINGS):
            sets.setdefault(SHARD.sub("", file.path), []).append(file)
    return sets


class _Reader:
    """Reads sets of weights, and notes which it could not read. What two versions say alike is kept once."""

    def __init__(self, store: BlobStore) -> None:
        self.unread: list[Unread] = []
        self._store = store
        self._left = MOST_TENSORS
        self._read: dict[str, Mapping[str, Form]] = {}
        self._refused: dict[tuple[str, str], str] = {}
        self._forms: dict[Form, Form] = {}
        self._names: dict[str, str] = {}

    def read(self, weights: Weights, name: str) -> Mapping[str, Form]:
        """The tensors of a set by name; none of one that cannot be read."""
        found: dict[str, Form] = {}
        try:
            for file in weights.sets[name]:
                found.update(self._tensors_of(file, weights.keys))
        except Invalid as error:
            self.unread.append(Unread(weights.version, name, error.detail))
            return {}
        return found

    def _tensors_of(self, file: File, keys: Mapping[str, str]) -> Mapping[str, Form]:
        if self._left <= 0:
            raise Invalid(f"These versions have more than {MOST_TENSORS} tensors, and no more are compared at once.")
        if file.oid not in self._read:
            tensors = self._header_of(file, keys).tensors
            forms = ((self._names.setdefault(it.name, it.name), Form(it.dtype, it.shape)) for it in tensors)
            self._read[file.oid] = {name: self._forms.setdefault(form, form) for name, form in forms}
        self._left -= len(self._read[file.oid])
        return self._read[file.oid]

    def _header_of(self, file: File, keys: Mapping[str, str]) -> Header:
        """The header. What cannot be read is asked for once: a version may name it a hundred thousand times."""
        ending = file.path.lower().rpartition(".")[2]
        if why := self._refused.get((file.oid, ending)):
            raise Invalid(why)
        try:
            return read_header_of(self._store, file, keys[file.oid])
        except Invalid as error:
            self._refused[file.oid, ending] = error.detail
            raise
