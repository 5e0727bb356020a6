"""Fixtures for every test: a registry in this process, with settings of the test's choice, and servers in their own."""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from tests.house import Registered, RunningServer, start_server
from tests.house.registries import open_registered

hypothesis_settings.register_profile("steelyard", deadline=None, print_blob=True)
hypothesis_settings.load_profile("steelyard")

# A shell ignores Ctrl-C for what it starts in the background, and so would every program that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

MakeRegistered = Callable[..., Registered]


@pytest.fixture
def make_registered(tmp_path: Path) -> Iterator[MakeRegistered]:
    """Open a registry with these settings; it is closed when the test ends."""
    opened = ExitStack()
    numbers = count()

    def make(**chosen: object) -> Registered:
        return opened.enter_context(open_registered(**{"data": tmp_path / f"data{next(numbers)}", **chosen}))

    with opened:
        yield make


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
