"""A model: the card of one of its versions, what is known of it, how to get it, and how often that was done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Query, Response
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from steelyard.server.context import Registry
from steelyard.server.core import aliases, downloads, versions
from steelyard.server.core.access import Action, may
from steelyard.server.core.downloads import MOST_DAYS, Day
from steelyard.server.core.files import reading
from steelyard.server.core.files.cards import MOST_README_BYTES, README_NAME
from steelyard.server.core.files.trees import File
from steelyard.server.core.history import revisions
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.lineage import origins
from steelyard.server.core.models import Found
from steelyard.server.db.tables import Version
from steelyard.server.doors.repos import Repo
from steelyard.server.doors.web.calls import CallHere, WebCall, WebRoute
from steelyard.server.doors.web.frames import ModelFrame, frame_model
from steelyard.server.doors.web.model.charts import Point, figure, line_chart
from steelyard.server.doors.web.model.commands import Use, ways_of
from steelyard.server.doors.web.model.links import CardPlace
from steelyard.server.doors.web.model.places import RepoPath
from steelyard.server.doors.web.model.readme import Card, Cards, render_card
from steelyard.server.doors.web.pages import url_path
from steelyard.server.names import Version as SemVer

router = APIRouter(route_class=WebRoute)

Days = Annotated[int, Query(ge=1, le=MOST_DAYS)]
_WINDOWS = (30, 90, MOST_DAYS)
_MOST_ALIASES = 100
_MOST_LABELS = 60  # of a kind, shown
_MOST_METRICS = 200
_MOST_YANKED = 5
_LONGEST_TEXT = 300
_cards = Cards()
_one_at_a_time = CapacityLimiter(1)  # to render cards is to compute: more of them at once would be no quicker


@router.get("/{org}/{name}")
async def show_model(call: CallHere, repo: RepoPath, days: Days = 30) -> Response:
    """The latest version of a model."""
    return await _show(call, repo, "latest", days)


@router.get("/{org}/{name}/v/{ref}")
async def show_model_version(call: CallHere, repo: RepoPath, ref: str, days: Days = 30) -> Response:
    """A version: an exact number, an alias, `latest`, or a range."""
    return await _show(call, repo, ref, days)


async def _show(call: WebCall, repo: Repo, ref: str, days: int) -> Response:
    shown = await run_in_threadpool(_load, call, repo, ref, days)
    if isinstance(shown, _Empty):
        return await run_in_threadpool(_empty_page, call, shown)
    card = await _card_of(call, shown)
    return await run_in_threadpool(_page, call, shown, card, days)


# --- what is shown


@dataclass(frozen=True, slots=True)
class Facts:
    """What a version says of itself, as far as this reader may know it."""

    summary: str
    pretty_name: str
    task: str
    architecture: str
    framework: str
    license: str
    base_model: str
    base_url: str | None
    size_category: str
    size_bytes: int
    file_count: int
    parameter_count: int | None
    languages: Sequence[str]
    tags: Sequence[str]
    task_categories: Sequence[str]
    datasets: Sequence[str]
    metrics: Sequence[tuple[str, str]]
    more_metrics: int
    artifacts_hash: str
    published_at: datetime
    published_by: str | None
    yanked_at: datetime | None
    yank_reason: str


@dataclass(frozen=True, slots=True)
class AliasLine:
    """An alias, what it points at, and its last move; `by` is for members."""

    alias: str
    version: str
    is_protected: bool
    moved_at: datetime
    by: str | None


@dataclass(frozen=True, slots=True)
class _Shown:
    """All that a page needs of the database."""

    model: ModelFrame
    facts: Facts
    uuid: str
    description: str
    readme: File | None
    readme_key: str
    largest: str
    loads: bool
    aliases: Sequence[AliasLine]
    has_more_aliases: bool
    has_draft: bool
    version_downloads: int
    all_downloads: int
    by_day: Sequence[Day]


@dataclass(frozen=True, slots=True)
class _Empty:
    """A model that has no latest version: `yanked` are the highest of those that it has, `has_draft` files that were
    committed and never published."""

    model: ModelFrame
    yanked: Sequence[str]
    has_draft: bool


def _load(call: WebCall, repo: Repo, ref: str, days: int) -> _Shown | _Empty:
    with call.read(LimitedAction.READ) as session:
        found = repo.get(session, call.actor)
        if ref == "latest" and versions.find_latest(session, found) is None:
            return _load_empty(session, call, found)
        resolved = versions.resolve(session, found, ref)
        version = resolved.version
        files = call.registry.trees.get(session, version).files
        readme = _find_readme(files)
        lines = _aliases_of(session, call, found)
        return _Shown(
            model=frame_model(
                session, call, found, "card", version, version.version if resolved.manner == "exact" else ref
            ),
            facts=_facts(session, call, found, version, len(files)),
            uuid=version.uuid,
            description=version.description or "",
            readme=readme,
            readme_key=reading.get_key(session, readme) if readme else "",
            largest=max(files.values(), key=lambda file: file.size_bytes).path if files else "",
            loads="config.json" in files,
            aliases=lines[:_MOST_ALIASES],
            has_more_aliases=len(lines) > _MOST_ALIASES,
            has_draft=revisions.has_draft(session, call.actor, found),
            version_downloads=version.download_count,
            all_downloads=downloads.count_downloads(session, found),
            by_day=downloads.list_days(session, found, days=days),
        )


def _load_empty(session: Session, call: WebCall, found: Found) -> _Empty:
    is_member = revisions.is_member(call.actor, found)
    head = revisions.find_head(session, found, "main") if is_member else None
    return _Empty(
        model=frame_model(session, call, found, "card"),
        yanked=versions.list_highest(session, found, limit=_MOST_YANKED),
        has_draft=head is not None and bool(call.registry.trees.get(session, head).files),
    )


def _find_readme(files: Mapping[str, File]) -> File | None:
    """The one that cards are in, or else one that differs from it only in case: no two can."""
    exact = files.get(README_NAME)
    return exact or next((file for path, file in files.items() if path.lower() == README_NAME.lower()), None)


def _facts(session: Session, call: WebCall, found: Found, version: Version, file_count: int) -> Facts:
    hidden = origins.hidden_parents(session, call.actor, found, version)
    registry = origins.origin_for(call.actor, found, version, hidden).get("registry")
    metrics = version.metrics or {}
    return Facts(
        summary=version.summary or "",
        pretty_name=version.pretty_name or "",
        task=version.task or "",
        architecture=version.architecture or "",
        framework=version.framework,
        license=version.license or "",
        base_model=origins.base_model_for(version, hidden) or "",
        base_url=_base_url(session, call, version),
        size_category=version.size_category or "",
        size_bytes=version.size_bytes,
        file_count=file_count,
        parameter_count=version.parameter_count,
        languages=_labels(version.language),
        tags=_labels(version.tags),
        task_categories=_labels(version.task_categories),
        datasets=_labels(version.dataset_refs),
        metrics=[(key, _value(metrics[key])) for key in sorted(metrics)[:_MOST_METRICS]],
        more_metrics=max(0, len(metrics) - _MOST_METRICS),
        artifacts_hash=version.artifacts_hash,
        published_at=version.created_at,
        published_by=registry.get("published_by") if isinstance(registry, Mapping) else None,
        yanked_at=version.yanked_at,
        yank_reason=version.yank_reason or "",
    )


def _base_url(session: Session, call: WebCall, version: Version) -> str | None:
    """Where the base model is, if it is one of this server that this reader may see."""
    base = next(iter(origins.claims_of(version.base_model, {})), None)
    parent = origins.list_parents(session, call.actor, [version])[version.id].get(base.key) if base else None
    if base is None or parent is None:
        return None
    is_there = base.number and versions.find_version(session, parent.model.id, SemVer.parse(base.number))
    return url_path(parent.org.slug, parent.model.name, *(("v", base.number) if is_there else ()))


def _labels(values: Sequence[Any] | None) -> list[str]:
    """Texts as they are; of a dataset that is said in more words, its name."""
    texts = (value if isinstance(value, str) else _name_in(value) for value in (values or [])[:_MOST_LABELS])
    return [text for text in texts if text]


def _name_in(value: Any) -> str:
    said = value if isinstance(value, Mapping) else {}
    names = (said.get(key) for key in ("name", "id", "repo", "url", "path"))
    return next((name[:_LONGEST_TEXT] for name in names if isinstance(name, str) and name), "")


def _value(metric: float | str) -> str:
    return metric[:_LONGEST_TEXT] if isinstance(metric, str) else figure(metric)


def _aliases_of(session: Session, call: WebCall, found: Found) -> list[AliasLine]:
    """One more than are shown, where there are."""
    rows = aliases.list_places(session, found, limit=_MOST_ALIASES + 1)
    knows = may(call.actor, Action.READ, found.org.id)
    movers = aliases.last_movers(session, found, [alias.alias for alias, _ in rows]) if knows else {}
    return [
        AliasLine(alias.alias, version, bool(alias.protected), alias.updated_at, movers.get(alias.alias))
        for alias, version in rows
    ]


# --- the card


async def _card_of(call: WebCall, shown: _Shown) -> Card | None:
    """The README, rendered; where there is none, the description. None without either. Its links lead to the version
    by its number, however that was asked for: so each card is rendered once."""
    place = CardPlace(shown.model.org, shown.model.name, shown.model.version or shown.model.ref)
    key = shown.readme_key or (f"description:{shown.uuid}" if shown.description else "")
    card = _cards.find(key, place)
    if card is not None or not key:
        return card
    if shown.readme:
        text = await call.at_the_store(_read_readme, call.registry, shown.readme_key)
    else:
        text = shown.description.encode()
    return await to_thread.run_sync(_render, key, text, place, limiter=_one_at_a_time)


def _render(key: str, text: bytes, place: CardPlace) -> Card:
    """Of those who wait for the same card, the first renders it."""
    card = _cards.find(key, place)
    if card is None:
        card = render_card(text, place)
        _cards.keep(key, place, card)
    return card


def _read_readme(registry: Registry, key: str) -> bytes:
    with reading.open_key(registry.store, key) as blob:
        return blob.read(0, MOST_README_BYTES)


# --- pages


def _page(call: WebCall, shown: _Shown, card: Card | None, days: int) -> Response:
    model = shown.model
    is_open = model.is_public and call.registry.settings.anonymous_public
    use = Use(call.url(""), model.org, model.name, model.ref, shown.largest, shown.loads, is_open)
    api = partial(url_path, "api", "v1", "org", model.org, "models", model.name)
    points = [Point(f"{each.day:%b %d}", each.downloads) for each in shown.by_day]
    return call.page(
        "model.html",
        title=shown.model.full_name if model.ref == "latest" else f"{model.full_name} {model.ref}",
        json_twin=api() if model.ref == "latest" else api(model.ref),
        downloads_twin=api("versions", "downloads", days=str(days)),
        aliases_twin=api("aliases"),
        model=model,
        shown=shown,
        facts=shown.facts,
        card=card,
        ways=ways_of(use),
        days=days,
        windows=_WINDOWS,
        window_downloads=sum(each.downloads for each in shown.by_day),
        chart=line_chart(points, title=f"Downloads by day, the last {days} days", from_zero=True),
    )


def _empty_page(call: WebCall, empty: _Empty) -> Response:
    model = empty.model
    return call.page(
        "model_empty.html",
        title=model.full_name,
        json_twin=url_path("api", "v1", "org", model.org, "models", model.name, "versions"),
        model=model,
        empty=empty,
    )
