"""Tickets: signed, short-lived rights to one thing, carried in a URL. Signing is the library `itsdangerous`'s.

A ticket names its purpose, what it opens, the credential it was made with and when it ends. It proves only that we
made it: whoever honours one asks again what that credential may do now.
"""

import secrets
import time
from dataclasses import asdict, dataclass
from typing import Literal

from itsdangerous import BadData, URLSafeSerializer
from sqlalchemy import select
from sqlalchemy.orm import Session

from steelyard.server.db.tables import SigningKey
from steelyard.server.errors import Forbidden, RegistryError

Purpose = Literal[
    "upload",
    "part",
    "complete",
    "download",
    "xet-read",
    "xet-write",
    "xet-data",
    "form",
    "notice",
    "oidc",
    "identity",
    "oci",
    "keep",
]


@dataclass(frozen=True, slots=True)
class Ticket:
    """`subject` is the upload, version or model; `part` and `oid`, `size_bytes` bind uploads; `expires_at` is a Unix
    time. `span` is what it opens of the subject, where that is not all of it."""

    purpose: Purpose
    subject: str
    token_uuid: str | None
    expires_at: int
    oid: str | None = None
    size_bytes: int | None = None
    part: int | None = None
    span: str | None = None


class TicketOffice:
    """Signs and reads tickets with the keys kept in the database."""

    def __init__(self, secret_keys: list[bytes]) -> None:
        self._serializer = URLSafeSerializer(secret_keys, salt="steelyard-ticket")

    def sign(self, ticket: Ticket) -> str:
        """The ticket as text that fits a query string."""
        return str(self._serializer.dumps(asdict(ticket)))

    def has_signed(self, text: str) -> bool:
        """Whether a text is a ticket of ours, be it past its end."""
        try:
            self._serializer.loads(text)
        except BadData:
            return False
        return True

    def check(self, text: str, *, refusal: type[RegistryError] = Forbidden) -> Ticket:
        """The ticket, if we signed it and it is not past its end, whatever it is for. Raises the `refusal`."""
        try:
            ticket = Ticket(**self._serializer.loads(text))
        except (BadData, TypeError) as error:
            raise refusal("This link's ticket is not valid. Ask for a new link.") from error
        if ticket.expires_at <= time.time():
            raise refusal("This link has expired. Ask for a new link.")
        return ticket

    def read(self, text: str, purpose: Purpose, subject: str, *, part: int | None = None) -> Ticket:
        """The ticket, if it is good and for this. Raises `Forbidden`."""
        ticket = self.check(text)
        if (ticket.purpose, ticket.subject, ticket.part) != (purpose, subject, part):
            raise Forbidden("This link's ticket is for something else. Ask for a new link.")
        return ticket


def open_ticket_office(session: Session) -> TicketOffice:
    """The office with this registry's keys; makes the first key when there is none."""
    keys = list(session.scalars(select(SigningKey.secret).order_by(SigningKey.id)))
    if not keys:
        keys = [secrets.token_bytes(32)]
        session.add(SigningKey(secret=keys[0]))
    return TicketOffice(keys)
