"""Signing in, staying in, and out again."""

import logging
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from steelyard.server.core import sessions
from steelyard.server.core.access import Actor
from steelyard.server.db.tables import BrowserSession
from tests.conftest import MakeRegistered
from tests.house import Person, Registered
from tests.server.doors.web.visiting import Visitor


def test_a_token_becomes_a_session(registered: Registered, ada: Person) -> None:
    browser = Visitor(registered)
    page = browser.submit(browser.get("/-/login"), "/-/login", token=ada.token, next="/-/nowhere", follow=False)
    assert (page.status, page.response.headers["location"]) == (303, "/-/nowhere")
    cookie = page.response.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Path=/" in cookie
    assert str(ada.token) not in cookie
    assert browser.get("/-/nowhere").status == 404


# --- the way in


@pytest.mark.parametrize("token", ["", "nothing", "syd_" + "x" * 43, "' or 1=1 --", "<script>alert(1)</script>"])
def test_what_is_no_token_is_answered_by_the_way_in(registered: Registered, token: str) -> None:
    browser = Visitor(registered)
    page = browser.submit(browser.get("/-/login?next=/-/me"), "/-/login", token=token)
    assert (page.status, page.text(".problem")) == (401, "No such token is valid here. Was it revoked?")
    assert page.fields("/-/login") == {"next": "/-/me", "token": ""}  # what was typed is not shown again
    assert "set-cookie" not in page.response.headers
    assert browser.get("/-/me").path.startswith("/-/login")


def test_a_token_of_no_use_any_more(registered: Registered, ada: Person) -> None:
    key = ada.post("/user/api-keys", {"name": "x"}).json()
    ada.delete(f"/user/api-keys/{key['id']}")
    browser = Visitor(registered)
    assert browser.submit(browser.get("/-/login"), "/-/login", token=key["key"]).status == 401


def test_service_accounts_have_no_pages(registered: Registered, ada: Person) -> None:
    ada.post(f"/org/{ada.name}/service-accounts", {"name": "ci", "role": "owner"})
    key = ada.post(f"/org/{ada.name}/service-accounts/ci/api-keys", {}).json()["key"]
    browser = Visitor(registered)
    page = browser.submit(browser.get("/-/login"), "/-/login", token=key)
    assert (page.status, "Service accounts do not sign in" in page.text()) == (403, True)
    assert "session" not in str(page.response.headers.get("set-cookie"))


def test_pages_lead_to_the_way_in_and_back(registered: Registered, ada: Person) -> None:
    browser = Visitor(registered)
    path = f"/{ada.name}/-/audit?action=version.publish&actor=%C3%BC"
    page = browser.get(path)
    page = browser.submit(page, "/-/login", token=ada.token)
    assert (page.status, page.path) == (200, path)
    again = browser.get(f"/-/login?next=/{ada.name}/-/members")
    assert again.path == f"/{ada.name}/-/members"


@pytest.mark.parametrize(
    "following",
    [
        "https://evil.example/", "//evil.example/", "/\\evil.example", "\\\\evil.example", "/\t/evil.example",
        "/\n/evil.example", "javascript:alert(1)", "evil.example", "", " //evil.example", "/ü", "/a\\..\\b",
        "/%0d%0aSet-Cookie:x=y\r\nA: b", "http:/evil", "/\x00",
    ],
)  # fmt: skip
def test_nothing_leads_elsewhere(registered: Registered, ada: Person, browser: Visitor, following: str) -> None:
    sent = Visitor(registered).post("/-/login", {"token": ada.token, "next": following}, follow=False)
    known = browser.get("/-/login?" + urlencode({"next": following}), follow=False)
    shown = Visitor(registered).get("/-/login?" + urlencode({"next": following}))
    assert {sent.response.headers["location"], known.response.headers["location"]} == {"/"}
    assert shown.fields("/-/login")["next"] == "/"


def test_wrong_tokens_have_a_budget_and_good_ones_go_on(make_registered: MakeRegistered) -> None:
    registered = make_registered(limits="memory", limit_sign_in_failures="3/minute")
    ada = registered.user("ada")
    browser = Visitor(registered)
    statuses = [browser.post("/-/login", {"token": f"wrong{number}"}).status for number in range(5)]
    assert statuses == [401, 401, 401, 429, 429]
    refused = browser.post("/-/login", {"token": "wrong"})
    assert "Too many requests" in refused.text("h1")
    assert int(refused.response.headers["retry-after"]) > 0
    assert browser.sign_in(ada).get("/-/me").status == 200


def test_nothing_secret_is_logged(registered: Registered, ada: Person, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    browser = Visitor(registered)
    browser.post("/-/login", {"token": "syd_wrong-but-somebodys"})
    browser.sign_in(ada).get("/-/me")
    cookie = browser.client.cookies["steelyard-session"]
    told = " ".join(str(record.__dict__) for record in caplog.records)
    assert "/-/login" in told
    for secret in (ada.token or "", "syd_wrong-but-somebodys", cookie):
        assert secret not in told


# --- the cookie


def test_the_cookie_is_bound_to_tls_where_there_is_tls(make_registered: MakeRegistered) -> None:
    registered = make_registered(public_url="https://models.example.com", limits="off")
    ada = registered.user("ada")
    browser = Visitor(registered)
    page = browser.post("/-/login", {"token": ada.token}, follow=False)
    (cookie,) = [c for c in page.response.headers.get_list("set-cookie") if "session" in c]
    name, _, rest = cookie.partition("=")
    assert name == "__Host-steelyard-session"
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= {part.strip() for part in rest.split(";")}
    assert "domain" not in rest.lower()
    secret = rest.partition(";")[0]
    assert browser.get("/-/me", headers={"Cookie": f"{name}={secret}"}).path == "/-/me"
    assert browser.get("/-/me", headers={"Cookie": f"steelyard-session={secret}"}).path.startswith("/-/login")


def test_the_cookie_behind_a_trusted_proxy_is_that_of_tls(make_registered: MakeRegistered) -> None:
    registered = make_registered(trusted_proxies="127.0.0.1", limits="off")
    ada = registered.user("ada")
    proxied = TestClient(
        registered.client.app,
        base_url="http://models.example.com",
        client=("127.0.0.1", 1234),
        follow_redirects=False,
    )
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "models.example.com", "Sec-Fetch-Site": "same-origin"}
    answered = proxied.post("/-/login", data={"token": ada.token}, headers=headers)
    assert answered.headers["set-cookie"].startswith("__Host-steelyard-session=")


