"""Every route of the native door, on one page. Fixed words come before names, so that they win."""

from fastapi import FastAPI

from steelyard.server.doors.native import (
    accounts,
    catalog,
    comparing,
    downloading,
    downloads,
    granting,
    identities,
    instance,
    lineage,
    models,
    scraping,
    tensors,
    uploading,
)

PREFIX = "/api/v1"


def add_routes(app: FastAPI) -> None:
    """Add them to the application; the probes and the metrics also stand at the root. No router is put into another
    first: the framework would read every signature once more."""
    for router in (
        instance.router,
        scraping.router,
        accounts.router,
        identities.router,
        uploading.batch,
        uploading.links,
        granting.writing,
        granting.fetching,
        downloading.files,
        downloading.archives,
        catalog.router,
        comparing.reads,
        downloads.reads,
        lineage.reads,
        models.writes,
        models.reads,
        tensors.reads,
    ):
        app.include_router(router, prefix=PREFIX)
    app.include_router(instance.router, include_in_schema=False)
    app.include_router(scraping.router, include_in_schema=False)
