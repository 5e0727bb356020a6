"""Shards: what clients say is read as they said it, and no further than its end; what a server says is read as well."""

import struct
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.server.xet.chunking import MOST_CHUNK_BYTES
from steelyard.server.xet.hashes import field_of_sha256
from steelyard.server.xet.shards import (
    FileInfo,
    MalformedShard,
    Shard,
    ShardLimits,
    Term,
    parse_shard,
    write_dedup_shard,
)
from steelyard.server.xet.xorbs import MOST_CHUNKS, Chunk

HEADER = b"HFRepoMetaData\x00UigEj{\x81W\x83\xa5\xbd\xd9\\\xcd\xd1J\xa9" + struct.pack("<QQ", 2, 0)
END = b"\xff" * 32 + bytes(16)
VERIFIED, NAMED = 0x8000_0000, 0x4000_0000


def said_of_file(file: FileInfo, flags: int) -> bytes:
    """The records by which a client tells of a file."""
    said = struct.pack("<32sII8x", file.file_hash, flags, len(file.terms))
    for term in file.terms:
        said += struct.pack("<32sIIII", term.xorb_hash, 0, term.raw_bytes, term.start, term.end)
    if flags & VERIFIED:
        said += b"".join(struct.pack("<32s16x", term.range_hash) for term in file.terms)
    if flags & NAMED:
        assert file.sha256 is not None
        said += field_of_sha256(file.sha256) + bytes(16)
    return said


def said_of_xorb(hash_: bytes, chunks: list[tuple[bytes, int]]) -> bytes:
    """The records by which a client tells of a xorb: of what it takes up it says nothing."""
    said = struct.pack("<32sIIII", hash_, 0, len(chunks), sum(size for _, size in chunks), 0)
    start = 0
    for chunk, size in chunks:
        said += struct.pack("<32sII8x", chunk, start, size)
        start += size
    return said


def shard(files: bytes = b"", xorbs: bytes = b"", after: bytes = b"") -> bytes:
    return HEADER + files + END + xorbs + END + after


def refusal(data: bytes, limits: ShardLimits | None = None) -> str:
    with pytest.raises(MalformedShard) as refused:
        parse_shard(data, limits)
    return str(refused.value)


hashes = st.binary(min_size=32, max_size=32).filter(lambda hash_: hash_ != b"\xff" * 32)
sha256s = st.binary(min_size=32, max_size=32).filter(any).map(bytes.hex)
starts = st.integers(0, MOST_CHUNKS - 1)


@st.composite
def terms(draw: st.DrawFn, *, verified: bool) -> Term:
    start = draw(starts)
    end = draw(st.integers(start + 1, MOST_CHUNKS))
    return Term(draw(hashes), draw(st.integers(0, 2**32 - 1)), start, end, draw(hashes) if verified else None)


@st.composite
def files(draw: st.DrawFn) -> tuple[FileInfo, int]:
    verified, named = draw(st.booleans()), draw(st.booleans())
    told = draw(st.lists(terms(verified=verified), max_size=4))
    flags = (VERIFIED if verified else 0) | (NAMED if named else 0)
    return FileInfo(draw(hashes), told, draw(sha256s) if named else None), flags


xorbs = st.tuples(hashes, st.lists(st.tuples(hashes, st.integers(1, MOST_CHUNK_BYTES)), max_size=5))
known_chunks = st.builds(Chunk, hashes, st.integers(1, MOST_CHUNK_BYTES), st.integers(9, MOST_CHUNK_BYTES + 8))


@given(st.lists(files(), max_size=4), st.lists(xorbs, max_size=4), st.binary(max_size=300))
@settings(deadline=None)
def test_a_shard_reads_as_it_was_said_and_no_further_than_its_second_end(
    told: list[tuple[FileInfo, int]], known: list[tuple[bytes, list[tuple[bytes, int]]]], after: bytes
) -> None:
    data = shard(b"".join(said_of_file(*file) for file in told), b"".join(said_of_xorb(*x) for x in known), after)
    read = parse_shard(memoryview(data))
    assert read.files == [file for file, _ in told]
    assert [(x.hash, [(c.hash, c.raw_bytes) for c in x.chunks]) for x in read.xorbs] == known
    assert [x.raw_bytes for x in read.xorbs] == [sum(size for _, size in chunks) for _, chunks in known]


