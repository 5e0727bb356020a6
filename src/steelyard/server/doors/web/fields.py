"""What people write into the fields of a form, read by the grammars that the API reads it by."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, TypeVar

from fastapi import Depends

from steelyard.server.db.tables import utc_now
from steelyard.server.doors.web.calls import WebCall, invalid
from steelyard.server.errors import Invalid, NotFound
from steelyard.server.names import InvalidName, OrgSlug

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)
LONGEST_LABEL = 200
_LONGEST_DAYS = 3_650
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII | re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SEEN_BUT_NOT_WRITTEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


async def _org_at(org: str) -> OrgSlug:
    return parsed("organisation", OrgSlug.parse_any, org, refusal=NotFound)


OrgPath = Annotated[OrgSlug, Depends(_org_at)]
"""The organisation that an address names. Nothing is at an address that cannot be one's."""


def parsed(field: str, parse: Callable[[str], T], text: str, *, refusal: type[Invalid | NotFound] = Invalid) -> T:
    """What the text says by a grammar of `names`. Raises the `refusal`, with the grammar's own words."""
    try:
        return parse(text)
    except InvalidName as error:
        raise refusal(f"{field.capitalize()}: {error}.") from error


def named(call: WebCall, field: str, parse: Callable[[str], T], label: str | None = None) -> T:
    """A field that a grammar reads. Raises `Invalid`."""
    return parsed(label or field, parse, call.text(field))


def line(call: WebCall, field: str, label: str, *, most: int = LONGEST_LABEL) -> str:
    """A text of `most` characters that has to be there. Raises `Invalid`."""
    text = free_text(call, field, label, most=most)
    if not text:
        raise invalid(label, "write something here; it was left empty.")
    return text


def free_text(call: WebCall, field: str, label: str, *, most: int) -> str:
    """A text that may be left out. Raises `Invalid` for a longer one, and for what no database keeps."""
    return checked_text(call.text(field), label, most=most)


def checked_text(text: str, label: str, *, most: int) -> str:
    """The text, if it can be kept. Raises `Invalid`."""
    if len(text) > most:
        raise invalid(label, f"{len(text)} characters are more than the {most} that it may have.")
    if _SEEN_BUT_NOT_WRITTEN.search(text):
        raise invalid(label, "it has control characters, or what is no Unicode text. Write it anew.")
    return text


def choice(call: WebCall, field: str, kind: type[E]) -> E:
    """One of a few words. Raises `Invalid`."""
    text = call.text(field)
    if text not in list(kind):
        raise invalid(field.capitalize(), f"choose one of {', '.join(kind)}.")
    return kind(text)


def uuid(call: WebCall, field: str) -> str:
    """What one row of a list is known by. Raises `Invalid`, for what no form of ours sends."""
    text = call.text(field)
    if not _UUID.fullmatch(text):
        raise invalid(field, "this is no id. Load the page again.")
    return text


def ends_in_days(call: WebCall, field: str) -> datetime | None:
    """When something ends that shall last so many days; None where the field was left empty. Raises `Invalid`."""
    text = call.text(field)
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= _LONGEST_DAYS):
        raise invalid("Days", f"write a number from 1 to {_LONGEST_DAYS}, or nothing.")
    return utc_now() + timedelta(days=int(text))


def moment(text: str | None, label: str) -> datetime | None:
    """A moment as a field of a browser has it (without an offset, which is UTC then) or as RFC 3339 does; None for an
    empty one. Raises `Invalid`."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text.upper() if _MOMENT.fullmatch(text) else "")
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise invalid(label, "write a day and a time, such as 2030-01-31T12:00.") from error
