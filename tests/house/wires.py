"""A wire of the tests between a program and what it talks to: it counts bytes, and it breaks at a chosen moment.

One thread and one event loop a wire. A `Fault` says what happens and when; the wire counts how often it really did, and
a test that ends without its fault having struck fails.
"""

import asyncio
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from struct import pack
from typing import Any, Literal, TypeVar

T = TypeVar("T")
_End = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Way = Literal["up", "down"]
Kind = Literal["slow", "silent", "cut", "refuse", "500", "503"]

_PIECE_BYTES = 64 * 1024
_WAIT_SECONDS = 20.0
_S3_ERRORS = {
    "500": ("Internal Server Error", "InternalError", "We encountered an internal error. Please try again."),
    "503": ("Slow Down", "SlowDown", "Please reduce your request rate."),
}


@dataclass(frozen=True)
class Fault:
    """What happens to a wire, and when.

    `slow`: each piece waits, `delay_seconds` a piece. `silent`: nothing passes any more, connections stand. `cut`:
    connections are reset. `refuse`: and nobody listens. `500`, `503`: requests are answered by the wire with the error
    of an S3 store.

    It strikes at the first bytes going up that `at` is found in (any bytes, when empty), of a connection that `after`
    was found in before: ere they pass, or, where `way` is down, when they have passed and `after_bytes` of the answer
    too: with none, they are heard and never answered. Then it lasts, for all connections, until it is mended; with
    `times`, only so many connections (requests, for the two statuses) are struck, each when its own moment has come.
    """

    kind: Kind
    at: bytes = b""
    after: bytes = b""
    way: Way = "up"
    after_bytes: int = 0
    times: int | None = None
    delay_seconds: float = 0.0
    piece_bytes: int = _PIECE_BYTES


@dataclass(eq=False)
class _Link:
    """One connection: the program's end of it, and the other. Once the fault is armed, `passing_bytes` are left."""

    near: _End
    far: _End
    is_after: bool = False
    passing_bytes: int | None = None

    def reset(self) -> None:
        """Break it so that both ends are told, at once."""
        for _, writer in (self.near, self.far):
            sock: socket.socket = writer.get_extra_info("socket")
            with suppress(OSError):  # closed already
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
            writer.transport.abort()


@dataclass
class Strikes:
    """A fault under way, and how often it struck."""

    fault: Fault
    count: int = 0
    lasts: bool = False
    _happened: threading.Event = field(default_factory=threading.Event)

    def add(self) -> None:
        """It struck once more."""
        self.count += 1
        self.lasts = self.fault.times is None and not self.fault.kind.isdecimal()
        self._happened.set()

    def wait(self) -> None:
        """Until it strikes."""
        assert self._happened.wait(_WAIT_SECONDS), f"{self.fault} did not strike"


