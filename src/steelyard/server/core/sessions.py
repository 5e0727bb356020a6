"""Sessions of browsers: somebody shows a token once, and is known by a cookie until he signs out.

The secret in the cookie is not the token's and opens nothing but the pages. It changes every hour. The one before is
good until its browser has come with the new one, since answers get lost, and a minute longer, since requests overlap.
Whoever comes with it later has a copy, or was robbed by one who has: the session ends.
"""

import secrets
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import ColumnElement, case, delete, false, or_, select, update
from sqlalchemy.orm import Session

from steelyard.server.core import tokens
from steelyard.server.core.access import Actor, allow_writing
from steelyard.server.core.audit import record
from steelyard.server.core.tokens import digest
from steelyard.server.db.tables import BrowserSession, Identity, Token, User, utc_now
from steelyard.server.errors import Forbidden, NotFound, Unauthenticated

ROTATED_SECONDS = 3600
_UNDER_WAY_SECONDS = 60
_USED_AGAIN_SECONDS = 300
_LONGEST_AGENT = 200
MOST_SESSIONS = 100  # of one person: all are in one list, and one write ends them all


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who a cookie's secret belongs to. `new_secret` is the one to go on with, where it has changed."""

    actor: Actor
    session_uuid: str
    new_secret: str | None = None


def begin(session: Session, caller: Actor, secret: str, *, agent: str, lasts_seconds: int) -> SignedIn | None:
    """Sign in with a token's secret; None where there is no such token. Raises `Forbidden` for a service account's."""
    try:
        actor = tokens.authenticate(session, secret)
    except Unauthenticated:
        return None
    if actor.user_id is None:
        raise Forbidden("Service accounts do not sign in here: their tokens are for programs.")
    token = session.scalars(select(Token).where(Token.uuid == actor.token_uuid)).one()
    return _begin(session, caller, token, agent=agent, lasts_seconds=lasts_seconds)


def begin_by_identity(
    session: Session, caller: Actor, identity: Identity, *, name: str, agent: str, lasts_seconds: int
) -> SignedIn:
    """Sign in somebody whom the provider of that name knows, with a token made for this session, whose secret nobody
    has. Raises `Forbidden` for who is disabled."""
    user = session.get_one(User, identity.user_id)
    if user.disabled_at is not None:
        raise Forbidden("Your account here is disabled. Whoever runs this server can enable it.")
    ends_at = utc_now() + timedelta(seconds=lasts_seconds)
    made = tokens.issue(session, user, name=f"signed in by {name}", expires_at=ends_at, identity_id=identity.id)
    return _begin(session, caller, made.token, agent=agent, lasts_seconds=lasts_seconds, issuer=identity.issuer)


def _begin(
    session: Session, caller: Actor, token: Token, *, agent: str, lasts_seconds: int, **details: str
) -> SignedIn:
    forget_ended(session)
    actor = tokens.actor_of_token(session, token.uuid)
    actor = replace(actor, address=caller.address, request_id=caller.request_id)
    own, ends_at = secrets.token_urlsafe(32), utc_now() + timedelta(seconds=lasts_seconds)
    row = BrowserSession(
        secret_sha256=digest(own),
        user_id=token.user_id,
        token_id=token.id,
        agent=agent[:_LONGEST_AGENT],
        expires_at=min(ends_at, token.expires_at or ends_at),
    )
    session.add(row)
    session.flush()
    _record(session, actor, "session.begin", row, **details)
    _end_beyond_most(session, actor, row)
    return SignedIn(actor, row.uuid, own)


def _end_beyond_most(session: Session, actor: Actor, begun: BrowserSession) -> None:
    """Where this one is one too many, end what was used longest ago: of the sessions of the same token first, so that
    one that only reads does not sign out what was begun with another."""
    others = select(BrowserSession).where(BrowserSession.user_id == begun.user_id, BrowserSession.id != begun.id)
    is_same = case((BrowserSession.token_id == begun.token_id, 1), else_=0)
    kept_first = others.order_by(is_same, BrowserSession.used_at.desc(), BrowserSession.id.desc())
    for row in session.scalars(kept_first.offset(MOST_SESSIONS - 1)).all():
        _end(session, actor, row, why=f"more than {MOST_SESSIONS} at once")


def find(session: Session, secret: str) -> tuple[SignedIn | None, bool]:
    """Who a cookie's secret belongs to now: nobody, where the session is over, or the token behind it. And whether
    `keep_up` has something to do: this only looks, so that pages that are read write nothing."""
    row = session.scalar(select(BrowserSession).where(_has(secret)))
    if row is None or row.expires_at <= utc_now():
        return None, False
    if _is_stale(row, secret):
        return None, True
    return _signed_in(session, row), _is_due(row, secret)


