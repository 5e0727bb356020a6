"""Ranges and conditions of HTTP, as pure functions over header values.

Source: RFC 9110, sections 8.8.3 (entity tags), 13.1 (conditions), 14 (ranges) and 15.5.17 (416). Owns what a Range
header means for a body of a known size, and the framing of several ranges in one answer. A header that came in several
lines is passed joined by commas. Dates are not looked at: nothing here has a Last-Modified, and then they never match.
"""

import itertools
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from steelyard.server.errors import RangeNotSatisfiable

MAX_RANGES = 16

_SPEC = re.compile(r"([0-9]+)-([0-9]*)|-([0-9]+)")
_ENTITY_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_MORE_THAN_ANY_SIZE = 10**30


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes [start, end): half open as everywhere in Python, and not as in the header."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start

    def content_range(self, size_bytes: int) -> str:
        """The value of Content-Range for this part of a body."""
        return f"bytes {self.start}-{self.end - 1}/{size_bytes}"


@dataclass(frozen=True, slots=True)
class Multipart:
    """The framing of a multipart/byteranges body: each preamble, its range's bytes, the next; then the closing."""

    content_type: str
    preambles: tuple[bytes, ...]
    closing: bytes
    length: int
    """Of the whole body: the framing and the ranges."""


def parse_range(header: str | None, size_bytes: int) -> list[ByteRange] | None:
    """The parts of a body that a Range header asks for, ascending; None where the whole is to be sent.

    A header that is malformed, or of another unit than bytes, is ignored (14.2). What lies outside the body is left
    out, and ranges that overlap are joined (15.3.7.2), so that no byte is sent twice. Raises RangeNotSatisfiable where
    nothing is left; and for more than 16 ranges, or ranges that do not ascend, which 14.2 leaves to the server: to send
    the whole instead could be 100 GB that nobody wants.
    """
    specs = _parse_specs(header)
    if specs is None:
        return None
    if len(specs) > MAX_RANGES:
        raise _unsatisfiable(f"At most {MAX_RANGES} ranges are answered at once. Ask for fewer.", size_bytes)
    if size_bytes == 0 and any(first is None and last for first, last in specs):
        return None  # a suffix of nothing is satisfiable (14.1.2), but no Content-Range can name it
    ranges = [found for spec in specs if (found := _resolve(*spec, size_bytes))]
    if not ranges:
        raise _unsatisfiable(f"There are only {size_bytes} bytes here. Ask for a range inside them.", size_bytes)
    if any(later.start < earlier.start for earlier, later in itertools.pairwise(ranges)):
        raise _unsatisfiable("Several ranges have to be ascending. Sort them.", size_bytes)
    return _joined(ranges)


def if_none_match(header: str | None, etag: str) -> bool:
    """Whether the caller has this body already (13.1.2, weak comparison). `etag` is quoted, as in the header."""
    return header is not None and _names(header, etag, weak=True)


def if_match(header: str | None, etag: str) -> bool:
    """Whether the caller's condition on the body holds (13.1.1, strong comparison); it does where there is none."""
    return header is None or _names(header, etag, weak=False)


def if_range(header: str | None, etag: str) -> bool:
    """Whether a Range header counts (13.1.5, strong comparison); it does where there is no condition."""
    return header is None or header.strip() == etag


def frame_parts(ranges: Sequence[ByteRange], size_bytes: int, content_type: str) -> Multipart:
    """Frame several ranges of a body (14.6), under a boundary that nobody could have put into it beforehand."""
    boundary = secrets.token_hex(16)
    head = f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: "
    preambles = tuple(f"{head}{part.content_range(size_bytes)}\r\n\r\n".encode("latin-1") for part in ranges)
    closing = f"\r\n--{boundary}--\r\n".encode()
    length = sum(map(len, preambles)) + sum(part.length for part in ranges) + len(closing)
    return Multipart(f"multipart/byteranges; boundary={boundary}", preambles, closing, length)


def _parse_specs(header: str | None) -> list[tuple[int | None, int | None]] | None:
    """The (first, last) of each range, both inclusive and either of them None; None for a header to be ignored."""
    unit, equals, listed = (header or "").partition("=")
    if unit.lower() != "bytes" or not equals:
        return None
    members = [member for text in listed.split(",") if (member := text.strip(" \t"))]  # empty ones do not count (5.6.1)
    specs = [_parse_spec(member) for member in members[: MAX_RANGES + 1]]
    valid = [spec for spec in specs if spec is not None]
    return valid if specs and len(valid) == len(specs) else None


def _parse_spec(text: str) -> tuple[int | None, int | None] | None:
    found = _SPEC.fullmatch(text)
    if not found:
        return None
    first, last = _number(found[1]), _number(found[2] or found[3])
    if first is not None and last is not None and last < first:
        return None
    return first, last


def _number(digits: str | None) -> int | None:
    """Any number of digits: what has more than 30 lies past every body, and Python would refuse 5,000 of them."""
    if not digits:
        return None
    significant = digits.lstrip("0")
    return int(significant or "0") if len(significant) <= 30 else _MORE_THAN_ANY_SIZE


def _resolve(first: int | None, last: int | None, size_bytes: int) -> ByteRange | None:
    """A range within the body; None where it names none of its bytes."""
    if first is None:
        start, end = max(0, size_bytes - (last or 0)), size_bytes
    else:
        start, end = first, size_bytes if last is None else min(last + 1, size_bytes)
    return ByteRange(start, end) if start < end else None


def _joined(ranges: list[ByteRange]) -> list[ByteRange]:
    """Ascending ranges, with those made one that have bytes in common."""
    joined = ranges[:1]
    for later in ranges[1:]:
        if later.start < joined[-1].end:
            joined[-1] = ByteRange(joined[-1].start, max(joined[-1].end, later.end))
        else:
            joined.append(later)
    return joined


def _unsatisfiable(detail: str, size_bytes: int) -> RangeNotSatisfiable:
    return RangeNotSatisfiable(detail, headers={"Content-Range": f"bytes */{size_bytes}"})


def _names(header: str, etag: str, *, weak: bool) -> bool:
    """Whether a list of entity tags has `etag` in it, or is `*`."""
    if header.strip() == "*":
        return True
    tags = _ENTITY_TAG.findall(header)
    return etag in ([tag.removeprefix("W/") for tag in tags] if weak else tags)
