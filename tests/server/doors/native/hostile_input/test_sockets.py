"""What no HTTP library would send, over a socket to a real server: what reaches the application is refused by it, what
is no HTTP at all by the server before it, and neither hurts anybody."""

import email.parser
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.house import Person, RunningServer, start_server
from tests.house.people import oid_of
from tests.server.doors.native.hostile_input.refusals import check_refusal

TREASURE = b"the treasure"
MODEL = "/api/v1/org/admin/models/treasure"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back before the connection was closed."""

    status: int
    headers: dict[str, str]
    body: bytes


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with a model in it, which is there, byte for byte, when all is over."""
    server = start_server(tmp_path_factory.mktemp("sockets") / "data", limits="off", free_disk_floor_bytes="0")
    with httpx2.Client(base_url=server.url) as client:
        admin = Person(client, "admin", server.token)
        assert admin.publish("admin/treasure:1.0.0", {"model.bin": TREASURE}).status_code == 201
        before = admin.get(MODEL.removeprefix("/api/v1")).json()
        yield server
        assert admin.get(MODEL.removeprefix("/api/v1")).json() == before
        assert admin.get(f"{MODEL.removeprefix('/api/v1')}/1.0.0/files/model.bin").content == TREASURE
    server.stop()
    assert "Traceback" not in server.log
    assert not re.search(r"steelyard\.access: .* 5\d\d duration_ms", server.log)


