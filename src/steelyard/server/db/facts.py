"""What a database says of itself: for whoever examines a registry, never for a request."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

from sqlalchemy import inspect, text
from sqlalchemy.orm import Session

from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Garbage


@dataclass(frozen=True, slots=True)
class Facts:
    """`name` with its version; what PostgreSQL alone knows is None for SQLite. `clock_seconds` is how far its clock is
    ahead of this machine's."""

    name: str
    latency_seconds: float
    journal: str | None = None
    major: int | None = None
    encoding: str | None = None
    reads_only: bool = False
    most_connections: int | None = None
    makes_tables: bool = True
    clock_seconds: float | None = None


def read_facts(database: Database) -> Facts:
    """Ask for all of them."""
    with database.read() as session:
        began = monotonic()
        session.execute(text("SELECT 1"))
        latency_seconds = monotonic() - began
        read = _sqlite if database.is_sqlite else _postgres
        return read(session, latency_seconds)


def _sqlite(session: Session, latency_seconds: float) -> Facts:
    version = session.scalar(text("SELECT sqlite_version()"))
    return Facts(f"SQLite {version}", latency_seconds, journal=str(session.scalar(text("PRAGMA journal_mode"))))


def _postgres(session: Session, latency_seconds: float) -> Facts:
    before = datetime.now(UTC)
    theirs = session.scalars(text("SELECT clock_timestamp()")).one()
    ours = before + (datetime.now(UTC) - before) / 2
    row = session.execute(
        text(
            "SELECT current_setting('server_version'), current_setting('server_version_num')::int / 10000,"
            " current_setting('server_encoding'), current_setting('max_connections')::int,"
            " pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool,"
            " coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)"
        )
    ).one()
    version, major, encoding, most_connections, reads_only, makes_tables = row
    return Facts(
        f"PostgreSQL {version}",
        latency_seconds,
        major=major,
        encoding=encoding,
        reads_only=reads_only,
        most_connections=most_connections,
        makes_tables=makes_tables,
        clock_seconds=(theirs - ours).total_seconds(),
    )


def list_tables(database: Database) -> list[str]:
    """The tables that are there, whosoever they are."""
    with database.read() as session:
        return inspect(session.connection()).get_table_names()


class _Undone(Exception):
    """Ends a transaction that was only tried."""


def try_to_write(database: Database) -> None:
    """Write a row as any request would, and take it back. Raises what a request would get."""
    with suppress(_Undone), database.write() as session:
        session.add(Garbage(key="written by doctor and taken back"))
        session.flush()
        raise _Undone
