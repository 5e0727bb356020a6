"""Databases of every kind, whatever the cell of the grid: these suites are about them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from steelyard.server.db.engine import Database
from steelyard.server.db.migrate import migrate
from tests.house.postgres import postgres_url


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/steelyard.sqlite3"
    return postgres_url(migrated=False)


@pytest.fixture
def empty(empty_url: str) -> Iterator[Database]:
    """A database without tables."""
    database = Database(empty_url)
    yield database
    database.close()


@pytest.fixture
def database(empty: Database) -> Database:
    """A database with this release's tables."""
    migrate(empty)
    return empty
