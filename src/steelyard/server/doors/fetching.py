"""One file on its way out of any door: as its bytes, or as a link to where the store has them. Either counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request, Response
from sqlalchemy.orm import Session
from starlette.background import BackgroundTask
from starlette.responses import RedirectResponse

from steelyard.server.core.access import Actor
from steelyard.server.core.files import reading
from steelyard.server.core.files.trees import File
from steelyard.server.db.tables import Version
from steelyard.server.doors.calls import Call, acting_by
from steelyard.server.doors.middleware import notes_of
from steelyard.server.doors.proxies import sends_files
from steelyard.server.doors.ranges import if_none_match, parse_range
from steelyard.server.doors.sending import OCTETS, BlobSource, BytesResponse, attachment
from steelyard.server.settings import Settings
from steelyard.server.storage.chunked import is_chunked

_STORE_LINK_SECONDS = 300  # it is used at once, and outlives the token it was made for
_CONDITIONS = ("if-match", "if-none-match", "if-range")
_NOT_KEPT = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that the caller may read, its physical name, its quoted ETag, and the version that is taken by it."""

    file: File
    key: str
    etag: str
    version: Version | None

    @property
    def filename(self) -> str:
        """The last part of its path."""
        return self.file.path.rpartition("/")[2]


def file_response(
    request: Request, call: Call, wanted: StoredFile, headers: Mapping[str, str], *, redirect_status: int = 302
) -> Response:
    """Answer GET and HEAD with a file. Opens its bytes, so it may have to wait for the store."""
    counting = _counting(request, call, wanted)
    if link := _link_to_store(request, call, wanted):
        kept = {name: value for name, value in headers.items() if name != "Content-Location"}
        return RedirectResponse(link, redirect_status, {**kept, **_NOT_KEPT}, counting)
    source = BlobSource(reading.open_key(call.registry.store, wanted.key), wanted.file.size_bytes, wanted.etag)
    return BytesResponse(
        source,
        content_disposition=attachment(wanted.filename),
        headers=headers,
        background=counting,
        wait_seconds=call.registry.settings.store_timeout_seconds,
        accel_path=_accel_path(request, call.registry.settings, source.path),
    )


def actor_of_link(session: Session, call: Call, request: Request, ticket: str, subject: str) -> Actor:
    """Whose link this is, and what he may now."""
    return acting_by(session, call, call.registry.tickets.read(ticket, "download", subject), request).actor


def caching(*, lasts: bool) -> dict[str, str]:
    """What may be kept of an answer: for ever, if its address never means anything else."""
    return {"Cache-Control": "private, max-age=31536000, immutable" if lasts else "private, no-cache"}


def _link_to_store(request: Request, call: Call, wanted: StoredFile) -> str | None:
    """Where the caller may get just these bytes from the store; None where only the registry can answer this."""
    direct, headers, size_bytes = call.registry.store.direct, request.headers, wanted.file.size_bytes
    is_plain = request.method == "GET" and not any(name in headers for name in _CONDITIONS)
    if direct is None or not is_plain or not size_bytes or is_chunked(wanted.key):
        return None
    ranges = parse_range(headers.get("range"), size_bytes)
    if ranges is not None and len(ranges) > 1:
        return None
    notes_of(request.scope).redirected_bytes = ranges[0].length if ranges else size_bytes
    return direct.link_blob(
        wanted.key,
        ttl_seconds=min(call.registry.settings.download_ttl_seconds, _STORE_LINK_SECONDS),
        content_type=OCTETS,
        content_disposition=attachment(wanted.filename),
    )


def _accel_path(request: Request, settings: Settings, path: Path | None) -> str | None:
    """By what name the proxy that asks sends a stored file; None where we send it."""
    if settings.accel_redirect is None or path is None:
        return None
    if not sends_files(request.scope, request.headers, settings.trusted_proxies):
        return None
    return settings.accel_redirect + path.relative_to(settings.store_folder).as_posix()


def _counting(request: Request, call: Call, wanted: StoredFile) -> BackgroundTask | None:
    """Count the download once its bytes have gone. HEAD, 304 and what is refused before that count nothing."""
    version = wanted.version
    is_answered = request.method == "GET" and not if_none_match(request.headers.get("if-none-match"), wanted.etag)
    if version is None or not is_answered:
        return None

    async def note() -> None:
        call.registry.usage.note_download(version, call.actor)

    return BackgroundTask(note)
