"""Tokens as pages know them: what is asked of a new one, what is told of one, and the one page with its secret."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import Response

from steelyard.server.core.tokens import Access, NewToken, TokenWish
from steelyard.server.db.tables import Org, Token
from steelyard.server.doors.web import fields
from steelyard.server.doors.web.calls import WebCall, invalid


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token, without its secret. `org` is the organisation that it is narrowed to."""

    uuid: str
    name: str
    org: str | None
    access: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    is_here: bool


def token_rows(call: WebCall, found: Iterable[tuple[Token, Org | None]]) -> list[TokenRow]:
    """Those of a list; `is_here` marks the one that this browser is signed in with."""
    return [
        TokenRow(
            uuid=token.uuid,
            name=token.name,
            org=org.slug if org else None,
            access=token.access,
            created_at=token.created_at,
            expires_at=token.expires_at,
            last_used_at=token.last_used_at,
            is_here=token.uuid == call.actor.token_uuid,
        )
        for token, org in found
    ]


def wish_of(call: WebCall, org: Org | None = None) -> TokenWish:
    """What a form asks a new token to be. Raises `Invalid`."""
    name, ends_at = fields.line(call, "name", "Name"), fields.ends_in_days(call, "days")
    return TokenWish(name, org, _access(call.text("access")), ends_at)


def _access(text: str) -> Access:
    match text:
        case "read" | "write":
            return text
    raise invalid("Access", "choose `read` or `write`.")


def show_secret(call: WebCall, made: NewToken, **context: Any) -> Response:
    """The answer to the form that made a token, and the only one that has its secret: nobody keeps it, and no address
    leads to it. `whose` says whose token it is, `back` where to go on."""
    response = call.page(
        "secret.html", status=201, title="Your new token", name=made.token.name, secret=made.secret, **context
    )
    response.headers["Cache-Control"] = "no-store"
    return response
