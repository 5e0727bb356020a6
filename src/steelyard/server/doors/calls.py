"""How a request reaches a handler, whatever the door: the caller is known before a body is read, and a body is read
within limits.

A handler gets a `Call`: the registry, the actor, and sessions to read or to write with. Each door has a `CallRoute` of
its own, which says whom it admits and how much it reads.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import Annotated, Any, ClassVar, ParamSpec, TypeVar
from urllib.parse import unquote

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.routing import Match
from starlette.types import Scope

from steelyard.server.context import Registry
from steelyard.server.core import tokens
from steelyard.server.core.access import Actor
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.tickets import Ticket
from steelyard.server.doors.credentials import read_secret
from steelyard.server.doors.middleware import notes_of
from steelyard.server.doors.receiving import impatient
from steelyard.server.doors.turns import at_the_database, at_the_store
from steelyard.server.errors import BadRequest, TooLarge, Unauthenticated, UnsupportedMediaType

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a door."""

    registry: Registry
    actor: Actor
    base_url: str

    @contextmanager
    def read(self, spends: LimitedAction = LimitedAction.READ) -> Iterator[Session]:
        """A session that reads; takes one from the caller's budget for this kind of thing."""
        self.take(spends)
        with self.registry.database.read() as session:
            yield session

    @contextmanager
    def write(self, spends: LimitedAction = LimitedAction.WRITE) -> Iterator[Session]:
        """One transaction, committed when the block ends: so before anything is answered."""
        self.take(spends)
        with self.registry.database.write() as session:
            yield session

    def take(self, action: LimitedAction) -> None:
        """Take one from the caller's budget for this kind of thing; raises `RateLimited`."""
        caller = self.actor.address or "?" if self.actor.is_anonymous else self.actor.principal
        self.registry.limiter.take(action, caller)

    async def at_the_store(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do what may have to wait for the store of bytes, when it is its turn. Raises `StorageTimeout`."""
        within_seconds = self.registry.settings.store_timeout_seconds
        return await at_the_store(partial(work, *args, **kwargs), within_seconds=within_seconds)

    def url(self, path: str) -> str:
        """An absolute link to a path of this server."""
        return (self.registry.settings.public_url or self.base_url) + path


async def _call_of(request: Request) -> Call:
    """A coroutine, since the framework runs plain functions in a thread: one more to wait for."""
    call = request.state.call
    assert isinstance(call, Call)
    return call


CallHere = Annotated[Call, Depends(_call_of)]


def waits_for_the_store(handler: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """A handler that is run when it is its turn at the store, and leaves the threads of others alone meanwhile."""

    @wraps(handler)
    async def handle_in_turn(*args: P.args, **kwargs: P.kwargs) -> T:
        call = kwargs["call"]
        assert isinstance(call, Call)
        return await call.at_the_store(handler, *args, **kwargs)

    return handle_in_turn


KIB, MIB = 2**10, 2**20
ANONYMOUS = Actor(principal="anonymous", name="anonymous", read_only=True)
MOST_KEYS = 2_000  # of a body: each unknown one would become a fault of its own
MOST_ITEMS = 500_000  # in a body: of a megabyte of `{},` would be made thirty; a version has 100,000 files at most


class CallRoute(APIRoute):
    """A route whose caller must show a valid token."""

    admits_anonymous: ClassVar[bool] = False

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match on the raw path, and decode each parameter after, so that `%2F` stays inside its segment."""
        match, found = super().matches(scope)
        # What is no UTF-8 becomes lone surrogates, which no name may have: not somebody else's U+FFFD.
        raw = found.get("path_params", {})
        return match, {**found, "path_params": {k: unquote(v, errors="surrogateescape") for k, v in raw.items()}}

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler, after the caller is known."""
        handle = super().get_route_handler()

        async def handle_call(request: Request) -> Response:
            notes_of(request.scope).route = self.path_format
            if (answer := self.answer_now(request)) is not None:
                return answer
            request.state.call = await self.open_call(request)
            bounded = JsonRequest(request, self.most_body_bytes(request))
            if self.body_field is not None:
                check_content_type(request)
                await bounded.read()  # before the framework does, which would answer any error of ours as its own 400
            return await handle(bounded)

        return handle_call

    def most_body_bytes(self, request: Request) -> int:
        """How large a body this route reads."""
        configured: int = request.app.state.registry.settings.max_body_bytes
        return configured

    def answer_now(self, _request: Request) -> Response | None:
        """The answer, where it can be had on the event loop, without waiting. None where the handler has to
        be asked: errors are its to raise, too."""
        return None

    async def open_call(self, request: Request) -> Call:
        """Who is calling. Raises `Unauthenticated`."""
        within_seconds: float = request.app.state.registry.settings.database_timeout_seconds
        authenticate = partial(_authenticate, request, admits_anonymous=self.admits_anonymous)
        return await at_the_database(authenticate, within_seconds=within_seconds)


class TicketCallRoute(CallRoute):
    """A route whose URL carries its own right; credentials are not looked at."""

    async def open_call(self, request: Request) -> Call:
        """Nobody yet: the handler finds out from the ticket. A forged one is refused before a body is read."""
        ticket = request.query_params.get("ticket")
        if ticket is not None:
            request.app.state.registry.tickets.check(ticket)
        return call_by(request, Actor(principal="ticket", name="ticket", sees_public=False))


def acting_as(call: Call, actor: Actor, request: Request) -> Call:
    """The same call, once its ticket has told whose it is."""
    notes = notes_of(request.scope)
    notes.actor = actor.name
    return replace(call, actor=replace(actor, address=notes.origin.address, request_id=notes.request_id))


def acting_by(session: Session, call: Call, ticket: Ticket, request: Request) -> Call:
    """The same call, by whoever a ticket was made for, as he may act now: what a revoked token gave dies with it.
    Raises `Unauthenticated`."""
    if ticket.token_uuid is not None:
        return acting_as(call, tokens.actor_of_token(session, ticket.token_uuid), request)
    if not call.registry.settings.anonymous_public:
        raise Unauthenticated("Authentication failed: this server no longer serves callers without a token.")
    return acting_as(call, ANONYMOUS, request)


def _authenticate(request: Request, *, admits_anonymous: bool) -> Call:
    return call_with(request, read_secret(request.headers), admits_anonymous=admits_anonymous)


def call_with(request: Request, secret: str | None, *, admits_anonymous: bool) -> Call:
    """The call that this request is, by whoever has this token. Raises `Unauthenticated`; failures are counted."""
    registry: Registry = request.app.state.registry
    if secret is None:
        if admits_anonymous and registry.settings.anonymous_public:
            return call_by(request, ANONYMOUS)
        raise Unauthenticated("Authentication failed: send `Authorization: Bearer <token>`.")
    try:
        with registry.database.read() as session:
            actor = tokens.authenticate(session, secret)
    except Unauthenticated:
        # Only failures are counted, and a good token is never refused for another's: many may share an address.
        registry.limiter.take(LimitedAction.SIGN_IN_FAILURES, notes_of(request.scope).origin.address or "?")
        raise
    registry.usage.note_token(actor.token_uuid or "")
    return call_by(request, actor)


def call_by(request: Request, actor: Actor) -> Call:
    """The call that this request is, now that it is known whose."""
    notes = notes_of(request.scope)
    notes.actor = actor.name
    known = replace(actor, address=notes.origin.address, request_id=notes.request_id)
    return Call(request.app.state.registry, known, notes.origin.base_url)


class JsonRequest(Request):
    """A request whose body is JSON of bounded size, read by a parser that survives hostile input."""

    def __init__(self, request: Request, most_bytes: int) -> None:
        super().__init__(request.scope, request.receive)
        self._most_bytes = most_bytes

    async def body(self) -> bytes:
        """The whole body; raises `TooLarge`."""
        if not hasattr(self, "_body"):
            self._body = b"".join([piece async for piece in self._bounded()])
        return self._body

    async def _bounded(self) -> AsyncIterator[bytes]:
        limit, size = self._most_bytes, 0
        announced = self.headers.get("content-length", "0")
        if announced.isdecimal() and int(announced[:20]) > limit:
            raise _too_large(limit)
        async for piece in impatient(self.stream()):
            size += len(piece)
            if size > limit:
                raise _too_large(limit)
            yield piece

    async def read(self) -> None:
        """Read and parse the whole; raises `TooLarge` or `BadRequest`."""
        if body := await self.body():
            self._json = await run_in_threadpool(parse_json, body)

    async def json(self) -> Any:
        """The body as JSON (RFC 8259, so neither NaN nor Infinity)."""
        return self._json


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than this operation reads ({limit} bytes).")


def parse_json(body: bytes) -> Any:
    """JSON from outside, nested no deeper than the parser's bound; raises `BadRequest`.

    A key that is there twice is refused, too: which of its values was meant, nobody can say (RFC 8259 section 4).
    """
    if sum(map(body.count, (b"{", b"[", b","))) > MOST_ITEMS:
        raise BadRequest(f"The body has more than {MOST_ITEMS} items in it; no operation reads so many.")
    try:
        parsed = from_json(body, allow_inf_nan=False)
        json.loads(body.decode(), object_pairs_hook=_refuse_repeated_keys)
    except ValueError as error:
        raise BadRequest(f"The body is not valid JSON: {error}.") from error
    if isinstance(parsed, dict) and len(parsed) > MOST_KEYS:
        raise BadRequest(f"The body has {len(parsed)} keys; no operation reads more than {MOST_KEYS}.")
    return parsed


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> None:
    """Called for each object; keeps nothing, since a faster parser has read the body before."""
    if len({key for key, _ in pairs}) < len(pairs):
        [(repeated, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {repeated[:100]!r} is there more than once")


def check_content_type(request: Request) -> None:
    """Raise `UnsupportedMediaType` for a body that is announced as something else than JSON."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise UnsupportedMediaType(
            f"This operation reads JSON, not {kind[:100]}. Send `Content-Type: application/json`."
        )
