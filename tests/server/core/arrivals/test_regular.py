"""What comes inside a commit, and by which names."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.server.core.arrivals.regular import MOST_REGULAR_BYTES, content_of, is_regular


@pytest.mark.parametrize(
    ("size_bytes", "sample", "regular"),
    [
        (5, b"hello", True),
        (MOST_REGULAR_BYTES, b"hello", True),
        (MOST_REGULAR_BYTES + 1, b"hello", False),
        (5, b"he\0lo", False),
        (600, "é".encode() * 255 + b"x" + "é".encode()[:1], True),
        (600, b"x" * 511 + "€".encode()[:2], True),
        (600, b"x" * 508 + "😀".encode()[:3], True),
        (512, b"x" * 511 + "é".encode()[:1], False),
        (600, b"caf\xe9 and more", False),
        (600, b"\x80", False),
        (3, b"\xef\xbb\xbf", True),
    ],
)
def test_a_small_text_is_regular_as_far_as_its_beginning_tells(size_bytes: int, sample: bytes, regular: bool) -> None:
    assert is_regular(size_bytes, sample) is regular


@given(st.text(max_size=600), st.integers(0, 600))
def test_every_text_is_regular_wherever_its_beginning_ends(text: str, cut: int) -> None:
    data = text.replace("\0", "").encode()
    sample = data[:cut]
    assert is_regular(len(data), sample)


@given(st.binary(max_size=600))
def test_bytes_have_the_names_that_git_and_the_registry_give_them(data: bytes) -> None:
    content = content_of(data)
    assert content.oid == "sha256:" + hashlib.sha256(data).hexdigest()
    assert content.git_sha1 == hashlib.sha1(b"blob " + str(len(data)).encode() + b"\0" + data).hexdigest()
