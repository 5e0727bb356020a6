"""What an S3 store or the way to it answers when it will not, in the registry's words: the one table of them."""

import re

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    ResponseStreamingError,
    SSLError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from steelyard.server.errors import RegistryError, StorageFailed, StorageTimeout

FAULTS = (ClientError, BotoCoreError, HTTPError, ResponseParserError, OSError)
"""All that the library lets through from the store and the network."""


class Gone(StorageFailed):
    """The object or the multipart upload is not there."""


class Unmet(StorageFailed):
    """What the call made a condition does not hold: a name is taken, or its bytes are others by now."""


_GONE = {"NoSuchKey", "NoSuchUpload", "404", "NotFound"}
_UNMET = {"PreconditionFailed", "ConditionalRequestConflict", "412"}
_BUSY = {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "429"}
_PASSING = {
    *_BUSY,
    "ConditionalRequestConflict",
    "InternalError",
    "OperationAborted",
    "ServiceUnavailable",
    "500",
    "502",
    "503",
}
_TIMEOUTS = {"RequestTimeout", "GatewayTimeout", "504", "408"}

_RIGHTS = "access denied; the registry's credentials need the rights that docs/engines.md lists"
_REGION = "the bucket is in another region, or its endpoint at another address; set AWS_DEFAULT_REGION, or the endpoint"
_FULL = "the store is full; whoever runs it has to make room"
_INSIDE = "it failed inside; try again"
_AWAY = "it is not available now; try again"
_WORDS = {
    "AccessDenied": _RIGHTS,
    "AllAccessDisabled": _RIGHTS,
    "403": _RIGHTS,
    "AuthorizationHeaderMalformed": _REGION,
    "PermanentRedirect": _REGION,
    "301": _REGION,
    "302": _REGION,
    "307": _REGION,
    "EntityTooSmall": "a part is smaller than the store takes; parts have 5 MiB or more, but for the last",
    "EntityTooLarge": "the object is larger than the store takes",
    "ExpiredToken": "the registry's credentials have expired",
    "InsufficientCapacity": _FULL,
    "QuotaExceeded": _FULL,
    "XMinioStorageFull": _FULL,
    "507": _FULL,
    "InternalError": _INSIDE,
    "500": _INSIDE,
    "InvalidAccessKeyId": "it does not know the access key; AWS_ACCESS_KEY_ID is wrong, or is for another store",
    "InvalidToken": "it does not take the session token; AWS_SESSION_TOKEN is wrong, or is for another store",
    "NoSuchBucket": "there is no such bucket",
    "NotImplemented": "it cannot do what the registry needs of it",
    "RequestTimeTooSkewed": "its clock and the registry's differ too much; set both right",
    "ServiceUnavailable": _AWAY,
    "502": _AWAY,
    "503": _AWAY,
    "SignatureDoesNotMatch": "it refuses the signature; AWS_SECRET_ACCESS_KEY is wrong, or a proxy changes requests",
}
_NOT_S3 = "it answers in a way that is not S3's; is the endpoint right?"
NO_STORE = f"The store failed while asking for the bucket: {_NOT_S3}"
_UNREACHABLE = "it cannot be reached; is the endpoint right, and the store running?"
_LIBRARY: tuple[tuple[type[Exception], str], ...] = (
    (NoCredentialsError, "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    (PartialCredentialsError, "half of the credentials is missing; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    (SSLError, "its certificate is not trusted, or it does not speak TLS"),
    (EndpointConnectionError, _UNREACHABLE),
    (ResponseParserError, _NOT_S3),
    (BotoCoreError, "the connection broke; try again"),
    (HTTPError, "the connection broke; try again"),
    (OSError, "the connection broke; try again"),
)


def is_passing(fault: Exception) -> bool:
    """Whether the same call may well succeed in a moment. Silence does not count: it has cost its time already."""
    if isinstance(fault, ClientError):
        return _code(fault) in _PASSING
    return isinstance(fault, ConnectionClosedError | IncompleteReadError | ResponseStreamingError)


def refusal_of(fault: Exception, doing: str) -> RegistryError:
    """The error to raise for it."""
    if _is_timeout(fault):
        return StorageTimeout(f"The store did not answer in time while {doing}. Try again.")
    kind = _kind(fault)
    return kind(f"The store failed while {doing}: {_words(fault)}.")


def told(fault: Exception) -> str:
    """What may stand of it in a log: its kind, and what the store calls it. Its words may hold links and names."""
    if not isinstance(fault, ClientError):
        return type(fault).__name__
    answer = fault.response.get("ResponseMetadata", {})
    return f"{answer.get('HTTPStatusCode', '')} {_code(fault)}, request {answer.get('RequestId') or 'unnamed'}"


def _is_timeout(fault: Exception) -> bool:
    if isinstance(fault, ClientError):
        return _code(fault) in _TIMEOUTS
    return isinstance(fault, ConnectTimeoutError | ReadTimeoutError | TimeoutError)


def _kind(fault: Exception) -> type[StorageFailed]:
    code = _code(fault)
    if code in _GONE:
        return Gone
    return Unmet if code in _UNMET else StorageFailed


def _words(fault: Exception) -> str:
    if not isinstance(fault, ClientError):
        return next(words for kind, words in _LIBRARY if isinstance(fault, kind))
    code = _code(fault)
    if code in _GONE:
        return "what was asked for is not there"
    if code in _UNMET:
        return "what was asked for has changed meanwhile"
    if code in _BUSY:
        return "it asks for fewer requests; try again"
    return _WORDS.get(code) or f"it refused with {code}"


def _code(fault: Exception) -> str:
    """The store's name for it; where there is no body to name it, the status."""
    found = str(fault.response.get("Error", {}).get("Code", "")) if isinstance(fault, ClientError) else ""
    return re.sub(r"[^A-Za-z0-9.]", "", found)[:50] or "an error"
