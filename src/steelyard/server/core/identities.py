"""Who people are to an OpenID provider. An identity is an issuer and what that one calls somebody, and nothing else: an
address or a name may be given to somebody else, and never leads to an account here.
"""

import re
import secrets
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from steelyard.server.core.access import Actor, allow_writing
from steelyard.server.core.accounts import NOBODYS, create_introduced_user
from steelyard.server.core.audit import record
from steelyard.server.core.tokens import own_org_id
from steelyard.server.db.tables import Identity, Org, Token, User, utc_now
from steelyard.server.errors import AlreadyExists, Conflict, Forbidden, NotFound
from steelyard.server.names import InvalidName, OrgSlug

_MOST_IDENTITIES = 20
_LONGEST_BASE = 50
_MOST_NUMBERED = 9


@dataclass(frozen=True, slots=True)
class Introduction:
    """What a provider says of somebody. Only `issuer` and `subject` are proof of who he is."""

    issuer: str
    subject: str
    username: str | None = None
    email_address: str | None = None
    is_email_verified: bool = False


def find_identity(session: Session, issuer: str, subject: str) -> Identity | None:
    """The identity, if it is somebody's here."""
    return session.scalar(select(Identity).where(Identity.issuer == issuer, Identity.subject == subject))


def get_or_create_identity(session: Session, caller: Actor, shown: Introduction, *, creates_users: bool) -> Identity:
    """Whoever the provider has introduced; a new user, where that is wished. Raises `Forbidden` for a stranger."""
    known = find_identity(session, shown.issuer, shown.subject)
    if known is not None:
        return known
    if not creates_users:
        raise Forbidden(
            "Nobody here has linked this identity. Sign in with a token and link it under 'Tokens and sessions', or "
            "ask whoever runs this server for an account."
        )
    email = shown.email_address if shown.is_email_verified else None
    user = create_introduced_user(session, caller, _free_name(session, shown), email, issuer=shown.issuer)
    return _add(session, caller, user, shown)


def link(session: Session, actor: Actor, shown: Introduction) -> Identity:
    """Let the caller sign in by this identity from now on. Raises `AlreadyExists` for somebody else's, `Forbidden` for
    a credential that may do less than he, since the identity may do all."""
    allow_lasting(actor)
    known = find_identity(session, shown.issuer, shown.subject)
    if known is not None and known.user_id == actor.user_id:
        return known
    if known is not None:
        raise AlreadyExists("This identity is linked to another user here. That one can unlink it.")
    if session.scalar(select(func.count()).where(Identity.user_id == actor.user_id)) == _MOST_IDENTITIES:
        raise Conflict(f"You have {_MOST_IDENTITIES} identities; that is the most. Unlink one first.")
    return _add(session, actor, session.get_one(User, actor.user_id), shown)


def _add(session: Session, actor: Actor, user: User, shown: Introduction) -> Identity:
    identity = Identity(issuer=shown.issuer, subject=shown.subject, user_id=user.id)
    session.add(identity)
    session.flush()
    _record(session, actor, "identity.link", user, identity)
    return identity


def list_own_identities(session: Session, actor: Actor) -> list[Identity]:
    """The caller's identities, oldest first."""
    if actor.user_id is None:
        return []
    return list(session.scalars(select(Identity).where(Identity.user_id == actor.user_id).order_by(Identity.id)))


def delete_own_identity(session: Session, actor: Actor, identity_uuid: str) -> None:
    """Unlink one of the caller's identities, and end the sessions that were begun by it. Raises `NotFound`, and
    `Forbidden` where it is the last and the caller has no lasting token at hand: he would lock himself out."""
    own = list_own_identities(session, actor)
    identity = next((one for one in own if one.uuid == identity_uuid), None)
    if identity is None:
        raise NotFound("You have no such identity, or it is unlinked already. `GET /user/identities` lists yours.")
    allow_writing(actor)
    if len(own) == 1 or actor.narrowed_to_org_id is not None:
        allow_lasting(actor)
    made = (Token.user_id == identity.user_id, Token.identity_id == identity.id, Token.revoked_at.is_(None))
    session.execute(update(Token).where(*made).values(revoked_at=utc_now()))
    _record(session, actor, "identity.unlink", session.get_one(User, identity.user_id), identity)
    session.delete(identity)


def allow_lasting(actor: Actor) -> None:
    """Raise `Forbidden` unless the caller came with a token that may do all that he may, without an end."""
    allow_writing(actor)
    if actor.user_id is None:
        raise Forbidden("Only a person has identities.")
    if actor.narrowed_to_org_id is not None:
        raise Forbidden("This token is narrowed to one organisation. Use one of yours that is not.")
    if actor.expires_at is not None:
        raise Forbidden(
            "What you came with expires, and this has to do with how you sign in for good. Use a token of yours that "
            "does not expire; an instance admin can make you one."
        )


def _record(session: Session, actor: Actor, action: str, user: User, identity: Identity) -> None:
    org_id = own_org_id(session, user)
    said = {"issuer": identity.issuer, "subject": identity.subject}
    record(session, actor, action, f"{user.username}/{identity.uuid}", org_id=org_id, **said)


# --- names for new users


def _free_name(session: Session, shown: Introduction) -> OrgSlug:
    """A user name like the one he has there, that nobody has here: neither a user nor an organisation."""
    for name in _names(shown):
        if name in NOBODYS:
            continue
        taken = select(Org.id).where(Org.slug == name).union(select(User.id).where(User.username == name))
        if session.execute(taken).first() is None:
            return name
    raise Conflict("No user name could be found for you. Try again.")


def _names(shown: Introduction) -> Iterator[OrgSlug]:
    """In the order they are tried; the last ones are made at random."""
    wished = (shown.username or "").partition("@")[0], (shown.email_address or "").partition("@")[0]
    base = next((slug for text in wished if (slug := _slug(text))), "user")
    numbered = (f"{base}-{number}" for number in range(2, _MOST_NUMBERED + 1))
    for name in (base, *numbered, *(f"{base}-{secrets.token_hex(4)}" for _ in range(3))):
        if (parsed := _parsed(name)) is not None:
            yield parsed


def _slug(text: str) -> str:
    """What of a text a name can have: `Åsa.Öberg` becomes `asa-oberg`."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:_LONGEST_BASE].strip("-")


def _parsed(name: str) -> OrgSlug | None:
    try:
        return OrgSlug.parse(name)
    except InvalidName:
        return None
