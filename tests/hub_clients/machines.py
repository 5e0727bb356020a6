"""Machines with a client on each: an environment, a person's token, and a home with caches of its own."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.hub_clients.environments import Environment

DRIVER = Path(__file__).parent / "driver.py"
_TIMEOUT_SECONDS = 900

Line = dict[str, Any]


@dataclass(frozen=True)
class Machine:
    """Where a person uses one client. Nothing of the surroundings gets in but what a program needs to run."""

    environment: Environment
    endpoint: str
    token: str
    home: Path

    def drive(self, command: str, job: Line) -> list[Line]:
        """Have the driver do a job; answers its lines. Raises RuntimeError, with all that was printed."""
        python = self.environment.install()
        self.home.mkdir(exist_ok=True)
        done = self.run([str(python), str(DRIVER), command], json.dumps({"folder": str(self.home), **job}))
        said = (line.removeprefix("SAID ") for line in done.stdout.splitlines() if line.startswith("SAID "))
        lines: list[Line] = [json.loads(line) for line in said]
        if done.returncode != 0:
            raise RuntimeError(f"{self.environment.name} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        self._prove(lines.pop(0)["installed"])
        return lines

    def run(self, command: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program of the environment's, on this machine."""
        return subprocess.run(
            command,
            env=self._environment(),
            cwd=self.home,
            input=text,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )

    def _environment(self) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
        return {
            **inherited,
            "PATH": os.pathsep.join([str(self.environment.programs), os.environ["PATH"]]),
            "HOME": str(self.home),
            "HF_HOME": str(self.home / "hf"),
            "HF_ENDPOINT": self.endpoint,
            "HF_TOKEN": self.token,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }

    def _prove(self, installed: dict[str, str | None]) -> None:
        """The client is the one that the matrix names."""
        assert installed == {"huggingface-hub": self.environment.hub, "hf-xet": self.environment.xet}, installed
