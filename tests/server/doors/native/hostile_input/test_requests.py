"""Addresses, queries and headers that mean harm: always a clear 4xx or what the rest asks for, and nothing is lost."""

import re
from collections.abc import Callable
from urllib.parse import quote

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.server.doors.native.parameters import read_reference
from steelyard.server.names import Alias, ArtifactPath, InvalidName, ModelName, OrgSlug, Version
from tests.house.people import API, oid_of
from tests.server.doors.native.hostile_input.refusals import refused, taken_or_refused
from tests.server.doors.native.hostile_input.victim import MODEL, TREASURE, Victim

pytestmark = pytest.mark.usefixtures("nothing_is_lost")

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
@settings(max_examples=25)
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
@settings(max_examples=25)
@given(segment=SEGMENTS)
def test_a_malformed_name_is_422_before_anything_is_looked_up(
    method: str, address: str, parse: Callable[[str], object], victim: Victim, segment: bytes
) -> None:
    answer = victim.owner.request(method, address.format(encoded(segment)))
    assert refused(answer) == (404 if is_name(parse, segment) else 422)


NEARLY_RIGHT = """
    /org//models  /org/victim/models/  /org/victim/models//1.0.0  /org/victim/models/treasure/  //org/victim
    /org/victim/models/treasure/1.0.0/files/  /org/victim/models/treasure/1.0.0/files/model.bin/
    /org/victim/models/treasure/1.0.0/files//model.bin  /org/victim/models/treasure;v=1  /ORG/victim  /org/victim/Models
"""


@pytest.mark.parametrize("path", NEARLY_RIGHT.split())
def test_an_address_that_is_nearly_right_is_refused(path: str, victim: Victim) -> None:
    url = victim.registered.client.base_url.copy_with(raw_path=(API + path).encode())
    request = httpx2.Request("GET", url, headers={"Authorization": f"Bearer {victim.owner.token}"})
    assert refused(victim.registered.client.send(request)) in (404, 422)


@pytest.mark.parametrize("method", ["BREW", "PROPFIND", "TRACE", "CONNECT", "X" * 300, "OPTIONS"])
def test_an_unknown_method_is_405_where_there_is_something(method: str, victim: Victim) -> None:
    assert refused(victim.owner.request(method, f"{MODEL}/1.0.0")) == 405
    assert refused(victim.owner.request(method, "/nothing/here")) == 404


# --- the query

LISTS = [
    "/models",
    "/models/facets",
    "/org/victim/models",
    "/org/victim/models/facets",
    "/org/victim/models/activity",
    "/org/victim/audit",
]


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
    for query in ("&".join(f"p{n}=1" for n in range(5_000)), "tags=a&" * 5_000, "search=" + "a" * 60_000):
        taken_or_refused(victim.owner.get(f"{path}?{query}"))


@settings(max_examples=40)
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


ODD_NAMES = """
    Range If-None-Match If-Match If-Range If-Modified-Since Accept Accept-Encoding Content-Encoding User-Agent Origin
    Cookie Idempotency-Key X-Request-Id X-Forwarded-For
"""


@pytest.mark.parametrize("value", ODD_HEADERS, ids=lambda value: ascii(value)[:20])
@pytest.mark.parametrize("name", ODD_NAMES.split())
def test_an_odd_header_is_taken_or_refused(name: str, value: bytes, victim: Victim) -> None:
    for path in (f"{MODEL}/1.0.0/files/model.bin", MODEL):
        taken_or_refused(victim.owner.get(path, headers={name: value}))
    body = {"bump": "minor", "artifacts": {"x": oid_of(b"not held by anybody")}}
    taken_or_refused(victim.owner.post("/org/victim/models/decoy/versions", body, headers={name: value}))


@settings(max_examples=80)
@given(value=st.binary(max_size=60) | st.from_regex(r"\A(bytes|BYTES|x)?=?[0-9 ,-]{0,40}\Z").map(str.encode))
def test_any_range_at_all_is_answered_with_what_it_says(victim: Victim, value: bytes) -> None:
    answer = victim.owner.get(f"{MODEL}/1.0.0/files/model.bin", headers={"Range": value})
    if answer.status_code == 200:
        assert answer.content == TREASURE
    elif answer.status_code == 206:
        assert re.fullmatch(r"bytes \d+-\d+/12", answer.headers.get("content-range", "bytes 0-0/12"))
    else:
        assert refused(answer) == 416


ODD_CREDENTIALS = [
    *ODD_HEADERS,
    *(b"Bearer " + rest for rest in (b"", b"\xff\xfe", b"a b c", b"x" * 20_000)),
    *(b"Basic " + rest for rest in (b"", b"=", b"\xff", b"Og==", b"OgA=", b"/////w==")),
    *(b"Bearer", b"bearer\tx", b"Basic", b"Digest x"),
]


@pytest.mark.parametrize("value", ODD_CREDENTIALS, ids=lambda value: ascii(value)[:20])
@pytest.mark.parametrize("name", ["Authorization", "X-API-Key"])
def test_an_odd_credential_is_401(name: str, value: bytes, victim: Victim) -> None:
    answer = victim.registered.client.get(API + MODEL, headers={name.encode(): value})
    assert refused(answer) == 401
    assert answer.headers["www-authenticate"]


@settings(max_examples=40)
@given(value=st.binary(max_size=60), scheme=st.sampled_from([b"", b"Bearer ", b"Basic "]))
def test_any_credential_at_all_is_401(victim: Victim, value: bytes, scheme: bytes) -> None:
    assert refused(victim.registered.client.get(API + MODEL, headers={b"Authorization": scheme + value})) == 401


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
