"""How stored bytes leave: one ASGI response over any source of bytes whose size is known.

Owns the headers every download has, conditions and ranges, and the three ways out: piece by piece from memory on the
event loop, as a path that the server sends by itself, or in pieces read ahead in threads. What is in memory takes the
first way, since a hop to a thread costs more than such a read; from the first piece that is not, it is one of the
others. What is sent was uploaded by somebody and is answered from our own origin, so every answer tells a browser to
run none of it.

Two facts about granian 2.8 decide the shape. It takes `http.response.pathsend` only for whole files, opens the path
after the application has returned, and answers 404 in its own words if the path is gone by then: a blob deleted in that
instant is reported so, and holding it open would not help. And it swallows what is sent to a client that has left, so
that a stream has to listen for the disconnect.
"""

import re
import threading
import urllib.parse
from collections.abc import Generator, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import anyio
import anyio.lowlevel
from anyio.abc import ObjectSendStream, TaskGroup
from starlette.background import BackgroundTask
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from steelyard.server.core.files.archive import Archive, FileSlice
from steelyard.server.doors.middleware import notes_of
from steelyard.server.doors.ranges import ByteRange, frame_parts, if_match, if_none_match, if_range, parse_range
from steelyard.server.doors.turns import at_the_store
from steelyard.server.errors import Forbidden, PreconditionFailed, StorageFailed
from steelyard.server.storage import BlobStore, StoredBlob

PIECE_BYTES = 256 * 1024
"""A read, a thread hop and an ASGI message. granian queues some dozens of messages for a slow client, so not larger."""

PIECE_AT_HAND_BYTES = 128 * 1024
"""A read on the event loop and an ASGI message: what a connection makes the others wait for, and is queued for it."""

OCTETS = "application/octet-stream"

_ONE_RANGE = re.compile(r"bytes=(?:[0-9]{1,15}-[0-9]{0,15}|-[0-9]{1,15})", re.ASCII)
"""What nginx and we read in the same way for certain."""

_NOT_NGINXS = ("if-match", "if-modified-since", "if-unmodified-since")
"""Conditions that nginx would judge again once we have, and differently."""

_SHORT = "The store holds another number of bytes of this file than was recorded."


class ByteSource(Protocol):
    """Bytes of a known size that can be read from any place, until it is closed."""

    @property
    def size_bytes(self) -> int: ...

    @property
    def etag(self) -> str:
        """Strong and quoted."""
        ...

    @property
    def path(self) -> Path | None:
        """A file that holds exactly these bytes, if there is one."""
        ...

    def read_now(self, start: int, end: int) -> bytes | None:
        """The bytes [start, end) if they can be had without waiting."""
        ...

    def stream(self, start: int, end: int) -> Generator[bytes, None, None]:
        """The bytes [start, end) in any cut, none longer than PIECE_BYTES. Blocks. Raises rather than be short."""
        ...

    def close(self) -> None:
        """Let go of what is open. Called when no stream is running any more."""
        ...


class BlobSource:
    """One stored blob. Raises StorageFailed where the store holds another number of bytes than was recorded."""

    def __init__(self, blob: StoredBlob, size_bytes: int, etag: str) -> None:
        if blob.size_bytes != size_bytes:
            blob.close()
            raise StorageFailed(_SHORT)
        self.size_bytes = size_bytes
        self.etag = etag
        self.path = blob.path
        self._blob = blob

    def read_now(self, start: int, end: int) -> bytes | None:
        found = self._blob.read_now(start, end - start)
        return found if found is not None and len(found) == end - start else None

    def stream(self, start: int, end: int) -> Generator[bytes, None, None]:
        yield from _read(self._blob, start, end)

    def close(self) -> None:
        self._blob.close()


