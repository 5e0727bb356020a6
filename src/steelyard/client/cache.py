"""The cache of pulled bytes: one file per digest, shared by all versions, models and registries.

    CACHE/blobs/ab/abcd…      whole, proven, read-only
    CACHE/partial/abcd….part  on its way   CACHE/partial/abcd….done  which 8 MiB blocks of it have arrived
    CACHE/locks/abc           who works on a digest or a destination that begins so
    CACHE/hashes.sqlite       the memory of hashes (see hashing.py)
    CACHE/xet                 the library's own, which knows what chunks are at the registry (see xet.py)

Nothing enters `blobs` before all its bytes hashed to its name. An entry whose size or time stamp is not the one it
came with is hashed again before it is used (a small one always), and thrown away if it is not what its name says; so
is one that is used again for the first time: a flush to the disk of what may never be used again costs more. The folder
may be deleted at any time when nothing is being pulled.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from steelyard.client.errors import TransferError
from steelyard.client.hashing import WORTH_REMEMBERING_BYTES, HashMemory, hash_file
from steelyard.client.locking import file_lock
from steelyard.client.parallel import Stop

BLOCK_BYTES = 8 << 20
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class BlobCache:
    """Proven bytes by SHA-256."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.memory = HashMemory(root / "hashes.sqlite")

    def close(self) -> None:
        """Close the memory of hashes."""
        self.memory.close()

    def path(self, sha256_hex: str) -> Path:
        """Where the bytes of this digest are kept."""
        return self.root / "blobs" / sha256_hex[:2] / sha256_hex

    def find(self, sha256_hex: str, size_bytes: int, stop: Stop) -> Path | None:
        """The file with these bytes, proven now or untouched since; a damaged one is thrown away."""
        path = self.path(sha256_hex)
        try:
            status = path.lstat()
        except OSError:
            return None
        if stat.S_ISREG(status.st_mode) and status.st_size == size_bytes:
            if self.memory.find(path, _marks(status)) == sha256_hex:
                return path
            if hash_file(path, stop, lambda _: None) == sha256_hex:
                self._remember(path, status, sha256_hex)
                return path
        _remove(path)
        return None

    def enter(self, partial: "Partial") -> Path:
        """Take in a file whose bytes were proven; the caller holds its lock."""
        path = self.path(partial.sha256_hex)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial.file.chmod(0o444)
        partial.file.replace(path)
        partial.discard()
        return path

    def _remember(self, path: Path, status: os.stat_result, sha256_hex: str) -> None:
        """Trust a file's hash from now on, a power cut included. A small one is hashed whenever it is used: that is
        cheaper than a flush to the disk for each."""
        if status.st_size >= WORTH_REMEMBERING_BYTES and _flushed(path):
            self.memory.remember(path, _marks(status), sha256_hex)

    @contextmanager
    def lock(self, sha256_hex: str, stop: Stop) -> Iterator[None]:
        """Be the only one that works on this digest. Some unrelated ones share a lock, so that the lock files stay few;
        nobody may wait for another lock while holding one of these."""
        with file_lock(self.root / "locks" / sha256_hex[:3], stop):
            yield

    @contextmanager
    def destination_lock(self, folder: Path, stop: Stop, waiting: Callable[[], None]) -> Iterator[None]:
        """Be the only pull into this folder; taken before the locks of digests."""
        name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()
        with file_lock(self.root / "locks" / f"into-{name[:3]}", stop, waiting):
            yield

    def partial(self, sha256_hex: str, size_bytes: int) -> "Partial":
        """The file of this digest that is on its way, with what arrived earlier; the caller holds its lock."""
        return Partial(self.root / "partial", sha256_hex, size_bytes)

    def free_bytes(self) -> int:
        """What the disk under the cache still takes."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        return shutil.disk_usage(self.root).free


class Partial:
    """A download on its way: its bytes, and which blocks of them have arrived."""

    def __init__(self, folder: Path, sha256_hex: str, size_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.sha256_hex = sha256_hex
        self.size_bytes = size_bytes
        self.file = folder / f"{sha256_hex}.part"
        self._journal = folder / f"{sha256_hex}.done"
        self.done = self._arrived()
        os.close(os.open(self.file, os.O_RDWR | os.O_CREAT | _NO_FOLLOW, 0o600))

    @property
    def blocks(self) -> int:
        """How many blocks the file has."""
        return -(-self.size_bytes // BLOCK_BYTES)

    def block_bytes(self, block: int) -> int:
        """How long a block is; the last may be short."""
        return min(BLOCK_BYTES, self.size_bytes - block * BLOCK_BYTES)

    def open_at(self, position: int) -> FileIO:
        """The file, to write or read from `position` on."""
        file = FileIO(os.open(self.file, os.O_RDWR | _NO_FOLLOW), "rb+")
        file.seek(position)
        return file

    def append(self, file: FileIO, piece: bytes) -> None:
        """Write all of a piece where the file stands. Raises TransferError when the disk does not take it."""
        view = memoryview(piece)
        try:
            while view:
                view = view[file.write(view) :]
        except OSError as error:
            raise TransferError(f"cannot write to {self.file.parent}: {error.strerror}") from error

    def mark(self, block: int) -> None:
        """Note that all bytes of a block were written; a line at the end, so that a break costs no other."""
        with self._journal.open("ab", buffering=0) as journal:
            journal.write(f"{self.size_bytes} {block}\n".encode())
        self.done.add(block)

    def reset(self) -> None:
        """Forget what arrived."""
        _remove(self._journal)
        os.truncate(self.file, 0)
        self.done = set()

    def discard(self) -> None:
        """Remove it."""
        _remove(self.file)
        _remove(self._journal)

    def _arrived(self) -> set[int]:
        """The blocks of the journal that the file is long enough for. A lie in it costs one more download, since all
        bytes are hashed before they count."""
        try:
            lines = self._journal.read_text("ascii", "replace").splitlines()
            length = self.file.lstat().st_size
        except OSError:
            _remove(self.file)
            _remove(self._journal)
            return set()
        pairs = (line.split() for line in lines)
        found = {
            int(pair[1]) for pair in pairs if pair[0:1] == [str(self.size_bytes)] and pair[1:2] and pair[1].isdecimal()
        }
        return {
            block
            for block in found
            if block < self.blocks and min((block + 1) * BLOCK_BYTES, self.size_bytes) <= length
        }


def _marks(status: os.stat_result) -> str:
    # Not the change time: a hard link made from the entry moves it.
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"


def _flushed(path: Path) -> bool:
    """Put a file onto the disk; says whether that worked (on Windows nothing is flushed that is read-only)."""
    try:
        handle = os.open(path, os.O_RDONLY | _NO_FOLLOW)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError:
        return False
    return True


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
