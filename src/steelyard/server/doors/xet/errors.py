"""What goes wrong, as the clients of a CAS hear it: they go by the status alone, and show little of the text.

They try again at 401 with a new token, at 429 and 5xx after a pause, for minutes; what is refused for good must be
another 4xx. A link to bytes that is refused with 403 makes them ask where the bytes are once more.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi.responses import JSONResponse
from starlette.types import Scope

from steelyard.server.doors.refusals import internal
from steelyard.server.errors import (
    BadRequest,
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NotFound,
    RateLimited,
    RegistryError,
    Unauthenticated,
)

_OURS = re.compile(r"/cas/[^/]+/[0-9]+/")  # an organisation `cas` has its files elsewhere: below `/cas/<name>/resolve`
_LINK = re.compile(r"/cas/[^/]+/[^/]+/(?:v[12]/)?data/")
_CHALLENGE = 'Bearer realm="steelyard"'


_STATUSES = {
    Invalid.status: 400,  # the one that the protocol knows
    MethodNotAllowed.status: NotFound.status,  # at an address that it does not know, a client wants to hear just this
}


def speaks_at(path: str) -> bool:
    """Whether this is the dialect of whoever asks here."""
    return _OURS.match(path) is not None


def answer(scope: Scope, error: RegistryError) -> JSONResponse:
    """The error as a CAS says it."""
    headers = dict(error.headers)
    status = _STATUSES.get(error.status, error.status)
    if status == Unauthenticated.status:
        headers["WWW-Authenticate"] = _CHALLENGE
        status = Forbidden.status if _LINK.match(scope["path"]) else status
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    return JSONResponse({"error": error.detail}, status, headers)


@contextmanager
def refusing_malformed() -> Iterator[None]:
    """Bytes that are no hash, no xorb or no shard are the caller's fault: their readers' words reach him."""
    try:
        yield
    except ValueError as error:
        raise BadRequest(str(error)) from error


def reason_of(failure: BaseException, request_id: str) -> RegistryError:
    """Why something failed after its answer had begun."""
    return failure if isinstance(failure, RegistryError) else internal(request_id)


def is_passing(error: RegistryError) -> bool:
    """Whether to try again may help."""
    return error.status == RateLimited.status or (error.status >= 500 and error.status != RegistryError.status)
