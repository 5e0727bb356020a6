"""A model's versions beside each other and along a line: comparing them, their time line, their metrics over time."""

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from steelyard.server.core import comparing, models, timeline, versions
from steelyard.server.core.comparing import ComparedTensors, Form, Line, Part, SideBySide
from steelyard.server.core.files.trees import File
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.timeline import Entry, Move
from steelyard.server.db.tables import Standing, Version
from steelyard.server.doors.calls import Call, CallHere
from steelyard.server.doors.native import answers
from steelyard.server.doors.native import schemas as s
from steelyard.server.doors.native.calls import PublicRoute
from steelyard.server.doors.native.documentation import errors
from steelyard.server.doors.native.parameters import Limit200, NamePath, OrgPath, ReferenceText
from steelyard.server.doors.turns import to_compare
from steelyard.server.names import ModelName, OrgSlug

Include = Literal["metadata", "files", "tensors"]
PageNumber = Annotated[int, Query(ge=1, le=1_000_000)]
STANDINGS: dict[Standing, Literal["stable", "pre-release", "yanked"]] = {
    Standing.STABLE: "stable",
    Standing.PRERELEASE: "pre-release",
    Standing.YANKED: "yanked",
}

reads = APIRouter(prefix="/org/{org}", tags=["models"], route_class=PublicRoute, responses=errors())


# --- side by side


@dataclass(frozen=True, slots=True)
class _Wanted:
    include: frozenset[Include]
    files: Part
    tensors: Part


@reads.get("/models/{name}/compare", response_model_exclude_unset=True)
async def compare_model_versions(
    call: CallHere,
    org: OrgPath,
    name: NamePath,
    versions_: Annotated[
        list[ReferenceText],
        Query(alias="versions", min_length=2, max_length=5, description="Two to five versions, aliases or ranges"),
    ],
    include: Annotated[
        list[Include] | None, Query(max_length=10, description="What else to compare: a key of the answer each")
    ] = None,
    unchanged: Annotated[bool, Query(description="Whether to list files and tensors that are the same, too")] = False,
    files_page: PageNumber = 1,
    tensors_page: PageNumber = 1,
    limit: Annotated[int, Query(ge=1, le=1_000, description="Files and tensors on a page")] = 200,
) -> s.Comparison:
    """Compare two to five versions of a model, each with the first; tensors by the headers of their weights."""
    parts = (Part(page, limit, unchanged) for page in (files_page, tensors_page))
    wanted = _Wanted(frozenset(include or ()), *parts)
    work = partial(_compare, call, org, name, versions_, wanted)
    return await to_compare(work, within_seconds=call.registry.settings.store_timeout_seconds)


def _compare(call: Call, org: OrgSlug, name: ModelName, references: list[str], wanted: _Wanted) -> s.Comparison:
    trees = call.registry.trees
    with call.read(LimitedAction.SEARCH if wanted.include else LimitedAction.READ) as session:
        found = models.get_model(session, call.actor, org, name)
        keys, rows = versions.compare(session, found, references)
        items = [answers.compared(session, call.actor, found, version) for version in rows]
        answer = s.Comparison(name=found.full_name, metric_keys=keys, versions=items)
        if "metadata" in wanted.include:
            answer.metadata = [_row(row) for row in comparing.list_metadata(session, call.actor, found, rows)]
        if "files" in wanted.include:
            answer.files = _files(rows, comparing.compare_files(session, trees, rows, wanted.files), wanted.files)
        weights = comparing.find_weights(session, trees, rows) if "tensors" in wanted.include else None
    if weights is not None:  # bytes may be slow to come, and nothing waits for them inside a transaction
        compared = comparing.compare_tensors(call.registry.store, weights, wanted.tensors)
        answer.tensors = _tensors(rows, compared, wanted.tensors)
    return answer


def _row(row: comparing.Row) -> s.ComparedRow:
    return s.ComparedRow(key=row.key, values=[_plain(value) for value in row.values], differs=row.differs)


def _plain(value: Any) -> Any:
    return s.instant_text(value) if isinstance(value, datetime) else value


