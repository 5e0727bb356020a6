"""Bytes as files of one directory. Owns its layout, what is made durable when, and the wording of a disk's refusals.

    <root>/staged/<upload id>                        what has arrived of an upload
    <root>/sealed/<upload id>                        an upload that is being proven: nobody writes to it any more
    <root>/blobs/sha256/<ab>/<cd>/<64 hex>.<nonce>   a proven blob; ab and cd are its first four digits
    <root>/aside/<64 hex>.<nonce>                    a blob whose bytes turned out wrong, for a person to look at

A blob appears by rename(2) within the file system, after its bytes are on the disk, and the directories that name it
are synced before `commit` returns: a key that was answered is there after a power cut, whole. The entry of a staged
upload is not synced by itself, only its bytes: an upload lost to a power cut is begun again, and nobody was promised
it. Directories are made 0700 and files 0600.
"""

import contextlib
import errno
import fcntl
import hashlib
import io
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from steelyard.server.errors import Conflict, NotFound, StorageFailed, StorageTimeout
from steelyard.server.storage import (
    BEING_WRITTEN,
    NOTHING_STAGED,
    SEALED,
    Proof,
    StoredName,
    check_key,
    check_upload_id,
)

log = logging.getLogger(__name__)

HASH_READ_BYTES = 1024 * 1024
_MAX_PIECES_PER_CALL = 1024  # IOV_MAX on Linux and the BSDs
_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)  # Linux only; elsewhere nothing is known to be in memory

_WORDS = {
    errno.ENOSPC: "the disk is full; whoever runs this registry has to free space",
    errno.EDQUOT: "the disk quota is used up; whoever runs this registry has to raise it or free space",
    errno.EFBIG: "the file grew past the largest the disk or the operating system allows",
    errno.EROFS: "the disk is read-only",
    errno.EIO: "the disk answered with an input-output error",
    errno.EACCES: "permission denied; the registry's user has to own its data directory",
    errno.EPERM: "permission denied; the registry's user has to own its data directory",
    errno.EMFILE: "too many files are open; try again",
    errno.ENFILE: "too many files are open; try again",
    errno.ENOENT: "a directory of the store is missing; is its disk mounted?",
    errno.ENOTDIR: "a directory of the store is something else",
}


