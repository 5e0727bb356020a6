"""The beginnings of files of weights, read forwards, by range and within bounds, whatever they say of themselves."""

from dataclasses import dataclass
from typing import Protocol

_BLOCK_BYTES = 256 * 1024  # of the first read; each after it takes twice as much as the one before, up to the largest
_LARGEST_BLOCK_BYTES = 2 * 1024**2


class ReadRange(Protocol):
    """The bytes of a file from `start`; fewer than `length` only where the file ends."""

    def __call__(self, start: int, length: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A file of a version, with its path in the version and a way to read parts of it."""

    path: str
    size_bytes: int
    read: ReadRange

    @property
    def ending(self) -> str:
        """What stands after the last dot, in small letters."""
        return self.path.lower().rpartition(".")[2]


class UnreadableError(Exception):
    """The bytes are not what their format says. The message is the end of a sentence that names the file."""


class Head:
    """The beginning of a file, read forwards block by block and never further than `limit_bytes`.

    Whatever goes beyond that, or beyond the end of the file, raises `UnreadableError`. Reading raises what the file's
    `read` does.
    """

    def __init__(self, file: WeightFile, limit_bytes: int) -> None:
        self.position = 0
        self._read = file.read
        self._end = min(file.size_bytes, limit_bytes)
        self._is_limited = limit_bytes < file.size_bytes
        self._block = b""
        self._block_start = 0
        self._block_bytes = _BLOCK_BYTES

    def take(self, length: int) -> bytes:
        at = self.position - self._block_start
        if at + length > len(self._block):
            self._fetch(length)
            at = 0
        self.position += length
        return self._block[at : at + length]

    def _fetch(self, length: int) -> None:
        if length > self._end - self.position:
            raise self._too_short()
        self._block_start = self.position
        wanted = min(max(length, self._block_bytes), self._end - self.position)
        self._block = self._read(self.position, wanted)
        self._block_bytes = min(2 * self._block_bytes, _LARGEST_BLOCK_BYTES)
        if len(self._block) < length:
            raise self._too_short()

    def _too_short(self) -> UnreadableError:
        if self._is_limited:
            return UnreadableError(f"its header goes on after {self._end // 1024**2} MiB, and no more is read")
        return UnreadableError("it ends before its header does")

    def peek(self, length: int) -> bytes:
        """The next bytes, which stay the next; fewer at the end."""
        found = self.take(min(length, self._end - self.position))
        self.position -= len(found)
        return found

    def skip(self, length: int) -> None:
        self.position += length
        if self.position > self._end:
            raise self._too_short()

    def skip_strings(self, count: int) -> None:
        """Past so many strings, each behind its length in 8 bytes: a vocabulary has hundreds of thousands."""
        while count:
            self.skip(self.take_u64())
            block, at = self._block, self.position - self._block_start
            count, last = count - 1, len(block) - 8
            while count and at <= last:
                at += 8 + int.from_bytes(block[at : at + 8], "little")
                count -= 1
            self.skip(self._block_start + at - self.position)

    def take_u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def take_u64(self) -> int:
        return int.from_bytes(self.take(8), "little")
