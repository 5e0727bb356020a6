"""Members and service accounts of an organisation, and the tokens of the latter: by whom, and shown once."""

import logging

import pytest

from tests.house import Person, Registered
from tests.server.doors.web.conftest import Visit
from tests.server.doors.web.visiting import Page, Visitor

HOSTILE = "<img src=x onerror=alert(1)>\u202e"


def _members(page: Page) -> dict[str, str]:
    names = [name.split()[0] for name in page.texts("main tbody th")]
    return dict(zip(names, page.texts("main tbody td:nth-of-type(1)"), strict=True))


def _send(browser: Visitor, path: str, **fields: str) -> Page:
    ticket = browser.get("/-/me").fields("/-/logout")["csrf"]
    return browser.post(path, {"csrf": ticket, **fields})


# --- members


def test_a_member_is_added_changed_and_removed(browser: Visitor, ada: Person, bob: Person) -> None:
    here = f"/{ada.name}/-/members"
    page = browser.submit(browser.get(here), here, username=f" {bob.name} ", role="contributor")
    assert page.text(".notice") == f"{bob.name} is a member now, as contributor."
    assert _members(page) == {ada.name: "owner", bob.name: "contributor"}
    page = _send(browser, f"{here}/role", username=bob.name, role="owner")
    assert _members(page) == {ada.name: "owner", bob.name: "owner"}
    page = _send(browser, f"{here}/remove", username=bob.name)
    assert _members(page) == {ada.name: "owner"}
    assert [member["username"] for member in ada.get(f"/org/{ada.name}/members").json()["members"]] == [ada.name]


def test_an_organisation_keeps_an_owner(browser: Visitor, ada: Person) -> None:
    here = f"/{ada.name}/-/members"
    for what, fields in (("role", {"role": "reader"}), ("remove", {})):
        page = _send(browser, f"{here}/{what}", username=ada.name, **fields)
        assert (page.status, "no owner who can act" in page.text()) == (409, True)
    assert _members(browser.get(here)) == {ada.name: "owner"}


@pytest.mark.parametrize(
    ("username", "role", "status"),
    [("nobody-of-this-name", "reader", 404), (HOSTILE, "reader", 422), ("", "reader", 422), ("x", "king", 422)],
)
def test_who_cannot_be_added(browser: Visitor, ada: Person, username: str, role: str, status: int) -> None:
    page = _send(browser, f"/{ada.name}/-/members", username=username, role=role)
    assert page.status == status
    assert page.all("main img") == []


def test_a_reader_sees_the_members_and_may_leave(ada: Person, bob: Person, visit: Visit) -> None:
    ada.post(f"/org/{ada.name}/members", {"username": bob.name, "role": "reader"})
    here, browser = f"/{ada.name}/-/members", visit(bob)
    page = browser.get(here)
    assert _members(page) == {ada.name: "owner", bob.name: "reader"}
    assert [form.attributes["action"] for form in page.all("main form")] == [f"{here}/remove"]
    for what, fields in (
        ("", {"username": bob.name, "role": "owner"}),
        ("/role", {"username": bob.name, "role": "owner"}),
    ):
        assert _send(browser, here + what, **fields).status == 403
    assert _send(browser, f"{here}/remove", username=ada.name).status == 403
    page = browser.submit(page, f"{here}/remove")
    assert (page.status, page.path) == (200, "/")
    assert browser.get(here).status == 404


def test_a_stranger_learns_nothing(registered: Registered, ada: Person, visit: Visit) -> None:
    browser = visit(registered.user(f"far-{ada.name}"))
    for path in ("members", "service-accounts", "service-accounts/ci", "audit", "upload"):
        page = browser.get(f"/{ada.name}/-/{path}")
        missing = browser.get(f"/nowhere-at-all/-/{path}")
        assert page.status == missing.status == 404
        assert page.text("main > section > p:nth-of-type(2)") == missing.text(
            "main > section > p:nth-of-type(2)"
        ).replace("nowhere-at-all", ada.name)


def test_many_members_come_in_pages(browser: Visitor, ada: Person, registered: Registered) -> None:
    for number in range(101):
        person = registered.user(f"m{number:03}-{ada.name}")
        ada.post(f"/org/{ada.name}/members", {"username": person.name, "role": "reader"})
    page = browser.get(f"/{ada.name}/-/members")
    assert len(_members(page)) == 100
    (following,) = page.links(".pager a")
    assert len(_members(browser.get(following))) == 2


