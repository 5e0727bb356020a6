"""How many parameters a model has, read from the headers of its weights by range, never from whole files.

Knows safetensors (8 bytes of length, little-endian, then that much JSON) and GGUF 2 and 3 (ggml, `docs/gguf.md`).
The files come from strangers: whatever they say, counting ends soon, holds some 20 MiB at most and raises nothing.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

_BLOCK_BYTES = 256 * 1024
_HEADERS_MAX_BYTES = 64 * 1024**2  # of one model; 200,000 tensors need about 30 MiB
_SAFETENSORS_HEADER_MAX_BYTES = 16 * 1024**2  # of one file; the format itself stops at 100 MB
_FILES_MAX = 1024  # a header is at least one request to a remote store


class ReadRange(Protocol):
    """The bytes of a file from `start`; fewer than `length` only where the file ends."""

    def __call__(self, start: int, length: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A file of a version, with its path in the version and a way to read parts of it."""

    path: str
    size_bytes: int
    read: ReadRange


class _UnreadableError(Exception):
    """The bytes are not what the ending of their path says."""


def count_parameters(files: Iterable[WeightFile]) -> int | None:
    """How many numbers the model's tensors hold; None without weights of a known format, or with any that is broken.

    The shards of one set of weights count together. What is the same model over again does not count twice: of
    several sets in one folder (full and half precision, a consolidated file) the largest counts, GGUF counts only
    where there is no safetensors file, and of GGUF sets, which are quantisations, only the largest. Where a format
    packs several small numbers into one element, elements are counted. Raises what `read` raises.
    """
    chosen = _choose(sorted(files, key=lambda file: file.path))
    if not chosen or len(chosen) > _FILES_MAX:
        return None
    total, left_bytes = 0, _HEADERS_MAX_BYTES
    try:
        for file in chosen:
            head = _Head(file, left_bytes)
            total += _count_file(file, head)
            left_bytes -= head.position
    except _UnreadableError:
        return None
    return total


def size_category(parameters: int | None, size_bytes: int) -> str:
    """`tiny` below 100 million parameters, `small` below 1, `medium` below 10, `large` below 100 billion, else `huge`.

    Without a count of parameters the bytes are taken for 16-bit weights.
    """
    count = size_bytes // 2 if parameters is None else parameters
    limits = {"tiny": 10**8, "small": 10**9, "medium": 10**10, "large": 10**11}
    return next((category for category, limit in limits.items() if count < limit), "huge")


_SHARD = re.compile(r"-[0-9]{1,9}-of-[0-9]{1,9}(?=\.[a-z]+\Z)")


def _choose(files: Sequence[WeightFile]) -> list[WeightFile]:
    """The files that together are the model once."""
    safetensors = _group_shards(file for file in files if _ending(file) == "safetensors")
    if not safetensors:
        return max(_group_shards(file for file in files if _ending(file) == "gguf").values(), key=_size, default=[])
    largest: dict[str, list[WeightFile]] = {}
    for name, shards in safetensors.items():
        folder = name.rpartition("/")[0]
        largest[folder] = max(largest.get(folder, []), shards, key=_size)
    return [file for shards in largest.values() for file in shards]


def _ending(file: WeightFile) -> str:
    return file.path.lower().rpartition(".")[2]


def _size(files: Sequence[WeightFile]) -> int:
    return sum(file.size_bytes for file in files)


def _group_shards(files: Iterable[WeightFile]) -> dict[str, list[WeightFile]]:
    """Files by what their path is without its `-00001-of-00003`."""
    sets: dict[str, list[WeightFile]] = {}
    for file in files:
        sets.setdefault(_SHARD.sub("", file.path.lower()), []).append(file)
    return sets


def _count_file(file: WeightFile, head: "_Head") -> int:
    count = _count_gguf(head) if _ending(file) == "gguf" else _count_safetensors(head)
    if count > 8 * file.size_bytes:  # no known quantisation needs less than a bit
        raise _UnreadableError
    return count


class _Head:
    """The beginning of a file, read forwards block by block and never further than `limit_bytes`."""

    def __init__(self, file: WeightFile, limit_bytes: int) -> None:
        self.position = 0
        self._read = file.read
        self._end = min(file.size_bytes, limit_bytes)
        self._block = b""
        self._block_start = 0

    def take(self, length: int) -> bytes:
        at = self.position - self._block_start
        if at + length > len(self._block):
            self._fetch(length)
            at = 0
        self.position += length
        return self._block[at : at + length]

    def _fetch(self, length: int) -> None:
        if length > self._end - self.position:
            raise _UnreadableError
        self._block_start = self.position
        self._block = self._read(self.position, min(max(length, _BLOCK_BYTES), self._end - self.position))
        if len(self._block) < length:
            raise _UnreadableError

    def skip(self, length: int) -> None:
        self.position += length
        if self.position > self._end:
            raise _UnreadableError

    def take_u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def take_u64(self) -> int:
        return int.from_bytes(self.take(8), "little")


