"""PostgreSQL, for registries of more than one server: every wait for it has a bound, and one writer works at a time.

One advisory lock makes writers queue as SQLite's do (docs/decisions/0011). One message opens a transaction, so that
neither its lock nor its limits cost a round trip; limits are set in the transaction and not on the connection, so that
a pooler between us and the engine may hand each transaction to another one.
"""

import math
from collections.abc import Mapping
from functools import partial
from time import monotonic
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.errors import ConnectionTimeout
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from steelyard.server.db.openings import Opening, opening_of
from steelyard.server.errors import DatabaseFailed, DatabaseTimeout, RegistryError

T = TypeVar("T")
CONNECTIONS = 16  # of one server: six servers fit into the hundred that PostgreSQL takes as it comes
WRITERS, WRITERS_BESIDE = 2, 4  # of these at most: who waits for the lock must not keep readers from connecting
_WRITERS_LOCK = 0x57EE17A8D  # any number that nobody else locks in this database
_LONGEST_STATEMENT_SECONDS = 3600.0  # of maintenance
LONGEST_PAUSE_SECONDS = 5.0  # between two statements of a writer: one whose machine is gone holds the lock no longer
_GRACE_SECONDS = 0.5  # the engine's own words come first, when it has any

_TIMEOUTS: Mapping[str, str] = {
    "55P03": "The database is locked by another writer and did not answer in time. Try again.",
    "57014": "The database took too long to answer. Try again.",
    "25P04": "The database took too long to answer. Try again.",
    "25P03": "The database was kept waiting for too long and gave the change up. Nothing was changed; try again.",
    "40": "The database could not put what was asked at the same time into an order. Try again.",
}
_FAILURES: Mapping[str, str] = {
    "53100": "The database's disk is full. Nothing was changed; the operator must make room.",
    "53300": "The database has no connection left for the registry. Nothing was changed; try again later.",
    "53": "The database is out of memory. Nothing was changed; try again later.",
    "57P": "The database is being stopped or started. Nothing was changed; try again.",
    "25006": "The database only reads: it is a standby, or was told so. Nothing was changed.",
    "28": "The database refuses the registry's user or password. The operator must put that right.",
    "3D000": "There is no database of the configured name. The operator must make it.",
    "42501": "The database's user lacks rights. Nothing was changed; the operator must grant them.",
    "42P01": "A table is missing from the database. Nothing was changed; the operator finds it in the log.",
    "08001": "The database cannot be reached. Nothing was changed; try again.",
    "08": "The connection to the database was lost. Nothing was changed; try again.",
}
_WORDS: Mapping[str, str] = {  # of who could not connect, whom libpq tells no code
    "too many": "53300",
    "remaining connection slots": "53300",
    "authentication failed": "28",
    "no password": "28",
    "pg_hba.conf": "28",
    "does not exist": "3D000",
    "starting up": "57P",
    "shutting down": "57P",
    "recovery mode": "57P",
    "connection failed": "08001",
}


def open_engine(url: URL, timeout_seconds: float) -> Engine:
    """An engine whose transactions begin as their `Opening` says. Connects to nothing yet."""
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=timeout_seconds,
        pool_use_lifo=True,
        use_native_hstore=False,  # else it would be asked for
        connect_args=_bounds(url, timeout_seconds),
        hide_parameters=True,  # errors are logged, and parameters may be people's data
    )
    connect = partial(_connect, timeout_seconds=timeout_seconds, prepare_threshold=_prepare_threshold(url))
    event.listen(engine, "do_connect", connect)
    event.listen(engine, "begin", partial(_begin, timeout_seconds=timeout_seconds))
    return engine


def name_failure(error: DBAPIError) -> RegistryError | None:
    """What went wrong in plain words; None for a fault of ours."""
    code = _code_of(error)
    if isinstance(error.orig, ConnectionTimeout):
        return DatabaseTimeout("The database did not answer in time. Try again.")
    if said := _named(_TIMEOUTS, code):
        return DatabaseTimeout(said)
    if said := _named(_FAILURES, code):
        return DatabaseFailed(said)
    if code[:2] in ("22", "23", "42", "0A"):
        return None
    return DatabaseFailed("The database answered with an error. Nothing was changed; the operator finds it in the log.")


def _code_of(error: DBAPIError) -> str:
    """The SQLSTATE (PostgreSQL's documentation, appendix A), or what stands for it where there is none."""
    code = getattr(error.orig, "sqlstate", None)
    if code == "0A000" and "recovery" in str(error.orig):
        return "25006"  # a standby says so in another way than what is read-only for other reasons
    if code:
        return str(code)
    if not isinstance(error.orig, psycopg.OperationalError | psycopg.InterfaceError):
        return "22"  # what the driver itself refuses to send
    words = str(error.orig)
    return next((code for said, code in _WORDS.items() if said in words), "08")


