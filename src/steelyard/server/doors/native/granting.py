"""Xet for clients of the native API: which bytes they had better send by it, and the rights that they need for it."""

from collections.abc import Sequence

from fastapi import APIRouter, Response
from sqlalchemy.orm import Session

from steelyard.server.core import blobs, models, versions
from steelyard.server.core.access import Action
from steelyard.server.core.arrivals.uploads import Wanted
from steelyard.server.core.xet import recipes
from steelyard.server.db.tables import Version
from steelyard.server.doors.calls import MIB, Call, CallHere
from steelyard.server.doors.grants import Grant, grant_reading, grant_writing
from steelyard.server.doors.native import schemas as s
from steelyard.server.doors.native.calls import NativeRoute, PublicRoute
from steelyard.server.doors.native.documentation import errors
from steelyard.server.doors.native.parameters import NamePath, OrgPath, ReferencePath
from steelyard.server.errors import NotFound
from steelyard.server.names import ModelName, OrgSlug

_LEAST_BYTES = 8 * MIB  # what is smaller has gone in one request before its chunks were asked about
_NOT_KEPT = {"Cache-Control": "no-store"}

writing = APIRouter(prefix="/org/{org}", tags=["bytes"], route_class=NativeRoute, responses=errors())
fetching = APIRouter(prefix="/org/{org}", tags=["bytes"], route_class=PublicRoute, responses=errors())


@writing.get("/models/{name}/blobs/xet")
def get_upload_grant(call: CallHere, response: Response, org: OrgPath, name: NamePath) -> s.XetGrant:
    """Get the right to send files of a model as chunks, by the protocol of Xet."""
    with call.read() as session:
        grant = grant_writing(call, models.get_model(session, call.actor, org, name))
    response.headers.update(_NOT_KEPT)
    return _told(grant)


@fetching.get("/models/{name}/{version}/xet")
def get_download_grant(
    call: CallHere, response: Response, org: OrgPath, name: NamePath, version: ReferencePath
) -> s.XetDownload:
    """Get the right to fetch files of a version as chunks, and what Xet calls those that take fewer bytes so.

    Counts as a download where there are any: clients ask when they are about to fetch them.
    """
    with call.read() as session:
        found = models.get_model(session, call.actor, org, name)
        chosen = versions.resolve(session, found, version).version
        files = _chunked_files(session, call, found.org.id, chosen)
        grant = grant_reading(call, found)
    if files:
        call.registry.usage.note_download(chosen, call.actor)
    response.headers.update(_NOT_KEPT)
    return s.XetDownload(**_told(grant).model_dump(by_alias=True), files=files)


def list_sent_as_chunks(call: Call, org: OrgSlug, name: ModelName, wanted: Sequence[Wanted]) -> set[str]:
    """The OIDs of those of these that the organisation lacks, where most of their chunks may be here: one of them is
    large, and an earlier version of the model is there. None otherwise. Raises `Forbidden`."""
    if not call.registry.settings.xet or all(item.size_bytes < _LEAST_BYTES for item in wanted):
        return set()
    with call.read() as session:
        try:
            found = models.get_model_to(session, call.actor, Action.PUBLISH, org, name)
        except NotFound:
            return set()
        held = blobs.find_held(session, found.org.id, {item.oid for item in wanted})
    missing = [item for item in wanted if item.oid not in held]
    is_worth_it = found.model.latest_version_id is not None and any(i.size_bytes >= _LEAST_BYTES for i in missing)
    return {item.oid for item in missing} if is_worth_it else set()


def _chunked_files(session: Session, call: Call, org_id: int, version: Version) -> dict[str, str]:
    """Path -> what Xet calls it. The others are faster fetched whole, and straight from the store if that can."""
    files = call.registry.trees.get(session, version).files
    names = recipes.find_lighter(session, org_id, {file.oid for file in files.values()})
    return {path: names[file.oid] for path, file in files.items() if file.oid in names}


def _told(grant: Grant) -> s.XetGrant:
    return s.XetGrant(casUrl=grant.cas_url, accessToken=grant.access_token, exp=grant.expires_at)
