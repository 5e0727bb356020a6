"""Errors as pages: what went wrong, what to do, and the request's id for whoever runs this server."""

from collections.abc import Mapping

from fastapi import Request, Response
from starlette.datastructures import Headers
from starlette.types import Scope

from steelyard.server.doors.web.calls import PROGRAMS, WebCall, carry_session, viewer_of
from steelyard.server.doors.web.pages import Viewer, local_path, page_response, redirect, url_path
from steelyard.server.errors import NotFound, RegistryError, Unauthenticated

_TITLES: Mapping[int, str] = {
    400: "This request cannot be understood",
    401: "Sign in",
    403: "You may not do this",
    404: "There is nothing here for you to see",
    405: "This cannot be done here",
    409: "Something stands in the way",
    413: "This is too large",
    422: "Something is not right yet",
    429: "Too many requests",
    500: "Something went wrong here",
    502: "Something behind this server failed",
    503: "Not ready yet",
    504: "Something behind this server does not answer",
}


def speaks(scope: Scope) -> bool:
    """Whether somebody looks at the answer: with a browser, at an address outside the APIs. Programs that come to a
    page are answered as they are everywhere else."""
    asked = Headers(scope=scope).get("accept", "")
    return "text/html" in asked and not PROGRAMS.match(scope["path"])


def answer(scope: Scope, error: RegistryError) -> Response:
    """The error as a page. Who is not signed in and reads is shown the way in, and led back from there."""
    request = Request(scope)
    if error.status == Unauthenticated.status and scope["method"] in ("GET", "HEAD"):
        return redirect(url_path("-", "login", next=_asked(scope)))
    call = scope["state"].get("call")
    is_known = isinstance(call, WebCall)
    response = page_response(
        request,
        "error.html",
        viewer_of(call) if is_known else Viewer(is_known=False),
        status=error.status,
        title=_TITLES.get(error.status, "Something is wrong"),
        error=error,
        words=_words(scope, error),
        back=_back(request, is_signed_in=isinstance(call, WebCall) and call.signed_in is not None),
    )
    response.headers.update({**error.headers, "Cache-Control": "no-store"})
    if error.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    carry_session(scope, response)
    return response


def _words(scope: Scope, error: RegistryError) -> str:
    """The framework knows nothing of an address without a route, and speaks of operations."""
    if "route" not in scope and type(error) is NotFound:
        return "There is no page at this address. It may be misspelt, or what was here is gone."
    return error.detail


def _asked(scope: Scope) -> str:
    query = scope.get("query_string", b"").decode("latin-1")
    asked = scope["path"] + (f"?{query}" if query else "")
    return asked if len(asked) <= 2_000 else "/"


def _back(request: Request, *, is_signed_in: bool) -> str | None:
    """The page of ours that the failed form was on, or from which a sign-in was begun that failed elsewhere."""
    if request.scope["path"].startswith("/-/oidc/") and request.method == "GET":
        return "/-/me" if is_signed_in else "/-/login"
    host = f"//{request.headers.get('host', '')}/"
    scheme, found, path = request.headers.get("referer", "").partition(host)
    return local_path(f"/{path}") if found and scheme in ("http:", "https:") and request.method == "POST" else None
