"""Xorbs: what is whole is read and proven, in pieces of any size; what is not is refused, and nothing worse happens."""

import itertools
import random
import tracemalloc

import lz4.frame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.server.xet import xorbs
from steelyard.server.xet.chunking import MOST_CHUNK_BYTES
from steelyard.server.xet.hashes import chunk_hash, xorb_hash
from steelyard.server.xet.xorbs import (
    MOST_CHUNKS,
    MOST_FOOTER_BYTES,
    Chunk,
    MalformedXorb,
    XorbReader,
    pack,
    pack_table,
    plain_header,
    unpack,
    unpack_table,
)

FOOTER = b"XETBLOB\x01" + bytes(range(100))


def stored(raw: bytes, scheme: int) -> bytes:
    """A chunk as clients write it."""
    if scheme == 0:
        return plain_header(len(raw)) + raw
    grouped = b"".join(raw[offset::4] for offset in range(4)) if scheme == 2 else raw
    frame: bytes = lz4.frame.compress(grouped)
    return header(len(frame), scheme, len(raw)) + frame


def header(data_bytes: int, scheme: int, raw_bytes: int, version: int = 0) -> bytes:
    return bytes([version]) + data_bytes.to_bytes(3, "little") + bytes([scheme]) + raw_bytes.to_bytes(3, "little")


def read(data: bytes, sizes: list[int]) -> tuple[XorbReader, int]:
    """What was read of a xorb that came in pieces of these sizes, and how many of its bytes were to be stored."""
    reader, taken, start = XorbReader(), 0, 0
    for size in itertools.cycle(sizes):
        if start >= len(data):
            break
        taken += reader.feed(data[start : start + size])
        start += size
    return reader, taken


def refusal(data: bytes) -> str:
    reader = XorbReader()
    with pytest.raises(MalformedXorb) as refused:
        reader.feed(data)
        reader.finish()
    return str(refused.value)


raws = st.builds(
    lambda seed, size, letters: bytes(random.Random(seed).choices(range(letters), k=size)),
    st.integers(0, 1000), st.integers(1, 5000), st.sampled_from([1, 3, 256]),
)  # fmt: skip
contents = st.lists(st.tuples(raws, st.integers(0, 2)), min_size=1, max_size=6)
piece_sizes = st.lists(st.integers(1, 6000), min_size=1, max_size=4)


@given(contents, piece_sizes, st.sampled_from([b"", FOOTER]))
@settings(deadline=None)
def test_a_xorb_reads_the_same_in_whatever_pieces_it_comes(
    content: list[tuple[bytes, int]], sizes: list[int], footer: bytes
) -> None:
    chunks = [stored(raw, scheme) for raw, scheme in content]
    body = b"".join(chunks)
    reader, taken = read(body + footer, sizes)
    assert reader.finish() == taken == len(body)
    assert reader.chunks == [
        Chunk(chunk_hash(raw), len(raw), len(chunk)) for (raw, _), chunk in zip(content, chunks, strict=True)
    ]
    assert reader.raw_bytes == sum(len(raw) for raw, _ in content)
    assert reader.hash() == xorb_hash((chunk_hash(raw), len(raw)) for raw, _ in content)
    assert list(unpack(body)) == [raw for raw, _ in content]
    assert unpack_table(pack_table(reader.chunks)) == reader.chunks


