"""The body of a commit: whatever bytes come, they are understood or refused, within bounds."""

import asyncio
import base64
import itertools
import json
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.server.core.arrivals.regular import MOST_REGULAR_BYTES
from steelyard.server.doors.hf import lines
from steelyard.server.doors.hf.lines import (
    DeletedFile,
    DeletedFolder,
    Header,
    LfsFile,
    RegularFile,
    parse_line,
    read_lines,
)
from steelyard.server.errors import BadRequest, RegistryError, TooLarge

OID = "ab" * 32


async def _pieces(data: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece


def read(*pieces: bytes) -> list[bytes]:
    """The lines of a body that comes in these pieces."""

    async def listed() -> list[bytes]:
        return [line async for line in read_lines(_pieces(pieces))]

    return asyncio.run(listed())


def said(key: str, **value: Any) -> bytes:
    return json.dumps({"key": key, "value": value}).encode()


# --- lines


@given(st.lists(st.binary(max_size=20)), st.lists(st.integers(0, 200)))
def test_lines_are_the_same_wherever_the_body_is_cut(parts: list[bytes], cuts: list[int]) -> None:
    body = b"\n".join(parts)
    edges = [0, *sorted(cut for cut in cuts if cut <= len(body)), len(body)]
    pieces = [body[start:end] for start, end in itertools.pairwise(edges)]
    assert read(*pieces) == [line for line in body.split(b"\n") if line.strip()]


@pytest.mark.parametrize("newline", [b"", b"\n"])
def test_a_line_that_is_too_long_is_refused_when_it_is(monkeypatch: pytest.MonkeyPatch, newline: bytes) -> None:
    monkeypatch.setattr(lines, "MOST_LINE_BYTES", 10)
    assert read(b"x" * 10 + newline) == [b"x" * 10]
    with pytest.raises(TooLarge):
        read(b"x" * 11 + newline)
    with pytest.raises(TooLarge):
        read(b"x" * 6, b"x" * 5 + newline)


def test_an_endless_line_is_not_gathered() -> None:
    piece, taken = bytes(64 * 1024), 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += len(piece)
            yield piece

    async def exhaust() -> None:
        async for _ in read_lines(endless()):
            pass

    with pytest.raises(TooLarge):
        asyncio.run(exhaust())
    assert taken <= lines.MOST_LINE_BYTES + len(piece)


def test_a_commit_of_too_many_lines_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MOST_LINES", 3)
    assert len(read(b"a\nb\n\n\nc\n")) == 3
    for body in (b"a\nb\nc\nd", b"a\nb\nc\nd\n"):
        with pytest.raises(TooLarge):
            read(body)


def test_a_long_body_takes_the_memory_of_one_line() -> None:
    line = said("file", path="a.txt", content=base64.b64encode(bytes(500_000)).decode()) + b"\n"

    async def exhaust() -> int:
        size_bytes = 0
        async for each in read_lines(_pieces(line for _ in range(60))):
            parsed = parse_line(each)
            assert isinstance(parsed, RegularFile)
            size_bytes += len(parsed.data)
        return size_bytes

    tracemalloc.start()
    assert asyncio.run(exhaust()) == 60 * 500_000
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 8 * len(line)


# --- what they say


def test_each_kind_of_line_is_understood() -> None:
    assert parse_line(said("header", summary="S", description="D", parentCommit="a" * 40)) == Header("S", "D", "a" * 40)
    assert parse_line(said("header", summary="S")) == Header("S", "", None)
    assert parse_line(said("file", path="a/b", content="aGk=", encoding="base64")) == RegularFile("a/b", b"hi")
    assert parse_line(said("file", path="a", content="hü", encoding="utf-8")) == RegularFile("a", "hü".encode())
    assert parse_line(said("lfsFile", path="a", algo="sha256", oid=OID, size=3)) == LfsFile("a", f"sha256:{OID}")  # type: ignore[arg-type]
    assert parse_line(said("deletedFile", path="a")) == DeletedFile("a")
    for folder in ("dir", "dir/", "dir//"):
        assert parse_line(said("deletedFolder", path=folder)) == DeletedFolder("dir")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"NaN",
        b"\xff",
        b"[" * 100_000,
        b'{"key":"file"}',
        b'{"key":["file"],"value":{}}',
        b'{"key":"other","value":{}}',
        said("header", summary=5),
        said("header", summary="x" * 10_001),
        said("header", summary="nul\0"),
        said("header", summary="x", parentCommit=5),
        said("file", path="a"),
        said("file", path="a", content="!!!"),
        said("file", path="a", content="aGk"),
        said("file", path="a", content="aGk=", encoding="rot13"),
        said("file", path="", content=""),
        said("file", path="../a", content=""),
        said("file", path="/etc/passwd", content=""),
        said("file", path=5, content=""),
        said("file", path="a", content="\ud800", encoding="utf-8"),
        said("lfsFile", path="a", oid="short"),
        said("lfsFile", path="a", oid=None),
        said("lfsFile", path="a", oid=OID.upper()),
        said("lfsFile", path="a", oid=OID, algo="md5"),
        said("deletedFile"),
        said("deletedFolder", path="/"),
        said("deletedFolder", path=None),
    ],
)
def test_a_line_that_makes_no_sense_is_a_bad_request(line: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_line(line)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([OID, "a/b", "aGk="]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_fields = st.sampled_from(
    ["path", "content", "encoding", "oid", "algo", "size", "summary", "description", "parentCommit"]
)
_kinds = st.sampled_from(["header", "file", "lfsFile", "deletedFile", "deletedFolder"])
_nearly = st.fixed_dictionaries({"key": _kinds | _json, "value": st.dictionaries(_fields, _json) | _json})


@given(
    st.binary() | _json.map(lambda value: json.dumps(value).encode()) | _nearly.map(lambda v: json.dumps(v).encode())
)
def test_whatever_comes_is_understood_or_refused(line: bytes) -> None:
    try:
        understood = parse_line(line)
    except RegistryError as error:
        assert 400 <= error.status < 500
    else:
        assert isinstance(understood, Header | RegularFile | LfsFile | DeletedFile | DeletedFolder)


_M = lines.MOST_LINE_BYTES - 100
_HOSTILE = {
    "objects": b'{"key": "header", "value": {"summary": [' + b"{}," * (_M // 3) + b"0]}}",
    "lists": b"[" * _M,
    "items": b'{"value": [' + b"1," * (_M // 2) + b"1]}",
    "texts": b"[" + b'"a",' * (_M // 4) + b"1]",
    "keys": b"{" + b",".join(b'"%x":{}' % n for n in range(_M // 12)) + b"}",
    "an unclosed text": b'"' + b'\\"[' * (_M // 3),
    "a digit after the other": b'{"key": ' + b"1" * _M + b"}",
    "text in text": json.dumps({"key": "file", "value": {"path": "a", "content": '{},[]"' * 200_000}}).encode()[:_M],
}


@pytest.mark.parametrize("line", _HOSTILE.values(), ids=_HOSTILE)
def test_a_line_takes_no_more_than_a_few_times_its_bytes_and_no_time(line: bytes) -> None:
    began = time.monotonic()
    tracemalloc.start()
    with pytest.raises(BadRequest):
        parse_line(line)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 3 * lines.MOST_LINE_BYTES
    assert time.monotonic() - began < 2


def test_a_text_may_have_any_number_of_brackets_and_commas() -> None:
    text = '{"a": [1, 2], "b": "c\\"{"},' * 20_000
    assert parse_line(said("file", path="a.json", content=text, encoding="utf-8")) == RegularFile(
        "a.json", text.encode()
    )
    summary = "[{,\\" * 1_000
    assert parse_line(said("header", summary=summary)) == Header(summary, "", None)


def test_the_largest_regular_file_fits_a_line() -> None:
    data = bytes(MOST_REGULAR_BYTES)
    line = said("file", path="a/" * 511 + "a", content=base64.b64encode(data).decode(), encoding="base64")
    assert read(line + b"\n") == [line]
    assert parse_line(line) == RegularFile("a/" * 511 + "a", data)
