"""One server for the tests of a file that leave it as they found it; and what these tests cannot do without."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import RunningServer, start_server
from tests.reliability.pushing import PART_BYTES


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These tests are about the embedded default, where they do not say otherwise; other engines have their own in
    `tests/faults` and `tests/replicas`. A server is watched through what Linux tells of a process."""
    for item in items:
        if Path(__file__).parent not in item.path.parents:
            continue
        if item.get_closest_marker("only") is None:
            item.add_marker(pytest.mark.only("sqlite", "disk"))
        if not Path("/proc/self/status").exists():
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
