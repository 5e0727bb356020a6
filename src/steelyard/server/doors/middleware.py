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
from steelyard.server.watching import Answered
from steelyard.server.watching.monitor import Monitor

log = logging.getLogger("steelyard.access")
_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}", re.ASCII)
_DRAIN_BYTES = 1024 * 1024  # of a body that nobody wants, so much is read for the connection's sake
_DRAIN_SECONDS = 1.0
_LEFT = 499  # the status of a caller who left before his answer

Refusal = Callable[[Scope, Headers], ASGIApp | None]
LastResort = Callable[[str], ASGIApp]
TemplateOf = Callable[[Scope], str]


@dataclass(slots=True)
class RequestNotes:
    """What will be told of one request; doors add who called, what was asked for, and what is fetched elsewhere."""

    request_id: str
    origin: Origin
    actor: str | None = None
    route: str | None = None
    trace_id: str | None = None
    status: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    redirected_bytes: int = 0
    began: float = field(default_factory=time.perf_counter)


class RequestMiddleware:
    """Gives each request an id and an address, routes on its raw path, logs a line, answers what nobody caught."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: Settings,
        monitor: Monitor,
        template_of: TemplateOf,
        refuse: Refusal,
        cut_short: ASGIApp,
        last_resort: LastResort,
    ) -> None:
        self._app, self._refuse, self._cut_short, self._last_resort = app, refuse, cut_short, last_resort
        self._monitor, self._template_of = monitor, template_of
        self._trusted = settings.trusted_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        notes = RequestNotes(_request_id(headers), read_origin(scope, headers, self._trusted))
        scope["path"] = _raw_path(scope)
        scope.setdefault("state", {})["notes"] = notes
        span = self._monitor.request_began(scope["method"], scope["scheme"], headers.raw)
        notes.trace_id = span.trace_id if span else None
        body = _Body(receive, headers, notes)
        noting = _noting(send, notes, body)
        receive = body.receive
        try:
            await (self._refuse(scope, headers) or self._app)(scope, receive, noting)
        except ClientDisconnect:
            if not notes.status:  # who only stopped sending in the middle may listen still
                await self._cut_short(scope, receive, noting)
                notes.status = _LEFT
        except Exception:
            log.exception("request %s failed", notes.request_id)
            if notes.status:
                raise  # the answer has begun: all that is left is to cut the connection
            await self._last_resort(notes.request_id)(scope, receive, noting)
        finally:
            answered = _answered(scope, notes, self._template_of(scope))
            self._monitor.request_ended(answered, span)
            _log(answered, notes)


class _Body:
    """What a request brings. An answer that comes before its end leaves the connection unfit for another request."""

    def __init__(self, receive: Receive, headers: Headers, notes: RequestNotes) -> None:
        self._receive, self._notes = receive, notes
        self._ended = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
        self._held_back = "expect" in headers  # reading would ask the caller to send it

    async def receive(self) -> Message:
        self._held_back = False
        message = await self._receive()
        self._notes.received_bytes += len(message.get("body", b""))
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
    promised_bytes = 0

    async def noting(message: Message) -> None:
        nonlocal promised_bytes
        if message["type"] == "http.response.start":
            notes.status = message["status"]
            headers = MutableHeaders(scope=message)
            promised_bytes = int(headers.get("content-length", 0))
            if not await body.is_over():
                headers["Connection"] = "close"  # the server does so; a client that is not told sends the next in vain
            headers["X-Request-Id"] = notes.request_id
            headers.setdefault("Cache-Control", "no-store")  # what may be kept says so
            headers.setdefault("Vary", "Authorization, X-API-Key")
        elif message["type"] == "http.response.body":
            notes.sent_bytes += len(message.get("body", b""))
        elif message["type"] == "http.response.pathsend":
            notes.sent_bytes += promised_bytes  # by the operating system, after this
        await send(message)

    return noting


def _answered(scope: Scope, notes: RequestNotes, template: str) -> Answered:
    """What became of it. Never a query string: it may carry a ticket. Nor a byte that a terminal would obey."""
    return Answered(
        method=scope["method"],
        route=template,
        path=quote(scope["path"], safe="/%:@!$&'()*+,;=~"),
        status=notes.status or _LEFT,
        seconds=time.perf_counter() - notes.began,
        received_bytes=notes.received_bytes,
        sent_bytes=notes.sent_bytes,
        redirected_bytes=notes.redirected_bytes,
        request_id=notes.request_id,
        address=notes.origin.address,
    )


def _log(answered: Answered, notes: RequestNotes) -> None:
    """One line a request."""
    fields: dict[str, Any] = {
        "method": answered.method,
        "path": answered.path,
        "status": answered.status,
        "duration_ms": round(answered.seconds * 1000, 1),
        "sent_bytes": answered.sent_bytes,
        "address": answered.address,
        "actor": notes.actor,
        "route": notes.route,
        "request_id": answered.request_id,
    }
    if notes.trace_id:
        fields["trace_id"] = notes.trace_id
    log.info("%s %s %d", answered.method, answered.path, answered.status, extra={"fields": fields})
