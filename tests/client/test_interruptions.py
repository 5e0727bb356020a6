"""Ctrl-C, kill -9 and a restarted server: what has arrived is not sent again. Bytes are counted on the wire."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from steelyard.client import Client
from steelyard.client.cache import BLOCK_BYTES
from tests.client.conftest import PART_BYTES, MakeFolder
from tests.house import RunningServer, start_server
from tests.house.wires import Wire

OVERHEAD_BYTES = 300_000  # headers, metadata and what stood in buffers
PARTS = 20


@pytest.fixture
def wire(live: RunningServer) -> Iterator[Wire]:
    made = Wire(live.port)
    yield made
    made.close()


def start(wire: Wire, token: str, *arguments: str) -> "subprocess.Popen[bytes]":
    """The command in a process of its own, over the wire."""
    environment = os.environ | {"STEELYARD_URL": wire.url, "STEELYARD_TOKEN": token}
    command = [sys.executable, "-m", "steelyard", *arguments, "--json"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process: "subprocess.Popen[bytes]") -> dict[str, object]:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err.decode()
    result: dict[str, object] = json.loads(out)
    return result


def interrupt(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """Stop it; Ctrl-C ends it with 130 and without a trace, soon."""
    process.send_signal(number)
    _, err = process.communicate(timeout=8)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert b"Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_push_goes_on_with_the_missing_parts(
    live: RunningServer, wire: Wire, model: str, make_folder: MakeFolder, number: signal.Signals
) -> None:
    size = PARTS * PART_BYTES
    folder = make_folder({"w.bin": os.urandom(size)})
    wire.hold_up_after = 11 * PART_BYTES
    first = start(wire, live.token, "push", str(folder), f"{model}:1.0.0")
    wire.wait_until_held()
    interrupt(first, number)
    wire.cut()
    result = finish(start(wire, live.token, "push", str(folder), f"{model}:1.0.0"))
    assert result["created"] is True
    assert wire.up_bytes <= size - 6 * PART_BYTES + OVERHEAD_BYTES
    assert result["uploaded_bytes"] == pytest.approx(wire.up_bytes, abs=OVERHEAD_BYTES)


def wait_for_blocks(cache: Path, count: int) -> None:
    """Wait until the client has read and noted so many blocks of its only download."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for journal in (cache / "partial").glob("*.done"):
            if len(journal.read_text().splitlines()) == count:
                return
        time.sleep(0.02)
    pytest.fail("the blocks did not arrive")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_pull_goes_on_from_the_last_whole_block(
    live: RunningServer,
    client: Client,
    wire: Wire,
    model: str,
    make_folder: MakeFolder,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    data = os.urandom(4 * BLOCK_BYTES + 1000)
    client.push(make_folder({"w.bin": data}), f"{model}:1.0.0")
    wire.hold_down_after = 3 * BLOCK_BYTES - PART_BYTES
    first = start(wire, live.token, "pull", model, str(tmp_path / "dest"))
    wire.wait_until_held()
    wait_for_blocks(tmp_path / "cache", 2)
    interrupt(first, number)
    assert not (tmp_path / "dest").exists()
    wire.cut()
    result = finish(start(wire, live.token, "pull", model, str(tmp_path / "dest")))
    assert (tmp_path / "dest" / "w.bin").read_bytes() == data
    assert result["downloaded_bytes"] == len(data) - 2 * BLOCK_BYTES
    assert wire.down_bytes <= len(data) - 2 * BLOCK_BYTES + OVERHEAD_BYTES


@pytest.mark.only("disk", "s3")
def test_a_push_lives_through_a_restart_of_the_server(make_folder: MakeFolder, tmp_path: Path) -> None:
    server = start_server(tmp_path / "data", part_size_bytes=str(PART_BYTES), free_disk_floor_bytes="0")
    wire = Wire(server.port)
    wire.hold_up_after = 8 * PART_BYTES
    folder = make_folder({"w.bin": os.urandom(PARTS * PART_BYTES)})
    results: list[object] = []

    def run() -> None:
        with Client(wire.url, server.token) as mine:
            results.append(mine.push(folder, "admin/tiny:1.0.0"))

    thread = threading.Thread(target=run)
    thread.start()
    wire.wait_until_held()
    server.kill()
    again = start_server(
        tmp_path / "data", port=server.port, part_size_bytes=str(PART_BYTES), free_disk_floor_bytes="0"
    )
    wire.cut()
    thread.join(40)
    try:
        assert len(results) == 1
        with Client(again.url, again.token) as mine:
            assert mine.verify(folder, "admin/tiny:1.0.0").matches
    finally:
        wire.close()
        again.stop()
