"""The real client, huggingface_hub with hf_xet, in processes of its own: it reads its environment once."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BEFORE = """
import hashlib, json, os, sys, time
from pathlib import Path
from huggingface_hub import HfApi
from huggingface_hub.utils import disable_progress_bars
disable_progress_bars()
api, said = HfApi(), {}
"""
_AFTER = """
print("SAID " + json.dumps(said))
"""


@dataclass(frozen=True)
class HubUser:
    """Somebody with a token, a machine (`home`: caches, empty at first) and this registry as his Hub."""

    endpoint: str
    token: str | None
    home: Path

    def run(self, story: str, **environment: str) -> dict[str, Any]:
        """Do this with `api`; answers what it put into `said`. Raises RuntimeError with what was printed."""
        done = self.attempt(story, **environment)
        if done.returncode != 0:
            raise RuntimeError(done.stdout + done.stderr)
        said: dict[str, Any] = json.loads(done.stdout.rpartition("SAID ")[2])
        return said

    def attempt(self, story: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """The same, come what may."""
        process = self.begin(story, **environment)
        try:
            stdout, stderr = process.communicate(timeout=300)
        except BaseException:
            process.kill()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def begin(self, story: str, **environment: str) -> subprocess.Popen[str]:
        """Begin to do this."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
        own = {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(self.home), "HF_HUB_DISABLE_TELEMETRY": "1"}
        if self.token is not None:
            own["HF_TOKEN"] = self.token
        return subprocess.Popen(
            [sys.executable, "-c", _BEFORE + story + _AFTER],
            env={**inherited, **own, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
