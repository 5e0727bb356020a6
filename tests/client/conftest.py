"""A real server for the whole run, a client for it, folders to push, and nothing of this machine's own settings."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from steelyard.client import Client
from tests.client.fakes import FakeRegistry
from tests.house import RunningServer, start_server

PART_BYTES = 1 << 20
MakeFolder = Callable[[Mapping[str, bytes]], Path]
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STEELYARD_URL", "STEELYARD_TOKEN", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STEELYARD_CONFIG", str(tmp_path / "login.json"))
    monkeypatch.setenv("STEELYARD_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """`steelyard serve`, once for all tests of the client, with parts of 1 MiB so that small files have several."""
    data = tmp_path_factory.mktemp("live") / "data"
    running = start_server(data, part_size_bytes=str(PART_BYTES), free_disk_floor_bytes="0")
    yield running
    running.stop()


@pytest.fixture
def client(live: RunningServer) -> Iterator[Client]:
    """The admin's client for the real server, with a cache of the test's own."""
    with Client(live.url, live.token) as made:
        yield made


@pytest.fixture
def model() -> str:
    """A model name that no other test uses."""
    return f"admin/model-{next(_numbers)}"


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Make a folder that holds these files."""
    numbers = itertools.count(1)

    def make(files: Mapping[str, bytes]) -> Path:
        folder = tmp_path / f"folder{next(numbers)}"
        for path, data in files.items():
            place = folder.joinpath(*path.split("/"))
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        return folder

    return make


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    """A registry that does what a good one never does."""
    with FakeRegistry() as running:
        yield running
