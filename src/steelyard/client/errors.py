"""What a user of the client catches.

SteelyardError
├── InvalidInput            what was given here cannot be used
│   ├── InvalidReference    not ORG/NAME[:REF]
│   ├── InvalidCard         model.yaml or the front matter of README.md
│   ├── InvalidSettings     address, token or login file
│   └── UnsafeFolder        a folder to push has links that leave it, or names no registry takes
├── ConnectionFailed        no answer, or an answer that broke off
├── UnexpectedAnswer        an answer that is not the registry's
│   └── UnsafePath          a path from the registry that must not be written
├── TransferError           bytes did not get there
│   ├── DigestMismatch      other bytes than announced
│   ├── FileChanged         a file changed while it was being pushed
│   ├── WouldOverwrite      a pull would replace what somebody wrote
│   └── Interrupted         another thread of the same transfer failed
└── ApiError                the registry said no: status, type, detail, errors, request_id
    ├── BadRequest (400, 405, 412, 415, 416)    ├── NotFound (404)
    ├── AuthenticationFailed (401)              ├── Conflict (409) ── AlreadyExists
    ├── Forbidden (403)                         ├── TooLarge (413)
    ├── ValidationFailed (422)                  ├── UpgradeRequired (426)
    ├── RateLimited (429)                       └── ServerFailed (5xx)
"""

from collections.abc import Mapping, Sequence
from typing import Any


class SteelyardError(Exception):
    """The root of everything the client raises on purpose."""


class InvalidInput(SteelyardError):
    """What was given here cannot be used; nothing was sent."""


class InvalidReference(InvalidInput):
    """Not of the form ORG/NAME[:REF]."""


class InvalidCard(InvalidInput):
    """`model.yaml` or the front matter of `README.md` cannot be read."""


class InvalidSettings(InvalidInput):
    """The address, the token or the login file cannot be used."""


class UnsafeFolder(InvalidInput):
    """A folder to push holds links that leave it, or names that no registry takes."""


class ConnectionFailed(SteelyardError):
    """The registry did not answer, or its answer broke off."""


class UnexpectedAnswer(SteelyardError):
    """Something answered, but not as this registry's API does."""


class UnsafePath(UnexpectedAnswer):
    """The registry named a path that must not be written here."""


class TransferError(SteelyardError):
    """Bytes could not be sent, fetched or put in their place."""


class DigestMismatch(TransferError):
    """Bytes do not hash to the digest they were announced under."""


class FileChanged(TransferError):
    """A file changed between being hashed and being sent."""


class WouldOverwrite(TransferError):
    """A pull would replace files that no earlier pull put there. `paths` names them."""

    def __init__(self, message: str, paths: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.paths = tuple(paths)


class Interrupted(TransferError):
    """The transfer was stopped from outside, or by another of its threads."""


class ApiError(SteelyardError):
    """The registry refused or failed. `str()` is its `detail` with the request id.

    `status` HTTP status; `type` stable word of the API's error table; `detail` text for people; `errors` a tuple of
    `{"loc", "msg", "type"}` (of a 422, else empty); `request_id` what to search the server's log for (or None);
    `retry_after_seconds` what the registry asked for (or None); `method` and `url` without query.
    """

    def __init__(
        self,
        status: int,
        type_: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, Any]] = (),
        request_id: str | None = None,
        retry_after_seconds: float | None = None,
        call: str = "",
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.type = type_
        self.detail = detail
        self.errors = tuple(errors)
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds
        self.call = call

    def __str__(self) -> str:
        trailer = f" [request {self.request_id}]" if self.request_id else ""
        return f"{self.detail}{trailer}"


class BadRequest(ApiError):
    """400 and the transport-level refusals: the request cannot be understood."""


class AuthenticationFailed(ApiError):
    """401: no valid token."""


class Forbidden(ApiError):
    """403: known, visible, not allowed."""


class NotFound(ApiError):
    """404: not there, or not to be seen by this caller."""


class Conflict(ApiError):
    """409: the state forbids it."""


class AlreadyExists(Conflict):
    """409: the name or version is taken by something else."""


class TooLarge(ApiError):
    """413: a body, a file or the organisation would pass its limit."""


class ValidationFailed(ApiError):
    """422: well-formed but invalid; `errors` names every fault."""


class UpgradeRequired(ApiError):
    """426: this client is older than the oldest the registry serves."""


class RateLimited(ApiError):
    """429: too many requests; `retry_after_seconds` says how long to wait."""


class ServerFailed(ApiError):
    """5xx: the registry, its storage or its database failed."""


_BY_STATUS: dict[int, type[ApiError]] = {
    401: AuthenticationFailed,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    422: ValidationFailed,
    426: UpgradeRequired,
    429: RateLimited,
}


def error_class(status: int, type_: str) -> type[ApiError]:
    """The class for an answer of this status and type (contract section 3)."""
    if status == 409 and type_ == "already_exists_error":
        return AlreadyExists
    if status >= 500:
        return ServerFailed
    return _BY_STATUS.get(status, BadRequest)