def talk(server: RunningServer, raw: bytes, *, hang_up: bool = False) -> bytes:
    """Send these bytes and read until the server closes; `hang_up` tells it that no more will come."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        with suppress(OSError):  # answered before it was read to its end; the answer may be there all the same
            connection.sendall(raw)
            if hang_up:
                connection.shutdown(socket.SHUT_WR)
        return _read_all(connection)


def _read_all(connection: socket.socket) -> bytes:
    read = bytearray()
    with suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            read += piece
    return bytes(read)


def parse(raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    line, _, rest = head.partition(b"\r\n")
    headers = email.parser.BytesParser().parsebytes(rest)
    return Answer(int(line.split(b" ")[1]), {name.lower(): value for name, value in headers.items()}, body)


def refused_by_us(answer: Answer) -> int:
    check_refusal(answer.status, answer.headers, answer.body)
    return answer.status


def refused_by_either(answer: Answer) -> int:
    """By the application in its words, or by the server before it, in none."""
    if answer.body:
        return refused_by_us(answer)
    assert answer.status in (400, 405, 413, 414, 431), answer
    return answer.status


def head(target: RunningServer, line: str, *headers: str, token: bool = True) -> bytes:
    credential = [f"Authorization: Bearer {target.token}"] if token else []
    lines = [f"{line} HTTP/1.1", "Host: localhost", "Connection: close", *credential, *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


NO_HTTP = {
    "garbage": b"garbage\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500,
    "NULs": b"\0" * 1_000 + b"\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "another version": b"GET /api/v1/health HTTP/9.9\r\nHost: x\r\n\r\n",
    "a space in the address": b"GET /api/v1/health x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "a NUL in the address": b"GET /api/v1/\0health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "a raw byte in the address": b"GET /api/v1/org/\xff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "a NUL in a header": b"GET /api/v1/user HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\0b\r\n\r\n",
    "a header without a colon": b"GET /api/v1/user HTTP/1.1\r\nHost: x\r\nAuthorization\r\n\r\n",
    "a header with a space": b"GET /api/v1/user HTTP/1.1\r\nHost: x\r\nX A : b\r\n\r\n",
    "a folded header": b"GET /api/v1/user HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n",
    "a long address": b"GET /api/v1/org/" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "a header of 1 MiB": b"GET /api/v1/user HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 2**20 + b"\r\n\r\n",
    "10,000 headers": b"GET /api/v1/user HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
}


@pytest.mark.parametrize("kind", NO_HTTP)
def test_what_is_no_http_is_refused(kind: str, target: RunningServer) -> None:
    refused_by_either(parse(talk(target, NO_HTTP[kind])))


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: -1",
        "Content-Length: x",
        "Content-Length: 0x10",
        "Content-Length: 2, 3",
        "Content-Length: 99999999999999999999999",
        "Content-Length: 2\r\nContent-Length: 3",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked, gzip",
    ],
)
def test_a_body_whose_length_is_nonsense_is_refused(framing: str, target: RunningServer) -> None:
    raw = head(target, "POST /api/v1/orgs", "Content-Type: application/json", framing) + b'{"key": "made"}'
    assert refused_by_either(parse(talk(target, raw))) in (400, 413)


ANSWERED = {
    "an unknown method": ("BREW /api/v1/user", 405),
    "a method in lower case": ("get /api/v1/user", 405),
    "TRACE": ("TRACE /api/v1/user", 405),
    "CONNECT": ("CONNECT localhost:80", 404),
    "an asterisk": ("OPTIONS *", 404),
    "dots": (f"GET {MODEL}/..", 422),
    "a dot": ("GET /api/v1/./user", 404),
    "two slashes": ("GET //api/v1/user", 404),
    "a slash at the end": ("GET /api/v1/user/", 404),
    "no percent-encoding": ("GET /api/v1/org/%zz", 422),
    "half of one": ("GET /api/v1/org/%4", 422),
    "none after the sign": ("GET /api/v1/org/%", 422),
    "NUL": ("GET /api/v1/org/a%00", 422),
    "no UTF-8": (f"GET {MODEL}/%FF%FE", 422),
    "a surrogate": (f"GET {MODEL}/%ED%A0%80", 422),
    "an encoded slash": ("GET /api/v1/org%2Fadmin", 404),
    "a path up": (f"GET {MODEL}/1.0.0/files/..%2F..%2Fsteelyard.sqlite3", 422),
    "encoded dots": (f"GET {MODEL}/1.0.0/files/%2e%2e/%2e%2e/steelyard.sqlite3", 422),
    "a backslash": (f"GET {MODEL}/1.0.0/files/..%5Csteelyard.sqlite3", 422),
    "a page's file": ("GET /docs/assets/..%2F..%2F..%2Fpyproject.toml", 404),
    "an odd query": ("GET /api/v1/users?limit=%00", 422),
    "a long address": ("GET /api/v1/org/" + "a" * 60_000, 422),
}


@pytest.mark.parametrize("kind", ANSWERED)
def test_what_reaches_the_application_is_refused_by_it(kind: str, target: RunningServer) -> None:
    line, status = ANSWERED[kind]
    assert refused_by_us(parse(talk(target, head(target, line)))) == status


@pytest.mark.parametrize("header", ["X-Junk: " + "x" * 33 * 1024, "Host: elsewhere", "X-API-Key: another token"])
def test_a_header_that_says_too_much_is_refused(header: str, target: RunningServer) -> None:
    assert refused_by_us(parse(talk(target, head(target, f"GET {MODEL}", header)))) == 400


def test_a_body_of_a_wrong_kind_is_refused_before_it_is_sent(target: RunningServer) -> None:
    expecting = ("Content-Type: text/plain", "Content-Length: 2", "Expect: 100-continue")
    assert refused_by_us(parse(talk(target, head(target, "POST /api/v1/orgs", *expecting)))) == 415


@pytest.mark.parametrize(
    "value", ["", " ", "Bearer", "Bearer \xff\xfe", "Basic \xff", "Basic Og==", "Bearer " + "x" * 30_000]
)
def test_a_bad_credential_is_401(value: str, target: RunningServer) -> None:
    raw = head(target, f"GET {MODEL}", f"Authorization: {value}", token=False)
    assert refused_by_us(parse(talk(target, raw))) == 401


def test_a_host_that_is_none_is_refused(target: RunningServer) -> None:
    raw = b'GET /api/v1/user HTTP/1.1\r\nHost: \xff"<>\r\nConnection: close\r\n\r\n'
    assert refused_by_us(parse(talk(target, raw))) == 400


# --- bodies that are not what was announced


def test_a_body_that_ends_before_its_announced_end_is_400(target: RunningServer) -> None:
    raw = (
        head(target, "POST /api/v1/orgs", "Content-Type: application/json", "Content-Length: 100") + b'{"key": "made"}'
    )
    assert refused_by_us(parse(talk(target, raw, hang_up=True))) == 400


def test_a_body_that_goes_on_after_its_announced_end_is_no_second_request_of_ours(target: RunningServer) -> None:
    body = b'{"key": "cut"}{"key": "off"}'
    raw = head(target, "POST /api/v1/orgs", "Content-Type: application/json", "Content-Length: 5") + body
    answer = parse(talk(target, raw))
    assert answer.status == 400
    raw = head(target, "GET /api/v1/user/organizations")
    assert b"cut" not in talk(target, raw)


@pytest.mark.parametrize(
    ("chunks", "status"),
    [
        (b"0\r\n\r\n", 422),
        (b"2\r\n{}\r\n0\r\n\r\n", 422),
        (b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", 422),
        (b"3\r\n{}\r\n0\r\n\r\n", 400),
        (b"zz\r\n{}\r\n0\r\n\r\n", 400),
        (b"-2\r\n{}\r\n0\r\n\r\n", 400),
        (b"ffffffffffffffffff\r\n{}", 400),
        (b"2;" + b"x" * 100_000 + b"\r\n{}\r\n0\r\n\r\n", 400),
        (b"40001\r\n" + b" " * 0x40001 + b"\r\n0\r\n\r\n", 413),
    ],
    ids=lambda value: ascii(value)[:25],
)
def test_a_chunked_body_is_read_as_it_says(chunks: bytes, status: int, target: RunningServer) -> None:
    raw = head(target, "POST /api/v1/orgs", "Content-Type: application/json", "Transfer-Encoding: chunked")
    assert refused_by_us(parse(talk(target, raw + chunks))) == status


def test_a_chunked_body_without_its_end_is_400(target: RunningServer) -> None:
    raw = head(target, "POST /api/v1/orgs", "Content-Type: application/json", "Transfer-Encoding: chunked")
    assert refused_by_us(parse(talk(target, raw + b"2\r\n{}", hang_up=True))) == 400


def test_a_body_announced_as_larger_than_is_read_is_413_at_once(target: RunningServer) -> None:
    announced = "Content-Length: 1000000000000"
    raw = head(target, "POST /api/v1/orgs", "Content-Type: application/json", announced) + b"{"
    assert refused_by_us(parse(talk(target, raw))) == 413


@pytest.mark.parametrize("length", ["0", "5", "13", "99999999999"])
def test_bytes_of_another_length_than_announced_are_not_kept(length: str, target: RunningServer) -> None:
    data = f"to be sent {length}".encode().ljust(20, b".")[:12]
    with httpx2.Client(base_url=target.url) as client:
        admin = Person(client, "admin", target.token)
        offered = admin.offer("admin/treasure", data).json()["objects"][0]["actions"]["upload"]
        path = offered["href"].removeprefix(target.url)
        raw = head(target, f"PUT {path}", f"Content-Length: {length}", token=False) + data
        assert refused_by_us(parse(talk(target, raw))) == 422
        body = {"version": "2.0.0", "artifacts": {"model.bin": oid_of(data)}}
        assert admin.post("/org/admin/models/treasure/versions", body).status_code == 422


# --- anything at all

PIECES = st.sampled_from(
    [
        *(b"GET ", b"POST ", b"/", b"/api/v1/user", b" HTTP/1.1\r\n", b"PRI * HTTP/2.0", b"%", b"?", b"#"),
        *(b"Host: x\r\n", b"Connection: close\r\n", b"Authorization: Basic \xff\r\n", b"Expect: 100-continue\r\n"),
        *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        *(b"\r\n", b"\n", b"\r", b": ", b" ", b"\0", b"\xff", b"x" * 500),
    ]
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(PIECES | st.binary(max_size=20), max_size=14))
def test_any_bytes_at_all_leave_the_server_as_it_was(pieces: list[bytes], target: RunningServer) -> None:
    answered = talk(target, b"".join(pieces), hang_up=True)
    for line in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answered):
        assert line < b"500", answered
    assert parse(talk(target, head(target, "GET /api/v1/health"))).status == 200