class ArchiveSource:
    """The tar of a version, over the blobs of its files. At most one of them is open at a time."""

    path = None

    def __init__(self, archive: Archive, store: BlobStore) -> None:
        self.size_bytes = archive.size_bytes
        self.etag = archive.etag
        self._archive = archive
        self._store = store

    def read_now(self, start: int, end: int) -> None:
        return None

    def stream(self, start: int, end: int) -> Generator[bytes, None, None]:
        for segment in self._archive.segments(start, end):
            if isinstance(segment, bytes):
                yield segment
            else:
                yield from self._read_file(segment)

    def _read_file(self, piece: FileSlice) -> Generator[bytes, None, None]:
        blob = self._store.open(piece.file.key)
        if blob is None:
            raise StorageFailed("The store does not have the bytes of a file of this version.")
        with blob:
            if blob.size_bytes != piece.file.size_bytes:
                raise StorageFailed(_SHORT)
            yield from _read(blob, piece.start, piece.start + piece.length)

    def close(self) -> None:
        """Nothing is open between streams."""


class BytesResponse(Response):
    """Answers GET and HEAD with the bytes of a source, and closes it, whatever happens.

    Understands If-Match, If-None-Match, Range (of GET) and If-Range. Raises PreconditionFailed, RangeNotSatisfiable
    and what the source raises for the first bytes, all before anything is sent, so that the door can answer them; what
    fails later is raised too, and makes the server cut the connection short of the promised Content-Length. Each read
    waits `wait_seconds` for its turn at the store. Who may have only `part` of the source gets that, or less if he asks
    for less; Forbidden is raised where he asks for what lies before it. With `accel_path`, a body of one piece is left
    to the proxy that asks, which sends what it knows by this name.
    """

    def __init__(
        self,
        source: ByteSource,
        *,
        content_disposition: str,
        content_type: str = OCTETS,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
        wait_seconds: float = 10.0,
        part: ByteRange | None = None,
        accel_path: str | None = None,
    ) -> None:
        self.source = source
        self._accel_path = accel_path
        self._part = part
        self.status_code = 200
        self.media_type = content_type
        self.background = background
        self._wait_seconds = wait_seconds
        self.init_headers(
            {
                **(headers or {}),
                "accept-ranges": "bytes",
                "content-disposition": content_disposition,
                "content-security-policy": "sandbox; default-src 'none'",
                "content-type": content_type,
                "etag": source.etag,
                "x-content-type-options": "nosniff",
            }
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            request = Headers(scope=scope)
            answer = _plan(scope["method"], request, self.source, self.headers, self._part)
            if self._accel_path is not None and self._part is None and _is_nginxs(answer, request):
                await _leave_to_proxy(answer, self._accel_path, scope, send)
            else:
                await _send_answer(answer, self.source, self._wait_seconds, scope, receive, send)
        finally:
            self.source.close()
        if self.background is not None:
            await self.background()


def attachment(filename: str) -> str:
    """A Content-Disposition that saves under this name, whatever is in it (RFC 6266, RFC 8187)."""
    plain = "".join(c if " " <= c <= "~" and c not in '"\\%' else "_" for c in filename)
    value = f'attachment; filename="{plain}"'
    return value if plain == filename else f"{value}; filename*=UTF-8''{urllib.parse.quote(filename, safe='')}"


_Part = bytes | ByteRange
"""Of a body: bytes as they are, or a range of the source."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: MutableHeaders
    body: tuple[_Part, ...]

    @property
    def length(self) -> int:
        return sum(len(part) if isinstance(part, bytes) else part.length for part in self.body)


def _plan(method: str, request: Headers, source: ByteSource, common: MutableHeaders, part: ByteRange | None) -> _Answer:
    """What to answer, in the order of RFC 9110 section 13.2.2. A Range counts for GET alone (14.2)."""
    if not if_match(_joined(request, "if-match"), source.etag):
        raise PreconditionFailed("This is not what If-Match names any more. Fetch it without the condition.")
    headers = MutableHeaders(raw=list(common.raw))
    if if_none_match(_joined(request, "if-none-match"), source.etag):
        del headers["content-type"], headers["content-disposition"]
        return _Answer(304, headers, ())
    ranges = None
    if method == "GET" and if_range(request.get("if-range"), source.etag):
        ranges = parse_range(_joined(request, "range"), source.size_bytes if part is None else part.end)
    if part is not None:
        ranges = _within(part, ranges or [part])
    answer = _plan_body(ranges, source.size_bytes, headers)
    return answer if method == "GET" else _Answer(answer.status, headers, ())


def _within(part: ByteRange, ranges: list[ByteRange]) -> list[ByteRange]:
    """The ranges, if the part has all of them."""
    if ranges[0].start < part.start:
        raise Forbidden(f"This link opens the bytes {part.start} to {part.end - 1} only. Ask for a range within them.")
    return ranges


def _plan_body(ranges: list[ByteRange] | None, size_bytes: int, headers: MutableHeaders) -> _Answer:
    """Fills in the headers that describe the body."""
    if ranges is None:
        headers["content-length"] = str(size_bytes)
        return _Answer(200, headers, (ByteRange(0, size_bytes),) if size_bytes else ())
    if len(ranges) == 1:
        headers["content-length"] = str(ranges[0].length)
        headers["content-range"] = ranges[0].content_range(size_bytes)
        return _Answer(206, headers, (ranges[0],))
    framed = frame_parts(ranges, size_bytes, headers["content-type"])
    headers["content-length"] = str(framed.length)
    headers["content-type"] = framed.content_type
    parts = [part for pair in zip(framed.preambles, ranges, strict=True) for part in pair]
    return _Answer(206, headers, (*parts, framed.closing))


def _joined(request: Headers, name: str) -> str | None:
    values = request.getlist(name)
    return ", ".join(values) if values else None


def _is_nginxs(answer: _Answer, request: Headers) -> bool:
    """Whether nginx, by the same request, comes to the same answer."""
    if len(answer.body) != 1 or any(name in request for name in _NOT_NGINXS):
        return False
    asked = _joined(request, "range")
    return asked is None if answer.status == 200 else _ONE_RANGE.fullmatch(asked or "") is not None


async def _leave_to_proxy(answer: _Answer, path: str, scope: Scope, send: Send) -> None:
    """Tell nginx which file to send. Status, ranges and length it finds by itself."""
    notes_of(scope).redirected_bytes = answer.length
    headers = answer.headers
    del headers["content-range"]
    headers["content-length"] = "0"
    headers["x-accel-redirect"] = path
    await send({"type": "http.response.start", "status": answer.status, "headers": headers.raw})
    await send({"type": "http.response.body", "body": b""})


async def _send_answer(
    answer: _Answer, source: ByteSource, wait_seconds: float, scope: Scope, receive: Receive, send: Send
) -> None:
    start = {"type": "http.response.start", "status": answer.status, "headers": answer.headers.raw}
    is_whole = answer.body == (ByteRange(0, source.size_bytes),)
    content = _read_now(answer, source)
    if content is not None:
        await send(start)
        await send({"type": "http.response.body", "body": content})
        return
    pieces = _Pieces(source, answer.body, wait_seconds)
    first = pieces.read_now()
    if first is None and is_whole and source.path and "http.response.pathsend" in scope.get("extensions", {}):
        await send(start)
        await send({"type": "http.response.pathsend", "path": str(source.path)})
        return
    try:
        await _send_pieces(start, first or await pieces.read(), answer.length, pieces, receive, send)
    finally:
        pieces.close()


def _read_now(answer: _Answer, source: ByteSource) -> bytes | None:
    """A small body, if it can be had without waiting: a hop to a thread costs more than the read."""
    if answer.length > PIECE_BYTES:
        return None
    found = []
    for part in answer.body:
        content = part if isinstance(part, bytes) else source.read_now(part.start, part.end)
        if content is None:
            return None
        found.append(content)
    return b"".join(found)


async def _send_pieces(
    start: MutableMapping[str, Any], first: bytes, length: int, pieces: "_Pieces", receive: Receive, send: Send
) -> None:
    """Send a body of `length` bytes, whose first piece was read before anything is promised."""
    await send(start)
    await send({"type": "http.response.body", "body": first, "more_body": len(first) < length})
    if len(first) == length:
        return
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_on_disconnect, receive, tasks.cancel_scope)
            await _send_from_memory(pieces, send)
            if not pieces.are_read:
                await _send_rest(pieces, send, tasks)
            await send({"type": "http.response.body", "body": b""})
            tasks.cancel_scope.cancel()
    except ExceptionGroup as group:  # of one: the first failure has cancelled the others
        failure = group.exceptions[0]
        raise failure from failure.__cause__


async def _send_from_memory(pieces: "_Pieces", send: Send) -> None:
    """Send pieces as long as none has to be waited for; others have their turn on the event loop after each."""
    while piece := pieces.read_now():
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await anyio.lowlevel.checkpoint()


async def _send_rest(pieces: "_Pieces", send: Send, tasks: TaskGroup) -> None:
    """Send each piece while the next one is read."""
    ahead, arriving = anyio.create_memory_object_stream[bytes](0)
    with ahead, arriving:
        tasks.start_soon(_read_ahead, pieces, ahead)
        async for piece in arriving:
            await send({"type": "http.response.body", "body": piece, "more_body": True})


async def _read_ahead(pieces: "_Pieces", ahead: ObjectSendStream[bytes]) -> None:
    async with ahead:
        while piece := await pieces.read():
            await ahead.send(piece)


async def _cancel_on_disconnect(receive: Receive, sending: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    sending.cancel()


class _Pieces:
    """A body in pieces: from memory as long as they are there, then joined in threads from what the source streams."""

    def __init__(self, source: ByteSource, body: tuple[_Part, ...], wait_seconds: float) -> None:
        self._source = source
        self._left = list(body)
        self._stream: Generator[bytes, None, None] | None = None
        self._wait_seconds = wait_seconds
        self._lock = threading.Lock()

    @property
    def are_read(self) -> bool:
        """Whether all was had by `read_now`."""
        return not self._left

    def read_now(self) -> bytes | None:
        """The next piece if it can be had without waiting. None after the last one, and once a thread has read."""
        if not self._left or self._stream is not None:
            return None
        part = self._left[0]
        if isinstance(part, bytes):
            del self._left[0]
            return part
        end = min(part.start + PIECE_AT_HAND_BYTES, part.end)
        content = self._source.read_now(part.start, end)
        if content:
            self._left[:1] = [ByteRange(end, part.end)] if end < part.end else []
        return content

    async def read(self) -> bytes:
        """As `read_piece`, in a thread, when it is its turn at the store. Raises `StorageTimeout`."""
        return await at_the_store(self.read_piece, within_seconds=self._wait_seconds)

    def read_piece(self) -> bytes:
        """At least PIECE_BYTES and less than twice as many; fewer at the end, and none after it. Blocks."""
        taken, size_bytes = [], 0
        with self._lock:
            if self._stream is None:
                self._stream = _stream(self._source, tuple(self._left))
            for content in self._stream:
                taken.append(content)
                size_bytes += len(content)
                if size_bytes >= PIECE_BYTES:
                    break
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def close(self) -> None:
        """Let go of what the stream has open; waits for a read that a cancelled task left behind in its thread."""
        with self._lock:
            if self._stream is not None:
                self._stream.close()


def _stream(source: ByteSource, body: tuple[_Part, ...]) -> Generator[bytes, None, None]:
    for part in body:
        if isinstance(part, bytes):
            yield part
        else:
            yield from source.stream(part.start, part.end)


def _read(blob: StoredBlob, start: int, end: int) -> Iterator[bytes]:
    """The bytes [start, end) of a blob; StorageFailed where it has not as many."""
    while start < end:
        content = blob.read(start, min(PIECE_BYTES, end - start))
        if not content:
            raise StorageFailed(_SHORT)
        yield content
        start += len(content)
