"""Credentials: making, narrowing, believing and revoking them. A secret is shown once; only its SHA-256 is kept."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, Select, and_, bindparam, or_, select
from sqlalchemy.orm import Session

from steelyard.server.core.access import Actor, Role, allow_writing
from steelyard.server.core.audit import record
from steelyard.server.db.tables import Member, Org, ServiceAccount, Token, User, utc_now
from steelyard.server.errors import Fault, Forbidden, Invalid, NotFound, Unauthenticated

Access = Literal["read", "write"]
PREFIX = "syd_"  # lets secret scanners know a leaked token for ours


@dataclass(frozen=True, slots=True)
class TokenWish:
    """What a new token shall be. None means "as wide as the one that asks"."""

    name: str
    org: Org | None = None
    access: Access | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token and its secret, which nobody can read again."""

    token: Token
    secret: str


def digest(secret: str) -> bytes:
    """What is kept of a secret. It has 256 bits of its own, so that no slow hash is needed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def issue(
    session: Session,
    holder: User | ServiceAccount,
    *,
    name: str,
    org_id: int | None = None,
    access: Access = "write",
    expires_at: datetime | None = None,
    secret: str | None = None,
    identity_id: int | None = None,
) -> NewToken:
    """Make a token for a person or a service account; whoever calls has checked that it may be made. One made for a
    session has the `identity_id` by which it was begun."""
    secret = secret or PREFIX + secrets.token_urlsafe(32)
    token = Token(
        secret_sha256=digest(secret),
        name=name,
        user_id=holder.id if isinstance(holder, User) else None,
        service_account_id=holder.id if isinstance(holder, ServiceAccount) else None,
        org_id=org_id,
        access=access,
        expires_at=expires_at,
        identity_id=identity_id,
    )
    session.add(token)
    session.flush()
    return NewToken(token, secret)


def create_own_token(session: Session, actor: Actor, wish: TokenWish) -> NewToken:
    """Make a token for the caller himself that may do no more than the one he came with."""
    user = session.get_one(User, actor.user_id) if actor.user_id is not None else None
    if user is None:
        raise Forbidden("Only a person makes tokens for himself; an owner makes those of a service account.")
    check_expiry(wish.expires_at)
    access, org_id, expires_at = _narrowed(actor, wish)
    made = issue(session, user, name=wish.name, org_id=org_id, access=access, expires_at=expires_at)
    audited_in = org_id if org_id is not None else own_org_id(session, user)
    record(session, actor, "token.create", f"{user.username}/{made.token.uuid}", org_id=audited_in, name=wish.name)
    return made


def own_org_id(session: Session, user: User) -> int | None:
    """The organisation of a person's own name: where he can read what was done to his account."""
    return session.scalar(select(Org.id).where(Org.slug == user.username))


def check_expiry(expires_at: datetime | None) -> None:
    """Raise `Invalid` for a moment that is past."""
    if expires_at is not None and expires_at <= utc_now():
        fault = Fault(("body", "expires_at"), "this moment is past; name one to come, in UTC")
        raise Invalid("The token would be expired already.", faults=(fault,))


def _narrowed(actor: Actor, wish: TokenWish) -> tuple[Access, int | None, datetime | None]:
    access: Access = wish.access or ("read" if actor.read_only else "write")
    if actor.read_only and access != "read":
        raise Forbidden("This token only reads and cannot make one that writes.")
    org_id = wish.org.id if wish.org else actor.narrowed_to_org_id
    if actor.narrowed_to_org_id is not None and org_id != actor.narrowed_to_org_id:
        raise Forbidden("This token is narrowed to one organisation and cannot make one for another.")
    expires_at = wish.expires_at or actor.expires_at
    if actor.expires_at is not None and expires_at is not None and expires_at > actor.expires_at:
        raise Forbidden(
            f"This token expires at {actor.expires_at:%Y-%m-%dT%H:%M:%SZ} and cannot make a longer-lived one."
        )
    return access, org_id, expires_at


def list_own_tokens(session: Session, actor: Actor) -> list[tuple[Token, Org | None]]:
    """The caller's live tokens, newest first; with a narrowed token, those for the same organisation."""
    if actor.user_id is None:
        return []
    query = _live().where(Token.user_id == actor.user_id)
    if actor.narrowed_to_org_id is not None:
        query = query.where(Token.org_id == actor.narrowed_to_org_id)
    return [(token, org) for token, org in session.execute(query)]


def get_token_of(session: Session, actor: Actor) -> Token:
    """The token that the caller came with; not for an anonymous one."""
    return session.scalars(select(Token).where(Token.uuid == actor.token_uuid)).one()


def list_service_tokens(session: Session, account: ServiceAccount) -> list[tuple[Token, Org | None]]:
    """The live tokens of a service account, newest first."""
    return [(t, org) for t, org in session.execute(_live().where(Token.service_account_id == account.id))]


