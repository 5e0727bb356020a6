"""Bytes on their way in: Git LFS's batch, single PUTs and multipart (contract section 5).

Every link carries a ticket bound to the upload, its OID, size, part and credential; what the credential may do is asked
again whenever one is used.
"""

import asyncio
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import uuid4

from fastapi import APIRouter, Path, Request, Response
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from steelyard.server.core import blobs, orgs, proofs, straight, tokens, uploads
from steelyard.server.core.access import Action
from steelyard.server.core.jobs import LeaseLost
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.tickets import Purpose, Ticket
from steelyard.server.core.uploads import Manner, Offer, Room, Wanted
from steelyard.server.db.tables import Upload
from steelyard.server.doors.native import schemas as s
from steelyard.server.doors.native.calls import Call, CallHere, NativeRoute, TicketRoute, acting_as, waits_for_the_store
from steelyard.server.doors.native.documentation import errors
from steelyard.server.doors.native.parameters import NamePath, OrgPath, TicketQuery, UploadPath
from steelyard.server.doors.receiving import impatient, receive, sha256_sink
from steelyard.server.errors import Conflict, Invalid, NotFound, StorageTimeout
from steelyard.server.names import ModelName, Oid, OrgSlug

batch = APIRouter(prefix="/org/{org}", tags=["bytes"], route_class=NativeRoute, responses=errors())
links = APIRouter(prefix="/org/{org}", tags=["bytes"], route_class=TicketRoute, responses=errors())

PartPath = Annotated[int, Path(ge=1, le=uploads.MAX_PARTS, description="Part number, from 1")]
_LOOK_SECONDS = 0.5  # between looks for the end of another server's proof
_STORE_LINK_SECONDS = 900  # it is used at once, and outlives the token it was made for
_LONGEST_STORE_LINK_SECONDS = 7 * 86400  # more S3 does not sign for
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
    store = call.registry.store
    room = Room(call.registry.settings, store.free_bytes())
    multipart, checksums = "multipart" in body.transfers, body.part_checksums is not None
    manner = Manner(straight=multipart and store.direct is not None, checksums=checksums)
    with call.read() as session:
        org_row = orgs.get_org_to(session, call.actor, Action.PUBLISH, org)
        held = blobs.find_held(session, org_row.id, {item.oid for item in wanted})
    damaged = uploads.find_damaged(store, held.values())
    with call.write() as session:
        offers = uploads.begin_uploads(session, call.actor, org_row, wanted, room, damaged, manner)
    offers = straight.open_sessions(call.registry.database, store, offers, manner)
    objects = [
        _object(call, org, name, item.oid, offer, multipart=multipart)
        for item, offer in zip(body.objects, offers, strict=True)
    ]
    answer = s.BatchResponse(transfer="multipart" if multipart else "basic", objects=objects)
    return Response(answer.model_dump_json(exclude_none=True), 200, media_type="application/json")


def _prefixed(oid: str) -> str:
    return oid if oid.startswith("sha256:") else f"sha256:{oid}"


def _object(call: Call, org: OrgSlug, name: ModelName, spelled: str, offer: Offer, *, multipart: bool) -> s.BatchObject:
    size, upload = offer.wanted.size_bytes, offer.upload
    if upload is None:
        return s.BatchObject(oid=spelled, size=size)
    path = f"/api/v1/org/{org}/models/{name}/blobs/uploads/{upload.id}"
    if not multipart or (size <= upload.part_size_bytes and upload.handle is None):
        return s.BatchObject(oid=spelled, size=size, actions=_action(call, upload, "upload", path, {}))
    header = {"chunk_size": str(upload.part_size_bytes)}
    if upload.handle is not None and upload.checksums:
        header["part_checksums"] = "crc32"
    for number in range(1, uploads.part_count(upload) + 1):
        header[str(number)] = _part_link(call, upload, path, number)
    actions = _action(call, upload, "complete", path, header)
    return s.BatchObject(oid=spelled, size=size, parts_done=list(offer.parts_done), actions=actions)


def _part_link(call: Call, upload: Upload, path: str, number: int) -> str:
    """Where a part goes: through us, straight to the store, or to us first for a link that is bound to its bytes."""
    direct = call.registry.store.direct
    if direct is None or upload.handle is None or upload.checksums:
        return call.url(f"{path}/parts/{number}?ticket={_sign(call, upload, 'part', part=number)}")
    _, size_bytes = uploads.part_span(upload, number)
    ttl = min(call.registry.settings.ticket_ttl_seconds, _LONGEST_STORE_LINK_SECONDS)
    return direct.link_part(upload.id, upload.handle, number, size_bytes=size_bytes, ttl_seconds=ttl).url


def _action(call: Call, upload: Upload, purpose: Purpose, path: str, header: dict[str, str]) -> s.UploadActions:
    ttl = call.registry.settings.ticket_ttl_seconds
    href = call.url(f"{path}?ticket={_sign(call, upload, purpose)}")
    return s.UploadActions(upload=s.UploadAction(href=href, header=header, expires_at=_after(ttl), expires_in=ttl))


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
    opened = await call.at_the_store(_open, request, call, org, upload_id, ticket, "upload")
    if opened.upload is None:
        await _drain(request, opened.ticket.size_bytes or 0)
        return opened.done()
    stage_id = uuid4().hex
    try:
        await _keep(request, call, opened.upload, stage_id)
    except StorageTimeout:
        raise  # nor would the store answer what follows: clean-up takes what is left
    except BaseException:
        await call.at_the_store(call.registry.store.discard, stage_id)
        raise
    return s.UploadedObject(oid=opened.upload.oid, size=opened.upload.size_bytes)


