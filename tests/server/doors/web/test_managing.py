"""What may be changed of a model: who sees it, aliases, yanks, and what is deleted after somebody typed its name."""

import pytest

from tests.house import Person, Registered
from tests.house.people import Files
from tests.server.doors.web.conftest import Visit
from tests.server.doors.web.visiting import Page, Visitor

HOSTILE = "<script>alert(1)</script>\u202e\"'&"
FILES: Files = {"model.safetensors": b"\x02\0\0\0\0\0\0\0{}"}


@pytest.fixture
def here(ada: Person) -> str:
    """The path of the settings of a new model with three versions and an alias."""
    for version in ("1.0.0", "1.1.0", "2.0.0"):
        assert ada.publish(f"{ada.name}/tiny:{version}", FILES).status_code == 201
    assert ada.post(f"/org/{ada.name}/models/tiny/1.1.0/aliases", {"alias": "prod"}).status_code == 200
    return f"/{ada.name}/tiny/settings"


def _aliases(page: Page) -> dict[str, str]:
    cells = page.texts("#aliases tbody tr th, #aliases tbody tr td")
    return dict(zip(cells[::4], cells[1::4], strict=True))


def _send(browser: Visitor, page: Page, what: str, **fields: str) -> Page:
    """Send a form by hand: whatever fields, and the page's ticket."""
    ticket = page.fields("/-/logout")["csrf"]
    return browser.post(what, {"csrf": ticket, **fields})


# --- who sees it


def test_visibility_is_changed_and_shown(browser: Visitor, ada: Person, bob: Person, visit: Visit, here: str) -> None:
    page = browser.get(here)
    assert page.fields(f"{here}/visibility")["visibility"] == "private"
    page = browser.submit(page, f"{here}/visibility", visibility="public")
    assert page.text(".notice") == f"{ada.name}/tiny is public now."
    assert page.fields(f"{here}/visibility")["visibility"] == "public"
    assert bob.get(f"/org/{ada.name}/models/tiny").status_code == 200
    assert visit(bob).get(here).status == 403
    browser.submit(page, f"{here}/visibility", visibility="private")
    assert bob.get(f"/org/{ada.name}/models/tiny").status_code == 404


# --- aliases


def test_an_alias_is_set_moved_protected_and_removed(browser: Visitor, ada: Person, here: str) -> None:
    page = browser.get(here)
    assert _aliases(page) == {"prod": "1.1.0"}
    page = _send(browser, page, f"{here}/aliases", alias="next", version="2.0.0", protected="on")
    assert page.text(".notice") == "next points at 2.0.0 now."
    assert _aliases(page) == {"next protected": "2.0.0", "prod": "1.1.0"}
    page = _send(browser, page, f"{here}/aliases", alias="prod", version="2.0.0")
    assert _aliases(page) == {"next protected": "2.0.0", "prod": "2.0.0"}
    page = browser.submit(page, f"{here}/aliases/protect")
    assert _aliases(page) == {"next": "2.0.0", "prod": "2.0.0"}
    page = browser.submit(page, f"{here}/aliases/remove")
    assert _aliases(page) == {"prod": "2.0.0"}
    (state,) = ada.get(f"/org/{ada.name}/models/tiny/aliases").json()["aliases"]
    assert (state["alias"], state["version"], state["protected"]) == ("prod", "2.0.0", False)
    assert [(move["from"], move["to"]) for move in state["history"]] == [("1.1.0", "2.0.0"), (None, "1.1.0")]


def test_protecting_moves_nothing_that_was_moved_meanwhile(browser: Visitor, ada: Person, here: str) -> None:
    page = browser.get(here)
    ada.post(f"/org/{ada.name}/models/tiny/2.0.0/aliases", {"alias": "prod"})
    assert browser.submit(page, f"{here}/aliases/protect").status == 404
    (state,) = ada.get(f"/org/{ada.name}/models/tiny/aliases").json()["aliases"]
    assert (state["version"], state["protected"]) == ("2.0.0", False)


