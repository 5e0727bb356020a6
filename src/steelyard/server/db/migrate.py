"""Bringing a database to this release's tables, and back. Alembic does the work, inside one write transaction.

The transaction is the lock: when several processes start at once, one migrates and the others find it done. Alembic is
loaded only where there is something to do: it takes 10 MB and 90 ms, and hardly any start has to migrate.
"""

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sqlalchemy import inspect, text
from sqlalchemy.orm import Session

from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Table
from steelyard.server.errors import DatabaseFailed

if TYPE_CHECKING:
    from alembic.config import Config

_SCRIPTS = Path(__file__).parent / "migrations"
_NUMBERED = re.compile(r"[0-9]{4}_\w+\.py")
UNFINISHED = "copy-"  # begins the revision of a database that is being copied into: nobody serves it by mistake


def migrate(database: Database, revision: str = "head") -> None:
    """Upgrade to `revision`. Raises `DatabaseTimeout` when another process holds the database too long,
    and `DatabaseFailed` for a database that a newer release made."""
    if revision == "head" and standing(database) == "current":
        return
    from alembic import command
    from alembic.util import CommandError

    try:
        with database.write(patient=True) as session:
            _refuse_narrow(session)
            command.upgrade(_config(session), revision)
    except CommandError as error:
        if standing(database) == "unfinished":
            raise DatabaseFailed("The database is a copy that was not ended. Run the same `copy` again.") from error
        raise DatabaseFailed(
            f"The database was made by a newer steelyard than this one: {error}. Upgrade it."
        ) from error


def _refuse_narrow(session: Session) -> None:
    """PostgreSQL's databases may be of an encoding that cannot hold what people write."""
    if session.connection().dialect.name != "postgresql":
        return
    encoding = session.execute(text("SHOW server_encoding")).scalar()
    if encoding != "UTF8":
        raise DatabaseFailed(
            f"The database keeps its texts as {encoding}, which cannot hold every one. "
            "Make it anew: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0."
        )


def downgrade(database: Database, revision: str) -> None:
    """Go back to `revision` (`base` for an empty database)."""
    from alembic import command

    with database.write(patient=True) as session:
        command.downgrade(_config(session), revision)


Standing = Literal["empty", "behind", "current", "ahead", "unfinished"]


def migrate_in(session: Session) -> None:
    """Upgrade to this release in a transaction of the caller's."""
    from alembic import command

    command.upgrade(_config(session), "head")


def read_revision(session: Session) -> str | None:
    """What the database says of its tables; None for one without."""
    if not inspect(session.connection()).has_table("alembic_version"):
        return None
    revision: str | None = session.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def set_revision(session: Session, revision: str) -> None:
    """Say something else of the tables, which stay as they are."""
    session.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})


def head() -> str:
    """This release's revision."""
    return revisions()[-1]


@cache
def revisions() -> tuple[str, ...]:
    """This release's and all before it, oldest first: each migration is named after its own, and follows the one of
    the name before it."""
    return tuple(sorted(file.name[:4] for file in (_SCRIPTS / "versions").iterdir() if _NUMBERED.fullmatch(file.name)))


def standing(database: Database) -> Standing:
    """How a database's tables stand to this release; `unfinished` where they are a copy that was not ended."""
    with database.read() as session:
        revision = read_revision(session)
    if revision is None:
        return "empty"
    if revision.startswith(UNFINISHED):
        return "unfinished"
    if revision == head():
        return "current"
    return "behind" if revision in revisions() else "ahead"


def differences(database: Database) -> list[object]:
    """What the tables in code and in the database do not agree on; empty when migrations are complete."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with database.read() as session:
        return list(compare_metadata(MigrationContext.configure(session.connection()), Table.metadata))


def draft_revision(database: Database, message: str, revision_id: str) -> None:
    """Write a new migration from the difference between code and database (for developers)."""
    from alembic import command

    with database.write(patient=True) as session:
        command.revision(_config(session), message, autogenerate=True, rev_id=revision_id)


def _config(session: Session) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["connection"] = session.connection()
    return config
