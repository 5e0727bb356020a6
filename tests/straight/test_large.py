"""A large file goes up by signed multipart: the server's memory stays flat, and what it reads to prove it is told."""

import time
from pathlib import Path

import pytest

from steelyard.client import Client
from tests.conftest import Tell
from tests.straight.conftest import MIB, Yard, start_yard

SOME_BYTES = 64 * MIB
LARGE_BYTES = 5 * 1024 * MIB + 1  # more than one copy of the store's takes
MOST_GROWTH_BYTES = 96 * MIB  # of memory: four pieces of 8 MiB are on their way at a time, for each of two proofs


def make_file(path: Path, size_bytes: int) -> None:
    """A file of holes, with something different at every 16 MiB, so that parts in a wrong order would show."""
    path.parent.mkdir()
    with path.open("wb") as file:
        file.truncate(size_bytes)
        for offset in range(0, size_bytes, 16 * MIB):
            file.seek(offset)
            file.write(f"{offset}\n".encode()[: size_bytes - offset])


def push_large(tmp_path: Path, size_bytes: int) -> str:
    """Push, and say what it cost; the server is one that has pushed before."""
    yard = start_yard(tmp_path / "data", part_size_bytes=str(16 * MIB))
    make_file(tmp_path / "warm/warm.bin", 40 * MIB)
    make_file(tmp_path / "large/large.bin", size_bytes)
    try:
        with Client(yard.server.url, yard.server.token, cache_dir=tmp_path / "cache", timeout_seconds=300) as client:
            client.push(tmp_path / "warm", "admin/warm:1.0.0")
            return _measure(yard, client, tmp_path / "large", size_bytes)
    finally:
        yard.server.stop()


def _measure(yard: Yard, client: Client, folder: Path, size_bytes: int) -> str:
    moved, read, peak = yard.moved_bytes, yard.proof_read_bytes, yard.server.peak_rss_bytes()
    began = time.monotonic()
    pushed = client.push(folder, "admin/large:1.0.0")
    seconds = time.monotonic() - began
    moved, read = yard.moved_bytes - moved, yard.proof_read_bytes - read
    grown = yard.server.peak_rss_bytes() - peak
    assert pushed.uploaded_bytes == size_bytes
    assert read == size_bytes
    assert moved < size_bytes / 1000 + MIB
    assert grown < MOST_GROWTH_BYTES, f"the server's memory grew by {grown / MIB:.0f} MiB"
    return (
        f"{size_bytes / MIB:,.0f} MiB by signed multipart in {seconds:.0f} s: the server read {read:,} bytes of the "
        f"store to prove them, {moved:,} passed its own requests, and its memory grew by {grown / MIB:.1f} MiB"
    )


def test_a_file_goes_up_while_the_servers_memory_stays_flat(tmp_path: Path, tell: Tell) -> None:
    told = push_large(tmp_path, SOME_BYTES)
    tell(told)


@pytest.mark.thorough
def test_five_gigabytes_go_up_while_the_servers_memory_stays_flat(tmp_path: Path, tell: Tell) -> None:
    told = push_large(tmp_path, LARGE_BYTES)
    (tmp_path / "large/large.bin").unlink()
    tell(told)
