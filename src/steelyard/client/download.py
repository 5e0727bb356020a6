"""Getting a version's bytes into the cache: files side by side, large ones in ranges, every byte hashed.

A break costs at most the blocks on their way: a fetch goes on from its last byte within one run, and from its last
whole block (8 MiB) in the next. The registry's word counts for nothing here: it cannot send more than it announced, nor
other bytes than the digest says. Files side by side are streamed whole, so that their bytes are hashed as they come and
not read again; only what others would wait for at the end goes as ranges. What is shorter as chunks comes so where that
works (see xet.py), block after block as well, so that the rest may come in the other way at any point.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial as bind
from http.client import HTTPException
from types import TracebackType
from typing import IO, Self

import urllib3
from urllib3.exceptions import HTTPError

from steelyard.client._http import MOVING_BYTES, Http, retrying
from steelyard.client.cache import BLOCK_BYTES, BlobCache, Partial
from steelyard.client.errors import (
    ApiError,
    ConnectionFailed,
    DigestMismatch,
    SteelyardError,
    TransferError,
    UnexpectedAnswer,
)
from steelyard.client.parallel import Job, Slots, Stop, in_parallel
from steelyard.client.progress import Stage
from steelyard.client.xet import LEAST_BYTES, XetFailed, XetSource

PIECE_BYTES = 256 << 10
RANGED_ABOVE_BYTES = 64 << 20
RANGE_BLOCKS = 4  # 32 MiB a request


@dataclass(frozen=True, slots=True)
class WantedFile:
    """One object to have: its digest, its size, a URL that serves it and a path to name it by."""

    sha256_hex: str
    size_bytes: int
    url: str
    path: str


class RangesIgnored(SteelyardError):
    """A range was asked for and the whole file came."""


class Downloader:
    """Fetches the objects of one pull; `fetched_bytes` counts what came over the wire.

    `arrived` is called with each that was fetched, in the thread that did, once it is proven and in the cache.
    """

    def __init__(
        self,
        http: Http,
        cache: BlobCache,
        stage: Stage,
        stop: Stop,
        *,
        threads: int,
        chunks: XetSource | None = None,
        arrived: Callable[[WantedFile], None] = lambda _: None,
    ) -> None:
        self.http = http
        self.chunks = chunks
        self.stage = stage
        self.stop = stop
        self.threads = threads
        self.connections = Slots(threads)
        self.fetched_bytes = 0
        self._cache = cache
        self._arrived = arrived
        self._left_bytes = 0
        self._lock = threading.Lock()

    def fetch(self, wanted: Sequence[WantedFile]) -> None:
        """Have all objects in the cache, proven.

        Several files go at once, one that is most of what is left with several ranges at once, and all of them together
        over so many connections as there are threads: whatever is left at the end gets them all.
        Raises DigestMismatch, ApiError, ConnectionFailed, UnexpectedAnswer, TransferError (no room).
        """
        missing = self._missing(wanted)
        needed, free = sum(each.size_bytes for each in missing), self._cache.free_bytes()
        if needed > free:
            raise TransferError(f"{needed:,} bytes do not fit into {self._cache.root}, which has {free:,} free")
        self.stage.expect(needed)
        self._left_bytes = needed
        largest_first = sorted(missing, key=lambda each: -each.size_bytes)
        in_parallel((bind(self._fetch_one, each) for each in largest_first), threads=self.threads, stop=self.stop)

    def _missing(self, wanted: Sequence[WantedFile]) -> list[WantedFile]:
        """What is not in the cache; in threads, since what was not used before is hashed."""
        found = set[str]()

        def look(each: WantedFile) -> None:
            if self._cache.find(each.sha256_hex, each.size_bytes, self.stop) is not None:
                found.add(each.sha256_hex)

        in_parallel((bind(look, each) for each in wanted), threads=self.threads, stop=self.stop)
        return [each for each in wanted if each.sha256_hex not in found]

    def count(self, size_bytes: int) -> None:
        """So many bytes arrived."""
        with self._lock:
            self.fetched_bytes += size_bytes
        self.advance(size_bytes)

    def advance(self, size_bytes: int) -> None:
        """So many bytes need not be fetched any more."""
        with self._lock:
            self._left_bytes -= size_bytes
        self.stage.advance(size_bytes)

    def is_worth_ranges(self, size_bytes: int) -> bool:
        """Whether a file of this size, on one connection, would keep the others waiting for it at the end."""
        return size_bytes > RANGED_ABOVE_BYTES and size_bytes * self.threads > self._left_bytes

    def _fetch_one(self, wanted: WantedFile) -> None:
        """One object, unless another process brings it meanwhile."""
        with self._cache.lock(wanted.sha256_hex, self.stop):
            if self._cache.find(wanted.sha256_hex, wanted.size_bytes, self.stop) is not None:
                self.advance(wanted.size_bytes)
                return
            partial = self._cache.partial(wanted.sha256_hex, wanted.size_bytes)
            _Fetch(self, wanted, partial).run()
            self._cache.enter(partial)
        self._arrived(wanted)


class _Fetch:
    """One object on its way into its partial file, hashed along as far as it has arrived without a gap."""

    def __init__(self, downloader: Downloader, wanted: WantedFile, partial: Partial) -> None:
        self._downloader = downloader
        self._wanted = wanted
        self._partial = partial
        self._stop = Stop(downloader.stop)  # of its own, so that it may begin again
        self._hash = _RunningHash(partial)
        self._link: str | None = None

    def run(self) -> None:
        """Fetch and prove. What an earlier run left is not trusted, nor what was made of chunks: if it spoils the hash,
        all comes anew."""
        was_resumed = bool(self._partial.done)
        self._downloader.advance(sum(self._partial.block_bytes(block) for block in self._partial.done))
        try:
            source = self._fetch_chunks()
            self._fetch_missing()
            if (was_resumed or source) and not self._proven():
                if source:
                    source.give_up(XetFailed(f"{self._wanted.path} came with other bytes than its digest says"))
                self._restart()
                self._fetch_missing()
        except RangesIgnored:
            self._restart()
            self._fetch_blocks(range(self._partial.blocks))
        if not self._proven():
            self._partial.discard()
            raise DigestMismatch(f"the registry sent other bytes for {self._wanted.path} than its digest says")

    def _proven(self) -> bool:
        return self._hash.finish(self._stop) == self._wanted.sha256_hex

    def _missing(self, longest: int) -> list[range]:
        done = self._partial.done
        return list(_spans([block for block in range(self._partial.blocks) if block not in done], longest))

    def _fetch_chunks(self) -> XetSource | None:
        """Fetch what is missing as chunks, as far as that works. Answers from where, if it was tried."""
        source, wanted = self._downloader.chunks, self._wanted
        runs = self._missing(self._partial.blocks)
        if source is None or not runs or wanted.size_bytes < LEAST_BYTES or not source.has(wanted.path):
            return None
        spans = [(run.start * BLOCK_BYTES, min(run.stop * BLOCK_BYTES, wanted.size_bytes)) for run in runs]
        try:
            with source.opened(wanted.path, wanted.size_bytes, spans, self._stop) as output:
                for start, end in spans:
                    self._take(output, start, end)
        except XetFailed as error:
            source.give_up(error)
        else:
            if self._missing(1):
                source.give_up(XetFailed(f"{wanted.path} ended early"))
        return source

    def _take(self, output: IO[bytes], start: int, end: int) -> None:
        """Bytes from `start` on, as many as come; those of a last block that is not whole count for nothing."""
        with _Sink(self._partial, self._hash, start) as sink:
            while sink.position < end and (piece := output.read(min(PIECE_BYTES, end - sink.position))):
                self._stop.check()
                sink.write(piece)
                self._downloader.count(len(piece))
        if sink.position < end:
            self._downloader.advance(-(sink.position % BLOCK_BYTES))

    def _fetch_missing(self) -> None:
        is_ranged = self._downloader.is_worth_ranges(self._wanted.size_bytes)
        longest = RANGE_BLOCKS if is_ranged else self._partial.blocks
        spans = self._missing(longest)
        jobs: list[Job] = [bind(self._fetch_blocks, span) for span in spans]
        in_parallel(jobs, threads=self._downloader.threads, stop=self._stop)

    def _restart(self) -> None:
        self._stop = Stop(self._downloader.stop)
        self._downloader.advance(-sum(self._partial.block_bytes(block) for block in self._partial.done))
        self._partial.reset()
        self._hash = _RunningHash(self._partial)

    def _fetch_blocks(self, blocks: range) -> None:
        """A run of blocks by one request, or by more when it breaks; each that moved on earns new patience."""
        end = min(blocks.stop * BLOCK_BYTES, self._wanted.size_bytes)
        with _Sink(self._partial, self._hash, blocks.start * BLOCK_BYTES) as sink:
            while sink.position < end:
                before = sink.position
                retrying(
                    lambda: self._stream(sink, end), resend_safe=True, patience=MOVING_BYTES, pause=self._stop.pause
                )
                if sink.position == before:
                    raise TransferError(f"the registry ended {self._wanted.path} after {before:,} bytes")

    def _stream(self, sink: "_Sink", end: int) -> None:
        """One request from where the sink stands; ends early, without an error, when it breaks after some bytes."""
        start = sink.position
        whole = start == 0 and end == self._wanted.size_bytes
        headers = {} if whole else {"Range": f"bytes={start}-{end - 1}"}
        with self._downloader.connections.one(self._stop):
            response = self._open(headers)
            try:
                self._check_span(response, start, end)
                while sink.position < end:
                    self._stop.check()
                    piece = _read(response, min(PIECE_BYTES, end - sink.position))
                    if not piece:
                        return
                    sink.write(piece)
                    self._downloader.count(len(piece))
            except ConnectionFailed:
                if sink.position == start:
                    raise
            finally:
                response.close()

    def _open(self, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """Straight from where the registry sent us before, as long as that serves us; else from the registry anew."""
        if (link := self._link) is not None:
            try:
                response = self._downloader.http.open("GET", link, headers=headers)
                if response.status < 300:
                    return response
                response.close()
            except (ApiError, ConnectionFailed):
                pass
            self._link = None
        response, found = self._downloader.http.find(self._wanted.url, headers)
        self._link = found if found != self._wanted.url else None
        return response

    def _check_span(self, response: urllib3.BaseHTTPResponse, start: int, end: int) -> None:
        """The answer is the span that was asked for, no longer. Raises UnexpectedAnswer, RangesIgnored."""
        whole = start == 0 and end == self._wanted.size_bytes
        if response.status == 200 and not whole:
            raise RangesIgnored
        announced = response.headers.get("Content-Range", "")
        wrong_range = response.status == 206 and announced != f"bytes {start}-{end - 1}/{self._wanted.size_bytes}"
        length = response.headers.get("Content-Length")
        wrong_length = length is not None and length != str(end - start)
        if response.status not in (200, 206) or wrong_range or wrong_length:
            raise UnexpectedAnswer(
                f"the registry answered {response.status} with {announced or length or 'no length'} where bytes "
                f"{start}-{end - 1} of the {self._wanted.size_bytes} of {self._wanted.path} were asked for"
            )


class _Sink:
    """Where one run of bytes goes: into the partial file, block by block into its journal, and, when no one else is
    nearer to the beginning, into the hash."""

    def __init__(self, partial: Partial, running: "_RunningHash", position: int) -> None:
        self.position = position
        self._partial = partial
        self._running = running
        self._hashes = running.claim(position)
        self._file = partial.open_at(position)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._hashes:
            self._running.give_back()
        if kind is None:
            self._running.catch_up()

    def write(self, piece: bytes) -> None:
        """Take the next bytes. Raises TransferError when the disk does not."""
        self._partial.append(self._file, piece)
        if self._hashes:
            self._running.update(piece)
        before = self.position // BLOCK_BYTES
        self.position += len(piece)
        for block in range(before, self.position // BLOCK_BYTES):
            self._partial.mark(block)
        if self.position == self._partial.size_bytes and self.position % BLOCK_BYTES:
            self._partial.mark(self.position // BLOCK_BYTES)


class _RunningHash:
    """SHA-256 of the gapless beginning of a partial file. One thread at a time moves it on."""

    def __init__(self, partial: Partial) -> None:
        self._partial = partial
        self._digest = hashlib.sha256()
        self._position = 0
        self._turn = threading.Lock()

    def claim(self, position: int) -> bool:
        """Whether the caller, who stands at `position`, is to hand in his bytes by `update` until `give_back`."""
        if not self._turn.acquire(blocking=False):
            return False
        if self._position == position:
            return True
        self._turn.release()
        return False

    def update(self, piece: bytes) -> None:
        """The next bytes, from who has claimed the turn."""
        self._digest.update(piece)
        self._position += len(piece)

    def give_back(self) -> None:
        """End the turn."""
        self._turn.release()

    def catch_up(self) -> None:
        """Hash the blocks that others brought, unless somebody is at it."""
        if self._turn.acquire(blocking=False):
            try:
                self._read_on(None)
            finally:
                self._turn.release()

    def finish(self, stop: Stop) -> str:
        """The digest of what there is, as hex; of the whole file when all blocks have arrived."""
        with self._turn:
            self._read_on(stop)
            return self._digest.hexdigest()

    def _read_on(self, stop: Stop | None) -> None:
        block = self._position // BLOCK_BYTES
        if block not in self._partial.done:
            return
        with self._partial.open_at(self._position) as file:
            while block in self._partial.done:
                if stop is not None:
                    stop.check()
                left = self._partial.block_bytes(block) - self._position % BLOCK_BYTES
                while left and (piece := file.read(min(1 << 20, left))):
                    self.update(piece)
                    left -= len(piece)
                block += 1


def _spans(blocks: Sequence[int], longest: int) -> Iterator[range]:
    """Runs of neighbouring blocks, cut to at most `longest` each."""
    start = 0
    for index in range(1, len(blocks) + 1):
        if index == len(blocks) or blocks[index] != blocks[index - 1] + 1 or index - start == longest:
            yield range(blocks[start], blocks[index - 1] + 1)
            start = index


def _read(response: urllib3.BaseHTTPResponse, size_bytes: int) -> bytes:
    try:
        return response.read(size_bytes)
    except (HTTPError, HTTPException, OSError) as error:
        raise ConnectionFailed(f"the download broke off: {type(error).__name__}") from error
