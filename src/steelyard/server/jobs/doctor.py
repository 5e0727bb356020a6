"""Is every part of the configured registry as it should be, and if not, what is to be done? Needs no running server.

Leaves everything as it was: makes no registry where there is none, migrates nothing, and takes back what it wrote.
"""

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote

from steelyard.server.core.limits import Limiter
from steelyard.server.db.engine import Database, parse_url
from steelyard.server.db.facts import Facts, list_tables, read_facts, try_to_write
from steelyard.server.db.migrate import standing
from steelyard.server.errors import RegistryError
from steelyard.server.jobs.rehearsal import Rehearsal, ask, clock_of
from steelyard.server.openid.opening import open_provider
from steelyard.server.settings import Settings
from steelyard.server.storage import LEAST_PART_BYTES, BlobStore

LEAST_POSTGRES = 14
_SHORT_GRACE_SECONDS = 3600
_LOCAL = ("127.0.0.1", "::1", "localhost")
_SLOW_SECONDS = 0.25
_CLOCK_SECONDS = 5.0
_CONNECTIONS = 16  # db/postgres.py; not imported, since its driver may not be installed

State = Literal["ok", "note", "fault"]
Part = Literal["settings", "database", "store", "limits", "clock", "sign-in"]
OpenStore = Callable[[Settings], BlobStore]


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that was looked at: fine, worth knowing, or at `fault`; and what to do about it."""

    part: Part
    state: State
    what: str
    advice: str = ""


def examine(settings: Settings, open_store: OpenStore) -> list[Note]:
    """All of it. What fails keeps nothing else from being looked at, and no secret is in what is told."""
    parts: list[tuple[Part, Callable[[], Iterator[Note]]]] = [
        ("settings", lambda: _settings(settings)),
        ("database", lambda: _database(settings)),
        ("store", lambda: _store(settings, open_store)),
        ("limits", lambda: _limits(settings)),
        ("sign-in", lambda: _sign_in(settings)),
    ]
    secrets = _secrets(settings)
    notes = [note for part, look in parts for note in _told(part, look)]
    return [Note(n.part, n.state, _redacted(n.what, secrets), _redacted(n.advice, secrets)) for n in notes]


def _told(part: Part, look: Callable[[], Iterator[Note]]) -> Iterator[Note]:
    try:
        yield from look()
    except RegistryError as error:
        yield Note(part, "fault", f"{error.detail}{_cause(error)}", _ADVICE[part])
    except (ValueError, OSError, ImportError) as error:
        yield Note(part, "fault", str(error), _ADVICE[part])


_ADVICE: dict[Part, str] = {
    "settings": "Correct the setting; docs/operations.md lists all of them.",
    "database": "Is `database` right, does the engine run, and may this machine reach it?",
    "store": "Are `store`, `s3_endpoint` and the AWS_* credentials right, does the bucket exist, and may they write?",
    "limits": "Is `limits` right, and does the engine run? Until then each server counts by itself.",
    "clock": "Let all machines take their time from one source (NTP).",
    "sign-in": "Is `oidc_issuer` what the provider calls itself, to the letter, and may this machine reach it?",
}


def _cause(error: RegistryError) -> str:
    """What the engine itself said."""
    said = str(getattr(error.__cause__, "orig", None) or error.__cause__ or "").strip()
    return f" ({said})" if said and said not in error.detail else ""


# --- secrets


def _secrets(settings: Settings) -> set[str]:
    """What must never be shown, as it is written in URLs and as it is meant."""
    urls = (settings.database, settings.limits, settings.s3_endpoint, settings.s3_public_endpoint)
    found: set[str | None] = {secret for url in urls if url for secret in _passwords(url)}
    found |= {os.environ.get(name) for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PGPASSWORD")}
    kept = (settings.admin_token, settings.oidc_client_secret)
    found |= {secret.get_secret_value() for secret in kept if secret is not None}
    known = {secret for secret in found if secret}
    return known | {unquote(secret) for secret in known} | {quote(secret, safe="") for secret in known}


def _passwords(url: str) -> list[str]:
    """By hand: a URL that cannot be parsed may have one, too."""
    user = url.partition("://")[2].rpartition("@")[0]
    return [user.partition(":")[2], *re.findall(r"[?&]password=([^&]+)", url)]


def _redacted(text: str, secrets: set[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


# --- settings


def _settings(settings: Settings) -> Iterator[Note]:
    odd = [
        Note("settings", state, what, advice)
        for is_so, state, what, advice in (*_odd_engines(settings), *_odd_choices(settings))
        if is_so
    ]
    yield from odd
    if settings.keeps_files:
        yield from _data_directory(settings.data)
    if not any(note.state == "fault" for note in odd):
        yield Note("settings", "ok", "the settings can be read and fit together")


def _odd_engines(settings: Settings) -> Iterator[tuple[bool, State, str, str]]:
    """Engines that do not go together: whether it is so, how bad, what, and what to do."""
    remote = settings.store is not None and settings.store.startswith("s3://")
    shared = not settings.database_url.startswith("sqlite")
    yield (
        settings.store == "memory:",
        "fault",
        "store = memory: loses all bytes with the server",
        "Only for trying out.",
    )
    yield (
        remote and settings.part_size_bytes < LEAST_PART_BYTES,
        "note",
        f"part_size_bytes = {settings.part_size_bytes} is less than S3 takes for a part (5 MiB)",
        "Set it to 5242880 or more: what comes through the registry in smaller parts is sent to the store twice.",
    )
    yield (
        settings.s3_endpoint is not None and not remote,
        "note",
        "s3_endpoint is set, and store is no S3 store",
        ("Set store = s3://bucket, or leave s3_endpoint unset."),
    )
    yield (
        shared and settings.limits == "memory",
        "note",
        "limits are counted in the memory of each server: of several, each grants the whole budget",
        "How many servers there are cannot be seen from here. With more than one, set limits = redis://….",
    )
    yield (
        shared and not remote,
        "note",
        "several servers can share this database, and not the bytes in the data directory of one",
        "Serve it from one machine, or set store = s3://….",
    )


def _odd_choices(settings: Settings) -> Iterator[tuple[bool, State, str, str]]:
    """What can be meant so, and rarely is."""
    yield (
        bool(settings.trusted_proxies) and not settings.public_url,
        "note",
        "a proxy is in front (trusted_proxies) and public_url is not set: links are built from what it forwards",
        "Set public_url to the address that callers use.",
    )
    is_local, is_secure = settings.host in _LOCAL, (settings.public_url or "").startswith("https:")
    yield (
        not is_local and not is_secure,
        "note",
        f"host = {settings.host} is reached from other machines, and nothing says https",
        "Put a proxy with TLS in front and set public_url: tokens travel in headers.",
    )
    yield (
        settings.gc_grace_seconds < _SHORT_GRACE_SECONDS,
        "note",
        f"gc_grace_seconds = {settings.gc_grace_seconds} is short",
        "Nothing published is lost by it; a push that takes longer may have to send some files again.",
    )
    yield (
        not settings.gc_interval_seconds,
        "note",
        "gc_interval_seconds = 0: nothing is cleaned up by itself",
        ("Run `steelyard admin gc` now and then."),
    )
    yield (
        settings.upload_ttl_seconds < settings.ticket_ttl_seconds,
        "note",
        "upload_ttl_seconds is less than ticket_ttl_seconds: links outlive their upload",
        "Make it the longer one.",
    )


def _data_directory(data: Path) -> Iterator[Note]:
    """It may be made by the first start; what is there has to be ours."""
    there = next((folder for folder in (data, *data.absolute().parents) if folder.exists()), data)
    if not os.access(there, os.W_OK | os.X_OK):
        yield Note("settings", "fault", f"{there} cannot be written to", "Give it to the user that runs the registry.")
    elif data.exists():
        mode = stat.S_IMODE(data.stat().st_mode)
        if mode & 0o077:
            yield Note(
                "settings", "note", f"{data} may be entered by other users of this machine (mode {mode:o})",
                "chmod 700: it holds private models and the keys that links are signed with.",
            )  # fmt: skip


# --- database


def _database(settings: Settings) -> Iterator[Note]:
    url = parse_url(settings.database_url)
    if url.get_backend_name() == "sqlite":
        file = Path(url.database or "")
        if not file.exists():
            yield Note("database", "note", f"there is no registry yet: {file}", "`steelyard serve` makes one.")
            return
        if stat.S_IMODE(file.stat().st_mode) & 0o077:
            yield Note("database", "note", f"{file} may be read by other users", "chmod 600: it holds keys.")
    with closing(Database(settings.database_url, timeout_seconds=settings.database_timeout_seconds)) as database:
        facts = read_facts(database)
        yield Note("database", "ok", f"{facts.name} answers ({_milliseconds(facts.latency_seconds)})")
        yield from _of_facts(facts)
        yield from _tables(database)


def _of_facts(facts: Facts) -> Iterator[Note]:
    if facts.latency_seconds > _SLOW_SECONDS:
        yield Note("database", "note", "the database is slow to answer", "Requests make several queries each.")
    if facts.journal not in (None, "wal"):
        yield Note(
            "database", "fault", f"SQLite's journal is {facts.journal}, not wal",
            "Put the data directory on a local file system: others cannot share memory.",
        )  # fmt: skip
    if facts.major is not None and facts.major < LEAST_POSTGRES:
        yield Note("database", "note", f"PostgreSQL {LEAST_POSTGRES} is the oldest that is tried", "Upgrade it.")
    if facts.encoding not in (None, "UTF8"):
        yield Note("database", "fault", f"the encoding is {facts.encoding}", "CREATE DATABASE … ENCODING 'UTF8'.")
    if facts.reads_only:
        yield Note("database", "fault", "the database only reads", "Name the primary, not a standby.")
    if not facts.makes_tables:
        yield Note(
            "database", "fault", "the user may not make tables in the schema, which migrations do",
            "GRANT CREATE ON SCHEMA public TO the user, or let him own the database.",
        )  # fmt: skip
    if facts.most_connections is not None:
        servers = facts.most_connections // _CONNECTIONS
        yield Note("database", "ok", f"max_connections = {facts.most_connections} is enough for {servers} servers")
    yield from _clock("the database", facts.clock_seconds)


def _tables(database: Database) -> Iterator[Note]:
    found = standing(database)
    if found == "empty":
        others = list_tables(database)
        yield Note(
            "database", "note", f"holds tables of something else ({', '.join(others[:3])})" if others else "is empty",
            "`steelyard serve` makes its tables here." + (" Is it the right database?" if others else ""),
        )  # fmt: skip
        return
    yield _STANDINGS[found]
    if found in ("current", "behind"):
        try_to_write(database)
        yield Note("database", "ok", "rows can be written")


_STANDINGS = {
    "current": Note("database", "ok", "its tables are those of this release"),
    "behind": Note(
        "database", "note", "its tables are those of an earlier release",
        "The next start migrates them. Back up first: the way back is the backup.",
    ),
    "ahead": Note(
        "database", "fault", "its tables are those of a newer release than this one", "Install the newer release."
    ),
    "unfinished": Note(
        "database", "fault", "it is a copy that was not ended", "Run the same `steelyard admin copy` again."
    ),
}  # fmt: skip


# --- store


def _store(settings: Settings, open_store: OpenStore) -> Iterator[Note]:
    if settings.store is None and not settings.store_folder.exists():
        there = Path(parse_url(settings.database_url).database or "").exists() and settings.keeps_files
        yield Note(
            "store",
            "fault" if there else "note",
            f"there is no {settings.store_folder}",
            "Is its disk mounted?" if there else "`steelyard serve` makes it.",
        )
        return
    store = open_store(settings)
    rehearsal = Rehearsal(store)
    try:
        yield from _rehearsed(settings, store, rehearsal)
    finally:
        rehearsal.clean_up()
    took = ", ".join(f"{what} {_milliseconds(seconds)}" for what, seconds in rehearsal.seconds.items())
    yield Note("store", "ok", f"leaves nothing behind; {took}")
    yield from _clock("the store", rehearsal.clock_seconds or _clock_of(settings.s3_endpoint))
    yield from _room(settings, store)


def _rehearsed(settings: Settings, store: BlobStore, rehearsal: Rehearsal) -> Iterator[Note]:
    key = rehearsal.small()
    yield Note("store", "ok", "writes, proves, commits, and reads by range")
    if settings.store is None or settings.store == "memory:":
        return
    if store.direct is None:
        rehearsal.staged_parts(settings.part_size_bytes)
        yield Note("store", "ok", f"joins parts of {settings.part_size_bytes} bytes")
        return
    rehearsal.linked_parts(store.direct, max(settings.part_size_bytes, LEAST_PART_BYTES))
    yield Note("store", "ok", f"takes parts of {settings.part_size_bytes} bytes by signed links, and joins them")
    rehearsal.follow_link(store.direct, key)
    yield Note("store", "ok", "answers signed links to download")


def _room(settings: Settings, store: BlobStore) -> Iterator[Note]:
    free, floor = store.free_bytes(), settings.free_disk_floor_bytes
    if free is None:
        return
    if free < floor:
        yield Note(
            "store", "fault", f"{free} bytes are free, less than the floor (free_disk_floor_bytes = {floor})",
            "No uploads are taken. `steelyard admin gc` may make room.",
        )  # fmt: skip
    else:
        yield Note("store", "ok", f"{free} bytes are free, the floor is {floor}")


def _clock_of(endpoint: str | None) -> float | None:
    """How far the clock behind an address is ahead, whatever it answers."""
    return None if endpoint is None else clock_of(ask("GET", endpoint, {}))


# --- sign-in


def _sign_in(settings: Settings) -> Iterator[Note]:
    provider = open_provider(settings)
    if provider is None:
        return
    with closing(provider):
        provider.check()
    yield Note("sign-in", "ok", f"{settings.oidc_issuer} answers, is who it says, and shows its keys")
    if not settings.public_url:
        yield Note(
            "sign-in", "note", "public_url is not set: the provider sends people back to whatever address they used",
            "Set public_url, and let the provider know <public_url>/-/oidc/callback.",
        )  # fmt: skip
    if not settings.web:
        yield Note("sign-in", "note", "web is off: nobody can sign in to pages that are not there", "Set web = true.")


# --- limits, clock


def _limits(settings: Settings) -> Iterator[Note]:
    with closing(Limiter(settings)) as limiter:
        limiter.rehearse()
        yield Note("limits", "ok", "are off" if settings.limits == "off" else f"are counted in {limiter.place}")


def _clock(whose: str, seconds: float | None) -> Iterator[Note]:
    if seconds is None:
        return
    if abs(seconds) > _CLOCK_SECONDS:
        ahead = "ahead of" if seconds > 0 else "behind"
        what = f"the clock of {whose} is {abs(seconds):.0f} seconds {ahead} this machine's"
        yield Note("clock", "fault", what, _ADVICE["clock"])
    else:
        yield Note("clock", "ok", f"{whose} and this machine agree within {_CLOCK_SECONDS:.0f} seconds")


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
