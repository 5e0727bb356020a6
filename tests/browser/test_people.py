"""People and what acts for them: members, service accounts, tokens, sessions, and the trail of who did what."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenScreen
from tests.browser.screens import Screen, Way, in_each_way_of_working
from tests.browser.world import World
from tests.house import Person, Registered


@pytest.fixture
def owner(registry: Registered, request: pytest.FixtureRequest) -> Person:
    """Who owns an organisation of this test's own, with nothing in it."""
    return registry.user(re.sub(r"[^a-z]+", "-", request.node.name.lower()).strip("-")[-60:])


def row_of(page: Page, table: str, text: str) -> Locator:
    return page.get_by_role("region", name=table, exact=True).get_by_role("row").filter(has_text=text)


def follow_tab(window: Screen, name: str) -> Page:
    return window.follow(name, inside=window.page.get_by_role("navigation", name="This organisation"))


def may_read(window: Screen, token: str) -> bool:
    headers = {"Authorization": f"Bearer {token}"}
    return window.context.request.get(f"{window.url}/api/v1/user/organizations", headers=headers).ok


def read_secret(page: Page) -> str:
    """The token that a page shows this once."""
    expect(page.get_by_text("this is the only time that it is shown")).to_be_visible()
    return page.locator("pre code").inner_text().strip()


@in_each_way_of_working
def test_members(screen: OpenScreen, owner: Person, world: World, way: Way) -> None:
    window, theirs = screen(token=owner.token, **way), screen(token=world.carol.token, **way)
    theirs.open(f"/{owner.name}/-/members", status=404)
    window.open(f"/{owner.name}")
    page = follow_tab(window, "Members")
    page.get_by_label("User name").fill("carol")
    page.get_by_label("Role", exact=True).select_option("reader")
    window.press("Add the member")
    window.expect_notice("carol is a member now, as reader.")
    theirs.open(f"/{owner.name}/-/members")
    expect(theirs.page.get_by_role("button", name=re.compile("^Remove"))).to_have_count(0)
    page.get_by_label("Role of carol").select_option("contributor")
    window.press("Change the role of carol")
    window.expect_notice("carol is contributor now.")
    expect(row_of(page, "Members", "carol").get_by_role("cell").first).to_have_text("contributor")
    window.check_fits()
    window.press("Remove carol")
    window.expect_notice("carol is no longer a member.")
    theirs.open(f"/{owner.name}/-/members", status=404)


@in_each_way_of_working
def test_members_who_cannot_be(screen: OpenScreen, owner: Person, way: Way) -> None:
    """Nobody of that name; and the last owner stays."""
    window = screen(token=owner.token, **way)
    page = window.open(f"/{owner.name}/-/members")
    window.expected = (404, 409, 422)
    page.get_by_label("User name").fill("nobody-at-all")
    window.press("Add the member")
    window.expect_refusal(404, "nobody-at-all")
    window.follow("Go back")
    window.press(f"Leave {owner.name}")
    expect(page.get_by_role("main")).to_contain_text("owner")
    expect(page.get_by_role("main")).to_contain_text("Request id:")
    window.open(f"/{owner.name}/-/members")


@in_each_way_of_working
def test_a_service_account(screen: OpenScreen, owner: Person, way: Way) -> None:
    """Its token is shown once, works, and works no longer when it is revoked."""
    window = screen(token=owner.token, **way)
    window.open(f"/{owner.name}")
    page = follow_tab(window, "Service accounts")
    page.get_by_label("Name").fill("ci")
    page.get_by_label("Role").select_option("contributor")
    window.press("Make the service account")
    expect(page.get_by_role("heading", name="ci", exact=True)).to_be_visible()
    page.get_by_label("Name").fill("the nightly build")
    page.get_by_label("It may").select_option("only read")
    page.get_by_label("Ends after days").fill("30")
    window.press("Make the token")
    secret = read_secret(page)
    assert may_read(window, secret)
    window.check_fits()
    window.follow("I have copied it")
    expect(row_of(page, "Tokens", "the nightly build")).to_contain_text("read")
    assert secret not in page.content()
    page.reload()
    assert secret not in page.content()
    window.press("Revoke the nightly build")
    window.expect_notice("The token is revoked.")
    assert not may_read(window, secret)
    window.press("Remove ci")
    window.expect_notice("ci is removed, and its tokens open nothing any more.")


@in_each_way_of_working
def test_own_tokens(screen: OpenScreen, owner: Person, way: Way) -> None:
    window = screen(token=owner.token, **way)
    page = window.open("/")
    page.locator("summary", has_text=owner.name).click()
    window.follow("Tokens and sessions")
    page.get_by_label("Name", exact=True).fill("my laptop")
    page.get_by_label("For", exact=True).select_option(f"{owner.name} only")
    window.press("Make the token")
    secret = read_secret(page)
    assert may_read(window, secret)
    page.go_back()
    page.reload()
    assert secret not in page.content()
    window.check_fits()
    window.press("Revoke my laptop")
    expect(page.locator("p.notice")).to_contain_text("The token is revoked")
    expect(row_of(page, "Tokens", "my laptop")).to_have_count(0)
    assert not may_read(window, secret)


