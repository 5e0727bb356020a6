"""Bytes on their way in: Git LFS's batch, single PUTs and multipart (contract section 5).

Every link carries a ticket bound to the upload, its OID, size, part and credential; what the credential may do is asked
again whenever one is used.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import uuid4

from fastapi import APIRouter, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from steelyard.server.core import blobs, orgs, tokens, uploads
from steelyard.server.core.access import Action
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.tickets import Purpose, Ticket
from steelyard.server.core.uploads import Offer, Room, Wanted
from steelyard.server.db.tables import Upload
from steelyard.server.doors.native import schemas as s
from steelyard.server.doors.native.calls import Call, CallHere, NativeRoute, TicketRoute, acting_as
from steelyard.server.doors.native.documentation import errors
from steelyard.server.doors.native.parameters import NamePath, OrgPath, TicketQuery, UploadPath
from steelyard.server.doors.receiving import impatient, receive, sha256_sink
from steelyard.server.errors import Conflict, Invalid, NotFound
from steelyard.server.names import ModelName, Oid, OrgSlug

batch = APIRouter(prefix="/org/{org}", tags=["bytes"], route_class=NativeRoute, responses=errors())
links = APIRouter(prefix="/org/{org}", tags=["bytes"], route_class=TicketRoute, responses=errors())

PartPath = Annotated[int, Path(ge=1, le=uploads.MAX_PARTS, description="Part number, from 1")]
_NO_CREDENTIAL = {"x-credential": False}
_BODY = {"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string"}}}}}
_ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {"model": s.UploadedObject, "description": "All is here and being proven; look again at Location"}
}


@batch.post("/models/{name}/blobs/batch", response_model_exclude_none=True)
def begin_uploads(call: CallHere, org: OrgPath, name: NamePath, body: s.BatchRequest) -> s.BatchResponse:
    """Ask which of these bytes the organization lacks, and get links to send them; a broken upload goes on."""
    wanted = [Wanted(Oid.parse(_prefixed(item.oid)), item.size) for item in body.objects]
    room = Room(call.registry.settings, call.registry.store.free_bytes())
    with call.read() as session:
        org_row = orgs.get_org_to(session, call.actor, Action.PUBLISH, org)
        damaged = uploads.find_damaged(session, call.registry.store, org_row, wanted)
    with call.write() as session:
        offers = uploads.begin_uploads(session, call.actor, org_row, wanted, room, damaged)
    multipart = "multipart" in body.transfers
    objects = [
        _object(call, org, name, item.oid, offer, multipart=multipart)
        for item, offer in zip(body.objects, offers, strict=True)
    ]
    return s.BatchResponse(transfer="multipart" if multipart else "basic", objects=objects)


def _prefixed(oid: str) -> str:
    return oid if oid.startswith("sha256:") else f"sha256:{oid}"


def _object(call: Call, org: OrgSlug, name: ModelName, spelled: str, offer: Offer, *, multipart: bool) -> s.BatchObject:
    size, upload = offer.wanted.size_bytes, offer.upload
    if upload is None:
        return s.BatchObject(oid=spelled, size=size)
    path = f"/api/v1/org/{org}/models/{name}/blobs/uploads/{upload.id}"
    if not multipart or size <= upload.part_size_bytes:
        return s.BatchObject(oid=spelled, size=size, actions=_action(call, upload, "upload", path, {}))
    urls = {
        str(n): call.url(f"{path}/parts/{n}?ticket={_sign(call, upload, 'part', part=n)}")
        for n in range(1, uploads.part_count(upload) + 1)
    }
    header = {"chunk_size": str(upload.part_size_bytes), **urls}
    actions = _action(call, upload, "complete", path, header)
    return s.BatchObject(oid=spelled, size=size, parts_done=list(offer.parts_done), actions=actions)


def _action(call: Call, upload: Upload, purpose: Purpose, path: str, header: dict[str, str]) -> s.UploadActions:
    ttl = call.registry.settings.ticket_ttl_seconds
    href = call.url(f"{path}?ticket={_sign(call, upload, purpose)}")
    expires_at = datetime.fromtimestamp(int(time.time()) + ttl, UTC)
    return s.UploadActions(upload=s.UploadAction(href=href, header=header, expires_at=expires_at, expires_in=ttl))


def _sign(call: Call, upload: Upload, purpose: Purpose, *, part: int | None = None) -> str:
    expires_at = int(time.time()) + call.registry.settings.ticket_ttl_seconds
    token = call.actor.token_uuid
    return call.registry.tickets.sign(
        Ticket(purpose, upload.id, token, expires_at, upload.oid, upload.size_bytes, part)
    )


# --- behind the links


@links.put("/models/{name}/blobs/uploads/{upload_id}", openapi_extra={**_NO_CREDENTIAL, **_BODY})
async def put_upload(
    request: Request, call: CallHere, org: OrgPath, name: NamePath, upload_id: UploadPath, ticket: TicketQuery
) -> s.UploadedObject:
    """Send the bytes of an upload in one body."""
    opened = await run_in_threadpool(_open, request, call, org, upload_id, ticket, "upload")
    if opened.upload is None:
        await _drain(request, opened.ticket.size_bytes or 0)
        return opened.done()
    upload = opened.upload
    store, stage_id = call.registry.store, uuid4().hex
    hashing, hexdigest = sha256_sink()
    try:
        _check_length(request, upload.size_bytes)
        with await run_in_threadpool(store.stage, stage_id, 0) as writer:
            await receive(request.stream(), upload.size_bytes, [writer.write, hashing])
            await run_in_threadpool(writer.close)
        await run_in_threadpool(uploads.keep_streamed, call.registry.database, store, upload, stage_id, hexdigest())
    finally:
        await run_in_threadpool(store.discard, stage_id)
    return s.UploadedObject(oid=upload.oid, size=upload.size_bytes)


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
    opened = await run_in_threadpool(_open, request, call, org, upload_id, ticket, "part", number)
    if opened.upload is None:
        await _drain(request, opened.ticket.size_bytes or 0)
        return opened.done()
    upload = opened.upload
    if upload.state != "open":
        raise Conflict("This upload was completed and takes no more parts.")
    offset_bytes, size_bytes = uploads.part_span(upload, number)
    _check_length(request, size_bytes)
    with await run_in_threadpool(call.registry.store.stage, upload_id, offset_bytes) as writer:
        await receive(request.stream(), size_bytes, [writer.write])
        await run_in_threadpool(writer.close)
    await run_in_threadpool(_note_part, call, upload_id, number)
    response.headers["ETag"] = f'"{upload_id}-{number}"'
    return s.UploadedObject(oid=upload.oid, size=size_bytes)


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
    opened = await run_in_threadpool(_open, request, call, org, upload_id, ticket, "complete")
    if opened.upload is None:
        return _uploaded(opened)
    upload = await run_in_threadpool(_start_proving, call, upload_id)
    return await _prove(request, call, opened, upload)


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
    opened = await run_in_threadpool(_open, request, call, org, upload_id, ticket, "complete")
    if opened.upload is None:
        return _uploaded(opened)
    if opened.upload.state == "open":
        raise Conflict("Not all parts of this upload have arrived, or it was not completed yet.")
    if opened.upload.state == "failed":
        raise uploads.failed(opened.upload)
    return await _prove(request, call, opened, opened.upload)


async def _prove(request: Request, call: Call, opened: "_Opened", upload: Upload) -> Response:
    """Join the proof, or begin it anew where a failing store broke it off; wait a while, then say that it goes on."""
    proof = asyncio.wrap_future(call.registry.prover.prove(upload))
    done, _ = await asyncio.wait([proof], timeout=call.registry.settings.prove_wait_seconds)
    if not done:
        proof.add_done_callback(lambda late: late.cancelled() or late.exception())  # the prover logs it
        return _proving(request, opened)
    await proof
    return _uploaded(opened)


@dataclass(frozen=True, slots=True)
class _Opened:
    """What a link opens: `upload` is None when it is over and the organisation holds the bytes."""

    ticket: Ticket
    upload: Upload | None

    def done(self, status: Literal["done", "proving"] = "done") -> s.UploadedObject:
        return s.UploadedObject(oid=self.ticket.oid or "", size=self.ticket.size_bytes or 0, status=status)


def _open(
    request: Request, call: Call, org: OrgSlug, upload_id: str, ticket: str, purpose: Purpose, part: int | None = None
) -> _Opened:
    """The upload behind a link, if its ticket is good and its credential may still publish there."""
    read = call.registry.tickets.read(ticket, purpose, upload_id, part=part)
    with call.registry.database.read() as session:
        actor = acting_as(call, tokens.actor_of_token(session, read.token_uuid or ""), request).actor
        call.registry.limiter.take(LimitedAction.TRANSFER, actor.principal)
        org_row = orgs.get_org_to(session, actor, Action.PUBLISH, org)
        upload = session.get(Upload, upload_id)
        if upload is None and not blobs.find_held(session, org_row.id, [read.oid or ""]):
            raise NotFound("There is no such upload: it failed or was thrown away. Ask for a new one.")
    if upload is not None and upload.org_id != org_row.id:
        raise NotFound("There is no such upload in this organisation.")
    if purpose != "complete":
        uploads.check_floor(call.registry.settings, call.registry.store.free_bytes())
    return _Opened(read, upload)


def _start_proving(call: Call, upload_id: str) -> Upload:
    with call.registry.database.write() as session:
        return uploads.start_proving(session, upload_id)


def _note_part(call: Call, upload_id: str, number: int) -> None:
    with call.registry.database.write() as session:
        uploads.record_part(session, upload_id, number)


async def _drain(request: Request, most_bytes: int) -> None:
    """Read what was sent for nothing: a connection whose body stays unread is closed under the next request."""
    async for piece in impatient(request.stream()):
        most_bytes -= len(piece)
        if most_bytes < 0:
            return


def _check_length(request: Request, size_bytes: int) -> None:
    """Refuse before reading what is announced to be of the wrong length."""
    announced = request.headers.get("content-length")
    if announced is not None and announced != str(size_bytes):
        raise Invalid(f"This link takes exactly {size_bytes} bytes, and the body is announced with {announced[:20]}.")


def _uploaded(opened: _Opened) -> Response:
    return Response(opened.done().model_dump_json(), 200, media_type="application/json")


def _proving(request: Request, opened: _Opened) -> Response:
    location = f"{request.scope['path']}?{request.scope['query_string'].decode('latin-1')}"
    headers = {"Location": location, "Retry-After": str(uploads.RETRY_SECONDS)}
    return Response(opened.done("proving").model_dump_json(), 202, headers, media_type="application/json")
