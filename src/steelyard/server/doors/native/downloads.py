"""How often a model was taken, day by day."""

from typing import Annotated

from fastapi import APIRouter, Query

from steelyard.server.core import downloads, models
from steelyard.server.core.downloads import MOST_DAYS
from steelyard.server.core.limits import LimitedAction
from steelyard.server.doors.calls import CallHere
from steelyard.server.doors.native import schemas as s
from steelyard.server.doors.native.calls import PublicRoute
from steelyard.server.doors.native.documentation import errors
from steelyard.server.doors.native.parameters import NamePath, OrgPath

reads = APIRouter(prefix="/org/{org}", tags=["models"], route_class=PublicRoute, responses=errors())


@reads.get("/models/{name}/versions/downloads")
def list_model_downloads(
    call: CallHere,
    org: OrgPath,
    name: NamePath,
    days: Annotated[int, Query(ge=1, le=MOST_DAYS, description="How many days, up to and with today")] = 30,
) -> s.DownloadSeries:
    """List how often the versions of a model were taken, by day (UTC), the oldest first."""
    with call.read(LimitedAction.SEARCH) as session:
        found = models.get_model(session, call.actor, org, name)
        counted = downloads.list_days(session, found, days=days)
        total = downloads.count_downloads(session, found)
    return s.DownloadSeries(
        name=found.full_name,
        total=total,
        days=[s.DownloadDay(day=each.day.isoformat(), downloads=each.downloads) for each in counted],
    )
