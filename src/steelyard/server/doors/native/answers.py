"""From rows to the bodies of the native API: what a caller is shown of what he asked for."""

import hashlib
from typing import Any
from urllib.parse import quote

from fastapi import Request, Response
from sqlalchemy.orm import Session

from steelyard.server.core.access import Action, Actor, Role, may
from steelyard.server.core.aliases import AliasState, aliases_of
from steelyard.server.core.browsing import Shown
from steelyard.server.core.lineage import origins
from steelyard.server.core.models import Found, Listed
from steelyard.server.db.tables import AuditEvent, BrowserSession, Download, Org, ServiceAccount, Token, User, Version
from steelyard.server.doors.calls import Call
from steelyard.server.doors.native import schemas as s
from steelyard.server.doors.ranges import if_none_match


def model_path(found: Found, version: str = "") -> str:
    """The path of a model, or of one of its versions, in this API."""
    path = f"/api/v1/org/{found.org.slug}/models/{found.model.name}"
    return f"{path}/{quote(version, safe='+')}" if version else path


def summary(
    session: Session, actor: Actor, found: Found, version: Version, aliases: list[str], version_count: int | None
) -> s.ModelSummary:
    """A version as lists show it."""
    return s.ModelSummary(**_common(session, actor, found, version), aliases=aliases, version_count=version_count)


def listed(session: Session, actor: Actor, row: Listed) -> s.ModelSummary:
    """A row of a list."""
    found = Found(row.model, row.org)
    return summary(session, actor, found, row.latest, list(row.aliases), row.version_count)


def shown(session: Session, actor: Actor, row: Shown) -> s.CatalogModel:
    """A row of the list of all models."""
    common = listed(session, actor, row.listed).model_dump()
    latest = row.listed.latest
    return s.CatalogModel(
        **common,
        file_size_bytes=latest.size_bytes,
        parameter_count=latest.parameter_count,
        total_downloads=row.downloads,
        model_created_at=row.listed.model.created_at,
        model_updated_at=row.listed.model.updated_at,
    )


def detail(session: Session, actor: Actor, found: Found, version: Version) -> s.ModelDetail:
    """A version in full, but for its files: those may be a hundred thousand, and stand rendered in memory."""
    yanked = version.yanked_at and s.Yanked(reason=version.yank_reason or "", at=version.yanked_at)
    return s.ModelDetail(
        **_common(session, actor, found, version),
        aliases=aliases_of(session, version.id),
        artifacts_hash=version.artifacts_hash,
        description=version.description,
        created_by_email=origins.created_by_email(session, actor, found, version),
        dataset_refs=version.dataset_refs,
        file_size_bytes=version.size_bytes,
        metrics=version.metrics,
        yanked=yanked or None,
    )


def _common(session: Session, actor: Actor, found: Found, version: Version) -> dict[str, Any]:
    hidden = origins.hidden_parents(session, actor, found, version)
    return {
        "id": version.uuid,
        "name": found.full_name,
        "version": version.version,
        "created_at": version.created_at,
        "updated_at": version.updated_at,
        "framework": version.framework,
        "download_count": version.download_count,
        "is_public": found.model.is_public,
        "origin": origins.origin_for(actor, found, version, hidden),
        "summary": version.summary,
        "task": version.task,
        "architecture": version.architecture,
        "base_model": origins.base_model_for(version, hidden),
        "license": version.license,
        "pretty_name": version.pretty_name,
        "size_category": version.size_category,
        "tags": version.tags,
        "language": version.language,
        "task_categories": version.task_categories,
    }


