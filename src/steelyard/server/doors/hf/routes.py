"""Every route of the Hub's door, on one page. None is in the OpenAPI document: the Hub's is not ours to describe."""

from fastapi import FastAPI

from steelyard.server.doors.hf import (
    account,
    committing,
    downloading,
    granting,
    listing,
    publishing,
    reading,
    repos,
    unoffered,
)

_API = "/api"


def add_routes(app: FastAPI) -> None:
    """Add them to the application, after those of the native API."""
    for router in (
        account.open_to_all,
        account.router,
        account.cards_router,
        listing.router,
        listing.own,
        reading.router,
        granting.router,
        repos.router,
        committing.router,
        publishing.router,
        unoffered.router,
    ):
        app.include_router(router, prefix=_API, include_in_schema=False)
    app.include_router(downloading.router, include_in_schema=False)