def _named(names: Mapping[str, str], code: str) -> str | None:
    return next((said for start, said in names.items() if code.startswith(start)), None)


class _Connection(psycopg.Connection[Any]):
    """A connection that does not wait for ever, also when the other end keeps its socket open and says nothing."""

    answer_within_seconds: float = 5.0
    only_reads = False

    def rollback(self) -> None:
        """End the transaction. One that only reads is committed, which keeps as little: at a ROLLBACK the driver
        forgets its prepared statements, and every query of the next request would be parsed and planned anew."""
        if self.only_reads:
            self.commit()
        else:
            super().rollback()

    def wait(self, gen: PQGen[T], *arguments: Any, **more: Any) -> T:
        """Wait for an answer. Too late is as good as never: the connection is closed then."""
        try:
            return super().wait(_until(gen, monotonic() + self.answer_within_seconds), *arguments, **more)
        except ConnectionTimeout:
            self.close()
            raise
        except psycopg.Error as error:
            error.args = (str(error).partition("\n")[0],)  # what follows may be people's data, and errors are logged
            raise


def _until(gen: PQGen[T], deadline: float) -> PQGen[T]:
    """The same exchange with the server, given up at the deadline. The driver comes back ten times a second."""
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if monotonic() >= deadline:
                raise ConnectionTimeout("the server did not answer in time")
            wanted = gen.send(ready)
    except StopIteration as end:
        result: T = end.value
        return result


def _bounds(url: URL, timeout_seconds: float) -> dict[str, Any]:
    """What bounds a wait on a network that is gone. What the URL says goes first."""
    seconds = max(math.ceil(timeout_seconds), 2)  # libpq knows no shorter one
    ours = {
        "connect_timeout": seconds,
        "keepalives_idle": seconds,
        "keepalives_interval": 1,
        "keepalives_count": 3,
        "tcp_user_timeout": int(timeout_seconds * 1000),
        "application_name": "steelyard",
        "client_encoding": "utf8",
    }
    return {name: value for name, value in ours.items() if name not in url.query}


def _prepare_threshold(url: URL) -> int | None:
    """How often a statement is sent before the engine is asked to keep it; never, where a pooler is in between."""
    said = url.query.get("prepare_threshold", "5")
    if said == "none":
        return None
    if isinstance(said, str) and said.isdecimal():
        return int(said)
    raise ValueError("the `prepare_threshold` of STEELYARD_DATABASE is a number or `none`")


def _connect(
    _dialect: Dialect,
    _record: ConnectionPoolEntry,
    args: list[Any],
    chosen: dict[str, Any],
    *,
    timeout_seconds: float,
    prepare_threshold: int | None,
) -> _Connection:
    """Connect, leaving transactions to `_begin`."""
    chosen["prepare_threshold"] = prepare_threshold
    connection = _Connection.connect(*args, autocommit=True, **chosen)
    connection.answer_within_seconds = timeout_seconds + _GRACE_SECONDS
    return connection


def _begin(connection: Connection, *, timeout_seconds: float) -> None:
    opening = opening_of(connection)
    if opening is None:
        connection.exec_driver_sql("BEGIN")
        return
    raw = connection.connection.driver_connection
    assert isinstance(raw, _Connection)
    raw.only_reads = not opening.writes
    raw.answer_within_seconds = opening.seconds_left + _GRACE_SECONDS
    statement_seconds = _LONGEST_STATEMENT_SECONDS if opening.patient else timeout_seconds
    connection.exec_driver_sql(_beginning(opening, statement_seconds), execution_options={"no_parameters": True})
    raw.answer_within_seconds = statement_seconds + _GRACE_SECONDS


def _beginning(opening: Opening, statement_seconds: float) -> str:
    """One message for all that comes first."""
    limit = f"SET LOCAL statement_timeout = {_milliseconds(statement_seconds)}"
    if not opening.writes:
        return f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {limit}"
    lock = "pg_advisory_xact_lock_shared" if opening.beside else "pg_advisory_xact_lock"
    pause = _milliseconds(max(statement_seconds, LONGEST_PAUSE_SECONDS))
    return (
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; "
        f"SET LOCAL idle_in_transaction_session_timeout = {pause}; "
        f"SET LOCAL lock_timeout = {_milliseconds(opening.seconds_left)}; "
        f"SELECT {lock}({_WRITERS_LOCK}); SET LOCAL lock_timeout = 0; {limit}"
    )


def _milliseconds(seconds: float) -> int:
    """At least one, since zero would be for ever."""
    return max(int(seconds * 1000), 1)
