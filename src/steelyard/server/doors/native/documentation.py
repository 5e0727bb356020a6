"""What the OpenAPI document says beyond the code: every error of every operation, headers, the ways to sign in, and for
each operation how to call it."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from steelyard import __version__
from steelyard.server.doors import grammars
from steelyard.server.doors.native.examples import samples_of
from steelyard.server.doors.native.links import links_of
from steelyard.server.doors.native.schemas import ErrorBody

Responses = dict[int | str, dict[str, Any]]

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


def _header(description: str, *, required: bool = True, **schema: Any) -> dict[str, Any]:
    return {"description": description, "required": required, "schema": {"type": "string", **schema}}


_REQUEST_ID = {"X-Request-Id": _header("The id of this request in the server's log", minLength=1, maxLength=128)}
_ERROR_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": _header("The schemes that are understood")},
    405: {"Allow": _header("The methods that are possible here")},
    409: {"Retry-After": _header("Seconds to wait for bytes that are being proven", required=False)},
    416: {"Content-Range": _header("How many bytes there are", pattern=r"^bytes \*/[0-9]+$")},
    426: {"Upgrade": _header("The oldest client that is served")},
    429: {
        "Retry-After": _header("Seconds to wait", pattern="^[0-9]+$"),
        "RateLimit": _header("What is left of the budget"),
        "RateLimit-Policy": _header("The budget"),
    },
    503: {"Retry-After": _header("Seconds to wait", pattern="^[0-9]+$")},
}


def errors(*more: int) -> Responses:
    """What every operation may answer besides success, and what else this one may."""
    return {status: _error(status) for status in (*ALWAYS, *more)}


# A reference, where FastAPI takes a model too: of that it would make a validator for every status of every operation.
_ERROR_BODY = {"application/json": {"schema": {"$ref": f"#/components/schemas/{ErrorBody.__name__}"}}}


def _error(status: int) -> dict[str, Any]:
    headers = _ERROR_HEADERS.get(status)
    found = {"description": DESCRIPTIONS[status], "content": _ERROR_BODY}
    return {**found, "headers": headers} if headers else found


# --- answers with an ETag

_ETAG = _header("Names exactly these contents", pattern='^".+"$')
_CACHE_CONTROL = _header("How long, and by whom, it may be kept")
_WHERE = _header("Where exactly this version is")
_SHOWN = {"ETag": _ETAG, "Cache-Control": _CACHE_CONTROL, "Content-Location": _WHERE}
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "description": "ETags of what the reader has: 304 when it is still so",
    "schema": {"type": "string"},
}
_RANGE = {
    "name": "Range",
    "in": "header",
    "description": "The bytes wanted, at most 16 ranges, ascending; what is malformed is ignored",
    "schema": {"type": "string"},
    "example": "bytes=0-3",
}
_IF_RANGE = {
    "name": "If-Range",
    "in": "header",
    "description": "The ETag for which the Range counts; else the whole is sent",
    "schema": {"type": "string"},
}
_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "description": "ETags of what is wanted: 412 when it is something else",
    "schema": {"type": "string"},
}

DETAIL: Responses = {200: {"headers": _SHOWN}}
"""The answer of an operation that shows a version in full."""

CONDITIONAL: dict[str, Any] = {
    "responses": {**DETAIL, 304: {"description": "The reader has this already", "headers": _SHOWN}},
    "openapi_extra": {"parameters": [_IF_NONE_MATCH]},
}
"""Of an operation that a reader may ask again with what he has."""

CREATED: Responses = {
    201: {"headers": {**_SHOWN, "Location": _header("Where the new version is")}},
}


ELSEWHERE: Responses = {
    302: {
        "description": "Where the store can sign links: the bytes, whole or one range of them, are at Location",
        "headers": {"Location": _header("A link that works without a token, for a short while", format="uri")},
    }
}
"""The answer of an operation whose bytes the reader may get from the store itself."""


def bytes_of(media_type: str) -> dict[str, Any]:
    """Of an operation that sends bytes of this kind: whole, by ranges, or not at all to a reader who has them."""
    schema = {"schema": {"type": "string", "format": "binary"}}
    sent = {
        "ETag": _ETAG,
        "Cache-Control": _CACHE_CONTROL,
        "Accept-Ranges": _header("Ranges are understood", const="bytes"),
    }
    partial = {media_type: schema, "multipart/byteranges": schema}
    return {
        "responses": {
            200: {"description": "The bytes", "content": {media_type: schema}, "headers": sent},
            206: {"description": "The ranges asked for", "content": partial, "headers": sent},
            304: {"description": "The reader has these bytes", "headers": {"ETag": _ETAG}},
        },
        "openapi_extra": {"parameters": [_RANGE, _IF_RANGE, _IF_NONE_MATCH, _IF_MATCH]},
    }


# --- the document

_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer <token>`"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "basic": {"type": "http", "scheme": "basic", "description": "Any user name, the token as the password"},
}
_SHARED = {
    "ArtifactPath": grammars.ARTIFACT_PATH,
    "Version": grammars.VERSION,
    "VersionOrLatest": grammars.VERSION_OR_LATEST,
    "VersionReference": grammars.REFERENCE,
}


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
                _tidy_parameters(operation, document["components"]["schemas"])
        app.openapi_schema = document
    return app.openapi_schema


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    operation["responses"].pop("default", None)
    operation["responses"] = dict(sorted(operation["responses"].items()))
    for status, response in operation["responses"].items():
        response["headers"] = {**response.get("headers", {}), **_REQUEST_ID}
        if links := links_of(operation["operationId"], status):
            response["links"] = links
    needs_token = operation.pop("x-credential", True)
    without: list[dict[str, Any]] = [{}] if operation.pop("x-from-here", False) else []
    operation["security"] = [*without, *({name: []} for name in _SCHEMES)] if needs_token else []
    samples = samples_of(path, method, operation, needs_token=needs_token)
    operation["x-codeSamples"] = [{"lang": it.lang, "label": it.label, "source": it.source} for it in samples]
    fences = "\n\n".join(f"**{it.label}**\n\n```{it.lang}\n{it.source}\n```" for it in samples)
    operation["description"] = f"{operation.get('description', '')}\n\n{fences}".strip()


def _tidy_parameters(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Nothing in a URL or a header is null: what may be left out is not required. And what may stand for a version is
    said once and pointed to: its grammar fills a screen."""
    for parameter in operation.get("parameters", ()):
        schema = _without_null(parameter["schema"])
        if schema.get("type") == "array":
            schema["items"] = _shared(schema["items"], schemas)
        parameter["schema"] = _shared(schema, schemas)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    some = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(some) != 1:
        return schema
    return {**some[0], **{key: value for key, value in schema.items() if key != "anyOf"}}


def _shared(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    bare = {key: value for key, value in schema.items() if key not in ("title", "description")}
    name = next((name for name, grammar in _SHARED.items() if grammar == bare), None)
    if name is None:
        return schema
    schemas[name] = bare
    return {"$ref": f"#/components/schemas/{name}"}
