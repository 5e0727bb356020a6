"""Errors as Git LFS has them (git-lfs, `docs/api/batch.md`), with the headers that the Hub's clients look at."""

import re

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import Scope

from steelyard.server.doors.middleware import notes_of
from steelyard.server.errors import NotFound, RegistryError, Unauthenticated

MEDIA_TYPE = "application/vnd.git-lfs+json"
DOCUMENTATION_URL = "https://github.com/git-lfs/git-lfs/tree/main/docs/api"
ABOUT_A_REPO = ("/objects/batch", "/objects/verify")  # what is not found at the others is an upload or an object
_OURS = re.compile(r"/[^?]*\.git/info/lfs(/|$)")
_LONGEST_MESSAGE = 1_000


def speaks_at(path: str) -> bool:
    """Whether it is a client of Git LFS who asks at this address, whatever is there."""
    return _OURS.match(path) is not None


def answer(scope: Scope, error: RegistryError) -> JSONResponse:
    """The error as Git LFS says it."""
    error = _asking(scope, error)
    headers = {**error.headers, "X-Error-Message": _one_line(error.detail)}
    if error.status == Unauthenticated.status:
        headers["LFS-Authenticate"] = headers["WWW-Authenticate"] = 'Basic realm="steelyard"'
    if isinstance(error, NotFound | Unauthenticated) and scope["path"].endswith(ABOUT_A_REPO):
        headers["X-Error-Code"] = "RepoNotFound"
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    body = {
        "message": error.detail,
        "request_id": notes_of(scope).request_id,
        "documentation_url": DOCUMENTATION_URL,
    }
    return JSONResponse(body, error.status, headers, media_type=MEDIA_TYPE)


def _asking(scope: Scope, error: RegistryError) -> RegistryError:
    """Clients send a token only once they are asked for one: what nobody in particular cannot see may be there."""
    is_about_a_repo = isinstance(error, NotFound) and scope["path"].endswith(ABOUT_A_REPO)
    headers = Headers(scope=scope)
    if is_about_a_repo and not ("authorization" in headers or "x-api-key" in headers):
        return Unauthenticated(error.detail)
    return error


def _one_line(text: str) -> str:
    """The text as a header may carry it."""
    return " ".join(text[:_LONGEST_MESSAGE].split()).encode("ascii", "replace").decode()