@pytest.mark.parametrize(
    ("alias", "version", "status"),
    [
        ("latest", "1.0.0", 422), ("1.0.0", "1.0.0", 422), ("a b", "1.0.0", 422), (HOSTILE, "1.0.0", 422),
        ("fine", "9.9.9", 404), ("fine", "latest", 422), ("", "1.0.0", 422),
    ],
)  # fmt: skip
def test_what_cannot_be_an_alias(browser: Visitor, here: str, alias: str, version: str, status: int) -> None:
    page = _send(browser, browser.get(here), f"{here}/aliases", alias=alias, version=version)
    assert page.status == status
    assert page.all("main script") == []
    assert _aliases(browser.get(here)) == {"prod": "1.1.0"}


# --- yanks


def test_a_version_is_yanked_with_a_reason_and_back(browser: Visitor, ada: Person, here: str) -> None:
    page = browser.submit(browser.get(here), f"{here}/yank", reason=HOSTILE)
    assert page.text(".notice") == "2.0.0 is yanked."
    assert "<script>alert" not in page.response.text
    assert "U+202E" in page.text("#versions")
    assert ada.get(f"/org/{ada.name}/models/tiny").json()["version"] == "1.1.0"
    yanked = ada.get(f"/org/{ada.name}/models/tiny/2.0.0").json()["yanked"]
    assert yanked["reason"] == HOSTILE
    page = browser.submit(page, f"{here}/unyank")
    assert page.text(".notice") == "2.0.0 is no longer yanked."
    assert ada.get(f"/org/{ada.name}/models/tiny").json()["version"] == "2.0.0"


def test_a_yank_says_why(browser: Visitor, here: str) -> None:
    for reason, why in (("", "write something"), ("x" * 2_001, "more than the 2000"), ("a\0b", "control characters")):
        page = browser.submit(browser.get(here), f"{here}/yank", reason=reason)
        assert (page.status, why in page.text()) == (422, True)
    assert "yanked" not in browser.get(here).text("#versions .managed-versions")


# --- deleting


def test_a_version_is_deleted_by_typing_its_number(browser: Visitor, ada: Person, here: str) -> None:
    page = browser.get(here)
    assert browser.submit(page, f"{here}/delete-version", typed="2.0").status == 422
    assert ada.get(f"/org/{ada.name}/models/tiny/2.0.0").status_code == 200
    page = browser.submit(page, f"{here}/delete-version", typed="2.0.0")
    assert page.text(".notice") == "2.0.0 is deleted. Its number is spent."
    assert ada.get(f"/org/{ada.name}/models/tiny/2.0.0").status_code == 404
    assert ada.publish(f"{ada.name}/tiny:2.0.0", FILES).status_code == 409


def test_what_an_alias_is_at_cannot_be_deleted(browser: Visitor, ada: Person, here: str) -> None:
    page = browser.get(here)
    offered = [field.attributes["value"] for field in page.all(f'form[action="{here}/delete-version"] [name=version]')]
    assert offered == ["2.0.0", "1.0.0"]
    page = _send(browser, page, f"{here}/delete-version", version="1.1.0", typed="1.1.0")
    assert (page.status, "prod" in page.text()) == (409, True)
    page = browser.get(here)
    assert "Remove them first" in page.text("#delete")
    assert page.all(f'form[action="{here}/delete"]') == []
    page = _send(browser, page, f"{here}/delete", typed=f"{ada.name}/tiny")
    assert page.status == 409


def test_a_model_is_deleted_by_typing_its_full_name(browser: Visitor, ada: Person, here: str) -> None:
    browser.submit(browser.get(here), f"{here}/aliases/remove")
    page = browser.get(here)
    assert "spent" in page.text("#delete")
    for typed in ("tiny", "", f"{ada.name}/tinY"):
        assert browser.submit(page, f"{here}/delete", typed=typed).status == 422
    assert ada.get(f"/org/{ada.name}/models/tiny").status_code == 200
    page = browser.submit(page, f"{here}/delete", typed=f"{ada.name}/tiny")
    assert (page.status, page.path) == (200, f"/{ada.name}")
    assert "deleted" in page.text(".notice")
    assert ada.get(f"/org/{ada.name}/models/tiny").status_code == 404
    assert ada.publish(f"{ada.name}/tiny:1.0.0", FILES).status_code == 409