# A safetensors header is scanned instead of loaded as JSON: as objects of Python 16 MiB of it can take a gigabyte, and
# nesting can exhaust the stack. Possessive quantifiers keep the time linear.
_SPACE = rb"[ \t\r\n]*+"
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_METADATA = rb"\{%b(?:%b%b:%b%b%b(?:,%b)?+)*+\}" % (_SPACE, _STRING, _SPACE, _SPACE, _STRING, _SPACE, _SPACE)
_MEMBER = re.compile(
    rb'%b(?:"__metadata__"%b:%b%b|(?!"__metadata__")%b%b:%b\{(?P<tensor>[^{}]{0,4096}+)\})%b(?P<next>[,}])'
    % (_SPACE, _SPACE, _SPACE, _METADATA, _STRING, _SPACE, _SPACE, _SPACE),
    re.DOTALL,
)
_SHAPE = re.compile(rb'"shape"%b:%b\[([0-9, \t\r\n]*+)\]' % (_SPACE, _SPACE))
_NO_MEMBERS = re.compile(rb"\{%b\}%b" % (_SPACE, _SPACE))


def _count_safetensors(head: _Head) -> int:
    length = head.take_u64()
    if length > _SAFETENSORS_HEADER_MAX_BYTES:
        raise _UnreadableError
    header = head.take(length)
    if _NO_MEMBERS.fullmatch(header):
        return 0
    if not header.startswith(b"{"):
        raise _UnreadableError
    return _count_members(header)


def _count_members(header: bytes) -> int:
    total, at, following = 0, 1, b","
    while following == b",":
        if not (member := _MEMBER.match(header, at)):
            raise _UnreadableError
        if member["tensor"] is not None:
            total += _count_shape(member["tensor"])
        at, following = member.end(), member["next"]
    if header[at:].strip(b" \t\r\n"):
        raise _UnreadableError
    return total


def _count_shape(tensor: bytes) -> int:
    if not (shape := _SHAPE.search(tensor)):
        raise _UnreadableError
    dimensions = shape[1].split(b",") if shape[1].strip() else []
    try:
        return math.prod(map(int, dimensions))
    except ValueError:
        raise _UnreadableError from None


_GGUF_SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_GGUF_STRING, _GGUF_ARRAY = 8, 9
_GGUF_DIMENSIONS_MAX = 8  # ggml itself stops at 4


def _count_gguf(head: _Head) -> int:
    """Every step of a loop takes some bytes, so that a count that lies ends at the end of the file or the limit."""
    if head.take(4) != b"GGUF" or head.take_u32() not in (2, 3):
        raise _UnreadableError
    tensor_count, pair_count = head.take_u64(), head.take_u64()
    for _ in range(pair_count):
        head.skip(head.take_u64())
        _skip_gguf_value(head, head.take_u32())
    return sum(_count_gguf_tensor(head) for _ in range(tensor_count))


def _skip_gguf_value(head: _Head, kind: int, depth: int = 0) -> None:
    if kind == _GGUF_STRING:
        head.skip(head.take_u64())
    elif kind == _GGUF_ARRAY:
        _skip_gguf_array(head, depth)
    elif kind in _GGUF_SCALAR_BYTES:
        head.skip(_GGUF_SCALAR_BYTES[kind])
    else:
        raise _UnreadableError


def _skip_gguf_array(head: _Head, depth: int) -> None:
    kind, count = head.take_u32(), head.take_u64()
    if depth > 4:
        raise _UnreadableError
    if kind in _GGUF_SCALAR_BYTES:
        head.skip(count * _GGUF_SCALAR_BYTES[kind])
        return
    for _ in range(count):
        _skip_gguf_value(head, kind, depth + 1)


def _count_gguf_tensor(head: _Head) -> int:
    head.skip(head.take_u64())  # the name
    dimension_count = head.take_u32()
    if dimension_count > _GGUF_DIMENSIONS_MAX:
        raise _UnreadableError
    count = math.prod([head.take_u64() for _ in range(dimension_count)])
    head.skip(4 + 8)  # the type and the offset of the data
    return count
