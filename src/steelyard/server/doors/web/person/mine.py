"""Whoever is signed in: who he is, his tokens, and the browsers that he is signed in with."""

from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Response
from sqlalchemy.orm import Session

from steelyard.server.core import orgs, sessions, tokens
from steelyard.server.core.limits import LimitedAction
from steelyard.server.db.tables import BrowserSession, User
from steelyard.server.doors.web import fields
from steelyard.server.doors.web.calls import CallHere, WebCall, WebRoute
from steelyard.server.doors.web.paging import PageNumber, page_of
from steelyard.server.doors.web.person.openid import identities_of
from steelyard.server.doors.web.person.token_pages import TokenRow, show_secret, token_rows, wish_of
from steelyard.server.errors import Unauthenticated
from steelyard.server.names import OrgSlug

router = APIRouter(route_class=WebRoute)
ACCOUNTS = LimitedAction.ACCOUNTS
_HERE = "/-/me"
_MOST_SESSIONS = 100


@dataclass(frozen=True, slots=True)
class Standing:
    """Who somebody is. `roles` are (organisation, role); `only_org` is the one that his token is narrowed to."""

    email: str | None
    is_admin: bool
    reads_only: bool
    only_org: str | None
    ends_at: datetime | None
    roles: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A browser that somebody is signed in with."""

    uuid: str
    agent: str
    began_at: datetime
    used_at: datetime
    ends_at: datetime
    is_here: bool


@router.get("/-/me")
def show_me(call: CallHere, page: PageNumber = 1) -> Response:
    """Who is signed in, and by what he gets in."""
    signed_in = _get_signed_in(call)
    with call.read() as session:
        standing = _standing(session, call)
        own = token_rows(call, tokens.list_own_tokens(session, call.actor))
        browsers = sessions.list_own(session, call.actor)
        identities = identities_of(call, session)
    return call.page(
        "me.html",
        title="Tokens and sessions",
        json_twin="/api/v1/user/api-keys",
        standing=standing,
        tokens=page_of(own, page),
        identities=identities,
        may_revoke=_revocable(call, own),
        viewer_reads_only=call.actor.read_only,
        sessions=[_session_row(row, signed_in) for row in browsers[:_MOST_SESSIONS]],
    )


def _get_signed_in(call: WebCall) -> str:
    """Which session this is. Raises `Unauthenticated`, where public models are open to everybody, for nobody."""
    if call.signed_in is None:
        raise Unauthenticated("Sign in to see this.")
    return call.signed_in.session_uuid


def _standing(session: Session, call: WebCall) -> Standing:
    user, own = session.get_one(User, call.actor.user_id), orgs.list_own_orgs(session, call.actor)
    narrowed = call.actor.narrowed_to_org_id
    return Standing(
        email=user.email_address,
        is_admin=call.actor.is_admin,
        reads_only=call.actor.read_only,
        only_org=orgs.get_org_by_id(session, narrowed).slug if narrowed is not None else None,
        ends_at=call.actor.expires_at,
        roles=[(org.slug, str(call.actor.role_in(org.id))) for org in own],
    )


def _revocable(call: WebCall, own: list[TokenRow]) -> list[str]:
    """A token that only reads may revoke itself and nothing else."""
    return [row.uuid for row in own if row.is_here or not call.actor.read_only]


def _session_row(row: BrowserSession, signed_in: str) -> SessionRow:
    return SessionRow(row.uuid, row.agent, row.created_at, row.used_at, row.expires_at, row.uuid == signed_in)


@router.post("/-/me/tokens")
def create_token(call: CallHere) -> Response:
    """Make a token that may do no more than this session, and show its secret this once."""
    _get_signed_in(call)
    with call.write(ACCOUNTS) as session:
        slug = call.text("org")
        org = orgs.get_org(session, call.actor, fields.parsed("org", OrgSlug.parse_any, slug)) if slug else None
        made = tokens.create_own_token(session, call.actor, wish_of(call, org))
    return show_secret(call, made, whose=call.actor.name, back=_HERE)


@router.post("/-/me/tokens/revoke")
def revoke_token(call: CallHere) -> Response:
    """Revoke one of one's own tokens; that of this session ends the session with it."""
    _get_signed_in(call)
    with call.write(ACCOUNTS) as session:
        tokens.revoke_own_token(session, call.actor, fields.uuid(call, "token"))
    return call.go(_HERE, notice="The token is revoked, and whoever signed in with it is out.")


@router.post("/-/me/sessions/end")
def end_session(call: CallHere) -> Response:
    """Sign out of one of one's browsers."""
    _get_signed_in(call)
    with call.write(ACCOUNTS) as session:
        sessions.end(session, call.actor, fields.uuid(call, "session"))
    return call.go(_HERE, notice="You are signed out there.")