class Wire:
    """A wire to a port on loopback."""

    def __init__(self, target: int) -> None:
        self.up_bytes = self.down_bytes = 0
        self.hold_up_after: int | None = None
        self.hold_down_after: int | None = None
        self.struck: Counter[str] = Counter()
        self.connections = 0
        self._target = target
        self._strikes: Strikes | None = None
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._cuts = 0  # connections made before the last cut are dead
        self._place = _reserve()
        self.port: int = self._place.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Condition()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire", daemon=True)
        self._thread.start()
        self._listener: socket.socket | None = None
        self._await(self._listen())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # --- faults

    @contextmanager
    def broken(self, fault: Fault, *, must_strike: bool = True) -> Iterator[Strikes]:
        """For as long as the block runs. Fails when the fault has not struck by then, and had to."""
        strikes = Strikes(fault)
        self._await(self._break(strikes))
        try:
            yield strikes
        finally:
            self._await(self._mend())
            self.struck[fault.kind] += strikes.count
        assert strikes.count or not must_strike, f"{fault} did not strike"

    async def _break(self, strikes: Strikes) -> None:
        assert self._strikes is None, "one fault at a time"
        self._strikes = strikes
        if strikes.fault.kind in ("cut", "refuse") and not strikes.fault.at and strikes.fault.times is None:
            await self._strike(strikes, None)

    async def _mend(self) -> None:
        self._strikes = None
        for link in self._links:
            link.is_after, link.passing_bytes = False, None
        await self._listen()
        await self._tell()

    async def _strike(self, strikes: Strikes, struck: _Link | None) -> None:
        """Connections are broken: this one, or all."""
        strikes.add()
        if strikes.fault.kind == "refuse" and self._listener:
            await self._stop_listening()
            with closing(socket.socket()) as probe:
                assert probe.connect_ex(("127.0.0.1", self.port)), "somebody listens"
        for link in list(self._links) if strikes.lasts else [struck]:
            if link is not None:
                link.reset()

    # --- holding back

    def wait_until_held(self, timeout_seconds: float = _WAIT_SECONDS) -> None:
        """Wait until as much has gone over as may."""
        self._await(asyncio.wait_for(self._wait_for(self._is_held), timeout_seconds))

    def release(self) -> None:
        """Let everything pass."""
        self.hold_up_after = self.hold_down_after = None
        self._await(self._tell())

    def cut(self) -> None:
        """Break all connections, forget what was in them, let new ones pass, and count from zero."""
        self._await(self._cut())
        self.hold_up_after = self.hold_down_after = None
        self.up_bytes = self.down_bytes = 0

    def close(self) -> None:
        """Take it away."""
        self._await(self._stop_listening())
        self._await(self._cut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._place.close()

    async def _cut(self) -> None:
        self._cuts += 1
        before = set(self._tasks)  # whoever comes from now on is let pass, and not waited for
        for link in list(self._links):
            link.reset()
        await self._tell()
        if before:
            await asyncio.wait(before)

    def _is_held(self) -> bool:
        up = self.hold_up_after is not None and self.up_bytes >= self.hold_up_after
        down = self.hold_down_after is not None and self.down_bytes >= self.hold_down_after
        return up or down

    # --- passing bytes

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = _bind(self.port)
            self._listener.listen()
            self._listener.setblocking(False)
            self._loop.add_reader(self._listener, self._accept, self._listener)

    async def _stop_listening(self) -> None:
        """At once: nobody is halfway in."""
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # gone again
            near, _ = listener.accept()
            task = self._loop.create_task(self._serve(near, self._cuts))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, accepted: socket.socket, cuts: int) -> None:
        near = await asyncio.open_connection(sock=accepted, limit=_PIECE_BYTES)
        try:
            far = await self._connect()
        except OSError:  # nobody there now
            near[1].transport.abort()
            await near[1].wait_closed()
            return
        link = _Link(near, far)
        self._links.add(link)
        self.connections += 1
        if cuts != self._cuts:
            link.reset()
        await asyncio.gather(self._pump(link, "up", cuts), self._pump(link, "down", cuts))
        self._links.discard(link)
        for _, writer in (near, far):
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _connect(self) -> _End:
        return await asyncio.open_connection("127.0.0.1", self._target, limit=_PIECE_BYTES)

    async def _pump(self, link: _Link, way: Way, cuts: int) -> None:
        """One way of a connection, until it ends, or one end breaks: then the other is told."""
        (reader, _), (_, writer) = (link.near, link.far) if way == "up" else (link.far, link.near)
        try:
            while data := await reader.read(self._strikes.fault.piece_bytes if self._strikes else _PIECE_BYTES):
                passing_bytes = self._passing_bytes(link, way, data)
                await self._pass(writer, way, data[:passing_bytes], cuts)
                if passing_bytes < len(data):
                    await self._suffer(link, data, cuts)
                    await self._pass(writer, way, data[passing_bytes:], cuts)
            writer.write_eof()
        except OSError:
            link.reset()

    async def _pass(self, writer: asyncio.StreamWriter, way: Way, data: bytes, cuts: int) -> None:
        """Pass a piece on when nothing is held back, and count it."""
        await self._wait_for(lambda: cuts != self._cuts or not self._is_held())
        if cuts != self._cuts:
            raise ConnectionResetError
        if way == "up":
            self.up_bytes += len(data)
        else:
            self.down_bytes += len(data)
        await self._tell()
        writer.write(data)
        await writer.drain()

    def _passing_bytes(self, link: _Link, way: Way, data: bytes) -> int:
        """How much of a piece passes before the fault strikes, if its moment comes with this piece: else the whole."""
        return _passing_bytes(self._strikes, link, way, data) if self._strikes else len(data)

    async def _suffer(self, link: _Link, data: bytes, cuts: int) -> None:
        """What the fault does to a connection; raises ConnectionResetError where that is the end of it."""
        strikes = self._strikes
        if strikes is None:
            return
        kind = strikes.fault.kind
        if kind in ("cut", "refuse"):
            await self._strike(strikes, link)
            raise ConnectionResetError
        strikes.add()
        if kind == "slow":
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wait_until_over(strikes, cuts), strikes.fault.delay_seconds)
        elif kind == "silent":
            await self._wait_until_over(strikes, cuts)
        else:
            await _answer(link, kind, data)
            raise ConnectionResetError

    async def _wait_until_over(self, strikes: Strikes, cuts: int) -> None:
        await self._wait_for(lambda: cuts != self._cuts or self._strikes is not strikes)

    async def _wait_for(self, happened: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(happened)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _await(self, doing: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(doing, self._loop).result(_WAIT_SECONDS)


def _passing_bytes(strikes: Strikes, link: _Link, way: Way, data: bytes) -> int:
    """Arms the fault for a connection when the bytes that it waits for go up."""
    fault = strikes.fault
    if strikes.lasts:
        return 0
    if fault.times is not None and strikes.count >= fault.times:
        return len(data)
    if way == "up":
        link.is_after = link.is_after or re.search(fault.after, data) is not None
        if link.is_after and link.passing_bytes is None and re.search(fault.at, data):
            link.passing_bytes = fault.after_bytes
    if way != fault.way or link.passing_bytes is None:
        return len(data)
    passing_bytes = min(link.passing_bytes, len(data))
    link.passing_bytes -= passing_bytes
    if passing_bytes < len(data):
        link.passing_bytes = None
    return passing_bytes


async def _answer(link: _Link, status: str, request: bytes) -> None:
    """An S3 store's error; what is still sent is read, so that whoever sends it gets as far as reading the answer."""
    reason, code, message = _S3_ERRORS[status]
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
    reader, writer = link.near
    writer.write(f"{head}Connection: close\r\n\r\n{'' if request.startswith(b'HEAD ') else body}".encode())
    writer.write_eof()
    while await reader.read(_PIECE_BYTES):
        pass
    link.far[1].transport.abort()


def _reserve() -> socket.socket:
    """A port of our own, also while nobody listens at it."""
    return _bind(0)


def _bind(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(("127.0.0.1", port))
    return bound
