"""Where a version came from, as far as a caller may know it."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from steelyard.server.core.access import Actor, visible_to
from steelyard.server.core.models import Found
from steelyard.server.db.tables import Model, Org, User, Version


def created_by_email(session: Session, actor: Actor, found: Found, version: Version) -> str | None:
    """The publisher's address, for members only."""
    if actor.role_in(found.org.id) is None or version.created_by_user_id is None:
        return None
    return session.scalar(select(User.email_address).where(User.id == version.created_by_user_id))


def origin_for(session: Session, actor: Actor, found: Found, version: Version) -> dict[str, Any]:
    """The origin; callers who are no members see neither the publisher's name nor parents that are hidden from them."""
    origin = dict(version.origin)
    if actor.role_in(found.org.id) is not None:
        return origin
    if isinstance(origin.get("registry"), Mapping):
        origin["registry"] = {**origin["registry"], "published_by": None}
    parents = origin.get("derived_from")
    if isinstance(parents, list):
        hidden = _hidden(session, actor, (p.get("name") for p in parents if isinstance(p, Mapping)))
        origin["derived_from"] = [p for p in parents if not (isinstance(p, Mapping) and _key(p.get("name")) in hidden)]
    return origin


def base_model_for(session: Session, actor: Actor, found: Found, version: Version) -> str | None:
    """The base model; None to callers who are no members when it is one of this registry that they may not see."""
    if version.base_model is None or actor.role_in(found.org.id) is not None:
        return version.base_model
    return None if _hidden(session, actor, [version.base_model]) else version.base_model


def _key(name: object) -> tuple[str, str]:
    """`org/name[:version]` as look-ups compare it."""
    slug, _, rest = str(name).partition("/")
    return slug.lower(), rest.partition(":")[0].partition("@")[0].lower()


def _hidden(session: Session, actor: Actor, names: Iterable[object]) -> set[tuple[str, str]]:
    """Those of the names that are models of this registry which the caller may not see."""
    keys = {_key(name) for name in names if name}
    if not keys:
        return set()
    query = select(Org.slug, Model.name_key).join(Model, Model.org_id == Org.id).where(~visible_to(actor))
    query = query.where(Org.slug.in_({slug for slug, _ in keys}), Model.name_key.in_({name for _, name in keys}))
    return {(slug, name) for slug, name in session.execute(query)} & keys
