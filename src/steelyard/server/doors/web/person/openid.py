"""Signing in by an OpenID provider: there and back again, and whom an identity belongs to.

The browser keeps one secret for ten minutes, of which all parts of the flow are made (`server/openid/flow.py`). It goes
to the provider by a link and not by a form, which the pages' policy would keep here.
"""

import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, NoReturn

from fastapi import APIRouter, Response
from sqlalchemy.orm import Session

from steelyard.server.core import identities, sessions
from steelyard.server.core.identities import Introduction
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.tickets import Ticket
from steelyard.server.doors.turns import at_the_provider
from steelyard.server.doors.web.calls import (
    BACK_FROM_PROVIDER,
    CallHere,
    OpenRoute,
    WebCall,
    WebRoute,
    find_cookie,
    keep_signed_in,
    set_cookie,
)
from steelyard.server.doors.web.pages import HEADERS, local_path, url_path
from steelyard.server.errors import BadRequest, Forbidden, NotFound, ProviderFailed, Unauthenticated
from steelyard.server.openid.flow import Flow, plain_word

if TYPE_CHECKING:
    from steelyard.server.openid.provider import Provider

router = APIRouter(route_class=OpenRoute)
own = APIRouter(route_class=WebRoute)
ACCOUNTS = LimitedAction.ACCOUNTS
_FLOW_SECONDS = 600
_LONGEST_PATH = 1000
_WAIT_SECONDS = 10.0
_ME = "/-/me"


@dataclass(frozen=True, slots=True)
class ProviderLink:
    """A way in, as the page of sign-in shows it."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class IdentityRow:
    """An identity of somebody's own."""

    uuid: str
    issuer: str
    subject: str
    linked_at: datetime


@dataclass(frozen=True, slots=True)
class Identities:
    """What `_identities.html` shows. `provider` is by whom another can be linked, if there is one; `may_link` and
    `may_unlink` are what this session may do."""

    rows: list[IdentityRow]
    provider: ProviderLink | None
    may_link: bool
    may_unlink: bool


def list_providers(call: WebCall, following: str) -> list[ProviderLink]:
    """The ways in besides a token, leading on to a path of ours."""
    if call.registry.provider is None:
        return []
    path = local_path(following)
    return [ProviderLink(call.registry.settings.oidc_name, url_path("-", "oidc", "start", next=path))]


def identities_of(call: WebCall, session: Session) -> Identities:
    """The caller's own."""
    rows = [
        IdentityRow(row.uuid, row.issuer, row.subject, row.created_at)
        for row in identities.list_own_identities(session, call.actor)
    ]
    link = ProviderLink(call.registry.settings.oidc_name, url_path("-", "oidc", "start", link="true"))
    is_whole = not call.actor.read_only and call.actor.narrowed_to_org_id is None
    is_lasting = is_whole and call.actor.expires_at is None
    return Identities(
        rows,
        provider=link if call.registry.provider is not None else None,
        may_link=is_lasting,
        may_unlink=is_lasting or (is_whole and len(rows) > 1),
    )


def waits_for_the_provider(handler: Callable[..., Response]) -> Callable[..., Coroutine[Any, Any, Response]]:
    """A handler that may have to wait for the provider: it does so among few, and holds up nobody else."""

    @wraps(handler)
    async def handle_in_turn(**kwargs: Any) -> Response:
        return await at_the_provider(partial(handler, **kwargs), within_seconds=_WAIT_SECONDS)

    return handle_in_turn


# --- there


@router.get("/-/oidc/start")
@waits_for_the_provider
def start_sign_in(call: CallHere, next: str = "/", link: bool = False) -> Response:  # noqa: A002 - as of `/-/login`
    """Send the browser to the provider; with `link`, to link who it is there to who is signed in here."""
    provider, whose = get_provider(call), None
    if link:
        whose = _get_session(call)
        identities.allow_lasting(call.actor)
    flow = Flow(secrets.token_urlsafe(32), call.url(BACK_FROM_PROVIDER))
    url = provider.authorization_url(flow)
    following = local_path(next) if len(next) <= _LONGEST_PATH else "/"
    ticket = Ticket("oidc", flow.root, whose, int(time.time()) + _FLOW_SECONDS, span=following)
    response = Response(None, 303, {**HEADERS, "Cache-Control": "no-store", "Location": url})
    set_cookie(call, response, "oidc", call.registry.tickets.sign(ticket), _FLOW_SECONDS)
    return response


def get_provider(call: WebCall) -> "Provider":
    """The provider of this server. Raises `NotFound`."""
    if call.registry.provider is None:
        raise NotFound("This server has no other way to sign in than by a token.")
    return call.registry.provider


