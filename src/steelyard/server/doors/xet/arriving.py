"""Xorbs and shards on their way in: verified as they arrive, or behind an answer that lasts for as long as it takes."""

import asyncio
import json
import logging
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import IO
from uuid import uuid4

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from steelyard.server.core.arrivals.uploads import Room
from steelyard.server.core.xet import chunks, shards
from steelyard.server.db.tables import Org
from steelyard.server.doors.calls import KIB, Call, CallHere
from steelyard.server.doors.middleware import notes_of
from steelyard.server.doors.receiving import receive
from steelyard.server.doors.xet import errors
from steelyard.server.doors.xet.callers import CasRoute, enter, read_hash
from steelyard.server.doors.xet.verifying import Line, ShardTurns
from steelyard.server.errors import BadRequest, StorageTimeout, TooLarge
from steelyard.server.storage import StageWriter
from steelyard.server.xet.shards import MOST_SHARD_BYTES, parse_shard
from steelyard.server.xet.xorbs import MOST_FOOTER_BYTES, MOST_XORB_BYTES, Chunk, XorbReader

log = logging.getLogger(__name__)
_HEARTBEAT_SECONDS = 5.0
_HELD_IN_MEMORY_BYTES = 64 * KIB  # of a shard that waits; most are no longer
_PATIENCE_SECONDS = 20.0  # of clients who are not told of progress, before they are shown that we are at it
_NDJSON = "application/x-ndjson"

router = APIRouter(prefix="/cas/{org}/{generation}", route_class=CasRoute, include_in_schema=False)


# --- xorbs


@router.post("/{version}/xorbs/{xorb}")
async def post_xorb(request: Request, call: CallHere, org: str, xorb: str) -> Response:
    """Take a run of chunks under its hash; the organisation may build files of them from then on."""
    xorb_hash = read_hash(xorb)
    size_bytes = _announced_bytes(request, MOST_XORB_BYTES + MOST_FOOTER_BYTES)
    writer = await call.at_the_store(_enter_with, request, call, org, size_bytes)
    stage_id, store = uuid4().hex, call.registry.store
    try:
        taken = await _stage(request, call, stage_id, size_bytes)
        keep = partial(chunks.keep_xorb, call.registry.database, store, writer.org.id, xorb_hash, taken, stage_id)
        return JSONResponse({"was_inserted": await call.at_the_store(keep)})
    except StorageTimeout:
        raise  # nor would the store answer what follows: clean-up takes what is left
    except BaseException:
        await call.at_the_store(store.discard, stage_id)
        raise


@router.head("/{version}/xorbs/{xorb}")
def head_xorb(request: Request, call: CallHere, org: str, xorb: str) -> Response:
    """Whether the organisation has this run of chunks."""
    with call.registry.database.read() as session:
        entered = enter(session, call, request, org, "xet-write")
        found = chunks.find_xorb(session, entered.found.org.id, read_hash(xorb))
    return Response(status_code=404 if found is None else 200)


@dataclass(frozen=True, slots=True)
class _Writer:
    """Who sends something: for which organisation, and how much room it has."""

    org: Org
    room: Room


def _enter_with(request: Request, call: Call, org: str, size_bytes: int) -> _Writer:
    """Whoever calls, if he may send so many bytes."""
    room = Room(call.registry.settings, call.registry.store.free_bytes())
    with call.registry.database.read() as session:
        found = enter(session, call, request, org, "xet-write").found
        chunks.check_room(session, found.org, size_bytes, room)
    return _Writer(found.org, room)


def _announced_bytes(request: Request, most_bytes: int) -> int:
    announced = request.headers.get("content-length", "")
    if not announced.isdecimal():
        raise BadRequest("Announce the length of the body: send Content-Length.")
    size_bytes = int(announced[:20])
    if size_bytes > most_bytes:
        raise TooLarge(f"The body is announced with {size_bytes} bytes; the most is {most_bytes}.")
    return size_bytes


async def _stage(request: Request, call: Call, stage_id: str, size_bytes: int) -> list[Chunk]:
    """Verify a body chunk by chunk and write it to the store's stage; in memory there is little of it at a time."""
    with await call.at_the_store(call.registry.store.stage, stage_id, 0) as writer:
        sink = _XorbSink(writer)
        await receive(request.stream(), size_bytes, [sink.write], call.at_the_store)
        await call.at_the_store(sink.close)
    return sink.chunks


class _XorbSink:
    """Proves pieces of a xorb and writes them on, without the footer that some clients add."""

    def __init__(self, writer: StageWriter) -> None:
        self._writer, self._reader = writer, XorbReader()

    @property
    def chunks(self) -> list[Chunk]:
        return self._reader.chunks

    def write(self, pieces: Sequence[bytes]) -> None:
        with errors.refusing_malformed():
            kept = [piece[: self._reader.feed(piece)] for piece in pieces]
        self._writer.write([piece for piece in kept if piece])

    def close(self) -> None:
        with errors.refusing_malformed():
            self._reader.finish()
        self._writer.close()


