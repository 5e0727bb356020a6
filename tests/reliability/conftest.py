"""One server for the tests of a file that leave it as they found it."""

from collections.abc import Iterator

import pytest

from tests.house import RunningServer, start_server
from tests.reliability.pushing import PART_BYTES


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with small parts; every user of it makes a user of his own."""
    folder = tmp_path_factory.mktemp("shared")
    server = start_server(folder / "data", part_size_bytes=str(PART_BYTES), free_disk_floor_bytes="0")
    yield server
    server.stop()
