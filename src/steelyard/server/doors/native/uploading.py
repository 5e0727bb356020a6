"""Bytes on their way in: Git LFS's batch, single PUTs and multipart (contract section 5).

What stands behind the links is `doors.incoming`.
"""

import time
from collections.abc import Collection
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from steelyard.server.core import orgs
from steelyard.server.core.access import Action
from steelyard.server.core.arrivals import straight, uploads
from steelyard.server.core.arrivals.uploads import Offer, Wanted
from steelyard.server.core.tickets import Purpose
from steelyard.server.db.tables import Upload
from steelyard.server.doors import incoming
from steelyard.server.doors.calls import Call, CallHere, waits_for_the_store
from steelyard.server.doors.incoming import Opened
from steelyard.server.doors.native import granting
from steelyard.server.doors.native import schemas as s
from steelyard.server.doors.native.calls import NativeRoute, TicketRoute
from steelyard.server.doors.native.documentation import errors
from steelyard.server.doors.native.parameters import NamePath, OrgPath, TicketQuery, UploadPath
from steelyard.server.errors import Conflict
from steelyard.server.names import ModelName, Oid, OrgSlug

batch = APIRouter(prefix="/org/{org}", tags=["bytes"], route_class=NativeRoute, responses=errors())
links = APIRouter(prefix="/org/{org}", tags=["bytes"], route_class=TicketRoute, responses=errors())

PartPath = Annotated[int, Path(ge=1, le=uploads.MAX_PARTS, description="Part number, from 1")]
_STORE_LINK_SECONDS = 900  # it is used at once, and outlives the token it was made for
_NO_CREDENTIAL = {"x-credential": False}
_BODY = {"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string"}}}}}
_ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {"model": s.UploadedObject, "description": "All is here and being proven; look again at Location"}
}


@batch.post("/models/{name}/blobs/batch", response_model=s.BatchResponse)
@waits_for_the_store
def begin_uploads(call: CallHere, org: OrgPath, name: NamePath, body: s.BatchRequest) -> Response:
    """Ask which of these bytes the organization lacks, and get links to send them; a broken upload goes on."""
    wanted = [Wanted(Oid.parse(_prefixed(item.oid)), item.size) for item in body.objects]
    if "xet" in body.transfers and (missing := granting.list_sent_as_chunks(call, org, name, wanted)):
        return _answered("xet", [_granted(call, org, name, item, missing) for item in body.objects])
    multipart, checksums = "multipart" in body.transfers, body.part_checksums is not None
    find_org = partial(orgs.get_org_to, actor=call.actor, action=Action.PUBLISH, slug=org)
    offers = incoming.begin_uploads(call, find_org, wanted, multipart=multipart, checksums=checksums)
    objects = [
        _object(call, org, name, item.oid, offer, multipart=multipart)
        for item, offer in zip(body.objects, offers, strict=True)
    ]
    return _answered("multipart" if multipart else "basic", objects)


def _answered(transfer: Literal["basic", "multipart", "xet"], objects: list[s.BatchObject]) -> Response:
    answer = s.BatchResponse(transfer=transfer, objects=objects)
    return Response(answer.model_dump_json(exclude_none=True), 200, media_type="application/json")


def _granted(
    call: Call, org: OrgSlug, name: ModelName, item: s.WantedObject, missing: Collection[str]
) -> s.BatchObject:
    """No upload is begun for what goes as chunks: one that nobody sends would be left behind."""
    if _prefixed(item.oid) not in missing:
        return s.BatchObject(oid=item.oid, size=item.size)
    ttl, href = call.registry.settings.ticket_ttl_seconds, call.url(f"/api/v1/org/{org}/models/{name}/blobs/xet")
    action = s.UploadAction(href=href, expires_at=_after(ttl), expires_in=ttl)
    return s.BatchObject(oid=item.oid, size=item.size, actions=s.UploadActions(upload=action))


def _prefixed(oid: str) -> str:
    return oid if oid.startswith("sha256:") else f"sha256:{oid}"


def _object(call: Call, org: OrgSlug, name: ModelName, spelled: str, offer: Offer, *, multipart: bool) -> s.BatchObject:
    size, upload = offer.wanted.size_bytes, offer.upload
    if upload is None:
        return s.BatchObject(oid=spelled, size=size)
    path = f"/api/v1/org/{org}/models/{name}/blobs/uploads/{upload.id}"
    if incoming.goes_in_one(upload, multipart=multipart):
        return s.BatchObject(oid=spelled, size=size, actions=_action(call, upload, "upload", path, {}))
    header = incoming.part_links(call, upload, path)
    if upload.handle is not None and upload.checksums:
        header["part_checksums"] = "crc32"
    actions = _action(call, upload, "complete", path, header)
    return s.BatchObject(oid=spelled, size=size, parts_done=list(offer.parts_done), actions=actions)


