"""The store of bytes: proven blobs under keys, and staged uploads that are on their way to become blobs.

Owns the `BlobStore` Protocol, what its methods take and give, and the two kinds of name. The docstrings here are the
contract; every store passes `tests/server/storage/contract.py`. A store knows nothing of models, of owners, or of HTTP.

- A *key* is the physical name of a proven blob: `<64 hex of its SHA-256>.<8 hex nonce>`. The nonce makes every key
  new, so that a deleted blob's name is never used again and a collector cannot meet a concurrent upload of the same
  digest.
- A *staged upload* is named by an upload id, 32 hex digits, and holds whatever has arrived of it so far.

Every method may block, and every one but the constructors may be called from many threads at once. What goes wrong
underneath is raised as `StorageFailed`, or `StorageTimeout` where the store did not answer in time; their `detail`
names no path. A name that is no key or no upload id is a fault of the caller: `ValueError`, before anything is touched.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

_KEY = re.compile(r"[0-9a-f]{64}\.[0-9a-f]{8}")
_UPLOAD_ID = re.compile(r"[0-9a-f]{32}")

LEAST_PART_BYTES = 5 * 2**20
"""What S3 stores take as a part, but for the last: parts of a direct upload have so many bytes or more."""

NOTHING_STAGED = "Nothing of this upload is here any more. Begin it again."
BEING_WRITTEN = "Bytes of this upload are still arriving. Wait until they have, and try again."
SEALED = "This upload is being proven and takes no more bytes."


@dataclass(frozen=True, slots=True)
class Proof:
    """What the staged bytes are, by the store's own reading of them."""

    sha256_hex: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StoredName:
    """One thing the store holds: a blob (`name` is its key) or a staged upload (`name` is its upload id)."""

    kind: Literal["blob", "stage"]
    name: str
    size_bytes: int
    modified_at: float
    """Seconds since the epoch by this machine's clock, whatever the store's own says: of a staged upload the last
    write, of a blob its commit."""


class StageWriter(Protocol):
    """Writes one run of bytes of a staged upload, from the offset it was opened at onwards. One thread at a time.

    As a context manager it closes on the way out; when an exception passes through, it only lets go of the upload,
    and what it wrote may or may not be there.
    """

    def write(self, pieces: Sequence[bytes]) -> None:
        """Write all of `pieces`, in order, after what was written before."""
        ...

    def close(self) -> None:
        """Make everything written durable and let go of the upload. The bytes may be relied on once this returns, and
        not before; where the upload's proof began meanwhile, they count for nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class StoredBlob(Protocol):
    """A blob opened for reading. Where its key is deleted meanwhile, it reads on as it was, or from then on raises
    StorageFailed, as the store can; it never gives other bytes."""

    @property
    def size_bytes(self) -> int: ...

    @property
    def path(self) -> Path | None:
        """A file that holds exactly this blob, for the operating system to send; None where there is none."""
        ...

    def read(self, start: int, length: int) -> bytes:
        """The bytes from `start`, as many as `length`; fewer only where the blob ends. From any thread, no position."""
        ...

    def read_now(self, start: int, length: int) -> bytes | None:
        """As `read`, but None unless it can be done without waiting: callable on an event loop."""
        ...

    def close(self) -> None:
        """Let go of the blob. Idempotent."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class PartLink:
    """Where one part is to be PUT, by anybody who has the link, and the headers that must go with it."""

    url: str
    headers: Mapping[str, str]


class DirectTransfers(Protocol):
    """Bytes that go straight between client and store, by links that the store itself honours.

    A staged upload that is sent so is opened with `begin`, whose handle its caller keeps, and closed with `join`; it
    is then proven and committed as any other. No link can write to it after `join`, and none ever to a blob.
    """

    def link_blob(
        self, key: str, *, ttl_seconds: int, content_type: str, content_disposition: str, span: str | None = None
    ) -> str:
        """A link at which anybody may GET the blob, whole or by range, answered with these two headers. With `span`, a
        Range header's value, he may GET just that, by sending just that header."""
        ...

    def begin(self, upload_id: str, *, checksums: bool) -> str:
        """Open a staged upload; with `checksums`, every part has to bring one. Answers its handle."""
        ...

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
        """A link for one part, counted from 1. `crc32` is base64 of the part's four bytes, big-endian; the store
        refuses other bytes, where it honours that."""
        ...

    def list_parts(self, upload_id: str, handle: str) -> Mapping[int, int]:
        """Number -> size in bytes of the parts that arrived. Raises NotFound where nothing of it is here any more."""
        ...

    def join(self, upload_id: str, handle: str) -> None:
        """Make the parts that arrived one staged upload, in their order. Idempotent."""
        ...


class BlobStore(Protocol):
    """Where bytes are kept. See the module for names, blocking and errors."""

    @property
    def direct(self) -> DirectTransfers | None:
        """How clients reach the store without the registry in between; None where they cannot."""
        ...

    def stage(self, upload_id: str, offset_bytes: int) -> StageWriter:
        """Open a staged upload for writing at an offset. It is there, if empty, when its first writer is closed.

        It may be opened again and again, after a restart too, and by several writers at once for different offsets.
        What is written again replaces what a writer that was closed before wrote there. Nothing is preallocated: bytes
        that nobody wrote, before the last that somebody did, read as zeros. Raises Conflict once its proof has begun.
        """
        ...

    def prove(self, upload_id: str) -> Proof:
        """Read the whole staged upload and say what it is. From now on that is what it is: nobody can change it.

        While somebody is writing to it, that is refused with Conflict, or his writing does not count, as the store
        can. Raises NotFound where there is none under this id, and when it is committed or discarded meanwhile.
        """
        ...

    def commit(self, upload_id: str, key: str) -> None:
        """Turn a staged upload into the blob `key`, durably; the staged upload is gone afterwards.

        The caller has proven the bytes, by `prove` or because he alone knows the upload's name and has hashed what he
        wrote. Calling it again with the same names after it was done is a no-op, so that a crash in between can be made
        good. While somebody is writing to it, it does as `prove`. Raises NotFound where there is neither the staged
        upload nor the blob.
        """
        ...

    def discard(self, upload_id: str) -> None:
        """Forget a staged upload and free its bytes. Idempotent."""
        ...

    def open(self, key: str) -> StoredBlob | None:
        """Open a blob for reading; None where there is no such blob."""
        ...

    def delete(self, key: str) -> None:
        """Remove a blob. Idempotent. After a power cut it may be back; the next `scan` shows it again."""
        ...

    def set_aside(self, key: str) -> None:
        """Put a blob whose bytes are wrong where only a person finds it: neither `open` nor `scan` does. Idempotent."""
        ...

    def scan(self) -> Iterator[StoredName]:
        """Every blob and staged upload, in no order. What comes or goes meanwhile may or may not be among them."""
        ...

    def free_bytes(self) -> int | None:
        """How much more could be written; None where the store cannot know. Raises when it could not write at all."""
        ...


def check_key(key: str) -> str:
    """The key itself, or ValueError where it has not the form of one."""
    if not _KEY.fullmatch(key):
        raise ValueError("not the key of a blob")
    return key


def check_upload_id(upload_id: str) -> str:
    """The upload id itself, or ValueError where it has not the form of one."""
    if not _UPLOAD_ID.fullmatch(upload_id):
        raise ValueError("not an upload id")
    return upload_id
