"""Where a version came from, as far as a caller may know it.

Which of a version's parents are models of this registry is found out once, at publish, among those that the publisher
may see. Only they are ever hidden from a reader: a name that the publisher merely wrote down stays as he wrote it, and
so tells nobody whether such a model exists. And only they are ever shown as models of this registry: whoever takes a
name later that others wrote down becomes nobody's parent by it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from steelyard.server.core.access import Actor, visible_to
from steelyard.server.core.models import Found
from steelyard.server.db.engine import in_batches
from steelyard.server.db.tables import Model, Org, User, Version, VersionParent
from steelyard.server.names import InvalidName
from steelyard.server.names import Version as SemVer

ClaimKind = Literal["derived_from", "base_model"]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a version says it was made from. `key` is `org/name` as look-ups compare it, or empty; `number` the exact
    version that it names of it, `said` whatever stands in that place. `kinds`: where it says so."""

    name: str
    key: str
    number: str = ""
    said: str = ""
    relation: str = ""
    kinds: tuple[ClaimKind, ...] = ("derived_from",)


def find_parents(session: Session, actor: Actor, base_model: str | None, origin: Mapping[str, Any]) -> list[Any]:
    """`[org/name, model id]` of the parents named that are models here which the publisher may see."""
    named = {claim.key for claim in claims_of(base_model, origin)}
    found: list[Any] = []
    for some in in_batches(sorted(name for name in named if name)):
        slugs, names = zip(*(name.split("/", 1) for name in some), strict=True)
        query = select(Org.slug, Model.name_key, Model.id).join(Model, Model.org_id == Org.id).where(visible_to(actor))
        for slug, name, model_id in session.execute(query.where(Org.slug.in_(slugs), Model.name_key.in_(names))):
            found += [[f"{slug}/{name}", model_id]] if f"{slug}/{name}" in named else []
    return found


def note_parents(session: Session, version: Version) -> None:
    """Have a new version found among what was made from its parents. That it was made from its own model, and not from
    which version of it, says nothing."""
    ids = dict(version.parents)
    pairs = {(ids[each.key], each.number) for each in claims_of(version.base_model, version.origin) if each.key in ids}
    for model_id, number in sorted(pairs):
        if number or model_id != version.model_id:
            session.add(VersionParent(version_id=version.id, parent_model_id=model_id, parent_version=number))
    session.flush()


def list_parents(session: Session, actor: Actor, versions: Sequence[Version]) -> Mapping[int, Mapping[str, Found]]:
    """By the versions' ids, the models here that they were made from and that the caller may see, by `org/name`.

    A model that was deleted is not seen any more, whoever has its number now: SQLite gives numbers again.
    """
    ids = {model_id for version in versions for _, model_id in version.parents}
    seen: dict[int, Found] = {}
    query = select(Model, Org).join(Org, Org.id == Model.org_id).where(visible_to(actor))
    for some in in_batches(sorted(ids)):
        seen.update({model.id: Found(model, org) for model, org in session.execute(query.where(Model.id.in_(some)))})
    keys = {model_id: f"{found.org.slug}/{found.model.name_key}" for model_id, found in seen.items()}
    return {
        version.id: {name: seen[model_id] for name, model_id in version.parents if keys.get(model_id) == name}
        for version in versions
    }


def hidden_parents(session: Session, actor: Actor, found: Found, version: Version) -> frozenset[str]:
    """`org/name` of the parents that this caller may not see; nothing is hidden from members."""
    if actor.role_in(found.org.id) is not None or not version.parents:
        return frozenset()
    return unseen(version, list_parents(session, actor, [version])[version.id])


def unseen(version: Version, seen: Mapping[str, Found]) -> frozenset[str]:
    """`org/name` of a version's parents here that are not among these."""
    return frozenset(name for name, _ in version.parents if name not in seen)


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


# --- what a version says


def claims_of(base_model: str | None, origin: Mapping[str, Any]) -> list[Claim]:
    """What a version says it was made from, each once: `origin.derived_from` in its order, then the base model. Where
    this names no version of what stands among the others already, it is the same."""
    claims = {(claim.key or claim.name, claim.said): claim for claim in _derived_from(origin)}
    base = replace(_claim(base_model, None, None), kinds=("base_model",))
    named = (base.key or base.name, base.said)
    same = named if base.said else next((each for each in claims if each[0] == named[0]), named)
    if base.name:
        claims[same] = replace(claims[same], kinds=("derived_from", "base_model")) if same in claims else base
    return list(claims.values())


def _derived_from(origin: Mapping[str, Any]) -> Iterator[Claim]:
    """A bare name will do, though the contract has it in an object."""
    parents = origin.get("derived_from")
    for parent in parents if isinstance(parents, list) else []:
        said = parent if isinstance(parent, Mapping) else {"name": parent}
        claim = _claim(said.get("name"), said.get("version"), said.get("relation"))
        if claim.name:
            yield claim


def _claim(name: object, version: object, relation: object) -> Claim:
    text = name.strip() if isinstance(name, str) else ""
    bare = _bare(text)
    said = version.strip() if isinstance(version, str) else text[len(bare) + 1 :] if bare else ""
    return Claim(text, bare.lower(), _exact(said), said, relation.strip() if isinstance(relation, str) else "")


def _exact(text: str) -> str:
    try:
        return str(SemVer.parse(text))
    except InvalidName:
        return ""


def _name_of(parent: object) -> str:
    return _key(parent.get("name") if isinstance(parent, Mapping) else parent)


def _key(name: object) -> str:
    """`org/name[:version]` as look-ups compare it; empty for what is no such name."""
    return _bare(str(name or "").strip()).lower()


def _bare(text: str) -> str:
    """A name without the version behind it."""
    slug, slash, rest = text.partition("/")
    bare = rest.partition(":")[0].partition("@")[0]
    return f"{slug}/{bare}" if slash and bare else ""
