"""The body of a commit, as the Hub's clients send it: one JSON object a line (NDJSON), read as it arrives.

A body may be as long as all its files; what is in memory of it at a time is one line, and that is bounded.
"""

import binascii
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pydantic_core import from_json

from steelyard.server.errors import BadRequest, TooLarge
from steelyard.server.names import ArtifactPath, InvalidName, Oid

MOST_LINE_BYTES = 2 * 2**20  # a regular file, of which preupload says what is one, in base64
MOST_LINES = 200_000  # a version has at most half as many files, each of which may replace another
_MOST_PIECES = 100  # of a line
_PIECE = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{,]', re.DOTALL)  # a text, or where a list, an object or an item begins
_MOST_TITLE = 10_000
_MOST_MESSAGE = 64 * 2**10


@dataclass(frozen=True, slots=True)
class Header:
    """The first line: what the commit is about, and where its author thinks the branch is."""

    title: str
    message: str
    parent_sha: str | None


@dataclass(frozen=True, slots=True)
class RegularFile:
    """A file whose bytes are in the line."""

    path: str
    data: bytes


@dataclass(frozen=True, slots=True)
class LfsFile:
    """A file whose bytes are here already, by LFS or Xet."""

    path: str
    oid: Oid


@dataclass(frozen=True, slots=True)
class DeletedFile:
    """A file that goes."""

    path: str


@dataclass(frozen=True, slots=True)
class DeletedFolder:
    """All that lies below goes. `path` ends in no slash."""

    path: str


Line = Header | RegularFile | LfsFile | DeletedFile | DeletedFolder


async def read_lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The lines of a body, without the empty ones. Raises `TooLarge`."""
    begun, count = bytearray(), 0
    async for piece in pieces:
        *ends, rest = piece.split(b"\n")
        for end in ends:
            _check_length(begun, end)
            line = bytes(begun + end)
            begun.clear()
            if line.strip():
                count = _counted(count)
                yield line
        _check_length(begun, rest)
        begun += rest
    if begun.strip():
        _counted(count)
        yield bytes(begun)


def _check_length(begun: bytearray, end: bytes) -> None:
    if len(begun) + len(end) > MOST_LINE_BYTES:
        raise TooLarge(
            f"A line of the commit is longer than {MOST_LINE_BYTES} bytes. Send large files by LFS or Xet first."
        )


def _counted(count: int) -> int:
    if count >= MOST_LINES:
        raise TooLarge(f"The commit has more than {MOST_LINES} lines. Send it in several commits.")
    return count + 1


def parse_line(line: bytes) -> Line:
    """What a line says. Raises `BadRequest`."""
    _check_shape(line)
    try:
        parsed = from_json(line, allow_inf_nan=False)
    except ValueError as error:
        raise BadRequest(f"A line of the commit is not valid JSON: {error}.") from error
    key, value = (parsed.get("key"), parsed.get("value")) if isinstance(parsed, dict) else (None, None)
    read = _READERS.get(key) if isinstance(key, str) else None
    if read is None or not isinstance(value, dict):
        kinds = ", ".join(_READERS)
        raise BadRequest(f'Each line of a commit is {{"key": …, "value": {{…}}}}, with one of these keys: {kinds}.')
    return read(value)


def _check_shape(line: bytes) -> None:
    """Look before anything is built: of a megabyte of `{},` would be made thirty."""
    if next(islice(_PIECE.finditer(line), _MOST_PIECES, None), None) is not None:
        raise BadRequest("A line of the commit has more in it than any operation: send one operation a line.")


def _header(value: Mapping[str, Any]) -> Header:
    parent = value.get("parentCommit")
    if parent is not None and not isinstance(parent, str):
        raise BadRequest("`parentCommit` is the id of a commit.")
    title = _said(value, "summary", _MOST_TITLE)
    return Header(title, _said(value, "description", _MOST_MESSAGE), parent or None)


def _said(value: Mapping[str, Any], key: str, longest: int) -> str:
    text = value.get(key)
    if text is None:
        return ""
    if not isinstance(text, str) or len(text) > longest or "\0" in text:
        raise BadRequest(f"`{key}` of a commit is a text of at most {longest} characters.")
    return text


def _file(value: Mapping[str, Any]) -> RegularFile:
    content, encoding = value.get("content"), value.get("encoding", "base64")
    if not isinstance(content, str) or encoding not in ("base64", "utf-8"):
        raise BadRequest("`content` of a file is a text in base64 or utf-8, and `encoding` says which.")
    path = _path(value)
    try:
        data = binascii.a2b_base64(content, strict_mode=True) if encoding == "base64" else content.encode()
    except ValueError as error:  # no base64, or half of a surrogate pair
        raise BadRequest(f"The content of {path} is not what `encoding` says: {error}.") from error
    return RegularFile(path, data)


def _lfs_file(value: Mapping[str, Any]) -> LfsFile:
    oid, algorithm = value.get("oid"), value.get("algo", "sha256")
    path = _path(value)
    if algorithm != "sha256":
        raise BadRequest(f"The digest of {path} must be its sha256.")
    try:
        return LfsFile(path, Oid.parse(f"sha256:{oid}"))
    except InvalidName as error:
        raise BadRequest(f"The `oid` of {path} is no sha256: {error}.") from error


def _path(value: Mapping[str, Any]) -> str:
    path = value.get("path")
    if not isinstance(path, str):
        raise BadRequest("`path` names a file.")
    try:
        return ArtifactPath.parse(path)
    except InvalidName as error:
        raise BadRequest(f"{error}.") from error


def _deleted_file(value: Mapping[str, Any]) -> DeletedFile:
    return DeletedFile(_path(value))


def _deleted_folder(value: Mapping[str, Any]) -> DeletedFolder:
    """`dir` or `dir/`, as the user spelled it. The whole repository is none: nobody deletes that by a slash."""
    path = value.get("path")
    return DeletedFolder(_path({"path": path.rstrip("/")} if isinstance(path, str) else value))


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Line]] = {
    "header": _header,
    "file": _file,
    "lfsFile": _lfs_file,
    "deletedFile": _deleted_file,
    "deletedFolder": _deleted_folder,
}
