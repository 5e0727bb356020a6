"""Frames: what every client reads is taken; what only the lz4 library reads would be lost on all the others."""

from random import Random

import lz4.frame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.server.xet.frames import OddFrame, check_frame
from steelyard.server.xet.hashes import chunk_hash, file_hash, to_text
from steelyard.server.xet.xorbs import MalformedXorb, XorbReader, unpack
from tests.server.xet.cas import Cas, reconstruction
from tests.server.xet.framed import Block, framed, literals, match

TEXT = bytes(range(65, 113))
ZEROS = TEXT + bytes(300) + TEXT
_WHOLE = Block(literals(TEXT))

GOOD: dict[str, tuple[bytes, bytes]] = {
    "literals": (framed(_WHOLE), TEXT),
    "a plain block": (framed(Block(TEXT, is_plain=True)), TEXT),
    "its length": (framed(_WHOLE, says=len(TEXT)), TEXT),
    "a larger block size": (framed(_WHOLE, largest=0x70), TEXT),
    "linked blocks": (framed(_WHOLE, Block(match(b"", 48, 20) + literals(TEXT)), flags=0x40), TEXT + TEXT[:20] + TEXT),
    "zeros that were packed well": (framed(Block(match(TEXT + b"\0", 1, 299) + literals(TEXT))), ZEROS),
    "zeros as they are": (framed(Block(literals(ZEROS))), ZEROS),
}
ODD: dict[str, tuple[bytes, bytes]] = {
    "a dictionary": (framed(_WHOLE, dictionary=7), TEXT),
    "a length of nothing": (framed(_WHOLE, says=0), TEXT),
    "an empty block first": (framed(Block(b"", is_plain=True), _WHOLE), TEXT),
    "an empty block between": (framed(_WHOLE, Block(b"", is_plain=True), _WHOLE), TEXT * 2),
    "a compressed block of nothing": (framed(_WHOLE, Block(b"\0"), _WHOLE), TEXT * 2),
    "distance 0": (framed(Block(match(TEXT, 0, 300) + literals(TEXT))), ZEROS),
    "distance 0 later on": (framed(Block(match(TEXT, 9, 400) + match(b"", 0, 4) + literals(TEXT))), b""),
    "distance 0 in the second block": (framed(_WHOLE, Block(match(TEXT, 0, 19) + literals(TEXT))), b""),
}


def taken_by_the_library(frame: bytes) -> bytes:
    raw: bytes = lz4.frame.decompress(frame)
    return raw


def sent(frame: bytes, raw: bytes) -> bytes:
    """A xorb of this one chunk."""
    head = b"\0" + len(frame).to_bytes(3, "little") + b"\1" + len(raw).to_bytes(3, "little")
    return head + frame


def is_taken(body: bytes) -> bool:
    reader = XorbReader()
    try:
        reader.feed(body)
        reader.finish()
    except MalformedXorb:
        return False
    return True


@pytest.mark.parametrize("frame", GOOD)
def test_a_frame_that_every_client_reads_is_taken(frame: str) -> None:
    framed_, raw = GOOD[frame]
    assert taken_by_the_library(framed_) == raw
    assert is_taken(sent(framed_, raw))


@pytest.mark.parametrize("frame", ODD)
def test_a_frame_that_only_the_library_reads_is_refused(frame: str) -> None:
    framed_, raw = ODD[frame]
    unpacked = taken_by_the_library(framed_)
    assert not raw or unpacked == raw, "the library reads it"
    assert not is_taken(sent(framed_, unpacked))


def test_a_frame_of_more_blocks_than_clients_make_is_refused() -> None:
    for count, taken in ((16, False), (15, True)):
        assert is_taken(sent(framed(*[_WHOLE] * count), TEXT * count)) is taken


def test_what_is_stored_is_read_without_another_look() -> None:
    """It was looked at when it came, and to read is done far more often."""
    frame, raw = ODD["distance 0"]
    assert list(unpack(sent(frame, raw))) == [raw]


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_a_distance_of_0_is_found_wherever_it_is_and_nowhere_else(data: st.DataObject) -> None:
    """Against what put the block together, which knows its matches."""
    chance = Random(data.draw(st.integers(0, 2**32)))
    block, raw, distances = b"", b"", set[int]()
    for _ in range(chance.randrange(1, 9)):
        size = chance.choice([0, 1, 3, 14, 15, 16, 269, 270, 271, 600])
        said = bytes(size) if chance.random() < 0.5 else chance.randbytes(size)
        if not raw and not said:
            continue
        distance = chance.choice([0, 1, 2, 4, 8, 256]) if chance.random() < 0.2 else len(raw) + len(said)
        distance = min(distance, len(raw) + len(said))
        length = chance.choice([4, 5, 18, 19, 20, 273, 274, 275, 1000])
        block, distances = block + match(said, distance, length), distances | {distance}
        raw += said
        raw += bytes(length) if distance == 0 else (raw[-distance:] * length)[:length]
    frame = framed(Block(block + literals(TEXT)))
    assert taken_by_the_library(frame) == raw + TEXT
    assert is_odd(frame, raw + TEXT) == (0 in distances)


def is_odd(frame: bytes, raw: bytes) -> bool:
    try:
        check_frame(memoryview(frame), raw)
    except OddFrame:
        return True
    return False


def test_the_client_reads_what_is_taken_and_nothing_of_what_is_refused(
    cas: Cas, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_XET_CLIENT_RETRY_MAX_ATTEMPTS", "0")
    for name, (frame, _) in (GOOD | ODD).items():
        raw = taken_by_the_library(frame)
        file = offer(cas, name, frame, raw)
        try:
            is_read = cas.pull(tmp_path_factory.mktemp("home"), file, len(raw)) == raw
        except AssertionError:
            is_read = False
        assert is_read is (name in GOOD), name


def offer(cas: Cas, name: str, frame: bytes, raw: bytes) -> bytes:
    """Have a client told that a file is this chunk; answers the file's hash. Each xorb has another name, for caches."""
    body, xorb = sent(frame, raw), to_text(chunk_hash(name.encode()))
    cas.xorbs[xorb] = body
    file = file_hash([(chunk_hash(raw + name.encode()), len(raw))])
    cas.reconstructions[to_text(file)] = reconstruction(cas.url, xorb, len(raw), 1, len(body))
    return file