# --- shards


@router.post("/v1/shards")
async def post_shard(request: Request, call: CallHere, org: str) -> Response:
    """Make files of chunks that are here, and answer when they are verified, however long that takes."""
    proof = await _begin_proof(request, call, org)
    done, _ = await asyncio.wait({proof.task}, timeout=_PATIENCE_SECONDS)
    if done:
        return JSONResponse({"result": proof.task.result()})
    return StreamingResponse(_blanks(proof), media_type="application/json")


@router.post("/v2/shards")
async def post_shard_telling(request: Request, call: CallHere, org: str) -> Response:
    """The same, telling how it goes: a line now and then, and one at the end with the result, or with the reason."""
    proof = await _begin_proof(request, call, org)
    return StreamingResponse(_lines(proof), media_type=_NDJSON)


@dataclass(slots=True)
class _Progress:
    """How far a verification has come: told by its thread, read on the event loop."""

    verified_bytes: int = 0
    total_bytes: int = 1  # of none, clients would have to tell a percentage

    def tell(self, verified_bytes: int, total_bytes: int) -> None:
        self.verified_bytes, self.total_bytes = verified_bytes, total_bytes


@dataclass(frozen=True, slots=True)
class _Proof:
    """The verification of a shard. It goes on when whoever sent it leaves: what is proven once is proven."""

    request_id: str
    progress: _Progress
    task: asyncio.Task[int]


_proofs: set[asyncio.Task[int]] = set()  # the loop itself keeps no task alive
_counted_already = CapacityLimiter(math.inf)


async def _begin_proof(request: Request, call: Call, org: str) -> _Proof:
    size_bytes = _announced_bytes(request, MOST_SHARD_BYTES)
    writer = await call.at_the_store(_enter_with, request, call, org, 0)
    turns: ShardTurns = request.app.state.shard_turns
    with ExitStack() as held:
        line = held.enter_context(turns.waiting(writer.org.id, size_bytes))
        body, progress = held.enter_context(await _spool(request, call, size_bytes)), _Progress()
        keep = partial(_keep_shard, call, writer, body, progress)
        task = asyncio.create_task(_prove_in_turn(turns, line, keep))
        _proofs.add(task)
        task.add_done_callback(partial(_forget, held.pop_all()))
    return _Proof(notes_of(request.scope).request_id, progress, task)


async def _prove_in_turn(turns: ShardTurns, line: Line, keep: Callable[[], int]) -> int:
    async with turns.turn(line):
        return await to_thread.run_sync(keep, limiter=_counted_already)


def _forget(held: ExitStack, task: asyncio.Task[int]) -> None:
    held.close()
    _proofs.discard(task)
    if not task.cancelled():
        task.exception()  # of which nobody hears when whoever sent the shard has left


async def _spool(request: Request, call: Call, size_bytes: int) -> IO[bytes]:
    """The body, on disk unless it is small: it may have to wait for its turn among many. The folder for temporary files
    is often in memory, and so not asked where there is another."""
    settings = call.registry.settings
    folder = str(settings.data) if settings.keeps_files else None
    with ExitStack() as opened:
        body = opened.enter_context(SpooledTemporaryFile(max_size=_HELD_IN_MEMORY_BYTES, dir=folder))
        await receive(request.stream(), size_bytes, [body.writelines])
        opened.pop_all()
        return body


def _keep_shard(call: Call, writer: _Writer, body: IO[bytes], progress: _Progress) -> int:
    registry = call.registry
    with body, errors.refusing_malformed():
        body.seek(0)
        shard = parse_shard(body.read())
    shards.keep_shard(
        registry.database,
        registry.store,
        writer.org,
        shard,
        writer.room,
        progress.tell,
        is_stopping=registry.stopping.is_set,
    )
    return 1


async def _lines(proof: _Proof) -> AsyncIterator[bytes]:
    while not (await asyncio.wait({proof.task}, timeout=_HEARTBEAT_SECONDS))[0]:
        progress = proof.progress
        yield _line({"type": "validating", "verified": progress.verified_bytes, "total": progress.total_bytes})
    failure = proof.task.exception()
    yield _line({"type": "result", "result": proof.task.result()} if failure is None else _told(failure, proof))


async def _blanks(proof: _Proof) -> AsyncIterator[bytes]:
    """White space before the JSON, for clients who know nothing of lines. Their status has gone out already."""
    while not (await asyncio.wait({proof.task}, timeout=_HEARTBEAT_SECONDS))[0]:
        yield b" "
    failure = proof.task.exception()
    yield _line({"result": proof.task.result()} if failure is None else _told(failure, proof))


def _told(failure: BaseException, proof: _Proof) -> dict[str, object]:
    reason = errors.reason_of(failure, proof.request_id)
    if reason is not failure:
        log.error("verifying a shard failed, request %s", proof.request_id, exc_info=failure)
    return {"type": "error", "message": reason.detail, "retryable": errors.is_passing(reason)}


def _line(said: dict[str, object]) -> bytes:
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"
