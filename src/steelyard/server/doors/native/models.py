"""Models and their versions: the routes under `/api/v1/org/{org}` (contract section 4)."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from steelyard.server.core import aliases, downloads, models, orgs, versions
from steelyard.server.core.access import Action
from steelyard.server.core.downloads import ActivityFilter
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.models import FacetKind, Found, ModelFilter, SortBy
from steelyard.server.db.tables import Version
from steelyard.server.doors.calls import Call, CallHere, waits_for_the_store
from steelyard.server.doors.native import answers, downloading, publishing
from steelyard.server.doors.native import schemas as s
from steelyard.server.doors.native.calls import NativeRoute, PublicRoute
from steelyard.server.doors.native.documentation import CONDITIONAL, CREATED, DETAIL, NO_CONTENT, errors
from steelyard.server.doors.native.parameters import (
    AliasPath,
    ChosenFacets,
    ExactVersionPath,
    IdempotencyKey,
    Limit200,
    NamePath,
    OrgPath,
    ReferencePath,
    SearchText,
    UuidPath,
    VersionOrLatestPath,
)
from steelyard.server.doors.wishes import PublishRequest

reads = APIRouter(prefix="/org/{org}", tags=["models"], route_class=PublicRoute, responses=errors())
writes = APIRouter(prefix="/org/{org}", tags=["models"], route_class=NativeRoute, responses=errors())


async def _filter(
    chosen: ChosenFacets, name: SearchText = None, search: SearchText = None, include_public: bool = False
) -> ModelFilter:
    return ModelFilter(name=name, search=search, facets=chosen, include_public=include_public)


FilterQuery = Annotated[ModelFilter, Depends(_filter)]


# --- lists


@reads.get("/models")
def list_models(
    call: CallHere,
    org: OrgPath,
    wanted: FilterQuery,
    sort_by: SortBy = "created_at",
    sort_dir: Literal["asc", "desc"] = "desc",
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    limit: Limit200 = 50,
) -> s.ModelList:
    """List models, each by its latest version."""
    with call.read(LimitedAction.SEARCH) as session:
        found = models.list_models(
            session, call.actor, org, wanted, sort_by=sort_by, descending=sort_dir == "desc", page=page, limit=limit
        )
        total_pages = -(-found.total // limit)
        return s.ModelList(
            models=[answers.listed(session, call.actor, row) for row in found.rows],
            page=page,
            limit=limit,
            total=found.total,
            total_pages=total_pages,
            has_next=page < total_pages,
            has_previous=1 < page <= total_pages + 1,
        )


@reads.get("/models/facets")
def get_model_facets(call: CallHere, org: OrgPath, wanted: FilterQuery) -> s.ModelFacets:
    """Get what the models in scope can be filtered by."""
    with call.read(LimitedAction.SEARCH) as session:
        facets = models.get_facets(session, call.actor, org, wanted)
    return s.ModelFacets(
        total=facets.total,
        filtered_total=facets.filtered_total,
        frameworks=facets.values[FacetKind.FRAMEWORK],
        licenses=facets.values[FacetKind.LICENSE],
        size_categories=facets.values[FacetKind.SIZE_CATEGORY],
        tags=facets.values[FacetKind.TAG],
        task_categories=facets.values[FacetKind.TASK_CATEGORY],
    )


@writes.get("/models/activity")
def list_model_activity(
    call: CallHere,
    org: OrgPath,
    limit: Limit200 = 50,
    offset: Annotated[int, Query(ge=0, le=2**53)] = 0,
    user_id: SearchText = None,
    model_name: SearchText = None,
) -> s.ActivityPage:
    """List downloads of an organization's models, newest first. For members."""
    wanted = ActivityFilter(user_uuid=user_id, model_name=model_name)
    with call.read(LimitedAction.SEARCH) as session:
        org_row = orgs.get_org_to(session, call.actor, Action.READ_ACTIVITY, org)
        rows, total = downloads.list_activity(session, org_row.id, wanted, limit=limit, offset=offset)
    return s.ActivityPage(
        items=[answers.activity_item(org, row) for row in rows], limit=limit, offset=offset, total=total
    )


# --- one model


