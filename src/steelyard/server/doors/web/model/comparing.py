"""Two to five versions of a model side by side: what is said of them, their metrics, files and tensors."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from sqlalchemy.orm import Session

from steelyard.server.core import comparing, versions
from steelyard.server.core.comparing import MOST_VERSIONS, Metric, MetricRow, Part, Row, Weights
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.models import Found
from steelyard.server.db.tables import Version
from steelyard.server.doors.repos import Repo
from steelyard.server.doors.turns import to_compare
from steelyard.server.doors.web.calls import CallHere, WebCall, WebRoute
from steelyard.server.doors.web.frames import ModelFrame, frame_model
from steelyard.server.doors.web.model.charts import figure
from steelyard.server.doors.web.model.versions import PageNumber, RepoPath, metric_text, pages_of
from steelyard.server.doors.web.pages import size, url_path

_LINES_ON_A_PAGE = 100
_MOST_SUGGESTED = 200
_LONGEST_REFERENCE = 200
_LONGEST_TEXT = 500
_MINUS = "\N{MINUS SIGN}"
_WORDS = {
    "created_at": "published",
    "pretty_name": "title",
    "size_bytes": "size",
    "size_category": "size category",
    "base_model": "base model",
    "task_categories": "task categories",
    "dataset_refs": "datasets",
    "yank_reason": "yanked",
}

router = APIRouter(route_class=WebRoute)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a reader wants to see beside each other, and which pages of the lists."""

    references: Sequence[str]
    tensors: bool
    metric_lines: Part
    file_lines: Part
    tensor_lines: Part

    def query(self) -> dict[str, Any]:
        """The same as words of an address, but for the pages."""
        flags = {"tensors": self.tensors, "unchanged": self.file_lines.unchanged}
        return {"versions": list(self.references), **{name: "true" for name, is_on in flags.items() if is_on}}


@router.get("/{org}/{name}/compare")
async def show_comparison(
    call: CallHere,
    repo: RepoPath,
    versions_: Annotated[list[str] | None, Query(alias="versions")] = None,
    tensors: bool = False,
    unchanged: bool = False,
    metrics_page: PageNumber = 1,
    files_page: PageNumber = 1,
    tensors_page: PageNumber = 1,
) -> Response:
    """The comparison, or the form to choose what to compare."""
    named = [text.strip()[:_LONGEST_REFERENCE] for text in versions_ or ()]
    parts = [Part(page, _LINES_ON_A_PAGE, unchanged) for page in (metrics_page, files_page, tensors_page)]
    work = partial(_show, call, repo, Asked([text for text in named if text], tensors, *parts))
    return await to_compare(work, within_seconds=call.registry.settings.store_timeout_seconds)


def _show(call: WebCall, repo: Repo, asked: Asked) -> Response:
    with call.read(LimitedAction.SEARCH) as session:
        found = repo.get(session, call.actor)
        model = frame_model(session, call, found, "versions")
        suggested, _ = versions.list_versions(session, found)
        choice = comparing.choose_versions(session, found, asked.references)
        form: dict[str, Any] = {
            "model": model,
            "suggested": suggested[:_MOST_SUGGESTED],
            "fields": _fields(asked.references),
        }
        if choice.problems:
            return _ask(call, model, choice.problems if asked.references else [], form)
        table = _put_in_table(session, call, found, choice.versions, asked)
        weights = comparing.find_weights(session, call.registry.trees, choice.versions) if asked.tensors else None
    context: dict[str, Any] = {**form, **table, **_compare_tensors(call, weights, asked)}
    title = f"Comparing {', '.join(table['numbers'])} of {model.full_name}"
    return call.page("compare.html", title=title, json_twin=_json_twin(model, asked), asked=asked, **context)