# --- many, and few


def test_many_versions_come_in_pages(browser: Visitor, ada: Person) -> None:
    for number in range(30):
        assert ada.publish(f"{ada.name}/many:1.0.{number}", FILES).status_code == 201
    first = browser.get(f"/{ada.name}/many/settings")
    second = browser.get(next(link for link in first.links("#versions .pager a")))
    numbers = first.texts("#versions summary .mono") + second.texts("#versions summary .mono")
    assert numbers == [f"1.0.{number}" for number in reversed(range(30))]
    assert browser.get(f"/{ada.name}/many/settings?page=0").status == 422


# --- who may


CHANGES = {
    "visibility": {"visibility": "public"},
    "aliases": {"alias": "new", "version": "1.0.0"},
    "aliases/protect": {"alias": "prod", "version": "1.1.0", "protected": "on"},
    "aliases/remove": {"alias": "prod", "version": "1.1.0"},
    "yank": {"version": "1.0.0", "reason": "wrong"},
    "unyank": {"version": "1.0.0"},
    "delete-version": {"version": "1.0.0", "typed": "1.0.0"},
    "delete": {"typed": "{full_name}"},
}
CONTRIBUTORS = {"aliases", "aliases/remove"}


def _send_all(browser: Visitor, here: str, full_name: str) -> dict[str, int]:
    ticket = browser.get("/-/me").fields("/-/logout")["csrf"]
    sent = {}
    for what, fields in CHANGES.items():
        filled = {name: value.format(full_name=full_name) for name, value in fields.items()}
        sent[what] = browser.post(f"{here}/{what}", {"csrf": ticket, **filled}).status
    return sent


def test_readers_and_strangers_change_nothing(
    registered: Registered, ada: Person, bob: Person, visit: Visit, here: str
) -> None:
    ada.post(f"/org/{ada.name}/members", {"username": bob.name, "role": "reader"})
    stranger = registered.user(f"stranger-{ada.name}")
    for person, status in ((bob, 403), (stranger, 404)):
        browser = visit(person)
        assert browser.get(here).status == status
        assert set(_send_all(browser, here, f"{ada.name}/tiny").values()) == {status}
    events = ada.get(f"/org/{ada.name}/audit", params={"actor": bob.name}).json()["events"]
    assert [event["action"] for event in events] == []


def test_a_contributor_is_offered_aliases_alone(ada: Person, bob: Person, visit: Visit, here: str) -> None:
    ada.post(f"/org/{ada.name}/members", {"username": bob.name, "role": "contributor"})
    ada.post(f"/org/{ada.name}/models/tiny/1.0.0/aliases", {"alias": "held", "protected": True})
    browser = visit(bob)
    page = browser.get(here)
    assert page.texts("main section h2") == ["Aliases"]
    moved = [
        field.attributes["value"] for field in page.all(f'form[action="{here}/aliases"] [type=hidden][name=alias]')
    ]
    assert moved == ["prod"]
    assert _send(browser, page, f"{here}/aliases", alias="held", version="2.0.0").status == 403
    statuses = _send_all(browser, here, f"{ada.name}/tiny")
    assert {what for what, status in statuses.items() if status == 200} == CONTRIBUTORS
    assert {status for what, status in statuses.items() if what not in CONTRIBUTORS} == {403}


def test_a_session_that_only_reads_changes_nothing(registered: Registered, ada: Person, here: str) -> None:
    made = ada.post("/user/api-keys", {"name": "reads", "access": "read"}).json()
    browser = Visitor(registered).sign_in(Person(ada.client, ada.name, made["key"]))
    assert browser.get(here).status == 403
    assert set(_send_all(browser, here, f"{ada.name}/tiny").values()) == {403}