# --- service accounts


def test_a_service_account_and_its_tokens(
    browser: Visitor, ada: Person, registered: Registered, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    here = f"/{ada.name}/-/service-accounts"
    page = browser.submit(browser.get(here), here, name="ci", role="contributor")
    assert page.path == f"{here}/ci"
    made = browser.submit(page, f"{here}/ci/tokens", name=HOSTILE, access="read", days="7")
    assert (made.status, made.response.headers["cache-control"]) == (201, "no-store")
    secret = made.text("pre code")
    assert made.all("main img") == []
    robot = Person(registered.client, "ci", secret)
    assert robot.get("/user").json()["username"] == f"service:{ada.name}/ci"
    (token,) = ada.get(f"/org/{ada.name}/service-accounts/ci/api-keys").json()["api_keys"]
    assert (token["name"], token["access"], token["org"]) == (HOSTILE, "read", ada.name)
    assert token["expires_at"] is not None
    page = browser.get(f"{here}/ci")
    for other in (page, browser.get(here), browser.get("/-/me"), browser.get(f"/{ada.name}/-/audit")):
        assert secret not in other.response.text
        assert secret not in str(other.response.headers)
    assert secret not in str(made.response.headers)
    assert not any(secret in record.getMessage() + str(record.__dict__) for record in caplog.records)
    page = browser.submit(page, f"{here}/ci/tokens/revoke")
    assert page.text(".notice") == "The token is revoked."
    assert robot.get("/user").status_code == 401


def test_a_service_account_changes_its_role_and_goes(browser: Visitor, ada: Person, registered: Registered) -> None:
    here = f"/{ada.name}/-/service-accounts"
    ada.post(f"/org/{ada.name}/service-accounts", {"name": "ci", "role": "reader"})
    key = ada.post(f"/org/{ada.name}/service-accounts/ci/api-keys", {}).json()["key"]
    page = browser.submit(browser.get(f"{here}/ci"), f"{here}/ci/role", role="owner")
    assert "owner" in page.text("main > p strong")
    page = browser.submit(page, f"{here}/ci/remove")
    assert (page.path, "There is none yet." in page.text()) == (here, True)
    assert Person(registered.client, "ci", key).get("/user").status_code == 401
    assert browser.get(f"{here}/ci").status == 404


def test_readers_see_service_accounts_and_no_tokens(ada: Person, bob: Person, visit: Visit) -> None:
    ada.post(f"/org/{ada.name}/members", {"username": bob.name, "role": "contributor"})
    ada.post(f"/org/{ada.name}/service-accounts", {"name": "ci", "role": "reader"})
    here, browser = f"/{ada.name}/-/service-accounts", visit(bob)
    page = browser.get(here)
    assert page.texts("main tbody th") == ["ci"]
    assert page.all("main form") == []
    assert browser.get(f"{here}/ci").status == 403
    attempts = {
        "": {"name": "mine", "role": "owner"},
        "/ci/role": {"role": "owner"},
        "/ci/remove": {},
        "/ci/tokens": {"name": "x", "access": "read"},
        "/ci/tokens/revoke": {"token": "0" * 8 + "-0000-0000-0000-" + "0" * 12},
    }
    assert {what: _send(browser, here + what, **fields).status for what, fields in attempts.items()} == dict.fromkeys(
        attempts, 403
    )


@pytest.mark.parametrize(
    "fields",
    [{"name": ""}, {"access": "all"}, {"days": "0"}, {"days": "4000"}, {"days": "-1"}, {"days": "x"}, {"days": "٣"}],
)
def test_what_no_token_can_be(browser: Visitor, ada: Person, fields: dict[str, str]) -> None:
    ada.post(f"/org/{ada.name}/service-accounts", {"name": "ci", "role": "reader"})
    page = _send(browser, f"/{ada.name}/-/service-accounts/ci/tokens", **{"name": "x", "access": "read", **fields})
    assert page.status == 422
    assert ada.get(f"/org/{ada.name}/service-accounts/ci/api-keys").json() == {"api_keys": []}
