"""Uploads behind links, for every door that gives such links: making them, and what is done when one is used.

Every link carries a ticket bound to the upload, its OID, size, part and credential; what the credential may do is asked
again whenever one is used.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from uuid import uuid4

from fastapi import Request
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from steelyard.server.core import blobs, orgs, tokens
from steelyard.server.core.access import Action
from steelyard.server.core.arrivals import proofs, straight, uploads
from steelyard.server.core.arrivals.uploads import Manner, Offer, Room, Wanted
from steelyard.server.core.jobs import LeaseLost
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.tickets import Purpose, Ticket
from steelyard.server.db.tables import Org, Upload
from steelyard.server.doors.calls import Call, acting_as
from steelyard.server.doors.receiving import impatient, receive, sha256_sink
from steelyard.server.errors import Conflict, Invalid, NotFound, StorageTimeout

LOOK_SECONDS = 0.5  # between looks for the end of another server's proof
_LONGEST_STORE_LINK_SECONDS = 7 * 86400  # more S3 does not sign for

# --- before


def begin_uploads(
    call: Call,
    find_org: Callable[[Session], Org],
    wanted: Sequence[Wanted],
    *,
    multipart: bool,
    checksums: bool = False,
) -> list[Offer]:
    """An offer for each of these, with the store's sessions where clients may send it parts. Waits for the store.

    `find_org` says where they go, and raises unless the caller may publish there.
    """
    store = call.registry.store
    room = Room(call.registry.settings, store.free_bytes())
    manner = Manner(straight=multipart and store.direct is not None, checksums=checksums)
    with call.read() as session:
        org = find_org(session)
        held = blobs.find_held(session, org.id, {item.oid for item in wanted})
    damaged = uploads.find_damaged(store, held.values())
    with call.write() as session:
        offers = uploads.begin_uploads(session, call.actor, org, wanted, room, damaged, manner)
    return straight.open_sessions(call.registry.database, store, offers, manner)


def goes_in_one(upload: Upload, *, multipart: bool) -> bool:
    """Whether the client sends it in one PUT, to us."""
    return not multipart or (upload.size_bytes <= upload.part_size_bytes and upload.handle is None)


def link(call: Call, upload: Upload, path: str, purpose: Purpose) -> str:
    """Where the upload goes, or is completed. `path` is the upload's at the door that gives the link."""
    return call.url(f"{path}?ticket={_sign(call, upload, purpose)}")


def part_links(call: Call, upload: Upload, path: str) -> dict[str, str]:
    """Git LFS's header of a multipart upload, as the Hub's clients know it: the parts' size, and where each goes."""
    numbers = range(1, uploads.part_count(upload) + 1)
    return {"chunk_size": str(upload.part_size_bytes)} | {str(n): _part_link(call, upload, path, n) for n in numbers}


def _part_link(call: Call, upload: Upload, path: str, number: int) -> str:
    """Where a part goes: through us, straight to the store, or to us first for a link that is bound to its bytes."""
    direct = call.registry.store.direct
    if direct is None or upload.handle is None or upload.checksums:
        return call.url(f"{path}/parts/{number}?ticket={_sign(call, upload, 'part', part=number)}")
    _, size_bytes = uploads.part_span(upload, number)
    ttl = min(call.registry.settings.ticket_ttl_seconds, _LONGEST_STORE_LINK_SECONDS)
    return direct.link_part(upload.id, upload.handle, number, size_bytes=size_bytes, ttl_seconds=ttl).url


def _sign(call: Call, upload: Upload, purpose: Purpose, *, part: int | None = None) -> str:
    expires_at = int(time.time()) + call.registry.settings.ticket_ttl_seconds
    token = call.actor.token_uuid
    return call.registry.tickets.sign(
        Ticket(purpose, upload.id, token, expires_at, upload.oid, upload.size_bytes, part)
    )


# --- behind the links


@dataclass(frozen=True, slots=True)
class Opened:
    """What a link opens: `upload` is None when it is over and the organisation holds the bytes."""

    ticket: Ticket
    org_id: int
    upload: Upload | None

    @property
    def oid(self) -> str:
        """The digest of the bytes that it is about."""
        return self.ticket.oid or ""

    @property
    def size_bytes(self) -> int:
        """How long they are."""
        return self.ticket.size_bytes or 0


