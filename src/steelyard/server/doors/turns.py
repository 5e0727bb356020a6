"""Turns: who may have to wait for the store of bytes does so in one of a bounded number of threads of their own.

A store that is slow or silent so holds up those who need it, and leaves the threads in which everything else is done
to everybody else. And nobody waits for a thread for longer than for what he wants to ask in it: a crowd before a
silent database or store is sent away in time.
"""

import asyncio
import math
from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from steelyard.server.errors import DatabaseTimeout, ProviderFailed, RegistryError, StorageTimeout

T = TypeVar("T")
AT_ONCE = 40  # of one process: as many threads again as there are for everything else

SIGN_INS_AT_ONCE = 8
COMPARISONS_AT_ONCE = 2  # of versions with 100,000 files each takes a processor for a second or more

_turns = CapacityLimiter(AT_ONCE)
_sign_ins = CapacityLimiter(SIGN_INS_AT_ONCE)
_comparisons = CapacityLimiter(COMPARISONS_AT_ONCE)
_counted_already = CapacityLimiter(math.inf)


async def at_the_store(work: Callable[[], T], *, within_seconds: float) -> T:
    """Do this in a thread when it is its turn. Raises `StorageTimeout` when its turn does not come in time.

    Like every such call it is not given up halfway: who is cancelled meanwhile waits for the end of it.
    """
    return await _in_turn(_turns, work, within_seconds, StorageTimeout)


async def at_the_database(work: Callable[[], T], *, within_seconds: float) -> T:
    """The same in the threads that do everything else, nearly all of which begins at the database: raises
    `DatabaseTimeout`."""
    return await _in_turn(to_thread.current_default_thread_limiter(), work, within_seconds, DatabaseTimeout)


async def at_the_provider(work: Callable[[], T], *, within_seconds: float) -> T:
    """The same in a few threads for those who sign in by an OpenID provider. Raises `ProviderFailed`."""
    return await _in_turn(_sign_ins, work, within_seconds, ProviderFailed)


async def to_compare(work: Callable[[], T], *, within_seconds: float) -> T:
    """The same in very few threads for what is mostly computing: more of it at once would be no quicker, and would
    leave everybody else waiting for a processor. Raises `DatabaseTimeout`."""
    return await _in_turn(_comparisons, work, within_seconds, DatabaseTimeout)


async def _in_turn(
    turns: CapacityLimiter, work: Callable[[], T], within_seconds: float, late: Callable[[str], RegistryError]
) -> T:
    waiting = object()
    try:
        async with asyncio.timeout(within_seconds):
            await turns.acquire_on_behalf_of(waiting)
    except TimeoutError as error:
        raise late("Too many requests wait for their turn. Try again.") from error
    try:
        return await to_thread.run_sync(work, limiter=_counted_already)
    finally:
        turns.release_on_behalf_of(waiting)
