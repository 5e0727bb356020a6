"""Publishing for every door through which a version comes whole: what is slow comes before the one transaction."""

from collections.abc import Sequence

from steelyard.server.core import orgs, publish
from steelyard.server.core.files.reading import count_parameters_of
from steelyard.server.core.publish import NewVersion, Published
from steelyard.server.doors.calls import Call
from steelyard.server.errors import Fault
from steelyard.server.names import ModelName, OrgSlug


def publish_new(call: Call, slug: OrgSlug, name: ModelName, new: NewVersion, faults: Sequence[Fault] = ()) -> Published:
    """Publish a version whose bytes the organisation holds. Waits for the store, to read headers of weights. Raises
    what `publish.publish` does, and `Invalid` for `faults` found before. The caller's budget was asked."""
    with call.registry.database.read() as session:
        org = orgs.get_org(session, call.actor, slug)
        weights = publish.look_ahead(session, call.actor, org, name, new, faults)
    parameters = count_parameters_of(call.registry.store, weights)
    with call.registry.database.write() as session:
        org = orgs.get_org(session, call.actor, slug)
        return publish.publish(session, call.actor, org, name, new, parameters=parameters)