def _live() -> Select[Token, Org | None]:
    return (
        select(Token, Org)
        .outerjoin(Org, Token.org_id == Org.id)
        .where(Token.revoked_at.is_(None))
        .order_by(Token.id.desc())
    )


def revoke_own_token(session: Session, actor: Actor, token_uuid: str) -> None:
    """Revoke one of the caller's tokens. A token that only reads may revoke itself, and nothing else."""
    if token_uuid != actor.token_uuid:
        allow_writing(actor)
    token = next((t for t, _ in list_own_tokens(session, actor) if t.uuid == token_uuid), None)
    if token is None:
        raise NotFound("You have no such token, or it is revoked already. `GET /user/api-keys` lists yours.")
    org_id = token.org_id if token.org_id is not None else own_org_id(session, session.get_one(User, token.user_id))
    revoke(session, actor, token, target=f"{actor.name}/{token.uuid}", org_id=org_id)


def revoke(session: Session, actor: Actor, token: Token, *, target: str, org_id: int | None) -> None:
    """Make a token worthless from the next request on."""
    token.revoked_at = utc_now()
    record(session, actor, "token.revoke", target, org_id=org_id, name=token.name)


_token, _user, _account = Token.__table__.c, User.__table__.c, ServiceAccount.__table__.c
_org, _member = Org.__table__.c, Member.__table__.c
_WITH_HOLDER = (
    select(
        *(_token.uuid, _token.org_id, _token.access, _token.expires_at, _token.revoked_at, _token.service_account_id),
        *(_user.id.label("user_id"), _user.uuid.label("user_uuid"), _user.username, _user.is_admin, _user.disabled_at),
        *(_account.uuid.label("account_uuid"), _account.name.label("account_name")),
        *(_account.org_id.label("account_org_id"), _account.role.label("account_role"), _org.slug),
        *(_member.org_id.label("member_org_id"), _member.role.label("member_role")),
    )
    .select_from(Token.__table__)
    .outerjoin(User.__table__, _user.id == _token.user_id)
    .outerjoin(
        Member.__table__,
        and_(_member.user_id == _token.user_id, or_(_token.org_id.is_(None), _member.org_id == _token.org_id)),
    )
    .outerjoin(ServiceAccount.__table__, _account.id == _token.service_account_id)
    .outerjoin(Org.__table__, _org.id == _account.org_id)
)
"""A token with whoever holds it, once for each organisation where he is a member: every request asks this, so it is one
statement, and tables rather than objects."""
_BY_SECRET = _WITH_HOLDER.where(_token.secret_sha256 == bindparam("secret_sha256"))
_BY_UUID = _WITH_HOLDER.where(_token.uuid == bindparam("token_uuid"))


def authenticate(session: Session | Connection, secret: str) -> Actor:
    """Who holds this secret. Raises `Unauthenticated` when it is unknown, revoked, expired, or its holder disabled."""
    return _actor(session.execute(_BY_SECRET, {"secret_sha256": digest(secret)}).all())


def actor_of_token(session: Session | Connection, token_uuid: str) -> Actor:
    """The actor that a ticket was made for, if his token is still good. Raises `Unauthenticated`."""
    return _actor(session.execute(_BY_UUID, {"token_uuid": token_uuid}).all())


def _actor(rows: Sequence[Row[*tuple[Any, ...]]]) -> Actor:
    token = rows[0] if rows else None
    if token is None or token.revoked_at is not None or _is_past(token.expires_at) or token.disabled_at is not None:
        raise Unauthenticated("Authentication failed")
    if token.service_account_id is not None:
        return _service_actor(token)
    return _user_actor(token, {row.member_org_id: Role(row.member_role) for row in rows if row.member_role is not None})


def _is_past(moment: datetime | None) -> bool:
    return moment is not None and moment <= utc_now()


def _user_actor(token: Row[*tuple[Any, ...]], roles: Mapping[int, Role]) -> Actor:
    return Actor(
        principal=f"user:{token.user_uuid}",
        name=token.username,
        roles=roles,
        user_id=token.user_id,
        user_uuid=token.user_uuid,
        token_uuid=token.uuid,
        is_admin=token.is_admin and token.org_id is None,
        read_only=token.access == "read",
        narrowed_to_org_id=token.org_id,
        expires_at=token.expires_at,
    )


def _service_actor(token: Row[*tuple[Any, ...]]) -> Actor:
    return Actor(
        principal=f"service:{token.account_uuid}",
        name=f"service:{token.slug}/{token.account_name}",
        roles={token.account_org_id: Role(token.account_role)},
        token_uuid=token.uuid,
        read_only=token.access == "read",
        narrowed_to_org_id=token.account_org_id,
        expires_at=token.expires_at,
    )
