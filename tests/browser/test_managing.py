"""Managing a model: who sees it, its aliases, yanks, and deleting, which is typed."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenScreen
from tests.browser.screens import Screen, Way, in_each_way_of_working
from tests.browser.world import World
from tests.house import Person, Registered

VERSIONS = ("1.0.0", "1.1.0", "2.0.0")


@pytest.fixture
def owner(registry: Registered, request: pytest.FixtureRequest) -> Person:
    """Who owns an organisation of this test's own, with a private model of three versions in it."""
    owner = registry.user(re.sub(r"[^a-z]+", "-", request.node.name.lower()).strip("-")[-60:])
    for version in VERSIONS:
        files = {"config.json": version.encode()}
        assert owner.publish(f"{owner.name}/tiny:{version}", files).status_code == 201
    return owner


def section(page: Page, heading: str) -> Locator:
    return page.locator("section").filter(has=page.get_by_role("heading", name=heading, exact=True))


def version_of(page: Page, number: str) -> Locator:
    """The version among those of the settings, opened."""
    entry = section(page, "Versions").get_by_role("listitem").filter(has_text=re.compile(rf"\b{re.escape(number)}\b"))
    if entry.locator("details").get_attribute("open") is None:
        entry.locator("summary").click()
    return entry


def open_settings(window: Screen, owner: Person) -> Page:
    page = window.open(f"/{owner.name}/tiny")
    return window.follow("Settings", inside=page.get_by_role("navigation", name="This model"))


@in_each_way_of_working
def test_who_sees_it(screen: OpenScreen, owner: Person, world: World, way: Way) -> None:
    window, stranger = screen(token=owner.token, **way), screen(token=world.carol.token, **way)
    stranger.open(f"/{owner.name}/tiny", status=404)
    page = open_settings(window, owner)
    page.get_by_role("radio", name=re.compile("^Public")).check()
    window.press("Save the visibility")
    window.expect_notice(f"{owner.name}/tiny is public now.")
    expect(page.locator("p.badges")).to_contain_text("public")
    window.check_fits()
    stranger.open(f"/{owner.name}/tiny")
    expect(stranger.page.get_by_role("navigation", name="This model").get_by_text("Settings")).to_have_count(0)
    page.get_by_role("radio", name=re.compile("^Private")).check()
    window.press("Save the visibility")
    window.expect_notice(f"{owner.name}/tiny is private now.")
    stranger.open(f"/{owner.name}/tiny", status=404)


@in_each_way_of_working
def test_aliases(screen: OpenScreen, owner: Person, way: Way) -> None:
    """Set, moved, protected and removed; and what became of it stands on the line of versions."""
    window = screen(token=owner.token, **way)
    page = open_settings(window, owner)
    aliases = section(page, "Aliases")
    aliases.get_by_label("Alias", exact=True).fill("production")
    aliases.get_by_label("Version", exact=True).fill("1.0.0")
    window.press("Set the alias")
    window.expect_notice("production points at 1.0.0 now.")
    row = aliases.get_by_role("row").filter(has_text="production")
    row.get_by_label("Version for production").fill("2.0.0")
    window.press("Move production")
    window.expect_notice("production points at 2.0.0 now.")
    expect(row.get_by_role("link", name="2.0.0")).to_be_visible()
    window.press("Protect production")
    window.expect_notice("production is protected now.")
    expect(row.get_by_text("protected", exact=True)).to_be_visible()
    window.check_fits()
    assert owner.get(f"/org/{owner.name}/models/tiny/production").json()["version"] == "2.0.0"
    window.press("Unprotect production")
    window.press("Remove production")
    window.expect_notice("production is removed.")
    expect(aliases.get_by_text("No alias yet.")).to_be_visible()
    window.follow("Versions", inside=page.get_by_role("navigation", name="This model"))
    moves = page.get_by_role("list", name="Moves of aliases")
    expect(moves.filter(has_text="was removed")).to_contain_text("came here from 1.0.0")
    expect(moves.filter(has_text="went on to 2.0.0")).to_contain_text(f"by {owner.name}")


@in_each_way_of_working
def test_a_wrong_alias_is_refused(screen: OpenScreen, owner: Person, way: Way) -> None:
    """And one is led back to where it was written."""
    window = screen(token=owner.token, **way)
    page = open_settings(window, owner)
    window.expected = (422, 404)
    section(page, "Aliases").get_by_label("Alias", exact=True).fill("1.0.0")
    window.press("Set the alias")
    window.expect_refusal(422, "alias")
    window.follow("Go back")
    expect(page).to_have_url(f"{window.url}/{owner.name}/tiny/settings")
    section(page, "Aliases").get_by_label("Alias", exact=True).fill("good")
    section(page, "Aliases").get_by_label("Version", exact=True).fill("9.9.9")
    window.press("Set the alias")
    window.expect_refusal(404, "9.9.9")


