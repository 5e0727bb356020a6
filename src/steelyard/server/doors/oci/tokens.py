"""`/token`: what container tools send with their requests in place of a user's own token (distribution, "Token
Authentication Specification", and "OAuth 2.0" there for the POST).

It is a ticket for what its holder may do at this moment in the repositories that he names, with the API token behind
it. Whoever asks for more than he may gets less, and no error: tools ask for all that they might need.
"""

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from steelyard.server.core.access import Actor
from steelyard.server.core.tickets import Ticket
from steelyard.server.doors.calls import KIB, Call, CallHere, CallRoute, JsonRequest, call_with
from steelyard.server.doors.credentials import LONGEST, read_secret
from steelyard.server.doors.oci.calls import Scopes, find_repo, rights_at, write_scopes
from steelyard.server.doors.oci.errors import VERSION
from steelyard.server.doors.turns import at_the_database
from steelyard.server.errors import BadRequest, Unauthenticated, UnsupportedMediaType

LEAST_SECONDS, MOST_SECONDS = 300, 24 * 3600
MOST_SCOPES = 20  # a token goes with every request: it has to stay small
_LONGEST_SCOPE = 400
_LONGEST_SERVICE = 255
_FORM_BYTES = 64 * KIB
_SECRET_FIELDS = {"password": "password", "refresh_token": "refresh_token"}  # which it is, by `grant_type`

Fields = dict[str, list[str]]


class TokenRoute(CallRoute):
    """A route that only an API token opens, also one in a form; or nothing at all, where the operator says so."""

    admits_anonymous = True

    def most_body_bytes(self, request: Request) -> int:
        """A form with a token and some scopes."""
        return _FORM_BYTES

    async def open_call(self, request: Request) -> Call:
        """Who asks. Raises `Unauthenticated`, and `BadRequest` for a form that says two things or nothing."""
        fields: Fields = {key: request.query_params.getlist(key) for key in request.query_params}
        secret = read_secret(request.headers)
        if request.method == "POST":
            fields = await self._read_form(request)
            secret = _one_of(secret, _secret_in(fields))
        request.state.fields, request.state.secret = fields, secret
        within_seconds: float = request.app.state.registry.settings.database_timeout_seconds
        opening = partial(call_with, request, secret, admits_anonymous=self.admits_anonymous)
        return await at_the_database(opening, within_seconds=within_seconds)

    async def _read_form(self, request: Request) -> Fields:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        body = await JsonRequest(request, self.most_body_bytes(request)).body()
        if body and kind != "application/x-www-form-urlencoded":
            raise UnsupportedMediaType("Send a form: `Content-Type: application/x-www-form-urlencoded`.")
        try:
            return parse_qs(body.decode(), max_num_fields=100, errors="strict")
        except ValueError as error:
            raise BadRequest("This form cannot be read.") from error


def _secret_in(fields: Fields) -> str | None:
    """The API token in a form: as the password of any user, or as the refresh token that it was given out as."""
    kind = first_of(fields, "grant_type")
    if not kind:
        return None
    if kind not in _SECRET_FIELDS:
        raise BadRequest("This `grant_type` is not known here. Use `password` or `refresh_token`.")
    secret = first_of(fields, _SECRET_FIELDS[kind])
    if not 1 <= len(secret) <= LONGEST:
        raise Unauthenticated("Authentication failed")
    return secret


def _one_of(*secrets: str | None) -> str | None:
    found = {secret for secret in secrets if secret is not None}
    if len(found) > 1:
        raise BadRequest("Two different tokens came with this request. Send one.")
    return next(iter(found), None)


def first_of(fields: Fields, key: str) -> str:
    """What was said first under this name; empty if nothing was."""
    return (fields.get(key) or [""])[0]


async def _fields_of(request: Request) -> Fields:
    fields: Fields = request.state.fields
    return fields


FieldsHere = Annotated[Fields, Depends(_fields_of)]

router = APIRouter(route_class=TokenRoute)


@router.api_route("/token", methods=["GET", "POST"])
def give_token(call: CallHere, fields: FieldsHere, request: Request) -> Response:
    """Give a token for what the caller may of what he asks for."""
    asked = read_asked(fields.get("scope", []))
    with call.read() as session:
        granted = grant(session, call.actor, asked)
    lasts_seconds = min(max(LEAST_SECONDS, call.registry.settings.ticket_ttl_seconds), MOST_SECONDS)
    now = int(time.time())
    service = first_of(fields, "service")[:_LONGEST_SERVICE]
    span = write_scopes(granted)
    token = call.registry.tickets.sign(Ticket("oci", service, call.actor.token_uuid, now + lasts_seconds, span=span))
    answer: dict[str, Any] = {
        "token": token,
        "access_token": token,
        "scope": " ".join(f"repository:{scope}" for scope in span.split()),
        "expires_in": lasts_seconds,
        "issued_at": f"{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%SZ}",
    }
    answer |= _refreshing(call, fields, request)
    return JSONResponse(answer, headers={**VERSION, "Cache-Control": "no-store"})


def read_asked(texts: Iterable[str]) -> Scopes:
    """What is asked for, by repository, its name in lower case: `repository:org/name:pull,push`, several of them in
    one text or in many. Kinds other than repositories do not exist here. Raises `BadRequest` for too many."""
    scopes = [scope for text in texts for scope in text.split()]
    if len(scopes) > MOST_SCOPES or any(len(scope) > _LONGEST_SCOPE for scope in scopes):
        raise BadRequest(f"Ask for {MOST_SCOPES} scopes at most, each of up to {_LONGEST_SCOPE} characters.")
    asked: Scopes = {}
    for scope in scopes:
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        if kind == "repository" and name:
            asked[name.lower()] = asked.get(name.lower(), frozenset()) | set(actions.split(","))
    return asked


def grant(session: Session, actor: Actor, asked: Scopes) -> Scopes:
    """What the caller may do now of what he asks for; `*` asks for all of it."""
    granted: Scopes = {}
    for name, actions in asked.items():
        repo = find_repo(name)
        rights = rights_at(session, actor, repo) if repo else frozenset()
        if some := rights if "*" in actions else rights & actions:
            granted[name] = some
    return granted


def _refreshing(call: Call, fields: Fields, request: Request) -> dict[str, str]:
    """The API token again, for tools that would keep something else than a password. It lives until it is revoked, and
    with it all that it gave."""
    wanted = first_of(fields, "access_type") == "offline" or first_of(fields, "offline_token") == "true"
    return {"refresh_token": request.state.secret} if wanted and not call.actor.is_anonymous else {}
