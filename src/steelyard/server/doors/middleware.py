"""What happens around every request of every door: its id, its path, its log line, and the last resort.

Plain ASGI, so that bytes pass through untouched.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from steelyard.server.doors.proxies import Origin, read_origin
from steelyard.server.settings import Settings

log = logging.getLogger("steelyard.access")
_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}", re.ASCII)
_DRAIN_BYTES = 1024 * 1024  # of a body that nobody wants, so much is read for the connection's sake
_DRAIN_SECONDS = 1.0

Refusal = Callable[[Scope, Headers], ASGIApp | None]
LastResort = Callable[[str], ASGIApp]


@dataclass(slots=True)
class RequestNotes:
    """What one request's log line will say; doors add who called and what was asked for."""

    request_id: str
    origin: Origin
    actor: str | None = None
    route: str | None = None
    status: int = 0
    sent_bytes: int = 0
    began: float = field(default_factory=time.perf_counter)


class RequestMiddleware:
    """Gives each request an id and an address, routes on its raw path, logs a line, answers what nobody caught."""

    def __init__(
        self, app: ASGIApp, *, settings: Settings, refuse: Refusal, cut_short: ASGIApp, last_resort: LastResort
    ) -> None:
        self._app, self._refuse, self._cut_short, self._last_resort = app, refuse, cut_short, last_resort
        self._trusted = settings.trusted_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        notes = RequestNotes(_request_id(headers), read_origin(scope, headers, self._trusted))
        scope["path"] = _raw_path(scope)
        scope.setdefault("state", {})["notes"] = notes
        body = _Body(receive, headers)
        noting = _noting(send, notes, body)
        receive = body.receive
        try:
            await (self._refuse(scope, headers) or self._app)(scope, receive, noting)
        except ClientDisconnect:
            if not notes.status:  # who only stopped sending in the middle may listen still
                await self._cut_short(scope, receive, noting)
                notes.status = 499
        except Exception:
            log.exception("request %s failed", notes.request_id)
            if notes.status:
                raise  # the answer has begun: all that is left is to cut the connection
            await self._last_resort(notes.request_id)(scope, receive, noting)
        finally:
            _log(scope, notes)


class _Body:
    """What a request brings. An answer that comes before its end leaves the connection unfit for another request."""

    def __init__(self, receive: Receive, headers: Headers) -> None:
        self._receive = receive
        self._ended = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
        self._held_back = "expect" in headers  # reading would ask the caller to send it

    async def receive(self) -> Message:
        self._held_back = False
        message = await self._receive()
        self._ended = self._ended or not message.get("more_body", False)
        return message

    async def is_over(self) -> bool:
        """Whether all of it was read, if need be by reading the little that is left."""
        left_bytes = 0 if self._held_back else _DRAIN_BYTES
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while not self._ended and left_bytes > 0:
                    left_bytes -= len((await self.receive()).get("body", b""))
        except TimeoutError:
            return False
        return self._ended


def notes_of(scope: Scope) -> RequestNotes:
    """The notes of the request."""
    notes = scope["state"]["notes"]
    assert isinstance(notes, RequestNotes)
    return notes


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _SANE_ID.fullmatch(given) else uuid4().hex


def _raw_path(scope: Scope) -> str:
    """The path as it was sent: segments are split first and decoded after, so that `%2F` stays inside its segment."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.partition(b"?")[0].decode("latin-1")


def _noting(send: Send, notes: RequestNotes, body: _Body) -> Send:
    async def noting(message: Message) -> None:
        if message["type"] == "http.response.start":
            notes.status = message["status"]
            headers = MutableHeaders(scope=message)
            if not await body.is_over():
                headers["Connection"] = "close"  # the server does so; a client that is not told sends the next in vain
            headers["X-Request-Id"] = notes.request_id
            headers.setdefault("Cache-Control", "no-store")  # what may be kept says so
            headers.setdefault("Vary", "Authorization, X-API-Key")
        elif message["type"] == "http.response.body":
            notes.sent_bytes += len(message.get("body", b""))
        await send(message)

    return noting


def _log(scope: Scope, notes: RequestNotes) -> None:
    """One line a request. Never a query string: it may carry a ticket."""
    fields: dict[str, Any] = {
        "method": scope["method"],
        "path": quote(scope["path"], safe="/%:@!$&'()*+,;=~"),  # no byte that a terminal would obey
        "status": notes.status,
        "duration_ms": round((time.perf_counter() - notes.began) * 1000, 1),
        "sent_bytes": notes.sent_bytes,
        "address": notes.origin.address,
        "actor": notes.actor,
        "route": notes.route,
        "request_id": notes.request_id,
    }
    log.info("%s %s %d", fields["method"], fields["path"], notes.status, extra={"fields": fields})
