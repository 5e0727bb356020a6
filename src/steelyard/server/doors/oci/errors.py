"""Errors as container tools know them (OCI distribution-spec 1.1, "Error codes"), and the challenge of a 401."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from fastapi.responses import JSONResponse
from starlette.types import Scope

from steelyard.server.core.arrivals.streams import WrongDigest
from steelyard.server.doors.middleware import notes_of
from steelyard.server.errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NotFound,
    RangeNotSatisfiable,
    RateLimited,
    RegistryError,
    TooLarge,
    Unauthenticated,
)

VERSION = {"Docker-Distribution-API-Version": "registry/2.0"}
_REPOSITORY = re.compile(
    r"/v2/(?P<name>[A-Za-z0-9._/-]+?)/(?P<part>blobs/uploads|blobs|manifests|tags|referrers)(?:/|$)"
)
_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*/[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*", re.IGNORECASE)
_UNKNOWN = {"blobs/uploads": "BLOB_UPLOAD_UNKNOWN", "blobs": "BLOB_UNKNOWN", "manifests": "MANIFEST_UNKNOWN"}
_INVALID = {
    "blobs/uploads": "BLOB_UPLOAD_INVALID",
    "blobs": "DIGEST_INVALID",
    "manifests": "MANIFEST_INVALID",
    "referrers": "DIGEST_INVALID",
}
_MOST_FAULTS = 100
_CODES: Mapping[type[RegistryError], str] = {
    Unauthenticated: "UNAUTHORIZED",
    Forbidden: "DENIED",
    AlreadyExists: "DENIED",
    Conflict: "DENIED",
    MethodNotAllowed: "UNSUPPORTED",
    TooLarge: "SIZE_INVALID",
    WrongDigest: "DIGEST_INVALID",
    RateLimited: "TOOMANYREQUESTS",
}


class InvalidToken(Unauthenticated):
    """A token of `/token` that is good for nothing any more; `reason` is of RFC 6750 section 3.1."""

    reason: ClassVar = "invalid_token"


class InsufficientScope(Unauthenticated):
    """A token of `/token` that is good, but not for this."""

    reason: ClassVar = "insufficient_scope"


class NameUnknown(NotFound):
    """There is no such repository, or not for this caller."""

    code: ClassVar = "NAME_UNKNOWN"


class NameInvalid(NotFound):
    """No repository can have this name."""

    code: ClassVar = "NAME_INVALID"


class BlobUnknown(NotFound):
    """The repository does not hold these bytes."""

    code: ClassVar = "BLOB_UNKNOWN"


class UploadUnknown(NotFound):
    """There is no such upload any more."""

    code: ClassVar = "BLOB_UPLOAD_UNKNOWN"


class UploadInvalid(BadRequest):
    """These bytes cannot be taken into this upload."""

    code: ClassVar = "BLOB_UPLOAD_INVALID"


class DigestInvalid(BadRequest):
    """What was said to be a digest is none, or not that of these bytes."""

    code: ClassVar = "DIGEST_INVALID"


class ManifestUnknown(NotFound):
    """The repository has no such manifest or tag."""

    code: ClassVar = "MANIFEST_UNKNOWN"


class ManifestInvalid(BadRequest):
    """What was said to be a manifest is none, or none that can be kept."""

    code: ClassVar = "MANIFEST_INVALID"


class ManifestBlobUnknown(NotFound):
    """The manifest names bytes that the repository does not hold."""

    code: ClassVar = "MANIFEST_BLOB_UNKNOWN"


class PageInvalid(BadRequest):
    """What was said of the part of a list that is wanted makes no sense. The code is not the specification's, which has
    none for it: other registries use it."""

    code: ClassVar = "PAGINATION_NUMBER_INVALID"


class Denied(Forbidden):
    """Whoever asks, this is not done; the words say why."""

    code: ClassVar = "DENIED"


def speaks_at(path: str) -> bool:
    """Whether it is a container tool who asks at this address, whatever is there."""
    return path in ("/v2", "/token") or path.startswith("/v2/")


def answer(scope: Scope, error: RegistryError) -> JSONResponse:
    """The error as the specification has it. What is taken already is denied; no container tool knows a 409 or 422."""
    headers = {**error.headers, **VERSION}
    if _status(error) in (Unauthenticated.status, Forbidden.status):  # oras-py reads no refusal that is without one
        headers["WWW-Authenticate"] = challenge(scope, reason=getattr(error, "reason", None))
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    message = _words(scope, error).encode("utf-8", "replace").decode()  # a path may hold what is no text
    item: dict[str, Any] = {"code": _code(scope, error), "message": message}
    if error.faults:
        item["detail"] = [{"at": list(fault.loc), "message": fault.msg} for fault in error.faults[:_MOST_FAULTS]]
    return JSONResponse({"errors": [item]}, _status(error), headers)


def challenge(scope: Scope, *, reason: str | None = None) -> str:
    """Where a token is had, and for what (distribution, "Token Authentication Specification"); the `reason` is why the
    one that came will not do. `/token` itself takes Basic."""
    if scope["path"] == "/token":
        return 'Basic realm="steelyard"'
    base_url = scope["app"].state.registry.settings.public_url or notes_of(scope).origin.base_url
    service = base_url.partition("//")[2]
    parts = [f'Bearer realm="{base_url}/token"', f'service="{service}"']
    if found := _REPOSITORY.match(scope["path"]):
        parts.append(f'scope="repository:{found["name"]}:{_actions_for(scope["method"])}"')
    return ",".join([*parts, f'error="{reason}"'] if reason else parts)


def _actions_for(method: str) -> str:
    """What of a repository a request of this method needs, as scopes of tokens name it, and what comes with it.

    Who pushes or deletes looks first whether it is there, by HEAD; oras-py keeps the token which it got for that.
    """
    if method == "GET":
        return "pull"
    return "pull,push,delete" if method in ("HEAD", "DELETE") else "pull,push"


def _words(scope: Scope, error: RegistryError) -> str:
    """The framework knows nothing of an address without a route; tools mean a repository by it, mostly."""
    if _has_route(scope, error) or not scope["path"].startswith("/v2/"):
        return error.detail
    return "There is nothing at this address: repositories here are `org/model`, of exactly two parts."


def _has_route(scope: Scope, error: RegistryError) -> bool:
    return "route" in scope or type(error) is not NotFound


def _status(error: RegistryError) -> int:
    if isinstance(error, AlreadyExists | Conflict):
        return Forbidden.status
    return BadRequest.status if error.status == Invalid.status else error.status


def _code(scope: Scope, error: RegistryError) -> str:
    if code := getattr(error, "code", None):
        return str(code)
    for kind, code in _CODES.items():
        if isinstance(error, kind):
            return code
    if error.status >= 500:
        return "UNKNOWN"
    found = _REPOSITORY.match(scope["path"])
    part = found["part"] if found else ""
    if isinstance(error, RangeNotSatisfiable):
        return "BLOB_UPLOAD_INVALID" if part == "blobs/uploads" else "SIZE_INVALID"
    if not isinstance(error, NotFound):
        return _INVALID.get(part, "UNSUPPORTED")
    if not _has_route(scope, error):
        return "NAME_INVALID" if found and not _NAME.fullmatch(found["name"]) else "NAME_UNKNOWN"
    return _UNKNOWN.get(part, "NAME_UNKNOWN")
