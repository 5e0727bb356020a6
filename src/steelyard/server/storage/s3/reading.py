"""Bytes on their way out of an object: whole and in order for proofs, from any place for downloads."""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from steelyard.server.storage.s3.bucket import Bucket, StoredObject, read_exactly
from steelyard.server.storage.s3.staging import Span

PIECE_BYTES = 8 * 2**20
_AT_ONCE = 4  # one connection to a large store carries a fraction of what the line does
_MOST_AHEAD_BYTES = 32 * 2**20


def read_in_order(bucket: Bucket, spans: Iterable[Span]) -> Iterator[bytes]:
    """All bytes of these spans, a few pieces being fetched while one is used."""
    pieces = (piece for span in spans for piece in span.pieces(PIECE_BYTES))
    coming: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="s3-read") as threads:
        try:
            for piece in pieces:
                coming.append(threads.submit(piece.read, bucket))
                if len(coming) == _AT_ONCE:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            for each in coming:
                each.cancel()


class S3Blob:
    """An open blob of an `S3Store`. Nothing is held in the store: a blob that is deleted meanwhile is gone.

    Who reads on where he stopped gets it from one answer of the store, asked for more at a time the longer he goes on.
    """

    path = None

    def __init__(self, bucket: Bucket, found: StoredObject) -> None:
        self._bucket = bucket
        self._found = found
        self._lock = threading.Lock()
        self._body: Any = None
        self._left = 0  # bytes of the body that are still to come
        self._position = 0  # in the blob, of the next of them
        self._ahead_bytes = 0

    @property
    def size_bytes(self) -> int:
        return self._found.size_bytes

    def read(self, start: int, length: int) -> bytes:
        length = max(0, min(length, self.size_bytes - start))
        if not self._lock.acquire(blocking=False):  # somebody else is reading on
            return self._bucket.read(self._found, start, length)
        try:
            return self._read_on(start, length) if length else b""
        finally:
            self._lock.release()

    def _read_on(self, start: int, length: int) -> bytes:
        if start != self._position:
            self._drop()
            self._position, self._ahead_bytes = start, 0
        return self._bucket.ask("reading", lambda: self._fill(start, length))

    def _fill(self, start: int, length: int) -> bytes:
        """From what is on its way, and where that ends from a new answer. Called again after it failed, it begins anew
        at `start`."""
        try:
            found = self._take(min(self._left, length))
            if len(found) < length:
                self._ask_for(start + len(found), length - len(found))
                found += self._take(length - len(found))
        except BaseException:
            self._drop()
            raise
        self._position = start + length
        return found

    def _ask_for(self, start: int, least_bytes: int) -> None:
        self._drop()
        self._left = min(max(least_bytes, self._ahead_bytes), self.size_bytes - start)
        self._body = self._bucket.stream(self._found, start, self._left)
        self._ahead_bytes = min(max(2 * self._ahead_bytes, 4 * least_bytes), _MOST_AHEAD_BYTES)

    def _take(self, count: int) -> bytes:
        found = read_exactly(self._body, count) if count else b""
        self._left -= count
        return found

    def read_now(self, start: int, length: int) -> None:
        """None: the blob is at the other end of a network."""

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        body, self._body, self._left = self._body, None, 0
        if body is not None:
            body.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
