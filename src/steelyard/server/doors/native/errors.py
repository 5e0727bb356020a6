"""The one error body of the native API (contract section 3), and how everything that can go wrong becomes it."""

from collections.abc import Sequence
from typing import Any

from fastapi.responses import JSONResponse

from steelyard.server.errors import Fault, Invalid, RegistryError, Unauthenticated

MAX_FAULTS = 1_000
_CHALLENGES = 'Bearer realm="steelyard", Basic realm="steelyard"'


def answer(error: RegistryError) -> JSONResponse:
    """The error as the API says it."""
    headers = dict(error.headers)
    if error.status == Unauthenticated.status:
        headers["WWW-Authenticate"] = _CHALLENGES
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    detail = error.detail.encode("utf-8", "replace").decode()  # it may quote a path that is no UTF-8
    body: dict[str, Any] = {"code": error.status, "detail": detail, "type": error.type}
    if error.status == Invalid.status:
        body["errors"] = [_item(fault) for fault in bounded(error.faults or (Fault((), error.detail),))]
    return JSONResponse(body, error.status, headers)


def bounded(faults: Sequence[Fault]) -> list[Fault]:
    """At most a thousand faults, then how many there were."""
    if len(faults) <= MAX_FAULTS:
        return list(faults)
    return [*faults[:MAX_FAULTS], Fault((), f"{len(faults)} faults in all; the first {MAX_FAULTS} are shown", "total")]


def _item(fault: Fault) -> dict[str, Any]:
    return {"loc": list(fault.loc), "msg": fault.msg, "type": fault.type}
