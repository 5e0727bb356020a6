"""Input that means harm, or none at all: always a clear 4xx, never a fault of ours, and nothing is lost by it."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.server.doors.native.examples import BODIES
from steelyard.server.doors.native.parameters import read_reference
from steelyard.server.names import Alias, ArtifactPath, InvalidName, ModelName, OrgSlug, Version
from tests.house import Person, Registered
from tests.house.people import API, oid_of
from tests.house.registries import open_registered
from tests.server.doors.native.hostile import MOST_ERRORS, NEVER_JSON, ODD_JSON, refused, taken_or_refused

MODEL = "/org/victim/models/treasure"
DECOY = {"org": "victim", "name": "decoy", "version": "1.0.0", "username": "bystander", "account": "robot"}
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Victim:
    """A registry with a model that nothing here may change, and its owner."""

    registered: Registered
    owner: Person

    def state(self) -> list[Any]:
        """All that can be seen of the model."""
        paths = ("", "/versions", "/aliases", "/1.0.0", "/2.0.0-rc.1", "/compare?versions=1.0.0&versions=stable")
        answers = [self.owner.get(MODEL + path) for path in paths]
        assert {answer.status_code for answer in answers} == {200}
        return [*(answer.json() for answer in answers), self.owner.get(f"{MODEL}/1.0.0/files/model.bin").content]


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """Limits are off: they would answer before the input is looked at."""
    with open_registered(data=tmp_path_factory.mktemp("hostile") / "data", limits="off") as registered:
        owner = registered.user("victim")
        registered.user("bystander")
        assert owner.post("/org/victim/service-accounts", {"name": "robot"}).status_code == 201
        files = {"model.bin": b"the treasure", "deep/er/café.json": b"{}"}
        said = {"summary": "Ours", "aliases": ["stable"], "metrics": {"accuracy": 0.5}, "origin": {"source": "upload"}}
        for version in ("1.0.0", "2.0.0-rc.1"):
            assert owner.publish(f"victim/treasure:{version}", files, **said).status_code == 201
        assert owner.publish("victim/decoy:1.0.0", {"model.bin": b"decoy"}).status_code == 201
        yield Victim(registered, owner)


@pytest.fixture(autouse=True)
def _nothing_is_lost(victim: Victim) -> Iterator[None]:
    before = victim.state()
    yield
    assert victim.state() == before


# --- bodies


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
    **dict.fromkeys(("tags", "language", "task_categories", "aliases"), ["x1"]),
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
    assert reading - {writing.id for writing in WRITINGS} == {"complete_upload", "update_user"}


@every_writing
def test_a_truncated_body_is_400(writing: Writing, victim: Victim) -> None:
    whole = json.dumps(body_of(writing)).encode()
    for length in range(1, len(whole), max(1, len(whole) // 60)):
        assert refused(writing.send(victim, whole[:length])) == 400, whole[:length]


@every_writing
@pytest.mark.parametrize("kind", NEVER_JSON)
def test_what_is_no_json_is_400_wherever_it_stands(kind: str, writing: Writing, victim: Victim) -> None:
    for place in list(places(body_of(writing)))[-3:]:
        body = place.replace("@@", NEVER_JSON[kind])
        assert refused(writing.send(victim, body)) in ({400, 422} if not body else {400}), place


@every_writing
def test_odd_json_is_taken_or_refused_wherever_it_stands(writing: Writing, victim: Victim) -> None:
    for place in places(body_of(writing)):
        for odd in ODD_JSON.values():
            taken_or_refused(writing.send(victim, place.replace("@@", odd)))


@every_writing
@settings(max_examples=15)
@given(body=st.binary(min_size=1, max_size=200))
def test_any_bytes_at_all_are_taken_or_refused(writing: Writing, victim: Victim, body: bytes) -> None:
    taken_or_refused(writing.send(victim, body))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


@every_writing
@settings(max_examples=15)
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


def test_a_body_of_a_wrong_kind_is_415_and_one_that_is_too_large_413(victim: Victim) -> None:
    kinds = ["text/html", "multipart/form-data", "application/json/x", "json", ";", "\xff", "a" * 10_000]
    for kind in kinds:
        answer = victim.owner.request("PUT", f"{MODEL}/1.0.0/yank", content=b"{}", headers={"Content-Type": kind.encode("latin-1")})  # fmt: skip
        assert refused(answer) == 415, kind
    large = b'{"reason": "' + b"x" * (32 * 2**20) + b'"}'
    for content in (large, iter([large[: 2**24], large[2**24 :]])):
        answer = victim.owner.request("PUT", f"{MODEL}/1.0.0/yank", content=content, headers=JSON)
        assert refused(answer) == 413


def test_more_artifacts_than_a_version_may_have_are_refused(victim: Victim) -> None:
    artifacts = {f"shards/{n}.bin": oid_of(b"decoy") for n in range(100_001)}
    answer = victim.owner.post("/org/victim/models/decoy/versions", {"version": "5.0.0", "artifacts": artifacts})
    assert refused(answer) == 422
    assert "100000" in answer.json()["errors"][0]["msg"].replace(",", "")


def test_a_thousand_faults_are_named_and_then_how_many_there_are(victim: Victim) -> None:
    artifacts = {f"../{n}": "sha256:" + "0" * 64 for n in range(100_000)}
    answer = victim.owner.post("/org/victim/models/decoy/versions", {"version": "5.0.0", "artifacts": artifacts})
    assert refused(answer) == 422
    assert len(answer.json()["errors"]) == MOST_ERRORS
    assert "100000" in answer.json()["errors"][-1]["msg"]
    metrics = {f"m{n}": [] for n in range(1_500)}
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


@settings(max_examples=60)
@given(
    paths=st.lists(
        st.text(max_size=8) | st.sampled_from(["a", "A", "a/b", "é", "e\u0301", "ß", "SS"]), min_size=1, max_size=4
    )
)
def test_any_paths_at_all_are_taken_or_refused(victim: Victim, paths: list[str]) -> None:
    body = {"version": "1.0.0", "artifacts": {path: oid_of(b"not held by anybody") for path in paths}}
    assert refused(victim.owner.post("/org/victim/models/treasure/versions", body)) in (409, 422)


@given(oid=st.text(max_size=80) | st.from_regex(r"\A(sha256:)?[0-9a-fA-F]{60,68}\Z"))
@settings(max_examples=60)
def test_any_digest_at_all_is_refused(victim: Victim, oid: str) -> None:
    body = {"version": "5.0.0", "artifacts": {"model.bin": oid}}
    assert refused(victim.owner.post("/org/victim/models/decoy/versions", body)) == 422
    batch = {"operation": "upload", "objects": [{"oid": oid, "size": -1}]}
    assert refused(victim.owner.post("/org/victim/models/decoy/blobs/batch", batch)) == 422


# --- names in the address

ADDRESSES: list[tuple[str, Callable[[str], object]]] = [
    ("/org/{}", OrgSlug.parse_any),
    ("/org/{}/models/treasure", OrgSlug.parse_any),
    ("/org/victim/models/{}", ModelName.parse),
    ("/org/victim/models/{}/1.0.0", ModelName.parse),
    ("/org/victim/models/treasure/{}", read_reference),
    ("/org/victim/models/treasure/{}/files/model.bin", read_reference),
    ("/org/victim/models/treasure/1.0.0/files/{}", ArtifactPath.parse),
]
TEXTS = st.text(min_size=1, max_size=30) | st.lists(
    st.sampled_from(
        ["1", ".", "-", "_", "x", "a", "/", "..", "\\", " ", "%", "%2F", "\0", "\n", "é", "+", "^", "~", "latest"]
    ),
    min_size=1,
    max_size=6,
).map("".join)
SEGMENTS = TEXTS.map(str.encode) | st.binary(min_size=1, max_size=20)


def is_name(parse: Callable[[str], object], segment: bytes) -> bool:
    try:
        parse(segment.decode("utf-8", "surrogateescape"))
    except InvalidName:
        return False
    return True


def encoded(segment: bytes) -> str:
    """Every byte percent-encoded, so that no client tidies it up."""
    return "".join(f"%{byte:02X}" for byte in segment)


@pytest.mark.parametrize(("address", "parse"), ADDRESSES)
@settings(max_examples=60)
@given(segment=SEGMENTS)
def test_a_malformed_name_is_422_and_one_that_is_not_there_404(
    address: str, parse: Callable[[str], object], victim: Victim, segment: bytes
) -> None:
    answer = victim.owner.get(address.format(encoded(segment)))
    if not is_name(parse, segment):
        assert refused(answer) == 422
    elif answer.status_code != 200:
        assert refused(answer) == 404


WRITTEN_ADDRESSES: list[tuple[str, str, Callable[[str], object]]] = [
    ("DELETE", "/org/{}/models/nothing", OrgSlug.parse_any),
    ("DELETE", "/org/victim/models/{}", ModelName.parse),
    ("DELETE", "/org/victim/models/nothing/{}", Version.parse),
    ("DELETE", "/org/victim/models/nothing/{}/yank", Version.parse),
    ("DELETE", "/org/victim/models/nothing/1.0.0/aliases/{}", Alias.parse),
    ("POST", "/org/victim/models/nothing/{}/download", read_reference),
    ("DELETE", "/org/victim/members/{}", OrgSlug.parse_any),
    ("DELETE", "/org/victim/service-accounts/{}", OrgSlug.parse_any),
]


@pytest.mark.parametrize(("method", "address", "parse"), WRITTEN_ADDRESSES)
@settings(max_examples=40)
@given(segment=SEGMENTS)
def test_a_malformed_name_is_422_before_anything_is_looked_up(
    method: str, address: str, parse: Callable[[str], object], victim: Victim, segment: bytes
) -> None:
    answer = victim.registered.admin.request(method, address.format(encoded(segment)))
    assert refused(answer) == (404 if is_name(parse, segment) else 422)


@pytest.mark.parametrize(
    "path",
    [
        "/org//models", "/org/victim/models/", "/org/victim/models//1.0.0", "/org/victim/models/treasure/", "//org/victim",
        "/org/victim/models/treasure/1.0.0/files/", "/org/victim/./models", "/org/victim/models/treasure/../decoy",
        "/org/victim/models/treasure/1.0.0/files/model.bin/", "/org/victim/models/treasure/1.0.0/files//model.bin",
        "/org/victim/models/treasure;v=1", "/ORG/victim", "/org/victim/Models",
    ],
)  # fmt: skip
def test_an_address_that_is_nearly_right_is_refused(path: str, victim: Victim) -> None:
    url = victim.registered.client.base_url.copy_with(raw_path=(API + path).encode())
    request = httpx2.Request("GET", url, headers={"Authorization": f"Bearer {victim.owner.token}"})
    assert refused(victim.registered.client.send(request)) in (404, 422)


@pytest.mark.parametrize("method", ["BREW", "get", "PROPFIND", "TRACE", "CONNECT", "X" * 300, "OPTIONS"])
def test_an_unknown_method_is_405_where_there_is_something(method: str, victim: Victim) -> None:
    assert refused(victim.owner.request(method, f"{MODEL}/1.0.0")) == 405
    assert refused(victim.owner.request(method, "/nothing/here")) == 404


# --- the query

LISTS = ["/org/victim/models", "/org/victim/models/facets", "/org/victim/models/activity", "/org/victim/audit"]


@pytest.mark.parametrize("path", LISTS)
def test_what_a_query_repeats_leaves_empty_or_makes_up_is_taken_or_refused(path: str, victim: Victim) -> None:
    known = ("limit", "page", "search", "sort_by", "tags", "include_public", "cursor", "since", "offset", "user_id")
    odd = ["", "=", "&&&", "a", "a=b=c", "%", "%zz=%zz", "%00=%00", "%FF=%FF", "limit", "limit=", "[]=1", "limit[]=1"]
    odd += [f"{name}={value}" for name in known for value in ("", "%00", "%FF", "-1", "9" * 400, "1e9", "null", "%F0")]
    odd += [f"{name}=1&{name}=2" for name in known]
    for query in odd:
        taken_or_refused(victim.owner.get(f"{path}?{query}"))


@pytest.mark.parametrize("path", LISTS)
def test_a_query_of_thousands_of_parameters_is_taken_or_refused(path: str, victim: Victim) -> None:
    for query in ("&".join(f"p{n}=1" for n in range(5_000)), "tags=a&" * 5_000, "search=" + "a" * 100_000):
        taken_or_refused(victim.owner.get(f"{path}?{query}"))


@settings(max_examples=60)
@given(query=st.binary(max_size=60), path=st.sampled_from([*LISTS, f"{MODEL}/compare", f"{MODEL}/aliases"]))
def test_any_query_at_all_is_taken_or_refused(victim: Victim, query: bytes, path: str) -> None:
    taken_or_refused(victim.owner.get(f"{path}?{quote(query, safe='&=%+')}"))


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-13-01T00:00:00Z", "1e3"]
)
def test_a_moment_that_no_clock_shows_is_422(moment: str, victim: Victim) -> None:
    assert refused(victim.owner.get("/org/victim/audit", params={"since": moment})) == 422
    assert refused(victim.owner.post("/user/api-keys", {"name": "x", "expires_at": moment})) == 422


# --- headers

ODD_HEADERS = [
    b"",
    b" ",
    b"\xff",
    b"\x00",
    "é".encode(),
    b"x" * 30_000,
    b",",
    b'"',
    b"*",
    b"\t",
    b"a=b;c",
    b"%00",
    b"\x7f",
]


@pytest.mark.parametrize("value", ODD_HEADERS, ids=lambda value: ascii(value)[:20])
@pytest.mark.parametrize(
    "name", ["Range", "If-None-Match", "If-Match", "If-Range", "Accept", "User-Agent", "Idempotency-Key", "X-Request-Id",
             "X-Forwarded-For", "Content-Encoding", "Accept-Encoding", "Origin", "Cookie", "If-Modified-Since"],
)  # fmt: skip
def test_an_odd_header_is_taken_or_refused(name: str, value: bytes, victim: Victim) -> None:
    for path in (f"{MODEL}/1.0.0/files/model.bin", MODEL):
        taken_or_refused(victim.owner.get(path, headers={name: value}))
    body = {"bump": "minor", "artifacts": {"x": oid_of(b"not held by anybody")}}
    taken_or_refused(victim.owner.post("/org/victim/models/decoy/versions", body, headers={name: value}))


@settings(max_examples=150)
@given(value=st.binary(max_size=60) | st.from_regex(r"\A(bytes|BYTES|x)?=?[0-9 ,-]{0,40}\Z").map(str.encode))
def test_any_range_at_all_is_answered_with_what_it_says(victim: Victim, value: bytes) -> None:
    answer = victim.owner.get(f"{MODEL}/1.0.0/files/model.bin", headers={"Range": value})
    if answer.status_code == 200:
        assert answer.content == b"the treasure"
    elif answer.status_code == 206:
        assert re.fullmatch(r"bytes \d+-\d+/12", answer.headers.get("content-range", "bytes 0-0/12"))
    else:
        assert refused(answer) == 416


ODD_CREDENTIALS = [*ODD_HEADERS, b"Bearer", b"Bearer ", b"Bearer \xff\xfe", b"Bearer a b c", b"bearer\tx", b"Basic", b"Basic =",
                   b"Basic \xff", b"Basic Og==", b"Basic OgA=", b"Basic /////w==", b"Digest x", b"Bearer " + b"x" * 20_000]  # fmt: skip


@pytest.mark.parametrize("value", ODD_CREDENTIALS, ids=lambda value: ascii(value)[:20])
@pytest.mark.parametrize("name", ["Authorization", "X-API-Key"])
def test_an_odd_credential_is_401(name: str, value: bytes, victim: Victim) -> None:
    answer = victim.registered.client.get(API + MODEL, headers={name: value})
    assert refused(answer) == 401
    assert answer.headers["www-authenticate"]


@settings(max_examples=60)
@given(value=st.binary(max_size=60), scheme=st.sampled_from([b"", b"Bearer ", b"Basic "]))
def test_any_credential_at_all_is_401(victim: Victim, value: bytes, scheme: bytes) -> None:
    assert refused(victim.registered.client.get(API + MODEL, headers={"Authorization": scheme + value})) == 401


@pytest.mark.parametrize("size", [33 * 1024, 2**20])
def test_headers_larger_than_any_honest_ones_are_400(size: int, victim: Victim) -> None:
    assert refused(victim.owner.get(MODEL, headers={"X-Junk": "x" * size})) == 400
    many = {f"X-{n}": "x" * 20 for n in range(size // 20)}
    assert refused(victim.owner.get(MODEL, headers=many)) == 400
    assert refused(victim.owner.get(MODEL, headers={"Authorization": "Bearer " + "x" * size})) == 400


@pytest.mark.parametrize("key", [b"", b" ", b"a b", b"\xff", b"x" * 256, b"\x00", "é".encode()], ids=ascii)
def test_a_bad_idempotency_key_is_422(key: bytes, victim: Victim) -> None:
    body = {"bump": "minor", "artifacts": {"model.bin": oid_of(b"decoy")}}
    answer = victim.owner.post("/org/victim/models/decoy/versions", body, headers={"Idempotency-Key": key})
    assert refused(answer) == 422
    assert {error["loc"][0] for error in answer.json()["errors"]} == {"header"}


@pytest.mark.parametrize("host", [b"", b"a b", b"\xff", b"<x>", b"a/b", b"a@b", b"a:b", b'"'], ids=ascii)
def test_a_host_that_is_none_is_400(host: bytes, victim: Victim) -> None:
    assert refused(victim.owner.get(MODEL, headers={"Host": host})) == 400


# --- bytes


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
def test_a_ticket_that_was_never_given_is_refused(ticket: str, victim: Victim, tmp_path: Path) -> None:
    upload = f"/org/victim/models/decoy/blobs/uploads/{'0' * 32}?ticket={ticket}"
    assert refused(victim.owner.put(upload, content=b"x")) in (403, 422)
    assert refused(victim.owner.get(f"{MODEL}/1.0.0/archive?ticket={ticket}")) in (403, 422)
