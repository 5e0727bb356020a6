"""Getting files to the registry: ask what the organisation lacks, send that in parallel, part by part.

The exchange is the Git LFS batch shape (contract section 5). What was sent stays at the registry: asking again, also
from another process, names the parts that arrived, so that an interrupted push goes on where it stopped.

Where the registry keeps its bytes in a store that signs links, parts go straight there. The link of each is asked for
when it is sent, with a checksum of just the bytes that will go, and carries no token.

Where the registry has earlier versions, it may answer that large files had better go as chunks (see xet.py). Then they
do, and it is asked again: what did not get there goes as above.
"""

import base64
import os
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from io import FileIO
from typing import Any

from steelyard.client._http import MOVING_BYTES, ONCE, Answer, Http, retry_after_seconds, retrying
from steelyard.client.addresses import linked
from steelyard.client.errors import (
    ApiError,
    DigestMismatch,
    FileChanged,
    SteelyardError,
    TransferError,
    UnexpectedAnswer,
    ValidationFailed,
    error_class,
)
from steelyard.client.hashing import HashedFile
from steelyard.client.models import model_route
from steelyard.client.parallel import Job, Stop, in_parallel
from steelyard.client.progress import Stage
from steelyard.client.references import ModelName
from steelyard.client.xet import LEAST_BYTES, XetSender

PIECE_BYTES = 512 << 10
BATCH_OBJECTS = 1000
# What a link answers that ran out, or whose upload somebody else has finished or is finishing.
_ASK_AGAIN = frozenset({401, 403, 404, 409, 410})
_MAX_RENEWALS = 20
_NOT_OURS_TO_SET = frozenset({"host", "content-length", "transfer-encoding", "connection", "user-agent", "cookie"})


@dataclass(frozen=True)
class Order:
    """What the registry asks for one object: nothing (`href` None), one PUT, or the parts not yet `done`.

    `straight` says that the part's URL answers a link of the store, bound to a checksum.
    """

    href: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    chunk_bytes: int | None = None
    part_urls: Mapping[int, str] = field(default_factory=dict)
    done: frozenset[int] = frozenset()
    straight: bool = False


class Uploader:
    """Sends the files of one push; `sent_bytes` counts what went over the wire and arrived."""

    def __init__(
        self, http: Http, model: ModelName, stage: Stage, stop: Stop, *, threads: int, chunks: XetSender | None = None
    ) -> None:
        self.http = http
        self.stage = stage
        self.stop = stop
        self.sent_bytes = 0
        self._route = model_route(model, "blobs", "batch")
        self._threads = threads
        self._chunks = chunks
        self._unproven: list[_Upload] = []
        self._lock = threading.Lock()

    def upload(self, files: Sequence[HashedFile]) -> None:
        """Send what the organisation lacks; files of equal bytes are sent once.

        Raises FileChanged, DigestMismatch, TooLarge and other ApiErrors, ConnectionFailed.
        """
        unique = list({file.oid: file for file in files}.values())
        unproven: list[_Upload] = []
        for start in range(0, len(unique), BATCH_OBJECTS):
            batch = unique[start : start + BATCH_OBJECTS]
            orders = self._orders_beside_chunks(batch)
            uploads = [_Upload(self, file, order) for file, order in zip(batch, orders, strict=True)]
            jobs = [job for upload in uploads for job in upload.jobs()]
            in_parallel(jobs, threads=self._threads, stop=self.stop)
            unproven += [upload for upload in uploads if upload.is_unproven]
        self._unproven = unproven

    def await_proofs(self, stage: Stage) -> None:
        """Wait for what the registry could not prove at once. Raises as `upload`."""
        stage.expect(len(self._unproven))
        for upload in self._unproven:
            upload.await_proof()
            stage.advance(1)

    def orders(self, files: Sequence[HashedFile]) -> list[Order]:
        """What the registry asks for each file; also how links are renewed."""
        return self._ask(files, ["basic", "multipart"])[1]

    def _orders_beside_chunks(self, files: Sequence[HashedFile]) -> list[Order]:
        """The same, after large files have gone as chunks, where the registry wants that."""
        chunks = self._chunks
        if chunks is None or not chunks.works or all(file.found.size_bytes < LEAST_BYTES for file in files):
            return self.orders(files)
        transfer, orders = self._ask(files, ["xet", "basic", "multipart"])
        if transfer != "xet":
            return orders
        wanted = [file for file, order in zip(files, orders, strict=True) if order.href is not None]
        large = [file for file in wanted if file.found.size_bytes >= LEAST_BYTES]
        chunks.send(large, self.stage, self.stop, self.count)
        return self.orders(files)

    def _ask(self, files: Sequence[HashedFile], transfers: Sequence[str]) -> tuple[str, list[Order]]:
        """By which of these ways the registry wants the files, and what it asks for each."""
        body = {
            "operation": "upload",
            "transfers": transfers,
            "hash_algo": "sha256",
            "part_checksums": "crc32",
            "objects": [{"oid": file.oid, "size": file.found.size_bytes} for file in files],
        }
        answer = self.http.call(
            "POST", self._route, body=body, resend_safe=True, patience=MOVING_BYTES, pause=self.stop.pause
        ).body
        listed = answer.get("objects") if isinstance(answer, dict) else None
        if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
            raise UnexpectedAnswer("the answer to the upload request has no list of objects")
        by_oid = {each.get("oid"): each for each in listed}
        _raise_refusals(files, by_oid)
        orders = [_order(by_oid.get(file.oid), file, self.http.base) for file in files]
        return str(answer.get("transfer")), orders

    def count(self, size_bytes: int) -> None:
        """So many bytes arrived."""
        with self._lock:
            self.sent_bytes += size_bytes


