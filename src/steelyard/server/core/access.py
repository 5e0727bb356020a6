"""Who is calling and what he may: the one place that says who sees what.

Visibility is a SQL condition made in `visible_to`; what may be done to a visible thing is decided in `may`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, exists, false, or_
from sqlalchemy.orm import aliased

from steelyard.server.db.tables import Model, Org
from steelyard.server.errors import Forbidden, Unauthenticated


class Role(StrEnum):
    """What a member is in an organisation; each may do all that the one before may."""

    READER = "reader"
    CONTRIBUTOR = "contributor"
    OWNER = "owner"

    @property
    def rank(self) -> int:
        """0 for the least."""
        return list(Role).index(self)


class Action(StrEnum):
    """What can be done in an organisation. The words finish the sentence "you may not …"."""

    READ = "read this"
    PUBLISH = "publish here"
    SET_ALIAS = "set aliases here"
    SET_METRICS = "set metrics here"
    PROTECT_ALIAS = "protect aliases or move protected ones here"
    DELETE = "delete here"
    YANK = "yank here"
    SET_VISIBILITY = "change visibility here"
    MANAGE_MEMBERS = "manage members and service accounts here"
    READ_MEMBERS = "see the members here"
    READ_ACTIVITY = "see the activity here"
    READ_TOKENS = "see the tokens of service accounts here"
    READ_AUDIT = "see the audit trail here"


_DEMANDS: Mapping[Action, Role] = {
    Action.READ: Role.READER,
    Action.READ_MEMBERS: Role.READER,
    Action.READ_ACTIVITY: Role.READER,
    Action.PUBLISH: Role.CONTRIBUTOR,
    Action.SET_ALIAS: Role.CONTRIBUTOR,
    Action.SET_METRICS: Role.CONTRIBUTOR,
    Action.PROTECT_ALIAS: Role.OWNER,
    Action.DELETE: Role.OWNER,
    Action.YANK: Role.OWNER,
    Action.SET_VISIBILITY: Role.OWNER,
    Action.MANAGE_MEMBERS: Role.OWNER,
    Action.READ_TOKENS: Role.OWNER,
    Action.READ_AUDIT: Role.OWNER,
}
_READS = frozenset({Action.READ, Action.READ_MEMBERS, Action.READ_ACTIVITY, Action.READ_TOKENS, Action.READ_AUDIT})


@dataclass(frozen=True, slots=True)
class Actor:
    """Who is calling, as his credential says, with the roles he has at this moment (organisation id -> role)."""

    principal: str
    name: str
    roles: Mapping[int, Role] = field(default_factory=dict)
    user_id: int | None = None
    user_uuid: str | None = None
    token_uuid: str | None = None
    is_admin: bool = False
    read_only: bool = False
    narrowed_to_org_id: int | None = None
    expires_at: datetime | None = None
    sees_public: bool = True
    address: str | None = None
    request_id: str | None = None

    @property
    def is_anonymous(self) -> bool:
        """True without a credential."""
        return self.token_uuid is None

    def role_in(self, org_id: int) -> Role | None:
        """His role there, or None for an outsider."""
        return self.roles.get(org_id)


def visible_to(actor: Actor) -> ColumnElement[bool]:
    """The condition on `models` under which this caller may see, and download, a model."""
    own = Model.org_id.in_(actor.roles) if actor.roles else false()
    return or_(own, Model.is_public) if actor.sees_public else own


def sees(actor: Actor, org_id: int, *, is_public: bool) -> bool:
    """The same as `visible_to`, of a model whose row was read already."""
    return org_id in actor.roles or (is_public and actor.sees_public)


def org_visible_to(actor: Actor) -> ColumnElement[bool]:
    """The condition on `orgs`: his own, and those that show him a public model."""
    own = Org.id.in_(actor.roles) if actor.roles else false()
    if not actor.sees_public:
        return own
    shown = aliased(Model)
    return or_(own, exists().where(shown.org_id == Org.id, shown.is_public, shown.latest_version_id.is_not(None)))


def may(actor: Actor, action: Action, org_id: int) -> bool:
    """Whether the caller may do this in the organisation. Reading a public model is `visible_to`'s to say."""
    role = actor.role_in(org_id)
    if role is None or role.rank < _DEMANDS[action].rank:
        return False
    return not actor.read_only or action in _READS


def allow(actor: Actor, action: Action, org_id: int) -> None:
    """Raise `Forbidden` (or `Unauthenticated`, without a credential) unless the caller may."""
    if may(actor, action, org_id):
        return
    if actor.is_anonymous:
        raise Unauthenticated("Authentication failed: this needs a token. Send `Authorization: Bearer <token>`.")
    if actor.read_only and action not in _READS:
        raise Forbidden(f"You may not {action}: this token only reads. Use a token that writes.")
    role = actor.role_in(org_id)
    standing = f"you are {role} there" if role else "you are not a member"
    raise Forbidden(f"You may not {action}: it takes the role {_DEMANDS[action]}, and {standing}. Ask an owner.")


def allow_writing(actor: Actor) -> None:
    """Raise unless the caller's credential may change anything at all."""
    _allow_somebody(actor)
    if actor.read_only:
        raise Forbidden("This token only reads. Use a token that writes.")


def allow_administering(actor: Actor, *, only_reading: bool = False) -> None:
    """Raise unless the caller is an instance admin with a credential that is not narrowed to an organisation."""
    _allow_somebody(actor)
    if not only_reading:
        allow_writing(actor)
    if not actor.is_admin:
        raise Forbidden("Only an instance admin may do this.")


def _allow_somebody(actor: Actor) -> None:
    if actor.is_anonymous:
        raise Unauthenticated("Authentication failed: this needs a token. Send `Authorization: Bearer <token>`.")
