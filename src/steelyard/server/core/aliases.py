"""Aliases: movable names for versions, with a history of every move."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from steelyard.server.core.access import Action, Actor, allow
from steelyard.server.core.audit import record
from steelyard.server.core.history import commits
from steelyard.server.core.manifests import rows
from steelyard.server.core.manifests.rows import Form
from steelyard.server.core.models import Found
from steelyard.server.db.tables import Alias, AliasMove, Version, utc_now
from steelyard.server.errors import AlreadyExists, NotFound


@dataclass(frozen=True, slots=True)
class AliasState:
    """An alias, the version it names, and its moves, newest first."""

    alias: Alias
    version: str
    moves: tuple[AliasMove, ...]


def set_alias(
    session: Session, actor: Actor, found: Found, version: Version, alias: str, *, protected: bool | None = None
) -> Alias:
    """Point an alias at a version, from wherever it points now. Protected ones are for owners to move. Raises
    `AlreadyExists` where a branch or a tag has the name."""
    row = _find_alias(session, found.model.id, alias)
    if protected is not None or (row is not None and row.protected and row.version_id != version.id):
        allow(actor, Action.PROTECT_ALIAS, found.org.id)
    before = session.get_one(Version, row.version_id).version if row else None
    if row is None:
        _refuse_taken(session, found, alias)
        row = Alias(model_id=found.model.id, alias=alias, version_id=version.id)
        session.add(row)
    row.version_id = version.id
    _note_protection(session, actor, found, row, protected)
    if before != version.version:
        row.updated_at = utc_now()
        _note_move(session, actor, found, alias, before, version.version)
    session.flush()
    return row


def get_alias_at(session: Session, found: Found, version: Version, alias: str) -> Alias:
    """The alias, if it points at this version; raises `NotFound` when it was moved or removed."""
    row = _find_alias(session, found.model.id, alias)
    if row is None or row.version_id != version.id:
        raise NotFound(f"'{alias}' is not an alias of {found.full_name}:{version.version}.")
    return row


def remove_alias(session: Session, actor: Actor, found: Found, version: Version, alias: str) -> None:
    """Take an alias off a version; raises `NotFound` when it is not on this one."""
    row = get_alias_at(session, found, version, alias)
    if row.protected:
        allow(actor, Action.PROTECT_ALIAS, found.org.id)
    session.delete(row)
    _note_move(session, actor, found, alias, version.version, None)


def list_aliases(session: Session, found: Found, *, limit: int, after: str | None) -> list[AliasState]:
    """A model's aliases by name, each with its history."""
    rows = list_places(session, found, limit=limit, after=after)
    moves = _moves_of(session, found.model.id, [alias.alias for alias, _ in rows])
    return [AliasState(alias, version, tuple(moves.get(alias.alias, ()))) for alias, version in rows]


def list_places(session: Session, found: Found, *, limit: int, after: str | None = None) -> list[tuple[Alias, str]]:
    """A model's aliases by name, each with the version that it points at: a history may be long."""
    query = select(Alias, Version.version).join(Version, Alias.version_id == Version.id)
    query = query.where(Alias.model_id == found.model.id).order_by(Alias.alias).limit(limit)
    rows = session.execute(query if after is None else query.where(Alias.alias > after))
    return [(alias, version) for alias, version in rows]


def last_movers(session: Session, found: Found, names: Sequence[str]) -> dict[str, str]:
    """Who moved each of these aliases last. For members."""
    last = select(func.max(AliasMove.id)).where(AliasMove.model_id == found.model.id, AliasMove.alias.in_(names))
    moves = select(AliasMove.alias, AliasMove.by).where(AliasMove.id.in_(last.group_by(AliasMove.alias)))
    return dict(session.execute(moves).all())


def aliases_of(session: Session, version_id: int) -> list[str]:
    """The names that point at a version, sorted."""
    return list(session.scalars(select(Alias.alias).where(Alias.version_id == version_id).order_by(Alias.alias)))


def find_version_of_alias(session: Session, model_id: int, alias: str) -> Version | None:
    """The version that an alias of the model points at."""
    query = select(Version).join(Alias, Alias.version_id == Version.id)
    return session.scalar(query.where(Alias.model_id == model_id, Alias.alias == alias))


def _find_alias(session: Session, model_id: int, alias: str) -> Alias | None:
    return session.scalar(select(Alias).where(Alias.model_id == model_id, Alias.alias == alias))


def _refuse_taken(session: Session, found: Found, alias: str) -> None:
    """A name leads to one thing, whoever asks: members would get to the branch."""
    if commits.has_ref(session, found.model.id, alias) or rows.find_tagged(
        session, found.model.id, Form.ARTIFACT, alias
    ):
        raise AlreadyExists(f"'{found.full_name}' has a branch or tag '{alias}'. Choose another alias.")


def _moves_of(session: Session, model_id: int, aliases: Sequence[str]) -> dict[str, list[AliasMove]]:
    query = select(AliasMove).where(AliasMove.model_id == model_id, AliasMove.alias.in_(aliases))
    moves: dict[str, list[AliasMove]] = {}
    for move in session.scalars(query.order_by(AliasMove.id.desc())):
        moves.setdefault(move.alias, []).append(move)
    return moves


def _note_protection(session: Session, actor: Actor, found: Found, row: Alias, protected: bool | None) -> None:
    if protected is not None and bool(row.protected) != protected:
        row.protected = protected
        action = "alias.protect" if protected else "alias.unprotect"
        record(session, actor, action, f"{found.full_name}:{row.alias}", org_id=found.org.id)


def _note_move(session: Session, actor: Actor, found: Found, alias: str, before: str | None, after: str | None) -> None:
    session.add(AliasMove(model_id=found.model.id, alias=alias, by=actor.name, from_version=before, to_version=after))
    action = "alias.set" if after else "alias.remove"
    record(session, actor, action, f"{found.full_name}:{alias}", org_id=found.org.id, before=before, after=after)
