"""What can go wrong, in the registry's own words. Every door translates these, and only these, into its dialect.

Imports nothing. The statuses and types are those of the native API's error table (contract section 3); other doors map
from the class.
"""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with an input: `loc` is the way to it (keys and indexes), `type` is stable."""

    loc: tuple[str | int, ...]
    msg: str
    type: str = "value_error"


class RegistryError(Exception):
    """The root of all that the registry refuses or fails at. `detail` is for people and says what to do next."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "internal_error"

    def __init__(
        self,
        detail: str,
        *,
        faults: tuple[Fault, ...] = (),
        retry_after_seconds: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = faults
        self.retry_after_seconds = retry_after_seconds
        self.headers = headers or {}


class BadRequest(RegistryError):
    """The request cannot be understood."""

    status = 400
    type = "invalid_request_error"


class Unauthenticated(RegistryError):
    """No valid credential came with the request."""

    status = 401
    type = "authentication_error"


class Forbidden(RegistryError):
    """Known and visible, but not allowed."""

    status = 403
    type = "forbidden_error"


class NotFound(RegistryError):
    """Not there, or not to be seen by this caller: the two are told apart nowhere."""

    status = 404
    type = "not_found_error"


class RevisionNotFound(NotFound):
    """The model is there; no commit, branch, tag, version or alias of it has this name, or not for this caller."""


class EntryNotFound(NotFound):
    """The revision is there and has no file or folder of this name."""


class MethodNotAllowed(BadRequest):
    """The path is there, the method is not."""

    status = 405


class AlreadyExists(RegistryError):
    """The name or number is taken by something else."""

    status = 409
    type = "already_exists_error"


class Conflict(RegistryError):
    """The state of things forbids it."""

    status = 409
    type = "conflict_error"


class PreconditionFailed(BadRequest):
    """An `If-Match` or `If-Unmodified-Since` does not hold."""

    status = 412


class TooLarge(BadRequest):
    """A body, a file or an organisation would grow past its limit."""

    status = 413


class UnsupportedMediaType(BadRequest):
    """The body is of a kind this operation does not read."""

    status = 415


class RangeNotSatisfiable(BadRequest):
    """The bytes asked for lie outside the file."""

    status = 416


class Invalid(RegistryError):
    """Well-formed but invalid; `faults` names every fault at once."""

    status = 422
    type = "validation_error"


class UpgradeRequired(RegistryError):
    """A client of ours, older than the oldest this server still serves."""

    status = 426
    type = "upgrade_required_error"


class RateLimited(RegistryError):
    """Too many requests of one kind."""

    status = 429
    type = "rate_limit_error"


class StorageFailed(RegistryError):
    """The store of bytes answered with an error: I/O error, disk full, refused."""

    status = 502
    type = "storage_error"


class DatabaseFailed(RegistryError):
    """The database answered with an error."""

    status = 502
    type = "database_error"


class ProviderFailed(RegistryError):
    """The OpenID provider does not answer in time, or not as one does, or says what cannot be believed."""

    status = 502
    type = "provider_error"


class Unavailable(RegistryError):
    """Not ready to serve, as `/ready` says, or about to stop, as is told to who would have to wait for longer."""

    status = 503
    type = "unavailable_error"


class StorageTimeout(RegistryError):
    """The store of bytes did not answer in time."""

    status = 504
    type = "storage_timeout_error"


class DatabaseTimeout(RegistryError):
    """The database did not answer in time; a lock held too long counts."""

    status = 504
    type = "database_timeout_error"
