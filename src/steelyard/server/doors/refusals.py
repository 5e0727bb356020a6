"""Everything that goes wrong in a request, in the registry's own words: also what the framework refuses by itself.

Which door says it to the caller, and how, is the door's own: each has an `errors.py` with its dialect.
"""

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from steelyard.server.errors import BadRequest, Fault, Invalid, MethodNotAllowed, NotFound, RegistryError, TooLarge

Dialect = Callable[[Scope, RegistryError], Response]
"""How an error is said to whoever made this request."""

_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


def add_handlers(app: FastAPI, say: Dialect) -> None:
    """Have every failure of a request said in the dialect of its door."""

    async def registry(request: Request, error: RegistryError) -> Response:
        return say(request.scope, error)

    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return say(request.scope, _invalid(error))

    async def framework(request: Request, error: HTTPException) -> Response:
        return say(request.scope, _named(request, error))

    app.add_exception_handler(RegistryError, registry)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, invalid)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, framework)  # type: ignore[arg-type]


def internal(request_id: str) -> RegistryError:
    """A fault of ours: the request id leads to the log, and nothing else is told."""
    return RegistryError(f"Something went wrong here. Tell the operator this request id: {request_id}.")


def _invalid(error: RequestValidationError) -> RegistryError:
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        return BadRequest("The body is not valid JSON.")
    return invalid(found)


def invalid(found: Sequence[Any], *, at: str | None = None) -> Invalid:
    """What Pydantic found wrong with something `at` this place, in the registry's own words."""
    root = () if at is None else (at,)
    faults = tuple(
        Fault((*root, *item["loc"]), item["msg"].removeprefix("Value error, "), item["type"]) for item in found
    )
    first = faults[0]
    where = ".".join(str(step) for step in first.loc)[:200]
    others = f" ({len(faults)} faults in all)" if len(faults) > 1 else ""
    return Invalid(f"{where}: {first.msg}{others}"[:1_000], faults=faults)


def _named(request: Request, error: HTTPException) -> RegistryError:
    """What the framework refuses by itself: unknown routes and wrong methods, mostly."""
    if error.status_code == NotFound.status:
        return NotFound("There is nothing at this address. `/docs` lists the operations.")
    if error.status_code == MethodNotAllowed.status:
        allowed = ", ".join(_methods_at(request))
        detail = f"{request.method[:20]} is not possible here. Use {allowed}."
        return MethodNotAllowed(detail, headers={"Allow": allowed})
    if error.status_code == TooLarge.status:
        return TooLarge("The body is too large.")
    if error.status_code >= 500:
        return RegistryError("Something went wrong here.")
    return BadRequest(str(error.detail), headers=dict(error.headers or {}))


def _methods_at(request: Request) -> list[str]:
    """What `Allow` must list (RFC 9110 section 10.2.1): every method that some route has at this address."""
    routes = request.app.routes
    asked = [(method, {**request.scope, "method": method}) for method in _METHODS]
    return [method for method, scope in asked if any(route.matches(scope)[0] is Match.FULL for route in routes)]
