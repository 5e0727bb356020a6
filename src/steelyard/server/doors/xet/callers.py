"""Who calls the CAS: the routes by their many spellings, and the credential behind a token or a link.

A token proves only that we made it. Each request asks what the credential behind it may do now, so that tokens and
links end with the credential, the membership or the model.
"""

import re
from dataclasses import dataclass

from fastapi import Request
from sqlalchemy.orm import Session
from starlette.routing import Match
from starlette.types import Scope

from steelyard.server.core import models
from steelyard.server.core.access import Action, allow
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.models import Found
from steelyard.server.core.tickets import Purpose, Ticket
from steelyard.server.doors.calls import Call, TicketCallRoute, acting_by
from steelyard.server.doors.credentials import read_secret
from steelyard.server.doors.xet.errors import refusing_malformed
from steelyard.server.errors import Forbidden, Unauthenticated
from steelyard.server.names import ModelName
from steelyard.server.xet.hashes import Hash, from_text

_HASH = "[^/]+"
_ADDRESS = re.compile(r"(?P<base>/cas/[^/]+/[0-9]{1,18})/(?:(?P<version>v[12])/)?(?P<rest>.+)")
_SPELLINGS = (
    (re.compile(rf"xorbs?/default(?:-merkledb)?/({_HASH})"), r"xorbs/\1"),
    (re.compile(rf"shards?(?:/default(?:-merkledb)?/{_HASH})?"), r"shards"),
    (re.compile(rf"chunks?/default(?:-merkledb)?/({_HASH})"), r"chunks/\1"),
    (re.compile(rf"reconstructions?/({_HASH})"), r"reconstructions/\1"),
    (re.compile(rf"data/({_HASH}/[0-9]+-[0-9]+)"), r"data/\1"),
)


def canonical(path: str) -> str | None:
    """The one spelling of a CAS path that routes know, for any that hf_xet 0.1.4 to 1.8 uses; None for all else."""
    address = _ADDRESS.fullmatch(path)
    if address is None:
        return None
    for pattern, spelling in _SPELLINGS:
        if found := pattern.fullmatch(address["rest"]):
            return f"{address['base']}/{address['version'] or 'v1'}/{found.expand(spelling)}"
    return None


class CasRoute(TicketCallRoute):
    """A route of the CAS. What it does not know, method or path, is nowhere at all: clients go on after a 404 only."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match on the canonical spelling."""
        path = canonical(scope["path"])
        match, found = super().matches({**scope, "path": path}) if path else (Match.NONE, {})
        return (match, found) if match is Match.FULL else (Match.NONE, {})

    async def open_call(self, request: Request) -> Call:
        """Nobody yet. Raises `Unauthenticated` for a forged or expired token, before a body is read."""
        request.state.ticket = _read_token(request)
        return await super().open_call(request)


class DataRoute(CasRoute):
    """A route whose URL carries its own right, as a ticket in its query; clients send no header to it."""

    async def open_call(self, request: Request) -> Call:
        """Nobody yet. Raises `Forbidden` for a forged or expired ticket."""
        request.state.ticket = request.app.state.registry.tickets.check(request.query_params.get("ticket", ""))
        return await super(CasRoute, self).open_call(request)


def read_hash(text: str) -> Hash:
    """The hash in a path. Raises `BadRequest`."""
    with refusing_malformed():
        return from_text(text)


def _read_token(request: Request) -> Ticket:
    secret = read_secret(request.headers)
    if secret is None:
        raise Unauthenticated("Authentication failed: send `Authorization: Bearer <Xet token>`.")
    ticket: Ticket = request.app.state.registry.tickets.check(secret, refusal=Unauthenticated)
    return ticket


@dataclass(frozen=True, slots=True)
class Entered:
    """A request whose credential was asked again: who calls, for which model, and what he came with."""

    call: Call
    found: Found
    ticket: Ticket


def enter(session: Session, call: Call, request: Request, org: str, *purposes: Purpose) -> Entered:
    """Who calls, if he has a ticket for one of these purposes and may see its model still, and publish there, where
    he wants to write. Raises `Unauthenticated`, `Forbidden` or `NotFound`."""
    ticket: Ticket = request.state.ticket
    slug, _, name = ticket.subject.partition("/")
    if ticket.purpose not in purposes or slug != org:
        raise Forbidden("This token is for something else. Ask for another one.")
    call = acting_by(session, call, ticket, request)
    call.take(LimitedAction.TRANSFER)
    found = models.get_model(session, call.actor, slug, ModelName.parse(name))
    if ticket.purpose == "xet-write":
        allow(call.actor, Action.PUBLISH, found.org.id)
    return Entered(call, found, ticket)
