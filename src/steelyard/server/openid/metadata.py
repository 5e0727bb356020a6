"""What a provider says of itself in its discovery document (OpenID Connect Discovery 1.0, sections 3 and 4)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from joserfc import jwk
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

from steelyard.server.errors import ProviderFailed

ALGORITHMS = frozenset(["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519"])
"""What an ID token may be signed by. None of these takes a shared secret, so no public key can be taken for one."""

_LEAST_RSA_BITS, _MOST_RSA_BITS = 2048, 16384
_MOST_KEYS = 100


@dataclass(frozen=True, slots=True)
class Metadata:
    """Where a provider is asked what, and how it signs."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    algorithms: frozenset[str]
    takes_secret_in_form: bool
    names_itself: bool
    """Whether it says who it is when it sends somebody back (RFC 9207)."""


def document_url(issuer: str) -> str:
    """Where an issuer's discovery document is (Discovery section 4.1)."""
    return issuer.rstrip("/") + "/.well-known/openid-configuration"


def read_metadata(found: Mapping[str, Any], issuer: str) -> Metadata:
    """The document of this issuer. Raises `ProviderFailed` where it is another's, or lacks what a sign-in needs."""
    if found.get("issuer") != issuer:
        said = str(found.get("issuer"))[:200]
        raise ProviderFailed(f"The sign-in provider says that it is {said!r}, and the setting is {issuer!r}.")
    types = found.get("response_types_supported")
    if isinstance(types, list) and "code" not in types:
        raise ProviderFailed("The sign-in provider does not know the authorization code flow.")
    return Metadata(
        issuer=issuer,
        authorization_endpoint=_endpoint(found, "authorization_endpoint", issuer),
        token_endpoint=_endpoint(found, "token_endpoint", issuer),
        jwks_uri=_endpoint(found, "jwks_uri", issuer),
        algorithms=_algorithms(found),
        takes_secret_in_form="client_secret_post" in _strings(found, "token_endpoint_auth_methods_supported"),
        names_itself=found.get("authorization_response_iss_parameter_supported") is True,
    )


def _endpoint(found: Mapping[str, Any], name: str, issuer: str) -> str:
    url = found.get(name)
    if not isinstance(url, str) or not is_safe(url) or (issuer.startswith("https:") and url.startswith("http:")):
        raise ProviderFailed(f"The sign-in provider names no {name} that can be asked safely.")
    return url


def _algorithms(found: Mapping[str, Any]) -> frozenset[str]:
    listed = _strings(found, "id_token_signing_alg_values_supported") or ["RS256"]  # which each has to know
    if not (known := ALGORITHMS.intersection(listed)):
        raise ProviderFailed("The sign-in provider signs by no algorithm that is believed here.")
    return known


def _strings(found: Mapping[str, Any], name: str) -> list[str]:
    listed = found.get(name)
    return [one for one in listed if isinstance(one, str)] if isinstance(listed, list) else []


def is_safe(url: str) -> bool:
    """Whether what is said to this address stays between us: HTTPS, or this very machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
    named = bool(host) and parts.username is None and not parts.fragment
    return plain and named and (parts.scheme == "https" or (parts.scheme == "http" and _is_here(host)))


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def read_keys(found: Mapping[str, Any]) -> KeySet:
    """The keys that this provider signs with (RFC 7517 section 5); those that cannot be used are passed by. Raises
    `ProviderFailed` where none is left."""
    listed = found.get("keys")
    keys = list(_usable(listed[:_MOST_KEYS] if isinstance(listed, list) else []))
    if not keys:
        raise ProviderFailed("The sign-in provider shows no key that can be used.")
    return KeySet(keys)  # type: ignore[arg-type]


def _usable(listed: Iterable[object]) -> Iterable[RSAKey | ECKey | OKPKey]:
    for given in listed:
        if not isinstance(given, dict) or given.get("use", "sig") != "sig":
            continue
        try:
            key = jwk.import_key(given)
            bits = key.raw_value.key_size if isinstance(key, RSAKey) else _LEAST_RSA_BITS
        except (JoseError, ValueError, TypeError, KeyError, OverflowError):
            continue
        if isinstance(key, RSAKey | ECKey | OKPKey) and _LEAST_RSA_BITS <= bits <= _MOST_RSA_BITS:
            yield key
