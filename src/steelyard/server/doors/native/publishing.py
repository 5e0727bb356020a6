"""From a publish request to what the core publishes."""

from sqlalchemy.orm import Session

from steelyard.server.core import versions
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.models import Found
from steelyard.server.core.publish import Published
from steelyard.server.db.tables import Version
from steelyard.server.doors.calls import Call
from steelyard.server.doors.publishing import publish_new
from steelyard.server.doors.wishes import PublishRequest, read_request
from steelyard.server.errors import Fault, Invalid
from steelyard.server.names import InvalidName, ModelName, OrgSlug
from steelyard.server.names import Version as SemVer


def publish_version(
    call: Call, slug: OrgSlug, name: ModelName, body: PublishRequest, idempotency_key: str | None
) -> Published:
    """Publish what the body asks for. What is slow, hashing and reading headers, comes before the transaction.

    Takes the publish from the caller's budget first, so that the one who has spent it makes us read nothing.
    """
    call.take(LimitedAction.PUBLISH)
    new, faults = read_request(body, idempotency_key)
    return publish_new(call, slug, name, new, faults)


def exact(session: Session, found: Found, reference: str) -> Version:
    """The version of exactly this number. Raises `Invalid` for what is no number."""
    try:
        number = SemVer.parse(reference)
    except InvalidName as error:
        raise Invalid(str(error), faults=(Fault(("path", "version"), str(error)),)) from error
    return versions.get_exact(session, found, number)
