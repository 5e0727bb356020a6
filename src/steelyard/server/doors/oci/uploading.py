"""Blobs on their way in: one request, or a session of several (OCI distribution-spec 1.1, "Pushing blobs").

What the caller may is asked at every step, and a session is bound to its repository and to whoever began it.
"""

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from steelyard.server.core.arrivals import streams, uploads
from steelyard.server.core.arrivals.streams import Destination, Guard, Run
from steelyard.server.core.blobs import HeldBlob
from steelyard.server.core.files.reading import is_whole
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.manifests import holdings
from steelyard.server.db.tables import BlobUpload
from steelyard.server.doors.calls import Call, CallHere
from steelyard.server.doors.oci.blobs import blob_path, read_digest
from steelyard.server.doors.oci.calls import OciRepo, OciRoute, RepoPath, is_scoped, may_pull_from
from steelyard.server.doors.oci.errors import UploadInvalid
from steelyard.server.doors.receiving import Stalled, impatient, receive
from steelyard.server.errors import RegistryError, StorageTimeout
from steelyard.server.names import Digest, InvalidName, ModelName, OrgSlug

router = APIRouter(route_class=OciRoute)
_CHUNK = re.compile(r"(?:bytes )?([0-9]{1,18})-([0-9]{1,18})(?:/(?:\*|[0-9]+))?")


@dataclass(frozen=True, slots=True)
class Opened:
    """A session as its row is now, and where its bytes go."""

    call: Call
    repo: OciRepo
    to: Destination
    upload: BlobUpload

    @property
    def path(self) -> str:
        """Where the session goes on. A path alone: behind a proxy, clients know best what stands before it."""
        return f"{self.repo.path}/blobs/uploads/{self.upload.id}"

    def state(self, status: int) -> Response:
        """An answer that says how far the session is."""
        return Response(
            status_code=status,
            headers={
                "Location": self.path,
                "Range": streams.told_range(self.upload.received_bytes),
                "Docker-Upload-UUID": self.upload.id,
            },
        )

    @property
    def is_untouched(self) -> bool:
        """Whether nothing was sent yet, not even nothing."""
        return self.upload.key is None and self.upload.sha256 is None and self.upload.received_bytes == 0

    def check_next(self, offset_bytes: int) -> None:
        """Raise `OutOfOrder` unless the session goes on there."""
        streams.check_next(self.upload, offset_bytes, {"Location": self.path})

    def now(self, upload: BlobUpload) -> "Opened":
        """The same session, further on."""
        return Opened(self.call, self.repo, self.to, upload)


# --- handlers


@router.post("/v2/{org}/{name}/blobs/uploads/")
@router.post("/v2/{org}/{name}/blobs/uploads", name="begin_blob_upload_too")
async def begin_blob_upload(request: Request, call: CallHere, repo: RepoPath) -> Response:
    """Begin an upload; with `digest`, take all of it from the body; with `mount`, take it from where it is already."""
    query = request.query_params
    digest = read_digest(query["digest"]) if "digest" in query else None
    if "mount" in query:
        mounted = await call.at_the_store(_mount, request, call, repo, read_digest(query["mount"]))
        if mounted is not None:
            return mounted
    algorithm = digest.algorithm if digest else query.get("digest-algorithm", "sha256")
    opened = await call.at_the_store(_begin, call, repo, algorithm)
    if digest is None or "mount" in query:
        return opened.state(202)
    try:
        opened = await _take(request, opened, request.stream())
        return await _finish(opened, digest)
    except RegistryError:  # the caller was told of no session that could go on
        await call.at_the_store(streams.cancel, call.registry.database, call.registry.store, opened.upload)
        raise


@router.patch("/v2/{org}/{name}/blobs/uploads/{upload_id}")
async def send_blob_chunk(request: Request, call: CallHere, repo: RepoPath, upload_id: str) -> Response:
    """Take what comes next: a chunk that says where it belongs, or a stream of any length."""
    opened = await run_in_threadpool(_open, call, repo, upload_id)
    return (await _take(request, opened, request.stream())).state(202)