@reads.get("/models/{name}", response_model=s.ModelDetail, **CONDITIONAL)
def get_model_latest(request: Request, call: CallHere, org: OrgPath, name: NamePath) -> Response:
    """Get full detail for the latest version of a model."""
    with call.read() as session:
        found = models.get_model(session, call.actor, org, name)
        return answers.detail_response(request, session, call, found, versions.get_latest(session, found))


@writes.delete("/models/{name}", **NO_CONTENT)
def delete_whole_model(call: CallHere, org: OrgPath, name: NamePath) -> None:
    """Delete a model with all its versions; their numbers are spent. For owners."""
    with call.write() as session:
        found = models.get_model_to(session, call.actor, Action.DELETE, org, name)
        models.delete_model(session, call.actor, found)


@reads.get("/models/{name}/versions")
def list_model_versions(call: CallHere, org: OrgPath, name: NamePath) -> s.VersionList:
    """List a model's versions: stable, then pre-release, then yanked, each by falling precedence."""
    with call.read() as session:
        found = models.get_model(session, call.actor, org, name)
        numbers, latest = versions.list_versions(session, found)
        answer = s.VersionList(name=found.full_name, versions=numbers)
        if latest is not None:
            names = aliases.aliases_of(session, latest.id)
            answer.latest = answers.summary(session, call.actor, found, latest, names, len(numbers))
        return answer


