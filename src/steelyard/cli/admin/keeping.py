"""`steelyard admin backup` and `restore`: the embedded default in a folder, and back."""

from pathlib import Path
from typing import Any

import click

from steelyard.cli.admin.opening import DIFFERENCE_FOUND, answer, json_flag, opened, telling
from steelyard.server.db.engine import Database
from steelyard.server.jobs.backup import Copied, copy_registry
from steelyard.server.settings import DATABASE_NAME, Settings
from steelyard.server.storage.local import LocalStore


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@json_flag
@click.pass_obj
def backup(settings: Settings, target: Path, as_json: bool) -> None:
    """Copy the registry into the folder TARGET, every byte verified; the server may run meanwhile."""
    _refuse_remote(settings)
    with opened(settings) as (database, store):
        done = copy_registry(database, store, target)
    _tell_copied(as_json, {"target": str(target), "copied_bytes": done.copied_bytes}, done, target)


def _refuse_remote(settings: Settings) -> None:
    """What keeps its metadata elsewhere is backed up there: one moment of the database, then the bytes it names."""
    if settings.database and not settings.database.startswith("sqlite"):
        raise click.UsageError(
            "backup is for a registry with an embedded database. Back this one up with the tools of its engines: "
            "first `pg_dump --format=custom` of the database, then a copy of the bucket (bytes never change, so what "
            "the dump names is there); or `steelyard admin copy` it into a folder. See docs/operations.md."
        )


@click.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
@json_flag
@click.pass_obj
def restore(settings: Settings, source: Path, as_json: bool) -> None:
    """Make a data directory (--data) from the backup in the folder SOURCE, every byte verified."""
    if settings.database or settings.store:
        raise click.UsageError(
            "restore makes an embedded registry: leave STEELYARD_DATABASE and STEELYARD_STORE unset. From there "
            "`steelyard admin copy` moves it to a PostgreSQL and an S3 store."
        )
    if not (source / DATABASE_NAME).exists():
        raise click.ClickException(f"{source} holds no whole backup: {DATABASE_NAME} is missing.")
    with telling():
        database = Database(f"sqlite:///{(source / DATABASE_NAME).absolute()}")
        try:
            done = copy_registry(database, LocalStore(source / "store"), settings.data)
        finally:
            database.close()
    _tell_copied(as_json, {"data": str(settings.data)}, done, settings.data)


def _tell_copied(as_json: bool, document: dict[str, Any], done: Copied, target: Path) -> None:
    lines = [f"lost: {oid}" for oid in done.lost] + [f"{done.blobs} blobs, {done.bytes} bytes in {target}"]
    document |= {"blobs": done.blobs, "bytes": done.bytes, "lost": list(done.lost)}
    answer(as_json, document, "\n".join(lines))
    if done.lost:
        raise SystemExit(DIFFERENCE_FOUND)
