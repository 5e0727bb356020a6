"""Every route of the native door, on one page. Fixed words come before names, so that they win."""

from fastapi import APIRouter, FastAPI

from steelyard.server.doors.native import accounts, downloading, granting, instance, models, scraping, uploading

PREFIX = "/api/v1"


def add_routes(app: FastAPI) -> None:
    """Add them to the application; the probes and the metrics also stand at the root."""
    api = APIRouter(prefix=PREFIX)
    for router in (
        instance.router,
        scraping.router,
        accounts.router,
        uploading.batch,
        uploading.links,
        granting.writing,
        granting.fetching,
        downloading.files,
        downloading.archives,
        models.writes,
        models.reads,
    ):
        api.include_router(router)
    app.include_router(api)
    app.include_router(instance.router, include_in_schema=False)
    app.include_router(scraping.router, include_in_schema=False)
