"""Tars as container tools push them, read once from front to back: plain, gzip or Zstandard, told by their first bytes.

Sources: POSIX.1-2001 `pax` (ustar and extended headers), GNU tar's manual (long names), RFC 1952, RFC 8878. Whoever
made one may be hostile: only files and folders are taken, whatever a header makes a reader keep is bounded, and so is
what comes of compressed bytes. Where a member may lie, `names` knows.
"""

import gzip
import io
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, NoReturn, Self, cast

from steelyard.server.core.jobs import Stopped
from steelyard.server.core.manifests.recognising import without_dot
from steelyard.server.errors import Invalid
from steelyard.server.storage import StoredBlob

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_PIECE_BYTES = 2**18
_BLOCK_BYTES = tarfile.BLOCKSIZE
_MOST_HEADER_BYTES = 2**16  # of an extended header or a long name: a path has 1,024 bytes at most
_MOST_HEADERS = 16  # before one member
_MOST_RECORDS = 100  # in one extended header: path, size, and what tools note besides
_MOST_MEMBERS = 200_000  # files and folders: a version has half as many files at most
_MOST_HEADER_BYTES_IN_ALL = 2**29  # several times what so many files need
_MOST_TIMES = 1_100  # so many times its size a layer may become: a little more than gzip can do
_ALWAYS_BYTES = 2**26
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_FOLDERS, _FILES = (tarfile.DIRTYPE,), (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_EXTENDED, _GLOBAL = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE), (tarfile.XGLTYPE,)
_LONG_NAME, _LONG_LINK = tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK
_KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar. `pieces` are its bytes, to be read before the next member is asked for."""

    path: str
    size_bytes: int
    pieces: Iterator[bytes]


class Watch:
    """Sees to it that reading one tar or several ends: each header is counted, whatever it is of, and asks whether to
    stop. A few compressed bytes may become very many headers without one file."""

    def __init__(self, is_stopping: Callable[[], bool] = lambda: False) -> None:
        self._is_stopping = is_stopping
        self._members, self._header_bytes = 0, 0

    def note_header(self, size_bytes: int) -> None:
        """Some bytes are no file's. Raises `Invalid` for too many of them, and `Stopped`."""
        if self._is_stopping():
            raise Stopped
        self._header_bytes += size_bytes
        if self._header_bytes > _MOST_HEADER_BYTES_IN_ALL:
            _refuse("its headers are longer than any path needs")

    def note_member(self) -> None:
        """A file or a folder. Raises `Invalid` for one too many."""
        self._members += 1
        if self._members > _MOST_MEMBERS:
            _refuse(f"there are more than {_MOST_MEMBERS} files and folders in it")


class Watched:
    """A blob whose tar is read under a watch that others share."""

    def __init__(self, blob: StoredBlob, watch: Watch) -> None:
        self._blob, self.watch = blob, watch
        self.size_bytes = blob.size_bytes

    @property
    def path(self) -> Path | None:
        return self._blob.path

    def read(self, start: int, length: int) -> bytes:
        return self._blob.read(start, length)

    def read_now(self, start: int, length: int) -> bytes | None:
        return self._blob.read_now(start, length)

    def close(self) -> None:
        self._blob.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_members(blob: StoredBlob) -> Iterator[Member]:
    """The files of a tar, in its order, without the `./` before their paths. Raises `Invalid` for what is no tar, and
    for what a model cannot have in it; `Stopped` where the blob is watched by somebody who says so."""
    most = _ALWAYS_BYTES + _MOST_TIMES * blob.size_bytes
    watch = blob.watch if isinstance(blob, Watched) else Watch()
    try:
        with closing(_open(blob)) as content:
            yield from _members(_Stream(content, most), watch)
    except (OSError, EOFError, zlib.error, zstd.ZstdError) as error:
        raise Invalid("A layer is no whole tar: its compressed bytes are broken or cut off.") from error


class _Blob(io.RawIOBase):
    """A blob as a file that is read from front to back. What the store raises is raised as it is."""

    def __init__(self, blob: StoredBlob) -> None:
        self._blob, self._at = blob, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]
        data = self._blob.read(self._at, min(len(buffer), _PIECE_BYTES))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _open(blob: StoredBlob) -> IO[bytes]:
    """What the blob holds, unpacked as it is read."""
    first, raw = blob.read(0, 4), io.BufferedReader(_Blob(blob), _PIECE_BYTES)
    if first.startswith(_GZIP):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw, mode="rb"))
    if first == _ZSTD:
        return cast("IO[bytes]", zstd.ZstdFile(cast("BinaryIO", raw), mode="r"))
    return raw


