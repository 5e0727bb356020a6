"""Versions once they are there: resolving a reference to one, reading, yanking, deleting, comparing.

Publishing is in `publish.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from steelyard.server.core import blobs
from steelyard.server.core.access import Actor
from steelyard.server.core.aliases import aliases_of, find_version_of_alias
from steelyard.server.core.audit import record
from steelyard.server.core.files.trees import File, TreeCache
from steelyard.server.core.history import commits
from steelyard.server.core.manifests import rows
from steelyard.server.core.models import Found, latest_query, refresh_latest, spend, versions_in_order
from steelyard.server.db.tables import Standing, Version, utc_now
from steelyard.server.errors import Conflict, Fault, Invalid, NotFound
from steelyard.server.names import Alias, InvalidName, VersionRange, is_range
from steelyard.server.names import Version as SemVer

MOST_METRICS = 1_000
Manner = Literal["exact", "alias", "latest", "range"]


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a reference led to. Only `exact` leads to the same version for ever."""

    version: Version
    manner: Manner


def find_latest(session: Session, found: Found) -> Version | None:
    """The latest version."""
    latest_id = found.model.latest_version_id
    return None if latest_id is None else session.get_one(Version, latest_id)


def get_latest(session: Session, found: Found) -> Version:
    """The latest version; raises `NotFound`, saying what there is instead."""
    latest = find_latest(session, found)
    if latest is not None:
        return latest
    yanked = list(session.scalars(versions_in_order(found.model.id).limit(5)))
    if yanked:
        names = ", ".join(version.version for version in yanked)
        raise NotFound(
            f"'{found.full_name}' has no latest version: all are yanked ({names}). Ask for one by its number."
        )
    raise NotFound(f"'{found.full_name}' has no version yet, or all were deleted.")


def resolve(session: Session, found: Found, reference: str) -> Resolved:
    """The version that an exact number, an alias, `latest` or a range names.

    Raises `NotFound`, or `Invalid` for what is none of these.
    """
    if reference == "latest":
        return Resolved(get_latest(session, found), "latest")
    try:
        return Resolved(get_exact(session, found, SemVer.parse(reference)), "exact")
    except InvalidName:
        pass
    if is_range(reference):
        return Resolved(_get_in_range(session, found, reference), "range")
    return Resolved(_get_by_alias(session, found, reference), "alias")


def get_exact(session: Session, found: Found, number: SemVer) -> Version:
    """The version of exactly this number, build metadata included, yanked or not; raises `NotFound`."""
    version = find_version(session, found.model.id, number)
    if version is None:
        raise NotFound(f"'{found.full_name}' has no version {number}. `GET …/versions` lists what there is.")
    return version


def find_version(session: Session, model_id: int, number: SemVer) -> Version | None:
    """The version of exactly this number."""
    return session.scalar(select(Version).where(Version.model_id == model_id, Version.version == str(number)))


def _get_in_range(session: Session, found: Found, text: str) -> Version:
    try:
        wanted = VersionRange.parse(text)
    except InvalidName as error:
        raise Invalid(str(error), faults=(Fault(("path", "version"), str(error)),)) from error
    numbers = select(Version.id, Version.version).where(Version.model_id == found.model.id, Version.standing > 0)
    matching = (
        row.id
        for row in session.execute(numbers.order_by(Version.precedence.desc(), Version.id.desc()))
        if wanted.matches(SemVer.parse(row.version))
    )
    version_id = next(matching, None)
    if version_id is None:
        raise NotFound(f"No version of '{found.full_name}' that is not yanked lies in '{text}'.")
    return session.get_one(Version, version_id)


def _get_by_alias(session: Session, found: Found, text: str) -> Version:
    try:
        alias = Alias.parse(text)
    except InvalidName as error:
        detail = f"'{text[:130]}' is no version, alias or range, and not `latest`"
        raise Invalid(f"{detail}.", faults=(Fault(("path", "version"), detail),)) from error
    version = find_version_of_alias(session, found.model.id, alias)
    if version is None:
        raise NotFound(f"'{found.full_name}' has no alias '{alias}'. `GET …/aliases` lists what there is.")
    return version


