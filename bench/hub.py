"""The stock client of the Hub, with Xet and without: the same file to two registries, and out of them again.

Two kinds of bytes: random ones, which nothing makes shorter, and weights as bfloat16, which Xet sends packed.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tests.house import RunningServer, start_server

from bench.figures import Row

MIB = 2**20
_STORY = """
import json, os, sys, time
from huggingface_hub import HfApi
from huggingface_hub.utils import disable_progress_bars
disable_progress_bars()
verb, path = sys.argv[1:]
api = HfApi()
if verb == "push":
    api.create_repo("admin/m", exist_ok=True)
began = time.perf_counter()
if verb == "push":
    api.upload_file(path_or_fileobj=path, path_in_repo=os.path.basename(path), repo_id="admin/m")
else:
    api.hf_hub_download("admin/m", path)
print(json.dumps(time.perf_counter() - began))
"""


@dataclass(frozen=True, slots=True)
class HubClient:
    """A client of one registry, whose caches are new each time."""

    server: RunningServer
    is_xet: bool

    def seconds(self, verb: str, path: str, home: Path) -> float:
        """How long a push of a file, or a pull of one by its name, took. Starting the client is not counted."""
        environ = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        environ |= {"HF_ENDPOINT": self.server.url, "HF_TOKEN": self.server.token, "HF_HOME": str(home)}
        environ |= {"HF_HUB_DISABLE_XET": str(int(not self.is_xet)), "HF_HUB_DISABLE_TELEMETRY": "1"}
        command = [sys.executable, "-c", _STORY, verb, path]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return float(json.loads(done.stdout.splitlines()[-1]))


def random_bytes(size_bytes: int) -> bytes:
    return os.urandom(size_bytes)


def bfloat16_weights(size_bytes: int) -> bytes:
    """The upper halves of normal float32s."""
    floats = np.random.default_rng().normal(0, 0.02, size_bytes // 2).astype(np.float32)
    return (floats.view(np.uint32) >> 16).astype(np.uint16).tobytes()


KINDS: dict[str, Callable[[int], bytes]] = {"random bytes": random_bytes, "bfloat16 weights": bfloat16_weights}


def measure_hub(folder: Path, rounds: int, size_bytes: int) -> Iterator[Row]:
    """For each kind: pushes and pulls in turn, plain and by Xet, and the ratio of each round's two."""
    with ExitStack() as running:
        # The plain one cuts no files, which it would do in the background, beside what is measured.
        servers = [start_server(folder / f"hub-{xet}", free_disk_floor_bytes="0", xet=xet) for xet in ("false", "true")]
        for server in servers:
            running.callback(server.stop)
        for kind in KINDS:
            yield from _measure_kind(folder, rounds, size_bytes, servers, kind)


def _measure_kind(
    folder: Path, rounds: int, size_bytes: int, servers: Sequence[RunningServer], kind: str
) -> Iterator[Row]:
    speeds: dict[str, list[float]] = {f"{verb}, {way}": [] for verb in ("push", "pull") for way in ("plain", "Xet")}
    for number in range(rounds + 1):
        file = folder / f"{kind.split()[0]}-{number}.bin"
        file.write_bytes(KINDS[kind](size_bytes))
        clients = [HubClient(servers[0], is_xet=False), HubClient(servers[1], is_xet=True)]
        for verb, named in (("push", str(file)), ("pull", file.name)):
            for client in clients if number % 2 else reversed(clients):
                with TemporaryDirectory(dir=folder) as home:
                    seconds = client.seconds(verb, named, Path(home))
                speeds[f"{verb}, {'Xet' if client.is_xet else 'plain'}"].append(size_bytes / seconds / 1e6)
        file.unlink()
    size = f"{size_bytes // MIB} MiB of {kind}"
    for work, figures in speeds.items():
        yield Row(f"Hub client: {work}, {size}", "MB/s", tuple(figures[1:]))
    for verb in ("push", "pull"):
        pairs = zip(speeds[f"{verb}, Xet"][1:], speeds[f"{verb}, plain"][1:], strict=True)
        yield Row(f"Hub client: {verb}, Xet to plain, {size}", "ratio", tuple(xet / plain for xet, plain in pairs))
