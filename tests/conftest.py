"""Fixtures for every test: a registry in this process, with settings of the test's choice, and servers in their own."""

import gc
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings

from tests.house import Registered, RunningServer, start_server
from tests.house.grid import CELL
from tests.house.registries import open_registered

hypothesis_settings.register_profile("steelyard", deadline=None, print_blob=True)
hypothesis_settings.load_profile("steelyard")

# A shell ignores Ctrl-C for what it starts in the background, and so would every program that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

THOROUGH_SECONDS = 3_600

DESELECTED = pytest.StashKey[int]()
FIGURES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker of `tests/house/grid.py`."""
    config.addinivalue_line("markers", "only(*parts): bound to a database or a store; deselected on others")
    config.stash[DESELECTED] = 0
    config.stash[FIGURES] = []
    config.pluginmanager.register(CountingWorkers(config))


def pytest_report_header() -> str:
    """Say what is being tested."""
    return f"grid: registries stand on {CELL}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is bound to another database or store than this run's; give the long-running ones their time."""
    for item in items:
        if item.get_closest_marker("thorough"):
            item.add_marker(pytest.mark.timeout(THOROUGH_SECONDS))
    bound = [item for item in items if not all(CELL.suits(*mark.args) for mark in item.iter_markers("only"))]
    if bound:
        config.hook.pytest_deselected(items=bound)
        items[:] = [item for item in items if item not in bound]
    config.stash[DESELECTED] = len(bound)


def pytest_collection_finish() -> None:
    """What was collected stays to the end: a collector of garbage need not go through it after every other test."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of xdist tells how many it left out, and what was counted."""
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["bound_elsewhere"] = session.config.stash[DESELECTED]
        output["figures"] = session.config.stash[FIGURES]


class CountingWorkers:
    """What xdist's workers, who all collect the same, left out; and what each of them counted."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        told = getattr(node, "workeroutput", {})
        self.config.stash[DESELECTED] = told.get("bound_elsewhere", 0)
        self.config.stash[FIGURES].extend(told.get("figures", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The figures that docs/reliability.md keeps. And nothing is left out in silence."""
    figures: list[str] = config.stash[FIGURES]
    for figure in sorted(figures):
        terminalreporter.write_line(figure)
    if config.stash[DESELECTED]:
        terminalreporter.write_line(f"grid: {config.stash[DESELECTED]} tests are not for {CELL} and were left out")


MakeRegistered = Callable[..., Registered]
Tell = Callable[[object], None]


@pytest.fixture(scope="session")
def tell(pytestconfig: pytest.Config) -> Tell:
    """Have a figure of this run printed at its end."""
    return lambda figure: pytestconfig.stash[FIGURES].append(str(figure).strip())


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
