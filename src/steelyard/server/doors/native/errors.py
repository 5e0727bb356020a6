"""The one error body of the native API (contract section 3), and how everything that can go wrong becomes it."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from steelyard.server.doors.native.documentation import phrase
from steelyard.server.errors import (
    BadRequest,
    Fault,
    Invalid,
    MethodNotAllowed,
    NotFound,
    RegistryError,
    TooLarge,
    Unauthenticated,
)

MAX_FAULTS = 1_000
_CHALLENGES = 'Bearer realm="steelyard", Basic realm="steelyard"'


def add_handlers(app: FastAPI) -> None:
    """Translate the registry's errors, and the framework's."""
    app.add_exception_handler(RegistryError, _registry)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _invalid)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _framework)  # type: ignore[arg-type]


async def _registry(_request: Request, error: RegistryError) -> JSONResponse:
    return answer(error)


def answer(error: RegistryError) -> JSONResponse:
    """The error as the API says it."""
    headers = dict(error.headers)
    if error.status == Unauthenticated.status:
        headers["WWW-Authenticate"] = _CHALLENGES
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    body: dict[str, Any] = {"code": error.status, "detail": error.detail, "type": error.type}
    if error.status == Invalid.status:
        body["errors"] = [_item(fault) for fault in bounded(error.faults or (Fault((), error.detail),))]
    return JSONResponse(body, error.status, headers)


def internal(request_id: str) -> JSONResponse:
    """A fault of ours: the request id leads to the log, and nothing else is told."""
    return answer(RegistryError(f"Something went wrong here. Tell the operator this request id: {request_id}."))


def bounded(faults: Sequence[Fault]) -> list[Fault]:
    """At most a thousand faults, then how many there were."""
    if len(faults) <= MAX_FAULTS:
        return list(faults)
    return [*faults[:MAX_FAULTS], Fault((), f"{len(faults)} faults in all; the first {MAX_FAULTS} are shown", "total")]


def _item(fault: Fault) -> dict[str, Any]:
    return {"loc": list(fault.loc), "msg": fault.msg, "type": fault.type}


async def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        return answer(BadRequest("The body is not valid JSON."))
    faults = tuple(Fault(tuple(item["loc"]), item["msg"].removeprefix("Value error, "), item["type"]) for item in found)
    first = faults[0]
    where = ".".join(str(step) for step in first.loc)[:200]
    others = f" ({len(faults)} faults in all)" if len(faults) > 1 else ""
    return answer(Invalid(f"{where}: {first.msg}{others}"[:1_000], faults=faults))


async def _framework(request: Request, error: HTTPException) -> JSONResponse:
    """What the framework refuses by itself: unknown routes and wrong methods, mostly."""
    if error.status_code == NotFound.status:
        return answer(NotFound("There is nothing at this address. `/docs` lists the operations."))
    if error.status_code == MethodNotAllowed.status:
        allowed = ", ".join(_methods_at(request))
        detail = f"{request.method[:20]} is not possible here. Use {allowed}."
        return answer(MethodNotAllowed(detail, headers={"Allow": allowed}))
    if error.status_code == TooLarge.status:
        return answer(TooLarge(phrase(TooLarge.status)))
    return answer(_named(error))


_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


def _methods_at(request: Request) -> list[str]:
    """What `Allow` must list (RFC 9110 section 10.2.1): every method that some route has at this address."""
    routes = request.app.routes
    asked = [(method, {**request.scope, "method": method}) for method in _METHODS]
    return [method for method, scope in asked if any(route.matches(scope)[0] is Match.FULL for route in routes)]


def _named(error: HTTPException) -> RegistryError:
    named = BadRequest(str(error.detail), headers=dict(error.headers or {}))
    if error.status_code >= 500:
        return RegistryError("Something went wrong here.")
    return named
