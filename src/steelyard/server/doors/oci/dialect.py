"""The native API's own dialect of OCI, at `/api/v1`: the same operations, with the native API's errors.

None of it is in the OpenAPI document: the distribution-spec describes the operations, and their bodies are bytes to
whoever reads a schema; what is ours of it stands in `docs/containers.md`.
"""

import re
from typing import ClassVar

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope

from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.manifests import holdings, images
from steelyard.server.doors.calls import Call, CallHere, CallRoute, waits_for_the_store
from steelyard.server.doors.oci import discovery, manifests, uploading
from steelyard.server.doors.oci.blobs import blob_response
from steelyard.server.doors.oci.calls import knowing_who_writes
from steelyard.server.doors.oci.errors import BlobUnknown
from steelyard.server.doors.oci.manifests import MOST_MANIFEST_BYTES
from steelyard.server.doors.sending import OCTETS
from steelyard.server.names import Digest, InvalidName, OrgSlug

PREFIX = "/api/v1"
_REPOSITORY = "/v2/{org}/{name}"
_OFFERED = ("/blobs/uploads/", "/blobs/uploads/{upload_id}", "/manifests/{reference}", "/tags/list")
# The first words of the API's other addresses, which win; no organisation that is made can have one as its slug.
_OTHERS = re.compile(rf"{PREFIX}/(config|health|metrics|models|orgs?|ready|users?)(/|$)")


class DialectRoute(CallRoute):
    """A route by a token alone, which clients send without being asked for it."""

    admits_anonymous: ClassVar[bool] = True

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match as every door does, but where an organisation would be read for a fixed word."""
        return (Match.NONE, {}) if _OTHERS.match(scope["path"]) else super().matches(scope)

    async def open_call(self, request: Request) -> Call:
        """Who calls. Raises `Unauthenticated`."""
        return knowing_who_writes(request, await super().open_call(request))

    def most_body_bytes(self, request: Request) -> int:
        """That of a manifest, as at `/v2`; blobs are streams."""
        return MOST_MANIFEST_BYTES


router = APIRouter(prefix=PREFIX, route_class=DialectRoute)


def _offer(other: APIRouter) -> None:
    """The operations of another router that the dialect has, too."""
    for route in other.routes:
        if isinstance(route, APIRoute) and (rest := route.path.removeprefix(_REPOSITORY)) in _OFFERED:
            methods, name = sorted(route.methods or ()), f"native_{route.name}"
            router.add_api_route(f"/{{org}}/{{name}}{rest}", route.endpoint, methods=methods, name=name)


for _other in (uploading.router, manifests.router, discovery.router):
    _offer(_other)


@router.get("/{org}/blobs/{digest}")
@waits_for_the_store
def get_org_blob(request: Request, call: CallHere, org: str, digest: str) -> Response:
    """Get bytes that a version or manifest names, or a repository holds, of those that the caller may see there."""
    with call.read(LimitedAction.TRANSFER) as session:
        holding = holdings.find_in_org(session, call.actor, org, _read(org, digest))
    if holding is None:
        raise _missing(org, digest)
    return blob_response(request, call, holding)


@router.head("/{org}/blobs/{digest}")
def head_org_blob(call: CallHere, org: str, digest: str) -> Response:
    """Say whether these bytes need not be pushed: 200 or 404 and nothing between, whatever is asked besides. Who may
    publish there is told of all that the organisation holds."""
    wanted = _read(org, digest)
    size_bytes = _find_size(call, org, wanted)
    if size_bytes is None:
        raise _missing(org, digest)
    headers = {"Content-Length": str(size_bytes), "Docker-Content-Digest": wanted, "ETag": f'"{wanted}"'}
    return Response(headers=headers, media_type=OCTETS)


def _find_size(call: Call, org: str, wanted: Digest) -> int | None:
    with call.read(LimitedAction.TRANSFER) as session:
        holding = holdings.find_in_org(session, call.actor, org, wanted)
        held = holding.blob if holding else holdings.find_pushable(session, call.actor, org, wanted)
    if holding is not None and held is not None and holding.tar_path is not None:
        return images.plan_tar(held, holding.tar_path).size_bytes
    if held is not None:
        return held.size_bytes
    return len(holding.content or b"") if holding else None


def _read(org: str, digest: str) -> Digest:
    """Raises `BlobUnknown` for what is no digest, and for what no organisation is called: nothing has it."""
    try:
        OrgSlug.parse_any(org)
        return Digest.parse(digest)
    except InvalidName as error:
        raise _missing(org, digest) from error


def _missing(org: str, digest: str) -> BlobUnknown:
    return BlobUnknown(f"'{org[:100]}' has no blob {digest[:200]} that you may see.")
