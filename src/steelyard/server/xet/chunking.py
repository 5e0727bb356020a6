"""Where Xet cuts a file into chunks: content-defined, so that an insertion moves only the cuts near it.

The gear hash decides: h = (h << 1) + TABLE[byte], modulo 2**64. A chunk ends after a byte at which the upper 16 bits
of h are zero, if it has 8 KiB by then, and at 128 KiB in any case; h begins anew at each cut. A byte is shifted out of
h after 64 more, and no chunk is that short, so h depends on nothing but the last 64 bytes, wherever a chunk began:
it is computed for all positions at once, and the cuts are chosen afterwards among the few where it allows one.
Source: the Xet protocol specification (`spec/chunking.md` of xet-core), compared with hf_xet 1.8.0.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING

from steelyard.server.xet.gear import TABLE

if TYPE_CHECKING:  # or it would be loaded with every server: 12 MB and 40 ms
    import numpy as np
    import numpy.typing as npt

LEAST_CHUNK_BYTES = 8 * 1024
MOST_CHUNK_BYTES = 128 * 1024

_WINDOW_BYTES = 64
_BELOW = 1 << 48
"""A hash below this has its upper 16 bits zero."""
_BLOCK_BYTES = 16 * 1024
"""Hashed at once: what works on it stays in a core's own cache."""


def boundaries(pieces: Iterable[bytes]) -> Iterator[int]:
    """Where each chunk of the concatenated pieces ends, counted from the beginning, the last end included; nothing
    for no bytes. Pieces of 64 KiB and more are cut fastest."""
    cutter = Cutter()
    for piece in pieces:
        yield from cutter.feed(piece)
    yield from cutter.finish()


def split(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks of the concatenated pieces, in order. Holds a piece and a chunk."""
    cutter = Cutter()
    held = bytearray()
    start = 0
    for piece in pieces:
        held += piece
        begin = start
        for end in cutter.feed(piece):
            yield bytes(memoryview(held)[start - begin : end - begin])
            start = end
        del held[: start - begin]
    if held:
        yield bytes(held)


class Cutter:
    """Cuts what it is fed. Holds 63 bytes of it, and where a cut would be allowed."""

    def __init__(self) -> None:
        self._seen_bytes = 0
        self._start = 0
        """Where the chunk begins that has no end yet."""
        import numpy as np

        self._before = np.zeros(0, dtype=np.uint8)
        self._allowed: list[int] = []

    def feed(self, piece: bytes) -> Iterator[int]:
        """Where chunks end, as far as the bytes until now tell. To be exhausted before the next call."""
        import numpy as np

        data = np.frombuffer(piece, dtype=np.uint8)
        for start in range(0, len(data), _BLOCK_BYTES):
            block = data[start : start + _BLOCK_BYTES]
            self._look(block)
            yield from self._cut()

    def finish(self) -> Iterator[int]:
        """The end of the last chunk, if there is one."""
        if self._seen_bytes > self._start:
            yield self._seen_bytes

    def _look(self, block: "npt.NDArray[np.uint8]") -> None:
        """Note where in this block a cut would be allowed."""
        import numpy as np

        window = np.concatenate((self._before, block))
        offset = self._seen_bytes - len(self._before)
        ends = np.flatnonzero(_gear_hashes(window) < _BELOW) + (offset + _WINDOW_BYTES)
        self._allowed += ends.tolist()
        self._before = window[-(_WINDOW_BYTES - 1) :]
        self._seen_bytes += len(block)

    def _cut(self) -> Iterator[int]:
        while True:
            next_ = bisect_left(self._allowed, self._start + LEAST_CHUNK_BYTES)
            last = self._start + MOST_CHUNK_BYTES
            if next_ < len(self._allowed) and self._allowed[next_] <= last:
                self._start = self._allowed[next_]
            elif self._seen_bytes >= last:
                self._start = last
            else:
                del self._allowed[:next_]
                return
            yield self._start


def _gear_hashes(window: "npt.NDArray[np.uint8]") -> "npt.NDArray[np.uint64]":
    """h after each byte from the 64th on. Doubling: the hash over 2n bytes is that over the last n, plus that over the
    n before them shifted by n."""
    hashes = _table()[window]
    width = 1
    while width < _WINDOW_BYTES:
        hashes = hashes[width:] + (hashes[:-width] << width)
        width *= 2
    return hashes


@cache
def _table() -> "npt.NDArray[np.uint64]":
    import numpy as np

    return np.array(TABLE, dtype=np.uint64)
