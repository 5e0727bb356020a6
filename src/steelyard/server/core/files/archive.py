"""A version as one uncompressed tar whose every byte is known before any of it is read.

Owns the layout: files in the order of their paths, nothing about when or by whom, USTAR headers, and a PAX extended
header only before a file whose path or size does not fit USTAR. Formats: POSIX.1-2017, `pax`, "ustar Interchange
Format" and "pax Extended Header". The bytes are pinned by a golden test, since a broken download goes on, by Range and
ETag, where another server of another release may have begun it: whoever changes the bytes changes `_FORMAT`. Those of a
single file's archive never change: images are made of such ones and name them by digest (`core/manifests/images.py`).
"""

import bisect
import functools
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_FORMAT = "steelyard tar 1"
_BLOCK = 512
_END = bytes(2 * _BLOCK)
_USTAR_SIZE_LIMIT = 8 * 1024**3  # eleven octal digits
_NAME_BYTES, _PREFIX_BYTES = 100, 155


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """One file of the archive. `key` says where the store has its bytes; no byte of the archive depends on it."""

    path: str
    size_bytes: int
    oid: str
    key: str


@dataclass(frozen=True, slots=True)
class FileSlice:
    """`length` bytes of a file's content from `start`; never empty."""

    file: ArchiveFile
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Archive:
    """The tar of some files: made by `plan_archive`."""

    size_bytes: int
    etag: str
    """Strong and quoted, of every path, size and OID."""
    files: tuple[ArchiveFile, ...]
    offsets: tuple[int, ...]
    """Where each file's headers begin, and at the end where the closing blocks begin."""

    def segments(self, start: int, end: int) -> Iterator[bytes | FileSlice]:
        """The bytes [start, end) of the archive, in order, as bytes of its own and slices of files.

        What lies before `start` is never looked at, headers are made when they are reached, and `end` may lie past
        the end.
        """
        first = bisect.bisect_right(self.offsets, start) - 1
        for index in range(first, len(self.files)):
            offset = self.offsets[index]
            if offset >= end:
                return
            yield from _cut(self._entry(index), start - offset, end - offset)
        yield from _cut([_END], start - self.offsets[-1], end - self.offsets[-1])

    def _entry(self, index: int) -> Iterator[bytes | FileSlice]:
        file = self.files[index]
        yield _headers(file)
        yield FileSlice(file, 0, file.size_bytes)
        yield bytes(_padding(file.size_bytes))


def plan_archive(entries: Sequence[ArchiveFile]) -> Archive:
    """Lay out the tar of `entries`, whose order does not matter and whose paths are distinct `ArtifactPath`s."""
    files = tuple(sorted(entries, key=lambda file: file.path))  # code points sort as their UTF-8 does
    lengths = (_headers_bytes(file) + file.size_bytes + _padding(file.size_bytes) for file in files)
    offsets = tuple(itertools.accumulate(lengths, initial=0))
    return Archive(offsets[-1] + len(_END), _etag(files), files, offsets)


def _etag(files: Sequence[ArchiveFile]) -> str:
    """Lines of OID, size and path: a path has no line break, and what comes before it no space."""
    lines = [_FORMAT, *(f"{file.oid} {file.size_bytes} {file.path}" for file in files)]
    digest = hashlib.sha256("\n".join(lines).encode())
    return f'"{digest.hexdigest()}"'


def _cut(parts: Iterable[bytes | FileSlice], start: int, end: int) -> Iterator[bytes | FileSlice]:
    """What lies in [start, end) of `parts` laid end to end; either bound may lie outside them."""
    for part in parts:
        length = len(part) if isinstance(part, bytes) else part.length
        low, high = max(0, start), min(length, end)
        if low < high:
            yield part[low:high] if isinstance(part, bytes) else FileSlice(part.file, low, high - low)
        start, end = start - length, end - length


def _padding(size_bytes: int) -> int:
    return -size_bytes % _BLOCK


def _headers_bytes(file: ArchiveFile) -> int:
    """The length of `_headers(file)`, for most files without making them."""
    if _fits_ustar(file):
        return _BLOCK
    records = len(_pax_records(file))
    return _BLOCK + records + _padding(records) + _BLOCK


def _headers(file: ArchiveFile) -> bytes:
    name_and_prefix = _split_path(file.path)
    if name_and_prefix is not None and file.size_bytes < _USTAR_SIZE_LIMIT:
        return _ustar_header(*name_and_prefix, file.size_bytes, b"0")
    records = _pax_records(file)
    # What a reader without PAX sees of a path that does not fit; the others take it from the records.
    name, prefix = name_and_prefix or (file.path.encode("ascii", "replace")[:_NAME_BYTES].rstrip(b"/"), b"")
    size_bytes = file.size_bytes if file.size_bytes < _USTAR_SIZE_LIMIT else 0
    return b"".join(
        [
            _ustar_header(b"././@PaxHeader", b"", len(records), b"x"),
            records,
            bytes(_padding(len(records))),
            _ustar_header(name, prefix, size_bytes, b"0"),
        ]
    )


def _fits_ustar(file: ArchiveFile) -> bool:
    return _split_path(file.path) is not None and file.size_bytes < _USTAR_SIZE_LIMIT


def _split_path(path: str) -> tuple[bytes, bytes] | None:
    """A path as USTAR's name and prefix, the longest name that fits; None where it has to be a PAX record."""
    if not path.isascii():
        return None
    encoded = path.encode()
    if len(encoded) <= _NAME_BYTES:
        return encoded, b""
    slash = encoded.find(b"/", len(encoded) - _NAME_BYTES - 1)
    if 0 < slash <= _PREFIX_BYTES:
        return encoded[slash + 1 :], encoded[:slash]
    return None


def _pax_records(file: ArchiveFile) -> bytes:
    records = b""
    if _split_path(file.path) is None:
        records += _pax_record(b"path", file.path.encode())
    if file.size_bytes >= _USTAR_SIZE_LIMIT:
        records += _pax_record(b"size", b"%d" % file.size_bytes)
    return records


def _pax_record(keyword: bytes, value: bytes) -> bytes:
    """`<length> <keyword>=<value>\\n`, where the length counts its own digits."""
    rest = b" %s=%s\n" % (keyword, value)
    length = len(rest) + 1
    while length != len(rest) + len(str(length)):
        length = len(rest) + len(str(length))
    return b"%d%s" % (length, rest)


def _ustar_header(name: bytes, prefix: bytes, size_bytes: int, kind: bytes) -> bytes:
    """One block. `kind` is USTAR's typeflag: `0` a file, `x` an extended header for the next one."""
    block = bytearray(_ustar_template())
    block[0 : len(name)] = name
    block[124:136] = b"%011o\0" % size_bytes
    block[156:157] = kind
    block[345 : 345 + len(prefix)] = prefix
    block[148:156] = b"%06o\0 " % sum(block)  # the template has its checksum as spaces, as the sum wants it
    return bytes(block)


@functools.cache
def _ustar_template() -> bytes:
    fields = [
        bytes(_NAME_BYTES),
        b"0000644\0",  # mode
        b"0000000\0",  # uid
        b"0000000\0",  # gid
        b"%011o\0" % 0,  # size
        b"%011o\0" % 0,  # mtime
        b" " * 8,  # checksum
        b"0",  # typeflag
        bytes(100),  # linkname
        b"ustar\x0000",  # magic and version
        bytes(32),  # uname
        bytes(32),  # gname
        b"0000000\0",  # devmajor
        b"0000000\0",  # devminor
        bytes(_PREFIX_BYTES),
        bytes(12),
    ]
    return b"".join(fields)