def test_no_other_door_reads_the_cookie(browser: Visitor, ada: Person) -> None:
    ada.publish(f"{ada.name}/tiny:1.0.0")
    attempts = [
        ("GET", "/api/v1/user"),
        ("POST", "/api/v1/user/api-keys"),
        ("DELETE", f"/api/v1/org/{ada.name}/models/tiny"),
        ("GET", "/api/v1/models"),
        ("GET", "/api/whoami-v2"),
        ("GET", f"/api/models/{ada.name}/tiny"),
        ("POST", f"/{ada.name}/tiny.git/info/lfs/objects/batch"),
    ]
    for method, path in attempts:
        answered = browser.client.request(method, path, json={"name": "x"} if method == "POST" else None)
        assert answered.status_code in (401, 404), (path, answered.status_code)
    assert ada.get(f"/org/{ada.name}/models/tiny").status_code == 200


def test_no_page_reads_a_token(registered: Registered, ada: Person) -> None:
    for headers in ({"Authorization": f"Bearer {ada.token}"}, {"X-API-Key": ada.token or ""}):
        assert Visitor(registered).get("/-/me", headers=headers).path.startswith("/-/login")


def test_a_made_up_cookie_is_nobodys(registered: Registered, ada: Person) -> None:
    for value in ("", "x", ada.token or "", "%00", "a" * 4_000):
        page = Visitor(registered).get("/-/me", headers={"Cookie": f"steelyard-session={value}"})
        assert page.path.startswith("/-/login")


def test_the_secret_changes_as_the_browser_goes_on(registered: Registered, browser: Visitor, ada: Person) -> None:
    before = browser.client.cookies["steelyard-session"]
    assert "set-cookie" not in browser.get("/-/me").response.headers
    _pass_by(registered, timedelta(hours=1))
    page = browser.get("/-/me")
    assert "HttpOnly" in page.response.headers["set-cookie"]
    after = browser.client.cookies["steelyard-session"]
    assert before != after
    assert browser.get("/-/me").status == 200
    _pass_by(registered, timedelta(seconds=61))
    thief = Visitor(registered)
    assert thief.get("/-/me", headers={"Cookie": f"steelyard-session={before}"}).path.startswith("/-/login")
    assert browser.get("/-/me").path.startswith("/-/login")


def test_an_error_brings_the_new_secret_too(registered: Registered, browser: Visitor) -> None:
    before = browser.client.cookies["steelyard-session"]
    _pass_by(registered, timedelta(hours=1))
    assert browser.get("/nowhere-at-all/-/members").status == 404
    assert browser.client.cookies["steelyard-session"] != before
    assert browser.get("/-/me").status == 200


def test_signing_out_ends_it_here_and_at_the_server(browser: Visitor, registered: Registered, ada: Person) -> None:
    kept = browser.client.cookies["steelyard-session"]
    page = browser.submit(browser.get("/-/me"), "/-/logout")
    assert (page.path, page.text(".notice")) == ("/-/login", "You are signed out.")
    assert "steelyard-session" not in browser.client.cookies
    thief = Visitor(registered)
    assert thief.get("/-/me", headers={"Cookie": f"steelyard-session={kept}"}).path.startswith("/-/login")
    assert browser.post("/-/logout", {}).status in (200, 401)
    assert ada.get("/user").status_code == 200


def test_of_very_many_sessions_those_of_the_same_token_end_first(registered: Registered, ada: Person) -> None:
    reading = ada.post("/user/api-keys", {"name": "r", "access": "read"}).json()["key"]
    writing = Visitor(registered).sign_in(ada)
    first = Visitor(registered).sign_in(Person(ada.client, ada.name, reading))
    nobody = Actor(principal="anonymous", name="anonymous")
    with registered.client.app.state.registry.database.write() as session:  # type: ignore[attr-defined]
        for _ in range(sessions.MOST_SESSIONS - 1):
            assert sessions.begin(session, nobody, reading, agent="", lasts_seconds=3600)
    assert len(ada.get("/user/sessions").json()["sessions"]) == sessions.MOST_SESSIONS
    assert first.get("/-/me").path.startswith("/-/login")
    assert writing.get("/-/me").status == 200


def _pass_by(registered: Registered, time: timedelta) -> None:
    """Let so much time pass for every session."""
    with registered.client.app.state.registry.database.write() as session:  # type: ignore[attr-defined]
        for row in session.scalars(select(BrowserSession)):
            row.rotated_at -= time
            row.used_at -= time
            row.former_until = row.former_until and row.former_until - time
