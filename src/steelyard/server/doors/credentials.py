"""The one secret of a caller, carried in any of three ways (contract section 2). Shared by the doors."""

import base64

from starlette.datastructures import Headers

from steelyard.server.errors import BadRequest, Unauthenticated

LONGEST = 1_000


def read_secret(headers: Headers, *, longest: int = LONGEST) -> str | None:
    """The token of a request, or None where there is none. Raises `Unauthenticated` for one that cannot be read, and
    `BadRequest` for two that differ."""
    found = {secret for secret in (_from_authorization(headers), headers.get("x-api-key")) if secret is not None}
    if len(found) > 1:
        raise BadRequest("Two different tokens came with this request. Send one.")
    secret = next(iter(found), None)
    if secret is not None and not 1 <= len(secret) <= longest:
        raise Unauthenticated("Authentication failed")
    return secret


def _from_authorization(headers: Headers) -> str | None:
    value = headers.get("authorization")
    if value is None:
        return None
    scheme, _, rest = value.strip().partition(" ")
    match scheme.lower():
        case "bearer":
            return rest.strip()
        case "basic":
            return _password(rest.strip())
    raise Unauthenticated("Authentication failed: use the scheme Bearer, or Basic with the token as the password.")


def _password(encoded: str) -> str:
    try:
        _, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError as error:  # no ASCII, no base64, or no UTF-8 inside
        raise Unauthenticated("Authentication failed: the Basic credential cannot be read.") from error
    return password
