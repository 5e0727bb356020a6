"""Debian's docker-registry, which what we do as a registry of container tools is held against."""

import shutil
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.house.servers import free_port

_PROGRAM = "docker-registry"
_READY_WITHIN_SECONDS = 20.0
_CONFIGURATION = """\
version: 0.1
log:
  level: info
storage:
  filesystem:
    rootdirectory: {folder}
  cache:
    blobdescriptor: inmemory
  delete:
    enabled: true
http:
  addr: 127.0.0.1:{port}
"""
"""As companies run it behind a proxy: a disk, the cache of descriptors in memory, the access log. It asks nobody who
they are, which spares it work that we do with every request."""


@dataclass(frozen=True, slots=True)
class DockerRegistry:
    """A process of it on loopback."""

    process: subprocess.Popen[bytes]
    port: int
    token: str = "none is asked for"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)


def is_installed() -> bool:
    return shutil.which(_PROGRAM) is not None


def start_docker_registry(folder: Path) -> DockerRegistry:
    """Start it on a folder of its own and wait until it answers."""
    folder.mkdir()
    port, settings = free_port(), folder / "config.yml"
    settings.write_text(_CONFIGURATION.format(folder=folder / "data", port=port))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([_PROGRAM, "serve", str(settings)], stdout=log, stderr=log)
    started, until = DockerRegistry(process, port), time.monotonic() + _READY_WITHIN_SECONDS
    while not _answers(started):
        if time.monotonic() > until or process.poll() is not None:
            process.kill()
            raise RuntimeError(f"docker-registry did not start:\n{(folder / 'log').read_text()}")
        time.sleep(0.05)
    return started


def _answers(started: DockerRegistry) -> bool:
    try:
        with urllib.request.urlopen(f"{started.url}/v2/", timeout=2):
            return True
    except OSError:
        return False