class _Stream:
    """Bytes in exact numbers, and no more of them in all than is sane."""

    def __init__(self, content: IO[bytes], most_bytes: int) -> None:
        self._content, self._left = content, most_bytes

    def take(self, length: int) -> bytes:
        """So many bytes, or fewer where it ends."""
        pieces, missing = [], length
        while missing and (piece := self._content.read(min(missing, _PIECE_BYTES))):
            pieces.append(piece)
            missing -= len(piece)
        self._left -= length - missing
        if self._left < 0:
            _refuse(f"it becomes more than {_MOST_TIMES} times as large when it is unpacked")
        return b"".join(pieces)

    def take_whole(self, length: int) -> bytes:
        """So many bytes; raises `Invalid` where it ends before."""
        data = self.take(length)
        if len(data) < length:
            _refuse("it is cut off")
        return data

    def pieces(self, length: int) -> Iterator[bytes]:
        """So many bytes, and whatever fills the last block of them up."""
        for start in range(0, length, _PIECE_BYTES):
            yield self.take_whole(min(_PIECE_BYTES, length - start))
        self.take_whole(-length % _BLOCK_BYTES)


@dataclass(slots=True)
class _Told:
    """What headers before a member's own say of it."""

    path: str | None = None
    size_bytes: int | None = None
    count: int = 0


def _members(stream: _Stream, watch: Watch) -> Iterator[Member]:
    told = _Told()
    while (header := _header(stream)) is not None:
        watch.note_header(_BLOCK_BYTES)
        if header.type in (*_EXTENDED, *_GLOBAL, _LONG_NAME, _LONG_LINK):
            watch.note_header(header.size)
            _note(told, header, stream)
            continue
        watch.note_member()
        path = without_dot(told.path if told.path is not None else header.name)
        size = told.size_bytes if told.size_bytes is not None else header.size
        told = _Told()
        if header.type in _FOLDERS or (path.endswith("/") and header.type in _FILES):
            yield from _skip_folder(path, size, stream)
            continue
        if header.type not in _FILES:
            _refuse(f"{path[:200]!r} is {_KINDS.get(header.type, 'of an unknown kind')}, and only files are taken")
        member = Member(path, size, stream.pieces(size))
        yield member
        for _ in member.pieces:  # what was not wanted of it
            pass
    if told.count:
        _refuse("it is cut off")


def _skip_folder(path: str, size: int, stream: _Stream) -> Iterator[Member]:
    """A folder is where files lie in it. One that leads out of the tar is refused for what lies there, but bytes of its
    own would be a file."""
    if size:
        _refuse(f"the folder {path[:200]!r} has {size} bytes of its own")
    return iter(())


def _header(stream: _Stream) -> tarfile.TarInfo | None:
    """The next header; None at the end, be it marked or just there."""
    block = stream.take(_BLOCK_BYTES)
    if not block or block.count(0) == _BLOCK_BYTES:
        return None
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise Invalid("A layer is no whole tar: one of its headers is broken.") from error
    if header.size < 0:
        _refuse(f"{header.name[:200]!r} has a size below nothing")
    return header


def _note(told: _Told, header: tarfile.TarInfo, stream: _Stream) -> None:
    """Read an extended header. Where what it says is not bounded, or is for all members, it is refused."""
    told.count += 1
    if header.size > _MOST_HEADER_BYTES or told.count > _MOST_HEADERS:
        _refuse("its headers are longer than any path needs")
    body = b"".join(stream.pieces(header.size))
    if header.type == _LONG_NAME:
        told.path = _decode(body.partition(b"\0")[0])
    if header.type in _EXTENDED:
        records = dict(_records(body))
        _refuse_sparse(records)
        told.path = _decode(records[b"path"]) if b"path" in records else told.path
        told.size_bytes = _number(records[b"size"]) if b"size" in records else told.size_bytes
    if header.type in _GLOBAL and {b"path", b"size"} & dict(_records(body)).keys():
        _refuse("a header of it says path or size of all files at once")


def _records(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """`length key=value` and a newline, one after the other (pax, "Extended Header"). Keys end at the first `=`."""
    start = count = 0
    while start < len(body):
        count += 1
        if count > _MOST_RECORDS:
            _refuse(f"an extended header of it has more than {_MOST_RECORDS} records")
        blank = body.find(b" ", start, start + 20)
        end = start + (_number(body[start:blank]) if blank > start else 0)
        if end <= blank + 1 or end > len(body) or body[end - 1] != ord("\n"):
            _refuse("an extended header of it is broken")
        key, _, value = body[blank + 1 : end - 1].partition(b"=")
        yield key, value
        start = end


def _refuse_sparse(records: dict[bytes, bytes]) -> None:
    if any(key.startswith(b"GNU.sparse.") for key in records):
        _refuse("it has a sparse file, and only plain files are taken")


def _number(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 19:
        _refuse("an extended header of it is broken")
    return int(digits)


def _decode(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")  # which no path may have; it says so by name


def _refuse(why: str) -> NoReturn:
    raise Invalid(f"A layer cannot be unpacked: {why}.")
