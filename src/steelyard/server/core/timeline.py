"""A model's versions as a line through time: each with its yank, its aliases and their moves; and metrics along it.

The order is SemVer's precedence alone, whatever was yanked. A model may have thousands of versions, and an alias that
a build moves every hour: pages are small, and of each version only the newest moves are told.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, Select, func, select
from sqlalchemy.orm import Session

from steelyard.server.core.access import Action, Actor, may
from steelyard.server.core.models import Found, aliases_of_versions, latest_query
from steelyard.server.db.tables import AliasMove, Standing, Version

MOST_MOVES = 20  # told of one version
MOST_VERSIONS = 200  # whose metrics are told, the highest: as many points as a chart can show
_MOST_VALUES = 50_000  # of metrics that are read for it: one version may have a thousand
Metric = int | float | str


@dataclass(frozen=True, slots=True)
class Move:
    """A step of an alias: `from_version` is None where it was set, `to_version` where it was removed. `by` is for
    members."""

    alias: str
    at: datetime
    by: str | None
    from_version: str | None
    to_version: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A version on the line. `moves` are those of aliases to it and away from it, the newest first, and
    `has_more_moves` says that there were others before. `published_by` is for members."""

    version: str
    standing: Standing
    size_bytes: int
    created_at: datetime
    published_by: str | None
    yank_reason: str | None
    yanked_at: datetime | None
    aliases: tuple[str, ...]
    moves: tuple[Move, ...]
    has_more_moves: bool


@dataclass(frozen=True, slots=True)
class Timeline:
    """A page of the line, the highest version first; `total` counts those on all pages."""

    entries: list[Entry]
    total: int
    latest: str | None


@dataclass(frozen=True, slots=True)
class Mark:
    """A version that metrics are told of."""

    version: str
    standing: Standing


@dataclass(frozen=True, slots=True)
class Series:
    """The values of one metric, one for each version; None where a version has none."""

    key: str
    values: tuple[Metric | None, ...]


@dataclass(frozen=True, slots=True)
class MetricHistory:
    """A page of the metrics of a model, those first that most versions have. `versions` are the highest that have any,
    the lowest of them first; `is_cut` where lower ones were left out. `total` counts the metrics on all pages."""

    versions: tuple[Mark, ...]
    series: list[Series]
    total: int
    is_cut: bool


def list_timeline(session: Session, actor: Actor, found: Found, *, page: int, limit: int) -> Timeline:
    """A page of a model's versions by falling precedence. Outsiders are not told who did anything."""
    numbers = select(func.count()).select_from(Version).where(Version.model_id == found.model.id)
    chosen = _by_precedence(found.model.id).offset((page - 1) * limit).limit(limit)
    rows = session.execute(_entries_query(chosen)).all()
    versions = [row.version for row in rows]
    aliases = aliases_of_versions(session, [row.id for row in rows])
    moves = _moves_of(session, found.model.id, versions, knows=may(actor, Action.READ, found.org.id))
    latest = session.scalar(latest_query(found.model.id).with_only_columns(Version.version))
    entries = [_entry(actor, found, row, aliases.get(row.id, ()), moves.get(row.version, ())) for row in rows]
    return Timeline(entries, session.scalar(numbers) or 0, latest)


def list_metrics(session: Session, found: Found, *, page: int, limit: int) -> MetricHistory:
    """A page of the metrics of a model's highest versions."""
    chosen = list(session.scalars(_by_precedence(found.model.id).limit(MOST_VERSIONS + 1)))
    told = list(_told_metrics(session, chosen[:MOST_VERSIONS]))
    is_cut = len(chosen) > MOST_VERSIONS or sum(len(metrics) for _, metrics in told) >= _MOST_VALUES
    told = [(mark, metrics) for mark, metrics in reversed(told) if metrics]
    counted = Counter(key for _, metrics in told for key in metrics)
    keys = sorted(counted, key=lambda key: (-counted[key], key))
    series = [
        Series(key, tuple(metrics.get(key) for _, metrics in told)) for key in keys[(page - 1) * limit : page * limit]
    ]
    return MetricHistory(tuple(mark for mark, _ in told), series, len(keys), is_cut)


# --- versions in SemVer's order


def _by_precedence(model_id: int) -> Select[int]:
    """Numbers alone, which an index has: rows of versions may be large."""
    return select(Version.id).where(Version.model_id == model_id).order_by(Version.precedence.desc(), Version.id.desc())


def _entries_query(chosen: Select[int]) -> Select[tuple[object, ...]]:
    columns = (
        Version.id,
        Version.version,
        Version.standing,
        Version.size_bytes,
        Version.created_at,
        Version.yank_reason,
        Version.yanked_at,
        Version.origin["registry"]["published_by"].as_string().label("published_by"),
    )
    query: Select[tuple[object, ...]] = select(*columns).where(Version.id.in_(chosen))
    return query.order_by(Version.precedence.desc(), Version.id.desc())


def _entry(
    actor: Actor, found: Found, row: Row[tuple[object, ...]], aliases: Sequence[str], moves: Sequence[Move]
) -> Entry:
    return Entry(
        version=row.version,
        standing=Standing(row.standing),
        size_bytes=row.size_bytes,
        created_at=row.created_at,
        published_by=row.published_by if may(actor, Action.READ, found.org.id) else None,
        yank_reason=row.yank_reason,
        yanked_at=row.yanked_at,
        aliases=tuple(aliases),
        moves=tuple(moves[:MOST_MOVES]),
        has_more_moves=len(moves) > MOST_MOVES,
    )


# --- aliases along it


def _moves_of(session: Session, model_id: int, versions: Sequence[str], *, knows: bool) -> Mapping[str, Sequence[Move]]:
    """The newest moves to and from each of these, the newest first: one more than is told, where there are."""
    found: dict[str, dict[int, Move]] = {version: {} for version in versions}
    for column in (AliasMove.to_version, AliasMove.from_version):
        place = func.row_number().over(partition_by=column, order_by=AliasMove.id.desc()).label("place")
        ranked = select(AliasMove, place).where(AliasMove.model_id == model_id, column.in_(versions)).subquery()
        for row in session.execute(select(ranked).where(ranked.c.place <= MOST_MOVES + 1)):
            move = Move(row.alias, row.at, row.by if knows else None, row.from_version, row.to_version)
            found[getattr(row, column.key)][row.id] = move
    return {version: [moves[id_] for id_ in sorted(moves, reverse=True)] for version, moves in found.items()}


# --- metrics along it


def _told_metrics(session: Session, version_ids: Sequence[int]) -> Iterator[tuple[Mark, Mapping[str, Metric]]]:
    """The metrics of these, in the same order, until enough values were read."""
    query = select(Version.id, Version.version, Version.standing, Version.metrics)
    left = _MOST_VALUES
    for some in _batches(version_ids):
        rows = {row.id: row for row in session.execute(query.where(Version.id.in_(some)))}
        for row in (rows[id_] for id_ in some):
            yield Mark(row.version, Standing(row.standing)), row.metrics or {}
            left -= len(row.metrics or {})
        if left <= 0:
            return


def _batches(numbers: Sequence[int], most: int = 10) -> Iterable[Sequence[int]]:
    return (numbers[start : start + most] for start in range(0, len(numbers), most))
