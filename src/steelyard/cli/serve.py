"""`steelyard serve`: one process, or several workers of one server, with the embedded defaults ready for one machine.
Every setting is a flag."""

import asyncio
import errno
import fcntl
import gc
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

import click
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from sqlalchemy import make_url

from steelyard.cli.supervising import Hired, reserved, supervise
from steelyard.server.app import create_app, open_database, open_registry, read_signatures
from steelyard.server.context import Post, Registry
from steelyard.server.core import jobs
from steelyard.server.core.accounts import create_first_admin
from steelyard.server.db.engine import Database
from steelyard.server.errors import RegistryError
from steelyard.server.logs import configure_logging
from steelyard.server.settings import Settings

log = logging.getLogger("steelyard.serve")


def _with_settings_flags(command: Callable[..., None]) -> Callable[..., None]:
    """A flag for every setting; its help is the setting's description."""
    for name, field in reversed(Settings.model_fields.items()):
        if "SecretStr" not in str(field.annotation):  # a secret on a command line shows in every list of processes
            command = click.option(f"--{name.replace('_', '-')}", name, **_flag(field))(command)
    return command


def _flag(field: FieldInfo) -> dict[str, Any]:
    default = field.default
    shown = ", ".join(map(str, default)) if isinstance(default, tuple) else default
    suffix = "" if shown in (None, "") else f" [default: {shown}]"
    return {"default": None, "help": f"{field.description}{suffix}", "metavar": "VALUE"}


@click.command()
@_with_settings_flags
def serve(**flags: str | None) -> None:
    """Run a registry.

    The first start on an empty data directory makes the instance admin `admin` and prints his token once, or takes it
    from STEELYARD_ADMIN_TOKEN. Every setting is a flag, a STEELYARD_… variable and a key of steelyard.toml, in that
    order of precedence.
    """
    settings = read_settings(flags)
    configure_logging(settings)
    try:
        address = check_port(settings)
        with sole_server(settings.data) if settings.keeps_files else nullcontext():
            if settings.workers == 1:
                registry = open_registry(settings)
                _greet(registry.database, settings)
                _announce(settings, address)
                asyncio.run(_serve(registry, address))
            else:
                _serve_together(settings, address)
    except (ValueError, OSError, RegistryError) as error:
        raise click.ClickException(f"The registry cannot start: {error}{cause_of(error)}") from error


def cause_of(error: Exception) -> str:
    """What the database or the disk itself said. For whoever runs the registry, and never for its callers."""
    cause = error.__cause__
    return f" ({getattr(cause, 'orig', None) or cause})" if isinstance(error, RegistryError) and cause else ""