def _ask(call: WebCall, model: ModelFrame, problems: Sequence[str], form: dict[str, Any]) -> Response:
    """The form alone."""
    status, title = 422 if problems else 200, f"Compare versions of {model.full_name}"
    twin = url_path("api", "v1", "org", model.org, "models", model.name, "versions")  # what there is to choose from
    return call.page("compare_form.html", status=status, title=title, json_twin=twin, problems=problems, **form)


def _fields(references: Sequence[str]) -> list[str]:
    """What stands in the fields of the form: what was asked for, and empty ones."""
    return [*references, *[""] * MOST_VERSIONS][:MOST_VERSIONS]


def _json_twin(model: ModelFrame, asked: Asked) -> str:
    include = ["metadata", "files", *(["tensors"] if asked.tensors else [])]
    pages = {"files_page": str(asked.file_lines.page), "tensors_page": str(asked.tensor_lines.page)}
    query = {name: value for name, value in asked.query().items() if name != "tensors"}
    limit = str(_LINES_ON_A_PAGE)
    return url_path(
        "api", "v1", "org", model.org, "models", model.name, "compare", **query, include=include, limit=limit, **pages
    )


# --- what is shown


@dataclass(frozen=True, slots=True)
class Cell:
    """What one version has, in words, None where it has nothing; whether that differs from the first version; and how
    far a number lies from the first version's."""

    text: str | None
    differs: bool
    gap: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """Something that is said of versions, or measured, in each of them."""

    label: str
    cells: Sequence[Cell]

    @property
    def differs(self) -> bool:
        """Whether any version has something else than the first."""
        return any(cell.differs for cell in self.cells)


def _put_in_table(session: Session, call: WebCall, found: Found, rows: list[Version], asked: Asked) -> dict[str, Any]:
    """All but tensors, as the template has it."""
    metrics, metric_count = comparing.list_metrics(rows, asked.metric_lines)
    files = comparing.compare_files(session, call.registry.trees, rows, asked.file_lines)
    return {
        "numbers": [version.version for version in rows],
        "said": [_said(row) for row in comparing.list_metadata(session, call.actor, found, rows)],
        "metrics": [_measured(row) for row in metrics],
        "metric_pages": pages_of("metrics_page", asked.metric_lines.page, _LINES_ON_A_PAGE, metric_count),
        "files": files,
        "file_pages": pages_of("files_page", asked.file_lines.page, _LINES_ON_A_PAGE, files.total),
    }


def _compare_tensors(call: WebCall, weights: Sequence[Weights] | None, asked: Asked) -> dict[str, Any]:
    """Has to wait for the store, where tensors were asked for."""
    if weights is None:
        return {"tensors": None}
    compared = comparing.compare_tensors(call.registry.store, weights, asked.tensor_lines)
    total = compared.side_by_side.total
    pages = pages_of("tensors_page", asked.tensor_lines.page, _LINES_ON_A_PAGE, total)
    return {"tensors": compared, "tensor_pages": pages, "has_weights": any(side.sets for side in weights)}


def _said(row: Row) -> Said:
    in_words = _size if row.key == "size_bytes" else _in_words
    return Said(_WORDS.get(row.key, row.key), [Cell(in_words(it), it != row.values[0]) for it in row.values])


def _size(value: Any) -> str | None:
    return None if value is None else f"{size(value)} ({value:,} bytes)"


def _in_words(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    items = value if isinstance(value, list) else [value]
    text = ", ".join(item if isinstance(item, str) else json.dumps(item, ensure_ascii=False) for item in items)
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"


def _measured(row: MetricRow) -> Said:
    told = zip(row.values, row.differences, strict=True)
    return Said(row.key, [Cell(_figure(value), value != row.values[0], _gap(gap)) for value, gap in told])


def _figure(value: Metric | None) -> str | None:
    return None if value is None else metric_text(value)


def _gap(gap: float | Decimal | None) -> str:
    """How far a value lies from the first, with its sign; nothing where that is nowhere, or cannot be said."""
    if not gap:
        return ""
    return f"+{figure(gap)}" if gap > 0 else f"{_MINUS}{figure(-gap)}"