@in_each_way_of_working
def test_yanking(screen: OpenScreen, owner: Person, way: Way) -> None:
    """`latest` is another one while it lasts, and the reason is read on the card and on the line."""
    window = screen(token=owner.token, **way)
    page = open_settings(window, owner)
    version_of(page, "2.0.0").get_by_label("Why nobody should use 2.0.0").fill("It weighs <b>wrong</b>.")
    window.press("Yank 2.0.0")
    window.expect_notice("2.0.0 is yanked.")
    expect(page.locator("p.badges .version")).to_have_text("1.1.0")
    window.check_fits()
    window.follow("Versions", inside=page.get_by_role("navigation", name="This model"))
    expect(page.get_by_role("listitem").filter(has_text="It weighs <b>wrong</b>.")).to_be_visible()
    window.open(f"/{owner.name}/tiny/v/2.0.0")
    expect(page.get_by_text("It weighs <b>wrong</b>.")).to_be_visible()
    page = open_settings(window, owner)
    version_of(page, "2.0.0")
    window.press("Undo the yank of 2.0.0")
    window.expect_notice("2.0.0 is no longer yanked.")
    expect(page.locator("p.badges .version")).to_have_text("2.0.0")


@in_each_way_of_working
def test_deleting_a_version(screen: OpenScreen, owner: Person, way: Way) -> None:
    """Only by typing its number: with a script the button waits for it."""
    window = screen(token=owner.token, **way)
    page = open_settings(window, owner)
    entry = version_of(page, "1.1.0")
    button = entry.get_by_role("button", name="Delete 1.1.0 for good")
    expect(button).to_be_disabled()
    entry.get_by_label("Type 1.1.0 to delete it").fill("1.1")
    expect(button).to_be_disabled()
    entry.get_by_label("Type 1.1.0 to delete it").fill("1.1.0")
    window.check_fits()
    button.click()
    window.expect_notice("1.1.0 is deleted. Its number is spent.")
    window.open(f"/{owner.name}/tiny/v/1.1.0", status=404)
    assert owner.get(f"/org/{owner.name}/models/tiny/1.0.0").status_code == 200


@in_each_way_of_working
def test_the_wrong_text_deletes_nothing(screen: OpenScreen, owner: Person, way: Way) -> None:
    """Without a script the server looks at it."""
    window = screen(token=owner.token, **way, scripts=False)
    page = open_settings(window, owner)
    window.expected = (422,)
    entry = version_of(page, "1.1.0")
    entry.get_by_label("Type 1.1.0 to delete it").fill("1.0.0")
    window.press("Delete 1.1.0 for good")
    window.expect_refusal(422, "1.1.0")
    page = open_settings(window, owner)
    page.get_by_label(f"Type {owner.name}/tiny to delete it").fill("tiny")
    window.press(f"Delete {owner.name}/tiny for good")
    window.expect_refusal(422, f"{owner.name}/tiny")
    for version in VERSIONS:
        assert owner.get(f"/org/{owner.name}/models/tiny/{version}").status_code == 200


@in_each_way_of_working
def test_deleting_a_model(screen: OpenScreen, owner: Person, way: Way) -> None:
    """Not while an alias holds a version of it."""
    path = f"/org/{owner.name}/models/tiny"
    assert owner.post(f"{path}/1.0.0/aliases", {"alias": "production"}).is_success
    window = screen(token=owner.token, **way)
    page = open_settings(window, owner)
    deleting = section(page, "Delete this model")
    expect(deleting).to_contain_text("Remove them first")
    expect(deleting.get_by_role("button")).to_have_count(0)
    window.press("Remove production")
    window.expect_notice("production is removed.")
    deleting.get_by_label(f"Type {owner.name}/tiny to delete it").fill(f"{owner.name}/tiny")
    window.press(f"Delete {owner.name}/tiny for good")
    expect(page).to_have_url(re.compile(rf"/{owner.name}$"))
    expect(page.locator("p.notice")).to_contain_text(f"{owner.name}/tiny is deleted")
    window.open(f"/{owner.name}/tiny", status=404)
    assert owner.get(f"{path}/1.0.0").status_code == 404


@in_each_way_of_working
def test_what_others_are_not_shown(screen: OpenScreen, world: World, way: Way) -> None:
    """A contributor moves aliases, and does not delete; a reader changes nothing; neither sees the trail."""
    bob = screen(token=world.bob.token, **way)
    page = bob.open("/hanse/sentiment/settings")
    expect(section(page, "Aliases").get_by_role("button", name="Move production", exact=True)).to_be_visible()
    for heading in ("Who sees it", "Delete this model"):
        expect(page.get_by_role("heading", name=heading)).to_have_count(0)
    expect(page.get_by_role("button", name=re.compile("^Delete"))).to_have_count(0)
    carol = screen(token=world.carol.token, **way)
    page = carol.open("/hanse/sentiment")
    tabs = page.get_by_role("navigation", name="This model")
    expect(tabs.get_by_role("link")).to_have_text(["Card", "Versions", "Files", "Lineage"])
    page = carol.open("/hanse")
    tabs = page.get_by_role("navigation", name="This organisation")
    expect(tabs.get_by_role("link")).to_have_text(["Models", "Members"])
    for path in ("/hanse/sentiment/settings", "/hanse/-/upload", "/hanse/-/audit"):
        carol.open(path, status=403)
        expect(page.get_by_role("heading", level=1)).to_have_text("You may not do this")
