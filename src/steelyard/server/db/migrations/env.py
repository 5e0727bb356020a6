"""Alembic's entry: migrates over the one connection that `migrate` or a developer's command hands it."""

from alembic import context
from sqlalchemy import Connection

from steelyard.server.db.tables import Table


def run(connection: Connection) -> None:
    """Migrate in the transaction that the connection is in."""
    context.configure(connection=connection, target_metadata=Table.metadata, render_as_batch=True, compare_type=True)
    context.run_migrations()


run(context.config.attributes["connection"])
