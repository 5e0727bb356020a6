"""What the OpenAPI document says beyond the code: every error of every operation, the ways to sign in, and for each
operation how to call it with curl and JavaScript. And the pages that show it, without the internet."""

import json
from http import HTTPStatus
from pathlib import Path
from typing import Any

import fastapi_offline
from fastapi import FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from steelyard import __version__
from steelyard.server.doors.native.schemas import ErrorBody

DESCRIPTIONS = {
    400: "Invalid request",
    401: "Authentication failed",
    403: "Access forbidden",
    404: "Not found",
    405: "Method not allowed",
    409: "Already exists, or the state forbids it",
    412: "Precondition failed",
    413: "Too large",
    415: "Unsupported media type",
    416: "Range not satisfiable",
    422: "Validation error",
    426: "Upgrade required",
    429: "Rate limited",
    500: "Internal server error",
    502: "Bad gateway",
    503: "Not ready",
    504: "Gateway timeout",
}
ALWAYS = (400, 401, 403, 404, 405, 409, 413, 415, 422, 426, 429, 500, 502, 504)
NO_CONTENT: dict[str, Any] = {"status_code": 204, "response_model": None}


def errors(*more: int) -> dict[int | str, dict[str, Any]]:
    """What every operation may answer besides success, and what else this one may."""
    return {status: {"model": ErrorBody, "description": DESCRIPTIONS[status]} for status in (*ALWAYS, *more)}


_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer <token>`"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "basic": {"type": "http", "scheme": "basic", "description": "Any user name, the token as the password"},
}
_EXAMPLE_HOST = "https://example.com"
_ASSETS = "/docs/assets"


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title="Steelyard",
            version=__version__,
            summary="A registry for machine-learning models",
            description="Publish versioned models, resolve them by version, alias, `latest` or range, and pull them "
            "verified. Errors of every operation have one body: `code`, `detail`, `type`, and `errors` on 422.",
            routes=app.routes,
        )
        document["components"]["securitySchemes"] = _SCHEMES
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                _complete(path, method, operation)
        app.openapi_schema = document
    return app.openapi_schema


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    operation["responses"].pop("default", None)
    needs_token = operation.pop("x-credential", True)
    operation["security"] = [{name: []} for name in _SCHEMES] if needs_token else []
    samples = _samples(path, method, operation, needs_token=needs_token)
    operation["x-codeSamples"] = [{"lang": lang, "label": label, "source": text} for lang, label, text in samples]
    fences = "\n\n".join(f"**{label}**\n\n```{lang}\n{text}\n```" for lang, label, text in samples)
    operation["description"] = f"{operation.get('description', '')}\n\n{fences}".strip()


def _samples(path: str, method: str, operation: dict[str, Any], *, needs_token: bool) -> list[tuple[str, str, str]]:
    url = _EXAMPLE_HOST + _filled(path) + _query(operation)
    body = _example_body(operation)
    headers = {"Authorization": "Bearer <token>"} if needs_token else {}
    if body is not None:
        headers["Content-Type"] = "application/json"
    return [
        ("bash", "curl", _curl(method, url, headers, body)),
        ("javascript", "fetch", _fetch(method, url, headers, body)),
    ]


_FILLED = {"org": "example", "name": "example", "version": "1.0.0", "alias": "production", "path": "model.safetensors"}


def _filled(path: str) -> str:
    for name, value in _FILLED.items():
        path = path.replace("{" + name + "}", value).replace("{" + name + ":path}", value)
    return path


def _query(operation: dict[str, Any]) -> str:
    required = [p["name"] for p in operation.get("parameters", ()) if p["in"] == "query" and p.get("required")]
    values = {"versions": "versions=1.0.0&versions=1.1.0", "ticket": "ticket=<ticket>"}
    return "?" + "&".join(values.get(name, f"{name}=") for name in required) if required else ""


_EXAMPLE_BODIES: dict[str, Any] = {
    "publish_model": {"version": "1.0.0", "artifacts": {"model.safetensors": "sha256:" + "0" * 64}},
    "update_model_visibility": {"is_public": True},
    "set_model_alias": {"alias": "production"},
    "update_model_metrics": {"accuracy": 0.93},
    "yank_model": {"reason": "wrong tokenizer"},
    "begin_uploads": {
        "operation": "upload",
        "transfers": ["basic", "multipart"],
        "objects": [{"oid": "0" * 64, "size": 1}],
    },
    "complete_upload": {"oid": "0" * 64},
    "create_api_key": {"name": "ci", "access": "read"},
    "create_user": {"username": "ada", "email_address": "ada@example.com"},
    "update_user": {"disabled": True},
    "create_org": {"key": "acme", "name": "Acme"},
    "add_member": {"username": "ada", "role": "contributor"},
    "set_member_role": {"role": "owner"},
    "add_service_account": {"name": "ci", "role": "contributor"},
    "set_service_account_role": {"role": "reader"},
    "create_service_token": {"name": "nightly", "access": "read"},
}


def _example_body(operation: dict[str, Any]) -> Any:
    if "application/json" not in operation.get("requestBody", {}).get("content", {}):
        return None
    return _EXAMPLE_BODIES[operation["operationId"]]


def _curl(method: str, url: str, headers: dict[str, str], body: Any) -> str:
    lines = [f"curl --request {method.upper()}", f"--url '{url}'"]
    lines += [f"--header '{name}: {value}'" for name, value in headers.items()]
    lines += [f"--data '{json.dumps(body)}'"] if body is not None else []
    return " \\\n  ".join(lines)


def _fetch(method: str, url: str, headers: dict[str, str], body: Any) -> str:
    options: dict[str, Any] = {"method": method.upper(), "headers": headers}
    said = json.dumps(options, indent=2)
    if body is not None:
        said = said[:-2] + f',\n  "body": JSON.stringify({json.dumps(body)})\n}}'
    return f"const response = await fetch('{url}', {said});\nconsole.log(response.status, await response.text());"


def add_pages(app: FastAPI) -> None:
    """`/openapi.json`, `/docs` (Swagger UI) and `/redoc`, their scripts served from the installed package."""
    app.openapi = lambda: openapi_document(app)  # type: ignore[method-assign]
    folder = Path(fastapi_offline.__file__).parent / "static"
    app.mount(_ASSETS, StaticFiles(directory=folder))

    @app.get("/docs", include_in_schema=False)
    def show_swagger_ui() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="Steelyard API",
            swagger_js_url=f"{_ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{_ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{_ASSETS}/favicon.png",
            swagger_ui_parameters={"persistAuthorization": False, "docExpansion": "list", "filter": True},
        )

    @app.get("/redoc", include_in_schema=False)
    def show_redoc() -> HTMLResponse:
        return get_redoc_html(
            openapi_url="/openapi.json",
            title="Steelyard API",
            redoc_js_url=f"{_ASSETS}/redoc.standalone.js",
            redoc_favicon_url=f"{_ASSETS}/favicon.png",
            with_google_fonts=False,
        )


def phrase(status: int) -> str:
    """A status in words, for one that carries none."""
    return DESCRIPTIONS.get(status) or HTTPStatus(status).phrase