class LocalStore:
    """A `BlobStore` on a local disk. The root is made where it is missing."""

    direct: None = None

    def __init__(self, root: Path, *, alone: bool = True) -> None:
        self._alone = alone
        """Whether no other process writes here: what that one left unsynced, nobody here knows."""
        self._staged = root / "staged"
        self._sealed = root / "sealed"
        self._blobs = root / "blobs" / "sha256"
        self._aside = root / "aside"
        self._synced: set[str] = set()
        """Staged uploads whose last writer to go had synced them, as far as this process knows."""
        self._durable: set[str] = set()
        """Directories under `_blobs` that this process has seen safely named by their parents."""
        with _disk("opening the store"):
            root.parent.mkdir(parents=True, exist_ok=True)
            for directory in (root, self._staged, self._sealed, self._blobs.parent, self._blobs):
                _make_directory(directory)

    def stage(self, upload_id: str, offset_bytes: int) -> "LocalStageWriter":
        path = self._staged / check_upload_id(upload_id)
        if offset_bytes < 0:
            raise ValueError("an offset is not negative")
        with _disk("opening a staged upload"):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if not _locked(fd, fcntl.LOCK_SH) or not _is_at(fd, path) or self._sealed_path(upload_id).exists():
                os.close(fd)
                raise Conflict(SEALED)
        return LocalStageWriter(fd, offset_bytes, upload_id, self._synced)

    def prove(self, upload_id: str) -> Proof:
        with _disk("reading a staged upload"):
            sealed = self._find_sealed(upload_id)
            if sealed is None:
                raise NotFound(NOTHING_STAGED)
            with io.FileIO(sealed) as file:
                return _prove(file)

    def commit(self, upload_id: str, key: str) -> None:
        blob = self._blob_path(key)
        with _disk("storing a blob"):
            # A blob that is there is never replaced: an earlier call got this far, and may have been killed before it
            # synced the name. Whatever is staged under this id by now, nobody has proven.
            is_there = blob.exists()
            sealed = None if is_there else self._find_sealed(upload_id)
            if sealed is None and not is_there:
                raise NotFound(NOTHING_STAGED)
            for shard in (key[:2], f"{key[:2]}/{key[2:4]}"):
                self._make_shard(shard)
            if sealed is not None:
                self._move(upload_id, sealed, blob)
            _sync_directory(blob.parent)
        self.discard(upload_id)

    def _move(self, upload_id: str, sealed: Path, blob: Path) -> None:
        """To where it stays. Somebody who commits the same at the same moment may be faster."""
        try:
            self._make_durable(upload_id, sealed)
            sealed.rename(blob)
        except FileNotFoundError:
            if not blob.exists():
                raise

    def _find_sealed(self, upload_id: str) -> Path | None:
        """Put an upload where no writer finds it; None where there is none. A writer that has it open holds it locked,
        and then this is refused: whoever could still write could change bytes after they were proven."""
        staged, sealed = self._staged / check_upload_id(upload_id), self._sealed_path(upload_id)
        if sealed.exists():
            return sealed
        try:
            fd = os.open(staged, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._staged.stat()  # no upload is one thing, no store another
            return None
        try:
            if not _locked(fd, fcntl.LOCK_EX):
                raise Conflict(BEING_WRITTEN)
            staged.rename(sealed)
        finally:
            os.close(fd)
        return sealed

    def _sealed_path(self, upload_id: str) -> Path:
        return self._sealed / check_upload_id(upload_id)

    def discard(self, upload_id: str) -> None:
        path = self._staged / check_upload_id(upload_id)
        with _disk("discarding a staged upload"):
            path.unlink(missing_ok=True)
            self._sealed_path(upload_id).unlink(missing_ok=True)
        self._synced.discard(upload_id)

    def open(self, key: str) -> "LocalBlob | None":
        path = self._blob_path(key)
        with _disk("opening a blob"):
            try:
                return LocalBlob(path)
            except FileNotFoundError:
                self._blobs.stat()  # no blob is one thing, no store another
                return None

    def delete(self, key: str) -> None:
        # The directories stay: taking an empty one away could meet a commit that is about to rename into it.
        with _disk("deleting a blob"):
            self._blob_path(key).unlink(missing_ok=True)

    def set_aside(self, key: str) -> None:
        with _disk("setting a blob aside"):
            _make_directory(self._aside)
            with contextlib.suppress(FileNotFoundError):
                self._blob_path(key).rename(self._aside / key)

    def scan(self) -> Iterator[StoredName]:
        with _disk("listing the store"):
            yield from _names_in(self._staged, "stage")
            yield from _names_in(self._sealed, "stage")
            for first in _directories_in(self._blobs):
                for second in _directories_in(first):
                    yield from _names_in(second, "blob")

    def free_bytes(self) -> int:
        with _disk("asking for free space"):
            found = os.statvfs(self._staged)
            if found.f_flag & os.ST_RDONLY:
                raise OSError(errno.EROFS, "")
            if not os.access(self._staged, os.W_OK | os.X_OK):
                raise OSError(errno.EACCES, "")
        return found.f_bavail * found.f_frsize

    def _blob_path(self, key: str) -> Path:
        check_key(key)
        return self._blobs / key[:2] / key[2:4] / key

    def _make_durable(self, upload_id: str, sealed: Path) -> None:
        """Sync what is not known to be synced, and date the file: a collector goes by the time of the commit."""
        os.utime(sealed)
        if not (self._alone and upload_id in self._synced):
            fd = os.open(sealed, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _sync_file(fd)
            finally:
                os.close(fd)

    def _make_shard(self, shard: str) -> None:
        """It being there is not enough: another thread may have made it and not have synced its parent yet."""
        if shard in self._durable:
            return
        directory = self._blobs / shard
        directory.mkdir(mode=0o700, exist_ok=True)
        _sync_directory(directory.parent)
        self._durable.add(shard)


class LocalStageWriter:
    """Writes into a staged upload of a `LocalStore`."""

    def __init__(self, fd: int, offset_bytes: int, upload_id: str, synced: set[str]) -> None:
        self._fd = fd
        self._offset_bytes = offset_bytes
        self._upload_id = upload_id
        self._synced = synced

    def write(self, pieces: Sequence[bytes]) -> None:
        with _disk("writing an upload"):
            for first in range(0, len(pieces), _MAX_PIECES_PER_CALL):
                self._offset_bytes += _write_all(
                    self._fd, pieces[first : first + _MAX_PIECES_PER_CALL], self._offset_bytes
                )

    def close(self) -> None:
        if self._fd < 0:
            return
        try:
            with _disk("writing an upload to the disk"):
                _sync_file(self._fd)
        finally:
            self._let_go()
        self._synced.add(self._upload_id)

    def _let_go(self) -> None:
        """Close the file; what was written since the last sync is left for the commit to sync."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._synced.discard(self._upload_id)
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._let_go()

    def __del__(self) -> None:
        self._let_go()


class LocalBlob:
    """An open blob of a `LocalStore`. Raises OSError when it cannot be opened; the store translates that."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = io.FileIO(path)
        self.size_bytes = os.fstat(self._file.fileno()).st_size

    def read(self, start: int, length: int) -> bytes:
        with _disk("reading a blob"):
            found = os.pread(self._file.fileno(), length, start)
            while len(found) < min(length, self.size_bytes - start):
                more = os.pread(self._file.fileno(), length - len(found), start + len(found))
                if not more:  # the file is shorter than when it was opened
                    break
                found += more
        return found

    def read_now(self, start: int, length: int) -> bytes | None:
        length = max(0, min(length, self.size_bytes - start))
        if _NOWAIT is None:
            return None
        found = bytearray(length)
        try:
            count = os.preadv(self._file.fileno(), [found], start, _NOWAIT)
        except OSError:  # not in memory, or this file system cannot say; `read` finds out what else it may be
            return None
        return bytes(found) if count == length else None

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _locked(fd: int, kind: int) -> bool:
    """Take a lock that ends with the descriptor, or say that somebody else has it."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(fd: int, path: Path) -> bool:
    """Whether the file opened is the one that the path names now."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _disk(doing: str) -> Iterator[None]:
    """The one place where an OSError becomes an error of the registry. Its path stays behind, in `__cause__`."""
    try:
        yield
    except TimeoutError as fault:
        raise StorageTimeout(f"The store did not answer in time while {doing}. Try again.") from fault
    except OSError as fault:
        number = fault.errno or 0
        failed = f"The store failed while {doing}: {_WORDS.get(number) or os.strerror(number)}."
        log.warning("%s The system said: %s", failed, errno.errorcode.get(number, type(fault).__name__))
        raise StorageFailed(failed) from fault


def _sync_file(fd: int) -> None:
    """Bring a file's bytes and size to the disk; its times may follow later."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(fd)
    else:  # macOS
        os.fsync(fd)


def _make_directory(directory: Path) -> None:
    """Make a directory where it is missing, and sync its name into its parent then."""
    if not directory.is_dir():
        directory.mkdir(mode=0o700, exist_ok=True)
        _sync_directory(directory.parent)


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_all(fd: int, pieces: Sequence[bytes], offset_bytes: int) -> int:
    """Write every byte of `pieces` at an offset; how many that were."""
    rest = [memoryview(piece) for piece in pieces if piece]
    total = sum(len(piece) for piece in rest)
    while rest:
        written = os.pwritev(fd, rest, offset_bytes)
        if not written:
            raise OSError(errno.EIO, "")
        offset_bytes += written
        rest = _after(rest, written)
    return total


def _after(pieces: list[memoryview], count: int) -> list[memoryview]:
    """What is left of `pieces` when their first `count` bytes are gone."""
    for index, piece in enumerate(pieces):
        if count < len(piece):
            return [piece[count:], *pieces[index + 1 :]]
        count -= len(piece)
    return []


def _prove(file: io.FileIO) -> Proof:
    digest, size_bytes = hashlib.sha256(), 0
    buffer = memoryview(bytearray(HASH_READ_BYTES))
    while count := file.readinto(buffer):
        digest.update(buffer[:count])
        size_bytes += count
    return Proof(digest.hexdigest(), size_bytes)


def _directories_in(directory: Path) -> list[Path]:
    with os.scandir(directory) as found:
        return [Path(entry.path) for entry in found if entry.is_dir(follow_symlinks=False)]


def _names_in(directory: Path, kind: Literal["blob", "stage"]) -> Iterator[StoredName]:
    """The store's own files in a directory: foreign names are left out."""
    check = check_key if kind == "blob" else check_upload_id
    with os.scandir(directory) as found:
        for entry in found:
            try:
                check(entry.name)
                status = entry.stat(follow_symlinks=False)
            except (ValueError, FileNotFoundError):  # not ours, or gone since it was listed
                continue
            yield StoredName(kind, entry.name, status.st_size, status.st_mtime)