def _files(rows: list[Version], compared: SideBySide[str, File], part: Part) -> s.ComparedFiles:
    return s.ComparedFiles(
        counts=_counts(rows, compared),
        items=[s.ComparedFileRow(path=line.key, versions=_file_cells(line)) for line in compared.lines],
        page=part.page,
        limit=part.limit,
        total=compared.total,
    )


def _file_cells(line: Line[str, File]) -> list[s.ComparedFile]:
    cells = zip(line.values, line.changes, strict=True)
    return [
        s.ComparedFile(oid=file.oid if file else None, size=file.size_bytes if file else None, change=change)
        for file, change in cells
    ]


def _tensors(rows: list[Version], compared: ComparedTensors, part: Part) -> s.ComparedTensors:
    lines = compared.side_by_side.lines
    return s.ComparedTensors(
        counts=_counts(rows, compared.side_by_side),
        items=[s.ComparedTensorRow(file=it.key[0], name=it.key[1], versions=_tensor_cells(it)) for it in lines],
        unread=[s.UnreadWeights(version=it.version, file=it.name, why=it.why) for it in compared.unread],
        page=part.page,
        limit=part.limit,
        total=compared.side_by_side.total,
    )


def _tensor_cells(line: Line[tuple[str, str], Form]) -> list[s.ComparedTensor]:
    cells = zip(line.values, line.changes, strict=True)
    return [
        s.ComparedTensor(dtype=form.dtype if form else None, shape=list(form.shape) if form else None, change=change)
        for form, change in cells
    ]


def _counts(rows: list[Version], compared: SideBySide[Any, Any]) -> list[s.ComparedCounts]:
    others = zip(rows[1:], compared.counts, strict=True)
    return [
        s.ComparedCounts(version=version.version, **{change.value: number for change, number in counts.items()})
        for version, counts in others
    ]


# --- along a line


@reads.get("/models/{name}/versions/timeline")
def list_version_timeline(
    call: CallHere, org: OrgPath, name: NamePath, page: PageNumber = 1, limit: Limit200 = 50
) -> s.Timeline:
    """List a model's versions by falling precedence, with yanks and their reasons, aliases, and who moved them when."""
    with call.read(LimitedAction.SEARCH) as session:
        found = models.get_model(session, call.actor, org, name)
        line = timeline.list_timeline(session, call.actor, found, page=page, limit=limit)
    return s.Timeline(
        name=found.full_name,
        latest=line.latest,
        versions=[_entry(entry) for entry in line.entries],
        **_paging(page, limit, line.total),
    )


@reads.get("/models/{name}/versions/metric-history")
def list_metric_history(
    call: CallHere, org: OrgPath, name: NamePath, page: PageNumber = 1, limit: Limit200 = 50
) -> s.MetricHistory:
    """List a model's metrics over its versions, the lowest version first; of the 200 highest."""
    with call.read(LimitedAction.SEARCH) as session:
        found = models.get_model(session, call.actor, org, name)
        history = timeline.list_metrics(session, found, page=page, limit=limit)
    return s.MetricHistory(
        name=found.full_name,
        versions=[mark.version for mark in history.versions],
        metrics=[s.MetricSeries(key=series.key, values=list(series.values)) for series in history.series],
        is_cut=history.is_cut,
        **_paging(page, limit, history.total),
    )


def _entry(entry: Entry) -> s.TimelineEntry:
    yanked = entry.yanked_at and s.Yanked(reason=entry.yank_reason or "", at=entry.yanked_at)
    return s.TimelineEntry(
        version=entry.version,
        standing=STANDINGS[entry.standing],
        created_at=entry.created_at,
        published_by=entry.published_by,
        file_size_bytes=entry.size_bytes,
        yanked=yanked or None,
        aliases=list(entry.aliases),
        moves=[_move(move) for move in entry.moves],
        has_more_moves=entry.has_more_moves,
    )


def _move(move: Move) -> s.TimelineMove:
    return s.TimelineMove(alias=move.alias, at=move.at, by=move.by, from_=move.from_version, to=move.to_version)


def _paging(page: int, limit: int, total: int) -> dict[str, Any]:
    total_pages = -(-total // limit)
    return {
        "page": page,
        "limit": limit,
        "total": total,
        "total_pages": total_pages,
        "has_next": page < total_pages,
        "has_previous": 1 < page <= total_pages + 1,
    }
