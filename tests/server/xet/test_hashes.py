"""The hashes of Xet, by vectors that hf_xet 1.8.0 computed; with the client itself, `test_against_hf_xet`."""

import contextlib
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.server.xet.hashes import (
    NO_HASH,
    chunk_hash,
    field_of_sha256,
    file_hash,
    from_text,
    is_asked_for,
    range_hash,
    remainder,
    sha256_of_field,
    to_text,
    xorb_hash,
)

COUNTED = bytes(range(32))
COUNTED_TEXT = "07060504030201000f0e0d0c0b0a090817161514131211101f1e1d1c1b1a1918"
HELLO_FILE = "48a3213a086cad271381aafe47232eb5df291a963cebbfec071972eff45eb422"

hashes = st.binary(min_size=32, max_size=32)


def test_a_hash_is_written_as_four_little_endian_numbers() -> None:
    assert to_text(COUNTED) == COUNTED_TEXT
    assert from_text(COUNTED_TEXT) == COUNTED


@given(hashes)
def test_a_written_hash_reads_back(hash_: bytes) -> None:
    assert from_text(to_text(hash_)) == hash_
    assert field_of_sha256(sha256_of_field(hash_)) == hash_


@pytest.mark.parametrize(
    "text", ["", COUNTED_TEXT[:-1], COUNTED_TEXT + "0", COUNTED_TEXT.upper(), COUNTED_TEXT[:-1] + "g", "+" * 64]
)
def test_what_is_no_64_lower_case_digits_is_no_hash(text: str) -> None:
    with pytest.raises(ValueError, match="64 lower-case hex digits"):
        from_text(text)


@given(st.text("0123456789abcdefA+-_ \n\u0663", min_size=63, max_size=65))
def test_no_text_does_worse_than_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert to_text(from_text(text)) == text


def test_a_remainder_is_that_of_the_last_eight_bytes() -> None:
    assert remainder(bytes(24) + (5000).to_bytes(8, "little"), 1024) == 5000 % 1024
    assert is_asked_for(b"\xff" * 24 + (2048).to_bytes(8, "little"))
    assert not is_asked_for(b"\xff" * 24 + (2049).to_bytes(8, "little"))


def test_of_nothing_there_is_the_hash_of_zeros() -> None:
    assert xorb_hash([]) == file_hash([]) == NO_HASH


def test_a_xorb_of_one_chunk_has_that_chunks_hash_but_a_file_has_not() -> None:
    chunk = chunk_hash(b"hello")
    assert xorb_hash([(chunk, 5)]) == chunk
    assert to_text(file_hash([(chunk, 5)])) == HELLO_FILE


@given(st.lists(st.tuples(hashes, st.integers(1, 131072)), min_size=2, max_size=60), st.data())
def test_every_chunk_its_length_and_its_place_count(chunks: list[tuple[bytes, int]], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(chunks) - 1))
    hash_, size_bytes = chunks[index]
    longer = [*chunks[:index], (hash_, size_bytes + 1), *chunks[index + 1 :]]
    other = [*chunks[:index], (bytes([hash_[0] ^ 1]) + hash_[1:], size_bytes), *chunks[index + 1 :]]
    whole = xorb_hash(chunks)
    assert whole not in {xorb_hash(longer), xorb_hash(other), xorb_hash(chunks[:index] + chunks[index + 1 :])}
    assert range_hash(hash_ for hash_, _ in chunks) != range_hash(hash_ for hash_, _ in other)


def test_the_hash_of_a_huge_file_is_taken_without_holding_its_chunks() -> None:
    chunk = chunk_hash(b"hello")
    tracemalloc.start()
    try:
        file_hash((chunk, 5) for _ in range(50_000))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 50_000
