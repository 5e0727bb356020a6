"""Whose shard is verified next: a few at once, and no more waiting than there is room for.

To verify a shard takes as long as to read its files. A turn that becomes free goes to the organisation that has the
fewest, so that nobody waits behind all that somebody else has sent; who is alone may have them all.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from steelyard.server.doors.calls import MIB
from steelyard.server.errors import RateLimited
from steelyard.server.xet.shards import MOST_SHARD_BYTES

_AT_ONCE = 4  # of one process; each is a file or more to be read and hashed
_RETRY_SECONDS = 30  # hf_xet 1.8 tries six times, over 263 seconds
_ALWAYS_BYTES = MIB  # of an organisation's first shard, which has a place whatever the others have sent


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
    turns: int = 0


class ShardTurns:
    """The shards of one server. To be used on one event loop."""

    def __init__(
        self,
        at_once: int = _AT_ONCE,
        most: Waiting = Waiting(8 * 16, 8 * MOST_SHARD_BYTES),
        most_of_one: Waiting = Waiting(16, MOST_SHARD_BYTES),
    ) -> None:
        self._free = at_once
        self._most, self._most_of_one = most, most_of_one
        self._lines: dict[int, Line] = {}
        self._queue: list[tuple[Line, asyncio.Future[None]]] = []

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
        """Wait until a shard of this line may be verified."""
        await self._take(line)
        try:
            yield
        finally:
            self._give_back(line)

    async def _take(self, line: Line) -> None:
        place = line, asyncio.get_running_loop().create_future()
        self._queue.append(place)
        self._hand_out()
        try:
            await place[1]
        except asyncio.CancelledError:
            if place in self._queue:
                self._queue.remove(place)
            else:  # cancelled when the turn was already its own
                self._give_back(line)
            raise

    def _give_back(self, line: Line) -> None:
        line.turns -= 1
        self._free += 1
        self._hand_out()

    def _hand_out(self) -> None:
        """Free turns to who has the fewest; among these, to who came first."""
        while self._free and (waiting := [place for place in self._queue if not place[1].cancelled()]):
            place = min(waiting, key=lambda place: place[0].turns)
            self._queue.remove(place)
            line, handed = place
            line.turns += 1
            self._free -= 1
            handed.set_result(None)

    def _check_room(self, line: Line, size_bytes: int) -> None:
        lines = self._lines.values()
        if _is_full(self._most_of_one, line.shards, line.size_bytes + size_bytes):
            raise _refusal("Your organisation has")
        if not line.shards and size_bytes <= _ALWAYS_BYTES:
            return
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
