"""Bodies that mean harm, or nothing at all: always a clear 4xx, never a fault of ours, and nothing is lost."""

import json
import re
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.server.doors.calls import parse_json
from steelyard.server.doors.native.examples import BODIES
from steelyard.server.errors import BadRequest
from tests.house.people import oid_of
from tests.server.doors.native.hostile_input.odd_json import NEVER_JSON, ODD_JSON
from tests.server.doors.native.hostile_input.refusals import MOST_ERRORS, refused, taken_or_refused
from tests.server.doors.native.hostile_input.victim import MODEL, Victim

pytestmark = pytest.mark.usefixtures("nothing_is_lost")

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Writing:
    """An operation that reads JSON, aimed at the decoy."""

    id: str
    method: str
    path: str

    def send(self, victim: Victim, body: bytes | str, **headers: str) -> httpx2.Response:
        sender = victim.registered.admin if self.path in ("/users", "/orgs") else victim.owner
        content = body.encode() if isinstance(body, str) else body
        return sender.request(self.method, self.path, content=content, headers=JSON | headers)


WRITINGS = [
    Writing("publish_model", "POST", "/org/victim/models/decoy/versions"),
    Writing("update_model_visibility", "PATCH", "/org/victim/models/decoy/visibility"),
    Writing("set_model_alias", "POST", "/org/victim/models/decoy/1.0.0/aliases"),
    Writing("update_model_metrics", "PUT", "/org/victim/models/decoy/1.0.0/metrics"),
    Writing("yank_model", "PUT", "/org/victim/models/decoy/1.0.0/yank"),
    Writing("begin_uploads", "POST", "/org/victim/models/decoy/blobs/batch"),
    Writing("create_api_key", "POST", "/user/api-keys"),
    Writing("create_user", "POST", "/users"),
    Writing("create_org", "POST", "/orgs"),
    Writing("add_member", "POST", "/org/victim/members"),
    Writing("set_member_role", "PATCH", "/org/victim/members/bystander"),
    Writing("add_service_account", "POST", "/org/victim/service-accounts"),
    Writing("set_service_account_role", "PATCH", "/org/victim/service-accounts/robot"),
    Writing("create_service_token", "POST", "/org/victim/service-accounts/robot/api-keys"),
]
every_writing = pytest.mark.parametrize("writing", WRITINGS, ids=lambda writing: writing.id)

# Every field that a publish knows, so that each is met by what is hostile.
FULL_PUBLISH: dict[str, Any] = {
    "version": "9.9.9",
    "artifacts": {"model.bin": oid_of(b"decoy")},
    **dict.fromkeys(("framework", "summary", "description", "task", "architecture", "license", "pretty_name"), "x"),
    **{key: ["x1"] for key in ("tags", "language", "task_categories", "aliases")},
    "size_category": "x",
    "base_model": "victim/treasure",
    "dataset_refs": ["x", {"a": 1}],
    "metrics": {"a": 1},
    "origin": {"source": "upload", "derived_from": [{"name": "x", "version": "1.0.0"}], "git": {"dirty": False}},
    "is_public": False,
}


def body_of(writing: Writing) -> Any:
    return FULL_PUBLISH if writing.id == "publish_model" else BODIES[writing.id]


def places(value: Any) -> Iterator[str]:
    """The same JSON again and again, one value or key of it at a time taken out and marked `@@`."""
    yield "@@"
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in pairs:
        for inner in places(child):
            copy = dict(value) if isinstance(value, dict) else list(value)
            copy[key] = "@@inner@@"
            yield json.dumps(copy).replace('"@@inner@@"', inner)


def test_every_operation_that_reads_json_is_tried(victim: Victim) -> None:
    document = victim.registered.client.get("/openapi.json").json()
    reading = {
        operation["operationId"]
        for operations in document["paths"].values()
        for operation in operations.values()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    }
    assert reading - {writing.id for writing in WRITINGS} == {"complete_upload", "sign_upload_part", "update_user"}


