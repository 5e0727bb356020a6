"""Cuts, compared with the rule of the specification taken byte by byte; with hf_xet itself, `test_against_hf_xet`."""

import itertools
import random
from collections.abc import Iterator
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.server.xet.chunking import LEAST_CHUNK_BYTES, MOST_CHUNK_BYTES, boundaries, split
from steelyard.server.xet.gear import TABLE


def by_the_rule(data: bytes) -> Iterator[int]:
    """Where chunks end, as the specification says it: one byte after the other."""
    gear = start = 0
    for end, byte in enumerate(data, start=1):
        gear = ((gear << 1) + TABLE[byte]) & 0xFFFF_FFFF_FFFF_FFFF
        size = end - start
        if (size >= LEAST_CHUNK_BYTES and gear & 0xFFFF_0000_0000_0000 == 0) or size == MOST_CHUNK_BYTES:
            yield end
            gear, start = 0, end
    if len(data) > start:
        yield len(data)


@cache
def windows() -> list[bytes]:
    """Runs of 64 bytes after which a cut is allowed."""
    data = random.Random(20).randbytes(1_500_000)
    ends = [end for end in by_the_rule(data) if end != len(data)]
    lone = [data[end - 64 : end] for end, begin in zip(ends[1:], ends, strict=False) if end - begin < MOST_CHUNK_BYTES]
    assert len(lone) > 8
    return lone


def in_pieces(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    start = 0
    for size in itertools.cycle(sizes):
        if start >= len(data):
            return
        yield data[start : start + size]
        start += size


gaps = st.one_of(
    st.integers(0, 200),
    st.integers(LEAST_CHUNK_BYTES - 130, LEAST_CHUNK_BYTES + 66),
    st.integers(MOST_CHUNK_BYTES - 130, MOST_CHUNK_BYTES + 66),
    st.integers(0, 40_000),
)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Bytes between windows where a cut is allowed, near and far from each other: as text, noise, or a run of one."""
    data = bytearray()
    for gap in draw(st.lists(gaps, max_size=5)):
        kind, seed = draw(st.sampled_from(["noise", "run", "text"])), draw(st.integers(0, 255))
        if kind == "noise":
            data += random.Random(seed).randbytes(gap)
        elif kind == "run":
            data += bytes([seed]) * gap
        else:
            data += b"".join(b"line %d\n" % number for number in range(seed, seed + gap // 6))[:gap]
        data += draw(st.sampled_from(windows()))
    return bytes(data)


@given(files(), st.lists(st.integers(3_000, 300_000), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_cuts_are_where_the_rule_taken_byte_by_byte_makes_them(data: bytes, sizes: list[int]) -> None:
    assert list(boundaries(in_pieces(data, sizes))) == list(by_the_rule(data))


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        (LEAST_CHUNK_BYTES - 1, MOST_CHUNK_BYTES),
        (LEAST_CHUNK_BYTES, LEAST_CHUNK_BYTES),
        (MOST_CHUNK_BYTES - 1, MOST_CHUNK_BYTES - 1),
        (MOST_CHUNK_BYTES, MOST_CHUNK_BYTES),
        (MOST_CHUNK_BYTES + 1, MOST_CHUNK_BYTES),
    ],
)
def test_a_chunk_has_its_least_and_its_most_bytes_exactly(allowed: int, expected: int) -> None:
    data = bytes(allowed - 64) + windows()[0] + bytes(MOST_CHUNK_BYTES)
    ends = list(boundaries([data]))
    assert ends == list(by_the_rule(data))
    assert ends[0] == expected


@given(st.binary(max_size=300), st.integers(1, 100))
def test_a_file_shorter_than_a_chunk_is_one(data: bytes, size: int) -> None:
    assert list(boundaries(in_pieces(data, [size]))) == ([len(data)] if data else [])


def test_pieces_of_one_byte_and_empty_ones_cut_alike() -> None:
    data = random.Random(1).randbytes(9_000) + windows()[0] + b"rest"
    expected = list(by_the_rule(data))
    assert len(expected) == 2
    assert list(boundaries(data[index : index + 1] for index in range(len(data)))) == expected
    assert list(boundaries([b"", data, b""])) == expected


@given(files(), st.integers(3_000, 300_000))
@settings(max_examples=10, deadline=None)
def test_chunks_are_what_lies_between_the_cuts(data: bytes, size: int) -> None:
    chunks = list(split(in_pieces(data, [size])))
    assert b"".join(chunks) == data
    assert list(itertools.accumulate(map(len, chunks))) == list(boundaries([data]))


def test_an_insertion_moves_only_the_cuts_near_it() -> None:
    data = random.Random(2).randbytes(3_000_000)
    before, after = set(split([data])), set(split([data[:1_000_000] + b"more" + data[1_000_000:]]))
    assert len(before) > 20
    assert len(before - after) <= 3