def keep_up(session: Session, secret: str) -> SignedIn | None:
    """Note that the session is used, and change its secret where that is due. Ends it where a copy is about."""
    row = session.scalar(select(BrowserSession).where(_has(secret)).with_for_update())
    if row is None or (known := _signed_in(session, row)) is None:
        return None
    if _is_stale(row, secret):
        _end(session, known.actor, row, why="an old secret was shown")
        return None
    row.used_at = utc_now()
    is_current = row.secret_sha256 == digest(secret)
    if is_current and row.former_sha256 is not None and row.former_until is None:
        row.former_until = utc_now() + timedelta(seconds=_UNDER_WAY_SECONDS)
    if not _is_to_change(row, secret):
        return known
    own = secrets.token_urlsafe(32)
    row.secret_sha256, row.former_sha256 = digest(own), digest(secret)
    row.former_until, row.rotated_at = None, utc_now()
    return replace(known, new_secret=own)


def end(session: Session, actor: Actor, session_uuid: str) -> None:
    """Sign out of one of the caller's own browsers. A token that only reads ends what was begun with it, and nothing
    else. Raises `NotFound`."""
    row = session.scalar(select(BrowserSession).where(BrowserSession.uuid == session_uuid, *_own(actor)))
    if row is None or session.get_one(Token, row.token_id).uuid != actor.token_uuid:
        allow_writing(actor)
    if row is None:
        raise NotFound("You have no such session, or it is over. `GET /user/sessions` lists yours.")
    _end(session, actor, row)


def end_all(session: Session, actor: Actor) -> int:
    """Sign out everywhere; answers from how many browsers. Raises `Forbidden` for who is nobody, or only reads."""
    if actor.user_id is None and not actor.is_anonymous:
        raise Forbidden("Only a person signs in to the pages.")
    allow_writing(actor)
    rows = session.scalars(select(BrowserSession).where(*_own(actor))).all()
    for row in rows:
        _end(session, actor, row)
    return len(rows)


def _end(session: Session, actor: Actor, row: BrowserSession, **details: str) -> None:
    _record(session, actor, "session.end", row, **details)
    session.delete(row)
    token = session.get_one(Token, row.token_id)
    if token.identity_id is not None:  # made for this session, and of no use to anybody else
        token.revoked_at = token.revoked_at or utc_now()


def list_own(session: Session, actor: Actor) -> list[BrowserSession]:
    """Where the caller is signed in, the latest first; with a narrowed token, where with those for the same
    organisation."""
    live = (*_own(actor), BrowserSession.expires_at > utc_now())
    return list(session.scalars(select(BrowserSession).where(*live).order_by(BrowserSession.id.desc())))


def _own(actor: Actor) -> tuple[ColumnElement[bool], ...]:
    if actor.user_id is None:
        return (false(),)
    own = BrowserSession.user_id == actor.user_id
    if actor.narrowed_to_org_id is None:
        return (own,)
    return own, BrowserSession.token_id.in_(select(Token.id).where(Token.org_id == actor.narrowed_to_org_id))


def forget_ended(session: Session) -> None:
    """Remove the rows of sessions that are over, and revoke the tokens that were made for them alone."""
    session.execute(delete(BrowserSession).where(BrowserSession.expires_at <= utc_now()))
    over = (Token.identity_id.is_not(None), Token.revoked_at.is_(None), Token.expires_at <= utc_now())
    session.execute(update(Token).where(*over).values(revoked_at=Token.expires_at))


def _has(secret: str) -> ColumnElement[bool]:
    held = digest(secret)
    return or_(BrowserSession.secret_sha256 == held, BrowserSession.former_sha256 == held)


def _signed_in(session: Session, row: BrowserSession) -> SignedIn | None:
    try:
        actor = tokens.actor_of_token(session, session.get_one(Token, row.token_id).uuid)
    except Unauthenticated:
        return None
    return SignedIn(actor, row.uuid)


def _is_stale(row: BrowserSession, secret: str) -> bool:
    """Whether this is the secret before, though its browser has the new one."""
    if row.secret_sha256 == digest(secret):
        return False
    return row.former_until is not None and row.former_until <= utc_now()


def _is_due(row: BrowserSession, secret: str) -> bool:
    is_first = row.former_sha256 is not None and row.former_until is None and row.secret_sha256 == digest(secret)
    was_used_before = row.used_at <= utc_now() - timedelta(seconds=_USED_AGAIN_SECONDS)
    return is_first or was_used_before or _is_to_change(row, secret)


def _is_to_change(row: BrowserSession, secret: str) -> bool:
    """Every hour; and where the new secret did not arrive, though not for each of several requests at once."""
    now = utc_now()
    if row.secret_sha256 == digest(secret):
        return row.rotated_at <= now - timedelta(seconds=ROTATED_SECONDS)
    return row.former_until is None and row.rotated_at <= now - timedelta(seconds=_UNDER_WAY_SECONDS)


def _record(session: Session, actor: Actor, action: str, row: BrowserSession, **details: str) -> None:
    user = session.get_one(User, row.user_id)
    org_id = tokens.own_org_id(session, user)
    record(session, actor, action, f"{user.username}/{row.uuid}", org_id=org_id, agent=row.agent, **details)
