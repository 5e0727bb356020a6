"""`steelyard admin …`: for whoever holds the data directory. Works on it directly; no server is asked."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from steelyard.cli.serve import cause_of, read_settings
from steelyard.server.app import open_store
from steelyard.server.core.accounts import recover_token
from steelyard.server.db.engine import Database
from steelyard.server.db.migrate import migrate
from steelyard.server.errors import RegistryError
from steelyard.server.jobs.backup import Copied, copy_registry
from steelyard.server.jobs.check import check
from steelyard.server.jobs.gc import Collected, collect, preview
from steelyard.server.settings import DATABASE_NAME, Settings
from steelyard.server.storage import BlobStore
from steelyard.server.storage.local import LocalStore

DIFFERENCE_FOUND = 1  # the exit code of `verify`, too


@click.group()
@click.option("--data", metavar="DIR", help="Data directory [default: as for `serve`].")
@click.pass_context
def admin(context: click.Context, data: str | None) -> None:
    """Look after a registry's data directory."""
    context.obj = read_settings({"data": data})


@contextmanager
def _opened(settings: Settings) -> Iterator[tuple[Database, BlobStore]]:
    if not settings.database and not (settings.data / DATABASE_NAME).exists():
        raise click.ClickException(f"There is no registry in {settings.data}. Name its folder with --data.")
    database = Database(settings.database_url, timeout_seconds=settings.database_timeout_seconds)
    try:
        migrate(database)
        yield database, open_store(settings)
    except RegistryError as error:
        raise click.ClickException(f"{error.detail}{cause_of(error)}") from error
    finally:
        database.close()


def _answer(as_json: bool, document: dict[str, Any], text: str) -> None:
    click.echo(json.dumps(document) if as_json else text)


_json_flag = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


@admin.command()
@click.argument("user")
@_json_flag
@click.pass_obj
def token(settings: Settings, user: str, as_json: bool) -> None:
    """Make a new token for USER, when the last one is lost. Works without a server."""
    with _opened(settings) as (database, _), database.write() as session:
        made = recover_token(session, user)
    _answer(as_json, {"username": user, "key": made.secret}, made.secret)


@admin.command()
@click.option("--dry-run", is_flag=True, help="Say what would go, and why; change nothing.")
@click.option("--grace-seconds", type=click.IntRange(0), help="Keep what was needed this short ago.")
@_json_flag
@click.pass_obj
def gc(settings: Settings, dry_run: bool, grace_seconds: int | None, as_json: bool) -> None:
    """Remove bytes that nothing needs, also while the server runs."""
    grace = settings.gc_grace_seconds if grace_seconds is None else grace_seconds
    run = preview if dry_run else collect
    with _opened(settings) as (database, store):
        found = run(database, store, grace_seconds=grace, upload_ttl_seconds=settings.upload_ttl_seconds)
        later = preview(database, store, grace_seconds=0, upload_ttl_seconds=settings.upload_ttl_seconds)
    waiting = later.freed_bytes - (found.freed_bytes if dry_run else 0)
    document = {**_collected(found, dry_run=dry_run), "waiting_bytes": waiting}
    told = _told(found, dry_run=dry_run)
    _answer(as_json, document, f"{told}; {waiting} bytes wait for their grace (--grace-seconds 0 takes them now)")


def _collected(found: Collected, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "freed_bytes": found.freed_bytes,
        "blobs": [{"name": name, "size": size} for name, size in found.blobs],
        "orphans": [{"name": name, "size": size} for name, size in found.orphans],
        "uploads": found.uploads,
    }


def _told(found: Collected, *, dry_run: bool) -> str:
    lines = [f"{name}  {size} bytes  no version and no upload needs it" for name, size in found.blobs]
    lines += [f"{name}  {size} bytes  left by an upload that never ended" for name, size in found.orphans]
    verb = "would be freed" if dry_run else "freed"
    return "\n".join([*lines, f"{found.freed_bytes} bytes {verb}; {found.uploads} unfinished uploads expired"])


@admin.command("check")
@_json_flag
@click.pass_obj
def check_(settings: Settings, as_json: bool) -> None:
    """Read and hash every byte: is all there that versions need? Exit code 1 when something is lost."""
    with _opened(settings) as (database, store):
        found = check(database, store)
    rows = [{"kind": f.kind, "name": f.name, "size": f.size_bytes} for f in found.findings]
    lines = [f"{f.kind}: {f.name} ({f.size_bytes} bytes)" for f in found.findings]
    text = "\n".join([*lines, f"{found.blobs} blobs, {found.bytes} bytes, {len(lines)} findings"])
    _answer(as_json, {"blobs": found.blobs, "bytes": found.bytes, "sound": found.is_sound, "findings": rows}, text)
    if not found.is_sound:
        raise SystemExit(DIFFERENCE_FOUND)


@admin.command()
@click.argument("target", type=click.Path(path_type=Path))
@_json_flag
@click.pass_obj
def backup(settings: Settings, target: Path, as_json: bool) -> None:
    """Copy the registry into the folder TARGET, every byte verified; the server may run meanwhile."""
    with _opened(settings) as (database, store):
        done = copy_registry(database, store, target)
    _tell_copied(as_json, {"target": str(target), "copied_bytes": done.copied_bytes}, done, target)


@admin.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
@_json_flag
@click.pass_obj
def restore(settings: Settings, source: Path, as_json: bool) -> None:
    """Make a data directory (--data) from the backup in the folder SOURCE, every byte verified."""
    if settings.database or settings.store:
        raise click.UsageError("restore makes an embedded registry: leave STEELYARD_DATABASE and STEELYARD_STORE unset")
    if not (source / DATABASE_NAME).exists():
        raise click.ClickException(f"{source} holds no whole backup: {DATABASE_NAME} is missing.")
    database = Database(f"sqlite:///{(source / DATABASE_NAME).absolute()}")
    try:
        done = copy_registry(database, LocalStore(source / "store"), settings.data)
    except RegistryError as error:
        raise click.ClickException(error.detail) from error
    finally:
        database.close()
    _tell_copied(as_json, {"data": str(settings.data)}, done, settings.data)


def _tell_copied(as_json: bool, document: dict[str, Any], done: Copied, target: Path) -> None:
    lines = [f"lost: {oid}" for oid in done.lost] + [f"{done.blobs} blobs, {done.bytes} bytes in {target}"]
    document |= {"blobs": done.blobs, "bytes": done.bytes, "lost": list(done.lost)}
    _answer(as_json, document, "\n".join(lines))
    if done.lost:
        raise SystemExit(DIFFERENCE_FOUND)
