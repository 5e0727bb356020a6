"""From a publish request to what the core publishes."""

from collections.abc import Iterator, Mapping

from sqlalchemy.orm import Session

from steelyard.server.core import versions
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.models import Found
from steelyard.server.core.publish import Description, NewVersion, Published
from steelyard.server.db.tables import Version
from steelyard.server.doors.calls import Call
from steelyard.server.doors.native import schemas as s
from steelyard.server.doors.publishing import publish_new
from steelyard.server.errors import Fault, Invalid
from steelyard.server.names import InvalidName, ModelName, Oid, OrgSlug, check_artifact_paths
from steelyard.server.names import Version as SemVer


def read_request(body: s.PublishRequest, idempotency_key: str | None) -> tuple[NewVersion, list[Fault]]:
    """What the body asks for, and every fault of its paths, of its OIDs, and of a `bump` without a key."""
    faults = [
        Fault(("body", "artifacts", path), message, "invalid_path")
        for path, message in check_artifact_paths(list(body.artifacts))
    ]
    faults += _oid_faults(body.artifacts)
    if body.bump and idempotency_key is None:
        faults.append(Fault(("header", "Idempotency-Key"), "send one with `bump`, so that a retry is safe", "missing"))
    new = NewVersion(
        artifacts=body.artifacts,
        number=body.version,
        bump=body.bump,
        idempotency_key=idempotency_key,
        description=Description(**{field: getattr(body, field) for field in Description.__slots__}),
        metrics=body.metrics,
        origin=body.origin or {},
        aliases=[str(alias) for alias in body.aliases or ()],
        is_public=bool(body.is_public),
    )
    return new, faults


def _oid_faults(artifacts: Mapping[str, str]) -> Iterator[Fault]:
    """Not left to the schema, which the event loop checks: there may be a hundred thousand."""
    for path, oid in artifacts.items():
        try:
            Oid.parse(oid)
        except InvalidName as error:
            yield Fault(("body", "artifacts", path), str(error))


def publish_version(
    call: Call, slug: OrgSlug, name: ModelName, body: s.PublishRequest, idempotency_key: str | None
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
