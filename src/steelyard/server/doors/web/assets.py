"""The one style sheet and the one script of the pages, each made of the files of a folder, in the order of their names.

Their address has their digest in it, so that a browser keeps them for ever and asks for others when they change.
"""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

from steelyard.server.errors import NotFound

PATH = "/-/assets/{digest}/{name}"
_PARTS = {
    "style.css": ("styles", ".css", "text/css; charset=utf-8"),
    "script.js": ("scripts", ".js", "text/javascript; charset=utf-8"),
    "mark.svg": ("images", "mark.svg", "image/svg+xml"),
}
_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept-Encoding",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent: whole, and packed."""

    content: bytes
    packed: bytes
    media_type: str
    digest: str


@cache
def read_assets() -> Mapping[str, Asset]:
    """All of them, by name."""
    return {name: _read(*where) for name, where in _PARTS.items()}


def _read(folder: str, ending: str, media_type: str) -> Asset:
    parts = (files("steelyard.server.doors.web") / "assets" / folder).iterdir()
    named = sorted((part.name, part.read_bytes()) for part in parts if part.name.endswith(ending))
    content = b"\n".join(content for _, content in named)
    return Asset(content, gzip.compress(content, 9, mtime=0), media_type, hashlib.sha256(content).hexdigest()[:16])


def url_of(name: str) -> str:
    """Where a page loads this from."""
    return f"/-/assets/{read_assets()[name].digest}/{name}"


async def get_asset(request: Request, digest: str, name: str) -> Response:
    """One of them. Of another digest than today's there is none: a page of before names it, and is loaded anew."""
    asset = read_assets().get(name)
    if asset is None or asset.digest != digest:
        raise NotFound("There is no such asset. Load the page again.")
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(asset.packed, 200, {**_HEADERS, "Content-Encoding": "gzip"}, asset.media_type)
    return Response(asset.content, 200, _HEADERS, asset.media_type)