def open_upload(
    request: Request, call: Call, org: str, upload_id: str, ticket: str, purpose: Purpose, part: int | None = None
) -> Opened:
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
    return Opened(read, org_row.id, upload)


def _check_held(session: Session, org_id: int, ticket: Ticket) -> None:
    """An upload that is no more ended well if the organisation holds its bytes. Raises `NotFound`."""
    if not blobs.find_held(session, org_id, [ticket.oid or ""]):
        raise NotFound("There is no such upload: it failed or was thrown away. Ask for a new one.")


async def receive_whole(request: Request, call: Call, opened: Opened) -> None:
    """Keep the body as the upload's bytes, unless the organisation holds them by now."""
    if opened.upload is None:
        await _drain(request, opened.size_bytes)
        return
    stage_id = uuid4().hex
    try:
        await _keep(request, call, opened.upload, stage_id)
    except StorageTimeout:
        raise  # nor would the store answer what follows: clean-up takes what is left
    except BaseException:
        await call.at_the_store(call.registry.store.discard, stage_id)
        raise


async def _keep(request: Request, call: Call, upload: Upload, stage_id: str) -> None:
    """The body into a staged file of its own, and from there to where it stays."""
    _check_length(request, upload.size_bytes)
    store, (hashing, hexdigest) = call.registry.store, sha256_sink()
    with await call.at_the_store(store.stage, stage_id, 0) as writer:
        await receive(request.stream(), upload.size_bytes, [writer.write, hashing], call.at_the_store)
        await call.at_the_store(writer.close)
    await call.at_the_store(proofs.keep_streamed, call.registry.database, store, upload, stage_id, hexdigest())


async def receive_part(request: Request, call: Call, opened: Opened, number: int) -> int | None:
    """Keep the body as a part, and answer its size; None when the organisation holds all the bytes by now."""
    upload = opened.upload
    if upload is None:
        await _drain(request, opened.size_bytes)
        return None
    check_open(upload)
    if upload.handle is not None:
        raise Conflict("Parts of this upload go straight to the store. POST their checksum here to get a link.")
    offset_bytes, size_bytes = uploads.part_span(upload, number)
    _check_length(request, size_bytes)
    with await call.at_the_store(call.registry.store.stage, upload.id, offset_bytes) as writer:
        await receive(request.stream(), size_bytes, [writer.write], call.at_the_store)
        await call.at_the_store(writer.close)
    await run_in_threadpool(_note_part, call, upload.id, number)
    return size_bytes


def check_open(upload: Upload) -> None:
    """Raise `Conflict` for an upload that was completed."""
    if upload.state != "open":
        raise Conflict("This upload was completed and takes no more parts.")


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


# --- the end of it


async def complete(call: Call, opened: Opened) -> bool:
    """All parts are here: have the whole proven. Answers whether it is by now, or else that it goes on."""
    if opened.upload is None:
        return True
    return await _is_proven(call, opened, await call.at_the_store(call.registry.prover.start, opened.upload))


async def look_again(call: Call, opened: Opened) -> bool:
    """The same for an upload that was completed before."""
    if opened.upload is None:
        return True
    _check_proving(opened.upload)
    return await _is_proven(call, opened, await call.at_the_store(call.registry.prover.join, opened.upload))


async def _is_proven(call: Call, opened: Opened, proof: "Future[None] | None") -> bool:
    """Wait a while for a proof, here or (None) at another server. Raises what it ended in."""
    until = time.monotonic() + call.registry.settings.prove_wait_seconds
    if proof is not None:
        here = asyncio.wrap_future(proof)
        done, _ = await asyncio.wait([here], timeout=until - time.monotonic())
        if not done:
            here.add_done_callback(lambda late: late.cancelled() or late.exception())  # the prover logs it
            return False
        with suppress(LeaseLost):
            await here
            return True
    while await run_in_threadpool(_is_proving, call, opened):
        if time.monotonic() >= until:
            return False
        await asyncio.sleep(LOOK_SECONDS)
    return True


def _is_proving(call: Call, opened: Opened) -> bool:
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
