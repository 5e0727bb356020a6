"""The database: sessions that read, sessions that write, and what its failures are called.

SQLite is the embedded default: write-ahead log, one writer at a time (`BEGIN IMMEDIATE`, so that a transaction never
finds out halfway that it may not write), every commit on disk before it is answered.
"""

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from sqlite3 import Connection as SQLiteConnection
from sqlite3 import OperationalError
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from steelyard.server.errors import DatabaseFailed, DatabaseTimeout, RegistryError

T = TypeVar("T")
_BATCH = 500
_WRITES = "steelyard_writes"
_BROKEN = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY")
_POOL_SIZE = 48  # more than the threads that serve requests, so that none of them waits for a connection


class Database:
    """An engine and the two ways to use it. `read()` and `write()` raise `DatabaseFailed` or `DatabaseTimeout`."""

    def __init__(self, url: str, *, timeout_seconds: float = 5.0) -> None:
        self.url = url
        self.engine = _create_engine(url, timeout_seconds)
        self._writing = self.engine.execution_options(**{_WRITES: True})

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session on one consistent view of the data. Nothing that it changes is kept."""
        with _translated(), Session(self.engine, expire_on_commit=False, autoflush=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction: committed when the block ends, rolled back when it raises."""
        with _translated(), Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session

    def check(self) -> None:
        """Raise when the database does not answer with something that is stored in it."""
        with self.read() as session:
            session.execute(text("SELECT version_num FROM alembic_version"))

    def close(self) -> None:
        """Let go of every connection."""
        self.engine.dispose()


def _create_engine(url: str, timeout_seconds: float) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        raise ValueError("this release keeps its metadata in SQLite; leave STEELYARD_DATABASE unset or use sqlite:///…")
    if parsed.database:
        file = Path(parsed.database)
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.touch(mode=0o600)  # it holds the keys that tickets are signed with; the log beside it takes its mode
    engine = create_engine(
        parsed,
        pool_size=_POOL_SIZE,
        pool_timeout=timeout_seconds,
        connect_args={"timeout": timeout_seconds},
        hide_parameters=True,  # errors are logged, and parameters may be people's data
    )
    event.listen(engine, "connect", partial(_prepare_sqlite, timeout_seconds=timeout_seconds))
    event.listen(engine, "begin", _begin_sqlite)
    event.listen(engine, "handle_error", _distrust)
    return engine


def _prepare_sqlite(connection: SQLiteConnection, _record: Any, *, timeout_seconds: float) -> None:
    connection.isolation_level = None  # Python's driver must not begin transactions by itself: we do, below
    connection.execute(f"PRAGMA busy_timeout = {int(timeout_seconds * 1000)}")
    _switch_to_wal(connection, time.monotonic() + timeout_seconds)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


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


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _distrust(context: ExceptionContext) -> None:
    """A connection remembers pages that it read, and a file that is replaced by now: after such errors all are opened
    anew, so that a mended database is served without a restart."""
    name = getattr(context.original_exception, "sqlite_errorname", "")
    if name.startswith(_BROKEN):
        context.is_disconnect = True


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except RegistryError:
        raise
    except PoolTimeout as error:
        raise DatabaseTimeout("The database is busy: no connection became free in time. Try again.") from error
    except (IntegrityError, ProgrammingError, DataError, NotSupportedError):
        raise  # a fault of ours, not of the database
    except DBAPIError as error:
        raise _named(error) from error


def _named(error: DBAPIError) -> RegistryError:
    """Locked, full, broken: the words of SQLite's own messages are the only thing its driver gives us."""
    words = str(error.orig).lower()
    if "locked" in words or "busy" in words:
        return DatabaseTimeout("The database is locked by another process and did not answer in time. Try again.")
    if "full" in words:
        return DatabaseFailed("The database's disk is full. Nothing was changed; the operator must make room.")
    return DatabaseFailed("The database answered with an error. Nothing was changed; the operator finds it in the log.")


def in_batches(items: Collection[T]) -> Iterator[list[T]]:
    """The items, at most as many at a time as every database takes in one `IN (…)`."""
    rest = iter(items)
    while some := list(islice(rest, _BATCH)):
        yield some