@in_each_way_of_working
def test_signing_out_everywhere(screen: OpenScreen, owner: Person, way: Way) -> None:
    """As the other window sees it when it next asks for something."""
    here, there = screen(token=owner.token, **way), screen(token=owner.token, **way)
    there.open("/-/me")
    page = here.open("/-/me")
    sessions = page.get_by_role("region", name="Sessions")
    expect(sessions.get_by_role("row")).to_have_count(3)
    here.press("Sign out there")
    here.expect_notice("You are signed out there.")
    there.open("/-/me")
    expect(there.page).to_have_url(re.compile(r"/-/login\?next="))
    there.sign_in(str(owner.token))
    there.open("/-/me")
    here.press("Sign out everywhere")
    here.expect_notice("You are signed out.")
    there.open("/hanse")
    expect(there.page).to_have_url(f"{there.url}/-/login?next=%2Fhanse")
    there.page.get_by_label("Your token").fill(str(owner.token))
    there.expected = (404,)
    there.press("Sign in")
    expect(there.page).to_have_url(f"{there.url}/hanse")


@in_each_way_of_working
def test_the_trail(screen: OpenScreen, owner: Person, way: Way) -> None:
    for version in ("1.0.0", "1.1.0"):
        assert owner.publish(f"{owner.name}/tiny:{version}").status_code == 201
    assert owner.put(f"/org/{owner.name}/models/tiny/1.0.0/yank", {"reason": "<i>No.</i>"}).is_success
    window = screen(token=owner.token, **way)
    window.open(f"/{owner.name}")
    page = follow_tab(window, "Audit")
    events = page.get_by_role("region", name="Events")
    expect(events).to_contain_text("version.publish")
    page.get_by_label("Action").fill("version.yank")
    window.press("Filter")
    expect(events.get_by_role("row")).to_have_count(2)
    expect(events).to_contain_text("<i>No.</i>")
    expect(page).to_have_url(re.compile(r"action=version\.yank"))
    window.check_fits()
    page.get_by_label("Until").fill("2001-02-03T04:05:06")
    window.press("Filter")
    expect(page.get_by_text("Nothing passes this filter.")).to_be_visible()
    window.follow("Show all")
    page.get_by_label("Of", exact=True).fill(f"{owner.name}/tiny:1.1.0")
    window.press("Filter")
    expect(events.get_by_role("row")).to_have_count(2)


@in_each_way_of_working
def test_the_first_look(screen: OpenScreen, owner: Person, way: Way) -> None:
    """Who has nothing yet is told what to do next, down to the command."""
    window = screen(token=owner.token, **way)
    page = window.open(f"/{owner.name}")
    commands = page.get_by_role("main").locator("pre")
    expect(commands.filter(has_text=f"steelyard login {window.url}")).to_be_visible()
    expect(commands.filter(has_text=f"{owner.name}/my-model:1.0.0")).to_be_visible()
    window.check_fits()
    page.get_by_role("main").get_by_role("link", name=re.compile("from this browser")).click()
    expect(page.get_by_role("heading", name="Upload a small model")).to_be_visible()


@in_each_way_of_working
def test_a_new_organisation(screen: OpenScreen, registry: Registered, world: World, way: Way) -> None:
    window = screen(token=registry.admin.token, **way)
    page = window.open("/")
    page.locator("header.site summary").click()
    window.follow("New organisation")
    slug = f"guild-{way['width']}"
    page.get_by_label("Name in addresses").fill(slug)
    page.get_by_label("Full name").fill("The Guild <of> Weighers")
    page.get_by_label("Its first owner").fill("carol")
    window.press("Make the organisation")
    window.expect_notice(f"{slug} is there, and carol owns it.")
    window.check_fits()
    theirs = screen(token=world.carol.token, **way)
    theirs.open("/")
    theirs.open(f"/{slug}")
    expect(theirs.page.get_by_text("The Guild <of> Weighers")).to_be_visible()
    expect(theirs.page.get_by_text("you are owner")).to_be_visible()
    window.expected = (409,)
    page = window.open("/-/orgs/new")
    page.get_by_label("Name in addresses").fill(slug)
    window.press("Make the organisation")
    window.expect_refusal(409, slug)


@in_each_way_of_working
def test_users(screen: OpenScreen, registry: Registered, way: Way) -> None:
    """A new one signs in with the token that is shown once, and no longer when he is disabled."""
    window = screen(token=registry.admin.token, **way)
    page = window.open("/-/users")
    name = f"apprentice-{way['width']}"
    page.get_by_label("User name").fill(name)
    window.press("Make the user")
    theirs = screen(token=read_secret(page), **way)
    theirs.open(f"/{name}")
    window.follow("I have copied it")
    window.press(f"Disable {name}")
    window.expect_notice(f"{name} is changed.")
    expect(row_of(page, "Users", name)).to_contain_text("disabled")
    theirs.open(f"/{name}")
    expect(theirs.page.get_by_role("heading", name="Sign in")).to_be_visible()
