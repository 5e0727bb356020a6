"""Fixtures for every test: a registry in this process, with settings of the test's choice, and servers in their own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import settings as hypothesis_settings

from steelyard.server.app import create_app, open_registry
from steelyard.server.core.accounts import create_first_admin
from steelyard.server.settings import Settings
from tests.house import Registered, RunningServer, start_server

hypothesis_settings.register_profile("steelyard", deadline=None, print_blob=True)
hypothesis_settings.load_profile("steelyard")

MakeRegistered = Callable[..., Registered]


@pytest.fixture
def make_registered(tmp_path: Path) -> Iterator[MakeRegistered]:
    """Open a registry with these settings; it is closed when the test ends."""
    opened: list[TestClient] = []

    def make(**chosen: object) -> Registered:
        settings = Settings(**{"data": tmp_path / f"data{len(opened)}", "free_disk_floor_bytes": 0, **chosen})  # type: ignore[arg-type]
        registry = open_registry(settings)
        with registry.database.write() as session:
            made = create_first_admin(session, None)
        assert made is not None
        client = TestClient(create_app(registry), base_url="http://127.0.0.1", raise_server_exceptions=False)
        client.__enter__()
        opened.append(client)
        return Registered(client, made.secret)

    yield make
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def registered(make_registered: MakeRegistered) -> Registered:
    """A registry with its defaults."""
    return make_registered()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    """`steelyard serve` in a process of its own."""
    running = start_server(tmp_path / "data")
    yield running
    running.stop()
