"""Single files: HEAD, ranges, conditions and caching (contract section 4, row 16).

How ranges are read and bodies framed is tested beside `doors/ranges.py` and `doors/sending.py`.
"""

import re

import pytest

from tests.conftest import MakeRegistered
from tests.house import Registered
from tests.house.people import oid_of
from tests.server.doors.native.models import ModelAt, refusal

DATA = bytes(range(256)) * 40
LASTING, FLEETING = "private, max-age=31536000, immutable", "private, no-cache"


@pytest.fixture(scope="module")
def shelf(registry: Registered) -> ModelAt:
    """A model with a file of 10,240 bytes and an empty one. It is only read."""
    tiny = ModelAt(registry.user("shelf"), "shelf/tiny")
    tiny.publish("1.0.0", files={"sub/weights.bin": DATA, "empty": b""}, aliases=["prod"])
    return tiny


def test_a_file_has_its_digest_as_etag(shelf: ModelAt) -> None:
    whole = shelf.get("/1.0.0/files/sub/weights.bin")
    assert (whole.status_code, whole.content) == (200, DATA)
    assert whole.headers["etag"] == f'"{oid_of(DATA)}"'
    assert (whole.headers["content-length"], whole.headers["accept-ranges"]) == (str(len(DATA)), "bytes")
    assert whole.headers["content-type"] == "application/octet-stream"
    assert 'filename="weights.bin"' in whole.headers["content-disposition"]
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["x-request-id"]


def test_head_tells_all_that_get_does_and_sends_nothing(shelf: ModelAt) -> None:
    for path in ("sub/weights.bin", "empty"):
        head, get = shelf.head(f"/1.0.0/files/{path}"), shelf.get(f"/1.0.0/files/{path}")
        assert (head.status_code, head.content) == (200, b"")
        told, said = ({k: v for k, v in response.headers.items() if k != "x-request-id"} for response in (head, get))
        assert told == said
    assert shelf.head("/1.0.0/files/nothing").status_code == 404
    assert shelf.head("/1.0.0/files/sub/weights.bin", headers={"Range": "bytes=0-1"}).status_code == 200


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("0-0", 0, 1), ("100-199", 100, 200), ("10000-", 10_000, 10_240), ("-5", 10_235, 10_240), ("0-99999", 0, 10_240)],
)
def test_a_range(shelf: ModelAt, asked: str, start: int, end: int) -> None:
    part = shelf.get("/1.0.0/files/sub/weights.bin", headers={"Range": f"bytes={asked}"})
    assert (part.status_code, part.content) == (206, DATA[start:end])
    assert part.headers["content-range"] == f"bytes {start}-{end - 1}/10240"
    assert (part.headers["content-length"], part.headers["etag"]) == (str(end - start), f'"{oid_of(DATA)}"')


def test_several_ranges_come_in_one_answer(shelf: ModelAt) -> None:
    parts = shelf.get("/1.0.0/files/sub/weights.bin", headers={"Range": "bytes=0-3, 256-259,-4"})
    assert parts.status_code == 206
    boundary = re.fullmatch(r"multipart/byteranges; boundary=(\S+)", parts.headers["content-type"])[1]  # type: ignore[index]
    pieces = parts.content.split(f"--{boundary}".encode())[1:-1]
    assert [piece.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for piece in pieces] == [DATA[:4], DATA[:4], DATA[-4:]]
    assert [b"bytes 0-3/10240" in pieces[0], b"bytes 256-259/10240" in pieces[1]] == [True, True]
    assert int(parts.headers["content-length"]) == len(parts.content)


@pytest.mark.parametrize(
    "asked", ["10240-", "20000-30000", "-0", "5-6,0-1", ",".join(f"{n}-{n}" for n in range(0, 34, 2))]
)
def test_what_cannot_be_satisfied_is_416_with_the_size(shelf: ModelAt, asked: str) -> None:
    refused = shelf.get("/1.0.0/files/sub/weights.bin", headers={"Range": f"bytes={asked}"})
    assert refusal(refused) == (416, "invalid_request_error")
    assert refused.headers["content-range"] == "bytes */10240"