def _raise_refusals(files: Sequence[HashedFile], by_oid: Mapping[Any, Mapping[str, Any]]) -> None:
    refused = [
        (file.found.path, error) for file in files if isinstance(error := by_oid.get(file.oid, {}).get("error"), dict)
    ]
    if refused:
        code = refused[0][1].get("code")
        status = code if isinstance(code, int) else 422
        lines = "\n".join(f"  {path}: {error.get('message')}" for path, error in refused[:20])
        raise error_class(status, "")(status, "", f"the registry does not take these files:\n{lines}")


def _order(answer: Mapping[str, Any] | None, file: HashedFile, base: str) -> Order:
    if answer is None:
        raise UnexpectedAnswer(f"the registry did not say what to do with {file.found.path}")
    action = answer.get("actions", {}).get("upload") if isinstance(answer.get("actions", {}), dict) else None
    if action is None:
        return Order()
    href, header = (action.get("href"), action.get("header") or {}) if isinstance(action, dict) else (None, {})
    if not isinstance(href, str) or not isinstance(header, dict):
        raise UnexpectedAnswer(f"the registry gave no link to upload {file.found.path}")
    href = linked(f"{base}/", href)
    if "chunk_size" not in header:
        return Order(href, _headers(header))
    return _parted_order(href, header, answer.get("parts_done"), file, base)


def _headers(header: Mapping[str, Any]) -> dict[str, str]:
    """The headers that a link wants, but for those that are the client's own business."""
    return {str(key): str(value) for key, value in header.items() if str(key).lower() not in _NOT_OURS_TO_SET}


