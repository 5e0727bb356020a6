"""Signing in by an OpenID provider in a real browser: its policy, its cookies and its redirects are not ours to guess.

The provider is another origin, and sends everybody back at once.
"""

from collections.abc import Iterator

import httpx2
import pytest
from playwright.sync_api import Browser, expect

from tests.browser.screens import Screen, Way, in_each_way_of_reading, open_screen
from tests.house import Registered, RunningServer, start_server
from tests.house.openid import CLIENT_ID, CLIENT_SECRET, OwnProvider, own_provider


@pytest.fixture(scope="module")
def provider() -> Iterator[OwnProvider]:
    with own_provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory, provider: OwnProvider) -> Iterator[RunningServer]:
    running = start_server(
        tmp_path_factory.mktemp("openid") / "data",
        free_disk_floor_bytes="0",
        limits="off",
        oidc_issuer=provider.issuer,
        oidc_client_id=CLIENT_ID,
        oidc_client_secret=CLIENT_SECRET,
        oidc_name="Example ID",
        oidc_timeout_seconds="30",
    )
    yield running
    running.stop()


@pytest.fixture
def window(chromium: Browser, asking: RunningServer, provider: OwnProvider, way: Way) -> Iterator[Screen]:
    """One at the server that asks the provider."""
    with open_screen(chromium, asking.url, also=(provider.issuer,), **way) as screen:
        yield screen


@in_each_way_of_reading
def test_a_person_links_an_identity_and_signs_in_by_it(
    window: Screen, asking: RunningServer, provider: OwnProvider, way: Way
) -> None:
    name = f"linker-{way['width']}-{'scripts' if way.get('scripts', True) else 'plain'}"
    with httpx2.Client(base_url=asking.url, timeout=60) as client:
        token = Registered(client, asking.token).user(name).token  # type: ignore[arg-type]
    provider.person = {"sub": f"subject-of-{name}", "email": "ada@example.org"}
    page = window.open("/-/login?next=/-/me")
    _check(window)
    window.expected = (403,)
    window.follow("Sign in with Example ID")
    window.expect_refusal(403, "Nobody here has linked this identity")
    window.follow("Go back")
    page.get_by_label("Your token").fill(str(token))
    window.press("Sign in")
    window.open("/-/me")
    window.follow("Link an identity of Example ID")
    expect(page.get_by_role("heading", level=1)).to_have_text("Is this you?")
    _check(window)
    window.press("Link it to my account")
    window.expect_notice("From now on you can sign in with Example ID.")
    _check(window)
    page.locator("summary", has_text=name).click()
    page.get_by_role("button", name="Sign out", exact=True).first.click()
    window.open("/-/login?next=/-/me")
    window.follow("Sign in with Example ID")
    page.wait_for_url("**/-/me")
    expect(page.locator("summary", has_text=name)).to_be_visible()
    expect(page.get_by_role("rowheader", name="signed in by Example ID")).to_be_visible()


def _check(window: Screen) -> None:
    window.check_fits()
    if window.scripts:
        window.check_accessible()
