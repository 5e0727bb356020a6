"""A store whose every call is told to a `Watch`: how long it took, whether it failed, how many bytes it moved."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from steelyard.server.storage import (
    BlobStore,
    DirectTransfers,
    PartLink,
    Proof,
    StageWriter,
    StoredBlob,
    StoredName,
)
from steelyard.server.watching import Watch


class WatchedStore:
    """The same store."""

    def __init__(self, store: BlobStore, watch: Watch) -> None:
        self._store, self._watch = store, watch
        direct = store.direct
        self.direct: DirectTransfers | None = None if direct is None else _WatchedTransfers(direct, watch)

    def stage(self, upload_id: str, offset_bytes: int) -> StageWriter:
        """As the store's."""
        with self._watch.work("store", "stage"):
            return _WatchedWriter(self._store.stage(upload_id, offset_bytes), self._watch)

    def prove(self, upload_id: str) -> Proof:
        """As the store's."""
        with self._watch.work("store", "prove"):
            proof = self._store.prove(upload_id)
        self._watch.count("proof_read_bytes", proof.size_bytes)
        return proof

    def commit(self, upload_id: str, key: str) -> None:
        """As the store's."""
        with self._watch.work("store", "commit"):
            self._store.commit(upload_id, key)

    def discard(self, upload_id: str) -> None:
        """As the store's."""
        with self._watch.work("store", "discard"):
            self._store.discard(upload_id)

    def open(self, key: str) -> StoredBlob | None:
        """As the store's."""
        with self._watch.work("store", "open"):
            blob = self._store.open(key)
        return None if blob is None else _WatchedBlob(blob, self._watch)

    def delete(self, key: str) -> None:
        """As the store's."""
        with self._watch.work("store", "delete"):
            self._store.delete(key)

    def set_aside(self, key: str) -> None:
        """As the store's."""
        with self._watch.work("store", "set_aside"):
            self._store.set_aside(key)

    def scan(self) -> Iterator[StoredName]:
        """As the store's; measured to its end, with what is done between two names."""
        with self._watch.work("store", "scan"):
            yield from self._store.scan()

    def free_bytes(self) -> int | None:
        """As the store's."""
        with self._watch.work("store", "free_bytes"):
            return self._store.free_bytes()


class _WatchedBlob:
    """The same blob."""

    def __init__(self, blob: StoredBlob, watch: Watch) -> None:
        self._blob, self._watch = blob, watch
        self.size_bytes: int = blob.size_bytes
        self.path: Path | None = blob.path
        self.close = blob.close

    def read(self, start: int, length: int) -> bytes:
        """As the blob's."""
        with self._watch.work("store", "read"):
            content = self._blob.read(start, length)
        self._watch.count("store_read_bytes", len(content))
        return content

    def read_now(self, start: int, length: int) -> bytes | None:
        """As the blob's; without a stop watch, since it never waits."""
        content = self._blob.read_now(start, length)
        if content:
            self._watch.count("store_read_bytes", len(content))
        return content

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._blob.__exit__(kind, fault, trace)


class _WatchedWriter:
    """The same writer."""

    def __init__(self, writer: StageWriter, watch: Watch) -> None:
        self._writer, self._watch = writer, watch

    def write(self, pieces: Sequence[bytes]) -> None:
        """As the writer's."""
        with self._watch.work("store", "write"):
            self._writer.write(pieces)
        self._watch.count("store_written_bytes", sum(map(len, pieces)))

    def close(self) -> None:
        """As the writer's."""
        with self._watch.work("store", "close"):
            self._writer.close()

    def __enter__(self) -> Self:
        self._writer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._watch.work("store", "close"):
            self._writer.__exit__(kind, fault, trace)


class _WatchedTransfers:
    """The same transfers. A link is signed here and asks nobody, so that none is measured."""

    def __init__(self, direct: DirectTransfers, watch: Watch) -> None:
        self._direct, self._watch = direct, watch

    def link_blob(
        self, key: str, *, ttl_seconds: int, content_type: str, content_disposition: str, span: str | None = None
    ) -> str:
        """As the transfers'."""
        return self._direct.link_blob(
            key, ttl_seconds=ttl_seconds, content_type=content_type, content_disposition=content_disposition, span=span
        )

    def begin(self, upload_id: str, *, checksums: bool) -> str:
        """As the transfers'."""
        with self._watch.work("store", "begin"):
            return self._direct.begin(upload_id, checksums=checksums)

    def link_part(
        self,
        upload_id: str,
        handle: str,
        number: int,
        *,
        size_bytes: int,
        ttl_seconds: int,
        crc32: str | None = None,
    ) -> PartLink:
        """As the transfers'."""
        return self._direct.link_part(
            upload_id, handle, number, size_bytes=size_bytes, ttl_seconds=ttl_seconds, crc32=crc32
        )

    def list_parts(self, upload_id: str, handle: str) -> Mapping[int, int]:
        """As the transfers'."""
        with self._watch.work("store", "list_parts"):
            return self._direct.list_parts(upload_id, handle)

    def join(self, upload_id: str, handle: str) -> None:
        """As the transfers'."""
        with self._watch.work("store", "join"):
            self._direct.join(upload_id, handle)