@contextmanager
def sole_server(data: Path) -> Iterator[None]:
    """Hold the data directory while a server runs on it. Raises OSError where another one does."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(data / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it ends with the process, however that ends
    except BlockingIOError:
        os.close(descriptor)
        raise OSError(f"another server runs on the data directory {data}") from None
    try:
        yield
    finally:
        os.close(descriptor)


def read_settings(flags: dict[str, str | None]) -> Settings:
    """Settings from flags, environment and file. Raises `click.UsageError` that names what is wrong."""
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in error.errors(include_input=False))
        raise click.UsageError(f"These settings do not work: {faults}") from error
    except ValueError as error:
        raise click.UsageError(f"The settings file cannot be read: {error}") from error


def check_port(settings: Settings) -> str:
    """The numeric address to listen on. Raises OSError where somebody listens there already: the server itself would
    share the port with him, in silence."""
    where = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, protocol, _, address in where:
        try:
            _bind_once(socket.socket(family, kind, protocol), address)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):  # `localhost`, where there is no IPv6
                raise OSError(error.errno, f"{settings.host}:{settings.port}: {error.strerror}") from error
    return str(where[0][4][0])


def _bind_once(probe: socket.socket, address: Any) -> None:
    with probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what is only closing does not count
        probe.bind(address)


def _serve_together(settings: Settings, address: str) -> None:
    """Be one of several workers, or the supervisor of them. What is done once for all is done before there are any."""
    check_shared(settings)
    with closing(open_database(settings)) as database:
        _greet(database, settings)
        if database.is_sqlite:
            with database.write() as session:
                jobs.forget_leases(session)  # held by a server that is gone: two never share a file
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with reserved(family, address, settings.port) as port, _numbers() as numbers:
        settings = settings.model_copy(update={"port": port})
        _announce(settings, address)
        read_signatures(settings)
        server_id = token_hex(7)
        hired = supervise(settings.workers)
        if hired is not None:
            registry = open_registry(settings, Post(hired.number, f"{server_id}{hired.number:02x}", numbers))
            asyncio.run(_serve(registry, address, hired))


def check_shared(settings: Settings) -> None:
    """Raises ValueError where workers would not see what the others have."""
    if settings.store == "memory:":
        raise ValueError("several workers cannot share a store in memory: set workers to 1, or name another store")
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise ValueError("several workers cannot share a database in memory: set workers to 1, or name a file")


@contextmanager
def _numbers() -> Iterator[Path]:
    """A folder where workers keep their metrics; whoever made it removes it, and no worker does."""
    folder, maker = Path(tempfile.mkdtemp(prefix="steelyard-")), os.getpid()
    try:
        yield folder
    finally:
        if os.getpid() == maker:
            shutil.rmtree(folder, ignore_errors=True)


def _greet(database: Database, settings: Settings) -> None:
    """Make the first admin on the first start."""
    given = settings.admin_token
    with database.write() as session:
        made = create_first_admin(session, given.get_secret_value() if given else None)
    if made is None and given is not None:
        log.info("STEELYARD_ADMIN_TOKEN is ignored: this registry has users already")
    elif made is not None and given is None:
        click.echo(f"The instance admin is `admin`. His token, shown this once:\n\n    {made.secret}\n", err=True)


def _announce(settings: Settings, address: str) -> None:
    shown = f"[{address}]" if ":" in address else address
    among = f" with {settings.workers} workers" if settings.workers > 1 else ""
    log.info("serving http://%s:%d from %s%s", shown, settings.port, " and ".join(_kept_in(settings)), among)


async def _serve(registry: Registry, address: str, hired: Hired | None = None) -> None:
    from granian.constants import Interfaces
    from granian.server.embed import Server

    settings = registry.settings
    server = Server(
        create_app(registry),
        address=address,
        port=settings.port,
        interface=Interfaces.ASGI,
        websockets=False,
        log_enabled=False,
    )
    leave, stop = partial(_leave, registry, server.stop), partial(_stop, registry, server.stop)
    if hired is None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, stop)
        loop.add_signal_handler(signal.SIGTERM, leave)
    else:
        hired.obey(leave, stop)
        hired.say_open()
    gc.collect()
    gc.freeze()  # what was made so far stays to the end, and need not be gone through with every collection
    try:
        await server.serve()
    finally:
        registry.close()
        sys.stderr.flush()


def _leave(registry: Registry, stop: Callable[[], None]) -> None:
    """Say so at `/ready`, and stop when load balancers had the time to ask; at once when told a second time. The server
    takes no more connections then, and ends the requests that are under way."""
    delay_seconds = 0.0 if registry.leaving.is_set() else registry.settings.shutdown_delay_seconds
    registry.leaving.set()
    log.info("stopping in %g seconds: running requests are ended first", delay_seconds)
    asyncio.get_running_loop().call_later(delay_seconds, _stop, registry, stop)


def _stop(registry: Registry, stop: Callable[[], None]) -> None:
    registry.stopping.set()
    stop()


def _kept_in(settings: Settings) -> Iterator[str]:
    """Where metadata and bytes are, without what opens them."""
    if settings.keeps_files:
        yield str(settings.data)
    if settings.database:
        url = make_url(settings.database)
        yield f"{url.get_backend_name()}://{url.host or ''}{f':{url.port}' if url.port else ''}/{url.database or ''}"
    if settings.store:
        yield settings.store
