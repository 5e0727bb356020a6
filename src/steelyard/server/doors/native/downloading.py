"""Bytes on their way out: single files, and whole versions as one tar behind a link of its own (contract section 4)."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session

from steelyard.server.core import models, versions
from steelyard.server.core.files import reading
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.models import Found
from steelyard.server.core.tickets import Ticket
from steelyard.server.db.tables import Download, Version
from steelyard.server.doors.calls import Call, CallHere, waits_for_the_store
from steelyard.server.doors.fetching import StoredFile, actor_of_link, caching, file_response
from steelyard.server.doors.native import schemas as s
from steelyard.server.doors.native.answers import model_path
from steelyard.server.doors.native.calls import PublicRoute, TicketRoute
from steelyard.server.doors.native.documentation import ELSEWHERE, bytes_of, errors
from steelyard.server.doors.native.parameters import (
    ExactVersionPath,
    FilePath,
    NamePath,
    OrgPath,
    ReferencePath,
    TicketQuery,
)
from steelyard.server.doors.sending import OCTETS, ArchiveSource, BytesResponse, attachment
from steelyard.server.errors import NotFound
from steelyard.server.names import ModelName, OrgSlug

_TAR = "application/x-tar"

files = APIRouter(prefix="/org/{org}", tags=["bytes"], route_class=PublicRoute, responses=errors(412, 416))
archives = APIRouter(
    prefix="/org/{org}",
    tags=["bytes"],
    route_class=TicketRoute,
    responses=errors(412, 416),
)


_FILE: dict[str, Any] = {
    "path": "/models/{name}/{version}/files/{path:path}",
    "response_class": Response,
    **bytes_of(OCTETS),
}
_FILE["responses"] |= ELSEWHERE
_ARCHIVE: dict[str, Any] = {
    "path": "/models/{name}/{version}/archive",
    "response_class": Response,
    **bytes_of(_TAR),
}
_ARCHIVE["openapi_extra"] = {**_ARCHIVE["openapi_extra"], "x-credential": False}


@files.get(**_FILE)
@files.head(**_FILE, name="head_model_artifact")
@waits_for_the_store
def get_model_artifact(
    request: Request, call: CallHere, org: OrgPath, name: NamePath, version: ReferencePath, path: FilePath
) -> Response:
    """Get one file of a version; ranges, conditional requests and HEAD are understood."""
    with call.read(LimitedAction.TRANSFER) as session:
        found = models.get_model(session, call.actor, org, name)
        resolved = versions.resolve(session, found, version)
        file = versions.get_file(session, call.registry.trees, found, resolved.version, path)
        key = reading.get_key(session, file)
    headers = {
        **caching(lasts=resolved.manner == "exact"),
        "Content-Location": _file_path(found, resolved.version, path),
    }
    return file_response(request, call, StoredFile(file, key, f'"{file.oid}"', resolved.version), headers)


def _file_path(found: Found, version: Version, path: str) -> str:
    return f"{model_path(found, version.version)}/files/{quote(path, safe='/+')}"


@archives.get(**_ARCHIVE)
@archives.head(**_ARCHIVE, name="head_model_archive")
def get_model_archive(
    request: Request, call: CallHere, org: OrgPath, name: NamePath, version: ExactVersionPath, ticket: TicketQuery
) -> Response:
    """Get a whole version as one uncompressed tar. The link, with its ticket, comes from the download operation."""
    with call.registry.database.read() as session:
        actor = actor_of_link(session, call, request, ticket, f"{org}/{name.key}:{version}")
        replace(call, actor=actor).take(LimitedAction.TRANSFER)
        found = models.get_model(session, actor, org, name)
        chosen = versions.get_exact(session, found, version)
        archive = reading.plan_version(session, call.registry.trees, chosen)
    return BytesResponse(
        ArchiveSource(archive, call.registry.store),
        content_disposition=attachment(_archive_name(found, chosen)),
        content_type=_TAR,
        headers=caching(lasts=True),
        wait_seconds=call.registry.settings.store_timeout_seconds,
    )


def ticket_for(call: Call, found: Found, version: Version, download_uuid: str) -> s.DownloadTicket:
    """The link to a whole version, for the caller."""
    url, expires_at = _link(call, found, version)
    return s.DownloadTicket(
        download_id=download_uuid,
        status="ready",
        url=url,
        expires_at=expires_at,
        filename=_archive_name(found, version),
    )


def status_of(
    session: Session, call: Call, slug: OrgSlug, download: Download, version: Version | None
) -> s.DownloadStatus:
    """How a download stands; one of a version that is gone, or hidden by now, has failed."""
    if version is None:
        error = f"{slug}/{download.model_name}:{download.model_version} was deleted"
        return s.DownloadStatus(download_id=download.uuid, status="failed", error=error)
    try:
        found = models.get_model(session, call.actor, slug, ModelName.parse(download.model_name))
    except NotFound as error:
        return s.DownloadStatus(download_id=download.uuid, status="failed", error=error.detail)
    url, expires_at = _link(call, found, version)
    return s.DownloadStatus(download_id=download.uuid, status="ready", url=url, expires_at=expires_at)


def _link(call: Call, found: Found, version: Version) -> tuple[str, datetime]:
    expires_at = int(time.time()) + call.registry.settings.download_ttl_seconds
    subject = f"{found.org.slug}/{found.model.name_key}:{version.version}"
    ticket = call.registry.tickets.sign(Ticket("download", subject, call.actor.token_uuid, expires_at))
    path = f"{model_path(found, version.version)}/archive?ticket={ticket}"
    return call.url(path), datetime.fromtimestamp(expires_at, UTC)


def _archive_name(found: Found, version: Version) -> str:
    return f"{found.model.name}-{version.version}.tar"