@router.get("/v2/{org}/{name}/blobs/uploads/{upload_id}")
def get_blob_upload(call: CallHere, repo: RepoPath, upload_id: str) -> Response:
    """Say how far an upload is."""
    return _open(call, repo, upload_id).state(204)


@router.put("/v2/{org}/{name}/blobs/uploads/{upload_id}")
async def finish_blob_upload(request: Request, call: CallHere, repo: RepoPath, upload_id: str) -> Response:
    """Take what comes last, if anything does, and keep the whole if it is what its digest says."""
    digest = read_digest(request.query_params.get("digest", ""))
    opened = await run_in_threadpool(_find, call, repo, upload_id, digest)
    if opened is None:
        return _created(repo, digest)
    pieces = impatient(request.stream())
    first = await _find_first(pieces) if opened.upload.key is None else None
    if first is not None or opened.is_untouched:
        by_sha512 = digest.algorithm == "sha512"
        opened = await _take(request, opened, _rejoined(first or b"", pieces), by_sha512=by_sha512)
    return await _finish(opened, digest)


@router.delete("/v2/{org}/{name}/blobs/uploads/{upload_id}")
def cancel_blob_upload(call: CallHere, repo: RepoPath, upload_id: str) -> Response:
    """Forget an upload."""
    opened = _open(call, repo, upload_id)
    streams.cancel(call.registry.database, call.registry.store, opened.upload)
    return Response(status_code=204)


# --- sessions


def _begin(call: Call, repo: OciRepo, algorithm: str) -> Opened:
    if algorithm not in ("sha256", "sha512"):
        raise UploadInvalid("Digests here are by sha256 or sha512.")
    settings = call.registry.settings
    uploads.check_floor(settings, call.registry.store.free_bytes())
    with call.write(LimitedAction.TRANSFER) as session:
        to = _destination(session, call, repo)
        upload = streams.begin(session, to, settings, wants_sha512=algorithm == "sha512")
    return Opened(call, repo, to, upload)


def _destination(session: Session, call: Call, repo: OciRepo) -> Destination:
    return Destination(call.actor, repo.get_org_to_push(session, call.actor), repo.name)


def _open(call: Call, repo: OciRepo, upload_id: str) -> Opened:
    with call.read(LimitedAction.TRANSFER) as session:
        to = _destination(session, call, repo)
        return Opened(call, repo, to, streams.get_upload(session, to, upload_id))


def _find(call: Call, repo: OciRepo, upload_id: str, digest: Digest) -> Opened | None:
    """The session; None where it has ended well, with this digest."""
    with call.read(LimitedAction.TRANSFER) as session:
        to = _destination(session, call, repo)
        upload = streams.find_upload(session, to, upload_id)
        if upload is None:
            streams.check_ended(session, to, digest)
            return None
        return Opened(call, repo, to, upload)


def _created(repo: OciRepo, digest: Digest) -> Response:
    headers = {"Location": blob_path(repo, digest), "Docker-Content-Digest": digest}
    return Response(status_code=201, headers=headers)


async def _finish(opened: Opened, digest: Digest) -> Response:
    registry = opened.call.registry
    await opened.call.at_the_store(
        streams.finish, registry.database, registry.store, registry.settings, opened.to, opened.upload, digest
    )
    return _created(opened.repo, digest)


# --- bytes


async def _find_first(pieces: AsyncIterator[bytes]) -> bytes | None:
    """The beginning of a body. None where there is none: some send an empty one of a length that they do not tell."""
    async for piece in pieces:
        if piece:
            return piece
    return None


