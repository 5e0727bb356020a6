"""Machines with a tool on each: a home of its own, and what somebody is known by to the registry there."""

import base64
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class Login:
    """What a person types: any name will do, the token is the password."""

    user: str
    token: str

    def __str__(self) -> str:
        return f"{self.user}:{self.token}"


@dataclass(frozen=True)
class Ran:
    """How a program ended, and what it said."""

    code: int
    out: str
    said: str

    @property
    def ended_well(self) -> bool:
        return self.code == 0

    def __str__(self) -> str:
        return f"ended with {self.code}\n{self.out}\n{self.said}"


class Failed(AssertionError):
    """A program that was to end well did not."""


@dataclass(frozen=True)
class Machine:
    """Where a person uses one tool. It has caches and settings of its own, and nothing of the surroundings gets in."""

    home: Path
    registry: str
    login: Login | None = None

    def prepare(self) -> None:
        """Lay out the home, with what `login` of any of these tools would leave in it."""
        for folder in (self.home, self.home / "run", self.home / "tmp", self.home / ".docker", self.work):
            folder.mkdir(parents=True, exist_ok=True)
        encoded = base64.b64encode(str(self.login).encode()).decode() if self.login else ""
        auths = {self.registry: {"auth": encoded}} if self.login else {}
        (self.home / ".docker/config.json").write_text(json.dumps({"auths": auths}))
        storage = {"driver": "vfs", "graphroot": self.home / "storage", "runroot": self.home / "run/storage"}
        lines = [f'{key} = "{value}"' for key, value in storage.items()]
        (self.home / "storage.conf").write_text("\n".join(["[storage]", *lines, ""]))

    @property
    def work(self) -> Path:
        """A folder for what the person has before him."""
        return self.home / "work"

    def try_to(self, *command: str | Path, text: str = "") -> Ran:
        """Run a program, however it ends."""
        done = subprocess.run(
            [str(part) for part in command],
            env=self._environment(),
            cwd=self.work,
            input=text,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def run(self, *command: str | Path, text: str = "") -> str:
        """What a program prints, once it ended well. Raises `Failed`."""
        ran = self.try_to(*command, text=text)
        if not ran.ended_well:
            raise Failed(f"{' '.join(str(part) for part in command)} {ran}")
        return ran.out.strip()

    def _environment(self) -> dict[str, str]:
        home = str(self.home)
        return {
            "PATH": os.environ["PATH"],
            "LANG": os.environ.get("LANG", "C.UTF-8"),
            "HOME": home,
            "TMPDIR": f"{home}/tmp",
            "XDG_CONFIG_HOME": f"{home}/config",
            "XDG_DATA_HOME": f"{home}/data",
            "XDG_RUNTIME_DIR": f"{home}/run",
            "REGISTRY_AUTH_FILE": f"{home}/.docker/config.json",  # where oras-py looks, too
            "CONTAINERS_STORAGE_CONF": f"{home}/storage.conf",
            "CONTAINERS_CONF": os.devnull,
            # What the tools learn of where layers are goes to this home, and not to root's one cache of the machine.
            "_CONTAINERS_ROOTLESS_UID": "1000",
        }
