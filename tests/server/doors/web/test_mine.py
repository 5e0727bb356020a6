"""One's own tokens and sessions; and what instance admins do: users, new organisations."""

import logging

import pytest

from tests.house import Person, Registered
from tests.server.doors.web.conftest import Visit
from tests.server.doors.web.visiting import Page, Visitor

HOSTILE = "<script>alert(1)</script>\u202e"


def _send(browser: Visitor, path: str, **fields: str) -> Page:
    ticket = browser.get("/-/me").fields("/-/logout")["csrf"]
    return browser.post(path, {"csrf": ticket, **fields})


def _narrowed(person: Person, **narrowing: str) -> Person:
    made = person.post("/user/api-keys", {"name": "narrowed", **narrowing}).json()
    return Person(person.client, person.name, made["key"])


# --- who I am


def test_a_page_says_who_one_is(ada: Person, bob: Person, visit: Visit) -> None:
    bob.post(f"/org/{bob.name}/members", {"username": ada.name, "role": "contributor"})
    facts = visit(ada).get("/-/me").text("dl.facts")
    assert f"{ada.name}@example.com" in facts
    assert f"{ada.name} (owner)" in facts and f"{bob.name} (contributor)" in facts
    assert "read and write" in facts
    facts = visit(_narrowed(ada, org=bob.name, access="read")).get("/-/me").text("dl.facts")
    assert f"only read, in {bob.name} only" in facts
    assert f"{ada.name} (owner)" not in facts


# --- tokens


