"""The pages without a mouse: by Tab and Enter alone, and always to be seen where one is."""

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenScreen
from tests.browser.screens import Way, in_each_way_of_reading, in_each_way_of_working
from tests.browser.world import World
from tests.house import Person, Registered

MOST_TABS = 80
IS_SEEN = """() => {
  const at = document.activeElement, style = getComputedStyle(at), box = at.getBoundingClientRect();
  const frame = at.querySelector('.picture-frame');
  const isMarked = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2
    || frame && parseFloat(getComputedStyle(frame).strokeWidth) >= 4;
  if (at === document.body) return true;  // past the end, before the beginning
  return isMarked && box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
}"""


@pytest.fixture
def owner(registry: Registered, way: Way) -> Person:
    owner = registry.user(f"typist-{way['width']}")
    assert owner.publish(f"{owner.name}/tiny:1.0.0").status_code == 201
    return owner


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until one is there; fails where one cannot be seen on the way."""
    expect(wanted).to_be_attached()
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        what = page.evaluate("document.activeElement.outerHTML.slice(0, 200)")
        assert page.evaluate(IS_SEEN), f"nobody sees that he is at {what}"
        if wanted.evaluate("it => it === document.activeElement"):
            return
    raise AssertionError(f"{MOST_TABS} Tabs do not lead to {wanted}")


@in_each_way_of_reading
def test_skipping_to_the_content(screen: OpenScreen, world: World, way: Way) -> None:
    """The first Tab shows the link; after it the next Tab is inside the content."""
    page = screen(token=world.carol.token, **way).open("/hanse/sentiment/versions")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).not_to_be_in_viewport()
    page.keyboard.press("Tab")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


@in_each_way_of_working
def test_all_of_a_visit(screen: OpenScreen, owner: Person, way: Way) -> None:
    """The search, a model, its tabs, a form, and the menu."""
    window = screen(token=owner.token, **way)
    page = window.open("/-/me")
    tab_to(page, page.get_by_label("Search models"))
    page.keyboard.type("tiny")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Models", exact=True)).to_be_visible()
    tab_to(page, page.get_by_role("link", name=f"{owner.name}/tiny"))
    page.keyboard.press("Enter")
    tabs = page.get_by_role("navigation", name="This model")
    tab_to(page, tabs.get_by_role("link", name="Settings"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Who sees it")).to_be_visible()
    tab_to(page, page.get_by_label("Alias", exact=True))
    page.keyboard.type("by-hand")
    tab_to(page, page.get_by_label("Version", exact=True))
    expect(page.get_by_label("Version", exact=True)).to_have_value("1.0.0")
    tab_to(page, page.get_by_role("button", name="Set the alias"))
    page.keyboard.press("Enter")
    window.expect_notice("by-hand points at 1.0.0 now.")
    menu = page.locator("header.site summary")
    tab_to(page, menu)
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Tokens and sessions")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Tokens and sessions")).to_be_hidden()
    expect(menu).to_be_focused()
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("link", name="Tokens and sessions"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Where you are signed in")).to_be_visible()


@in_each_way_of_working
def test_the_picture_of_a_lineage(screen: OpenScreen, world: World, way: Way) -> None:
    """Or, where that has no room, the list that says the same."""
    page = screen(token=world.carol.token, **way).open("/hanse/tuned/lineage/1.0.0")
    tab_to(page, page.get_by_role("link", name="hanse/base:1.0.0").first)
    page.keyboard.press("Enter")
    page.wait_for_url("**/hanse/base/v/1.0.0")
