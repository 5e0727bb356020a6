"""The header of a safetensors file: 8 bytes of length, little-endian, then that much JSON.

Source: the README of huggingface/safetensors, section "Format". The header is scanned instead of loaded as JSON: as
objects of Python 16 MiB of it can take a gigabyte, and nesting can exhaust the stack. Possessive quantifiers keep the
time linear.
"""

import re
from collections.abc import Iterator

from steelyard.server.core.files.heads import Head, UnreadableError

HEADER_MAX_BYTES = 16 * 1024**2  # of one file; the format itself stops at 100 MB

_SPACE = rb"[ \t\r\n]*+"
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_METADATA = rb"\{%b(?:%b%b:%b%b%b(?:,%b)?+)*+\}" % (_SPACE, _STRING, _SPACE, _SPACE, _STRING, _SPACE, _SPACE)
_MEMBER = re.compile(
    rb'%b(?:"__metadata__"%b:%b(?P<metadata>%b)|(?!"__metadata__")(?P<name>%b)%b:%b\{(?P<tensor>[^{}]{0,4096}+)\})%b'
    rb"(?P<next>[,}])" % (_SPACE, _SPACE, _SPACE, _METADATA, _STRING, _SPACE, _SPACE, _SPACE),
    re.DOTALL,
)
_PAIR = re.compile(rb"(?P<key>%b)%b:%b(?P<value>%b)" % (_STRING, _SPACE, _SPACE, _STRING), re.DOTALL)
_NO_MEMBERS = re.compile(rb"\{%b\}%b" % (_SPACE, _SPACE))
_BROKEN = "its header is not JSON as the format has it"


def is_begun(head: Head) -> bool:
    """Whether the file begins as one of this format does; leaves the head where it was."""
    first = head.peek(9)
    return len(first) == 9 and first[8:] == b"{" and int.from_bytes(first[:8], "little") <= HEADER_MAX_BYTES


def take_header(head: Head) -> bytes:
    """The JSON, from the beginning of the file; the tensors' bytes follow it. Raises `UnreadableError`."""
    length = head.take_u64()
    if length > HEADER_MAX_BYTES:
        raise UnreadableError(f"its header is longer than {HEADER_MAX_BYTES // 1024**2} MiB, and no more is read")
    return head.take(length)


def list_members(header: bytes) -> Iterator[re.Match[bytes]]:
    """What the JSON has, one after the other: matches with `name` (a JSON string) and `tensor` (members of an object),
    or with `metadata` (an object of strings). Raises `UnreadableError` when it comes to what the format has not.
    """
    if _NO_MEMBERS.fullmatch(header):
        return
    if not header.startswith(b"{"):
        raise UnreadableError(_BROKEN)
    at, following = 1, b","
    while following == b",":
        if not (member := _MEMBER.match(header, at)):
            raise UnreadableError(_BROKEN)
        yield member
        at, following = member.end(), member["next"]
    if header[at:].strip(b" \t\r\n"):
        raise UnreadableError(_BROKEN)


def list_metadata(member: re.Match[bytes]) -> Iterator[re.Match[bytes]]:
    """The pairs of a member that has `metadata`: matches with `key` and `value`, both JSON strings."""
    return _PAIR.finditer(member.string, *member.span("metadata"))
