"""What the tests of the Hub's door stand on: one server a module, and people who use it by the real client."""

from collections.abc import Iterator
from itertools import count

import httpx2
import pytest
from huggingface_hub import close_session, constants
from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

from tests.house import Person, Registered, RunningServer, start_server
from tests.server.doors.hf.hub import HubUser

_numbers = count(1)


@pytest.fixture(scope="module", autouse=True)
def _plainly() -> Iterator[None]:
    """Files come as they are: chunks have tests of their own. Nothing is drawn meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
        disable_progress_bars()
        yield
        enable_progress_bars()
        close_session()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with public models open to everybody, which all tests of a module share."""
    running = start_server(tmp_path_factory.mktemp("hub") / "data", anonymous_public="true", free_disk_floor_bytes="0")
    yield running
    running.stop()


@pytest.fixture
def server_url(server: RunningServer) -> str:
    """What `HF_ENDPOINT` would be."""
    return server.url


@pytest.fixture(scope="module")
def registry(server: RunningServer) -> Iterator[Registered]:
    """The people of the server."""
    with httpx2.Client(base_url=server.url, timeout=30) as client:
        yield Registered(client, server.token)  # type: ignore[arg-type]


@pytest.fixture
def ada(registry: Registered) -> Person:
    """Somebody new."""
    return registry.user(f"ada{next(_numbers)}")


@pytest.fixture
def bob(registry: Registered) -> Person:
    """Somebody else."""
    return registry.user(f"bob{next(_numbers)}")


@pytest.fixture
def hub(server: RunningServer, ada: Person, tmp_path_factory: pytest.TempPathFactory) -> HubUser:
    """Ada, as a user of the Hub's client."""
    return HubUser(server.url, ada.token, tmp_path_factory.mktemp("ada"))


@pytest.fixture
def others_hub(server: RunningServer, bob: Person, tmp_path_factory: pytest.TempPathFactory) -> HubUser:
    """Bob, too."""
    return HubUser(server.url, bob.token, tmp_path_factory.mktemp("bob"))


@pytest.fixture
def anonymous_hub(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> HubUser:
    """Somebody without a token, too."""
    return HubUser(server.url, None, tmp_path_factory.mktemp("nobody"))
