"""The database: sessions that read, sessions that write, and what its failures are called.

What only one database understands is in `sqlite.py` and `postgres.py`; everybody else sees `Database`.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from threading import BoundedSemaphore
from time import monotonic
from typing import TypeVar

from sqlalchemy import URL, Connection, Engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from steelyard.server.db import sqlite
from steelyard.server.db.openings import OPENING, Opening
from steelyard.server.errors import DatabaseTimeout, RegistryError
from steelyard.server.watching import UNWATCHED, Watch

log = logging.getLogger(__name__)
T = TypeVar("T")
_BATCH = 500
_BUSY = "The database is busy: no connection became free in time. Try again."
_UNKNOWN = (
    "The connection to the database was lost while the change was being committed, so it may have been kept or not. "
    "Look before you try again."
)
_WANTED = (
    "STEELYARD_DATABASE is postgresql://user:password@host/database; leave it unset to keep the metadata in SQLite"
)


@dataclass(frozen=True, slots=True)
class _Kind:
    """A database that the registry can stand on. So many `writers` of one process ask for its lock at a time."""

    open_engine: Callable[[URL, float], Engine]
    open_glances: Callable[[URL], Engine | None]
    name_failure: Callable[[DBAPIError], RegistryError | None]
    writers: int
    writers_beside: int


class Database:
    """An engine and the two ways to use it. `read()` and `write()` raise `DatabaseFailed` or `DatabaseTimeout`."""

    def __init__(self, url: str, *, timeout_seconds: float = 5.0, watch: Watch = UNWATCHED) -> None:
        parsed = parse_url(url)
        kind = _kind_of(parsed)
        self.url = url
        self.engine = kind.open_engine(parsed, timeout_seconds)
        self._glances = kind.open_glances(parsed)
        self._kind = kind
        self._timeout_seconds, self._watch = timeout_seconds, watch
        self._writers, self._beside = BoundedSemaphore(kind.writers), BoundedSemaphore(kind.writers_beside)

    @property
    def is_sqlite(self) -> bool:
        """Whether it is one file, which only the processes of this machine can open."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self, *, patient: bool = False) -> Iterator[Session]:
        """A session on one consistent view of the data. Nothing that it changes is kept.

        The statements of a `patient` one may take as long as they need: for maintenance, never for a request.
        """
        opening = Opening(monotonic() + self._timeout_seconds, patient=patient)
        with (
            self._watch.work("database", "read"),
            self._translated(),
            Session(self.engine, expire_on_commit=False, autoflush=False) as session,
        ):
            self._open(session, opening)
            yield session

    @property
    def engines(self) -> Sequence[Engine]:
        """All that statements go through."""
        return [self.engine] if self._glances is None else [self.engine, self._glances]

    def glance(self, look: Callable[[Connection], T]) -> T | None:
        """What `look` finds on one consistent view of the data, without waiting: for the event loop.

        None where that cannot be had, as from a database that is asked over a network, or one that is locked or broken:
        whoever wanted it reads as everybody does, and learns what is wrong. What `look` raises otherwise goes through.
        """
        if self._glances is None:
            return None
        try:
            with self._watch.work("database", "read"), self._glances.connect() as connection:
                return look(connection)
        except (DBAPIError, PoolTimeout):
            return None

    @contextmanager
    def write(self, *, beside: bool = False, patient: bool = False) -> Iterator[Session]:
        """One transaction: committed when the block ends, rolled back when it raises. One at a time in all processes.

        One that touches nothing but rows of its own may run `beside` others that do so. The statements of a `patient`
        one may take as long as they need.
        """
        opening = Opening(monotonic() + self._timeout_seconds, writes=True, beside=beside, patient=patient)
        kind = "beside" if beside else "write"
        with self._watch.work("database", kind), ExitStack() as held:
            with self._watch.work("lock", kind):
                held.enter_context(self._turn(opening))
                held.enter_context(self._translated())
                session = held.enter_context(Session(self.engine, expire_on_commit=False))
                self._open(session, opening)
            yield session
            session.flush()
            with self._committing():
                session.commit()

    def check(self) -> None:
        """Raise when the database does not answer with something that is stored in it."""
        with self.read() as session:
            session.execute(text("SELECT version_num FROM alembic_version"))

    def close(self) -> None:
        """Let go of every connection."""
        for engine in self.engines:
            engine.dispose()

    def _open(self, session: Session, opening: Opening) -> None:
        """Begin the transaction; once more where a connection that had lain in the pool turns out to be dead.

        Nothing was done on it yet, and a database that was restarted is so served again at once.
        """
        try:
            session.connection(execution_options={OPENING: opening})
        except DBAPIError as error:
            if not error.connection_invalidated or opening.seconds_left <= 0:
                raise
            session.rollback()
            session.connection(execution_options={OPENING: opening})

    @contextmanager
    def _turn(self, opening: Opening) -> Iterator[None]:
        """Wait in this process first, so that those who wait for the database's lock do not hold all connections."""
        turn = self._beside if opening.beside else self._writers
        if not turn.acquire(timeout=opening.seconds_left):
            raise DatabaseTimeout(_BUSY)
        try:
            yield
        finally:
            turn.release()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except PoolTimeout as error:
            raise DatabaseTimeout(_BUSY) from error
        except DBAPIError as error:
            named = self._kind.name_failure(error)
            if named is None:
                raise
            log.warning("%s The database said: %s", named.detail, str(error.orig).partition("\n")[0])
            raise named from error

    @contextmanager
    def _committing(self) -> Iterator[None]:
        """Only here can a failure leave open what became of the change."""
        try:
            yield
        except DBAPIError as error:
            named = self._kind.name_failure(error)
            if named is None or not error.connection_invalidated:
                raise
            log.warning("%s The database said: %s", _UNKNOWN, str(error.orig).partition("\n")[0])
            raise type(named)(_UNKNOWN) from error


def parse_url(url: str) -> URL:
    """A database's URL. Raises `ValueError`, which repeats nothing of it: there may be a password in it."""
    try:
        return make_url(url)
    except (ArgumentError, ValueError):  # the latter for what stands where a port should
        raise ValueError(_WANTED) from None


def _kind_of(url: URL) -> _Kind:
    """What a URL asks for; raises `ValueError` for what the registry cannot stand on."""
    if url.get_backend_name() == "sqlite":
        return _Kind(
            sqlite.open_engine, sqlite.open_glances, sqlite.name_failure, sqlite.CONNECTIONS, sqlite.CONNECTIONS
        )
    if url.drivername not in ("postgresql", "postgresql+psycopg"):
        raise ValueError(_WANTED)
    try:
        from steelyard.server.db import postgres
    except ImportError as error:
        raise ValueError("PostgreSQL needs a driver: pip install 'steelyard[server,postgres]'") from error
    return _Kind(
        postgres.open_engine, lambda _url: None, postgres.name_failure, postgres.WRITERS, postgres.WRITERS_BESIDE
    )


def in_batches(items: Iterable[T]) -> Iterator[list[T]]:
    """The items, at most as many at a time as every database takes in one `IN (…)`."""
    rest = iter(items)
    while some := list(islice(rest, _BATCH)):
        yield some