@every_writing
def test_a_truncated_body_is_400(writing: Writing, victim: Victim) -> None:
    whole = json.dumps(body_of(writing)).encode()
    for length in range(1, len(whole), max(1, len(whole) // 60)):
        assert refused(writing.send(victim, whole[:length])) == 400, whole[:length]


@every_writing
def test_what_is_no_json_is_400_wherever_it_stands(writing: Writing, victim: Victim) -> None:
    for place in list(places(body_of(writing)))[-3:]:
        for kind, text in NEVER_JSON.items():
            assert refused(writing.send(victim, place.replace("@@", text))) == 400, (kind, place)


@every_writing
def test_odd_json_is_taken_or_refused_wherever_it_stands(writing: Writing, victim: Victim) -> None:
    odd = cycle(ODD_JSON.values())
    for place in places(body_of(writing)):
        for text in islice(odd, 9):  # of 26, others in each place
            taken_or_refused(writing.send(victim, place.replace("@@", text)))


@pytest.mark.thorough
@every_writing
def test_all_odd_json_is_taken_or_refused_wherever_it_stands(writing: Writing, victim: Victim) -> None:
    for place in places(body_of(writing)):
        for text in ODD_JSON.values():
            taken_or_refused(writing.send(victim, place.replace("@@", text)))


@every_writing
@settings(max_examples=10)
@given(body=st.binary(min_size=1, max_size=200))
def test_any_bytes_at_all_are_taken_or_refused(writing: Writing, victim: Victim, body: bytes) -> None:
    taken_or_refused(writing.send(victim, body))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


@every_writing
@settings(max_examples=10)
@given(data=st.data())
def test_any_json_at_all_is_taken_or_refused(writing: Writing, victim: Victim, data: st.DataObject) -> None:
    keys = st.sampled_from(sorted(body_of(writing))) | st.text(max_size=10)
    body = data.draw(JSON_VALUES | st.dictionaries(keys, JSON_VALUES, max_size=6))
    taken_or_refused(writing.send(victim, json.dumps(body)))


@pytest.mark.parametrize(
    "number", ["1e999", "-1e999", "1" + "0" * 400, '{"a": [1e999]}', "[[-1e999]]"], ids=lambda number: number[:20]
)
def test_a_number_that_is_not_finite_is_refused(number: str, victim: Victim) -> None:
    send = victim.owner.request
    path = "/org/victim/models/decoy/1.0.0/metrics"
    assert refused(send("PUT", path, content=f'{{"loss": {number}}}', headers=JSON)) == 422
    for field in ("origin", "metrics"):
        body = json.dumps({**FULL_PUBLISH, field: {"loss": "@@"}}).replace('"@@"', number)
        assert refused(send("POST", "/org/victim/models/decoy/versions", content=body, headers=JSON)) == 422


@pytest.mark.parametrize("field", ["summary", "tags", "license", "origin", "dataset_refs", "metrics", "description"])
def test_nul_is_refused_in_every_text(field: str, victim: Victim) -> None:
    deep = {"origin": {"a": [{"b": "\0"}]}, "dataset_refs": [{"a": "\0"}], "metrics": {"a": "\0"}, "tags": ["\0"]}
    body = {**FULL_PUBLISH, field: deep.get(field, "a\0b")}
    assert refused(victim.owner.post("/org/victim/models/decoy/versions", body)) == 422


def test_an_origin_that_is_too_deep_or_too_large_is_refused(victim: Victim) -> None:
    def published(origin: Any) -> httpx2.Response:
        return victim.owner.post("/org/victim/models/decoy/versions", {**FULL_PUBLISH, "origin": origin})

    deep: Any = "bottom"
    for _ in range(9):
        deep = {"a": deep}
    assert refused(published(deep)) == 422
    assert refused(published({"a": "x" * 70_000})) == 422


def test_a_body_of_a_wrong_kind_is_415(victim: Victim) -> None:
    for kind in (b"text/html", b"multipart/form-data", b"application/json/x", b"json", b";", b"\xff", b"a" * 10_000):
        headers = {"Content-Type": kind}
        answer = victim.owner.request("PUT", f"{MODEL}/1.0.0/yank", content=b"{}", headers=headers)
        assert refused(answer) == 415, kind


def test_a_body_that_is_too_large_is_413_whether_it_says_so_or_not(victim: Victim) -> None:
    path, most = "/org/victim/models/decoy/versions", 32 * 2**20
    body = json.dumps(FULL_PUBLISH).encode()
    for content in (body.ljust(most + 1), iter([body.ljust(most), b" "])):
        assert refused(victim.owner.post(path, content=content, headers=JSON)) == 413
    assert taken_or_refused(victim.owner.post(path, content=body.ljust(most), headers=JSON)) in (201, 409)


def test_a_body_that_would_become_thirty_times_as_large_is_refused_unread(victim: Victim) -> None:
    body = b"[" + b"{}," * 2_000_000 + b"{}]"
    tracemalloc.start()
    try:
        with pytest.raises(BadRequest, match="items"):
            parse_json(body)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert refused(WRITINGS[0].send(victim, body)) == 400


def test_more_artifacts_than_a_version_may_have_are_refused(victim: Victim) -> None:
    artifacts = {f"shards/{n}.bin": oid_of(b"decoy") for n in range(100_001)}
    answer = victim.owner.post("/org/victim/models/decoy/versions", {"version": "5.0.0", "artifacts": artifacts})
    assert refused(answer) == 422
    assert "100000" in answer.json()["errors"][0]["msg"].replace(",", "")


def test_a_thousand_faults_are_named_and_then_how_many_there_are(victim: Victim) -> None:
    artifacts = {f"../{n}": "sha256:" + "0" * 64 for n in range(10_000)}
    answer = victim.owner.post("/org/victim/models/decoy/versions", {"version": "5.0.0", "artifacts": artifacts})
    assert refused(answer) == 422
    assert len(answer.json()["errors"]) == MOST_ERRORS
    assert re.match(r"[12]0000 faults in all", answer.json()["errors"][-1]["msg"])
    metrics: dict[str, Any] = {f"m{n}": [] for n in range(1_500)}
    answer = victim.owner.put(f"{MODEL}/1.0.0/metrics", metrics)
    assert refused(answer) == 422
    assert len(answer.json()["errors"]) <= MOST_ERRORS
    assert len(answer.content) < 2_000_000


HOSTILE_PATHS = [
    "", "/", "/etc/passwd", "..", "../x", "a/../b", "a/..", "./a", "a//b", "a/", "a\\b", "..\\x", "C:/x", "c:x", "a\0b",
    "a\nb", "\x7f", "\x85", "a.", "a ", "a./b", "con", "CON.txt", "a/nul/b", "lpt1", "COM¹.x", "aux .x", "x" * 256,
    "é" * 128, "a/" * 512 + "a",
]  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE_PATHS, ids=lambda path: ascii(path)[:30])
def test_a_hostile_path_is_refused_and_named(path: str, victim: Victim) -> None:
    body = {"version": "5.0.0", "artifacts": {path: oid_of(b"decoy"), "fine": oid_of(b"decoy")}}
    answer = victim.owner.post("/org/victim/models/decoy/versions", body)
    assert refused(answer) == 422
    assert [error["loc"] for error in answer.json()["errors"]] == [["body", "artifacts", path]]


@settings(max_examples=40)
@given(
    paths=st.lists(
        st.text(max_size=8) | st.sampled_from(["a", "A", "a/b", "é", "e\u0301", "ß", "SS"]), min_size=1, max_size=4
    )
)
def test_any_paths_at_all_are_taken_or_refused(victim: Victim, paths: list[str]) -> None:
    body = {"version": "1.0.0", "artifacts": {path: oid_of(b"not held by anybody") for path in paths}}
    assert refused(victim.owner.post("/org/victim/models/treasure/versions", body)) in (409, 422)


@given(oid=st.text(max_size=80) | st.from_regex(r"\A(sha256:)?[0-9a-fA-F]{60,68}\Z"))
@settings(max_examples=40)
def test_any_digest_at_all_is_refused(victim: Victim, oid: str) -> None:
    body = {"version": "5.0.0", "artifacts": {"model.bin": oid}}
    assert refused(victim.owner.post("/org/victim/models/decoy/versions", body)) == 422
    batch = {"operation": "upload", "objects": [{"oid": oid, "size": -1}]}
    assert refused(victim.owner.post("/org/victim/models/decoy/blobs/batch", batch)) == 422


@settings(max_examples=30)
@given(said=st.binary(min_size=1, max_size=40), sent=st.binary(max_size=40))
def test_bytes_that_are_not_those_announced_are_422_and_leave_nothing(victim: Victim, said: bytes, sent: bytes) -> None:
    offered = victim.owner.offer("victim/decoy", said).json()["objects"][0]
    if "actions" not in offered:
        return
    href = offered["actions"]["upload"]["href"]
    if said != sent:
        assert refused(victim.registered.client.put(href, content=sent)) == 422
        body = {"version": "6.0.0", "artifacts": {"model.bin": oid_of(said)}}
        assert refused(victim.owner.post("/org/victim/models/decoy/versions", body)) == 422


@pytest.mark.parametrize("ticket", ["", "x", "a.b.c", "%00", "%FF", "é", "x" * 2_001, "eyJ9.x", "..."])
def test_a_ticket_that_was_never_given_is_refused(ticket: str, victim: Victim) -> None:
    upload = f"/org/victim/models/decoy/blobs/uploads/{'0' * 32}?ticket={ticket}"
    assert refused(victim.owner.put(upload, content=b"x")) in (403, 422)
    assert refused(victim.owner.get(f"{MODEL}/1.0.0/archive?ticket={ticket}")) in (403, 422)
