"""A store that counts what is read of it, and one that gives wrong bytes."""

from types import TracebackType
from typing import Any, Self

from steelyard.server.storage import BlobStore, StoredBlob


class CountingStore:
    """Another store, whose reads it notes as `(key, length)`. Asked for `flipped` bytes, it gives others."""

    def __init__(self, store: BlobStore, *, flips: bool = False) -> None:
        self._store, self._flips = store, flips
        self.reads: list[tuple[str, int]] = []

    @property
    def bytes_read(self) -> int:
        return sum(length for _, length in self.reads)

    def open(self, key: str) -> "_CountingBlob | None":
        blob = self._store.open(key)
        return None if blob is None else _CountingBlob(self, key, blob)

    def note(self, key: str, data: bytes) -> bytes:
        self.reads.append((key, len(data)))
        return bytes(byte ^ 1 for byte in data) if self._flips else data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class _CountingBlob:
    def __init__(self, store: CountingStore, key: str, blob: StoredBlob) -> None:
        self._store, self._key, self._blob = store, key, blob

    def read(self, start: int, length: int) -> bytes:
        return self._store.note(self._key, self._blob.read(start, length))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._blob.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blob, name)
