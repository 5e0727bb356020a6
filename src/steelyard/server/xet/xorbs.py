"""Xorbs: runs of stored chunks, read as they arrive and proven chunk by chunk, unpacked, and packed.

A stored chunk is a header of eight bytes and its data. All numbers are little-endian:

    u8 version = 0 | u24 length of the data | u8 scheme | u24 raw length

Scheme 0 is the raw bytes, 1 an LZ4 frame of them, 2 an LZ4 frame of them regrouped by their offset modulo 4. A xorb is
nothing but such chunks; clients up to hf_xet 1.1.3 add a footer that begins with `XETBLOB`, which says nothing new.
Source: the Xet protocol specification (`spec/xorb_formation.md` of xet-core), and what hf_xet 0.1.4 to 1.8.0 send.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import lz4.frame

from steelyard.server.xet.chunking import MOST_CHUNK_BYTES
from steelyard.server.xet.frames import OddFrame, check_frame
from steelyard.server.xet.hashes import HASH_BYTES, Hash, chunk_hash, xorb_hash

HEADER_BYTES = 8
MOST_CHUNKS = 8192
MOST_XORB_BYTES = 65 * 2**20
"""Stored bytes of a xorb's chunks. Clients stop at 64 MiB, but hf_xet counts raw bytes, so that the headers, and the
frames of chunks that cannot be compressed, come on top."""
MOST_FOOTER_BYTES = 2**20

_PLAIN, _LZ4, _REGROUPED = 0, 1, 2
_MOST_GROWTH_BYTES = 1024
"""By which an LZ4 frame may be longer than what it holds."""
_FOOTER = b"XETBLOB"
_HEADER = struct.Struct("<II")
_ROW = struct.Struct(f"<{HASH_BYTES}sII")
TABLE_ROW_BYTES = _ROW.size
"""What one chunk takes up in a table."""

_Bytes = bytes | bytearray | memoryview


class MalformedXorb(ValueError):
    """These bytes are no xorb; the text tells whoever sent them why."""


class Chunk(NamedTuple):
    """A chunk of a xorb: what it is, how long, and how many bytes it takes up in the xorb, its header included."""

    hash: Hash
    raw_bytes: int
    stored_bytes: int


class XorbReader:
    """Reads a xorb piece by piece as it arrives, proving each chunk once it is whole. Holds one chunk at most. Of no
    more use once it has raised."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        """The chunks that have come whole."""
        self.stored_bytes = 0
        """What they take up."""
        self.raw_bytes = 0
        """What they are unpacked, all together."""
        self._held = bytearray()
        """The beginning of the next chunk."""
        self._footer_bytes = 0
        self._frames = _Frames(is_strict=True)

    def feed(self, data: bytes | memoryview) -> int:
        """Take the next bytes, in pieces of any size. Answers how many of them, from the first on, belong to chunks
        and are to be stored; the rest is footer. Raises MalformedXorb."""
        view = memoryview(data)
        position = 0
        while position < len(view) and not self._is_at_footer(view[position]):
            position += self._complete(view[position:]) if self._held else self._take_next(view[position:])
        self._pass_footer(view[position:])
        return position

    def finish(self) -> int:
        """The end has come: answers how many bytes the chunks take up. Raises MalformedXorb where one was cut short,
        where there was none, and where what follows them is no footer."""
        if self._held:
            raise MalformedXorb(f"the xorb ends in the middle of its chunk {len(self.chunks)}, counted from 0")
        if not self.chunks:
            raise MalformedXorb("the xorb has no chunks")
        if 0 < self._footer_bytes < len(_FOOTER):
            raise MalformedXorb("what follows the xorb's last chunk is no footer")
        return self.stored_bytes

    def hash(self) -> Hash:
        """The hash of the xorb of the chunks that have come."""
        return xorb_hash((chunk.hash, chunk.raw_bytes) for chunk in self.chunks)

    def _is_at_footer(self, byte: int) -> bool:
        """A chunk begins with a version, and none has the number of an X."""
        return self._footer_bytes > 0 or (byte == _FOOTER[0] and not self._held)

    def _take_next(self, view: memoryview) -> int:
        """Take the chunk at the front, or put aside what has come of it."""
        size = _size(view)
        if size is None or size > len(view):
            self._held += view
            return len(view)
        self._take(view[:size])
        return size

    def _complete(self, view: memoryview) -> int:
        """Add to the chunk that was put aside: first what its header lacks, then the rest."""
        size = _size(self._held) or HEADER_BYTES
        more = view[: size - len(self._held)]
        self._held += more
        if len(self._held) == _size(self._held):
            self._take(bytes(self._held))
            self._held.clear()
        return len(more)

    def _take(self, chunk: bytes | memoryview) -> None:
        if len(self.chunks) == MOST_CHUNKS:
            raise MalformedXorb(f"a xorb has at most {MOST_CHUNKS} chunks")
        if self.stored_bytes + len(chunk) > MOST_XORB_BYTES:
            raise MalformedXorb(f"a xorb has at most {MOST_XORB_BYTES} bytes")
        raw = self._frames.unpack(chunk)
        self.chunks.append(Chunk(chunk_hash(raw), len(raw), len(chunk)))
        self.stored_bytes += len(chunk)
        self.raw_bytes += len(raw)

    def _pass_footer(self, view: memoryview) -> None:
        expected = _FOOTER[self._footer_bytes :]
        if not expected.startswith(view[: len(expected)].tobytes()):
            raise MalformedXorb("what follows the xorb's last chunk is no footer")
        self._footer_bytes += len(view)
        if self._footer_bytes > MOST_FOOTER_BYTES:
            raise MalformedXorb(f"the footer of a xorb has at most {MOST_FOOTER_BYTES} bytes")


def unpack(stored: bytes | memoryview) -> Iterator[bytes | memoryview]:
    """The raw bytes of each of a run of stored chunks that begins and ends between two. Raises MalformedXorb."""
    view = memoryview(stored)
    frames = _Frames()
    position = 0
    while position < len(view):
        size = _size(view[position:])
        if size is None or size > len(view) - position:
            raise MalformedXorb("these bytes end in the middle of a chunk")
        yield frames.unpack(view[position : position + size])
        position += size


def pack(raw: bytes | memoryview) -> bytes:
    """One stored chunk of these raw bytes, 1 to 128 KiB: an LZ4 frame where that is smaller, as it is otherwise."""
    frame: bytes = lz4.frame.compress(raw, block_linked=False)
    if len(frame) >= len(raw):
        return plain_header(len(raw)) + bytes(raw)
    return _header(len(frame), _LZ4, len(raw)) + frame


def plain_header(raw_bytes: int) -> bytes:
    """The header before raw bytes that are stored as they are (scheme 0)."""
    return _header(raw_bytes, _PLAIN, raw_bytes)


def pack_table(chunks: Sequence[Chunk]) -> bytes:
    """Chunks as rows of 40 bytes (hash, u32 raw bytes, u32 stored bytes), for keeping beside a xorb."""
    return b"".join(_ROW.pack(*chunk) for chunk in chunks)


def unpack_table(table: bytes) -> list[Chunk]:
    """The chunks that `pack_table` wrote."""
    return [Chunk._make(row) for row in _ROW.iter_unpack(table)]


def unpack_run(table: bytes, start: int, end: int) -> list[Chunk]:
    """Chunks `start` to `end` of those that `pack_table` wrote."""
    return [
        Chunk._make(row) for row in _ROW.iter_unpack(memoryview(table)[start * TABLE_ROW_BYTES : end * TABLE_ROW_BYTES])
    ]


class _Frames:
    """Unpacks one stored chunk after the other, never to more than its header says, whatever its data would make.
    `is_strict` is for what others send: refused is then, too, what not every client reads."""

    def __init__(self, *, is_strict: bool = False) -> None:
        self._is_strict = is_strict
        self._context = lz4.frame.create_decompression_context()

    def unpack(self, chunk: bytes | memoryview) -> bytes | memoryview:
        """The raw bytes of a whole stored chunk."""
        _, scheme, raw_bytes = _read_header(chunk)
        data = memoryview(chunk)[HEADER_BYTES:]
        if scheme == _PLAIN:
            return data
        raw = self._decompress(data, raw_bytes)
        if self._is_strict:
            _check(data, raw)
        return raw if scheme == _LZ4 else _regrouped(raw)

    def _decompress(self, data: memoryview, raw_bytes: int) -> bytes:
        try:
            unpacked: tuple[bytes, int, bool]
            unpacked = lz4.frame.decompress_chunk(self._context, data, max_length=raw_bytes)
        except RuntimeError as fault:
            raise MalformedXorb("the data of a chunk is no LZ4 frame") from fault
        raw, read_bytes, is_whole = unpacked
        if len(raw) != raw_bytes or read_bytes != len(data) or not is_whole:
            raise MalformedXorb("the data of a chunk is not one LZ4 frame of the length that its header says")
        return raw


def _check(frame: memoryview, raw: bytes) -> None:
    try:
        check_frame(frame, raw)
    except OddFrame as odd:
        raise MalformedXorb(str(odd)) from odd


def _regrouped(grouped: bytes) -> memoryview:
    """Back in order what scheme 2 sorted: all bytes at offsets 0, 4, 8…, then all at 1, 5, 9…, and so on."""
    import numpy as np

    source = np.frombuffer(grouped, dtype=np.uint8)
    raw = np.empty_like(source)
    start = 0
    for offset in range(4):
        places = raw[offset::4]
        places[:] = source[start : start + len(places)]
        start += len(places)
    return raw.data


def _size(stored: _Bytes) -> int | None:
    """How many bytes the chunk at the front takes up, its header included; None where its header has not come."""
    return HEADER_BYTES + _read_header(stored)[0] if len(stored) >= HEADER_BYTES else None


def _read_header(stored: _Bytes) -> tuple[int, int, int]:
    """Length of the data, scheme and raw length."""
    first, second = _HEADER.unpack_from(stored)
    version, data_bytes = first & 0xFF, first >> 8
    scheme, raw_bytes = second & 0xFF, second >> 8
    if version != 0 or scheme > _REGROUPED:
        raise MalformedXorb(f"a chunk has version {version} and scheme {scheme}; known are version 0, schemes 0 to 2")
    if not 0 < raw_bytes <= MOST_CHUNK_BYTES:
        raise MalformedXorb(f"a chunk of {raw_bytes} bytes; they have 1 to {MOST_CHUNK_BYTES}")
    if not _is_length_of_data(data_bytes, scheme, raw_bytes):
        raise MalformedXorb(f"a chunk of {raw_bytes} bytes takes up {data_bytes} by scheme {scheme}")
    return data_bytes, scheme, raw_bytes


def _is_length_of_data(data_bytes: int, scheme: int, raw_bytes: int) -> bool:
    return data_bytes == raw_bytes if scheme == _PLAIN else 0 < data_bytes <= raw_bytes + _MOST_GROWTH_BYTES


def _header(data_bytes: int, scheme: int, raw_bytes: int) -> bytes:
    return _HEADER.pack(data_bytes << 8, scheme | raw_bytes << 8)
