"""Servers that a good registry never is."""

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
