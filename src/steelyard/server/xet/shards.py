"""Shards: what a client says of the files and xorbs it uploaded, and what a server says of xorbs it has already.

A shard is 48-byte records behind a header of 48 bytes; all numbers are little-endian. The section of files comes
first, then the section of xorbs, each ended by a record of its own; what follows the second end (lookup tables and a
footer, from clients up to hf_xet 1.2.0 and from servers) repeats what was said, and is not read.
Source: the Xet protocol specification (`spec/shard.md` of xet-core), and what hf_xet 1.1.3 to 1.8.0 send; the names of
six footer fields that it calls reserved come from what hf_xet does with them.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat
from typing import NamedTuple

from steelyard.server.xet.hashes import HASH_BYTES, NO_HASH, Hash, sha256_of_field
from steelyard.server.xet.xorbs import MOST_CHUNKS, Chunk

MOST_SHARD_BYTES = 64 * 2**20
"""The largest shard a client makes; a door refuses longer bodies before they are read."""

_TAG = b"HFRepoMetaData\0" + bytes.fromhex("556967456a7b815783a5bdd95ccdd14aa9")
_VERSION, _FOOTER_VERSION = 2, 1
_WITH_RANGE_HASHES, _WITH_SHA256 = 1 << 31, 1 << 30

_RECORD_BYTES = 48
_END_HASH = b"\xff" * HASH_BYTES
_END = _END_HASH + bytes(_RECORD_BYTES - HASH_BYTES)
_HEADER = struct.Struct(f"<{len(_TAG)}sQQ")
"""Tag, version, bytes of the footer."""
_FILE = struct.Struct(f"<{HASH_BYTES}sII8x")
"""Hash, flags, terms."""
_TERM = struct.Struct(f"<{HASH_BYTES}s4xIII")
"""Hash of the xorb, raw bytes, first chunk, the one after the last."""
_HASH = struct.Struct(f"<{HASH_BYTES}s16x")
_XORB = struct.Struct(f"<{HASH_BYTES}s4xIII")
"""Hash, chunks, raw bytes, stored bytes: clients say 0 of the last."""
_CHUNK = struct.Struct(f"<{HASH_BYTES}sII8x")
"""Hash, offset among the xorb's raw bytes, raw bytes."""
_FOOTER = struct.Struct(f"<3Q6Q{HASH_BYTES}sQQ48x4Q")


class MalformedShard(ValueError):
    """These bytes are no shard; the text tells whoever sent them why."""


@dataclass(frozen=True, slots=True)
class ShardLimits:
    """How much one shard may say. A file of 50 GB in one piece has 800 xorbs and as many terms."""

    shard_bytes: int = MOST_SHARD_BYTES
    files: int = 100_000
    terms: int = 200_000
    chunks: int = 2**24
    """In all the terms together, however often they name the same: a file of 1 TiB has as many."""
    xorbs: int = 20_000


class Term(NamedTuple):
    """A run of a xorb's chunks, `start` up to but without `end`, as one part of a file."""

    xorb_hash: Hash
    raw_bytes: int
    start: int
    end: int
    range_hash: Hash | None


class FileInfo(NamedTuple):
    """A file, as its terms one after the other."""

    file_hash: Hash
    terms: list[Term]
    sha256: str | None
    """Ordinary hex, and no more than the client's claim; None where it made none."""


class ShardChunk(NamedTuple):
    """What a shard says of one chunk of a xorb."""

    hash: Hash
    raw_offset_bytes: int
    raw_bytes: int


class XorbInfo(NamedTuple):
    """A xorb, as the shard tells it."""

    hash: Hash
    raw_bytes: int
    records: memoryview
    """The chunks, unread."""

    @property
    def chunk_count(self) -> int:
        return len(self.records) // _RECORD_BYTES

    @property
    def chunks(self) -> Iterator[ShardChunk]:
        """The chunks, read anew each time: a shard can name a million, and is mostly asked for its files."""
        return (ShardChunk(*row[:3]) for row in _CHUNK.iter_unpack(self.records))


class Shard(NamedTuple):
    """All that an uploaded shard says."""

    files: list[FileInfo]
    xorbs: list[XorbInfo]


def parse_shard(data: bytes | memoryview, limits: ShardLimits | None = None) -> Shard:
    """What an uploaded shard says, each file and xorb as it stands there: whether it is true is for the caller to find
    out. Raises MalformedShard."""
    limits = limits or ShardLimits()
    if len(data) > limits.shard_bytes:
        raise MalformedShard(f"a shard has at most {limits.shard_bytes} bytes")
    records = _Records(memoryview(data))
    records.pass_header()
    files = list(_read_files(records, limits))
    return Shard(files, list(_read_xorbs(records, limits)))