def test_a_sha256_is_read_as_it_is_written_everywhere_else() -> None:
    sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    field = bytes.fromhex("0ea3b05fba4df22c9ee2b9c52a3be8265e42a71f5c1e161b24988b9362330473")
    said = struct.pack("<32sII8x", b"f" * 32, NAMED, 0) + field + bytes(16)
    assert parse_shard(shard(said)).files[0].sha256 == sha256


def test_a_sha256_of_zeros_is_none() -> None:
    said = struct.pack("<32sII8x", bytes(32), NAMED, 0) + bytes(32) + bytes(16)
    assert parse_shard(shard(said)).files == [FileInfo(bytes(32), [], None)]


@given(st.lists(st.tuples(hashes, st.lists(known_chunks, min_size=1, max_size=5)), max_size=4))
def test_an_answer_reads_back_and_its_footer_says_where_everything_is(known: list[tuple[bytes, list[Chunk]]]) -> None:
    data = write_dedup_shard(known, created_at=1_700_000_000, expires_at=1_700_000_100)
    read = parse_shard(data)
    assert read.files == []
    assert [(x.hash, [(c.hash, c.raw_bytes) for c in x.chunks]) for x in read.xorbs] == [
        (hash_, [(c.hash, c.raw_bytes) for c in chunks]) for hash_, chunks in known
    ]
    _, _, footer_bytes = struct.unpack("<32sQQ", data[:48])
    footer_at = len(data) - footer_bytes
    assert footer_bytes == 200
    assert data[footer_at - 48 : footer_at] == END
    version, files_at, xorbs_at, *lookups = struct.unpack("<9Q", data[footer_at:][:72])
    assert (version, files_at, xorbs_at) == (1, 48, 96)
    assert lookups == [footer_at, 0] * 3
    assert data[footer_at + 72 : footer_at + 104] == bytes(32)  # no key: chunks are told by their own hashes
    assert struct.unpack("<2Q", data[footer_at + 104 :][:16]) == (1_700_000_000, 1_700_000_100)
    raw = sum(chunk.raw_bytes for _, chunks in known for chunk in chunks)
    stored = sum(chunk.stored_bytes for _, chunks in known for chunk in chunks)
    assert struct.unpack("<4Q", data[-32:]) == (stored, raw, stored, footer_at)


def test_where_a_chunk_begins_in_its_xorb_is_told() -> None:
    chunks = [Chunk(bytes([index]) * 32, 1000 + index, 500) for index in range(3)]
    data = write_dedup_shard([(b"x" * 32, chunks)], created_at=1, expires_at=2)
    assert [chunk.raw_offset_bytes for chunk in parse_shard(data).xorbs[0].chunks] == [0, 1000, 2001]


@pytest.mark.parametrize("data", [b"", HEADER[:47], b"no tag" + HEADER[6:] + END + END])
def test_what_has_no_header_is_no_shard(data: bytes) -> None:
    assert "shard" in refusal(data)


def test_a_shard_of_another_version_is_refused() -> None:
    assert "version 3" in refusal(HEADER[:32] + struct.pack("<QQ", 3, 0) + END + END)


def test_a_shard_that_ends_early_is_refused_wherever_it_ends() -> None:
    file = FileInfo(b"f" * 32, [Term(b"x" * 32, 5, 0, 1, b"r" * 32)], "ab" * 32)
    whole = shard(said_of_file(file, VERIFIED | NAMED), said_of_xorb(b"x" * 32, [(b"c" * 32, 5)]))
    assert parse_shard(whole).files == [file]
    for end in range(len(whole)):
        refusal(whole[:end])