def _parted_order(href: str, header: Mapping[str, Any], done: object, file: HashedFile, base: str) -> Order:
    try:
        chunk_bytes = int(header["chunk_size"])
        count = -(-file.found.size_bytes // chunk_bytes) if chunk_bytes > 0 else 0
        urls = {number: linked(f"{base}/", str(header[str(number)])) for number in range(1, count + 1)}
    except (KeyError, ValueError, TypeError):
        urls = {}
    if not urls:
        raise UnexpectedAnswer(f"the registry gave no usable links for the parts of {file.found.path}")
    arrived = frozenset(number for number in done if number in urls) if isinstance(done, list) else frozenset()
    return Order(href, {}, chunk_bytes, urls, arrived, straight=header.get("part_checksums") == "crc32")


class _Upload:
    """One object on its way: its parts go in any order and thread, the last one completes it."""

    def __init__(self, uploader: Uploader, file: HashedFile, order: Order) -> None:
        self._uploader = uploader
        self._file = file
        self._order = order
        self._sent = set(order.done)
        self._jobs_left = 0
        self._renewals = 0
        self._unproven: tuple[Order, str] | None = None
        self._pause_seconds = 0.5
        self._lock = threading.Lock()

    def jobs(self) -> list[Job]:
        """What there is to do, each for itself."""
        if self._order.href is None:
            return []
        missing = [number for number in self._order.part_urls if number not in self._sent]
        self._uploader.stage.expect(sum(self._span(self._order, number)[1] for number in missing or self._whole()))
        self._jobs_left = len(missing)
        return [self._part_job(number) for number in missing] or [self._finish]

    def _whole(self) -> list[int]:
        """A plain upload counts as one part, numbered 0; a multipart one whose parts are all there has none."""
        return [] if self._order.part_urls else [0]

    def _span(self, order: Order, number: int) -> tuple[int, int]:
        """(offset, length) in bytes of a part."""
        chunk = order.chunk_bytes
        size = self._file.found.size_bytes
        if chunk is None or number == 0:
            return 0, size
        start = (number - 1) * chunk
        return start, min(chunk, size - start)

    def _part_job(self, number: int) -> Callable[[], None]:
        def run() -> None:
            self._renewing(lambda order: self._put(order, number))
            with self._lock:
                self._jobs_left -= 1
                last = self._jobs_left == 0
            if last:
                self._finish()

        return run

    @property
    def is_unproven(self) -> bool:
        """Whether all is at the registry, which has not said yet that it is right."""
        return self._unproven is not None

    def await_proof(self) -> None:
        """Ask until the registry has proven the bytes."""
        while self._unproven is not None:
            self._renewing(self._look)
            if self._order.href is None:
                return

    def _finish(self) -> None:
        self._renewing(self._complete)

    def _renewing(self, action: Callable[[Order], None]) -> None:
        """Run with the links there are, and with fresh ones as often as they run out."""
        while (order := self._order).href is not None:
            try:
                action(order)
            except ValidationFailed as error:
                raise self._explained(error) from error
            except ApiError as error:
                if not self._may_ask_again(order, error):
                    raise
                if error.status == 409:
                    self._uploader.stop.pause(min(error.retry_after_seconds or 0.5, 10.0))
                self._renew(order)
            else:
                return

    def _may_ask_again(self, order: Order, error: ApiError) -> bool:
        """Whether new links may help. A store that says 400 got other bytes than the checksum is of."""
        if order.straight and error.status == 400 and not self._file.still_the_same():
            raise self._file.changed() from error
        asked = error.status in _ASK_AGAIN or (order.straight and error.status == 400)
        return asked and self._renewals < _MAX_RENEWALS

    def _renew(self, old: Order) -> None:
        with self._lock:
            if self._order is not old:
                return  # another thread was faster
            self._renewals += 1
            self._order = self._uploader.orders([self._file])[0]
            self._sent = set(self._order.done)

    def _explained(self, error: ValidationFailed) -> SteelyardError:
        if not self._file.still_the_same():
            return self._file.changed()
        return DigestMismatch(f"the registry got other bytes than {self._file.found.path} holds: {error}")

    def _put(self, order: Order, number: int) -> None:
        """Send a part (0: the whole) and note that it arrived."""
        if number in self._sent:
            return
        url = order.part_urls[number] if number in order.part_urls else str(order.href)
        offset, length = self._span(order, number)
        send = self._put_straight if order.straight else partial(self._put_once, headers=order.headers)
        retrying(
            lambda: send(url, offset, length),
            resend_safe=True, patience=MOVING_BYTES, pause=self._uploader.stop.pause,
        )  # fmt: skip
        self._uploader.count(length)
        with self._lock:
            self._sent.add(number)

    def _put_straight(self, url: str, offset: int, length: int) -> None:
        """Read the part once for its checksum, and again, from the system's memory mostly, to send it."""
        crc32 = 0
        for piece in _pieces(self._file, offset, length):
            self._uploader.stop.check()
            crc32 = zlib.crc32(piece, crc32)
        body = {"crc32": base64.b64encode(crc32.to_bytes(4, "big")).decode()}
        answer = self._uploader.http.call("POST", url, body=body, patience=ONCE).body
        href, header = (answer.get("href"), answer.get("header")) if isinstance(answer, dict) else (None, None)
        if not isinstance(href, str) or not isinstance(header, dict):
            raise UnexpectedAnswer(f"the registry gave no link for a part of {self._file.found.path}")
        self._put_once(linked(url, href), offset, length, headers=_headers(header))

    def _put_once(self, url: str, offset: int, length: int, *, headers: Mapping[str, str]) -> None:
        shown = 0

        def pieces() -> Iterator[bytes]:
            nonlocal shown
            for piece in _pieces(self._file, offset, length):
                self._uploader.stop.check()
                yield piece
                shown += len(piece)
                self._uploader.stage.advance(len(piece))

        try:
            self._uploader.http.put_bytes(url, pieces(), length, headers)
        except SteelyardError:
            self._uploader.stage.advance(-shown)
            raise

    def _complete(self, order: Order) -> None:
        """Send what is missing still (all of it, after a session was lost) and have the registry prove the bytes."""
        for number in [*order.part_urls] or [0]:
            self._put(order, number)
        if not order.part_urls:
            return
        http, stop = self._uploader.http, self._uploader.stop
        href = str(order.href)
        answer = http.call(
            "POST", href, body={"oid": self._file.oid}, resend_safe=True, patience=MOVING_BYTES, pause=stop.pause
        )
        self._note(order, href, answer)

    def _look(self, order: Order) -> None:
        """Ask once whether the bytes are proven, after the pause that was asked for; complete what was begun anew."""
        completed, location = self._unproven or (None, "")
        if completed is not order:
            self._complete(order)
            return
        http, stop = self._uploader.http, self._uploader.stop
        stop.pause(self._pause_seconds)
        self._note(order, location, http.call("GET", location, patience=MOVING_BYTES, pause=stop.pause))

    def _note(self, order: Order, url: str, answer: Answer) -> None:
        """Keep where to ask next, while the registry is proving."""
        self._pause_seconds = min(retry_after_seconds(answer.headers) or 0.5, 30.0)
        location = linked(url, answer.headers.get("Location", ""))
        self._unproven = (order, location) if answer.status == 202 else None


def _pieces(file: HashedFile, offset: int, length: int) -> Iterator[bytes]:
    """The bytes of a span, read as they are asked for. Raises FileChanged when the file is shorter by now."""
    try:
        handle = os.open(file.found.source, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
        with FileIO(handle, "rb") as source:
            source.seek(offset)
            while length:
                piece = source.read(min(PIECE_BYTES, length))
                if not piece:
                    raise FileChanged(f"{file.found.path} became shorter while it was being pushed; push again")
                length -= len(piece)
                yield piece
    except OSError as error:
        raise TransferError(f"{file.found.path} cannot be read: {error.strerror}") from error
