"""What a browser does on its way to an OpenID provider and back, one step a function."""

from typing import Any
from urllib.parse import urlsplit

import httpx2

from tests.house.openid import CLIENT_ID, CLIENT_SECRET
from tests.server.doors.web.visiting import Page, Visitor


def settings_of(issuer: str) -> dict[str, Any]:
    return {
        "oidc_issuer": issuer,
        "oidc_client_id": CLIENT_ID,
        "oidc_client_secret": CLIENT_SECRET,
        "oidc_name": "Example ID",
        "oidc_timeout_seconds": 4.0,
    }


def start(browser: Visitor, path: str = "/-/oidc/start") -> str:
    """Where the browser is sent."""
    page = browser.get(path, follow=False)
    assert page.status == 303, page.response.text
    return str(page.response.headers["location"])


def consent(url: str) -> str:
    """Where our own provider sends it back to."""
    answer = httpx2.get(url, timeout=60)
    assert answer.status_code == 302, answer.text
    return str(answer.headers["location"])


def come_back(browser: Visitor, url: str, *, follow: bool = True) -> Page:
    parts = urlsplit(url)
    return browser.get(f"{parts.path}?{parts.query}", follow=follow, headers={"Sec-Fetch-Site": "cross-site"})


def sign_in(browser: Visitor, path: str = "/-/oidc/start") -> Page:
    return come_back(browser, consent(start(browser, path)))


def name_of(browser: Visitor) -> str | None:
    """Who a browser is signed in as."""
    page = browser.get("/-/login")
    found = page.html.css_first("nav summary")
    return found.text(strip=True) if found else None
