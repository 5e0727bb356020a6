"""Bytes on their way in: from the socket to disk and hash, in constant memory, off the event loop. For every door."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

from steelyard.server.errors import BadRequest, Fault, Invalid

BATCH_BYTES = 512 * 1024  # handed to a thread at once; one batch is in flight while the next gathers

STALL_SECONDS = 60

Sink = Callable[[Sequence[bytes]], None]
Run = Callable[[Sink, Sequence[bytes]], Coroutine[Any, Any, None]]


class Stalled(BadRequest):
    """The sender has fallen silent."""


async def receive(
    pieces: AsyncIterator[bytes], size_bytes: int | None, sinks: Sequence[Sink], run: Run = asyncio.to_thread
) -> None:
    """Feed a body to each sink, in order; the sinks of one batch run side by side, each in the thread that `run` finds.

    Raises `Invalid` when the body is longer or shorter than `size_bytes`, where that is known; a longer one is not read
    to its end.
    """
    batch: list[bytes] = []
    gathered = received = 0
    flight: asyncio.Future[list[None]] | None = None
    try:
        async for piece in impatient(pieces):
            received += len(piece)
            if size_bytes is not None and received > size_bytes:
                raise _wrong_length(f"more than the announced {size_bytes}")
            batch.append(piece)
            gathered += len(piece)
            if gathered >= BATCH_BYTES:
                flight = await _next(flight, sinks, batch, run)
                batch, gathered = [], 0
        flight = await _next(flight, sinks, batch, run)
    finally:
        if flight is not None:
            await flight  # a sink must not be at work when its file is closed
    if size_bytes is not None and received < size_bytes:
        raise _wrong_length(f"{received} of the announced {size_bytes}")


async def impatient(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same pieces; raises `Stalled` when the sender is silent too long, so that nobody holds an upload open."""
    while True:
        try:
            async with asyncio.timeout(STALL_SECONDS):
                piece = await anext(pieces, None)
        except TimeoutError as error:
            raise Stalled(f"Nothing came for {STALL_SECONDS} seconds. Send it again.") from error
        if piece is None:
            return
        yield piece


async def _next(
    flight: "asyncio.Future[list[None]] | None", sinks: Sequence[Sink], batch: list[bytes], run: Run
) -> "asyncio.Future[list[None]]":
    if flight is not None:
        await flight
    return asyncio.gather(*(run(sink, batch) for sink in sinks))


def sha256_sink() -> tuple[Sink, Callable[[], str]]:
    """A sink that hashes, and what tells the digest in hex after."""
    digest = hashlib.sha256()

    def feed(pieces: Sequence[bytes]) -> None:
        for piece in pieces:
            digest.update(piece)

    return feed, digest.hexdigest


def _wrong_length(found: str) -> Invalid:
    message = f"the body is not as long as was announced: {found} bytes"
    return Invalid(f"Nothing was kept: {message}. Send it again.", faults=(Fault(("body",), message, "size_mismatch"),))
