"""Range and condition headers, against RFC 9110 and against plain slices."""

import email
import email.policy
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from steelyard.server.doors.ranges import (
    MAX_RANGES,
    ByteRange,
    frame_parts,
    if_match,
    if_none_match,
    if_range,
    parse_range,
)
from steelyard.server.errors import RangeNotSatisfiable

ETAG = '"sha256:' + "ab" * 32 + '"'
OTHER = '"sha256:' + "cd" * 32 + '"'


def found(header: str | None, size_bytes: int = 100) -> list[tuple[int, int]] | None:
    ranges = parse_range(header, size_bytes)
    return None if ranges is None else [(part.start, part.end) for part in ranges]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=0-99", [(0, 100)]),
        ("bytes=10-19", [(10, 20)]),
        ("bytes=90-", [(90, 100)]),
        ("bytes=90-1000", [(90, 100)]),
        ("bytes=-1", [(99, 100)]),
        ("bytes=-100", [(0, 100)]),
        ("bytes=-1000", [(0, 100)]),
        ("BYTES=0-0", [(0, 1)]),
        ("bytes=007-08", [(7, 9)]),
        ("bytes=0-0,10-19", [(0, 1), (10, 20)]),
        ("bytes= 0-0 ,\t10-19", [(0, 1), (10, 20)]),
        ("bytes=,0-0,,10-19,", [(0, 1), (10, 20)]),
        ("bytes=0-9,10-19", [(0, 10), (10, 20)]),
        ("bytes=0-9,-5", [(0, 10), (95, 100)]),
        ("bytes=0-9,200-", [(0, 10)]),
        ("bytes=0-9,-0", [(0, 10)]),
        ("bytes=0-" + "9" * 5000, [(0, 100)]),
        ("bytes=-" + "9" * 5000, [(0, 100)]),
    ],
)
def test_a_range_is_found(header: str, expected: list[tuple[int, int]]) -> None:
    assert found(header) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-9,5-19", [(0, 20)]),
        ("bytes=0-90,-50", [(0, 100)]),
        ("bytes=0-50,10-20,30-,60-70", [(0, 100)]),
        ("bytes=0-9,0-9", [(0, 10)]),
        ("bytes=0-5,3-7,20-30", [(0, 8), (20, 31)]),
    ],
)
def test_ranges_that_overlap_are_joined(header: str, expected: list[tuple[int, int]]) -> None:
    assert found(header) == expected


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes=5-2",
        "bytes=0-1,5-2",
        "bytes=0-1;5-9",
        "bytes=0-1-2",
        "bytes=--1",
        "bytes=+1-2",
        "bytes=0x1-2",
        "bytes=1_0-20",
        "bytes=\u0661-\u0662",
        "bytes=0 - 1",
        "bytes =0-1",
        "bytes:0-1",
        "bytes 0-1/100",
        "bytes=0-1,bytes=3-4",
        "items=0-1",
        "none",
    ],
)
def test_what_is_no_range_of_bytes_is_ignored(header: str | None) -> None:
    assert found(header) is None


@pytest.mark.parametrize(
    "header", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=" + "9" * 5000 + "-", "bytes=100-,200-"]
)
def test_a_range_outside_the_body_is_refused_with_its_size(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable, match="only 100 bytes") as refused:
        found(header)
    assert refused.value.headers == {"Content-Range": "bytes */100"}


def test_sixteen_ranges_are_answered_and_no_more() -> None:
    many = [f"{n}-{n}" for n in range(0, 40, 2)]
    assert found("bytes=" + ",".join(many[:MAX_RANGES])) == [(n, n + 1) for n in range(0, 32, 2)]
    with pytest.raises(RangeNotSatisfiable, match="At most 16") as refused:
        found("bytes=" + ",".join(many[: MAX_RANGES + 1]))
    assert refused.value.headers == {"Content-Range": "bytes */100"}


@pytest.mark.parametrize("header", ["bytes=10-19,0-9", "bytes=-10,0-9", "bytes=0-9,50-59,20-29"])
def test_ranges_that_do_not_ascend_are_refused(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable, match="ascending"):
        found(header)


def test_of_an_empty_body_the_end_is_the_whole_and_a_place_in_it_is_none() -> None:
    assert found("bytes=-5", 0) is None
    for header in ("bytes=0-", "bytes=0-0", "bytes=-0"):
        with pytest.raises(RangeNotSatisfiable):
            found(header, 0)


content = st.binary(max_size=300)
number = st.integers(0, 320)


@given(content=content, first=number, last=st.none() | number)
def test_a_range_is_a_slice(content: bytes, first: int, last: int | None) -> None:
    header = f"bytes={first}-{'' if last is None else last}"
    expected = content[first:] if last is None else content[first : last + 1]
    if last is not None and last < first:
        assert found(header, len(content)) is None
    elif not expected:
        with pytest.raises(RangeNotSatisfiable):
            found(header, len(content))
    else:
        (part,) = parse_range(header, len(content)) or []
        assert content[part.start : part.end] == expected
        assert part.length == len(expected)
        assert part.content_range(len(content)) == f"bytes {first}-{first + len(expected) - 1}/{len(content)}"


