"""Every form of the pages: whoever was not on the page that has it, or not just now, changes nothing. And every answer:
its headers.

The routes are those of the running application, so that none is forgotten.
"""

import re
import time
from collections.abc import Iterator

import pytest
from fastapi.routing import iter_route_contexts

from steelyard.server.core.tickets import Ticket, TicketOffice
from steelyard.server.doors.web.calls import OpenRoute, WebRoute
from tests.house import Person, Registered
from tests.server.doors.web.conftest import Visit
from tests.server.doors.web.visiting import HTML, Visitor

_WORDS = {
    "org": "somewhere", "name": "tiny", "account": "ci", "ref": "1.0.0", "path": "a.txt", "digest": "0",
    "sha": "0" * 40, "number": "1",
}  # fmt: skip
_OLD = "This page is too old to change anything."


def _routes(registered: Registered, method: str, kind: type[WebRoute] = WebRoute) -> Iterator[str]:
    for context in iter_route_contexts(registered.client.app.routes):  # type: ignore[attr-defined]
        route = context.original_route
        if isinstance(route, kind) and method in (context.methods or ()):
            yield re.sub(r"\{(\w+)(?::path)?\}", lambda found: _WORDS[found[1]], context.path or "")


def _forms(registered: Registered) -> list[str]:
    open_to_all = set(_routes(registered, "POST", OpenRoute))
    return [path for path in _routes(registered, "POST") if path not in open_to_all]


def _ticket_of(browser: Visitor) -> str:
    return browser.get("/-/me").fields("/-/logout")["csrf"]


def _office(registered: Registered) -> TicketOffice:
    office = registered.client.app.state.registry.tickets  # type: ignore[attr-defined]
    assert isinstance(office, TicketOffice)
    return office


def test_there_are_forms_of_every_kind(registered: Registered) -> None:
    forms = _forms(registered)
    assert len(forms) > 20
    assert {"/-/logout", "/-/me/tokens", "/somewhere/-/upload", "/somewhere/tiny/settings/delete"} <= set(forms)


@pytest.mark.parametrize("what", ["nothing", "empty", "another's", "an old one", "a link's", "made up", "a cut one"])
def test_no_form_is_taken_without_its_own_ticket(
    registered: Registered, browser: Visitor, bob: Person, visit: Visit, what: str
) -> None:
    own, office = _ticket_of(browser), _office(registered)
    ticket = office.check(own)
    past = int(time.time()) - 1
    told = {
        "nothing": None,
        "empty": "",
        "another's": _ticket_of(visit(bob)),
        "an old one": office.sign(Ticket("form", ticket.subject, None, past, span="salt")),
        "a link's": office.sign(Ticket("notice", ticket.subject, None, past + 60, span="salt")),
        "made up": "e30.c2lnbmF0dXJl",
        "a cut one": own[:-1],
    }[what]
    fields = {} if told is None else {"csrf": told}
    for path in _forms(registered):
        asked = path if told is None else f"{path}?csrf={told}"
        for sent in (browser.post(path, fields), browser.post(asked, {})):
            assert sent.status == 403, path
            assert _OLD in sent.text(), path
    assert browser.get("/-/me").status == 200


def test_a_ticket_lasts_half_a_day_and_no_longer(registered: Registered, browser: Visitor) -> None:
    ends = _office(registered).check(_ticket_of(browser)).expires_at
    assert 11.9 * 3600 < ends - time.time() <= 12 * 3600


