"""SQLite, the embedded default: write-ahead log, one writer at a time (`BEGIN IMMEDIATE`, so that a transaction never
finds out halfway that it may not write), every commit on disk before it is answered."""

import time
from functools import partial
from pathlib import Path
from sqlite3 import Connection as SQLiteConnection
from sqlite3 import OperationalError
from typing import Any

from sqlalchemy import URL, Connection, Engine, ExceptionContext, create_engine, event
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError

from steelyard.server.db.openings import opening_of
from steelyard.server.errors import DatabaseFailed, DatabaseTimeout, RegistryError

CONNECTIONS = 48  # more than the threads that serve requests, so that none of them waits for a connection
_BROKEN = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY")


def open_engine(url: URL, timeout_seconds: float) -> Engine:
    """An engine whose transactions begin as their `Opening` says; the file is made when it is not there."""
    if url.database:
        file = Path(url.database)
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.touch(mode=0o600)  # it holds the keys that tickets are signed with; the log beside it takes its mode
    engine = create_engine(
        url,
        pool_size=CONNECTIONS,
        pool_timeout=timeout_seconds,
        connect_args={"timeout": timeout_seconds},
        hide_parameters=True,  # errors are logged, and parameters may be people's data
    )
    event.listen(engine, "connect", partial(_prepare, timeout_seconds=timeout_seconds))
    event.listen(engine, "begin", _begin)
    event.listen(engine, "handle_error", _distrust)
    return engine


def open_glances(url: URL) -> Engine | None:
    """One connection more, for the event loop: it reads, which nobody who writes holds up, and where it would have to
    wait all the same it fails at once. None for a database that only one connection sees."""
    if url.database in (None, "", ":memory:"):
        return None
    engine = create_engine(
        url, pool_size=1, max_overflow=0, pool_timeout=0, connect_args={"timeout": 0}, hide_parameters=True
    )
    event.listen(engine, "connect", _prepare_to_glance)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "handle_error", _distrust)
    return engine


def name_failure(error: DBAPIError) -> RegistryError | None:
    """Locked, full, broken: the words of SQLite's own messages are the only thing its driver gives us.

    None for a fault of ours.
    """
    if isinstance(error, IntegrityError | ProgrammingError | DataError | NotSupportedError):
        return None
    words = str(error.orig).lower()
    if "locked" in words or "busy" in words:
        return DatabaseTimeout("The database is locked by another process and did not answer in time. Try again.")
    if "full" in words:
        return DatabaseFailed("The database's disk is full. Nothing was changed; the operator must make room.")
    return DatabaseFailed("The database answered with an error. Nothing was changed; the operator finds it in the log.")


def _prepare(connection: SQLiteConnection, _record: Any, *, timeout_seconds: float) -> None:
    connection.isolation_level = None  # Python's driver must not begin transactions by itself: we do, below
    connection.execute(f"PRAGMA busy_timeout = {int(timeout_seconds * 1000)}")
    _switch_to_wal(connection, time.monotonic() + timeout_seconds)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _prepare_to_glance(connection: SQLiteConnection, _record: Any) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA busy_timeout = 0")
    connection.execute("PRAGMA query_only = ON")


def _switch_to_wal(connection: SQLiteConnection, until: float) -> None:
    """While another process makes the same switch or folds its log, SQLite refuses this at once, whatever the timeout
    says: so the waiting is ours."""
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except OperationalError as error:
            if not getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY") or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def _begin(connection: Connection) -> None:
    opening = opening_of(connection)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if opening and opening.writes else "BEGIN")


def _distrust(context: ExceptionContext) -> None:
    """A connection remembers pages that it read, and a file that is replaced by now: after such errors all are opened
    anew, so that a mended database is served without a restart."""
    name = getattr(context.original_exception, "sqlite_errorname", "")
    if name.startswith(_BROKEN):
        context.is_disconnect = True