def write_dedup_shard(xorbs: Iterable[tuple[Hash, Sequence[Chunk]]], *, created_at: int, expires_at: int) -> bytes:
    """The answer to a client that asks for a chunk: these xorbs, told chunk by chunk, and no file. Until `expires_at`
    (both are seconds since the epoch) the client may refer to them without asking."""
    known = list(xorbs)
    files_at = _HEADER.size
    xorbs_at = files_at + len(_END)
    section = b"".join(_xorb_records(hash_, chunks) for hash_, chunks in known) + _END
    footer_at = xorbs_at + len(section)
    raw_bytes = sum(chunk.raw_bytes for _, chunks in known for chunk in chunks)
    stored_bytes = sum(chunk.stored_bytes for _, chunks in known for chunk in chunks)
    # hf_xet takes the end of the xorbs from the first of the lookup tables. Those are empty here, and have to stand
    # at the footer: with zeros for their offsets the client aborts.
    lookups = (footer_at, 0) * 3
    sizes = (stored_bytes, raw_bytes, stored_bytes)
    footer = _FOOTER.pack(
        _FOOTER_VERSION, files_at, xorbs_at, *lookups, NO_HASH, created_at, expires_at, *sizes, footer_at
    )
    return _HEADER.pack(_TAG, _VERSION, len(footer)) + _END + section + footer


class _Records:
    """The records of a shard, taken from the front."""

    def __init__(self, data: memoryview) -> None:
        self._rest = data

    def pass_header(self) -> None:
        tag, version, _ = _HEADER.unpack(self.take(1))
        if tag != _TAG:
            raise MalformedShard("these bytes are no shard: its tag is not there")
        if version != _VERSION:
            raise MalformedShard(f"a shard of version {version}; this registry reads version {_VERSION}")

    def take(self, count: int) -> memoryview:
        size = count * _RECORD_BYTES
        if size > len(self._rest):
            raise MalformedShard("the shard ends before its last record")
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def sections(self) -> Iterator[memoryview]:
        """The headers of what a section holds, until its end; what belongs to each is taken in between."""
        while (header := self.take(1))[:HASH_BYTES] != _END_HASH:
            yield header


def _read_files(records: _Records, limits: ShardLimits) -> Iterator[FileInfo]:
    files = terms = chunks = 0
    for header in records.sections():
        file_hash, flags, count = _FILE.unpack(header)
        files, terms = files + 1, terms + count
        if files > limits.files or terms > limits.terms:
            raise MalformedShard(f"a shard tells of at most {limits.files} files in at most {limits.terms} terms")
        rows = records.take(count)
        range_hashes = _read_hashes(records.take(count)) if flags & _WITH_RANGE_HASHES else repeat(None, count)
        sha256 = _read_sha256(records.take(1)) if flags & _WITH_SHA256 else None
        told = FileInfo(file_hash, _read_terms(rows, range_hashes), sha256)
        chunks += sum(term.end - term.start for term in told.terms)
        if chunks > limits.chunks:
            raise MalformedShard(f"the files of a shard have at most {limits.chunks} chunks")
        yield told


def _read_terms(rows: memoryview, range_hashes: Iterable[Hash | None]) -> list[Term]:
    told = zip(_TERM.iter_unpack(rows), range_hashes, strict=True)
    terms = [Term(xorb, raw_bytes, start, end, hash_) for (xorb, raw_bytes, start, end), hash_ in told]
    if not all(term.start < term.end <= MOST_CHUNKS for term in terms):
        raise MalformedShard("a term of the shard is no run of a xorb's chunks")
    return terms


def _read_sha256(row: memoryview) -> str | None:
    field = bytes(row[:HASH_BYTES])
    # hf_xet names no SHA-256 of an empty file, though it promises one.
    return None if field == NO_HASH else sha256_of_field(field)


def _read_hashes(rows: memoryview) -> Iterator[Hash]:
    return (hash_ for (hash_,) in _HASH.iter_unpack(rows))


def _read_xorbs(records: _Records, limits: ShardLimits) -> Iterator[XorbInfo]:
    for index, header in enumerate(records.sections()):
        hash_, count, raw_bytes, _ = _XORB.unpack(header)
        if index == limits.xorbs:
            raise MalformedShard(f"a shard tells of at most {limits.xorbs} xorbs")
        if count > MOST_CHUNKS:
            raise MalformedShard(f"a xorb has at most {MOST_CHUNKS} chunks")
        yield XorbInfo(hash_, raw_bytes, records.take(count))


def _xorb_records(hash_: Hash, chunks: Sequence[Chunk]) -> bytes:
    raw_bytes = sum(chunk.raw_bytes for chunk in chunks)
    stored_bytes = sum(chunk.stored_bytes for chunk in chunks)
    starts = accumulate((chunk.raw_bytes for chunk in chunks), initial=0)
    rows = (_CHUNK.pack(chunk.hash, start, chunk.raw_bytes) for chunk, start in zip(chunks, starts, strict=False))
    return _XORB.pack(hash_, len(chunks), raw_bytes, stored_bytes) + b"".join(rows)
