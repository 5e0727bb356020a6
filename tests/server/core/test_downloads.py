"""Counting downloads: nothing noted is lost when the database cannot be written just then."""

import time

import pytest

from steelyard.server.errors import DatabaseTimeout
from tests.conftest import MakeRegistered
from tests.house.people import path_of
from tests.house.registries import somebody_writing


def test_counts_that_could_not_be_written_are_written_later(make_registered: MakeRegistered) -> None:
    registered = make_registered(database_timeout_seconds=0.05)
    registry = registered.client.app.state.registry  # type: ignore[attr-defined]
    ada = registered.user("ada")
    ada.publish("ada/tiny:1.0.0")
    path = f"{path_of('ada/tiny')}/1.0.0"
    with somebody_writing(registered):
        assert ada.get(f"{path}/files/model.safetensors").status_code == 200, "serving a file waits for no writer"
        with pytest.raises(DatabaseTimeout):
            for _ in range(100):  # the background may be trying just now, with what was noted in its hands
                registry.usage.write_down(registry.database)
                time.sleep(0.01)
    began = time.monotonic()
    while ada.get(path).json()["download_count"] == 0:
        assert time.monotonic() - began < 5
        time.sleep(0.05)
    assert ada.get(path).json()["download_count"] == 1
