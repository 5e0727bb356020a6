"""Every page, as wide as a phone and as a desk, light and dark, with scripts and without: whole, fitting, accessible,
asking nobody but this server."""

import re

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import OpenScreen
from tests.browser.pages import ADMINISTERED, HOSTILE, MANAGED, READ
from tests.browser.screens import Screen, Way
from tests.browser.world import World

WAYS: dict[str, Way] = {
    "desktop": {"width": "desktop"},
    "phone, dark": {"width": "phone", "dark": True},
}
in_both_looks = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
ATTRIBUTES = "[...document.querySelectorAll('*')].flatMap(it => it.getAttributeNames())"
ADDRESSES = "[...document.querySelectorAll('a, area, form, img, use')].flatMap(it => [it.href, it.action, it.src])"


def look_at(window: Screen, path: str, status: int = 200) -> Page:
    """Open it, and judge it."""
    page = window.open(path, status=status)
    window.check_fits()
    window.check_accessible()
    return page


@in_both_looks
def test_pages_for_readers(screen: OpenScreen, world: World, way: Way) -> None:
    window = screen(token=world.carol.token, **way)
    for path in READ.values():
        look_at(window, path)


@in_both_looks
def test_pages_for_owners(screen: OpenScreen, world: World, way: Way) -> None:
    window = screen(token=world.ada.token, **way)
    for path in MANAGED.values():
        look_at(window, path)


@in_both_looks
def test_pages_for_admins(screen: OpenScreen, world: World, way: Way) -> None:
    window = screen(token=world.registry.admin.token, **way)
    for path in ADMINISTERED.values():
        look_at(window, path)


@in_both_looks
def test_errors_and_the_way_in(screen: OpenScreen, world: World, way: Way) -> None:
    window = screen(**way)
    look_at(window, "/-/login?next=/hanse")
    window.sign_in(str(world.bob.token))
    look_at(window, "/nobody/nothing", 404)
    look_at(window, "/hanse/-/audit", 403)
    look_at(window, "/?page=none", 422)


@in_both_looks
def test_what_means_harm(screen: OpenScreen, world: World, way: Way) -> None:
    """Nothing of it runs, leads elsewhere by itself, hides the page, or makes it wider than the window."""
    window = screen(token=world.mallory.token, **way)
    for path in HOSTILE.values():
        page = window.open(path)
        window.check_fits()
        if window.width == "desktop":  # their colours are those of all others
            # of the many thousand cells of its card's table axe would tell nothing but how long it takes
            window.check_accessible(but=".card table")
        assert page.title() != "owned", path
        assert page.locator("header.site").is_visible(), path
        assert page.locator("iframe, main script, main style, base, meta[http-equiv]").count() == 0, path
        assert {name for name in page.evaluate(ATTRIBUTES) if name == "style" or name.startswith("on")} == set(), path
        said = [str(address).lower() for address in page.evaluate(ADDRESSES) if address]
        assert [each for each in said if each.startswith(("javascript:", "data:text", "vbscript:"))] == [], path


_AGES = re.compile(r"just now|\d+ \w+ ago")  # a minute may pass between two looks


def test_all_that_is_read_needs_no_script(screen: OpenScreen, world: World) -> None:
    """The text of each page is the same without scripts, but for what copies."""
    with_scripts, without = (screen(token=world.carol.token, scripts=scripts) for scripts in (True, False))
    for path in READ.values():
        assert _words(with_scripts.open(path)) == _words(without.open(path)), path


def _words(page: Page) -> list[str]:
    text = _AGES.sub("lately", page.locator("main").inner_text())
    return [word for word in text.split() if word != "Copy"]
