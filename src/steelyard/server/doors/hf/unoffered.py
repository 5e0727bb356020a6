"""What the Hub has of a model and this registry has not: each is refused in words that the client shows, and by no
status that it would try again after. What is said of addresses that are about no model stands in `errors.py`.
"""

from collections.abc import Mapping

from fastapi import APIRouter, Response

from steelyard.server.doors.calls import CallHere
from steelyard.server.doors.hf.answers import json_response
from steelyard.server.doors.hf.calls import HubRoute, RepoPath
from steelyard.server.errors import BadRequest

router = APIRouter(route_class=HubRoute)

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
_DISCUSSIONS = "There are no discussions and no pull requests here. Push to a branch instead."
_DUPLICATES = "Models are not copied from one to another here. Download the files and push them."
_LFS_FILES = "Files are not listed or deleted apart from commits here: clean-up takes what nothing needs any more."
_REQUESTS = "Gated models are not offered here: a model is public, or for its organisation."
_REFUSED: Mapping[str, str] = {
    "/discussions": _DISCUSSIONS,
    "/discussions/{rest:path}": _DISCUSSIONS,
    "/duplicate": _DUPLICATES,
    "/lfs-files": _LFS_FILES,
    "/lfs-files/duplicate": _DUPLICATES,
    "/lfs-files/batch": _LFS_FILES,
    "/user-access-request/{rest:path}": _REQUESTS,
}


@router.get("/models/{org}/{name}/discussions")
def list_discussions(call: CallHere, repo: RepoPath) -> Response:
    """Say that there are none: libraries look for one of their own before they load a model."""
    with call.read() as session:
        repo.get(session, call.actor)
    return json_response({"discussions": [], "count": 0, "start": 0})


def _refuse(path: str, message: str) -> None:
    @router.api_route(f"/models/{{org}}/{{name}}{path}", methods=_METHODS, name="refuse")
    async def refuse() -> Response:
        raise BadRequest(message)


for _path, _message in _REFUSED.items():
    _refuse(_path, _message)
