"""Bytes on their way into a staged upload, in constant memory: small runs as one object, larger ones in parts."""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from steelyard.server.storage.s3.bucket import Bucket, SentPart

BUFFER_BYTES = 8 * 2**20
"""Kept in memory before it is sent: the size of a part, so not under the 5 MiB that stores ask for."""

_MOST_PARTS = 8192  # of the 10,000 that a store takes; then another object begins


class S3StageWriter:
    """Writes runs of a staged upload, one after another. They count from `close` on."""

    def __init__(self, bucket: Bucket, new_run: Callable[[int], str], offset_bytes: int) -> None:
        self._bucket = bucket
        self._new_run = new_run
        self._key = new_run(offset_bytes)
        self._end_bytes = offset_bytes
        self._handle: str | None = None
        self._parts: list[SentPart] = []
        self._buffer = bytearray()
        self._is_open = True

    def write(self, pieces: Sequence[bytes]) -> None:
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                count = min(len(rest), BUFFER_BYTES - len(self._buffer))
                self._buffer += rest[:count]
                rest = rest[count:]
                if len(self._buffer) == BUFFER_BYTES:
                    self._send()

    def _send(self) -> None:
        """Send the buffer as a part, and begin a new object where this one has all it may have."""
        if self._handle is None:
            self._handle = self._bucket.begin(self._key)
        self._parts.append(self._bucket.send_part(self._key, self._handle, len(self._parts) + 1, self._buffer))
        self._end_bytes += len(self._buffer)
        self._buffer = bytearray()
        if len(self._parts) == _MOST_PARTS:
            self._end_run()
            self._key = self._new_run(self._end_bytes)

    def _end_run(self) -> None:
        if self._handle is not None:
            self._bucket.complete(self._key, self._handle, self._parts)
            self._handle, self._parts = None, []

    def close(self) -> None:
        if not self._is_open:
            return
        try:
            if self._handle is None:
                self._bucket.put(self._key, self._buffer)
            elif self._buffer:
                self._send()
            self._end_run()
        except BaseException as fault:
            self._let_go(fault)
            raise
        self._is_open = False

    def _let_go(self, fault: BaseException | None) -> None:
        self._is_open = False
        self._buffer = bytearray()
        handle, self._handle = self._handle, None
        if handle is not None:
            self._bucket.abort_after(fault, self._key, handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._let_go(fault)
