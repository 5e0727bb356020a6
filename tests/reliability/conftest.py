"""One server for the tests of a file that leave it as they found it; and what these tests cannot do without."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import RunningServer, start_server
from tests.reliability.pushing import PART_BYTES


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A server is watched through what Linux tells of a process: its memory, its files, its limits."""
    if Path("/proc/self/status").exists():
        return
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="there is no /proc here"))


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with small parts; every user of it makes a user of his own."""
    folder = tmp_path_factory.mktemp("shared")
    server = start_server(folder / "data", part_size_bytes=str(PART_BYTES), free_disk_floor_bytes="0")
    yield server
    server.stop()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of eight megabytes; skips where this user may not mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("only root mounts disks; what a full one does is tested with a limit of the system, too")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)
