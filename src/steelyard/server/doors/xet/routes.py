"""Every route of the CAS, which clients find by the `casUrl` that they get with their token."""

from fastapi import FastAPI, Response

from steelyard.server.doors.xet import arriving, leaving
from steelyard.server.doors.xet.verifying import ShardTurns


def add_routes(app: FastAPI) -> None:
    """Add them to the application, and the one that clients look for at the root whatever the CAS's address."""
    for router in (leaving.links, leaving.router, arriving.router):
        app.include_router(router)
    app.add_api_route("/v1/telemetry", post_telemetry, methods=["POST"], include_in_schema=False)


def add_turns(app: FastAPI) -> None:
    """What the routes keep of one server, whose application this is."""
    app.state.shard_turns = ShardTurns()


async def post_telemetry() -> Response:
    """What clients of Xet tell of themselves. Nobody listens."""
    return Response(status_code=200)
