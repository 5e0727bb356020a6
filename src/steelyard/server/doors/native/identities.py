"""By what the caller can sign in to the web pages besides his tokens. Identities are linked there, in a browser."""

from fastapi import APIRouter

from steelyard.server.core import identities
from steelyard.server.core.limits import LimitedAction
from steelyard.server.doors.calls import CallHere
from steelyard.server.doors.native import schemas as s
from steelyard.server.doors.native.calls import NativeRoute
from steelyard.server.doors.native.documentation import NO_CONTENT, errors
from steelyard.server.doors.native.parameters import UuidPath

router = APIRouter(route_class=NativeRoute, tags=["user"], responses=errors())


@router.get("/user/identities")
def list_identities(call: CallHere) -> s.IdentityList:
    """List the identities at an OpenID provider that the caller has linked."""
    with call.read() as session:
        rows = identities.list_own_identities(session, call.actor)
    items = [
        s.IdentityItem(id=row.uuid, issuer=row.issuer, subject=row.subject, linked_at=row.created_at) for row in rows
    ]
    return s.IdentityList(identities=items)


@router.delete("/user/identities/{identity_id}", **NO_CONTENT)
def unlink_identity(call: CallHere, identity_id: UuidPath) -> None:
    """Unlink one of them, and end the sessions that were begun by it."""
    with call.write(LimitedAction.ACCOUNTS) as session:
        identities.delete_own_identity(session, call.actor, identity_id)
