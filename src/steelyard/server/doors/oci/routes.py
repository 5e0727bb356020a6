"""Every route of the door, on one page. None is in the OpenAPI document: the specification has them."""

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.responses import JSONResponse

from steelyard.server.doors.calls import CallHere
from steelyard.server.doors.oci import blobs, dialect, discovery, manifests, tokens, uploading
from steelyard.server.doors.oci.calls import OciRoute, has_token
from steelyard.server.doors.oci.errors import VERSION
from steelyard.server.errors import Unauthenticated

router = APIRouter(route_class=OciRoute)


@router.api_route("/v2/", methods=["GET", "HEAD"])
async def ping(call: CallHere, request: Request) -> Response:
    """Say that this is a registry: to whoever is known. Tools learn by the 401 how to make themselves known."""
    if call.actor.is_anonymous and not has_token(request):
        raise Unauthenticated("Authentication failed: this registry wants to know who asks.")
    return JSONResponse({}, headers=VERSION)


def add_first_routes(app: FastAPI) -> None:
    """Add what pulls and pushes ask for most before the routes of other doors, none of which are at `/v2`: to look
    through all of those takes as long as to answer."""
    for each in (manifests.router, blobs.router, uploading.router):
        app.include_router(each, include_in_schema=False)


def add_routes(app: FastAPI) -> None:
    """Add the others to the application."""
    doors = (tokens.router, discovery.router, dialect.router)
    for each in (router, *doors):
        app.include_router(each, include_in_schema=False)
