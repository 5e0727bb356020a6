"""The container tools of this machine, as Debian has them, and oras-py in an environment of its own. One that is not
there fails what needs it: nothing is skipped for want of a client.
"""

import fcntl
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HOME = Path(__file__).parents[2] / ".venv-clients"
ORAS_PINS = Path(__file__).parent / "requirements/oras.txt"
# A program, and the package of Debian's that has it. The Makefile installs them.
PACKAGES = {
    "skopeo": "skopeo",
    "podman": "podman",
    "buildah": "buildah",
    "ctr": "containerd",
    "containerd": "containerd",
}


class ProgramMissing(Exception):
    """A client is not on this machine, and could not be installed."""


def find_program(name: str) -> str:
    """Where a program is. Raises `ProgramMissing`, which says how to get it."""
    found = shutil.which(name)
    if found is None:
        raise ProgramMissing(
            f"There is no {name} here: `make clients`, or on Debian `apt-get install {PACKAGES[name]}`."
        )
    return found


def install_oras() -> Path:
    """The python that has oras-py: made once, and made anew when its pins change. Raises `ProgramMissing`."""
    place = HOME / "oras"
    HOME.mkdir(exist_ok=True)
    with (HOME / "oras.lock").open("w") as lock:  # two runs at once make it once
        fcntl.flock(lock, fcntl.LOCK_EX)
        made, pins = place / "pins.txt", ORAS_PINS.read_text("utf-8") + sys.version
        if not made.exists() or made.read_text("utf-8") != pins:
            _make_environment(place)
            made.write_text(pins, "utf-8")
    return place / "bin/python"


def _make_environment(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    venv.create(place, symlinks=True)
    command = [sys.executable, "-m", "pip", "--python", str(place / "bin/python"), "install", "--quiet", "--no-deps"]
    command += ["--require-hashes", "--requirement", str(ORAS_PINS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ProgramMissing(f"oras-py cannot be installed:\n{done.stdout}{done.stderr}")


def version_of(program: str) -> str:
    """What a program of Debian's says of itself: `skopeo version 1.9.3`, or `ctr github.com/… 1.6.20~ds1`."""
    done = subprocess.run([find_program(program), "--version"], capture_output=True, text=True, check=True)
    return next(word for word in done.stdout.split() if word[0].isdigit())
