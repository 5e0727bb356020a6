"""Bringing a database to this release's tables, and back. Alembic does the work, inside one write transaction.

The transaction is the lock: when several processes start at once, one migrates and the others find it done.
"""

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy.orm import Session

from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Table
from steelyard.server.errors import DatabaseFailed


def migrate(database: Database, revision: str = "head") -> None:
    """Upgrade to `revision`. Raises `DatabaseTimeout` when another process holds the database too long,
    and `DatabaseFailed` for a database that a newer release made."""
    try:
        with database.write() as session:
            command.upgrade(_config(session), revision)
    except CommandError as error:
        raise DatabaseFailed(
            f"The database was made by a newer steelyard than this one: {error}. Upgrade it."
        ) from error


def downgrade(database: Database, revision: str) -> None:
    """Go back to `revision` (`base` for an empty database)."""
    with database.write() as session:
        command.downgrade(_config(session), revision)


def differences(database: Database) -> list[object]:
    """What the tables in code and in the database do not agree on; empty when migrations are complete."""
    with database.read() as session:
        return list(compare_metadata(MigrationContext.configure(session.connection()), Table.metadata))


def draft_revision(database: Database, message: str, revision_id: str) -> None:
    """Write a new migration from the difference between code and database (for developers)."""
    with database.write() as session:
        command.revision(_config(session), message, autogenerate=True, rev_id=revision_id)


def _config(session: Session) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = session.connection()
    return config
