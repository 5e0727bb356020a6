"""The list of models: searched, filtered and in whatever order, page by page."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy.orm import Session

from steelyard.server.core import blobs, catalog, orgs
from steelyard.server.core.access import Action
from steelyard.server.core.catalog import CatalogFilter, Entry, SortBy
from steelyard.server.core.history import revisions
from steelyard.server.core.limits import LimitedAction
from steelyard.server.doors.calls import Call, CallHere
from steelyard.server.doors.hf import answers
from steelyard.server.doors.hf.account import namespace
from steelyard.server.doors.hf.answers import Json, Shown, json_response
from steelyard.server.doors.hf.calls import HubRoute, TokenRoute, following
from steelyard.server.doors.hf.reading import base_model
from steelyard.server.errors import NotFound
from steelyard.server.names import InvalidName, OrgSlug

router = APIRouter(route_class=HubRoute)
own = APIRouter(route_class=TokenRoute)

_MOST = 1_000
_MOST_WITH_FILES, _MOST_FILES = 100, 100_000
_NO_NUL = r"^[^\u0000]*$"
_SORTS: dict[str, SortBy] = {
    "createdAt": "createdAt",
    "created_at": "createdAt",
    "lastModified": "lastModified",
    "last_modified": "lastModified",
}
Text = Annotated[str | None, Query(max_length=200, pattern=_NO_NUL)]
Texts = Annotated[list[Annotated[str, Query(max_length=200, pattern=_NO_NUL)]] | None, Query(max_length=100)]


async def _filter(
    search: Text = None,
    author: Text = None,
    labels: Annotated[Texts, Query(alias="filter")] = None,
    tags: Texts = None,
    pipeline_tag: Text = None,
    library: Texts = None,
) -> CatalogFilter:
    some = [*(labels or []), *(tags or []), *(library or []), *([pipeline_tag] if pipeline_tag else [])]
    return CatalogFilter(search, author, [label for text in some for label in text.split(",") if label])


@router.get("/models")
def list_models(
    request: Request,
    call: CallHere,
    wanted: Annotated[CatalogFilter, Depends(_filter)],
    sort: Text = None,
    direction: Literal["-1", "1", ""] = "-1",
    limit: Annotated[int, Query(ge=1)] = _MOST,
    full: bool = False,
    cursor: Annotated[int, Query(ge=0, le=2**53)] = 0,
) -> Response:
    """List models, the most taken first; `full` adds the names of their files, `cursor` counts those listed before."""
    most = min(limit, _MOST_WITH_FILES if full else _MOST)
    with call.read(LimitedAction.SEARCH) as session:
        entries = catalog.list_catalog(
            session,
            call.actor,
            wanted,
            sort_by=_SORTS.get(sort or "", "downloads"),
            descending=direction != "1",
            offset=cursor,
            limit=most + 1,
        )
        items = list(_items(session, call, entries[:most], full=full))
    next_url = following(request, call, cursor=str(cursor + len(items))) if len(entries) > len(items) else None
    return json_response(items, next_url=next_url)


def _items(session: Session, call: Call, entries: Sequence[Entry], *, full: bool) -> Iterator[Json]:
    """The models of a page; it ends early where they have very many files."""
    files = 0
    for entry in entries:
        if files > _MOST_FILES:
            break
        item = _item(session, call, entry, full=full)
        files += len(item.get("siblings", ()))
        yield item


def _item(session: Session, call: Call, entry: Entry, *, full: bool) -> Json:
    base = base_model(session, call, entry.found, entry.latest)
    has_xet = call.registry.settings.xet
    item = answers.model_info(Shown(entry.found, entry.latest, entry.head, entry.downloads, base, has_xet))
    if full and entry.head is not None:
        files = revisions.files_of(session, call.registry.trees, entry.head)
        item["siblings"] = answers.siblings(files.values())
    return item


# --- those of one organisation, for its members


async def _whose(request: Request) -> OrgSlug | None:
    slug: str | None = request.path_params.get("org")
    try:
        return None if slug is None else OrgSlug.parse_any(slug)
    except InvalidName as error:
        raise NotFound(f"There is no such organisation: {error}.") from error


@own.get("/settings/repositories")
@own.get("/organizations/{org}/settings/repositories")
def list_own_repos(
    request: Request,
    call: CallHere,
    named: Annotated[OrgSlug | None, Depends(_whose)],
    cursor: Annotated[int, Query(ge=0, le=2**53)] = 0,
) -> Response:
    """List the models of an organisation, or the caller's own, the last changed first, with the size of the latest."""
    with call.read(LimitedAction.SEARCH) as session:
        slug = named or namespace(call.actor, orgs.list_own_orgs(session, call.actor))
        org = orgs.get_org_to(session, call.actor, Action.READ, slug)
        wanted = CatalogFilter(author=org.slug)
        entries = catalog.list_catalog(
            session, call.actor, wanted, sort_by="lastModified", descending=True, offset=cursor, limit=_MOST + 1
        )
        held_bytes = blobs.held_bytes(session, org.id)
        items = [answers.stored_repo(entry.found, entry.latest, held_bytes) for entry in entries[:_MOST]]
    next_url = following(request, call, cursor=str(cursor + _MOST)) if len(entries) > _MOST else None
    return json_response(items, next_url=next_url)