@pytest.mark.parametrize(("start", "end"), [(0, 0), (5, 4), (0, MOST_CHUNKS + 1), (2**32 - 1, 0)])
def test_a_term_that_is_no_run_of_chunks_is_refused(start: int, end: int) -> None:
    file = FileInfo(b"f" * 32, [Term(b"x" * 32, 5, start, end, None)], None)
    assert "no run" in refusal(shard(said_of_file(file, 0)))


def test_a_shard_says_no_more_than_its_limits() -> None:
    file = said_of_file(FileInfo(b"f" * 32, [Term(b"x" * 32, 5, 3, 10, None)] * 2, None), 0)
    xorb = said_of_xorb(b"x" * 32, [(b"c" * 32, 5)])
    data = shard(file * 3, xorb * 3)
    parse_shard(data, ShardLimits(shard_bytes=len(data), files=3, terms=6, chunks=42, xorbs=3))
    assert "bytes" in refusal(data, ShardLimits(shard_bytes=len(data) - 1))
    assert "2 files" in refusal(data, ShardLimits(files=2))
    assert "5 terms" in refusal(data, ShardLimits(terms=5))
    assert "41 chunks" in refusal(data, ShardLimits(chunks=41))
    assert "2 xorbs" in refusal(data, ShardLimits(xorbs=2))
    many = said_of_xorb(b"x" * 32, [(b"c" * 32, 5)] * (MOST_CHUNKS + 1))
    assert "8192 chunks" in refusal(shard(b"", many))


def test_a_count_that_is_a_lie_costs_nothing() -> None:
    lies = [
        shard(struct.pack("<32sII8x", b"f" * 32, VERIFIED, 199_999)),
        shard(struct.pack("<32sII8x", b"f" * 32, VERIFIED, 2**32 - 1)),
        shard(b"", struct.pack("<32sIIII", b"x" * 32, 0, 2**32 - 1, 0, 0)),
    ]
    tracemalloc.start()
    try:
        for lie in lies:
            refusal(lie)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 100_000


def test_the_largest_shard_is_read_in_bounded_time_and_memory() -> None:
    term = struct.pack("<32sIIII", b"x" * 32, 0, 5, 0, 1)
    some = struct.pack("<32sII8x", b"f" * 32, VERIFIED, 500) + term * 500 + (b"r" * 32 + bytes(16)) * 500
    xorb = said_of_xorb(b"x" * 32, [(b"c" * 32, 5)] * 1000)
    data = shard(some * 100, xorb * 1000)
    assert len(data) > 48 * 2**20
    tracemalloc.start()
    try:
        began = time.process_time()
        read = parse_shard(data)
        took_seconds = time.process_time() - began
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(read.xorbs) == 1000
    assert took_seconds < 10
    assert peak_bytes < 50 * 2**20


@given(st.binary(max_size=600), st.booleans())
def test_no_bytes_do_worse_than_be_refused(data: bytes, begins_well: bool) -> None:
    survives(HEADER + data if begins_well else data)


@given(st.lists(files(), max_size=3), st.lists(xorbs, max_size=3), st.data())
@settings(deadline=None)
def test_no_damage_to_a_shard_does_worse_than_be_refused(
    told: list[tuple[FileInfo, int]], known: list[tuple[bytes, list[tuple[bytes, int]]]], data: st.DataObject
) -> None:
    files_said, xorbs_said = b"".join(said_of_file(*f) for f in told), b"".join(said_of_xorb(*x) for x in known)
    damaged = bytearray(shard(files_said, xorbs_said, b"footer"))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged)))
        damaged[at : at + data.draw(st.integers(0, 50))] = data.draw(st.binary(max_size=50))
    survives(bytes(damaged))


def survives(data: bytes) -> None:
    """Read or refused, with no other exception; what is read is never more than the bytes can say."""
    try:
        read: Shard = parse_shard(data)
    except MalformedShard:
        return
    said = sum(1 + len(f.terms) for f in read.files) + sum(1 + len(list(x.chunks)) for x in read.xorbs)
    assert (said + 3) * 48 <= len(data)
