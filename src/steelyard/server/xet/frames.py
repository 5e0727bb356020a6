"""LZ4 frames that every client reads, told from those that only some do.

A xorb is kept once, whoever sends it, and under the hash of what it unpacks to: a frame that the sender's own client
would refuse would be everybody's. The lz4 library, which unpacks here, takes more than lz4_flex, which unpacks in
hf_xet: frames that ask for a dictionary or say that they hold 0 bytes, blocks of nothing, after which hf_xet reads no
further, and matches at distance 0, which that library makes zeros of.
Source: the LZ4 frame format 1.6 and block format, and what hf_xet 1.8.0 makes of crafted frames.
"""

import struct

_MAGIC = 0x184D2204
_START = struct.Struct("<IBB")
"""Magic, flags, the most that a block holds."""
_BLOCK = struct.Struct("<I")
_SIZE = struct.Struct("<Q")

_KNOWN_MASK, _KNOWN = 0b1100_0011, 0b0100_0000
"""Version 1, the reserved bit clear, no dictionary."""
_WITH_BLOCK_CHECKSUMS, _WITH_SIZE = 1 << 4, 1 << 3
_SIZE_AT = _START.size
_BLOCKS_AT = _START.size + 1
"""Where the frame does not say how much it holds: after a byte that proves its header."""
_CHECKSUM_BYTES = 4
_PLAIN = 1 << 31
_MOST_BLOCKS = 16
"""Clients make one or two: a chunk has at most 128 KiB, a block 64 KiB or more."""

_LOOKED_AT = 8
"""Pairs of zeros of a chunk that are looked at one by one: in random bytes there is one, or none."""
_LONGEST = 15
"""What half a token says of a length that goes on after it."""
_STEPS = bytes(0 if token >> 4 == _LONGEST or token & 0xF == _LONGEST else 3 + (token >> 4) for token in range(256))
"""From a token over its literals and its match's distance, of two bytes, to the next one; 0 where a length goes on."""


class OddFrame(ValueError):
    """Not every client reads this frame; the text says why."""


def check_frame(frame: memoryview, raw: bytes) -> None:
    """Raise OddFrame unless clients, too, make `raw` of this frame, as the lz4 library did, to its last byte."""
    magic, flags, _ = _START.unpack_from(frame)
    if magic != _MAGIC or flags & _KNOWN_MASK != _KNOWN:
        raise OddFrame("the LZ4 frame of a chunk is of a kind that not every client reads")
    position = _BLOCKS_AT
    if flags & _WITH_SIZE:
        position += _SIZE.size
        if _SIZE.unpack_from(frame, _SIZE_AT) != (len(raw),):
            raise OddFrame("the LZ4 frame of a chunk says that it holds another number of bytes")
    has_zeros = _has_zeros(raw)
    for _ in range(_MOST_BLOCKS):
        (size,) = _BLOCK.unpack_from(frame, position)
        if size == 0:
            return
        start = position + _BLOCK.size
        end = start + (size & ~_PLAIN)
        _check_block(frame[start:end], has_zeros=has_zeros, is_plain=size >= _PLAIN)
        position = end + (_CHECKSUM_BYTES if flags & _WITH_BLOCK_CHECKSUMS else 0)
    raise OddFrame(f"the LZ4 frame of a chunk has more than {_MOST_BLOCKS} blocks")


def _check_block(block: memoryview, *, has_zeros: bool, is_plain: bool) -> None:
    if len(block) < (1 if is_plain else 2):  # one byte can only be a token, of no literals
        raise OddFrame("the LZ4 frame of a chunk has a block of nothing")
    if has_zeros and not is_plain and _has_distance_0(bytes(block)):
        raise OddFrame("the LZ4 frame of a chunk has a match at distance 0")


def _has_zeros(raw: bytes) -> bool:
    """Whether there are four zeros in a row, as the least match at distance 0 leaves. Few chunks have them."""
    import numpy as np  # 12 MB and 40 ms, which a server that nobody sends chunks to does without

    pairs = np.frombuffer(raw, dtype=np.uint16, count=len(raw) // 2)
    some = np.flatnonzero(pairs == 0)[:_LOOKED_AT]  # four in a row cover one of these pairs
    if len(some) == _LOOKED_AT:
        return b"\0\0\0\0" in raw
    return any(b"\0\0\0\0" in raw[max(0, at - 3) : at + 5] for at in 2 * some)


def _has_distance_0(block: bytes) -> bool:
    """Whether one of a compressed block's matches is where it is itself. Goes from token to token, which is slow."""
    if b"\0\0" not in block:
        return False
    block, end = block + b"\1\1", len(block)  # as if the last literals, too, were followed by a match
    position = 0
    while position < end:
        if step := _STEPS[block[position]]:
            position += step
            if not (block[position - 1] or block[position - 2]):
                return True
        else:
            distance_at = _pass_literals(block, position)
            if not (block[distance_at] or block[distance_at + 1]):
                return True
            goes_on = distance_at < end and block[position] & 0xF == _LONGEST
            position = _pass_length(block, distance_at + 2) if goes_on else distance_at + 2
    return False


def _pass_literals(block: bytes, position: int) -> int:
    """Where the literals of the token at this position end."""
    count = block[position] >> 4
    start = position + 1
    if count == _LONGEST:
        start = _pass_length(block, position + 1)
        count += 255 * (start - position - 2) + block[start - 1]
    return start + count


def _pass_length(block: bytes, position: int) -> int:
    while block[position] == 255:
        position += 1
    return position + 1
