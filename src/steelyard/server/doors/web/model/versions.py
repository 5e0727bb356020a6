"""The versions of a model along a line, with what became of them, and its metrics over them as charts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from markupsafe import Markup

from steelyard.server.core import timeline
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.timeline import Mark, MetricHistory, Series
from steelyard.server.db.tables import Standing
from steelyard.server.doors.repos import Repo
from steelyard.server.doors.web.calls import CallHere, WebRoute
from steelyard.server.doors.web.frames import frame_model
from steelyard.server.doors.web.model import charts
from steelyard.server.doors.web.model.charts import Point, line_chart
from steelyard.server.doors.web.pages import spelled, url_path

VERSIONS_ON_A_PAGE = 25
_CHARTS_ON_A_PAGE = 6
_LONGEST_TEXT = 200
_STANDING_WORDS = {Standing.STABLE: "stable", Standing.PRERELEASE: "pre-release", Standing.YANKED: "yanked"}
_MARKS: dict[Standing, charts.Mark] = {
    Standing.STABLE: "dot",
    Standing.PRERELEASE: "diamond",
    Standing.YANKED: "cross",
}

router = APIRouter(route_class=WebRoute)
RepoPath = Annotated[Repo, Depends(Repo.at_path)]
PageNumber = Annotated[int, Query(ge=1, le=1_000_000)]


@dataclass(frozen=True, slots=True)
class Pages:
    """Where one is in a list of several pages. `name` is what its number is called in the address."""

    name: str
    page: int
    last: int
    total: int


def pages_of(name: str, page: int, limit: int, total: int) -> Pages:
    """The pages of a list, of so many lines at most each."""
    return Pages(name, page, max(1, -(-total // limit)), total)


@router.get("/{org}/{name}/versions")
def show_versions(call: CallHere, repo: RepoPath, page: PageNumber = 1, metrics_page: PageNumber = 1) -> Response:
    """The time line."""
    with call.read(LimitedAction.SEARCH) as session:
        found = repo.get(session, call.actor)
        line = timeline.list_timeline(session, call.actor, found, page=page, limit=VERSIONS_ON_A_PAGE)
        history = timeline.list_metrics(session, found, page=metrics_page, limit=_CHARTS_ON_A_PAGE)
        model = frame_model(session, call, found, "versions")
    api = ("api", "v1", "org", model.org, "models", model.name, "versions")
    return call.page(
        "versions.html",
        title=f"Versions of {model.full_name}",
        json_twin=url_path(*api, "timeline", page=str(page), limit=str(VERSIONS_ON_A_PAGE)),
        metrics_twin=url_path(*api, "metric-history", page=str(metrics_page), limit=str(_CHARTS_ON_A_PAGE)),
        model=model,
        line=line,
        standing_words=_STANDING_WORDS,
        pages=pages_of("page", page, VERSIONS_ON_A_PAGE, line.total),
        history=history,
        panels=[_panel(history, series) for series in history.series],
        metric_pages=pages_of("metrics_page", metrics_page, _CHARTS_ON_A_PAGE, history.total),
    )


# --- charts


@dataclass(frozen=True, slots=True)
class Cell:
    """A version and the value it has, as a table beside a chart shows it."""

    version: str
    standing: str
    text: str
    is_number: bool


@dataclass(frozen=True, slots=True)
class Panel:
    """One metric: a chart of its numbers, where it has any, and a table of all its values, the highest version
    first."""

    key: str
    chart: Markup
    cells: Sequence[Cell]


def _panel(history: MetricHistory, series: Series) -> Panel:
    told = [(mark, value) for mark, value in zip(history.versions, series.values, strict=True)]
    points = [Point(mark.version, _number(value), _MARKS[mark.standing]) for mark, value in told]
    cells = [_cell(mark, value) for mark, value in reversed(told) if value is not None]
    return Panel(series.key, line_chart(points, title=spelled(series.key)), cells)


def _number(value: timeline.Metric | None) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _cell(mark: Mark, value: timeline.Metric) -> Cell:
    return Cell(mark.version, _STANDING_WORDS[mark.standing], metric_text(value), isinstance(value, int | float))


def metric_text(value: timeline.Metric) -> str:
    """A metric's value as a table shows it: numbers to their last digit, texts not without end."""
    if isinstance(value, float):
        return charts.figure(value) if value.is_integer() else repr(value)
    if isinstance(value, int):
        return charts.figure(value)
    return value if len(value) <= _LONGEST_TEXT else value[: _LONGEST_TEXT - 1] + "…"
