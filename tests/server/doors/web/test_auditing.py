"""The audit trail as a page: filters, pages, and that what people wrote stays harmless in it."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.house import Person, Registered
from tests.house.people import API
from tests.server.doors.web.conftest import Visit
from tests.server.doors.web.visiting import Page, Visitor

HOSTILE = "</td><script>alert(1)</script>\u202e"


def _said(page: Page) -> list[tuple[str, str]]:
    cells = page.texts("main tbody td")
    return list(zip(cells[2::6], cells[3::6], strict=True))


def _twin(ada: Person, page: Page) -> dict[str, Any]:
    (path,) = page.links('link[rel="alternate"]')
    assert path in page.text("footer")
    answered = ada.get(path.removeprefix(API))
    assert answered.status_code == 200, answered.text
    return dict(answered.json())


@pytest.fixture
def trail(ada: Person) -> str:
    """The path of a trail in which something happened."""
    ada.publish(f"{ada.name}/tiny:1.0.0")
    ada.put(f"/org/{ada.name}/models/tiny/1.0.0/yank", {"reason": HOSTILE})
    return f"/{ada.name}/-/audit"


def test_all_that_was_done_newest_first(browser: Visitor, ada: Person, trail: str) -> None:
    page = browser.get(trail)
    assert _said(page)[:2] == [
        ("version.yank", f"{ada.name}/tiny:1.0.0"),
        ("version.publish", f"{ada.name}/tiny:1.0.0"),
    ]
    assert [event["target"] for event in _twin(ada, page)["events"]] == [target for _, target in _said(page)]
    row = page.texts("main tbody tr")[0]
    assert ada.name in row and "testclient" in row and "request" in row


def test_what_people_wrote_stays_text(browser: Visitor, trail: str) -> None:
    page = browser.get(trail)
    assert page.all("main script") == []
    assert "U+202E" in page.text("main tbody")
    assert "<script>alert(1)</script>" in page.text("main tbody")


def test_filters_narrow_it_and_the_twin_alike(browser: Visitor, ada: Person, trail: str) -> None:
    for query, expected in (
        ("action=version.yank", ["version.yank"]),
        (f"actor={ada.name}&target={ada.name}/tiny", ["model.create"]),
        ("action=nothing.such", []),
        ("since=2999-01-01T00:00", []),
        ("until=2000-01-01", []),
        ("since=2000-01-01T00:00:00&until=2999-01-01T00:00:00Z&action=version.publish", ["version.publish"]),
    ):
        page = browser.get(f"{trail}?{query}")
        assert page.status == 200, page.response.text
        found = [action for action, _ in _said(page)] if page.all("main tbody") else []
        assert found == expected, query
        assert [event["action"] for event in _twin(ada, page)["events"]] == expected
    fields = browser.get(f"{trail}?action=%22%3E%3Cb%3E&since=2030-01-31T12:30").fields(trail)
    assert (fields["action"], fields["since"]) == ('"><b>', "2030-01-31T12:30:00")


@pytest.mark.parametrize(
    "query",
    [
        "since=yesterday", "until=2030-13-01", "since=1&until=2", "cursor=x", "action=a%00b",
        "since=0001-01-01T00:00%2B23:00", f"target={'x' * 401}",
    ],
)  # fmt: skip
def test_what_cannot_be_asked(browser: Visitor, trail: str, query: str) -> None:
    assert browser.get(f"{trail}?{query}").status == 422


def test_pages_go_on_where_the_last_one_ended(browser: Visitor, ada: Person, trail: str) -> None:
    for number in range(60):
        ada.post(f"/org/{ada.name}/models/tiny/1.0.0/aliases", {"alias": f"a{number:02}"})
    page = browser.get(f"{trail}?action=alias.set&actor={ada.name}")
    assert len(_said(page)) == 50
    (older,) = page.links(".pager a")
    assert parse_qs(urlsplit(older).query)["action"] == ["alias.set"]
    last = browser.get(older)
    targets = [target for _, target in _said(page) + _said(last)]
    assert targets == [f"{ada.name}/tiny:a{number:02}" for number in reversed(range(60))]
    assert [event["target"] for event in _twin(ada, last)["events"]] == [target for _, target in _said(last)]
    (newest,) = last.links(".pager a")
    assert _said(browser.get(newest)) == _said(page)


def test_the_trail_is_for_owners(registered: Registered, ada: Person, bob: Person, visit: Visit, trail: str) -> None:
    ada.post(f"/org/{ada.name}/members", {"username": bob.name, "role": "contributor"})
    page = visit(bob).get(trail)
    assert (page.status, "role owner" in page.text()) == (403, True)
    assert Visitor(registered).get(trail, follow=False).status == 303
