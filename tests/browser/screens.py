"""Chromium as a person uses it, watched: a request to anywhere else, an error of a script, or anything that the
policy of the pages forbids fails the test that caused it."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Playwright, Request, expect

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
Width = Literal["phone", "desktop"]
SIZES: dict[Width, tuple[int, int]] = {"phone": (360, 740), "desktop": (1280, 900)}
Way = Mapping[str, Any]
_PHONE, _DESKTOP = {"width": "phone"}, {"width": "desktop"}
_PLAIN = {"scripts": False}
WORKING: Mapping[str, Way] = {"desktop": _DESKTOP, "phone": _PHONE}
READING: Mapping[str, Way] = {
    **WORKING,
    "phone, no scripts": {**_PHONE, **_PLAIN},
}
in_each_way_of_reading = pytest.mark.parametrize("way", READING.values(), ids=READING.keys())
in_each_way_of_working = pytest.mark.parametrize("way", WORKING.values(), ids=WORKING.keys())
_AXE_OPTIONS = {
    "resultTypes": ["violations"],
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"],
}
_RUN_AXE = "async ([about, options]) => (await axe.run(about, options)).violations"
_ACTION_MS = 30_000  # what a loaded machine needs; a page that is there takes none of it
expect.set_options(timeout=_ACTION_MS)


def find_chromium() -> str | None:
    """Where this machine has a Chromium, if it has one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def must_run() -> bool:
    """Whether a run without a browser is a failure, as in CI."""
    return os.environ.get("STEELYARD_BROWSER") == "required"


def launch(playwright: Playwright, chromium: str) -> Browser:
    """Start the machine's own Chromium."""
    return playwright.chromium.launch(executable_path=chromium, args=FLAGS)


class Screen:
    """A browser's window at one server, and what went wrong in it so far."""

    def __init__(
        self, context: BrowserContext, url: str, *, scripts: bool, width: Width, also: tuple[str, ...]
    ) -> None:
        self.context, self.url, self.scripts, self.width = context, url, scripts, width
        self._guests = {urlsplit(each).netloc for each in also}
        self.page: Page = context.new_page()
        self.faults: list[str] = []
        self.expected: tuple[int, ...] = ()
        context.on("request", self._note_request)
        context.on("console", self._note_console)
        context.on("weberror", lambda error: self.faults.append(f"a script failed: {error.error}"))
        context.set_default_timeout(_ACTION_MS)

    def _note_request(self, request: Request) -> None:
        wanted, ours = urlsplit(request.url), urlsplit(self.url)
        is_welcome = wanted.netloc in (ours.netloc, *self._guests) or urlsplit(request.frame.url).netloc in self._guests
        if wanted.scheme in ("http", "https", "ws", "wss") and not is_welcome:
            self.faults.append(f"a request left the server: {request.url}")

    def _note_console(self, message: ConsoleMessage) -> None:
        where = message.location.get("url", "")
        is_expected = any(f"status of {status}" in message.text for status in self.expected)
        if message.type == "error" and not is_expected and urlsplit(where).netloc not in self._guests:
            self.faults.append(f"the console said: {message.text} ({where})")

    def open(self, path: str, *, status: int = 200) -> Page:
        """Go there; fails unless it is answered so."""
        self.expected = (*self.expected, status) if status >= 400 else self.expected
        answer = self.page.goto(self.url + path)
        assert answer is not None and answer.status == status, (path, answer and answer.status)
        return self.page

    def sign_in(self, token: str) -> "Screen":
        """Have the cookie that signing in gives, without looking at its page."""
        form: dict[str, str | float | bool] = {"token": token, "next": "/"}
        answer = self.context.request.post(f"{self.url}/-/login", form=form, max_redirects=0)
        assert answer.status == 303, answer.text()
        return self

    def follow(self, name: str, *, inside: Locator | None = None, exact: bool = True) -> Page:
        """Click the link of this name, as the whole page has it, or a part of it."""
        (inside or self.page.locator("body")).get_by_role("link", name=name, exact=exact).click()
        return self.page

    def press(self, name: str, *, inside: Locator | None = None) -> Page:
        """Click the button of this name."""
        (inside or self.page.locator("body")).get_by_role("button", name=name, exact=True).click()
        return self.page

    def expect_notice(self, text: str) -> None:
        """Fails unless the page says so above everything else."""
        expect(self.page.locator("p.notice")).to_have_text(text)

    def expect_refusal(self, status: int, text: str) -> None:
        """Fails unless the page is that of an error, and says so."""
        expect(self.page.get_by_text(str(status), exact=True)).to_be_visible()
        expect(self.page.get_by_role("main")).to_contain_text(text)
        expect(self.page.get_by_role("main")).to_contain_text("Request id:")

    def check_accessible(self, *, but: str | None = None) -> None:
        """Fails for anything that axe finds wrong with the page as it stands, `but` for what this selector finds."""
        self.page.evaluate(_axe_script())
        about = {"include": [["html"]], "exclude": [[but]] if but else []}
        found = self.page.evaluate(_RUN_AXE, [about, _AXE_OPTIONS])
        said = [
            f"{fault['id']}: {fault['help']}\n  " + "\n  ".join(node["html"][:300] for node in fault["nodes"][:5])
            for fault in found
        ]
        assert not said, f"{self.page.url}:\n" + "\n".join(said)

    def check_fits(self) -> None:
        """Fails where the page is wider than its window: nobody should have to move it to and fro."""
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{self.page.url} is {wide} px wider than the window"

    def check_quiet(self) -> None:
        """Fails for whatever went wrong until now."""
        assert self.faults == []


@cache
def _axe_script() -> str:
    return str(Axe().axe_script)


@contextmanager
def open_screen(
    browser: Browser,
    url: str,
    *,
    width: Width = "desktop",
    scripts: bool = True,
    dark: bool = False,
    also: tuple[str, ...] = (),
) -> Iterator[Screen]:
    """A window with its own cookies; what went wrong in it is told at the end. `also` are other servers that it may
    ask; what their own pages do is not ours."""
    wide, high = SIZES[width]
    context = browser.new_context(
        viewport={"width": wide, "height": high},
        java_script_enabled=scripts,
        color_scheme="dark" if dark else "light",
        is_mobile=width == "phone",
        has_touch=width == "phone",
        locale="en-GB",
        timezone_id="UTC",
        reduced_motion="reduce",
    )
    try:
        screen = Screen(context, url, scripts=scripts, width=width, also=also)
        yield screen
        screen.check_quiet()
    finally:
        context.close()
