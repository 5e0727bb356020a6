"""Signing in and out, as a person does it."""

import pytest

from tests.browser.conftest import OpenScreen
from tests.house import Registered


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
@pytest.mark.parametrize("width", ["phone", "desktop"])
def test_signing_in_and_out(screen: OpenScreen, registry: Registered, width: str, scripts: bool) -> None:
    ada = registry.user(f"ada-{width}-{scripts}".lower())
    window = screen(width=width, scripts=scripts)
    page = window.open("/-/me")
    assert "/-/login?next=" in page.url
    window.expected = (401,)
    page.get_by_label("Your token").fill("syd_wrong")
    page.get_by_role("button", name="Sign in").click()
    assert page.get_by_role("alert").inner_text()
    page.get_by_label("Your token").fill(str(ada.token))
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/-/me")
    assert page.locator("summary", has_text=ada.name).is_visible()
    window.check_fits()
    page.locator("summary", has_text=ada.name).click()
    page.get_by_role("button", name="Sign out", exact=True).first.click()
    page.wait_for_url("**/-/login")
    assert "You are signed out" in page.get_by_role("status").inner_text()
    assert window.context.cookies() == [] or all("session" not in c["name"] for c in window.context.cookies())
