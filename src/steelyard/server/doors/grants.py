"""Grants: what a client of Xet needs to exchange chunks with us: an address, and a right for one model and a while.

The right is a ticket with the credential behind it, which is asked again at each request (`doors/xet/callers.py`). Any
door may hand one out to whoever it has let see the model.
"""

import time
from dataclasses import dataclass

from steelyard.server.core.access import Action, allow
from steelyard.server.core.models import Found
from steelyard.server.core.tickets import Purpose, Ticket
from steelyard.server.doors.calls import Call
from steelyard.server.errors import BadRequest

LEAST_SECONDS = 600  # clients ask again for every file when a grant has less than a minute left


@dataclass(frozen=True, slots=True)
class Grant:
    """Where the chunks of an organisation are, and a token for them; `expires_at` is a Unix time."""

    cas_url: str
    access_token: str
    expires_at: int

    @property
    def headers(self) -> dict[str, str]:
        """The same as the Hub has it, which some clients read nothing but."""
        return {
            "X-Xet-Cas-Url": self.cas_url,
            "X-Xet-Access-Token": self.access_token,
            "X-Xet-Token-Expiration": str(self.expires_at),
        }


def grant_reading(call: Call, found: Found) -> Grant:
    """The right to fetch files of a model that the caller was shown. Raises `BadRequest` where Xet is switched off."""
    return _grant(call, found, "xet-read")


def grant_writing(call: Call, found: Found) -> Grant:
    """The right to send files for a model, too. Raises `Forbidden` or `Unauthenticated`, and as above."""
    allow(call.actor, Action.PUBLISH, found.org.id)
    return _grant(call, found, "xet-write")


def subject_of(found: Found) -> str:
    """A model, as the tickets of its grants and of the links to its bytes name it."""
    return f"{found.org.slug}/{found.model.name_key}"


def expiry(call: Call) -> int:
    """When a grant of this moment ends."""
    return int(time.time()) + max(LEAST_SECONDS, call.registry.settings.ticket_ttl_seconds)


def _grant(call: Call, found: Found, purpose: Purpose) -> Grant:
    if not call.registry.settings.xet:
        raise BadRequest(
            "This server takes and sends files whole (xet = false). Clients that would use Xet all the same are told "
            "so by HF_HUB_DISABLE_XET=1."
        )
    ticket = Ticket(purpose, subject_of(found), call.actor.token_uuid, expiry(call))
    url = call.url(f"/cas/{found.org.slug}/{found.org.xet_generation}")
    return Grant(url, call.registry.tickets.sign(ticket), ticket.expires_at)
