"""SHA-256 of files, in several threads, and the memory of hashes so that an unchanged file is not read twice.

A hash is remembered under the file's path with its size, times and inode, as git does; and, as git does, not for a file
touched so recently that a change could hide behind the same time stamp.
"""

import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from steelyard.client.errors import FileChanged, TransferError
from steelyard.client.parallel import Stop, in_parallel
from steelyard.client.progress import Stage
from steelyard.client.walking import FoundFile

PIECE_BYTES = 1 << 20
WORTH_REMEMBERING_BYTES = 1 << 20
_RACY_NS = 2_000_000_000  # the coarsest time stamps in use (FAT) step by two seconds


@dataclass(frozen=True, slots=True)
class HashedFile:
    """A file and the digest its bytes had."""

    found: FoundFile
    sha256_hex: str

    @property
    def oid(self) -> str:
        """The registry's name for the bytes."""
        return f"sha256:{self.sha256_hex}"

    def still_the_same(self) -> bool:
        """Whether the file's stat is what it was when it was hashed."""
        try:
            now = self.found.source.lstat()
        except OSError:
            return False
        return FoundFile.of(self.found.path, self.found.source, now) == self.found

    def changed(self) -> FileChanged:
        """What to raise where it is not."""
        return FileChanged(f"{self.found.path} changed while it was being pushed; push again when nothing writes to it")


class HashMemory:
    """Digests by path and stat, in one small SQLite file shared by all processes; with None for a file it forgets."""

    def __init__(self, file: Path | None) -> None:
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        if file is None:
            return
        with suppress(OSError, sqlite3.Error):
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._db = sqlite3.connect(file, timeout=2, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA synchronous = OFF")  # losing a memory costs a re-read, nothing else
            self._db.execute("CREATE TABLE IF NOT EXISTS hashes (path TEXT PRIMARY KEY, marks TEXT, sha256 TEXT)")

    def find(self, path: Path, marks: str) -> str | None:
        """The digest remembered for this path with these marks."""
        rows = self._run("SELECT sha256 FROM hashes WHERE path = ? AND marks = ?", (str(path), marks))
        return str(rows[0][0]) if rows else None

    def remember(self, path: Path, marks: str, sha256_hex: str) -> None:
        """Keep a digest."""
        self._run("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?)", (str(path), marks, sha256_hex))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._db is not None:
                self._db.close()
            self._db = None

    def _run(self, statement: str, values: tuple[str, ...]) -> list[tuple[object, ...]]:
        with self._lock:
            if self._db is None:
                return []
            try:
                with closing(self._db.execute(statement, values)) as cursor:
                    return cursor.fetchall()
            except (sqlite3.Error, UnicodeEncodeError):
                return []


def hash_files(
    files: Iterable[FoundFile], memory: HashMemory, stage: Stage, stop: Stop, *, threads: int
) -> list[HashedFile]:
    """The digests of all files, in the order given. Raises FileChanged, TransferError for an unreadable one."""
    listed = list(files)
    done: dict[str, HashedFile] = {}

    def job(found: FoundFile) -> Callable[[], None]:
        def run() -> None:
            done[found.path] = HashedFile(found, digest_of(found, memory, stage, stop))

        return run

    for found in listed:
        stage.expect(found.size_bytes)
    largest_first = sorted(listed, key=lambda found: -found.size_bytes)
    in_parallel((job(found) for found in largest_first), threads=threads, stop=stop)
    return [done[found.path] for found in listed]


def digest_of(found: FoundFile, memory: HashMemory, stage: Stage, stop: Stop) -> str:
    """The file's digest as hex, remembered or read. Raises FileChanged when it changes meanwhile, TransferError."""
    worth_it = found.size_bytes >= WORTH_REMEMBERING_BYTES
    known = memory.find(found.source, found.marks) if worth_it else None
    if known is not None:
        stage.advance(found.size_bytes)
        return known
    started_ns = time.time_ns()
    digest = hash_file(found.source, stop, stage.advance)
    hashed = HashedFile(found, digest)
    if not hashed.still_the_same():
        raise FileChanged(f"{found.path} changed while it was being read; try again when nothing writes to it")
    if worth_it and started_ns - max(found.mtime_ns, found.ctime_ns) > _RACY_NS:
        memory.remember(found.source, found.marks, digest)
    return digest


def hash_file(path: Path, stop: Stop, advance: Callable[[int], None]) -> str:
    """The SHA-256 of a regular file as hex, read from the disk. Raises TransferError when it cannot be read."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(PIECE_BYTES))
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
        with FileIO(handle, "rb") as file:
            while count := file.readinto(buffer):
                stop.check()
                digest.update(buffer[:count])
                advance(count)
    except OSError as error:
        raise TransferError(f"{path} cannot be read: {error.strerror}") from error
    return digest.hexdigest()
