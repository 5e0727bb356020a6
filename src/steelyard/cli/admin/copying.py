"""`steelyard admin copy`: a registry to another database and another store."""

import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from steelyard.cli.admin.opening import DIFFERENCE_FOUND, answer, json_flag, opened, telling
from steelyard.cli.serve import sole_server
from steelyard.server.app import open_store
from steelyard.server.db.engine import Database
from steelyard.server.jobs.copying import Moved, Pass, Place, Tell, copy_ahead, finish
from steelyard.server.settings import Settings, SettingsOfFile

NOT_YET = 5  # the state of things forbids it, as everywhere in the command
_TELL_SECONDS = 5.0
_WAITING = (
    "Everything that was there is copied, and the copy is not ended: {why}. What is written to the source from now on "
    "has to come along, so stop its servers and run the same command again: it takes what is new, then all rows. "
    "(--snapshot ends the copy while they run; what is written after it stays behind.)"
)


@click.command("copy")
@click.option(
    "--to", nargs=2, metavar="DATABASE STORE", help="URL of the database; s3://bucket/prefix or a new data folder."
)
@click.option(
    "--to-settings",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The steelyard.toml of the new servers, instead of --to; keeps passwords off the command line.",
)
@click.option("--snapshot", is_flag=True, help="End the copy although servers run on the source, or may do.")
@json_flag
@click.pass_obj
def copy(
    settings: Settings, to: tuple[str, str] | None, to_settings: Path | None, snapshot: bool, as_json: bool
) -> None:
    """Copy the registry to another, empty database and store, every byte verified by its digest.

    The source's server may run while the bytes are copied, and readers are served all the time. The rows come last,
    when it is stopped: until then the command ends with exit code 5 and is to be run again, as after a kill at any
    moment; it goes on where it was. Nobody can serve a copy that is not ended. Tokens and links work on at the target.
    """
    target = _target(settings, to, to_settings)
    with opened(settings) as (database, store), _opened_target(target) as there, ExitStack() as held:
        source, tell = Place(database, store), _tell_now_and_then()
        ahead = copy_ahead(source, there, tell)
        why = None if snapshot else _hold_off_servers(settings, held)
        moved = None if why else finish(source, there, ahead, tell)
    if moved is None:
        answer(as_json, {"ended": False, "why": why, **_bytes(ahead)}, _WAITING.format(why=why))
        raise SystemExit(NOT_YET)
    _answer_moved(as_json, moved)
    if moved.bytes.lost:
        raise SystemExit(DIFFERENCE_FOUND)


def _target(settings: Settings, to: tuple[str, str] | None, file: Path | None) -> Settings:
    if (to is None) == (file is None):
        raise click.UsageError("Say where to: --to DATABASE STORE, or --to-settings FILE.")
    if to is not None:
        database, store = to
        remote = store.startswith("s3://")
        where = {"store": store} if remote else {"store": None, "data": Path(store)}
        return settings.model_copy(update={"database": database, **where})
    assert file is not None
    try:
        return SettingsOfFile(**tomllib.loads(file.read_text("utf-8")))
    except (ValidationError, ValueError) as error:
        raise click.UsageError(f"{file} holds no settings: {error}") from error


@contextmanager
def _opened_target(target: Settings) -> Iterator[Place]:
    if target.store == "memory:":
        raise click.UsageError("The target's store is memory, which ends with this command.")
    with (
        telling(),
        closing(Database(target.database_url, timeout_seconds=target.database_timeout_seconds)) as database,
    ):
        yield Place(database, open_store(target))


def _hold_off_servers(settings: Settings, held: ExitStack) -> str | None:
    """Let none start on the source; answers why that cannot be."""
    if not settings.keeps_files:
        return "whether servers run on this source cannot be seen from here"
    try:
        held.enter_context(sole_server(settings.data))
    except OSError as error:
        return str(error)
    return None


def _tell_now_and_then() -> Tell:
    """Say on standard error how far it is, without a line for every page."""
    told_at = time.monotonic()

    def tell(text: str) -> None:
        nonlocal told_at
        if time.monotonic() - told_at > _TELL_SECONDS:
            told_at = time.monotonic()
            click.echo(text, err=True)

    return tell


def _bytes(done: Pass) -> dict[str, Any]:
    return {
        "blobs": done.blobs,
        "bytes": done.bytes,
        "copied_blobs": done.copied,
        "copied_bytes": done.copied_bytes,
        "lost": list(done.lost),
    }


def _answer_moved(as_json: bool, moved: Moved) -> None:
    document = {"ended": True, **_bytes(moved.bytes), "rows": dict(moved.rows), "uploads_left": moved.uploads}
    lines = [f"lost: {oid}" for oid in moved.bytes.lost]
    lines += [f"{count:>9} rows in {name}" for name, count in moved.rows.items() if count]
    lines.append(f"{moved.bytes.blobs} blobs, {moved.bytes.bytes} bytes, each verified by its digest")
    if moved.uploads:
        lines.append(f"{moved.uploads} unfinished uploads stayed behind: whoever pushes again begins them anew")
    answer(as_json, document, "\n".join([*lines, "The copy is whole. Start the new servers on it."]))