async def _keep(request: Request, call: Call, upload: Upload, stage_id: str) -> None:
    """The body into a staged file of its own, and from there to where it stays."""
    _check_length(request, upload.size_bytes)
    store, (hashing, hexdigest) = call.registry.store, sha256_sink()
    with await call.at_the_store(store.stage, stage_id, 0) as writer:
        await receive(request.stream(), upload.size_bytes, [writer.write, hashing], call.at_the_store)
        await call.at_the_store(writer.close)
    await call.at_the_store(proofs.keep_streamed, call.registry.database, store, upload, stage_id, hexdigest())


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
    opened = await call.at_the_store(_open, request, call, org, upload_id, ticket, "part", number)
    if opened.upload is None:
        await _drain(request, opened.ticket.size_bytes or 0)
        return opened.done()
    upload = opened.upload
    _check_open(upload)
    if upload.handle is not None:
        raise Conflict("Parts of this upload go straight to the store. POST their checksum here to get a link.")
    offset_bytes, size_bytes = uploads.part_span(upload, number)
    _check_length(request, size_bytes)
    with await call.at_the_store(call.registry.store.stage, upload_id, offset_bytes) as writer:
        await receive(request.stream(), size_bytes, [writer.write], call.at_the_store)
        await call.at_the_store(writer.close)
    await run_in_threadpool(_note_part, call, upload_id, number)
    response.headers["ETag"] = f'"{upload_id}-{number}"'
    return s.UploadedObject(oid=upload.oid, size=size_bytes)


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
    opened = _open(request, call, org, upload_id, ticket, "part", number)
    if opened.upload is None or opened.upload.handle is None:
        raise Conflict("This upload is finished, or its parts go through this server. Ask for it again.")
    upload, handle = opened.upload, opened.upload.handle
    _check_open(upload)
    _, size_bytes = uploads.part_span(upload, number)
    ttl = min(call.registry.settings.ticket_ttl_seconds, _STORE_LINK_SECONDS)
    link = straight.get_transfers(call.registry.store).link_part(
        upload_id, handle, number, size_bytes=size_bytes, ttl_seconds=ttl, crc32=body.crc32
    )
    return s.StoreLink(href=link.url, header=dict(link.headers), expires_at=_after(ttl))


def _check_open(upload: Upload) -> None:
    if upload.state != "open":
        raise Conflict("This upload was completed and takes no more parts.")


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
    opened = await run_in_threadpool(_open, request, call, org, upload_id, ticket, "complete")
    if opened.upload is None:
        return _uploaded(opened)
    proof = await call.at_the_store(call.registry.prover.start, opened.upload)
    return await _proven(request, call, opened, proof)


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
    _check_proving(opened.upload)
    proof = await call.at_the_store(call.registry.prover.join, opened.upload)
    return await _proven(request, call, opened, proof)


async def _proven(request: Request, call: Call, opened: "_Opened", proof: Future[None] | None) -> Response:
    """Wait a while for a proof, here or (None) at another server; then say that it goes on."""
    until = time.monotonic() + call.registry.settings.prove_wait_seconds
    if proof is not None:
        here = asyncio.wrap_future(proof)
        done, _ = await asyncio.wait([here], timeout=until - time.monotonic())
        if not done:
            here.add_done_callback(lambda late: late.cancelled() or late.exception())  # the prover logs it
            return _proving(request, opened)
        with suppress(LeaseLost):
            await here
            return _uploaded(opened)
    while await run_in_threadpool(_is_proving, call, opened):
        if time.monotonic() >= until:
            return _proving(request, opened)
        await asyncio.sleep(_LOOK_SECONDS)
    return _uploaded(opened)


def _is_proving(call: Call, opened: "_Opened") -> bool:
    """Whether the proof goes on, by the rows. Raises what it ended in, unless the organisation holds the bytes."""
    with call.registry.database.read() as session:
        upload = session.get(Upload, opened.ticket.subject)
        if upload is None:
            _check_held(session, opened.org_id, opened.ticket)
            return False
    _check_proving(upload)
    return True


def _check_proving(upload: Upload) -> None:
    if upload.state == "open":
        raise Conflict("Not all parts of this upload have arrived, or it was not completed yet.")
    if upload.state == "failed":
        raise proofs.failed(upload)


@dataclass(frozen=True, slots=True)
class _Opened:
    """What a link opens: `upload` is None when it is over and the organisation holds the bytes."""

    ticket: Ticket
    org_id: int
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
        if upload is None:
            _check_held(session, org_row.id, read)
    if upload is not None and upload.org_id != org_row.id:
        raise NotFound("There is no such upload in this organisation.")
    if purpose != "complete":
        uploads.check_floor(call.registry.settings, call.registry.store.free_bytes())
    return _Opened(read, org_row.id, upload)


def _check_held(session: Session, org_id: int, ticket: Ticket) -> None:
    """An upload that is no more ended well if the organisation holds its bytes. Raises `NotFound`."""
    if not blobs.find_held(session, org_id, [ticket.oid or ""]):
        raise NotFound("There is no such upload: it failed or was thrown away. Ask for a new one.")


def _note_part(call: Call, upload_id: str, number: int) -> None:
    with call.registry.database.write(beside=True) as session:
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