@given(content=st.binary(min_size=1, max_size=300), count=st.integers(1, 320))
def test_a_suffix_is_a_slice_from_the_end(content: bytes, count: int) -> None:
    (part,) = parse_range(f"bytes=-{count}", len(content)) or []
    assert content[part.start : part.end] == content[-count:]


@given(
    header=st.text(max_size=60) | st.from_regex(r"bytes=[0-9,\- ]{0,40}", fullmatch=True),
    size_bytes=st.integers(0, 200),
)
@example(header="bytes=0-,0-,0-", size_bytes=5)
def test_whatever_the_header_parts_lie_in_the_body_ascend_and_share_nothing(header: str, size_bytes: int) -> None:
    try:
        ranges = parse_range(header, size_bytes)
    except RangeNotSatisfiable:
        return
    if ranges is not None:
        edges = [edge for part in ranges for edge in (part.start, part.end)]
        assert 0 < len(ranges) <= MAX_RANGES
        assert edges == sorted(edges)
        assert edges[0] >= 0
        assert edges[-1] <= size_bytes
        assert all(part.length > 0 for part in ranges)


# Several parts in one body


@given(
    content=st.binary(min_size=40, max_size=300), cuts=st.lists(st.integers(0, 39), min_size=2, max_size=8, unique=True)
)
def test_several_parts_are_framed_so_that_a_mail_parser_reads_them(content: bytes, cuts: list[int]) -> None:
    edges = sorted(cuts)
    ranges = [ByteRange(start, end) for start, end in zip(edges[::2], edges[1::2], strict=False)]
    framed = frame_parts(ranges, len(content), "application/octet-stream")
    body = b"".join(
        preamble + content[part.start : part.end] for preamble, part in zip(framed.preambles, ranges, strict=True)
    )
    body += framed.closing
    assert len(body) == framed.length

    boundary = framed.content_type.partition("boundary=")[2].encode()
    parts = body.split(b"\r\n--" + boundary)
    assert parts[0] == b""
    assert parts[-1] == b"--\r\n"
    for part, expected in zip(parts[1:-1], ranges, strict=True):
        head, _, sent = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        headers = email.message_from_bytes(head, policy=email.policy.HTTP)
        assert headers["Content-Type"] == "application/octet-stream"
        assert headers["Content-Range"] == expected.content_range(len(content))
        assert sent == content[expected.start : expected.end]


def test_every_answer_has_a_boundary_of_its_own() -> None:
    types = {frame_parts([ByteRange(0, 1)], 2, "text/plain").content_type for _ in range(50)}
    assert len(types) == 50
    assert all(re.fullmatch(r"multipart/byteranges; boundary=[0-9a-f]{32}", value) for value in types)


# Conditions


@pytest.mark.parametrize(
    ("header", "held"),
    [
        (None, False),
        ("*", True),
        (" * ", True),
        (ETAG, True),
        (f"W/{ETAG}", True),
        (f"{OTHER}, {ETAG}", True),
        (f"{OTHER},W/{ETAG}", True),
        ('"a,b", ' + ETAG, True),
        (OTHER, False),
        ("", False),
        (ETAG.strip('"'), False),
        (ETAG[:-1], False),
        (ETAG.upper(), False),
        (f'"x{ETAG[1:]}', False),
    ],
)
def test_none_match_compares_weakly(header: str | None, held: bool) -> None:
    assert if_none_match(header, ETAG) is held


@pytest.mark.parametrize(
    ("header", "held"),
    [
        (None, True),
        ("*", True),
        (ETAG, True),
        (f"{OTHER}, {ETAG}", True),
        (f"W/{ETAG}", False),
        (OTHER, False),
        ("", False),
        ("rubbish", False),
    ],
)
def test_match_compares_strongly(header: str | None, held: bool) -> None:
    assert if_match(header, ETAG) is held


@pytest.mark.parametrize(
    ("header", "counts"),
    [
        (None, True),
        (ETAG, True),
        (f" {ETAG} ", True),
        (OTHER, False),
        (f"W/{ETAG}", False),
        (f"{ETAG}, {OTHER}", False),
        ("*", False),
        ("Wed, 21 Oct 2015 07:28:00 GMT", False),
        ("", False),
    ],
)
def test_a_range_counts_only_for_exactly_this_body(header: str | None, counts: bool) -> None:
    assert if_range(header, ETAG) is counts


@given(header=st.text(alphabet=st.characters(max_codepoint=255), max_size=200))
def test_no_condition_makes_a_fault(header: str) -> None:
    for condition in (if_none_match, if_match, if_range):
        assert condition(header, ETAG) in (True, False)