@writes.post(
    "/models/{name}/versions",
    status_code=201,
    response_model=s.ModelDetail,
    responses={
        **CREATED,
        200: {
            **DETAIL[200],
            "model": s.ModelDetail,
            "description": "The same version is there already; nothing changed",
        },
    },
)
@waits_for_the_store
def publish_model(
    request: Request,
    call: CallHere,
    org: OrgPath,
    name: NamePath,
    body: PublishRequest,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Publish a version: whole or not at all, and never changed after."""
    published = publishing.publish_version(call, org, name, body, idempotency_key)
    return _shown(request, call, published.found, published.version, status=201 if published.created else 200)


@writes.patch("/models/{name}/visibility")
def update_model_visibility(call: CallHere, org: OrgPath, name: NamePath, body: s.VisibilityUpdate) -> s.Visibility:
    """Make all versions of a model public or private. For owners."""
    with call.write() as session:
        found = models.get_model_to(session, call.actor, Action.SET_VISIBILITY, org, name)
        changed = models.set_visibility(session, call.actor, found, is_public=body.is_public)
        word = "public" if body.is_public else "private"
        message = f"{found.full_name} is {'now' if changed else 'already'} {word}"
        return s.Visibility(is_public=body.is_public, message=message)


@reads.get("/models/{name}/aliases")
def list_model_aliases(
    call: CallHere,
    org: OrgPath,
    name: NamePath,
    limit: Limit200 = 50,
    cursor: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=50)] = None,
) -> s.AliasPage:
    """List a model's aliases, each with its version and its history."""
    with call.read() as session:
        found = models.get_model(session, call.actor, org, name)
        states = aliases.list_aliases(session, found, limit=limit, after=cursor)
        items = [answers.alias_item(call.actor, found, state) for state in states]
    return s.AliasPage(
        aliases=items, next_cursor=answers.next_cursor(items, limit, (items and items[-1].alias) or None)
    )


# --- one version


@reads.get("/models/{name}/{version}", response_model=s.ModelDetail, **CONDITIONAL)
def get_model_detail(
    request: Request, call: CallHere, org: OrgPath, name: NamePath, version: ReferencePath
) -> Response:
    """Get full detail for a version, named exactly, by alias, `latest` or a range."""
    with call.read() as session:
        found = models.get_model(session, call.actor, org, name)
        chosen = versions.resolve(session, found, version).version
        return answers.detail_response(request, session, call, found, chosen)


@writes.delete("/models/{name}/{version}", **NO_CONTENT)
def delete_model(call: CallHere, org: OrgPath, name: NamePath, version: ExactVersionPath) -> None:
    """Delete a version; its number is spent. For owners."""
    with call.write() as session:
        found = models.get_model_to(session, call.actor, Action.DELETE, org, name)
        versions.delete_version(session, call.actor, found, versions.get_exact(session, found, version))


@reads.post("/models/{name}/{version}/download")
def initiate_model_download(
    response: Response, call: CallHere, org: OrgPath, name: NamePath, version: ReferencePath
) -> s.DownloadTicket:
    """Get a link that yields the whole version as one tar and needs no credential until it expires."""
    with call.write(LimitedAction.DOWNLOAD) as session:
        found = models.get_model(session, call.actor, org, name)
        chosen = versions.resolve(session, found, version).version
        download = downloads.start_download(session, call.actor, found, chosen)
        answer = downloading.ticket_for(call, found, chosen, download.uuid)
        response.headers["Content-Location"] = answers.model_path(found, chosen.version)
    call.registry.usage.note_download(chosen, call.actor)
    return answer


@reads.get("/downloads/models/{download_id}")
def get_model_download_status(call: CallHere, org: OrgPath, download_id: UuidPath) -> s.DownloadStatus:
    """Get how a download stands that the caller began, with a fresh link."""
    with call.read() as session:
        download, version = downloads.get_download(session, call.actor, org, download_id)
        return downloading.status_of(session, call, org, download, version)


@writes.post("/models/{name}/{version}/aliases")
def set_model_alias(
    call: CallHere, org: OrgPath, name: NamePath, version: VersionOrLatestPath, body: s.AliasUpdate
) -> s.AliasSet:
    """Point an alias at a version (exact, or `latest`), from wherever it points now."""
    with call.write() as session:
        found = models.get_model_to(session, call.actor, Action.SET_ALIAS, org, name)
        chosen = (
            versions.get_latest(session, found) if version == "latest" else publishing.exact(session, found, version)
        )
        aliases.set_alias(session, call.actor, found, chosen, body.alias, protected=body.protected)
        return s.AliasSet(alias=body.alias, name=found.full_name, version=chosen.version)


@writes.delete("/models/{name}/{version}/aliases/{alias}", **NO_CONTENT)
def remove_model_alias(
    call: CallHere, org: OrgPath, name: NamePath, version: ExactVersionPath, alias: AliasPath
) -> None:
    """Take an alias off a version."""
    with call.write() as session:
        found = models.get_model_to(session, call.actor, Action.SET_ALIAS, org, name)
        chosen = versions.get_exact(session, found, version)
        aliases.remove_alias(session, call.actor, found, chosen, alias)


@writes.put("/models/{name}/{version}/metrics", response_model=s.ModelDetail, responses=DETAIL)
def update_model_metrics(
    request: Request, call: CallHere, org: OrgPath, name: NamePath, version: ExactVersionPath, body: s.MetricsUpdate
) -> Response:
    """Merge metrics into those of a version: keys not sent stay, null removes one."""
    with call.write() as session:
        found = models.get_model_to(session, call.actor, Action.SET_METRICS, org, name)
        chosen = versions.get_exact(session, found, version)
        versions.update_metrics(session, call.actor, found, chosen, body.root)
    return _shown(request, call, found, chosen)


@writes.put("/models/{name}/{version}/yank", response_model=s.ModelDetail, responses=DETAIL)
def yank_model(
    request: Request, call: CallHere, org: OrgPath, name: NamePath, version: ExactVersionPath, body: s.YankRequest
) -> Response:
    """Take a version out of `latest` and ranges, with a reason. For owners."""
    with call.write() as session:
        found = models.get_model_to(session, call.actor, Action.YANK, org, name)
        chosen = versions.get_exact(session, found, version)
        versions.yank(session, call.actor, found, chosen, body.reason)
    return _shown(request, call, found, chosen)


@writes.delete("/models/{name}/{version}/yank", response_model=s.ModelDetail, responses=DETAIL)
def unyank_model(request: Request, call: CallHere, org: OrgPath, name: NamePath, version: ExactVersionPath) -> Response:
    """Undo a yank. For owners."""
    with call.write() as session:
        found = models.get_model_to(session, call.actor, Action.YANK, org, name)
        chosen = versions.get_exact(session, found, version)
        versions.unyank(session, call.actor, found, chosen)
    return _shown(request, call, found, chosen)


def _shown(request: Request, call: Call, found: Found, version: Version, *, status: int = 200) -> Response:
    """A version as it stands after a change; rendered when the change is committed, since a Detail may be large."""
    with call.registry.database.read() as session:
        return answers.detail_response(request, session, call, found, version, status=status)
