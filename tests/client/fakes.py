"""Servers that a good registry never is, and a wire that can be watched, slowed down and cut."""

import hashlib
import json
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit


@dataclass
class Reply:
    """What to answer: `body` as it is, with its own length as `Content-Length` unless `headers` say otherwise."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None  # break the connection after so many bytes of the body


@dataclass
class Seen:
    """A request that arrived."""

    method: str
    path: str
    headers: Message
    body: bytes


Answering = Callable[[Seen], Reply]


def json_reply(body: object, status: int = 200, **headers: str) -> Reply:
    """An answer in JSON."""
    return Reply(status, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})


def error_reply(status: int, type_: str, detail: str, **headers: str) -> Reply:
    """An answer with the registry's error body."""
    return json_reply({"code": status, "detail": detail, "type": type_}, status, **headers)


class FakeRegistry:
    """An HTTP server on loopback that answers as the test says, path by path, and remembers what it was asked."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self._routes: dict[tuple[str, str], Answering] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                seen = Seen(self.command, urlsplit(self.path).path, self.headers, self.rfile.read(length))
                outer.seen.append(seen)
                outer._send(self, outer._answer(seen))

            def log_message(self, *args: object) -> None:
                pass

        for method in ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"):
            setattr(Handler, f"do_{method}", Handler.handle_any)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def on(self, method: str, path: str, answer: Reply | Answering) -> None:
        """Answer this way from now on."""
        self._routes[method, path] = answer if callable(answer) else lambda _: answer

    def in_turn(self, method: str, path: str, *replies: Reply) -> None:
        """Answer with these one after the other, then always with the last."""
        left = list(replies)
        self.on(method, path, lambda _: left.pop(0) if len(left) > 1 else left[0])

    def asked(self, method: str, path: str) -> list[Seen]:
        """The requests of this kind that came."""
        return [each for each in self.seen if (each.method, each.path) == (method, path)]

    def offer(self, name: str, files: Mapping[str, bytes], /, **changes: Any) -> str:
        """Serve `name` with these files, as a good registry would; `changes` go into the Detail. Answers its route."""
        org, bare = name.split("/")
        route = f"/api/v1/org/{org}/models/{bare}"
        detail = {
            "id": "1", "name": name, "version": "1.0.0", "created_at": "2026-01-01T00:00:00Z",
            "artifacts": {path: oid_of(data) for path, data in files.items()},
            "sizes": {path: len(data) for path, data in files.items()},
        }  # fmt: skip
        self.on("GET", route, json_reply({**detail, **changes}))
        for path, data in files.items():
            self.on("GET", f"{route}/1.0.0/files/{path}", serve_bytes(data))
        return route

    def _answer(self, seen: Seen) -> Reply:
        route = self._routes.get((seen.method, seen.path))
        return route(seen) if route else error_reply(404, "not_found_error", "no such thing")

    def _send(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):
            handler.send_response(reply.status)
            for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                if value:
                    handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(reply.body if reply.cut_after is None else reply.body[: reply.cut_after])
            handler.wfile.flush()
        if reply.cut_after is not None or "" in reply.headers.values():
            handler.close_connection = True
            with suppress(OSError):
                handler.connection.shutdown(socket.SHUT_RDWR)


def oid_of(data: bytes) -> str:
    """`sha256:<hex>` of some bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def serve_bytes(data: bytes, *, cut_after: int | None = None) -> Answering:
    """Serve bytes with ranges; `cut_after` breaks every answer off after so many."""

    def answer(seen: Seen) -> Reply:
        asked = seen.headers.get("Range")
        if asked is None:
            return Reply(200, data, cut_after=cut_after)
        first, last = (int(text) for text in asked.removeprefix("bytes=").split("-"))
        headers = {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
        return Reply(206, data[first : last + 1], headers, cut_after)

    return answer


class Wire:
    """A TCP wire to a real server that counts what goes each way and can hold it back after so many bytes."""

    def __init__(self, port: int) -> None:
        self.up_bytes = self.down_bytes = 0
        self.hold_up_after: int | None = None
        self.hold_down_after: int | None = None
        self._target = port
        self._cuts = 0  # connections made before the last cut are dead
        self._changed = threading.Condition()
        self._sockets: set[socket.socket] = set()
        self._pumps: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def wait_until_held(self, timeout_seconds: float = 20.0) -> None:
        """Wait until as much has gone over as may."""
        with self._changed:
            assert self._changed.wait_for(self._is_held, timeout_seconds), (self.up_bytes, self.down_bytes)

    def release(self) -> None:
        """Let everything pass."""
        with self._changed:
            self.hold_up_after = self.hold_down_after = None
            self._changed.notify_all()

    def cut(self) -> None:
        """Break all connections, forget what was in them, let new ones pass, and count from zero."""
        with self._changed:
            self._cuts += 1
            for each in self._sockets:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            self._changed.notify_all()
        for pump in self._pumps:
            pump.join(5)
        with self._changed:
            self.hold_up_after = self.hold_down_after = None
            self.up_bytes = self.down_bytes = 0

    def close(self) -> None:
        """Take it away."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        self._listener.close()
        self._accepting.join(5)
        self.cut()

    def _is_held(self) -> bool:
        up = self.hold_up_after is not None and self.up_bytes >= self.hold_up_after
        down = self.hold_down_after is not None and self.down_bytes >= self.hold_down_after
        return up or down

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._target))
                except OSError:  # nobody there now
                    near.close()
                    continue
                self._join(near, far)

    def _join(self, near: socket.socket, far: socket.socket) -> None:
        with self._changed:
            self._sockets |= {near, far}
            for source, sink, way in ((near, far, "up"), (far, near, "down")):
                pump = threading.Thread(target=self._pump, args=(source, sink, way, self._cuts), daemon=True)
                self._pumps.append(pump)
                pump.start()

    def _pump(self, source: socket.socket, sink: socket.socket, way: str, cuts: int) -> None:
        with suppress(OSError):
            while (data := source.recv(64 << 10)) and self._may_pass(len(data), way, cuts):
                sink.sendall(data)
        with self._changed:
            for end in {source, sink} & self._sockets:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            self._sockets.discard(source)
        source.close()

    def _may_pass(self, size_bytes: int, way: str, cuts: int) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: cuts != self._cuts or not self._is_held())
            if cuts != self._cuts:
                return False
            if way == "up":
                self.up_bytes += size_bytes
            else:
                self.down_bytes += size_bytes
            self._changed.notify_all()
            return True
