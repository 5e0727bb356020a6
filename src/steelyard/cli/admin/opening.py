"""What every command of `steelyard admin` begins with, a registry that is there, and ends with, text or JSON."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import click

from steelyard.cli.serve import cause_of
from steelyard.server.app import open_store
from steelyard.server.core.xet.layouts import open_chunked
from steelyard.server.db.engine import Database
from steelyard.server.db.migrate import migrate, standing
from steelyard.server.errors import RegistryError
from steelyard.server.settings import DATABASE_NAME, Settings
from steelyard.server.storage import BlobStore

DIFFERENCE_FOUND = 1  # the exit code of `verify`, too

json_flag = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


@contextmanager
def opened(settings: Settings) -> Iterator[tuple[Database, BlobStore]]:
    """Database and store of a registry whose tables are this release's. They are migrated by `serve` alone: old servers
    may run on them, and would not notice."""
    if not settings.database and not (settings.data / DATABASE_NAME).exists():
        raise click.ClickException(f"There is no registry in {settings.data}. Name its folder with --data.")
    with telling(), closing(_open_database(settings)) as database:
        if standing(database) == "empty":
            raise click.ClickException("There is no registry in this database. Is STEELYARD_DATABASE right?")
        if standing(database) == "behind":
            raise click.ClickException(
                "The tables are those of an older release. Use its `steelyard admin` until `steelyard serve` of this "
                "release has migrated them; docs/operations.md has the steps of an upgrade."
            )
        migrate(database)  # to nothing else; but it says what is wrong with a newer one, or with half a copy
        yield database, open_chunked(open_store(settings), database)


def _open_database(settings: Settings) -> Database:
    return Database(settings.database_url, timeout_seconds=settings.database_timeout_seconds)


@contextmanager
def telling() -> Iterator[None]:
    """Failures of the registry, in the words that they have there, with what the engine itself said; settings that
    no engine understands."""
    try:
        yield
    except RegistryError as error:
        raise click.ClickException(f"{error.detail}{cause_of(error)}") from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def answer(as_json: bool, document: dict[str, Any], text: str) -> None:
    """Either of the two."""
    click.echo(json.dumps(document) if as_json else text)
