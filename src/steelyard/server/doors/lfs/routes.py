"""Every route of the Git LFS door, on one page. None is in the OpenAPI document: it is not ours to describe."""

from fastapi import FastAPI

from steelyard.server.doors.lfs import batch, links, locks


def add_routes(app: FastAPI) -> None:
    """Add them to the application."""
    for router in (batch.router, links.asked, links.links, locks.router):
        app.include_router(router, include_in_schema=False)
