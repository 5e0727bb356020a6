"""Signing in through an OpenID provider that is none of ours, as a person does it: on its page, and back."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.screens import Way, in_each_way_of_reading, open_screen
from tests.house import RunningServer, start_server
from tests.house.openid import CLIENT_ID, CLIENT_SECRET, independent_provider

GRACE = {"sub": "grace-1", "preferred_username": "Grace.Hopper", "email": "grace@example.org", "email_verified": True}


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with independent_provider(GRACE) as issuer:
        yield issuer


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory, issuer: str) -> Iterator[RunningServer]:
    """A server that asks the provider, and makes users of strangers."""
    running = start_server(
        tmp_path_factory.mktemp("independent") / "data",
        free_disk_floor_bytes="0",
        limits="off",
        oidc_issuer=issuer,
        oidc_client_id=CLIENT_ID,
        oidc_client_secret=CLIENT_SECRET,
        oidc_name="Example ID",
        oidc_create_users="true",
        oidc_timeout_seconds="30",
    )
    yield running
    running.stop()


@in_each_way_of_reading
def test_a_full_login(chromium: Browser, asking: RunningServer, issuer: str, way: Way) -> None:
    """Refused there, one is told so here; let in there, one is where one wanted to go."""
    with open_screen(chromium, asking.url, also=(issuer,), **way) as window:
        # the provider's page would have its looks from elsewhere, and here is no elsewhere
        window.context.route(re.compile("^https:"), lambda route: route.fulfill(content_type="text/css", body=""))
        page = window.open("/-/me")
        window.follow("Sign in with Example ID")
        page.wait_for_url(lambda url: url.startswith(issuer))
        window.expected = (400,)
        page.get_by_role("button", name="Deny").click()
        window.expect_refusal(400, "Begin again.")  # this provider forgets the state that it has to bring back
        window.check_fits()
        window.follow("Go back")
        page = window.open("/-/me")
        window.follow("Sign in with Example ID")
        page.get_by_placeholder("sub").fill("grace-1")
        page.get_by_role("button", name="Authorize").click()
        expect(page).to_have_url(f"{asking.url}/-/me")
        expect(page.get_by_role("main")).to_contain_text("grace-hopper")
        expect(page.get_by_role("main")).to_contain_text("grace@example.org")
        page.locator("summary", has_text="grace-hopper").click()
        page.get_by_role("button", name="Sign out", exact=True).first.click()
        window.expect_notice("You are signed out.")