def _action(call: Call, upload: Upload, purpose: Purpose, path: str, header: dict[str, str]) -> s.UploadActions:
    ttl = call.registry.settings.ticket_ttl_seconds
    href = incoming.link(call, upload, path, purpose)
    return s.UploadActions(upload=s.UploadAction(href=href, header=header, expires_at=_after(ttl), expires_in=ttl))


# --- behind the links


@links.put("/models/{name}/blobs/uploads/{upload_id}", openapi_extra={**_NO_CREDENTIAL, **_BODY})
async def put_upload(
    request: Request, call: CallHere, org: OrgPath, name: NamePath, upload_id: UploadPath, ticket: TicketQuery
) -> s.UploadedObject:
    """Send the bytes of an upload in one body."""
    opened = await call.at_the_store(incoming.open_upload, request, call, org, upload_id, ticket, "upload")
    await incoming.receive_whole(request, call, opened)
    return _done(opened)


@links.put("/models/{name}/blobs/uploads/{upload_id}/parts/{number}", openapi_extra={**_NO_CREDENTIAL, **_BODY})
async def put_upload_part(
    request: Request,
    response: Response,
    call: CallHere,
    org: OrgPath,
    name: NamePath,
    upload_id: UploadPath,
    number: PartPath,
    ticket: TicketQuery,
) -> s.UploadedObject:
    """Send one part of an upload."""
    opened = await call.at_the_store(incoming.open_upload, request, call, org, upload_id, ticket, "part", number)
    size_bytes = await incoming.receive_part(request, call, opened, number)
    if size_bytes is None:
        return _done(opened)
    response.headers["ETag"] = f'"{upload_id}-{number}"'
    return s.UploadedObject(oid=opened.oid, size=size_bytes)


@links.post("/models/{name}/blobs/uploads/{upload_id}/parts/{number}", openapi_extra=_NO_CREDENTIAL)
@waits_for_the_store
def sign_upload_part(
    request: Request,
    call: CallHere,
    org: OrgPath,
    name: NamePath,
    upload_id: UploadPath,
    number: PartPath,
    ticket: TicketQuery,
    body: s.PartChecksum,
) -> s.StoreLink:
    """Get a link of the store for one part, which takes no bytes but those with this checksum."""
    opened = incoming.open_upload(request, call, org, upload_id, ticket, "part", number)
    if opened.upload is None or opened.upload.handle is None:
        raise Conflict("This upload is finished, or its parts go through this server. Ask for it again.")
    upload, handle = opened.upload, opened.upload.handle
    incoming.check_open(upload)
    _, size_bytes = uploads.part_span(upload, number)
    ttl = min(call.registry.settings.ticket_ttl_seconds, _STORE_LINK_SECONDS)
    link = straight.get_transfers(call.registry.store).link_part(
        upload_id, handle, number, size_bytes=size_bytes, ttl_seconds=ttl, crc32=body.crc32
    )
    return s.StoreLink(href=link.url, header=dict(link.headers), expires_at=_after(ttl))


def _after(ttl_seconds: int) -> datetime:
    return datetime.fromtimestamp(int(time.time()) + ttl_seconds, UTC)


@links.post(
    "/models/{name}/blobs/uploads/{upload_id}",
    response_model=s.UploadedObject,
    responses=_ACCEPTED,
    openapi_extra=_NO_CREDENTIAL,
)
async def complete_upload(
    request: Request,
    call: CallHere,
    org: OrgPath,
    name: NamePath,
    upload_id: UploadPath,
    ticket: TicketQuery,
    body: s.Completion | None = None,
) -> Response:
    """End a multipart upload: the whole is hashed and compared before the organization holds it."""
    opened = await run_in_threadpool(incoming.open_upload, request, call, org, upload_id, ticket, "complete")
    return _proven(request, opened, is_proven=await incoming.complete(call, opened))


@links.get(
    "/models/{name}/blobs/uploads/{upload_id}",
    response_model=s.UploadedObject,
    responses=_ACCEPTED,
    openapi_extra=_NO_CREDENTIAL,
)
async def get_upload(
    request: Request, call: CallHere, org: OrgPath, name: NamePath, upload_id: UploadPath, ticket: TicketQuery
) -> Response:
    """Get whether an upload that was completed is proven by now."""
    opened = await run_in_threadpool(incoming.open_upload, request, call, org, upload_id, ticket, "complete")
    return _proven(request, opened, is_proven=await incoming.look_again(call, opened))


def _done(opened: Opened, status: Literal["done", "proving"] = "done") -> s.UploadedObject:
    return s.UploadedObject(oid=opened.oid, size=opened.size_bytes, status=status)


def _proven(request: Request, opened: Opened, *, is_proven: bool) -> Response:
    """Whether the proof has ended by now, or else where to look again."""
    if is_proven:
        return Response(_done(opened).model_dump_json(), 200, media_type="application/json")
    location = f"{request.scope['path']}?{request.scope['query_string'].decode('latin-1')}"
    headers = {"Location": location, "Retry-After": str(uploads.RETRY_SECONDS)}
    return Response(_done(opened, "proving").model_dump_json(), 202, headers, media_type="application/json")
