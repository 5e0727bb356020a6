"""A layer flows through the door of container tools: how long it is must not show in the server's memory."""

import shutil
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import pytest
from bench.wire import Tool, digest_of

from tests.conftest import Tell
from tests.house import RunningServer, start_server
from tests.reliability.pushing import make_user
from tests.reliability.test_memory import GIB, MIB, Growth


@pytest.fixture
def tool(tmp_path: Path) -> Iterator[tuple[RunningServer, Tool]]:
    """A server with its defaults whose gigabytes do not stay behind, and somebody's tool."""
    server = start_server(tmp_path / "data", free_disk_floor_bytes="0")
    server.token = make_user(server, "ada")
    yield server, Tool(server, "ada/large")
    server.stop()
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("size_bytes", [256 * MIB, pytest.param(5 * GIB, marks=pytest.mark.thorough)])
def test_a_layer_goes_in_and_out_in_constant_memory(
    size_bytes: int, tool: tuple[RunningServer, Tool], tell: Tell
) -> None:
    server, client = tool
    small = bytes(8 * MIB)
    client.push_streamed(digest_of([small]), repeat(small, 1))  # what is loaded once does not count
    assert client.pull(digest_of([small])) == len(small)
    piece, count = b"layer".ljust(MIB, b"."), size_bytes // MIB
    digest = digest_of(repeat(piece, count))
    pushing = Growth(server)
    client.push_streamed(digest, repeat(piece, count))
    pushed = pushing.bytes
    pulling = Growth(server)
    assert client.pull(digest) == size_bytes
    pulled = pulling.bytes
    tell(f"memory for a layer of {size_bytes // MIB} MiB: push +{pushed / MIB:.1f} MiB, pull +{pulled / MIB:.1f} MiB")
    assert max(pushed, pulled) < 64 * MIB
