"""The catalogue: all models that somebody may see, or those of one organisation. All that is chosen stands in the
address, in the words of the API, so that a view can be shared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy.orm import Session

from steelyard.server.core import browsing, orgs
from steelyard.server.core.access import Action, may
from steelyard.server.core.browsing import CountedFacets, Shown, SortBy
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.models import FacetKind, ModelFilter
from steelyard.server.db.tables import Org
from steelyard.server.doors.web.calls import CallHere, WebCall, WebRoute
from steelyard.server.doors.web.frames import frame_org
from steelyard.server.doors.web.pages import url_path
from steelyard.server.errors import NotFound
from steelyard.server.names import InvalidName, OrgSlug

router = APIRouter(route_class=WebRoute)

ROWS = 25
_MOST_ALIASES, _MOST_UNPUBLISHED = 4, 20
_ORGS_AT_ONCE, _MOST_ORGS = 6, 200
_VALUES_AT_ONCE, _MOST_VALUES = 8, 24
_NO_NUL = r"^[^\u0000]*$"

Sort = Literal["updated", "newest", "name", "largest", "smallest", "downloads"]
_SORTS: Mapping[Sort, tuple[str, SortBy, bool]] = {
    "updated": ("Recently updated", "updated_at", True),
    "newest": ("Newest", "created_at", True),
    "downloads": ("Most downloaded", "downloads", True),
    "name": ("Name", "name", False),
    "largest": ("Largest", "file_size_bytes", True),
    "smallest": ("Smallest", "file_size_bytes", False),
}
_KINDS: Mapping[FacetKind, str] = {
    FacetKind.TASK_CATEGORY: "Task",
    FacetKind.FRAMEWORK: "Framework",
    FacetKind.LICENSE: "Licence",
    FacetKind.SIZE_CATEGORY: "Size",
    FacetKind.TAG: "Tag",
}
_SIZES = ("tiny", "small", "medium", "large", "huge")


# --- what is looked at


@dataclass(frozen=True, slots=True)
class View:
    """What of the catalogue is looked at, as the address says it."""

    search: str
    chosen: Mapping[FacetKind, tuple[str, ...]]
    sort: Sort
    page: int
    slug: str | None = None

    @property
    def wanted(self) -> ModelFilter:
        """The same as core asks for it."""
        return ModelFilter(search=self.search or None, facets=self.chosen)

    @property
    def is_narrowed(self) -> bool:
        """Whether anything is left out of what there is."""
        return bool(self.search or self.chosen)

    def url(
        self,
        *,
        chosen: Mapping[FacetKind, tuple[str, ...]] | None = None,
        search: str | None = None,
        page: int = 1,
    ) -> str:
        """The address of this view, but for what is named here; another one begins at its first page."""
        facets = self.chosen if chosen is None else chosen
        return url_path(
            *([self.slug] if self.slug else []),
            search=self.search if search is None else search,
            **{kind.value: list(values) for kind, values in facets.items()},
            sort=None if self.sort == "updated" else self.sort,
            page=str(page) if page > 1 else None,
        )

    def url_with(self, kind: FacetKind, value: str) -> str:
        """The same, narrowed to this value, too."""
        return self.url(chosen={**self.chosen, kind: (*self.chosen.get(kind, ()), value)})

    def url_without(self, kind: FacetKind, value: str) -> str:
        """The same, without this value."""
        rest = tuple(other for other in self.chosen.get(kind, ()) if other != value)
        return self.url(chosen={**self.chosen, kind: rest})

    @property
    def json_url(self) -> str:
        """The same list in the API."""
        _, sort_by, descending = _SORTS[self.sort]
        return url_path(
            *("api", "v1", "models"),
            org=self.slug,
            search=self.search,
            **{kind.value: list(values) for kind, values in self.chosen.items()},
            sort_by=sort_by,
            sort_dir="desc" if descending else "asc",
            page=str(self.page),
            limit=str(ROWS),
        )


_Values = Annotated[list[Annotated[str, Query(max_length=200, pattern=_NO_NUL)]] | None, Query(max_length=20)]


async def _view(
    search: Annotated[str, Query(max_length=200, pattern=_NO_NUL)] = "",
    tags: _Values = None,
    license: _Values = None,  # noqa: A002 - the API's name
    task_categories: _Values = None,
    framework: _Values = None,
    size_category: _Values = None,
    sort: Sort = "updated",
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
) -> View:
    asked = {
        FacetKind.TASK_CATEGORY: task_categories,
        FacetKind.FRAMEWORK: framework,
        FacetKind.LICENSE: license,
        FacetKind.SIZE_CATEGORY: size_category,
        FacetKind.TAG: tags,
    }
    chosen = {kind: tuple(dict.fromkeys(value for value in some or () if value)) for kind, some in asked.items()}
    return View(search.strip(), {kind: values for kind, values in chosen.items() if values}, sort, page)


ViewQuery = Annotated[View, Depends(_view)]


async def _slug(org: str) -> OrgSlug:
    try:
        return OrgSlug.parse_any(org)
    except InvalidName as error:
        raise NotFound(f"There is no such organisation: {error}.") from error


# --- what is shown


@dataclass(frozen=True, slots=True)
class Row:
    """A model as the list shows it, by its latest version."""

    org: str
    name: str
    version: str
    is_public: bool
    summary: str | None
    task: str | None
    framework: str
    license: str | None
    size_bytes: int
    size_category: str | None
    parameter_count: int | None
    updated_at: datetime
    downloads: int
    aliases: tuple[str, ...]
    more_aliases: int


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a facet. `url` leads to the view with it, or without it where it is chosen."""

    value: str
    count: int
    is_chosen: bool
    url: str


