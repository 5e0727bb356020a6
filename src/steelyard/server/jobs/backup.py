"""Backup and restore of the embedded default: the database by SQLite's own online copy, then every byte it names.

A backup is a folder like a data directory. It can be taken while the server runs: bytes never change, so what the
copied database names is copied after it. It is whole when its database has its final name, and not before.
"""

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import delete
from sqlalchemy.engine import make_url

from steelyard.server.core import stored
from steelyard.server.core.stored import StoredObject
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Upload, UploadPart
from steelyard.server.errors import Conflict
from steelyard.server.jobs.copying import copy_object
from steelyard.server.settings import DATABASE_NAME
from steelyard.server.storage import BlobStore
from steelyard.server.storage.local import LocalStore

_ROUNDS = 3
_LOGS = ("-wal", "-shm")


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy holds, how many of its bytes were copied this time (the rest was there), and the OIDs of bytes that
    the source has lost."""

    blobs: int
    bytes: int
    copied_bytes: int
    lost: tuple[str, ...] = ()


def copy_registry(database: Database, store: BlobStore, target: Path) -> Copied:
    """Copy a registry into a folder that is no data directory yet; run again, it goes on where it was broken off.

    Bytes that the source has lost are named, and do not keep the rest from being copied. Raises `Conflict` when the
    folder holds a registry.
    """
    final = target / DATABASE_NAME
    if any(_with_suffix(final, suffix).exists() for suffix in ("", *_LOGS)):  # a log would be replayed into the copy
        raise Conflict(f"{target} holds a registry already, or what is left of one. Name a new folder.")
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    kept = LocalStore(target / "store")
    copied_bytes = 0
    for _ in range(_ROUNDS):
        draft = _copy_database(database, target)
        rows = _rows_of(draft)
        lost, some_bytes = _copy_blobs(store, kept, rows)
        copied_bytes += some_bytes
        if not lost:  # else: bytes that were collected meanwhile are named by no newer copy of the database
            break
    draft.rename(final)
    _sync(target)
    return Copied(len(rows), sum(row.size_bytes for row in rows), copied_bytes, tuple(lost))


def _with_suffix(database: Path, suffix: str) -> Path:
    return database.with_name(database.name + suffix)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy_database(database: Database, target: Path) -> Path:
    source, draft = make_url(database.url).database, target / f"{DATABASE_NAME}.partial"
    for suffix in ("", *_LOGS):
        _with_suffix(draft, suffix).unlink(missing_ok=True)
    draft.touch(mode=0o600)
    with (
        closing(sqlite3.connect(f"file:{quote(source or '')}?mode=ro", uri=True)) as old,
        closing(sqlite3.connect(draft)) as new,
    ):
        old.backup(new)
    copy = Database(f"sqlite:///{draft}")
    with copy.write() as session:  # what was on its way in is not part of a backup
        session.execute(delete(UploadPart))
        session.execute(delete(Upload))
    copy.close()
    _fold_log(draft)
    return draft


def _fold_log(path: Path) -> None:
    """Leave one file: the write-ahead log folded in, and the database durable."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")


def _rows_of(path: Path) -> list[StoredObject]:
    copy = Database(f"sqlite:///{path}")
    with copy.read() as session:
        rows = stored.list_objects(session)
    copy.close()
    _fold_log(path)
    return rows


def _copy_blobs(source: BlobStore, target: BlobStore, rows: list[StoredObject]) -> tuple[list[str], int]:
    """Copy what the target lacks, all of it verified on the way. Answers the names of what is lost, and the bytes
    copied."""
    lost, copied_bytes = [], 0
    for row in rows:
        if _has(target, row):
            continue
        if copy_object(source, target, row):
            copied_bytes += row.size_bytes
        else:
            lost.append(row.name)
    return lost, copied_bytes


def _has(store: BlobStore, row: StoredObject) -> bool:
    blob = store.open(row.key)
    if blob is None:
        return False
    with blob:
        return blob.size_bytes == row.size_bytes
