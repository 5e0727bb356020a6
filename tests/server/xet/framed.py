"""LZ4 frames as no compressor makes them, put together piece by piece."""

import struct
from dataclasses import dataclass

_PRIMES = (2654435761, 2246822519, 3266489917, 668265263, 374761393)


@dataclass(frozen=True)
class Block:
    """A block as it stands in a frame: compressed, or plain."""

    data: bytes
    is_plain: bool = False


def framed(
    *blocks: Block, flags: int = 0x60, largest: int = 0x40, says: int | None = None, dictionary: int | None = None
) -> bytes:
    """A frame of these blocks, which says how much it holds, and which dictionary it wants, if it is told to."""
    flags |= (0 if says is None else 1 << 3) | (0 if dictionary is None else 1)
    head = bytes([flags, largest])
    head += b"" if says is None else struct.pack("<Q", says)
    head += b"" if dictionary is None else struct.pack("<I", dictionary)
    body = b"".join(struct.pack("<I", len(each.data) | each.is_plain << 31) + each.data for each in blocks)
    return b"\x04\x22\x4d\x18" + head + bytes([_short_xxh32(head) >> 8 & 0xFF]) + body + bytes(4)


def literals(raw: bytes) -> bytes:
    """The end of a compressed block: bytes as they are."""
    return _token(len(raw), 0) + _length(len(raw)) + raw


def match(raw: bytes, distance: int, length: int) -> bytes:
    """Bytes as they are, and then some from as far back."""
    end = distance.to_bytes(2, "little") + _length(length - 4)
    return _token(len(raw), length - 4) + _length(len(raw)) + raw + end


def _token(literal_bytes: int, match_bytes: int) -> bytes:
    return bytes([min(literal_bytes, 15) << 4 | min(match_bytes, 15)])


def _length(size: int) -> bytes:
    return b"" if size < 15 else b"\xff" * ((size - 15) // 255) + bytes([(size - 15) % 255])


def _short_xxh32(data: bytes) -> int:
    """XXH32 of fewer than 16 bytes."""
    state = _PRIMES[4] + len(data)
    words = len(data) // 4
    for (word,) in struct.iter_unpack("<I", data[: 4 * words]):
        state = _turned(state + word * _PRIMES[2], 17) * _PRIMES[3]
    for byte in data[4 * words :]:
        state = _turned(state + byte * _PRIMES[4], 11) * _PRIMES[0]
    for shift, factor in ((15, _PRIMES[1]), (13, _PRIMES[2]), (16, 1)):
        state &= 0xFFFFFFFF
        state = (state ^ state >> shift) * factor
    return state & 0xFFFFFFFF


def _turned(word: int, by: int) -> int:
    word &= 0xFFFFFFFF
    return word << by | word >> (32 - by)
