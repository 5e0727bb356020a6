"""Bytes to send: a file, a small one, a version of many; and a source that can be made to fail."""

import hashlib
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steelyard.server.core.files.archive import ArchiveFile, plan_archive
from steelyard.server.doors.sending import PIECE_BYTES, ArchiveSource, BlobSource, ByteSource, BytesResponse, attachment
from steelyard.server.errors import StorageFailed
from steelyard.server.storage import BlobStore
from steelyard.server.storage.memory import MemoryStore

CONTENT = random.Random(2).randbytes(3 * PIECE_BYTES + 12_345)
SMALL = CONTENT[:5000]
ETAG = '"sha256:' + hashlib.sha256(CONTENT).hexdigest() + '"'
FILES = {"config.json": b"{}", "weights/model.bin": CONTENT, "weights/empty": b""} | {
    f"vocab/{n:03}": CONTENT[n : n + n % 700] for n in range(300)
}


def put(store: BlobStore, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    key = f"{digest}.00000000"
    with store.stage(digest[:32], 0) as writer:
        writer.write([content])
    store.commit(digest[:32], key)
    return key


def blob_source(store: BlobStore, content: bytes) -> BlobSource:
    blob = store.open(put(store, content))
    assert blob is not None
    return BlobSource(blob, len(content), ETAG)


def archive_source(store: BlobStore, contents: dict[str, bytes]) -> ArchiveSource:
    keys = {path: put(store, content) for path, content in contents.items()}
    files = [ArchiveFile(path, len(contents[path]), f"sha256:{key[:64]}", key) for path, key in keys.items()]
    return ArchiveSource(plan_archive(files), store)


def tar_of(contents: dict[str, bytes]) -> bytes:
    source = archive_source(MemoryStore(), contents)
    return b"".join(source.stream(0, source.size_bytes))


def response_of(source: ByteSource, **keywords: Any) -> BytesResponse:
    return BytesResponse(source, content_disposition=attachment("model.bin"), **keywords)


@dataclass
class SpySource:
    """A source that tells what is done to it, and can be made to fail."""

    size_bytes: int = 10 * PIECE_BYTES
    etag: str = ETAG
    path: Path | None = None
    fails_at: int | None = None
    reads: int = 0
    closes: int = 0
    during_read: Callable[["SpySource"], None] = lambda spy: None
    reading: bool = False

    def read_now(self, start: int, end: int) -> bytes | None:
        return None

    def stream(self, start: int, end: int) -> Generator[bytes, None, None]:
        for at in range(start, end, PIECE_BYTES):
            self.reading = True
            self.reads += 1
            if self.fails_at is not None and at >= self.fails_at:
                self.reading = False
                raise StorageFailed("The disk is gone.") from OSError(5, "cause")
            self.during_read(self)
            self.reading = False
            yield bytes(min(PIECE_BYTES, end - at))

    def close(self) -> None:
        assert not self.reading
        self.closes += 1
