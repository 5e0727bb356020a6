"""The one error body, whoever refuses: the door, the registry or the framework (contract section 3)."""

import json
import logging
import re

import pytest

from tests.conftest import MakeRegistered
from tests.house import Person, Registered
from tests.house.people import oid_of
from tests.server.doors.native.models import ModelAt, faults, refusal


def test_an_unknown_address_is_404(ada: Person) -> None:
    unknown = ["/nothing", "/org", "/org/ada/nothing", "/org/ada/models/a/1.0.0/nothing", "/blobs/" + oid_of(b"x")]
    assert {refusal(ada.get(path)) for path in unknown} == {(404, "not_found_error")}
    assert refusal(ada.get("http://127.0.0.1/nothing")) == (404, "not_found_error")
    assert refusal(ada.post("/nothing", {})) == (404, "not_found_error")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/health", "GET"),
        ("PUT", "/org/ada/models", "GET"),
        ("PATCH", "/org/ada/models/tiny", "DELETE, GET"),
        ("GET", "/org/ada/models/tiny/1.0.0/download", "POST"),
        ("POST", "/org/ada/models/tiny/1.0.0/yank", "DELETE, PUT"),
        ("DELETE", "/org/ada/models/tiny/1.0.0/files/a.bin", "GET, HEAD"),
        ("GET", "/org/ada/models/tiny/blobs/batch", "POST"),
        ("OPTIONS", "/user/api-keys", "GET, POST"),
        ("BREW", "/user", "GET"),
    ],
)
def test_a_wrong_method_is_405_and_says_which_are_right(
    registry: Registered, method: str, path: str, allowed: str
) -> None:
    refused = registry.anonymous.request(method, path)
    assert refusal(refused) == (405, "invalid_request_error")
    assert refused.headers["allow"] == allowed
    assert method in refused.json()["detail"]


NOT_JSON = [b"{", b"{}x", b'{"a": NaN}', b'{"a": Infinity}', b"\xff\xfe", b'"\\ud800"', b"'a'", b"[1,]"]


@pytest.mark.parametrize("body", [*NOT_JSON, b"[" * 40_000, b'{"a":' * 40_000], ids=lambda body: repr(body[:20]))
def test_what_is_no_json_is_400_and_says_why(tiny: ModelAt, body: bytes) -> None:
    refused = tiny.put("/1.0.0/metrics", content=body, headers={"Content-Type": "application/json"})
    assert refusal(refused) == (400, "invalid_request_error")
    assert "not valid JSON" in refused.json()["detail"]


def test_no_body_at_all_is_422(tiny: ModelAt) -> None:
    assert list(faults(tiny.put("/1.0.0/yank", headers={"Content-Type": "application/json"}))) == ["body"]
    assert list(faults(tiny.put("/1.0.0/yank"))) == ["body"]
    assert list(faults(tiny.put("/1.0.0/yank", content=b"null"))) == ["body"]


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml", "x"],
)
def test_another_kind_of_body_is_415(tiny: ModelAt, kind: str) -> None:
    refused = tiny.put("/1.0.0/yank", content=b'{"reason": "x"}', headers={"Content-Type": kind})
    assert refusal(refused) == (415, "invalid_request_error")
    assert "application/json" in refused.json()["detail"]


@pytest.mark.parametrize(
    "kind", [None, "application/json", "APPLICATION/JSON; charset=utf-8", "application/vnd.git-lfs+json"]
)
def test_json_by_any_of_its_names_is_read(tiny: ModelAt, kind: str | None) -> None:
    tiny.publish("1.0.0")
    headers = {"Content-Type": kind} if kind else {}
    assert tiny.put("/1.0.0/yank", content=b'{"reason": "x"}', headers=headers).status_code == 200


def test_a_body_that_is_too_large_is_413_whether_it_is_announced_or_not(make_registered: MakeRegistered) -> None:
    tiny = ModelAt(make_registered(max_body_bytes=10_000).user("ada"), "ada/tiny")
    body = json.dumps({"reason": "x" * 10_000}).encode()
    for content in (body, iter([body])):
        refused = tiny.put("/1.0.0/yank", content=content, headers={"Content-Type": "application/json"})
        assert refusal(refused) == (413, "invalid_request_error")
        assert "10000 bytes" in refused.json()["detail"]
    boundary = json.dumps({"reason": "x"}).encode().ljust(10_000)
    assert tiny.put("/1.0.0/yank", content=boundary).status_code == 404


