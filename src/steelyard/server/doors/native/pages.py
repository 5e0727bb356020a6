"""The interactive pages of the API, `/docs` (Swagger UI) and `/redoc`, and all that they load, without the internet."""

import base64
import hashlib
import re
from pathlib import Path

import fastapi_offline
from fastapi import FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from steelyard.server.doors.native.documentation import openapi_document

_ASSETS = "/docs/assets"
# All comes from here, and nothing goes anywhere else. A page starts by the script inside it, named by its digest; the
# libraries style as they run; ReDoc searches in a worker that it makes from a blob.
_POLICY = (
    "default-src 'none'; script-src 'self' {digests}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
_HEADERS = {
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def add_pages(app: FastAPI) -> None:
    """Add the document and the pages; their scripts are those of an installed package."""
    app.openapi = lambda: openapi_document(app)  # type: ignore[method-assign]
    folder = Path(fastapi_offline.__file__).parent / "static"
    app.mount(_ASSETS, StaticFiles(directory=folder))
    app.add_api_route("/docs", show_swagger_ui, include_in_schema=False)
    app.add_api_route("/redoc", show_redoc, include_in_schema=False)


async def show_swagger_ui() -> HTMLResponse:
    """The page on which operations can be tried."""
    page = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="Steelyard API",
        swagger_js_url=f"{_ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{_ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{_ASSETS}/favicon.png",
        swagger_ui_parameters={
            "persistAuthorization": False,
            "docExpansion": "list",
            "filter": True,
            "validatorUrl": None,
        },
    )
    return _guarded(page)


async def show_redoc() -> HTMLResponse:
    """The page to read."""
    page = get_redoc_html(
        openapi_url="/openapi.json",
        title="Steelyard API",
        redoc_js_url=f"{_ASSETS}/redoc.standalone.js",
        redoc_favicon_url=f"{_ASSETS}/favicon.png",
        with_google_fonts=False,
    )
    return _guarded(page)


def _guarded(page: HTMLResponse) -> HTMLResponse:
    inline = _SCRIPT.findall(bytes(page.body))
    digests = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'" for script in inline)
    page.headers.update({**_HEADERS, "Content-Security-Policy": _POLICY.format(digests=digests)})
    return page