def list_versions(session: Session, found: Found) -> tuple[list[str], Version | None]:
    """The numbers, the latest first, yanked ones last; and the latest, where there is one."""
    query = versions_in_order(found.model.id).with_only_columns(Version.version)
    return list(session.scalars(query)), session.scalar(latest_query(found.model.id))


def list_highest(session: Session, found: Found, *, limit: int) -> list[str]:
    """The numbers that come first in that order; without a latest version these are yanked."""
    return list(session.scalars(versions_in_order(found.model.id).with_only_columns(Version.version).limit(limit)))


def get_file(session: Session, trees: TreeCache, found: Found, version: Version, path: str) -> File:
    """One artifact; raises `NotFound`."""
    file = trees.get(session, version).files.get(path)
    if file is None:
        raise NotFound(f"{found.full_name}:{version.version} has no file '{path[:200]}'.")
    return file


def compare(session: Session, found: Found, references: Sequence[str]) -> tuple[list[str], list[Version]]:
    """The versions named, in the order asked for, and the names of all their metrics."""
    versions = [resolve(session, found, reference).version for reference in references]
    keys: set[str] = set()
    for version in versions:
        keys.update(version.metrics or {})
    return sorted(keys), versions


# --- what may still move


def yank(session: Session, actor: Actor, found: Found, version: Version, reason: str) -> None:
    """Take a version out of `latest` and ranges; it stays readable by its number and its aliases."""
    version.standing, version.yank_reason, version.yanked_at = Standing.YANKED, reason, utc_now()
    _moved(session, found, version)
    record(session, actor, "version.yank", _full(found, version), org_id=found.org.id, reason=reason)


def unyank(session: Session, actor: Actor, found: Found, version: Version) -> None:
    """Undo a yank; nothing happens to a version that is not yanked."""
    if version.standing != Standing.YANKED:
        return
    version.standing, version.yank_reason, version.yanked_at = standing_of(SemVer.parse(version.version)), None, None
    _moved(session, found, version)
    record(session, actor, "version.unyank", _full(found, version), org_id=found.org.id)


def standing_of(number: SemVer) -> Standing:
    """How a version that is not yanked stands."""
    return Standing.PRERELEASE if number.is_prerelease else Standing.STABLE


def update_metrics(
    session: Session, actor: Actor, found: Found, version: Version, changes: Mapping[str, float | int | str | None]
) -> None:
    """Merge metrics into those of a version: keys not sent stay, null removes one."""
    merged = {**(version.metrics or {}), **changes}
    version.metrics = {key: value for key, value in merged.items() if value is not None}
    if len(version.metrics) > MOST_METRICS:
        message = f"a version has at most {MOST_METRICS} metrics; this would make {len(version.metrics)}"
        raise Invalid(f"{message}. Remove some by null.", faults=(Fault(("body",), message, "too_long"),))
    version.updated_at = utc_now()
    record(session, actor, "version.metrics", _full(found, version), org_id=found.org.id, keys=sorted(changes)[:100])


def delete_version(session: Session, actor: Actor, found: Found, version: Version) -> None:
    """Delete a version; its number is spent. Raises `Conflict` while an alias points at it."""
    held = aliases_of(session, version.id)
    if held:
        raise Conflict(f"{_full(found, version)} is what {', '.join(held[:20])} points at. Move the alias first.")
    spend(session, found, [version.version])
    found.model.latest_version_id = None
    session.flush()
    blobs.begin_grace(session, found.org.id, [version.tree_id])
    session.execute(delete(Version).where(Version.id == version.id))
    rows.forget_version(session, found.org.id, found.model.id, SemVer.parse(version.version).tag)
    commits.let_go_of_version(session, found.org.id, found.model.id, version.commit_id, version.tree_id)
    refresh_latest(session, found.model, found.full_name)
    commits.follow_latest(session, found.model)
    record(session, actor, "version.delete", _full(found, version), org_id=found.org.id)


def _moved(session: Session, found: Found, version: Version) -> None:
    version.updated_at = utc_now()
    refresh_latest(session, found.model, found.full_name)
    commits.follow_latest(session, found.model)


def _full(found: Found, version: Version) -> str:
    return f"{found.full_name}:{version.version}"