def test_huge_headers_are_400(registry: Registered) -> None:
    refused = registry.client.get("/api/v1/user", headers={"X-Junk": "x" * 40_000})
    assert refusal(refused) == (400, "invalid_request_error")


def test_a_422_names_every_fault_at_once(tiny: ModelAt) -> None:
    refused = tiny.post_version(version="1.0", artifacts={"a": oid_of(b"")}, tags=[1], metrics={"a": True}, typo=1)
    found = faults(refused)
    assert {"body.version", "body.tags.0", "body.typo"} <= set(found)
    assert any(where.startswith("body.metrics.a") for where in found)
    assert "Value error" not in refused.text
    assert set(refused.json()["errors"][0]) == {"loc", "msg", "type"}


def test_a_422_names_every_fault_of_the_artifacts_at_once(tiny: ModelAt) -> None:
    artifacts = {"../x": oid_of(b"1"), "ok": "md5:1", "A": oid_of(b"2"), "a": oid_of(b"2"), "missing": oid_of(b"3")}
    found = faults(tiny.post_version(bump="minor", artifacts=artifacts))
    assert {"header.Idempotency-Key", *(f"body.artifacts.{path}" for path in ("../x", "ok", "a", "missing"))} <= set(
        found
    )


@pytest.mark.parametrize("path", ["file{}", "../{}"])
def test_a_422_names_a_thousand_faults_and_then_how_many_there_are(tiny: ModelAt, path: str) -> None:
    held = "sha256:" + "0" * 64 if "file" in path else tiny.person.upload(tiny.ref, b"held")[0]
    refused = tiny.post_version(version="1.0.0", artifacts={path.format(n): held for n in range(1_500)})
    assert refusal(refused) == (422, "validation_error")
    assert len(refused.json()["errors"]) == 1_001
    assert "1500" in refused.json()["errors"][-1]["msg"]


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/models?page=0", "query.page"),
        ("/models?page=x", "query.page"),
        ("/models?limit=201", "query.limit"),
        ("/models?limit=0", "query.limit"),
        ("/models?sort_by=size", "query.sort_by"),
        ("/models?sort_dir=up", "query.sort_dir"),
        ("/models?include_public=perhaps", "query.include_public"),
        ("/models?search=a%00b", "query.search"),
        ("/models/activity?offset=-1", "query.offset"),
        ("/models/tiny/aliases?cursor=%20", "query.cursor"),
        ("/audit?cursor=x", "query.cursor"),
        ("/audit?since=yesterday", "query.since"),
        ("/audit?since=2026-01-01T00:00:00", "query.since"),
        ("/audit?target=a%00b", "query.target"),
    ],
)
def test_a_wrong_query_is_422_and_says_where(ada: Person, path: str, where: str) -> None:
    assert list(faults(ada.get(f"/org/{ada.name}{path}"))) == [where]


def test_every_answer_has_a_request_id(registry: Registered, ada: Person) -> None:
    answers = [
        ada.get("/user"),
        ada.get("/nothing"),
        registry.anonymous.get("/user"),
        ada.put("/user"),
        ada.get("/health"),
    ]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[0-9a-f]{32}", one) for one in ids)


@pytest.mark.parametrize("given", ["abc-123", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a" * 128])
def test_a_sane_request_id_is_taken_over(ada: Person, given: str) -> None:
    assert ada.get("/user", headers={"X-Request-Id": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "a" * 129, 'x"; drop', "<script>", "a\tb", "é"])
def test_another_one_is_not(ada: Person, given: str) -> None:
    answered = ada.get("/user", headers={"X-Request-Id": given.encode("latin-1")})
    assert answered.headers["x-request-id"] != given
    assert re.fullmatch(r"[0-9a-f]{32}", answered.headers["x-request-id"])


def test_a_fault_of_ours_says_its_request_id_and_nothing_else(
    registry: Registered, ada: Person, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret inside")

    monkeypatch.setattr("steelyard.server.core.orgs.list_own_orgs", fail)
    with caplog.at_level(logging.ERROR):
        failed = ada.get("/user/organizations", headers={"X-Request-Id": "look-here"})
    assert refusal(failed) == (500, "internal_error")
    assert "look-here" in failed.json()["detail"]
    assert "secret" not in failed.text
    assert "look-here" in caplog.text
    assert "secret inside" in caplog.text