def test_each_page_has_a_ticket_of_its_own(browser: Visitor) -> None:
    assert _ticket_of(browser) != _ticket_of(browser)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:81"},
        {"Origin": "https://127.0.0.1"},
        {"Origin": "http://127.0.0.1.evil.example"},
    ],
    ids=str,
)
def test_no_form_is_taken_from_elsewhere(registered: Registered, browser: Visitor, headers: dict[str, str]) -> None:
    ticket = _ticket_of(browser)
    for path in [*_forms(registered), "/-/login"]:
        sent = browser.client.post(
            f"{path}?csrf={ticket}", data={"csrf": ticket}, headers={"Accept": HTML, **headers}, follow_redirects=False
        )
        assert sent.status_code == 403, path
        assert "sent from another site" in sent.text
    assert browser.get("/-/me").status == 200


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://127.0.0.1"}, {}], ids=str)
def test_ours_are_taken_whatever_the_browser_tells(
    registered: Registered, ada: Person, headers: dict[str, str]
) -> None:
    browser = Visitor(registered).sign_in(ada)
    ticket = _ticket_of(browser)
    sent = browser.client.post("/-/logout", data={"csrf": ticket}, headers=headers, follow_redirects=False)
    assert (sent.status_code, sent.headers["location"]) == (303, "/-/login")


def test_nobody_sends_a_form_without_signing_in(registered: Registered) -> None:
    stranger = Visitor(registered)
    for path in _forms(registered):
        sent = stranger.post(path, {})
        assert (sent.status, sent.title) == (401, "Sign in"), path


def test_links_change_nothing(registered: Registered, browser: Visitor) -> None:
    reads = set(_routes(registered, "GET"))
    ticket = _ticket_of(browser)
    for path in set(_forms(registered)) - reads:
        assert browser.get(f"{path}?csrf={ticket}", follow=False).status in (404, 405), path
    assert browser.get("/-/me").status == 200


def test_what_is_no_form_is_refused(browser: Visitor) -> None:
    ticket = _ticket_of(browser)
    for body, status in ((b"\xff=\xff", 400), (b"&".join([b"a=b"] * 600), 400), (b"a=" + b"b" * 300_000, 413)):
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": HTML}
        assert browser.client.post(f"/-/me/tokens?csrf={ticket}", content=body, headers=headers).status_code == status


# --- what every answer says


def _check_headers(told: dict[str, str], path: str) -> None:
    policy = dict(part.strip().split(" ", 1) for part in told["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'", path
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["form-action"] == "'self'"
    assert policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in told["content-security-policy"], path
    assert told["x-content-type-options"] == "nosniff", path
    assert told["x-frame-options"] == "DENY", path
    assert told["referrer-policy"] == "same-origin", path
    assert told["cross-origin-opener-policy"] == "same-origin", path
    assert told["cache-control"] in ("private, no-cache", "no-store"), path
    assert "Cookie" in told["vary"], path


def test_every_answer_tells_the_browser_what_to_refuse(registered: Registered, browser: Visitor, ada: Person) -> None:
    ticket, stranger = _ticket_of(browser), Visitor(registered)
    for path in set(_routes(registered, "GET")):
        if not path.startswith("/-/assets/"):
            _check_headers(dict(browser.get(path, follow=False).response.headers), path)
            _check_headers(dict(stranger.get(path, follow=False).response.headers), path)
    for path in _forms(registered):
        _check_headers(dict(browser.post(path, {}, follow=False).response.headers), path)
        _check_headers(dict(stranger.post(path, {}, follow=False).response.headers), path)
    for path in ("/no/such/page/at/all", f"/{ada.name}", f"/{ada.name}/-/members", "/-/me/tokens"):
        _check_headers(dict(browser.get(path, follow=False).response.headers), path)
    _check_headers(dict(browser.post("/-/me/tokens", {"csrf": ticket}, follow=False).response.headers), "a fault")


def test_what_pages_are_made_of_runs_nothing_and_is_kept(browser: Visitor) -> None:
    page = browser.get("/-/me")
    paths = page.links('link[rel="stylesheet"]') + [n.attributes["src"] or "" for n in page.all("script, main img")]
    assert len(paths) >= 2
    for path in paths:
        answered = browser.get(path).response
        assert answered.status_code == 200
        assert "immutable" in answered.headers["cache-control"]
        assert answered.headers["x-content-type-options"] == "nosniff"
    assert page.all("[style], [onclick], [onload], script:not([src])") == []
