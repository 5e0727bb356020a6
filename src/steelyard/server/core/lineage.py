"""Where a version came from, as far as a caller may know it.

Which of a version's parents are models of this registry is found out once, at publish, among those that the publisher
may see. Only they are ever hidden from a reader: a name that the publisher merely wrote down stays as he wrote it, and
so tells nobody whether such a model exists.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from steelyard.server.core.access import Actor, visible_to
from steelyard.server.core.models import Found
from steelyard.server.db.engine import in_batches
from steelyard.server.db.tables import Model, Org, User, Version


def find_parents(session: Session, actor: Actor, base_model: str | None, origin: Mapping[str, Any]) -> list[Any]:
    """`[org/name, model id]` of the parents named that are models here which the publisher may see."""
    named = {_key(parent.get("name")) for parent in _derived_from(origin)} | {_key(base_model)}
    found: list[Any] = []
    for some in in_batches(sorted(name for name in named if name)):
        slugs, names = zip(*(name.split("/", 1) for name in some), strict=True)
        query = select(Org.slug, Model.name_key, Model.id).join(Model, Model.org_id == Org.id).where(visible_to(actor))
        for slug, name, model_id in session.execute(query.where(Org.slug.in_(slugs), Model.name_key.in_(names))):
            found += [[f"{slug}/{name}", model_id]] if f"{slug}/{name}" in named else []
    return found


def hidden_parents(session: Session, actor: Actor, found: Found, version: Version) -> frozenset[str]:
    """`org/name` of the parents that this caller may not see; nothing is hidden from members."""
    if actor.role_in(found.org.id) is not None or not version.parents:
        return frozenset()
    ids = [model_id for _, model_id in version.parents]
    visible = set(session.scalars(select(Model.id).where(Model.id.in_(ids), visible_to(actor))))
    return frozenset(name for name, model_id in version.parents if model_id not in visible)


def created_by_email(session: Session, actor: Actor, found: Found, version: Version) -> str | None:
    """The publisher's address, for members only."""
    if actor.role_in(found.org.id) is None or version.created_by_user_id is None:
        return None
    return session.scalar(select(User.email_address).where(User.id == version.created_by_user_id))


def origin_for(actor: Actor, found: Found, version: Version, hidden: frozenset[str]) -> dict[str, Any]:
    """The origin; callers who are no members see neither the publisher's name nor parents that are hidden from them."""
    origin = dict(version.origin)
    if actor.role_in(found.org.id) is not None:
        return origin
    if isinstance(origin.get("registry"), Mapping):
        origin["registry"] = {**origin["registry"], "published_by": None}
    if hidden and isinstance(origin.get("derived_from"), list):
        origin["derived_from"] = [parent for parent in origin["derived_from"] if _name_of(parent) not in hidden]
    return origin


def base_model_for(version: Version, hidden: frozenset[str]) -> str | None:
    """The base model, unless it is one of this registry that is hidden from the caller."""
    return None if _key(version.base_model) in hidden else version.base_model


def _derived_from(origin: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    parents = origin.get("derived_from")
    return [parent for parent in parents if isinstance(parent, Mapping)] if isinstance(parents, list) else []


def _name_of(parent: object) -> str:
    return _key(parent.get("name")) if isinstance(parent, Mapping) else ""


def _key(name: object) -> str:
    """`org/name[:version]` as look-ups compare it; empty for what is no such name."""
    slug, slash, rest = str(name or "").partition("/")
    bare = rest.partition(":")[0].partition("@")[0]
    return f"{slug}/{bare}".lower() if slash and bare else ""
