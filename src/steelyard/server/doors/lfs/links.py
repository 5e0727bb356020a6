"""Behind the links of a batch: bytes in, whole or in parts, and bytes out. None but `verify` needs a credential."""

import asyncio
import time
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, StrictInt, StringConstraints
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from steelyard.server.core import blobs
from steelyard.server.core.arrivals import uploads
from steelyard.server.core.files.trees import File
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.manifests import holdings
from steelyard.server.doors import incoming
from steelyard.server.doors.calls import Call, CallHere, acting_by, waits_for_the_store
from steelyard.server.doors.fetching import StoredFile, actor_of_link, caching, file_response
from steelyard.server.doors.lfs import keeping
from steelyard.server.doors.lfs.calls import LfsRepo, LfsRoute, LinkRoute, RepoPath, TicketQuery
from steelyard.server.doors.lfs.errors import MEDIA_TYPE
from steelyard.server.errors import Invalid, NotFound, Unavailable

links = APIRouter(prefix="/{org}/{name}.git/info/lfs", route_class=LinkRoute)
asked = APIRouter(prefix="/{org}/{name}.git/info/lfs", route_class=LfsRoute)

UploadPath = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
PartPath = Annotated[int, Path(ge=1, le=uploads.MAX_PARTS)]
HexPath = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]


class SentObject(BaseModel):
    """What a client has sent, in its own words."""

    oid: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    size: StrictInt


@links.put("/uploads/{upload_id}")
async def put_lfs_object(
    request: Request, call: CallHere, repo: RepoPath, upload_id: UploadPath, ticket: TicketQuery
) -> Response:
    """Take the bytes of an object in one body."""
    opened = await call.at_the_store(incoming.open_upload, request, call, repo.slug, upload_id, ticket, "upload")
    await incoming.receive_whole(request, call, opened)
    return _said(opened.oid, opened.size_bytes)


@links.put("/uploads/{upload_id}/parts/{number}")
async def put_lfs_part(
    request: Request, call: CallHere, repo: RepoPath, upload_id: UploadPath, number: PartPath, ticket: TicketQuery
) -> Response:
    """Take one part. Clients send back the ETag when they complete the upload, and do not go on without one."""
    opened = await call.at_the_store(incoming.open_upload, request, call, repo.slug, upload_id, ticket, "part", number)
    await incoming.receive_part(request, call, opened, number)
    return Response(status_code=200, headers={"ETag": f'"{upload_id}-{number}"'})


@links.post("/uploads/{upload_id}")
async def complete_lfs_upload(
    request: Request, call: CallHere, repo: RepoPath, upload_id: UploadPath, ticket: TicketQuery
) -> Response:
    """End a multipart upload. The parts and ETags that clients list are not needed: which arrived is known here.

    A proof that takes long goes on after the answer. Clients do not look again: `verify` does, and the commit waits.
    """
    opened = await run_in_threadpool(incoming.open_upload, request, call, repo.slug, upload_id, ticket, "complete")
    is_proven = await incoming.complete(call, opened)
    return _said(opened.oid, opened.size_bytes, status=200 if is_proven else 202)


@asked.post("/objects/verify")
async def verify_lfs_object(call: CallHere, repo: RepoPath, body: SentObject) -> Response:
    """Say whether an object that was sent is here, and whole."""
    if await _is_pending(call, repo, body, is_kept=False):
        return _said(body.oid, body.size, status=202)
    return _said(body.oid, body.size)


@links.post("/objects/{digest}/keep")
async def keep_lfs_object(
    request: Request, call: CallHere, repo: RepoPath, digest: HexPath, ticket: TicketQuery, body: SentObject
) -> Response:
    """The same, for git-lfs: the model has the object for good from then on."""
    call = await run_in_threadpool(_acting, request, call, repo, digest, ticket)
    if body.oid != digest:
        raise Invalid("This link is for another object.")
    if await _is_pending(call, repo, body, is_kept=True):  # not well yet: nobody would have it kept after this
        raise Unavailable("These bytes are still being checked. Push again in a moment.", retry_after_seconds=5)
    await run_in_threadpool(_keep, call, repo, body)
    return _said(body.oid, body.size)


def _acting(request: Request, call: Call, repo: LfsRepo, digest: str, ticket: str) -> Call:
    read = call.registry.tickets.read(ticket, "keep", repo.subject_of(digest))
    with call.registry.database.read() as session:
        return acting_by(session, call, read, request)


async def _is_pending(call: Call, repo: LfsRepo, body: SentObject, *, is_kept: bool) -> bool:
    """Whether the object is still being proven, after a while, too."""
    until = time.monotonic() + call.registry.settings.prove_wait_seconds
    while await run_in_threadpool(_is_proving, call, repo, body, is_kept):
        if time.monotonic() >= until:
            return True
        await asyncio.sleep(incoming.LOOK_SECONDS)
    return False


def _is_proving(call: Call, repo: LfsRepo, body: SentObject, is_kept: bool) -> bool:
    """Whether the object is still being proven. Raises `NotFound` unless it is here, `Invalid` where it is another."""
    oid = f"sha256:{body.oid}"
    with call.registry.database.read() as session:
        org = repo.get_org_to_push(session, call.actor, may_be_new=is_kept)
        held = blobs.find_held(session, org.id, [oid]).get(oid)
        if held is None and uploads.list_pending(session, org.id, [oid]):
            return True
    if held is None:
        raise _not_held(org.slug)
    if held.size_bytes != body.size:
        raise Invalid(f"These bytes are {held.size_bytes} long, and not {body.size}.")
    return False


def _keep(call: Call, repo: LfsRepo, body: SentObject) -> None:
    with call.write(LimitedAction.TRANSFER) as session:
        if not keeping.keep(session, call.actor, repo, {f"sha256:{body.oid}": body.size}):
            raise _not_held(repo.slug)


def _not_held(slug: str) -> NotFound:
    return NotFound(f"'{slug}' does not hold these bytes. They did not arrive whole; send them again.")


def _said(oid: str, size_bytes: int, *, status: int = 200) -> Response:
    return JSONResponse({"oid": oid.removeprefix("sha256:"), "size": size_bytes}, status, media_type=MEDIA_TYPE)


@links.get("/objects/{digest}")
@links.head("/objects/{digest}")
@waits_for_the_store
def get_lfs_object(request: Request, call: CallHere, repo: RepoPath, digest: HexPath, ticket: TicketQuery) -> Response:
    """Send an object; ranges are understood."""
    with call.registry.database.read() as session:
        blob = _find_object(session, request, call, repo, digest, ticket)
    file = File(digest, blob.oid, blob.size_bytes)
    return file_response(request, call, StoredFile(file, blob.key, f'"{blob.oid}"', None), caching(lasts=True))


def _find_object(
    session: Session, request: Request, call: Call, repo: LfsRepo, digest: str, ticket: str
) -> blobs.HeldBlob:
    """The bytes, if whoever the link was made for may see a file of them in this model now. Raises `NotFound`."""
    actor = actor_of_link(session, call, request, ticket, repo.subject_of(digest))
    replace(call, actor=actor).take(LimitedAction.TRANSFER)
    found, oid = repo.get(session, actor), f"sha256:{digest}"
    drafts = actor.role_in(found.org.id) is not None
    blob = holdings.find_all(session, found.model.id, [oid], drafts=drafts).get(oid)
    if blob is None:
        raise NotFound(f"'{found.full_name}' has no such bytes.")
    return blob