@pytest.mark.parametrize("asked", ["bytes=", "bytes=a-b", "bytes=5-1", "lines=1-2", "bytes 0-1"])
def test_what_is_no_range_is_ignored(shelf: ModelAt, asked: str) -> None:
    assert shelf.get("/1.0.0/files/sub/weights.bin", headers={"Range": asked}).status_code == 200


def test_conditions(shelf: ModelAt) -> None:
    etag = f'"{oid_of(DATA)}"'
    expected = {
        ("If-None-Match", etag): 304,
        ("If-None-Match", f'"x", W/{etag}'): 304,
        ("If-None-Match", "*"): 304,
        ("If-None-Match", '"x"'): 200,
        ("If-Match", etag): 200,
        ("If-Match", '"x"'): 412,
    }
    for (name, value), status in expected.items():
        for method in ("GET", "HEAD"):
            answered = shelf.person.request(method, f"{shelf.path}/1.0.0/files/sub/weights.bin", headers={name: value})
            assert answered.status_code == status
    unchanged = shelf.get("/1.0.0/files/sub/weights.bin", headers={"If-None-Match": etag})
    assert (unchanged.content, unchanged.headers["etag"], unchanged.headers["cache-control"]) == (b"", etag, LASTING)
    assert refusal(shelf.get("/1.0.0/files/empty", headers={"If-Match": '"x"'})) == (412, "invalid_request_error")


def test_if_range_sends_the_whole_of_what_changed(shelf: ModelAt) -> None:
    path, etag = "/1.0.0/files/sub/weights.bin", f'"{oid_of(DATA)}"'
    for condition, status in ((etag, 206), ('"x"', 200), (f"W/{etag}", 200), ("Sat, 01 Jan 2000 00:00:00 GMT", 200)):
        assert shelf.get(path, headers={"Range": "bytes=0-1", "If-Range": condition}).status_code == status


def test_an_exact_version_is_cached_for_ever_and_what_may_move_is_not(shelf: ModelAt) -> None:
    expected = {
        "1.0.0": LASTING,
        "prod": FLEETING,
        "latest": FLEETING,
        "%5E1": FLEETING,
        "1.x": FLEETING,
        "1.0": FLEETING,
    }
    for reference, caching in expected.items():
        for response in (shelf.get(f"/{reference}/files/empty"), shelf.head(f"/{reference}/files/sub/weights.bin")):
            assert response.headers["cache-control"] == caching
            assert "Authorization" in response.headers["vary"].split(", ")
            assert response.headers["content-location"].startswith(f"/api/v1{shelf.path}/1.0.0/files/")


def test_an_empty_file_is_served_as_any_other(shelf: ModelAt) -> None:
    whole = shelf.get("/1.0.0/files/empty")
    assert (whole.status_code, whole.content, whole.headers["content-length"]) == (200, b"", "0")
    assert shelf.get("/1.0.0/files/empty", headers={"Range": "bytes=0-"}).status_code == 416


def test_a_file_that_is_not_there_is_404(shelf: ModelAt) -> None:
    for path in ("nothing", "sub", "SUB/weights.bin", "sub/weights.bin.txt", oid_of(DATA)):
        assert refusal(shelf.get(f"/1.0.0/files/{path}")) == (404, "not_found_error")


def test_html_that_somebody_uploaded_is_not_run(make_registered: MakeRegistered) -> None:
    tiny = ModelAt(make_registered().user("ada"), "ada/tiny")
    tiny.publish("1.0.0", files={"index.html": b"<script>alert(1)</script>"})
    page = tiny.get("/1.0.0/files/index.html")
    assert page.headers["content-type"] == "application/octet-stream"
    assert page.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in page.headers["content-security-policy"]