def test_a_token_is_shown_once(
    browser: Visitor, ada: Person, registered: Registered, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made = browser.submit(browser.get("/-/me"), "/-/me/tokens", name=HOSTILE, org=ada.name, access="read", days="30")
    assert (made.status, made.response.headers["cache-control"]) == (201, "no-store")
    assert made.path == "/-/me/tokens"
    secret = made.text("pre code")
    key = next(key for key in ada.get("/user/api-keys").json()["api_keys"] if key["name"] == HOSTILE)
    assert (key["org"], key["access"]) == (ada.name, "read")
    assert key["expires_at"] is not None
    assert Person(registered.client, ada.name, secret).get("/user").status_code == 200
    page = browser.get("/-/me")
    assert "<script>alert" not in made.response.text + page.response.text
    assert "U+202E" in page.text("#tokens tbody")
    for other in (page, browser.get(f"/{ada.name}/-/audit")):
        assert secret not in other.response.text + str(other.response.headers)
    assert secret not in str(made.response.headers) + str(dict(browser.client.cookies))
    assert not any(secret in str(record.__dict__) for record in caplog.records)


def test_a_token_is_revoked_and_that_of_this_browser_with_it(browser: Visitor, ada: Person) -> None:
    other = _narrowed(ada, access="read")
    page = browser.get("/-/me")
    ids = [field.attributes["value"] for field in page.all('#tokens input[name="token"]')]
    assert "this browser" in page.texts("#tokens tbody tr")[1]
    page = browser.submit(page, "/-/me/tokens/revoke")
    assert page.status == 200
    assert other.get("/user").status_code == 401
    page = _send(browser, "/-/me/tokens/revoke", token=ids[1] or "")
    assert page.path.startswith("/-/login")
    assert ada.get("/user").status_code == 401


def test_nobody_revokes_anothers_token(browser: Visitor, bob: Person) -> None:
    (theirs,) = bob.get("/user/api-keys").json()["api_keys"]
    assert _send(browser, "/-/me/tokens/revoke", token=theirs["id"]).status == 404
    assert _send(browser, "/-/me/tokens/revoke", token="' or 1=1").status == 422
    assert bob.get("/user").status_code == 200


def test_a_session_makes_no_token_wider_than_its_own(ada: Person, bob: Person, visit: Visit) -> None:
    reading, narrow = visit(_narrowed(ada, access="read")), visit(_narrowed(ada, org=ada.name))
    assert "write" not in [o.attributes["value"] for o in reading.get("/-/me").all("#token-access option")]
    assert _send(reading, "/-/me/tokens", name="x", access="write").status == 403
    assert _send(narrow, "/-/me/tokens", name="x", access="write", org=bob.name).status == 404
    made = _send(narrow, "/-/me/tokens", name="kept narrow", access="write")
    assert made.status == 201
    keys = {key["name"]: key["org"] for key in ada.get("/user/api-keys").json()["api_keys"]}
    assert keys["kept narrow"] == ada.name


# --- sessions


def test_sessions_are_listed_and_ended(registered: Registered, browser: Visitor, ada: Person) -> None:
    other = Visitor(registered)
    other.client.headers["User-Agent"] = "<script>alert(1)</script>" + "x" * 1_000
    other.sign_in(ada)
    page = browser.get("/-/me")
    rows = page.texts("#sessions tbody tr")
    assert len(rows) == 2
    assert "<script>" in rows[0] and len(rows[0]) < 400 and page.all("#sessions script") == []
    assert "this one" in rows[1]
    page = browser.submit(page, "/-/me/sessions/end")
    assert page.text(".notice") == "You are signed out there."
    assert other.get("/-/me").path.startswith("/-/login")
    assert browser.get("/-/me").status == 200


def test_signing_out_everywhere(registered: Registered, browser: Visitor, ada: Person, bob: Person) -> None:
    other, apart = Visitor(registered).sign_in(ada), Visitor(registered).sign_in(bob)
    _send(browser, "/-/logout", everywhere="on")
    assert browser.get("/-/me").path.startswith("/-/login")
    assert other.get("/-/me").path.startswith("/-/login")
    assert apart.get("/-/me").status == 200
    assert ada.get("/user/sessions").json() == {"sessions": []}
    assert ada.get("/user").status_code == 200


def test_sessions_in_the_api_are_those_of_the_page(registered: Registered, ada: Person, bob: Person) -> None:
    first, second = Visitor(registered).sign_in(ada), Visitor(registered).sign_in(ada)
    listed = ada.get("/user/sessions").json()["sessions"]
    assert [session["agent"] for session in listed] == ["testclient", "testclient"]
    assert set(listed[0]) == {"id", "agent", "created_at", "last_used_at", "expires_at"}
    assert bob.delete(f"/user/sessions/{listed[0]['id']}").status_code == 404
    assert _narrowed(ada, org=ada.name).get("/user/sessions").json() == {"sessions": []}
    assert _narrowed(ada, access="read").delete(f"/user/sessions/{listed[0]['id']}").status_code == 403
    assert ada.delete(f"/user/sessions/{listed[0]['id']}").status_code == 204
    assert second.get("/-/me").path.startswith("/-/login")
    assert first.get("/-/me").status == 200
    assert ada.delete("/user/sessions").status_code == 204
    assert first.get("/-/me").path.startswith("/-/login")


def test_a_session_that_only_reads_ends_itself_alone(registered: Registered, browser: Visitor, ada: Person) -> None:
    reading = Visitor(registered).sign_in(_narrowed(ada, access="read"))
    other = next(s["id"] for s in ada.get("/user/sessions").json()["sessions"][1:])
    page = reading.get("/-/me")
    assert [f.attributes["action"] for f in page.all("#sessions form")] == ["/-/logout"]
    assert _send(reading, "/-/me/sessions/end", session=other).status == 403
    assert _send(reading, "/-/logout", everywhere="on").status == 403
    assert reading.submit(page, "/-/logout").path == "/-/login"
    assert browser.get("/-/me").status == 200


# --- instance admins


def test_a_user_is_made_and_signs_in_with_the_token(registered: Registered, visit: Visit, ada: Person) -> None:
    boss, name = visit(registered.admin), f"new-{ada.name}"
    made = boss.submit(boss.get("/-/users"), "/-/users", username=name, email="new@example.com")
    assert (made.status, made.response.headers["cache-control"]) == (201, "no-store")
    new = Person(registered.client, name, made.text("pre code"))
    assert visit(new).get("/-/me").status == 200
    assert new.get("/user").json()["email_address"] == "new@example.com"
    again = _send(boss, "/-/users", username=name)
    assert (again.status, "taken" in again.text()) == (409, True)
    for fields in ({"username": "A B"}, {"username": "x-y", "email": "nowhere"}, {"username": "settings"}):
        assert _send(boss, "/-/users", **fields).status == 422
    lost = _send(boss, "/-/users/token", username=name)
    assert lost.status == 201
    assert Person(registered.client, name, lost.text("pre code")).get("/user").json()["username"] == name


def test_a_user_is_disabled_enabled_and_made_admin(registered: Registered, visit: Visit, ada: Person) -> None:
    boss, browser = visit(registered.admin), visit(ada)
    page = _send(boss, "/-/users/change", username=ada.name, change="disable")
    row = next(row for row in page.texts("main tbody tr") if row.startswith(f"{ada.name} "))
    assert "disabled" in row
    assert browser.get("/-/me").path.startswith("/-/login")
    _send(boss, "/-/users/change", username=ada.name, change="enable")
    assert browser.get("/-/me").status == 200
    assert browser.get("/-/users").status == 403
    _send(boss, "/-/users/change", username=ada.name, change="make-admin")
    assert browser.get("/-/users").status == 200
    _send(boss, "/-/users/change", username=ada.name, change="unmake-admin")
    assert _send(boss, "/-/users/change", username=ada.name, change="crown").status == 422
    last = _send(boss, "/-/users/change", username="admin", change="unmake-admin")
    assert (last.status, "keeps one admin" in last.text()) == (409, True)


def test_users_come_in_pages(registered: Registered, visit: Visit, ada: Person) -> None:
    for number in range(55):
        registered.user(f"u{number}-{ada.name}")
    boss = visit(registered.admin)
    page, names = boss.get("/-/users"), list[str]()
    while True:
        names += [row.split()[0] for row in page.texts("main tbody th")]
        following = page.links('.pager a[rel="next"]')
        if not following:
            break
        page = boss.get(following[0])
    assert len(names) == len(set(names)) >= 57
    assert names[0] == "admin"


def test_an_organisation_is_made(registered: Registered, visit: Visit, ada: Person) -> None:
    boss, slug = visit(registered.admin), f"acme-{ada.name}"
    page = boss.submit(boss.get("/-/orgs/new"), "/-/orgs/new", key=slug, name=HOSTILE, owner=ada.name)
    assert page.text(".notice") == f"{slug} is there, and {ada.name} owns it."
    members = visit(ada).get(f"/{slug}/-/members")
    assert members.status == 200
    assert members.all("main script") == [] and "U+202E" in members.text()
    assert ada.get(f"/org/{slug}").json()["name"] == HOSTILE
    assert _send(boss, "/-/orgs/new", key=slug).status == 409
    assert _send(boss, "/-/orgs/new", key="api").status == 422
    assert _send(boss, "/-/orgs/new", key=f"{slug}-2", owner="nobody-here").status == 404
    own = _send(boss, "/-/orgs/new", key=f"{slug}-3")
    assert own.path == f"/{slug}-3"


def test_all_this_is_for_instance_admins(browser: Visitor, ada: Person, bob: Person) -> None:
    page = browser.get("/-/me")
    assert not {"/-/users", "/-/orgs/new"} & set(page.links())
    for path in ("/-/users", "/-/orgs/new"):
        assert browser.get(path).status == 403
    for path, fields in (
        ("/-/users", {"username": f"x-{ada.name}"}),
        ("/-/users/token", {"username": bob.name}),
        ("/-/users/change", {"username": ada.name, "change": "make-admin"}),
        ("/-/orgs/new", {"key": f"x-{ada.name}", "owner": ada.name}),
    ):
        assert _send(browser, path, **fields).status == 403
    assert browser.get("/-/users").status == 403


# --- somebody new


def test_an_empty_state_says_what_to_do_first(browser: Visitor, ada: Person, bob: Person, visit: Visit) -> None:
    for path in (f"/{ada.name}", "/"):
        page = browser.get(path)
        commands = " ".join(page.texts("main pre"))
        assert f"steelyard login {str(browser.client.base_url).rstrip('/')}" in commands
        assert f"steelyard push ./my-model {ada.name}/my-model:1.0.0" in commands
        assert {"/-/me#new-token", f"/{ada.name}/-/upload"} <= set(page.links("main a"))
        assert all(browser.get(link).status == 200 for link in page.links("main .start a"))
    bob.publish(f"{bob.name}/tiny:1.0.0")
    assert visit(bob).get(f"/{bob.name}").all(".start") == []
