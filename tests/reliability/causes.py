"""Real causes for faults: locks, full disks, limits of the operating system, folders that are gone, damaged files."""

import errno
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.house import RunningServer


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Somebody else writes, and takes his time."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield  # closing it rolls back


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Nothing more fits on the disk."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(4096))
            except OSError as error:
                assert error.errno == errno.ENOSPC
                break
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def largest_file(server: RunningServer, size_bytes: int) -> Iterator[None]:
    """The operating system lets no file of the server grow past this."""
    earlier = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size_bytes, earlier[1]))
    try:
        yield
    finally:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, earlier)


@contextmanager
def moved_away(folder: Path) -> Iterator[None]:
    """The folder is not there, as when its disk is not mounted."""
    folder.rename(folder.with_suffix(".away"))
    try:
        yield
    finally:
        folder.with_suffix(".away").rename(folder)


@contextmanager
def emptied_log(database: Path) -> Iterator[None]:
    """The write-ahead log is empty, so that whoever writes needs room for it."""
    with closing(sqlite3.connect(database)) as other:
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        yield


@contextmanager
def damaged(database: Path) -> Iterator[None]:
    """All but the first page of the database is overwritten, and put back."""
    with closing(sqlite3.connect(database)) as other:  # a new commit makes every connection forget what it had read
        with other:
            other.execute("UPDATE users SET email_address = email_address")
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    sound = database.read_bytes()
    with database.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (len(sound) - 4096))
    try:
        yield
    finally:
        with database.open("r+b") as file:
            file.write(sound)
