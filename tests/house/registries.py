"""A registry in this process, opened as `serve` opens one and closed after."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from fastapi.testclient import TestClient

from steelyard.server.app import create_app, open_registry
from steelyard.server.core.accounts import create_first_admin
from steelyard.server.db.engine import Database
from steelyard.server.db.migrate import migrate
from steelyard.server.settings import DATABASE_NAME, Settings
from tests.house.grid import settings_for
from tests.house.people import Registered


@contextmanager
def open_registered(**chosen: object) -> Iterator[Registered]:
    """A registry with these settings besides the defaults; `data` is the one that every test names.

    Its database and its store are those of this run's cell of the grid, unless the test names others. Where `data` is
    the data of an earlier one, tokens from then work on, and `admin` is nobody: his is not known here.
    """
    settings = Settings(**{"free_disk_floor_bytes": 0, **settings_for(Path(str(chosen["data"]))), **chosen})  # type: ignore[arg-type]
    _lay_tables(settings)
    registry = open_registry(settings)
    with registry.database.write() as session:
        made = create_first_admin(session, None)
    with TestClient(create_app(registry), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield Registered(client, made.secret if made else "")
    registry.close()


def _lay_tables(settings: Settings) -> None:
    """Where there is no database yet, put one with this release's tables: to make them takes longer than most tests."""
    path = (settings.data / DATABASE_NAME).absolute()
    if settings.database_url == f"sqlite:///{path}" and not path.exists():
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_bytes(_empty_database())


@cache
def _empty_database() -> bytes:
    """A file of SQLite's, migrated from nothing as every server's first start does it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / DATABASE_NAME
        with closing(Database(f"sqlite:///{path}")) as database:
            migrate(database)
        return path.read_bytes()


@contextmanager
def somebody_writing(registered: Registered) -> Iterator[None]:
    """Another process, as good as, holds the one turn to write, and changes nothing."""
    settings = registered.client.app.state.registry.settings  # type: ignore[attr-defined]
    with closing(Database(settings.database_url)) as other, other.write():
        yield