def detail_response(
    request: Request, session: Session, call: Call, found: Found, version: Version, *, status: int = 200
) -> Response:
    """A Detail with its ETag and where it can be had again; 304 to a reader who has it."""
    head = detail(session, call.actor, found, version).model_dump_json(exclude={"artifacts", "sizes"}).encode()
    headers = {
        "ETag": f'"{hashlib.sha256(head).hexdigest()[:32]}"',  # of the files it holds `artifacts_hash`
        "Cache-Control": "private, no-cache",
        "Content-Location": model_path(found, version.version),
    }
    if request.method == "GET" and if_none_match(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    if status == 201:
        headers["Location"] = headers["Content-Location"]
    listing = call.registry.trees.get(session, version)
    body = b'%b,"artifacts":%b,"sizes":%b}' % (head[:-1], listing.oids_json, listing.sizes_json)
    return Response(body, status, headers, media_type="application/json")


def compared(session: Session, actor: Actor, found: Found, version: Version) -> s.ComparedVersion:
    """One version of a comparison."""
    return s.ComparedVersion(
        version=version.version,
        framework=version.framework,
        created_at=version.created_at,
        task=version.task,
        architecture=version.architecture,
        base_model=origins.base_model_for(version, origins.hidden_parents(session, actor, found, version)),
        aliases=aliases_of(session, version.id),
        tags=version.tags,
        dataset_refs=version.dataset_refs,
        file_size_bytes=version.size_bytes,
        metrics=version.metrics,
    )


def alias_item(actor: Actor, found: Found, state: AliasState) -> s.AliasItem:
    """An alias with its history; names of people are for members."""
    known = may(actor, Action.READ, found.org.id)
    return s.AliasItem(
        alias=state.alias.alias,
        version=state.version,
        protected=state.alias.protected,
        created_at=state.alias.created_at,
        updated_at=state.alias.updated_at,
        history=[
            s.AliasMove(at=move.at, by=move.by if known else None, from_=move.from_version, to=move.to_version)
            for move in state.moves
        ],
    )


def activity_item(slug: str, row: Download) -> s.ActivityItem:
    """One row of activity."""
    return s.ActivityItem(
        id=row.uuid,
        model_name=f"{slug}/{row.model_name}",
        model_version=row.model_version,
        format=row.format,
        status=row.status,
        created_at=row.created_at,
        completed_at=row.completed_at,
        file_size_bytes=row.file_size_bytes,
        user_id=row.user_uuid,
    )


def organization(org: Org) -> s.Organization:
    """An organisation."""
    return s.Organization(
        id=org.uuid, name=org.name, key=org.slug, created_at=org.created_at, updated_at=org.updated_at
    )


def user_item(user: User) -> s.UserItem:
    """A user, as instance admins see him."""
    return s.UserItem(
        id=user.uuid,
        username=user.username,
        email_address=user.email_address,
        is_admin=user.is_admin,
        disabled=user.disabled_at is not None,
        created_at=user.created_at,
    )


def api_key(token: Token, org: Org | None) -> s.ApiKey:
    """A token, without its secret."""
    return s.ApiKey(
        id=token.uuid,
        name=token.name,
        org=org.slug if org else None,
        access="read" if token.access == "read" else "write",
        created_at=token.created_at,
        expires_at=token.expires_at,
        last_used_at=token.last_used_at,
    )


def session_item(row: BrowserSession) -> s.SessionItem:
    """A browser that somebody is signed in with."""
    return s.SessionItem(
        id=row.uuid,
        agent=row.agent,
        created_at=row.created_at,
        last_used_at=row.used_at,
        expires_at=row.expires_at,
    )


def created_api_key(token: Token, org: Org | None, secret: str) -> s.CreatedApiKey:
    """A new token with its secret."""
    return s.CreatedApiKey(**api_key(token, org).model_dump(), key=secret)


def service_account(account: ServiceAccount) -> s.ServiceAccountItem:
    """A service account."""
    return s.ServiceAccountItem(
        id=account.uuid, name=account.name, role=Role(account.role), created_at=account.created_at
    )


def audit_item(event: AuditEvent) -> s.AuditItem:
    """One thing that was done."""
    return s.AuditItem(
        id=str(event.id),
        at=event.at,
        actor=event.actor,
        action=event.action,
        target=event.target,
        details=event.details,
        address=event.address,
        request_id=event.request_id,
    )


def next_cursor(rows: list[Any], limit: int, last: int | str | None) -> str | None:
    """Where the next page begins, when this one is full."""
    return str(last) if rows and len(rows) == limit else None
