"""What the tests with a real browser stand on: one Chromium, one server with a world in it, windows of any width."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx2
import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.screens import NAMES, Screen, find_chromium, launch, must_run, open_screen
from tests.browser.world import World, make_world, publish_hostile
from tests.house import Registered, RunningServer, start_server

MISSING = f"THE TESTS WITH A BROWSER DID NOT RUN: there is no Chromium here (looked for {', '.join(NAMES)})"
OpenScreen = Callable[..., Screen]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it where it is read, and not among the dots."""
    if find_chromium() is None:
        terminalreporter.write_sep("!", MISSING, red=True, bold=True)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """The machine's own Chromium. It ends with these tests: a loop of events runs in this thread while it is there."""
    found = find_chromium()
    if found is None:
        if must_run():
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    with sync_playwright() as playwright:
        browser = launch(playwright, found)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server as `serve` starts it, which all these tests share."""
    running = start_server(tmp_path_factory.mktemp("pages") / "data", free_disk_floor_bytes="0", limits="off")
    yield running
    running.stop()


@pytest.fixture(scope="package")
def registry(server: RunningServer) -> Iterator[Registered]:
    """The people of the server."""
    with httpx2.Client(base_url=server.url, timeout=30) as client:
        yield Registered(client, server.token)  # type: ignore[arg-type]


@pytest.fixture(scope="package")
def world(registry: Registered) -> World:
    """What is there to be read. Tests that change anything make their own organisations."""
    made = make_world(registry)
    publish_hostile(made.mallory)
    return made


@pytest.fixture
def screen(chromium: Browser, server: RunningServer) -> Iterator[OpenScreen]:
    """Open a window: `screen(width="phone", scripts=False, dark=True, token=…)`, signed in where a token is named."""
    with ExitStack() as opened:

        def make(*, token: str | None = None, **chosen: object) -> Screen:
            made = opened.enter_context(open_screen(chromium, server.url, **chosen))  # type: ignore[arg-type]
            return made.sign_in(token) if token else made

        yield make
