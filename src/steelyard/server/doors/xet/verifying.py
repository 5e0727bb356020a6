"""Whose shard is verified next: a few at once, one of an organisation, and no more waiting than there is room for.

To verify a shard takes as long as to read its files. Organisations take turns, each with one shard at a time and its
own in the order in which they came, so that nobody waits behind all that somebody else has sent.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from steelyard.server.doors.calls import MIB
from steelyard.server.errors import RateLimited

_AT_ONCE = 4  # of one process; each is a file or more to be read and hashed
_RETRY_SECONDS = 30  # clients try five times


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many shards may be here at a time, the ones being verified among them; they wait on disk."""

    shards: int
    size_bytes: int


@dataclass(slots=True)
class Line:
    """The shards of one organisation."""

    shards: int = 0
    size_bytes: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class ShardTurns:
    """The shards of one server. To be used on one event loop."""

    def __init__(
        self,
        at_once: int = _AT_ONCE,
        most: Waiting = Waiting(128, 512 * MIB),
        most_of_one: Waiting = Waiting(16, 256 * MIB),
    ) -> None:
        self._turns = asyncio.Semaphore(at_once)
        self._most, self._most_of_one = most, most_of_one
        self._lines: dict[int, Line] = {}

    @contextmanager
    def waiting(self, org_id: int, size_bytes: int) -> Iterator[Line]:
        """A place for a shard of this organisation, before its body is read. Raises `RateLimited`."""
        line = self._lines.get(org_id) or Line()
        self._check_room(line, size_bytes)
        self._lines[org_id] = line
        line.shards += 1
        line.size_bytes += size_bytes
        try:
            yield line
        finally:
            line.shards -= 1
            line.size_bytes -= size_bytes
            if not line.shards:
                del self._lines[org_id]

    @asynccontextmanager
    async def turn(self, line: Line) -> AsyncIterator[None]:
        """Wait until a shard of this line may be verified, and let nobody else of the line meanwhile."""
        async with line.turn, self._turns:
            yield

    def _check_room(self, line: Line, size_bytes: int) -> None:
        lines = self._lines.values()
        if _is_full(self._most_of_one, line.shards, line.size_bytes + size_bytes):
            raise _refusal("Your organisation has")
        if _is_full(
            self._most, sum(each.shards for each in lines), size_bytes + sum(each.size_bytes for each in lines)
        ):
            raise _refusal("This server has")


def _is_full(most: Waiting, shards: int, size_bytes: int) -> bool:
    return shards >= most.shards or size_bytes > most.size_bytes


def _refusal(who: str) -> RateLimited:
    return RateLimited(
        f"{who} as many pushes to verify as may wait. Try again in a while.", retry_after_seconds=_RETRY_SECONDS
    )
