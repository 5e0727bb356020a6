"""Every route of the pages, on one page. Those with fixed words come before names, so that they win."""

from fastapi import APIRouter, FastAPI

from steelyard.server.doors.web import assets, catalogue
from steelyard.server.doors.web.calls import OpenRoute
from steelyard.server.doors.web.model import card, comparing, files, lineage, raw, settings, versions
from steelyard.server.doors.web.org import auditing, people, uploading
from steelyard.server.doors.web.person import instance, mine, openid, signing_in


def add_routes(app: FastAPI) -> None:
    """Add them to the application, after those of every other door."""
    open_to_all = APIRouter(route_class=OpenRoute)
    open_to_all.add_api_route(assets.PATH, assets.get_asset, response_model=None)
    for router in (
        open_to_all,
        signing_in.router,
        signing_in.own,
        openid.router,
        openid.own,
        mine.router,
        instance.router,
        people.router,
        auditing.router,
        uploading.router,
        catalogue.router,
        versions.router,
        comparing.router,
        lineage.router,
        files.router,
        raw.router,
        settings.router,
        card.router,
    ):
        app.include_router(router, include_in_schema=False)


def add_first_routes(app: FastAPI) -> None:
    """Add those that must stand before every other door's."""
    app.include_router(raw.before_the_hub, include_in_schema=False)
