"""What the server writes down of a request, and what never (the issue's "Safety" and "For the people who run it")."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from steelyard.server.logs import JsonFormatter, TextFormatter
from tests.conftest import MakeRegistered
from tests.house import Registered, start_server
from tests.house.people import Person, oid_of
from tests.server.doors.native.models import ModelAt


@contextmanager
def written(formatter: logging.Formatter) -> Iterator[io.StringIO]:
    """Every line that any logger writes, at every level, as this formatter has it; but for the test's own client."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(lambda record: not record.name.startswith("httpx"))
    handler.setFormatter(formatter)
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield stream
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def _secrets_of(url: str) -> list[str]:
    return [urlsplit(url).query, urlsplit(url).query.partition("=")[2]]


def _a_life(tiny: ModelAt, admin: Person) -> list[str]:
    """Use everything that has a secret, rightly and wrongly; answers the secrets."""
    person, client, data = tiny.person, tiny.person.client, bytes(70_000)
    secrets = [str(person.token), str(admin.token)]
    secrets.append(admin.post("/users", {"username": "logged"}).json()["key"])
    secrets.append(person.post("/user/api-keys", {"name": "x"}).json()["key"])
    item = person.offer(tiny.ref, data).json()["objects"][0]["actions"]["upload"]
    for url in [item["href"], *(item["header"][str(number)] for number in (1, 2))]:
        secrets += _secrets_of(url)
    for number, part in (("1", data[:65_536]), ("2", data[65_536:])):
        client.put(item["header"][number], content=part)
    client.post(item["href"])
    client.get(item["href"])
    tiny.post_version(version="1.0.0", artifacts={"a.bin": oid_of(data)})
    url = tiny.post("/1.0.0/download").json()["url"]
    secrets += _secrets_of(url)
    client.get(url)
    client.get(url[:-1])
    client.get(url + "&a=b%00")
    client.get("/api/v1/user", headers={"Authorization": "Bearer wrong-but-still-secret"})
    client.get("/api/v1/user", headers={"X-API-Key": "also-wrong-secret"})
    person.get(f"/org/{tiny.org}/models?search=private-question")
    person.get("/nothing?token=in-the-query")
    return [*secrets, "wrong-but-still-secret", "also-wrong-secret", "private-question", "in-the-query"]


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
def test_no_token_no_ticket_and_no_query_is_ever_logged(
    make_registered: MakeRegistered, formatter: logging.Formatter
) -> None:
    registered = make_registered(part_size_bytes=64 * 1024)
    tiny = ModelAt(registered.user("ada"), "ada/tiny")
    with written(formatter) as stream:
        secrets = _a_life(tiny, registered.admin)
    text = stream.getvalue()
    assert text.count("/blobs/uploads/") >= 4
    assert [secret for secret in secrets if secret in text] == []
    assert "ticket=" not in text


def test_a_fault_of_ours_is_logged_without_secrets_too(tiny: ModelAt, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.publish("1.0.0")
    url = tiny.post("/1.0.0/download").json()["url"]

    def fail(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("steelyard.server.core.files.reading.plan_version", fail)
    with written(TextFormatter()) as stream:
        assert tiny.person.client.get(url, headers={"Authorization": "Bearer secret-token"}).status_code == 500
    assert "RuntimeError: broken" in stream.getvalue()
    assert [secret for secret in [*_secrets_of(url), "secret-token"] if secret in stream.getvalue()] == []


def test_a_request_is_one_line_that_says_who_asked_what_and_how_it_went(registry: Registered, ada: Person) -> None:
    with written(JsonFormatter()) as stream:
        ada.get(f"/org/{ada.name}/models?search=x", headers={"X-Request-Id": "request-7"})
        registry.anonymous.get("/user")
    lines: list[dict[str, Any]] = [json.loads(line) for line in stream.getvalue().splitlines()]
    asked, refused = (line for line in lines if line["logger"] == "steelyard.access")
    assert (asked["method"], asked["path"], asked["status"]) == ("GET", f"/api/v1/org/{ada.name}/models", 200)
    assert (asked["actor"], asked["address"], asked["request_id"]) == (ada.name, "testclient", "request-7")
    assert asked["route"].endswith("/org/{org}/models")
    assert asked["duration_ms"] > 0
    assert asked["sent_bytes"] > 0
    assert asked["at"].endswith("Z")
    assert (refused["status"], refused["actor"], refused["path"]) == (401, None, "/api/v1/user")


@pytest.mark.parametrize("path", ["/a%0Ab", "/a%0d%0aINFO forged", "/%1b[31m"])
def test_nobody_forges_a_line(registry: Registered, path: str) -> None:
    with written(TextFormatter()) as stream:
        registry.client.get(path, headers={"X-Request-Id": "a b"})
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()


def test_the_server_itself_writes_no_secret_either(tmp_path: Path) -> None:
    """The whole of what `serve` writes, its ASGI server included."""
    server = start_server(tmp_path / "data", part_size_bytes="65536", log_level="debug")
    try:
        with httpx2.Client(base_url=server.url) as client:
            admin = Person(client, "admin", server.token)
            secrets = _a_life(ModelAt(admin, "admin/tiny"), admin)
            admin.get("/user", headers={"X-Request-Id": "the-last-one"})
    finally:
        server.stop()
    assert "the-last-one" in server.log
    assert [secret for secret in secrets if secret in server.log] == []
