"""Servers in processes of their own, exactly as `serve` starts them."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.house.grid import settings_for

ADMIN_TOKEN = "an admin token for tests, long enough to be taken"
_READY_WITHIN_SECONDS = 30.0


def free_port() -> int:
    """A port that nobody listens on now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class RunningServer:
    """A server process on loopback; `log` is what it wrote."""

    process: subprocess.Popen[bytes]
    port: int
    data: Path
    log_path: Path
    token: str = ADMIN_TOKEN

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def rss_bytes(self) -> int:
        """Resident memory now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))) * 1024

    def peak_rss_bytes(self) -> int:
        """Resident memory at its highest."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) * 1024


def start_server(data: Path, *, port: int | None = None, **settings: str) -> RunningServer:
    """Start `steelyard serve` on a data directory and wait until it is ready. Where its data are: `launch_server`."""
    server = launch_server(data, port=port, **settings)
    wait_until_ready(server)
    return server


def launch_server(data: Path, *, port: int | None = None, **settings: str) -> RunningServer:
    """Start `steelyard serve` on a data directory; it is not ready yet.

    Its database and its store are those of this run's cell of the grid, unless the test names others.
    """
    port = port or free_port()
    settings = {**settings_for(data), **settings}  # which may put into the environment what a store needs
    environment = {key: value for key, value in os.environ.items() if not key.startswith("STEELYARD_")}
    environment["STEELYARD_ADMIN_TOKEN"] = ADMIN_TOKEN
    environment.update({f"STEELYARD_{key.upper()}": value for key, value in settings.items()})
    log_path = data.parent / f"{data.name}-{port}.log"
    command = [
        sys.executable,
        "-m",
        "steelyard",
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--data",
        str(data),
    ]
    with log_path.open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=data.parent)
    return RunningServer(process, port, data, log_path)


def wait_until_ready(server: RunningServer) -> None:
    """Wait until `/ready` says so; raises RuntimeError, with the log, when it never does."""
    deadline = time.monotonic() + _READY_WITHIN_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise RuntimeError(f"the server ended at its start:\n{server.log}")
        try:
            with urllib.request.urlopen(f"{server.url}/ready", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    server.kill()
    raise RuntimeError(f"the server was not ready in time:\n{server.log}")
