"""The bytes of files for a browser, by its session; and where links lead that the Hub's clients print.

The Hub's clients ask for files at the same addresses, by a token. These routes stand before theirs, and see no request
but a browser's: one with the cookie of a session, or for an image of a page.
"""

from fastapi import APIRouter, Request, Response
from starlette.datastructures import Headers
from starlette.routing import Match
from starlette.types import Scope

from steelyard.server.core.files import previews, reading
from steelyard.server.core.limits import LimitedAction
from steelyard.server.doors.calls import waits_for_the_store
from steelyard.server.doors.fetching import StoredFile, caching, file_response
from steelyard.server.doors.sending import BlobSource, BytesResponse
from steelyard.server.doors.web.calls import CallHere, WebCall, WebRoute
from steelyard.server.doors.web.model.places import RepoPath, find_place
from steelyard.server.doors.web.pages import url_path
from steelyard.server.errors import EntryNotFound

_HEADERS = {
    **caching(lasts=False),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "Vary": "Authorization, Cookie, X-API-Key",
    "X-Frame-Options": "DENY",
}


class BrowserRoute(WebRoute):
    """A route that is for browsers, at an address that has another for programs."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match as every page does, unless a program asks."""
        return super().matches(scope) if _is_of_browser(scope) else (Match.NONE, {})


def _is_of_browser(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    asks_for_image = scope["query_string"].startswith(b"inline")
    return ("steelyard-session=" in headers.get("cookie", "") or asks_for_image) and not _has_token(headers)


def _has_token(headers: Headers) -> bool:
    return "authorization" in headers or "x-api-key" in headers


before_the_hub = APIRouter(route_class=BrowserRoute)
router = APIRouter(route_class=WebRoute)


@before_the_hub.get("/{org}/{name}/raw/{ref}/{path:path}")
@before_the_hub.get("/{org}/{name}/resolve/{ref}/{path:path}")
@waits_for_the_store
def get_raw_file(
    request: Request, call: CallHere, repo: RepoPath, ref: str, path: str, inline: str | None = None
) -> Response:
    """The bytes of a file to be saved; with `inline`, those of an image to be shown."""
    with call.read(LimitedAction.TRANSFER) as session:
        place, revision = find_place(session, call, repo, ref, path)
        file = place.files.get(path)
        if file is None:
            raise EntryNotFound(f"{place.model.full_name} has no file '{path[:200]}' at {ref}.")
        key = reading.get_key(session, file)
    is_led_here = request.headers.get("sec-fetch-site") == "cross-site"  # another site's link: nobody asked to count it
    wanted = StoredFile(file, key, f'"{file.oid}"', None if is_led_here else revision.version)
    image = _image_response(call, wanted) if inline is not None else None
    return image or file_response(request, call, wanted, _HEADERS)


def _image_response(call: WebCall, wanted: StoredFile) -> Response | None:
    """An image as what it is, if it is one that harms nobody. It is a look, and no download."""
    if wanted.file.size_bytes > previews.MOST_IMAGE_BYTES:
        return None
    blob = reading.open_key(call.registry.store, wanted.key)
    media_type = previews.image_type(blob.read(0, previews.SIGNATURE_BYTES))
    if media_type is None:
        blob.close()
        return None
    return BytesResponse(
        BlobSource(blob, wanted.file.size_bytes, wanted.etag),
        content_disposition="inline",
        content_type=media_type,
        headers=_HEADERS,
        wait_seconds=call.registry.settings.store_timeout_seconds,
    )


# --- addresses of the Hub's


@router.get("/{org}/{name}/commit/{sha}")
def go_to_commit(call: CallHere, repo: RepoPath, sha: str) -> Response:
    """A commit is shown by the files that it has."""
    with call.read() as session:
        place, _ = find_place(session, call, repo, sha, "")
    return call.go(place.url("tree", ref=place.version or place.sha))


@router.get("/{org}/{name}/commits/{ref}")
@router.get("/{org}/{name}/refs")
def go_to_history(call: CallHere, repo: RepoPath, ref: str = "") -> Response:
    """How a model came to be is on the line of its versions."""
    with call.read() as session:
        found = repo.get(session, call.actor)
    return call.go(url_path(found.org.slug, found.model.name, "versions"))


@router.get("/{org}/{name}/discussions")
@router.get("/{org}/{name}/discussions/{number}")
@router.get("/{org}/{name}/community")
def go_to_model(call: CallHere, repo: RepoPath, number: str = "") -> Response:
    """Nobody discusses here."""
    with call.read() as session:
        found = repo.get(session, call.actor)
    return call.go(url_path(found.org.slug, found.model.name))
