"""Manifests on their way out, at once where that can be: on the event loop, in two statements.

What a request may, the database is asked as ever: a token that was revoked, a model that was hidden and an alias that
was moved a moment ago by another server are so here, too. Whatever is not the common case is left to the handler.
"""

from functools import partial
from typing import Protocol

from fastapi import Request, Response
from sqlalchemy import Connection

from steelyard.server.context import Registry
from steelyard.server.core import tokens
from steelyard.server.core.access import Actor
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.manifests.pulling import Pulled, find_pulled
from steelyard.server.core.tickets import Ticket
from steelyard.server.doors.calls import ANONYMOUS, call_by
from steelyard.server.doors.credentials import read_secret
from steelyard.server.doors.oci.calls import find_ticket, read_scopes
from steelyard.server.doors.ranges import if_none_match
from steelyard.server.errors import RegistryError
from steelyard.server.names import InvalidName, ModelName, OrgSlug


class Sendable(Protocol):
    """A manifest, wherever it was found."""

    @property
    def digest(self) -> str: ...

    @property
    def media_type(self) -> str: ...

    @property
    def size_bytes(self) -> int: ...

    @property
    def content(self) -> bytes: ...


def manifest_response(request: Request, manifest: Sendable) -> Response:
    """Answer GET and HEAD with a manifest, to the byte."""
    headers = {"Docker-Content-Digest": manifest.digest, "ETag": f'"{manifest.digest}"'}
    if if_none_match(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    if request.method == "HEAD":
        headers["Content-Length"] = str(manifest.size_bytes)
        return Response(headers=headers, media_type=manifest.media_type)
    return Response(manifest.content, headers=headers, media_type=manifest.media_type)


def is_taken(request: Request, answer: Response) -> bool:
    """Whether a manifest was sent, and so its version taken: not by HEAD, nor to who has it already."""
    return request.method == "GET" and answer.status_code == 200


def answer_now(request: Request) -> Response | None:
    """The manifest that a request is for, if the registry keeps it and need not wait to see that the caller may.

    Raises `RateLimited`, and nothing else: what is wrong, the handler says.
    """
    registry: Registry = request.app.state.registry
    if request.method not in ("GET", "HEAD") or registry.limiter.waits_for(LimitedAction.READ):
        return None
    try:
        found = registry.database.glance(partial(_look, request))
    except (RegistryError, InvalidName):
        return None
    if found is None:
        return None
    actor, manifest = found
    call = call_by(request, actor)
    call.take(LimitedAction.READ)
    answer = manifest_response(request, manifest)
    if manifest.version_uuid is not None and is_taken(request, answer):
        registry.usage.note_download_of(manifest.version_uuid, call.actor)
    return answer


def _look(request: Request, connection: Connection) -> tuple[Actor, Pulled] | None:
    actor = _find_actor(request, connection)
    if actor is None:
        return None
    parameters = request.path_params
    slug, name = OrgSlug.parse_any(parameters["org"]), ModelName.parse(parameters["name"])
    manifest = find_pulled(connection, actor, slug, name, parameters["reference"])
    return None if manifest is None else (actor, manifest)


def _find_actor(request: Request, connection: Connection) -> Actor | None:
    """Who calls, as `OciRoute.open_call` would find out. Raises `RegistryError` for who may not."""
    registry: Registry = request.app.state.registry
    ticket = find_ticket(request)
    if ticket is not None:
        return _find_holder(request, connection, ticket)
    secret = read_secret(request.headers)
    if secret is None:
        return ANONYMOUS if registry.settings.anonymous_public else None
    actor = tokens.authenticate(connection, secret)
    registry.usage.note_token(actor.token_uuid or "")
    return actor


def _find_holder(request: Request, connection: Connection, ticket: Ticket) -> Actor | None:
    """For whom `/token` gave this, if it was given for this."""
    registry: Registry = request.app.state.registry
    name = f"{request.path_params['org']}/{request.path_params['name']}".lower()
    if "pull" not in read_scopes(ticket.span or "").get(name, ()):
        return None
    if ticket.token_uuid is not None:
        return tokens.actor_of_token(connection, ticket.token_uuid)
    return ANONYMOUS if registry.settings.anonymous_public else None