async def _rejoined(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in pieces:
        yield piece


async def _take(request: Request, opened: Opened, body: AsyncIterator[bytes], *, by_sha512: bool = False) -> Opened:
    """Take a body as what comes next; answers the session as it is then.

    Of a stream that breaks off, what came counts: whoever sent it asks how much that is and goes on. A chunk counts as
    a whole, or not at all.
    """
    call, registry = opened.call, opened.call.registry
    size_bytes = _read_chunk(request, opened)
    run = await call.at_the_store(_begin_run, request, opened, by_sha512)
    try:
        broke_off = await _receive(body, call, run, size_bytes)
    except StorageTimeout:
        raise  # nor would the store answer what follows: clean-up takes what is left
    except BaseException:
        await call.at_the_store(streams.abandon, registry.store, run)
        raise
    upload = await call.at_the_store(streams.note_run, registry.database, registry.store, run)
    if broke_off is not None:
        raise broke_off
    return opened.now(upload)


def _read_chunk(request: Request, opened: Opened) -> int | None:
    """How long the body is by its Content-Range, None where it has none. Raises `OutOfOrder` and `UploadInvalid`."""
    header = request.headers.get("content-range")
    if header is None:
        opened.check_next(opened.upload.received_bytes)
        return None
    found = _CHUNK.fullmatch(header.strip())
    if found is None:
        raise UploadInvalid("Content-Range is `<first byte>-<last byte>` here, as in `0-1023`.")
    first, size_bytes = int(found[1]), int(found[2]) - int(found[1]) + 1
    opened.check_next(first)
    announced = request.headers.get("content-length", str(size_bytes))
    if size_bytes < 1 or announced != str(size_bytes):
        raise UploadInvalid(f"Content-Range {header[:50]} is not as long as the body, of {announced[:20]} bytes.")
    return size_bytes


def _begin_run(request: Request, opened: Opened, by_sha512: bool) -> Run:
    registry, upload = opened.call.registry, opened.upload
    announced = request.headers.get("content-length", "0")
    more_bytes = int(announced) if announced.isdecimal() and len(announced) < 19 else 0
    streams.check_room(registry.database, registry.store, registry.settings, upload, more_bytes, staged=False)
    return streams.begin_run(registry.database, registry.store, upload, by_sha512=by_sha512)


async def _receive(
    body: AsyncIterator[bytes], call: Call, run: Run, size_bytes: int | None
) -> ClientDisconnect | Stalled | None:
    """A body into the store and the hashes. Answers how a stream broke off, where it did."""
    registry, broke_off = call.registry, None
    guard = Guard(registry.database, registry.store, registry.settings, run.upload)

    def write(pieces: Sequence[bytes]) -> None:
        guard.let_through(pieces)  # not a sink beside this one: nobody may write any more when it raises
        run.write(pieces)

    with run.writer:
        try:
            await receive(body, size_bytes, [write, *run.feeds], call.at_the_store)
        except (ClientDisconnect, Stalled) as error:
            if size_bytes is not None:
                raise
            broke_off = error
        await call.at_the_store(run.writer.close)
    return broke_off


# --- from where it is already


def _mount(request: Request, call: Call, repo: OciRepo, digest: Digest) -> Response | None:
    """Take bytes that are here, from a repository that the caller may read or else from what his organisation holds,
    unless his token is for some repositories only. None where that cannot be: it tells nothing of what others have."""
    settings, source = call.registry.settings, request.query_params.get("from")
    with call.read(LimitedAction.TRANSFER) as session:
        to = _destination(session, call, repo)
        if source is None and not is_scoped(request):
            held = holdings.find_held_in_org(session, to.org.id, digest)
        else:
            held = _find_readable(session, request, call, source or f"{repo.slug}/{repo.name}", digest)
    if held is None or not is_whole(call.registry.store, held.key, held.size_bytes):
        return None
    with call.registry.database.write() as session:
        if not streams.mount(session, settings, to, held):
            return None
    return _created(repo, digest)


def _find_readable(session: Session, request: Request, call: Call, source: str, digest: Digest) -> HeldBlob | None:
    """The bytes in another repository, if the caller may read them there, and so may his token."""
    slug, _, name = source.partition("/")
    try:
        other = OciRepo(OrgSlug.parse_any(slug), ModelName.parse(name), "/v2")
    except InvalidName:
        return None
    found = other.find(session, call.actor) if may_pull_from(request, source) else None
    if found is None:
        return None
    drafts = call.actor.role_in(found.org.id) is not None
    return holdings.find_all(session, found.model.id, [digest], drafts=drafts).get(digest)
