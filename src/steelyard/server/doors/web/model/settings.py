"""What an owner changes of a model: who sees it, its aliases, yanks, and what is deleted. Versions never change."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy.orm import Session

from steelyard.server.core import aliases, models, timeline, versions
from steelyard.server.core.access import Action, Actor, allow, may
from steelyard.server.core.models import Found
from steelyard.server.core.timeline import Entry
from steelyard.server.db import tables
from steelyard.server.db.tables import Version
from steelyard.server.doors.repos import Repo
from steelyard.server.doors.web import fields
from steelyard.server.doors.web.calls import CallHere, WebCall, WebRoute, invalid
from steelyard.server.doors.web.frames import frame_model
from steelyard.server.doors.web.pages import url_path
from steelyard.server.names import Alias
from steelyard.server.names import Version as SemVer

VERSIONS_ON_A_PAGE = 25
MOST_ALIASES = 200
_LONGEST_REASON = 2_000

router = APIRouter(route_class=WebRoute)
RepoPath = Annotated[Repo, Depends(Repo.at_path)]
PageNumber = Annotated[int, Query(ge=1, le=1_000_000)]


# --- what is shown


@dataclass(frozen=True, slots=True)
class AliasRow:
    """An alias as it stands. `is_movable` where this person may move it or take it away."""

    alias: str
    version: str
    is_protected: bool
    moved_at: datetime
    is_movable: bool


@dataclass(frozen=True, slots=True)
class Rights:
    """What this person may do here."""

    set_visibility: bool
    set_alias: bool
    protect_alias: bool
    yank: bool
    delete: bool


@router.get("/{org}/{name}/settings")
def show_settings(call: CallHere, repo: RepoPath, page: PageNumber = 1) -> Response:
    """All that this person may change of a model."""
    with call.read() as session:
        found = repo.get(session, call.actor)
        rights = _get_rights(call.actor, found)
        model = frame_model(session, call, found, "settings")
        rows = _alias_rows(session, found, rights)
        line = timeline.list_timeline(session, call.actor, found, page=page, limit=VERSIONS_ON_A_PAGE)
    return call.page(
        "model_settings.html",
        title=f"Settings of {model.full_name}",
        json_twin=url_path("api", "v1", "org", model.org, "models", model.name, "aliases"),
        model=model,
        rights=rights,
        aliases=rows,
        most_aliases=MOST_ALIASES,
        entries=line.entries,
        numbers=_numbers(line.entries, rows),
        total=line.total,
        page=page,
        last_page=max(1, -(-line.total // VERSIONS_ON_A_PAGE)),
    )


def _get_rights(actor: Actor, found: Found) -> Rights:
    """What may be done. Raises `Forbidden` for somebody who may change nothing of this model: who may not even set an
    alias."""
    allow(actor, Action.SET_ALIAS, found.org.id)
    return Rights(
        set_visibility=may(actor, Action.SET_VISIBILITY, found.org.id),
        set_alias=may(actor, Action.SET_ALIAS, found.org.id),
        protect_alias=may(actor, Action.PROTECT_ALIAS, found.org.id),
        yank=may(actor, Action.YANK, found.org.id),
        delete=may(actor, Action.DELETE, found.org.id),
    )


def _alias_rows(session: Session, found: Found, rights: Rights) -> list[AliasRow]:
    places = aliases.list_places(session, found, limit=MOST_ALIASES)
    return [_alias_row(alias, version, rights) for alias, version in places]


def _alias_row(row: tables.Alias, version: str, rights: Rights) -> AliasRow:
    is_movable = rights.set_alias and (rights.protect_alias or not row.protected)
    return AliasRow(row.alias, version, bool(row.protected), row.updated_at, is_movable)


def _numbers(entries: Sequence[Entry], rows: Sequence[AliasRow]) -> list[str]:
    """The versions that a field offers: those on this page, and those that aliases are at."""
    return list(dict.fromkeys([*(entry.version for entry in entries), *(row.version for row in rows)]))


# --- what is changed


def _settings_of(found: Found, anchor: str) -> str:
    return f"{url_path(found.org.slug, found.model.name, 'settings')}#{anchor}"


def _get_version(session: Session, found: Found, call: WebCall) -> Version:
    """The version that the form is about, by its exact number. Raises `Invalid` and `NotFound`."""
    return versions.get_exact(session, found, fields.named(call, "version", SemVer.parse))


@router.post("/{org}/{name}/settings/visibility")
def set_visibility(call: CallHere, repo: RepoPath) -> Response:
    """Show a model to everybody here, or hide it."""
    is_public = call.text("visibility") == "public"
    with call.write() as session:
        found = repo.get_to(session, call.actor, Action.SET_VISIBILITY)
        models.set_visibility(session, call.actor, found, is_public=is_public)
    word = "public" if is_public else "private"
    return call.go(_settings_of(found, "visibility"), notice=f"{found.full_name} is {word} now.")


@router.post("/{org}/{name}/settings/aliases")
def set_alias(call: CallHere, repo: RepoPath) -> Response:
    """Point an alias at a version, from wherever it points now."""
    alias = fields.named(call, "alias", Alias.parse)
    with call.write() as session:
        found = repo.get_to(session, call.actor, Action.SET_ALIAS)
        version = _get_version(session, found, call)
        protected = True if call.is_checked("protected") else None
        aliases.set_alias(session, call.actor, found, version, alias, protected=protected)
        notice = f"{alias} points at {version.version} now."
    return call.go(_settings_of(found, "aliases"), notice=notice)


@router.post("/{org}/{name}/settings/aliases/protect")
def protect_alias(call: CallHere, repo: RepoPath) -> Response:
    """Have only owners move an alias, or let all contributors do so again. It stays where it is."""
    alias, is_protected = fields.named(call, "alias", Alias.parse), call.is_checked("protected")
    with call.write() as session:
        found = repo.get_to(session, call.actor, Action.PROTECT_ALIAS)
        version = _get_version(session, found, call)
        aliases.get_alias_at(session, found, version, alias)
        aliases.set_alias(session, call.actor, found, version, alias, protected=is_protected)
    notice = f"{alias} is {'protected' if is_protected else 'no longer protected'} now."
    return call.go(_settings_of(found, "aliases"), notice=notice)


@router.post("/{org}/{name}/settings/aliases/remove")
def remove_alias(call: CallHere, repo: RepoPath) -> Response:
    """Take an alias off its version."""
    alias = fields.named(call, "alias", Alias.parse)
    with call.write() as session:
        found = repo.get_to(session, call.actor, Action.SET_ALIAS)
        version = _get_version(session, found, call)
        aliases.remove_alias(session, call.actor, found, version, alias)
    return call.go(_settings_of(found, "aliases"), notice=f"{alias} is removed.")


@router.post("/{org}/{name}/settings/yank")
def yank_version(call: CallHere, repo: RepoPath) -> Response:
    """Take a version out of `latest` and ranges, with a reason."""
    reason = fields.line(call, "reason", "Reason", most=_LONGEST_REASON)
    with call.write() as session:
        found = repo.get_to(session, call.actor, Action.YANK)
        version = _get_version(session, found, call)
        versions.yank(session, call.actor, found, version, reason)
        notice = f"{version.version} is yanked."
    return call.go(_settings_of(found, "versions"), notice=notice)


@router.post("/{org}/{name}/settings/unyank")
def unyank_version(call: CallHere, repo: RepoPath) -> Response:
    """Undo a yank."""
    with call.write() as session:
        found = repo.get_to(session, call.actor, Action.YANK)
        version = _get_version(session, found, call)
        versions.unyank(session, call.actor, found, version)
        notice = f"{version.version} is no longer yanked."
    return call.go(_settings_of(found, "versions"), notice=notice)


@router.post("/{org}/{name}/settings/delete-version")
def delete_version(call: CallHere, repo: RepoPath) -> Response:
    """Delete a version, for somebody who typed its number."""
    with call.write() as session:
        found = repo.get_to(session, call.actor, Action.DELETE)
        version = _get_version(session, found, call)
        number = version.version
        _check_typed(call, number)
        versions.delete_version(session, call.actor, found, version)
    return call.go(_settings_of(found, "versions"), notice=f"{number} is deleted. Its number is spent.")


@router.post("/{org}/{name}/settings/delete")
def delete_model(call: CallHere, repo: RepoPath) -> Response:
    """Delete a model with all its versions, for somebody who typed its full name."""
    with call.write() as session:
        found = repo.get_to(session, call.actor, Action.DELETE)
        full_name, slug = found.full_name, found.org.slug
        _check_typed(call, full_name)
        models.delete_model(session, call.actor, found)
    return call.go(url_path(slug), notice=f"{full_name} is deleted. Its numbers are spent.")


def _check_typed(call: WebCall, wanted: str) -> None:
    """Deleting cannot be undone: what is to go has to be typed. Raises `Invalid`."""
    if call.text("typed") != wanted:
        raise invalid("Confirmation", f"type {wanted} exactly to delete it. Nothing was deleted.")