@given(contents, st.data())
def test_a_run_of_stored_chunks_unpacks_by_itself(content: list[tuple[bytes, int]], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    run = b"".join(stored(raw, scheme) for raw, scheme in content[start:end])
    assert list(unpack(memoryview(run))) == [raw for raw, _ in content[start:end]]


@given(raws)
def test_a_packed_chunk_is_never_longer_than_it_would_be_plain(raw: bytes) -> None:
    packed = pack(raw)
    assert len(packed) <= len(plain_header(len(raw))) + len(raw)
    assert list(unpack(packed)) == [raw]


def test_the_largest_chunk_is_read_by_every_scheme() -> None:
    raw = random.Random(0).randbytes(MOST_CHUNK_BYTES)
    for scheme in range(3):
        reader, _ = read(stored(raw, scheme), [1000])
        assert reader.chunks[0].hash == chunk_hash(raw)


def test_a_xorb_that_ends_early_is_refused_wherever_it_ends() -> None:
    body = stored(b"first", 0) + stored(b"second" * 9, 1)
    for end in range(1, len(body)):
        if end != len(stored(b"first", 0)):
            assert "middle of its chunk" in refusal(body[:end])
    assert "no chunks" in refusal(b"")
    assert "no chunks" in refusal(FOOTER)


@pytest.mark.parametrize("data", [b"XETBLO", b"XETBLOC", b"X", b"XXETBLOB"])
def test_what_follows_the_chunks_is_a_footer_or_refused(data: bytes) -> None:
    assert "no footer" in refusal(stored(b"first", 0) + data)


def test_a_footer_has_an_end() -> None:
    assert "footer" in refusal(stored(b"first", 0) + b"XETBLOB" + bytes(MOST_FOOTER_BYTES))


@pytest.mark.parametrize(
    ("chunk", "said"),
    [
        (header(5, 0, 5, version=1) + b"hello", "version 1"),
        (header(5, 3, 5) + b"hello", "scheme 3"),
        (header(0, 0, 0), "of 0 bytes; they have 1"),
        (header(0, 1, 5), "takes up 0"),
        (header(4, 0, 5) + b"hello", "takes up 4"),
        (header(5, 0, MOST_CHUNK_BYTES + 1) + b"hello", "131073"),
        (header(0xFFFFFF, 1, 5) + b"hello", "takes up 16777215"),
        (header(5, 1, 5) + b"hello", "not one LZ4 frame"),
        (header(9, 1, 9) + b"no frame.", "no LZ4 frame"),
        (header(len(lz4.frame.compress(b"hello")), 1, 6) + lz4.frame.compress(b"hello"), "length"),
        (header(len(lz4.frame.compress(b"hello")), 1, 4) + lz4.frame.compress(b"hello"), "length"),
        (header(len(lz4.frame.compress(b"hello")) + 1, 1, 5) + lz4.frame.compress(b"hello") + b"x", "length"),
        (header(len(lz4.frame.compress(b"hello")) - 1, 1, 5) + lz4.frame.compress(b"hello")[:-1], "length"),
    ],
)
def test_a_chunk_that_is_none_is_refused_and_the_sender_told_why(chunk: bytes, said: str) -> None:
    assert said in refusal(chunk)
    with pytest.raises(MalformedXorb):
        list(unpack(chunk))


def test_a_header_that_claims_too_much_is_refused_before_its_data_comes() -> None:
    with pytest.raises(MalformedXorb):
        XorbReader().feed(header(0xFFFFFF, 1, 0xFFFFFF))


def bomb(kind: str) -> bytes:
    """A frame that unpacks to far more than its chunk says, or whose own header says so."""
    if kind == "liar":
        liar = bytearray(lz4.frame.compress(b"hello" * 100, store_size=True))
        liar[6:14] = (2**60).to_bytes(8, "little")
        return header(len(liar), 1, 500) + bytes(liar)
    frame = bytes(lz4.frame.compress(bytes(32 * 2**20), store_size=False)[:MOST_CHUNK_BYTES])
    return header(len(frame), 2 if kind == "grouped" else 1, MOST_CHUNK_BYTES) + frame


@pytest.mark.parametrize("kind", ["zeros", "grouped", "liar"])
def test_a_bomb_goes_off_in_no_more_than_a_chunk(kind: str) -> None:
    data = bomb(kind)
    tracemalloc.start()
    try:
        refusal(data)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4 * MOST_CHUNK_BYTES


def test_a_xorb_has_no_more_chunks_than_clients_make() -> None:
    reader, chunk = XorbReader(), stored(b"x", 0)
    reader.feed(chunk * MOST_CHUNKS)
    assert reader.finish() == MOST_CHUNKS * len(chunk)
    with pytest.raises(MalformedXorb, match="8192 chunks"):
        reader.feed(chunk)


def test_a_xorb_is_no_longer_than_clients_make(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xorbs, "MOST_XORB_BYTES", 100)
    half = stored(b"x" * 42, 0)
    assert read(half * 2, [7])[0].finish() == 100
    assert "at most 100 bytes" in refusal(half + stored(b"x" * 43, 0))


@given(st.binary(max_size=400))
def test_no_bytes_do_worse_than_be_refused(data: bytes) -> None:
    survives(data, [7])


@given(contents, st.data(), piece_sizes)
@settings(deadline=None)
def test_no_damage_to_a_xorb_does_worse_than_be_refused(
    content: list[tuple[bytes, int]], data: st.DataObject, sizes: list[int]
) -> None:
    body = bytearray(b"".join(stored(raw, scheme) for raw, scheme in content) + FOOTER)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 12))] = data.draw(st.binary(max_size=12))
    survives(bytes(body), sizes)


@given(contents, st.data())
@settings(deadline=None)
def test_a_changed_byte_of_the_data_changes_the_hash_or_is_refused(
    content: list[tuple[bytes, int]], data: st.DataObject
) -> None:
    body = b"".join(stored(raw, scheme) for raw, scheme in content)
    whole, _ = read(body, [len(body)])
    at = data.draw(st.integers(0, len(body) - 1))
    changed = body[:at] + bytes([body[at] ^ data.draw(st.integers(1, 255))]) + body[at + 1 :]
    reader = XorbReader()
    try:
        reader.feed(changed)
        reader.finish()
    except MalformedXorb:
        return
    # A frame says some things twice: what is read the same is the same to everybody who reads it.
    assert reader.hash() != whole.hash() or list(unpack(changed)) == list(unpack(body))


def survives(data: bytes, sizes: list[int]) -> None:
    """Read to its end or refused, with no other exception; and `unpack` never gives what the reader refused."""
    try:
        reader, taken = read(data, sizes)
        assert reader.finish() == taken
    except MalformedXorb:
        return
    assert [chunk_hash(raw) for raw in unpack(data[:taken])] == [chunk.hash for chunk in reader.chunks]
