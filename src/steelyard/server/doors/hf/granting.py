"""Tokens of Xet: the right to exchange large files with our CAS as chunks, for whoever may do so by the API."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from starlette.responses import Response

from steelyard.server.core.history import revisions
from steelyard.server.doors.calls import CallHere
from steelyard.server.doors.grants import Grant, grant_reading, grant_writing
from steelyard.server.doors.hf.calls import HubRoute, RepoPath, RevisionPath

router = APIRouter(prefix="/models/{org}/{name}", route_class=HubRoute)


@router.get("/xet-read-token/{revision}")
def get_read_token(call: CallHere, repo: RepoPath, revision: RevisionPath) -> Response:
    """Get a token to fetch the model's files. Clients ask for it when they are about to, so the version counts as
    downloaded."""
    with call.read() as session:
        found = repo.get(session, call.actor)
        version = revisions.resolve_revision(session, call.actor, found, revision).version
        grant = grant_reading(call, found)
    if version is not None:
        call.registry.usage.note_download(version, call.actor)
    return _told(grant)


@router.get("/xet-write-token/{revision}")
def get_write_token(call: CallHere, repo: RepoPath, revision: RevisionPath) -> Response:
    """Get a token to send files for the model. The revision may be one that there is not yet."""
    with call.read() as session:
        grant = grant_writing(call, repo.get(session, call.actor))
    return _told(grant)


def _told(grant: Grant) -> Response:
    """Twice: hf_xet reads the body, and huggingface_hub the headers, some versions of it nothing else."""
    body = {"casUrl": grant.cas_url, "accessToken": grant.access_token, "exp": grant.expires_at}
    return JSONResponse(body, headers=grant.headers)
