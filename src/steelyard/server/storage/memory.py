"""Bytes in this process's memory: for tests, and gone with the process."""

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from steelyard.server.errors import Conflict, NotFound
from steelyard.server.storage import (
    BEING_WRITTEN,
    NOTHING_STAGED,
    SEALED,
    Proof,
    StoredName,
    check_key,
    check_upload_id,
)


@dataclass(slots=True)
class _Held:
    content: bytearray = field(default_factory=bytearray)
    modified_at: float = field(default_factory=time.time)
    writers: int = 0
    is_sealed: bool = False


class MemoryStore:
    """A `BlobStore` that keeps everything in two dictionaries."""

    direct: None = None

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._staged: dict[str, _Held] = {}
        self._blobs: dict[str, _Held] = {}
        self._aside: dict[str, _Held] = {}

    def stage(self, upload_id: str, offset_bytes: int) -> "MemoryStageWriter":
        with self._lock:
            held = self._staged.setdefault(check_upload_id(upload_id), _Held())
            if held.is_sealed:
                raise Conflict(SEALED)
            held.writers += 1
        return MemoryStageWriter(held, offset_bytes, self._lock)

    def prove(self, upload_id: str) -> Proof:
        with self._lock:
            held = self._seal(upload_id)
            if held is None:
                raise NotFound(NOTHING_STAGED)
            return Proof(hashlib.sha256(held.content).hexdigest(), len(held.content))

    def commit(self, upload_id: str, key: str) -> None:
        check_upload_id(upload_id), check_key(key)
        with self._lock:
            if key in self._blobs:
                self._staged.pop(upload_id, None)
                return
            held = self._seal(upload_id)
            if held is not None:
                del self._staged[upload_id]
                self._blobs[key] = _Held(held.content)
            elif key not in self._blobs:
                raise NotFound(NOTHING_STAGED)

    def _seal(self, upload_id: str) -> _Held | None:
        held = self._staged.get(check_upload_id(upload_id))
        if held is not None and held.writers:
            raise Conflict(BEING_WRITTEN)
        if held is not None:
            held.is_sealed = True
        return held

    def discard(self, upload_id: str) -> None:
        with self._lock:
            self._staged.pop(check_upload_id(upload_id), None)

    def open(self, key: str) -> "MemoryBlob | None":
        with self._lock:
            held = self._blobs.get(check_key(key))
        return None if held is None else MemoryBlob(bytes(held.content))

    def delete(self, key: str) -> None:
        with self._lock:
            self._blobs.pop(check_key(key), None)

    def set_aside(self, key: str) -> None:
        with self._lock:
            held = self._blobs.pop(check_key(key), None)
            if held is not None:
                self._aside[key] = held

    def scan(self) -> Iterator[StoredName]:
        with self._lock:
            blobs = [StoredName("blob", key, len(h.content), h.modified_at) for key, h in self._blobs.items()]
            stages = [StoredName("stage", uid, len(h.content), h.modified_at) for uid, h in self._staged.items()]
        yield from blobs
        yield from stages

    def free_bytes(self) -> None:
        return None


class MemoryStageWriter:
    """Writes into a staged upload of a `MemoryStore`."""

    def __init__(self, held: _Held, offset_bytes: int, lock: threading.Lock) -> None:
        self._held = held
        self._offset_bytes = offset_bytes
        self._lock = lock
        self._is_open = True

    def write(self, pieces: Sequence[bytes]) -> None:
        joined = b"".join(pieces)
        with self._lock:
            content = self._held.content
            if joined:
                content.extend(bytes(max(0, self._offset_bytes - len(content))))
            content[self._offset_bytes : self._offset_bytes + len(joined)] = joined
            self._offset_bytes += len(joined)
            self._held.modified_at = time.time()

    def close(self) -> None:
        """Let go; memory is as durable as it gets here."""
        with self._lock:
            self._held.writers -= self._is_open
            self._is_open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class MemoryBlob:
    """An open blob of a `MemoryStore`."""

    path = None

    def __init__(self, content: bytes) -> None:
        self._content = content

    @property
    def size_bytes(self) -> int:
        return len(self._content)

    def read(self, start: int, length: int) -> bytes:
        return self._content[start : start + length]

    def read_now(self, start: int, length: int) -> bytes:
        return self.read(start, length)

    def close(self) -> None:
        """Nothing to let go of."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
