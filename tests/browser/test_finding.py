"""Finding a model, as a person does who does not know its name."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenScreen
from tests.browser.screens import Way, in_each_way_of_reading, in_each_way_of_working
from tests.browser.world import World
from tests.house import Person, Registered

SHIPS = 30


@pytest.fixture(scope="module")
def skipper(registry: Registered, world: World) -> Person:
    """Who owns thirty ships, which nobody else sees."""
    owner = registry.org("fleet")
    for number in range(SHIPS):
        made = owner.publish(
            f"fleet/ship-{number:02}:1.0.0",
            {"config.json": b"{}" + b" " * number},
            license="mit" if number % 3 == 0 else "apache-2.0",
            tags=["with-oars" if number % 2 else "with-sails"],
            summary="The smallest of all" if number == 0 else None,
        )
        assert made.status_code == 201, made.text
    return owner


def shown(page: Page) -> list[str]:
    return [name.strip() for name in page.locator("ul.models h3").all_inner_texts()]


def filters(page: Page) -> Locator:
    return page.get_by_role("complementary", name="Filters")


@in_each_way_of_reading
def test_from_anywhere(screen: OpenScreen, world: World, way: Way) -> None:
    window = screen(token=world.carol.token, **way)
    page = window.open("/hanse/-/members")
    page.get_by_label("Search models").fill("ship")
    page.get_by_label("Search models").press("Enter")
    expect(page).to_have_url(re.compile(r"/\?search=ship$"))
    expect(page.get_by_role("heading", name="Models", exact=True)).to_be_visible()
    expect(page.get_by_label("Search in names and summaries")).to_have_value("ship")
    expect(page.get_by_role("heading", name="hanse/sentiment")).to_be_visible()  # by its summary
    expect(page.get_by_role("heading", name="hanse/base")).to_have_count(0)
    window.check_fits()
    window.follow("hanse/sentiment")
    expect(page.get_by_role("heading", level=1)).to_have_text("hanse / sentiment")


@in_each_way_of_working
def test_while_typing(screen: OpenScreen, skipper: Person, way: Way) -> None:
    """The list and the address follow, and the page stays: what was typed is not lost, and Back leads on."""
    window = screen(token=skipper.token, **way)
    window.open("/fleet/-/members")
    page = window.open("/fleet")
    page.evaluate("window.isTheSamePage = true")
    page.get_by_label("Search in names and summaries").press_sequentially("ship-07")
    expect(page.locator("#found")).to_have_text("1 of 30 models")
    expect(page).to_have_url(re.compile(r"/fleet\?search=ship-07$"))
    assert shown(page) == ["fleet/ship-07"]
    assert page.evaluate("window.isTheSamePage")
    expect(page.get_by_label("Search in names and summaries")).to_be_focused()
    window.follow("fleet/ship-07")
    expect(page).to_have_url(re.compile(r"/fleet/ship-07$"))
    page.go_back()
    expect(page.get_by_label("Search in names and summaries")).to_have_value("ship-07")
    expect(page.locator("#found")).to_have_text("1 of 30 models")
    page.go_back()
    expect(page.get_by_role("heading", name="Members")).to_be_visible()


@in_each_way_of_working
def test_a_search_that_finds_nothing(screen: OpenScreen, skipper: Person, way: Way) -> None:
    window = screen(token=skipper.token, **way)
    page = window.open("/fleet")
    page.get_by_label("Search in names and summaries").press_sequentially("submarine")
    expect(page.get_by_text("Nothing found.")).to_be_visible()
    window.check_fits()
    window.follow("Clear all")
    expect(page.locator("#found")).to_have_text("30 models, page 1 of 2")


@in_each_way_of_reading
def test_narrowing_sorting_and_paging(screen: OpenScreen, skipper: Person, way: Way) -> None:
    """All of it stands in the address: whoever gets that sees the same."""
    window = screen(token=skipper.token, **way)
    page = window.open("/fleet")
    if way["width"] == "phone":
        window.follow("Filters", inside=page.get_by_role("search", name="Models of fleet"))
        expect(filters(page)).to_be_in_viewport()
    expect(filters(page).get_by_role("link", name=re.compile("^mit 10"))).to_be_visible()
    filters(page).get_by_role("link", name=re.compile("^apache-2.0 20")).click()
    expect(page.locator("#found")).to_have_text("20 of 30 models")
    page.get_by_label("Sort by").select_option("Largest")
    if not window.scripts:
        window.press("Search")
    expect(page.locator("ul.models h3").first).to_have_text("fleet/ship-29")
    filters(page).get_by_role("link", name=re.compile("^with-sails 10")).click()
    expect(page.locator("#found")).to_have_text("10 of 30 models")
    assert shown(page)[:2] == ["fleet/ship-28", "fleet/ship-26"]
    other = screen(token=skipper.token, width="desktop").open(page.url.removeprefix(window.url))
    assert shown(other) == shown(page)
    page.get_by_role("list", name="What is chosen").get_by_role("link", name=re.compile("apache-2.0")).click()
    expect(page.locator("#found")).to_have_text("15 of 30 models")
    window.follow("Clear all") if page.get_by_role("link", name="Clear all").count() else window.open("/fleet")
    expect(page.locator("#found")).to_have_text("30 models, page 1 of 2")
    first = shown(page)
    window.follow("Next", inside=page.get_by_role("navigation", name="Pages"))
    expect(page.locator("#found")).to_have_text("30 models, page 2 of 2")
    assert len(shown(page)) == 5 and len({*first, *shown(page)}) == SHIPS
    window.check_fits()
    page.go_back()
    expect(page.locator("#found")).to_have_text("30 models, page 1 of 2")
    assert shown(page) == first