def _get_session(call: WebCall) -> str:
    if call.signed_in is None:
        raise Unauthenticated("Sign in to see this.")
    return call.signed_in.session_uuid


# --- back


@router.get(BACK_FROM_PROVIDER)
@waits_for_the_provider
def finish_sign_in(
    call: CallHere, state: str = "", code: str = "", error: str | None = None, iss: str | None = None
) -> Response:
    """Take the browser back from the provider, with a code or with an excuse."""
    provider, ticket = get_provider(call), _ticket_of_flow(call)
    flow = Flow(ticket.subject, call.url(BACK_FROM_PROVIDER))
    if not flow.is_of(state):
        raise _begun_elsewhere()
    call.take(ACCOUNTS)
    provider.check_sender(iss)
    if error is not None or not code:
        _refuse(call, error)
    claims = provider.redeem(flow, code)
    shown = Introduction(claims.issuer, claims.subject, claims.username, claims.email_address, claims.is_email_verified)
    return _sign_in(call, shown, ticket.span or "/") if ticket.token_uuid is None else _ask(call, shown, ticket)


def _ticket_of_flow(call: WebCall) -> Ticket:
    ticket = _find_ticket(call, find_cookie(call, "oidc") or "")
    if ticket is None or ticket.purpose != "oidc":
        raise _begun_elsewhere()
    return ticket


def _find_ticket(call: WebCall, text: str) -> Ticket | None:
    try:
        return call.registry.tickets.check(text)
    except Forbidden:  # forged, or past its end: which it was, is nobody's to know
        return None


def _begun_elsewhere() -> BadRequest:
    return BadRequest(
        "This sign-in was begun in another browser, or more than ten minutes ago, or has ended already. Begin again."
    )


def _refuse(call: WebCall, error: str | None) -> NoReturn:
    """What the provider says instead of who somebody is (RFC 6749 section 4.1.2.1)."""
    name = call.registry.settings.oidc_name
    if error == "access_denied":
        raise Forbidden(f"You were not let in by {name}, or changed your mind there.")
    raise ProviderFailed(f"{name} could not sign you in: {plain_word(error)}.")


def _sign_in(call: WebCall, shown: Introduction, following: str) -> Response:
    settings, agent = call.registry.settings, call.request.headers.get("user-agent", "")
    with call.registry.database.write() as session:
        identity = identities.get_or_create_identity(
            session, call.actor, shown, creates_users=settings.oidc_create_users
        )
        begun = sessions.begin_by_identity(
            session,
            call.actor,
            identity,
            name=settings.oidc_name,
            agent=agent,
            lasts_seconds=settings.session_ttl_seconds,
        )
        if call.signed_in:
            sessions.end(session, call.actor, call.signed_in.session_uuid)
    response = call.go(following)
    keep_signed_in(call, response, begun.new_secret or "")
    return response


# --- whose an identity is


def _ask(call: WebCall, shown: Introduction, ticket: Ticket) -> Response:
    """Whether this is who he meant. Somebody may have been lured here while signed in there as another."""
    if _get_session(call) != ticket.token_uuid:
        raise _begun_elsewhere()
    ends_at = int(time.time()) + _FLOW_SECONDS
    proof = Ticket("identity", shown.subject, ticket.token_uuid, ends_at, span=shown.issuer)
    return call.page(
        "link_identity.html",
        title="Is this you?",
        shown=shown,
        provider=call.registry.settings.oidc_name,
        proof=call.registry.tickets.sign(proof),
    )


@own.post("/-/oidc/link")
def link_identity(call: CallHere) -> Response:
    """Link an identity that the provider has just shown to whoever is signed in."""
    proof = _find_ticket(call, call.text("proof"))
    if proof is None or (proof.purpose, proof.token_uuid) != ("identity", _get_session(call)):
        raise _begun_elsewhere()
    with call.write(ACCOUNTS) as session:
        identities.link(session, call.actor, Introduction(proof.span or "", proof.subject))
    return call.go(_ME, notice=f"From now on you can sign in with {call.registry.settings.oidc_name}.")


@own.post("/-/oidc/unlink")
def unlink_identity(call: CallHere) -> Response:
    """Forget an identity of one's own; whoever signed in by it is out."""
    _get_session(call)
    with call.write(ACCOUNTS) as session:
        identities.delete_own_identity(session, call.actor, call.text("identity"))
    return call.go(_ME, notice="The identity is unlinked, and whoever signed in by it is out.")
