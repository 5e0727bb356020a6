"""Errors as pages: for people at the pages' addresses, and for nobody else."""

import httpx2
import pytest

from steelyard.server.doors.web.errors import speaks
from tests.conftest import MakeRegistered
from tests.house import Person, Registered
from tests.house.registries import somebody_writing
from tests.server.doors.web.conftest import Visit
from tests.server.doors.web.visiting import HTML, Page, Visitor


def _id_of(page: Page) -> str:
    return page.text("main code")


def test_what_is_not_there(browser: Visitor) -> None:
    for path in ("/-/nothing", "/no-such-org", "/no-such-org/model", "/a/b/c/d/e"):
        page = browser.get(path)
        assert page.status == 404, path
        assert _id_of(page) == page.response.headers["x-request-id"]


def test_a_hidden_model_looks_as_one_that_is_not_there(visit: Visit, ada: Person, bob: Person) -> None:
    assert ada.publish(f"{ada.name}/secret:1.0.0").status_code == 201
    browser = visit(bob)
    hidden, missing = browser.get(f"/{ada.name}/secret"), browser.get(f"/{ada.name}/nothing")
    assert (hidden.status, missing.status) == (404, 404)
    shown = hidden.text().replace(_id_of(hidden), "").replace("secret", "nothing")
    assert shown == missing.text().replace(_id_of(missing), "")


def test_who_is_not_signed_in_is_led_to_the_way_in_and_back(registered: Registered, ada: Person) -> None:
    browser = Visitor(registered)
    page = browser.get(f"/{ada.name}?search=caf%C3%A9")
    assert page.path == f"/-/login?next=/{ada.name}%3Fsearch%3Dcaf%25C3%25A9".replace("=/", "=%2F")
    back = browser.submit(page, "/-/login", token=ada.token, follow=False)
    assert back.response.headers["location"] == f"/{ada.name}?search=caf%C3%A9"


def test_a_form_that_was_refused_leads_back(visit: Visit, ada: Person) -> None:
    browser = visit(ada)
    page = browser.post("/-/logout", {}, headers={"Referer": f"{browser.client.base_url}/{ada.name}?page=2"})
    assert page.status == 403
    assert page.links("main .actions a")[0] == f"/{ada.name}?page=2"
    page = browser.post("/-/logout", {}, headers={"Referer": f"https://evil.example/{ada.name}"})
    assert page.links("main .actions a")[0] == "/"


def test_programs_get_what_they_read(registered: Registered) -> None:
    client = registered.client
    for path, accept in [("/a/b/c/d/e", "*/*"), ("/api/v1/nothing", HTML), ("/a/b/c/d/e", "application/json")]:
        answer = client.get(path, headers={"Accept": accept})
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json"), path
        assert answer.json()["code"] == 404


@pytest.mark.parametrize(
    ("path", "accept", "expected"),
    [
        ("/acme/tiny/resolve/main/x", HTML, True),
        ("/acme/tiny/resolve/main/x", "*/*", False),
        ("/acme/tiny.git/info/lfs/objects/batch", HTML, False),
        ("/api/models", HTML, False),
        ("/apish/models", HTML, True),
        ("/v2/", HTML, False),
        ("/docs", HTML, False),
        ("/health", HTML, False),
    ],
)
def test_who_is_spoken_to(path: str, accept: str, expected: bool) -> None:
    headers = [(b"accept", accept.encode())]
    assert speaks({"type": "http", "method": "GET", "path": path, "headers": headers}) is expected


def test_too_many_requests(make_registered: MakeRegistered) -> None:
    registered = make_registered(limit_sign_in_failures="2/minute")
    browser = Visitor(registered)
    login = browser.get("/-/login")
    statuses = [browser.submit(login, "/-/login", token=f"syd_wrong{n}").status for n in range(3)]
    assert statuses == [401, 401, 429]
    page = browser.submit(login, "/-/login", token="syd_wrong")
    seconds = int(page.response.headers["retry-after"])
    assert f"Try again in {seconds} seconds" in page.text()


def test_a_database_that_is_busy(make_registered: MakeRegistered) -> None:
    registered = make_registered(database_timeout_seconds=0.2)
    ada = registered.user("ada")
    browser = Visitor(registered)
    login = browser.get("/-/login")
    with somebody_writing(registered):
        page = browser.submit(login, "/-/login", token=ada.token)
    assert page.status == 504
    assert _id_of(page) == page.response.headers["x-request-id"]
    assert browser.submit(login, "/-/login", token=ada.token, follow=False).status == 303, "and nothing is lost"


def test_a_fault_of_ours_tells_nothing_but_its_id(
    registered: Registered, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("steelyard.server.doors.web.person.signing_in.local_path", lambda _path: 1 // 0)
    with caplog.at_level("ERROR"):
        page = Visitor(registered).get("/-/login")
    assert page.status == 500
    request_id = page.response.headers["x-request-id"]
    assert request_id in page.text()
    assert "ZeroDivision" not in page.response.text
    assert request_id in caplog.text


def test_headers_that_every_answer_has(registered: Registered, browser: Visitor) -> None:
    answers: list[httpx2.Response] = [
        browser.get("/-/login", follow=False).response,
        browser.get("/-/nothing").response,
        Visitor(registered).get("/-/login").response,
        Visitor(registered).get("/somebody", follow=False).response,
    ]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "Cookie" in answer.headers["vary"]
        assert answer.headers["cache-control"] in ("private, no-cache", "no-store")


def test_without_pages_there_are_none(make_registered: MakeRegistered) -> None:
    registered = make_registered(web=False)
    answer = registered.client.get("/-/login", headers={"Accept": HTML})
    assert (answer.status_code, answer.json()["code"]) == (404, 404)