@dataclass(frozen=True, slots=True)
class Facet:
    """One kind of facet: `first` is shown at once, `rest` on demand; so many `others` there are besides."""

    kind: str
    label: str
    first: list[Value]
    rest: list[Value]
    others: int


@dataclass(frozen=True, slots=True)
class Chip:
    """Something that is chosen, and the view without it."""

    label: str
    value: str
    url: str


@dataclass(frozen=True, slots=True)
class Pager:
    """Which page this is of how many, and where the others are."""

    page: int
    pages: int
    previous_url: str | None
    next_url: str | None


@dataclass(frozen=True, slots=True)
class OwnOrg:
    """An organisation of whoever looks."""

    slug: str
    role: str
    may_publish: bool


@router.get("/")
def show_catalogue(call: CallHere, view: ViewQuery) -> Response:
    """All models that the caller may see."""
    with call.read(LimitedAction.SEARCH) as session:
        context = _context(session, call, view)
        own = [_own(call, org) for org in orgs.list_own_orgs(session, call.actor)]
    publishing = next((org.slug for org in own if org.may_publish), None)
    return call.page(
        "catalogue.html",
        title="Models",
        own_orgs=own[:_ORGS_AT_ONCE],
        more_orgs=own[_ORGS_AT_ONCE:_MOST_ORGS],
        push_to=publishing,
        **context,
    )


@router.get("/{org}")
def show_org(call: CallHere, org: Annotated[OrgSlug, Depends(_slug)], view: ViewQuery) -> Response:
    """An organisation, and those of its models that the caller may see."""
    narrow = View(view.search, view.chosen, view.sort, view.page, slug=org)
    with call.read(LimitedAction.SEARCH) as session:
        found = orgs.get_org(session, call.actor, org)
        context = _context(session, call, narrow)
        unpublished = browsing.list_unpublished_models(session, call.actor, org, limit=_MOST_UNPUBLISHED)
        frame = frame_org(call, found, "models")
    push_to = org if frame.may_publish else None
    return call.page("org.html", title=org, org=frame, unpublished=unpublished, push_to=push_to, **context)


def _context(session: Session, call: WebCall, view: View) -> dict[str, Any]:
    """What both pages show of their models."""
    _, sort_by, descending = _SORTS[view.sort]
    facets = browsing.count_facets(session, call.actor, view.wanted, slug=view.slug, most_values=_MOST_VALUES)
    rows = browsing.list_visible_models(
        session, call.actor, view.wanted, slug=view.slug, sort_by=sort_by, descending=descending, page=view.page,
        limit=ROWS,
    )  # fmt: skip
    return {
        "view": view,
        "rows": [_row(row) for row in rows],
        "total": facets.filtered_total,
        "whole": facets.total,
        "facets": _facets(view, facets),
        "chips": _chips(view),
        "pager": _pager(view, facets.filtered_total),
        "sorts": {sort: label for sort, (label, *_) in _SORTS.items()},
        "json_twin": view.json_url,
    }


def _row(shown: Shown) -> Row:
    model, latest, aliases = shown.listed.model, shown.listed.latest, shown.listed.aliases
    return Row(
        org=shown.listed.org.slug,
        name=model.name,
        version=latest.version,
        is_public=model.is_public,
        summary=latest.summary,
        task=latest.task or next(iter(latest.task_categories or ()), None),
        framework=latest.framework,
        license=latest.license,
        size_bytes=latest.size_bytes,
        size_category=latest.size_category,
        parameter_count=latest.parameter_count,
        updated_at=model.updated_at,
        downloads=shown.downloads,
        aliases=aliases[:_MOST_ALIASES],
        more_aliases=len(aliases[_MOST_ALIASES:]),
    )


def _facets(view: View, counted: CountedFacets) -> list[Facet]:
    """Those that have any value, each value with the view that it leads to."""
    found = []
    for kind, label in _KINDS.items():
        counts = counted.kinds[kind]
        values = [_value(view, kind, facet.value, facet.count) for facet in counts.values]
        if kind is FacetKind.SIZE_CATEGORY:
            values.sort(key=lambda one: _SIZES.index(one.value) if one.value in _SIZES else len(_SIZES))
        # What is chosen is always at once to be seen: else nobody could take it back.
        first = [one for number, one in enumerate(values) if number < _VALUES_AT_ONCE or one.is_chosen]
        rest = [one for one in values if one not in first]
        found += [Facet(kind.value, label, first, rest, counts.others)] if values else []
    return found


def _value(view: View, kind: FacetKind, value: str, count: int) -> Value:
    is_chosen = value in view.chosen.get(kind, ())
    url = view.url_without(kind, value) if is_chosen else view.url_with(kind, value)
    return Value(value, count, is_chosen, url)


def _chips(view: View) -> list[Chip]:
    search = [Chip("Search", view.search, view.url(search=""))] if view.search else []
    chosen: Sequence[tuple[FacetKind, str]] = [(kind, one) for kind, some in view.chosen.items() for one in some]
    return [*search, *(Chip(_KINDS[kind], value, view.url_without(kind, value)) for kind, value in chosen)]


def _pager(view: View, total: int) -> Pager:
    """From beyond the last page one is led back to that."""
    pages = max(1, -(-total // ROWS))
    return Pager(
        page=view.page,
        pages=pages,
        previous_url=view.url(page=min(view.page - 1, pages)) if view.page > 1 else None,
        next_url=view.url(page=view.page + 1) if view.page < pages else None,
    )


def _own(call: WebCall, org: Org) -> OwnOrg:
    return OwnOrg(org.slug, str(call.actor.role_in(org.id)), may(call.actor, Action.PUBLISH, org.id))
