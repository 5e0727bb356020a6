"""The same container tool at docker-registry and at us: manifests, blobs, and the memory that a large layer takes.

Each thing is done at both in turn, round by round, and every ratio is of two figures of the same round.
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import repeat as again
from pathlib import Path

from tests.house import RunningServer, start_server

from bench.docker_registry import DockerRegistry, is_installed, start_docker_registry
from bench.figures import Row, in_turn
from bench.load import requests_per_second
from bench.processes import Memory
from bench.wire import MANIFEST, Tool, digest_of, in_chunks
from steelyard import Client

MIB, GIB = 2**20, 2**30
LAYER_BYTES = 5 * GIB
SENT_AT_ONCE_BYTES = MIB
TAG, ALIAS = "1.0.0", "production"
_CONFIG = "application/vnd.cncf.model.config.v1+json"
_LAYER = "application/vnd.cncf.model.weight.v1.raw"
_REPOSITORY = "bench/m"


def measure_oci(folder: Path, rounds: int, size_bytes: int) -> Iterator[Row]:
    """Every row, in the order of the table: of ours, of docker-registry's, and of ours by docker-registry's."""
    with ExitStack() as running:
        ours = start_server(folder / "ours", free_disk_floor_bytes="0")
        running.callback(ours.stop)
        with Client(ours.url, ours.token) as client:
            client.create_organization("bench")
        peers: dict[str, RunningServer | DockerRegistry] = {"Steelyard": ours}
        if is_installed():
            peers["docker-registry"] = start_docker_registry(folder / "peer")
            running.callback(peers["docker-registry"].stop)
        else:
            print("docker-registry is not installed: nothing to hold the figures against", file=sys.stderr)
        print(f"load average at the start: {os.getloadavg()[0]:.2f}", file=sys.stderr)
        tools = {name: Tool(server, _REPOSITORY) for name, server in peers.items()}
        pids = {name: server.process.pid for name, server in peers.items()}
        yield from _measure_manifests(tools, rounds)
        yield from _measure_blobs(tools, rounds, size_bytes)
        yield from _measure_memory(tools, pids)
        print(f"load average at the end: {os.getloadavg()[0]:.2f}", file=sys.stderr)


# --- manifests


def _measure_manifests(tools: dict[str, Tool], rounds: int) -> Iterator[Row]:
    manifest = _push_model(list(tools.values()))
    by_digest = f"manifests/sha256:{hashlib.sha256(manifest).hexdigest()}"
    for what, path in (("by tag", f"manifests/{TAG}"), ("by alias", f"manifests/{ALIAS}"), ("by digest", by_digest)):
        for connections in (1, 16):
            work = f"manifest GET {what}, {connections} connection(s)"
            yield from _held_against(
                work, "/s", rounds, {name: partial(_gets, tool, path, connections) for name, tool in tools.items()}
            )
    for connections in (1, 16):
        works = {name: partial(tool.heads_per_second, f"manifests/{TAG}", connections) for name, tool in tools.items()}
        yield from _held_against(f"manifest HEAD by tag, {connections} connection(s)", "/s", rounds, works)


def _gets(tool: Tool, path: str, connections: int) -> float:
    return requests_per_second(tool.url(path), tool.server.token, connections, accept=MANIFEST)


def _push_model(tools: Sequence[Tool]) -> bytes:
    """A model of one small file as ModelPack has it, under a number and a second name; answers its manifest."""
    config = b'{"descriptor":{"name":"m"},"modelfs":{"type":"layers","diffIds":[]},"config":{}}'
    layer = os.urandom(4096)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": "application/vnd.cncf.model.manifest.v1+json",
        "config": _descriptor(_CONFIG, config),
        "layers": [
            _descriptor(_LAYER, layer) | {"annotations": {"org.cncf.model.filepath": "model.safetensors"}},
        ],
    }
    content = json.dumps(manifest).encode()
    for tool in tools:
        for blob in (config, layer):
            tool.push_whole(digest_of([blob]), blob)
        for name in (TAG, ALIAS):
            tool.push_manifest(name, MANIFEST, content)
    return content


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of([content]), "size": len(content)}


# --- blobs


def _measure_blobs(tools: dict[str, Tool], rounds: int, size_bytes: int) -> Iterator[Row]:
    size = f"{size_bytes // MIB} MiB"
    contents = _Contents(size_bytes, len(tools))
    yield from _held_against(
        f"blob PUT, {size}, POST, PATCH of chunks and PUT",
        "MB/s",
        rounds,
        {name: partial(_push, tool, contents, streamed=True) for name, tool in tools.items()},
    )
    yield from _held_against(
        f"blob PUT, {size}, POST and one PUT",
        "MB/s",
        rounds,
        {name: partial(_push, tool, contents, streamed=False) for name, tool in tools.items()},
    )
    for connections in (1, 8):
        work = f"blob GET, {size}, {connections} connection(s)"
        works = {name: partial(_pull, tool, contents, connections) for name, tool in tools.items()}
        yield from _held_against(work, "MB/s", rounds, works)


class _Contents:
    """Bytes that no server has had yet, the same for all who are asked in one round."""

    def __init__(self, size_bytes: int, tools: int) -> None:
        self.size_bytes = size_bytes
        self._tools, self._asked = tools, 0
        self.content, self.digest = b"", ""

    def next(self) -> None:
        if self._asked % self._tools == 0:
            self.content = os.urandom(self.size_bytes)
            self.digest = digest_of([self.content])
        self._asked += 1


def _push(tool: Tool, contents: _Contents, *, streamed: bool) -> float:
    contents.next()
    work: Callable[[], None] = (
        partial(tool.push_streamed, contents.digest, in_chunks(contents.content))
        if streamed
        else partial(tool.push_whole, contents.digest, contents.content)
    )
    return _speed(work, contents.size_bytes)


def _pull(tool: Tool, contents: _Contents, connections: int) -> float:
    return _speed(partial(tool.pull_at_once, contents.digest, connections), contents.size_bytes * connections)


def _speed(work: Callable[[], object], size_bytes: int) -> float:
    """MB/s."""
    began = time.perf_counter()
    work()
    return size_bytes / (time.perf_counter() - began) / 1e6


# --- memory


def _measure_memory(tools: dict[str, Tool], pids: dict[str, int]) -> Iterator[Row]:
    """By how much all processes of a server grow at most while a layer goes in, and while it goes out."""
    piece, count = os.urandom(SENT_AT_ONCE_BYTES), LAYER_BYTES // SENT_AT_ONCE_BYTES
    digest = digest_of(again(piece, count))
    size = f"a layer of {LAYER_BYTES // GIB} GiB"
    for name, tool in tools.items():
        pushing = Memory(pids[name])
        tool.push_streamed(digest, again(piece, count))
        yield Row(f"{name}: memory more at most, {size} in", "MiB", (pushing.growth_bytes / MIB,))
        pulling = Memory(pids[name])
        if tool.pull(digest) != LAYER_BYTES:
            raise RuntimeError(f"{name} sent another number of bytes than it took")
        yield Row(f"{name}: memory more at most, {size} out", "MiB", (pulling.growth_bytes / MIB,))
        yield Row(f"{name}: memory in all after that", "MiB", (pulling.rss_bytes / MIB,))


def _held_against(work: str, unit: str, rounds: int, works: Mapping[str, Callable[[], float]]) -> Iterator[Row]:
    """A row for each server, and one for ours by the other's, round by round."""
    figures = dict(zip(works, in_turn(rounds, list(works.values())), strict=True))
    for name, measured in figures.items():
        yield Row(f"{name}: {work}", unit, measured)
    if len(figures) == 2:
        ours, theirs = figures.values()
        yield Row(f"ratio: {work}", "times", tuple(our / their for our, their in zip(ours, theirs, strict=True)))
