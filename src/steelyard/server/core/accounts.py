"""People: making, listing and disabling users, and the first of them."""

from dataclasses import replace
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from steelyard.server.core import tokens
from steelyard.server.core.access import Actor, allow_administering
from steelyard.server.core.audit import record
from steelyard.server.core.orgs import add_org
from steelyard.server.core.tokens import NewToken, own_org_id
from steelyard.server.db.tables import User, utc_now
from steelyard.server.errors import AlreadyExists, Conflict, NotFound
from steelyard.server.names import OrgSlug

NOBODYS = frozenset({"anonymous", "system", "ticket"})  # who the trail and the log call so is no person
_SYSTEM = Actor(principal="system", name="system", is_admin=True, token_uuid="system")  # noqa: S106 - no secret


def find_user(session: Session, username: str) -> User | None:
    """The user of that name."""
    return session.scalar(select(User).where(User.username == username))


def get_user(session: Session, username: str) -> User:
    """The user of that name; raises `NotFound`."""
    user = find_user(session, username)
    if user is None:
        raise NotFound(f"There is no user '{username}'. An instance admin makes users.")
    return user


def create_user(session: Session, actor: Actor, username: OrgSlug, email_address: str | None) -> tuple[User, NewToken]:
    """Make a user, the organisation of his name, and his first token, which lives no longer than the one that makes
    it. Raises `AlreadyExists`."""
    allow_administering(actor)
    user, token = _add_user(session, username, email_address, expires_at=actor.expires_at)
    record(session, actor, "user.create", username, org_id=own_org_id(session, user))
    return user, token


def create_first_admin(session: Session, secret: str | None) -> NewToken | None:
    """Make the instance admin `admin` if there is no user yet; None when there is one. For the server's first start."""
    if session.scalar(select(func.count()).select_from(User)):
        return None
    user, token = _add_user(session, "admin", None, secret=secret)
    user.is_admin = True
    record(session, _SYSTEM, "user.create", "admin", org_id=own_org_id(session, user), is_admin=True)
    return token


def create_introduced_user(
    session: Session, caller: Actor, username: OrgSlug, email_address: str | None, *, issuer: str
) -> User:
    """Make a user whom an OpenID provider has introduced, without any token. Raises `AlreadyExists`."""
    user = _add_person(session, username, email_address)
    actor = replace(_SYSTEM, address=caller.address, request_id=caller.request_id)
    record(session, actor, "user.create", username, org_id=own_org_id(session, user), issuer=issuer)
    return user


def _add_user(
    session: Session,
    username: str,
    email_address: str | None,
    *,
    secret: str | None = None,
    expires_at: datetime | None = None,
) -> tuple[User, NewToken]:
    user = _add_person(session, username, email_address)
    return user, tokens.issue(session, user, name="first token", secret=secret, expires_at=expires_at)


def _add_person(session: Session, username: str, email_address: str | None) -> User:
    if username in NOBODYS or find_user(session, username) is not None:
        raise AlreadyExists(f"The user name '{username}' is taken.")
    user = User(username=username, email_address=email_address)
    session.add(user)
    session.flush()
    add_org(session, slug=username, name=username, owner=user)
    return user


def list_users(session: Session, actor: Actor, *, limit: int, after_id: int | None) -> list[User]:
    """All users, oldest first. For instance admins."""
    allow_administering(actor, only_reading=True)
    query = select(User).order_by(User.id).limit(limit)
    return list(session.scalars(query if after_id is None else query.where(User.id > after_id)))


def set_user(session: Session, actor: Actor, username: str, *, disabled: bool | None, is_admin: bool | None) -> User:
    """Disable or enable a user, or change whether he is an instance admin. An instance keeps one admin who can act."""
    allow_administering(actor)
    user = get_user(session, username)
    if disabled is not None:
        user.disabled_at = (user.disabled_at or utc_now()) if disabled else None
    if is_admin is not None:
        user.is_admin = is_admin
    session.flush()
    if not session.scalar(select(func.count()).where(User.is_admin, User.disabled_at.is_(None))):
        raise Conflict("An instance keeps one admin who can act. Make another user an admin first.")
    changes = {"disabled": disabled, "is_admin": is_admin}
    said = {key: value for key, value in changes.items() if value is not None}
    record(session, actor, "user.update", username, org_id=own_org_id(session, user), **said)
    return user


def create_token_for(session: Session, actor: Actor, username: str) -> NewToken:
    """A new token for a user who lost his; it lives no longer than the one that makes it. For instance admins."""
    allow_administering(actor)
    user = get_user(session, username)
    made = tokens.issue(session, user, name=f"made by {actor.name}", expires_at=actor.expires_at)
    target = f"{username}/{made.token.uuid}"
    record(session, actor, "token.create", target, org_id=own_org_id(session, user), name=made.token.name)
    return made


def recover_token(session: Session, username: str) -> NewToken:
    """A new token for a user, made by whoever holds the data directory."""
    user = get_user(session, username)
    made = tokens.issue(session, user, name="made offline")
    target = f"{username}/{made.token.uuid}"
    record(session, _SYSTEM, "token.create", target, org_id=own_org_id(session, user), name=made.token.name)
    return made
