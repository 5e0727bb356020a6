"""From a publish request to what the core publishes."""

from dataclasses import replace

from sqlalchemy.orm import Session

from steelyard.server.core import orgs, publish, versions
from steelyard.server.core.access import Action
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.models import Found
from steelyard.server.core.publish import Description, NewVersion
from steelyard.server.core.reading import count_parameters_of
from steelyard.server.db.tables import Version
from steelyard.server.doors.native import schemas as s
from steelyard.server.doors.native.calls import Call
from steelyard.server.errors import Fault, Invalid
from steelyard.server.names import InvalidName, OrgSlug, check_artifact_paths
from steelyard.server.names import Version as SemVer


def read_request(body: s.PublishRequest, idempotency_key: str | None) -> NewVersion:
    """What the body asks for. Raises `Invalid` naming every fault of its paths, and for a `bump` without a key."""
    faults = [
        Fault(("body", "artifacts", path), message, "invalid_path")
        for path, message in check_artifact_paths(list(body.artifacts))
    ]
    if body.bump and idempotency_key is None:
        faults.append(Fault(("header", "Idempotency-Key"), "send one with `bump`, so that a retry is safe", "missing"))
    if faults:
        raise Invalid("This version cannot be published as it is.", faults=tuple(faults))
    return NewVersion(
        artifacts={path: str(oid) for path, oid in body.artifacts.items()},
        number=body.version,
        bump=body.bump,
        idempotency_key=idempotency_key,
        description=Description(**{field: getattr(body, field) for field in Description.__slots__}),
        metrics=body.metrics,
        origin=body.origin or {},
        aliases=[str(alias) for alias in body.aliases or ()],
        is_public=bool(body.is_public),
    )


def with_parameters(call: Call, slug: OrgSlug, new: NewVersion) -> NewVersion:
    """The same, with the parameters counted from the weights' headers: slow things come before the transaction.

    Takes the publish from the caller's budget, so that the one who has spent it makes us read nothing.
    """
    with call.read(LimitedAction.PUBLISH) as session:
        org = orgs.get_org_to(session, call.actor, Action.PUBLISH, slug)
        weights = publish.list_weight_files(session, org, new.artifacts)
    return replace(new, parameters=count_parameters_of(call.registry.store, weights))


def exact(session: Session, found: Found, reference: str) -> Version:
    """The version of exactly this number. Raises `Invalid` for what is no number."""
    try:
        number = SemVer.parse(reference)
    except InvalidName as error:
        raise Invalid(str(error), faults=(Fault(("path", "version"), str(error)),)) from error
    return versions.get_exact(session, found, number)
