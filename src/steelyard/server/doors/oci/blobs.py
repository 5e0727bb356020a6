"""Bytes of a repository by their digest: GET, HEAD, DELETE (OCI distribution-spec 1.1, "Pulling blobs", "Deleting").

Only what the repository holds answers, and only to who may see it: knowing a digest opens nothing.
"""

import re
from collections.abc import Generator, Mapping

from fastapi import APIRouter, Request, Response

from steelyard.server.core.access import Action, allow
from steelyard.server.core.files.archive import ArchiveFile, plan_archive
from steelyard.server.core.files.reading import is_whole
from steelyard.server.core.files.trees import File
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.manifests import holdings
from steelyard.server.core.manifests.holdings import Holding
from steelyard.server.doors.calls import Call, CallHere, waits_for_the_store
from steelyard.server.doors.fetching import StoredFile, caching, file_response
from steelyard.server.doors.oci.calls import OciRepo, OciRoute, RepoPath
from steelyard.server.doors.oci.errors import BlobUnknown, Denied, DigestInvalid
from steelyard.server.doors.sending import ArchiveSource, ByteSource, BytesResponse, attachment
from steelyard.server.errors import RangeNotSatisfiable
from steelyard.server.names import Digest, InvalidName

router = APIRouter(route_class=OciRoute)
_BACKWARDS = re.compile(r"bytes=([0-9]{1,30})-([0-9]{1,30})", re.IGNORECASE)


def read_digest(text: str) -> Digest:
    """A digest as a path or a query has it. Raises `DigestInvalid`."""
    try:
        return Digest.parse(text)
    except InvalidName as error:
        raise DigestInvalid(f"{error}.") from error


def blob_path(repo: OciRepo, digest: str) -> str:
    """Where a blob of the repository is had: in the native API's dialect, from its organisation."""
    return f"{repo.path}/blobs/{digest}" if repo.base == "/v2" else f"{repo.base}/{repo.slug}/blobs/{digest}"


@router.get("/v2/{org}/{name}/blobs/{digest}")
@router.head("/v2/{org}/{name}/blobs/{digest}", name="head_blob")
@waits_for_the_store
def get_blob(request: Request, call: CallHere, repo: RepoPath, digest: str) -> Response:
    """Get bytes that the repository holds; ranges, conditional requests and HEAD are understood."""
    wanted = read_digest(digest)
    with call.read(LimitedAction.TRANSFER) as session:
        found = repo.get(session, call.actor)
        drafts = call.actor.role_in(found.org.id) is not None
        holding = holdings.find_holding(session, found.model.id, wanted, drafts=drafts)
    if holding is None:
        raise BlobUnknown(f"'{found.full_name}' holds no {wanted}.")
    return blob_response(request, call, holding)


def blob_response(request: Request, call: Call, holding: Holding) -> Response:
    """Answer with what a digest names, which the caller may read. Opens its bytes, so it may wait for the store.

    HEAD is asked before a push: what the store has lost is not there, and comes back by being sent again.
    """
    headers = {**caching(lasts=True), "Docker-Content-Digest": holding.digest}
    blob = holding.blob
    if blob is None or holding.tar_path is not None:
        return _response(request, call, holding, _source(call, holding), headers)
    if request.method == "HEAD":
        if not is_whole(call.registry.store, blob.key, blob.size_bytes):
            raise BlobUnknown("The store has lost these bytes. Send them again.")
        return _response(request, call, holding, UnreadSource(blob.size_bytes, _etag(holding)), headers)
    _check_forwards(request, blob.size_bytes)
    wanted = StoredFile(File(_filename(holding), blob.oid, blob.size_bytes), blob.key, _etag(holding), None)
    return file_response(request, call, wanted, headers, redirect_status=307)


def _etag(holding: Holding) -> str:
    return f'"{holding.digest}"'


def _filename(holding: Holding) -> str:
    """What a browser saves it as: not every file system takes a colon."""
    return holding.digest.replace(":", "-")


def _response(
    request: Request, call: Call, holding: Holding, source: ByteSource, headers: Mapping[str, str]
) -> BytesResponse:
    _check_forwards(request, source.size_bytes)
    return BytesResponse(
        source,
        content_disposition=attachment(_filename(holding)),
        headers=headers,
        wait_seconds=call.registry.settings.store_timeout_seconds,
    )


def _source(call: Call, holding: Holding) -> ByteSource:
    """What no store has as it is: a tar of one file, or a few bytes of ours."""
    blob = holding.blob
    if blob is None:
        return ContentSource(holding.content or b"", _etag(holding))
    archive = plan_archive([ArchiveFile(holding.tar_path or "", blob.size_bytes, blob.oid, blob.key)])
    source = ArchiveSource(archive, call.registry.store)
    source.etag = _etag(holding)
    return source


def _check_forwards(request: Request, size_bytes: int) -> None:
    """Raise `RangeNotSatisfiable` for a range that ends before it begins, as container tools expect it; everybody else
    is sent the whole (RFC 9110 section 14.2)."""
    backwards = _BACKWARDS.fullmatch(request.headers.get("range", "").strip())
    if backwards and int(backwards[2]) < int(backwards[1]):
        raise RangeNotSatisfiable(
            "This range ends before it begins.", headers={"Content-Range": f"bytes */{size_bytes}"}
        )


class UnreadSource:
    """Bytes that nobody will read: those of HEAD."""

    path = None

    def __init__(self, size_bytes: int, etag: str) -> None:
        self.size_bytes = size_bytes
        self.etag = etag

    def read_now(self, start: int, end: int) -> None:
        return None

    def stream(self, start: int, end: int) -> Generator[bytes, None, None]:
        raise AssertionError("HEAD has no body")

    def close(self) -> None:
        """Nothing is open."""


class ContentSource:
    """A few bytes that are in memory."""

    path = None

    def __init__(self, content: bytes, etag: str) -> None:
        self.size_bytes = len(content)
        self.etag = etag
        self._content = content

    def read_now(self, start: int, end: int) -> bytes:
        return self._content[start:end]

    def stream(self, start: int, end: int) -> Generator[bytes, None, None]:
        yield self._content[start:end]

    def close(self) -> None:
        """Nothing is open."""


@router.delete("/v2/{org}/{name}/blobs/{digest}")
def delete_blob(call: CallHere, repo: RepoPath, digest: str) -> Response:
    """Have the repository hold these bytes no longer. Others who hold them keep them, and nothing that is named by a
    manifest or a version goes."""
    wanted = read_digest(digest)
    with call.write() as session:
        found = repo.get(session, call.actor)
        allow(call.actor, Action.DELETE, found.org.id)
        holding = holdings.find_holding(session, found.model.id, wanted, drafts=True)
        if holding is None:
            raise BlobUnknown(f"'{found.full_name}' holds no {wanted}.")
        blob = None if holding.tar_path is not None else holding.blob
        if blob is None or holdings.is_named(session, found.model.id, blob.id):
            raise Denied(f"A manifest or version of '{found.full_name}' names {wanted}. Delete that first.")
        holdings.unlink(session, found.model.id, blob.id)
    return Response(status_code=202)
