"""ID tokens: signature by joserfc, the rules of OpenID Connect Core 1.0 section 3.1.3.7 by Authlib."""

from dataclasses import dataclass
from typing import Any

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from steelyard.server.errors import ProviderFailed

_SKEW_SECONDS = 60
_LONGEST_SUBJECT = 255  # section 2
_LONGEST_CLAIM = 320


@dataclass(frozen=True, slots=True)
class Expected:
    """Whom a token has to be from, and for: `nonce` is what its flow was begun with."""

    issuer: str
    client_id: str
    nonce: str
    algorithms: frozenset[str]
    access_token: str | None = None


@dataclass(frozen=True, slots=True)
class Claims:
    """Who somebody is to a provider. Only issuer and subject identify him: all else he may be able to choose."""

    issuer: str
    subject: str
    username: str | None = None
    email_address: str | None = None
    is_email_verified: bool = False


class UnknownKey(Exception):
    """No key at hand has signed this: the provider may have changed them."""


def read_id_token(text: str, keys: KeySet, expected: Expected) -> Claims:
    """Whom this token is about. Raises `ProviderFailed`, and `UnknownKey` where newer keys may fit."""
    try:
        token = jwt.decode(text, keys, registry=_registry(expected.algorithms))
    except (BadSignatureError, InvalidKeyIdError) as error:
        raise UnknownKey from error
    except (JoseError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise _unbelievable(error) from error
    _check(token, expected)
    return _claims(token.claims)


def _registry(algorithms: frozenset[str]) -> JWSRegistry:
    """Header parameters that nobody here knows are passed by, but for those that are critical (RFC 7515 section 4)."""
    return JWSRegistry(algorithms=sorted(algorithms), strict_check_header=False)


def _check(token: jwt.Token, expected: Expected) -> None:
    rules = {
        "iss": {"essential": True, "value": expected.issuer},
        "aud": {"essential": True, "value": expected.client_id},
        "sub": {"essential": True},
    }
    said = {"nonce": expected.nonce, "client_id": expected.client_id, "access_token": expected.access_token}
    try:
        CodeIDToken(token.claims, token.header, options=rules, params=said).validate(leeway=_SKEW_SECONDS)
    except (JoseError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise _unbelievable(error) from error


def _claims(claims: dict[str, Any]) -> Claims:
    subject = claims["sub"]
    if not (subject.isascii() and subject.isprintable() and 0 < len(subject) <= _LONGEST_SUBJECT):
        raise ProviderFailed("The sign-in provider's ID token names nobody: its subject cannot be one.")
    return Claims(
        issuer=claims["iss"],
        subject=subject,
        username=_text(claims.get("preferred_username")),
        email_address=_text(claims.get("email")),
        is_email_verified=claims.get("email_verified") is True,
    )


def _text(value: object) -> str | None:
    is_text = isinstance(value, str) and value.isprintable() and 0 < len(value) <= _LONGEST_CLAIM
    return str(value) if is_text else None


def _unbelievable(error: Exception) -> ProviderFailed:
    """Says which rule, and nothing of the token."""
    rule = getattr(error, "error", None) or type(error).__name__
    claim = getattr(error, "claim", None)
    what = f"{rule}: {claim}" if claim else rule
    return ProviderFailed(f"The sign-in provider's ID token cannot be believed ({what}).")
