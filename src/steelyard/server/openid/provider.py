"""The OpenID provider that the operator chose: where people are sent, and what is made of how they come back.

Its document and its keys are kept for an hour. A key that is unknown is asked for anew, though not often: whoever has a
code may show us tokens of his own making.
"""

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import TypeVar
from urllib.parse import quote

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc.jwk import KeySet

from steelyard.server.errors import BadRequest, ProviderFailed
from steelyard.server.openid.asking import Json, Said, Wire
from steelyard.server.openid.flow import Flow, plain_word
from steelyard.server.openid.id_tokens import Claims, Expected, UnknownKey, read_id_token
from steelyard.server.openid.metadata import Metadata, document_url, read_keys, read_metadata

_KEPT_SECONDS = 3600
_ANEW_SECONDS = 30.0
_SHARED_SECONDS = 1.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Client:
    """What this server is to the provider."""

    issuer: str
    client_id: str
    secret: str | None = field(repr=False)
    scopes: str = "openid"


class Provider:
    """Asks the provider. Safe to use from any thread; each answer is waited for as long as the setting says."""

    def __init__(self, client: Client, *, timeout_seconds: float) -> None:
        self._client = client
        self._wire = Wire(timeout_seconds)
        self._documents = _Kept(self._wire)

    def close(self) -> None:
        """Let go of every connection."""
        self._wire.close()

    def authorization_url(self, flow: Flow) -> str:
        """Where to send somebody who wants to sign in. Raises `ProviderFailed`."""
        url: str = prepare_grant_uri(
            self._metadata().authorization_endpoint,
            client_id=self._client.client_id,
            response_type="code",
            redirect_uri=flow.redirect_uri,
            scope=self._client.scopes,
            state=flow.state,
            nonce=flow.nonce,
            code_challenge=create_s256_code_challenge(flow.verifier),
            code_challenge_method="S256",
        )
        return url

    def check_sender(self, issuer: str | None) -> None:
        """Raise `BadRequest` for somebody whom another provider has sent back (RFC 9207 section 2.4)."""
        if issuer != self._client.issuer and (issuer is not None or self._metadata().names_itself):
            raise BadRequest("Another sign-in provider than this server's has sent you back. Begin again.")

    def redeem(self, flow: Flow, code: str) -> Claims:
        """Who somebody is, for the code that he was sent back with. Raises `BadRequest` for a code that is worth
        nothing, and `ProviderFailed`."""
        metadata = self._metadata()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": flow.redirect_uri,
            "code_verifier": flow.verifier,
        }
        beside, headers = self._authentication(metadata)
        answered = _tokens(self._wire.post(metadata.token_endpoint, {**form, **beside}, headers))
        access_token = answered.get("access_token")
        expected = Expected(
            issuer=self._client.issuer,
            client_id=self._client.client_id,
            nonce=flow.nonce,
            algorithms=metadata.algorithms,
            access_token=access_token if isinstance(access_token, str) else None,
        )
        return self._read(answered["id_token"], metadata, expected)

    def check(self) -> None:
        """Ask for all that can be asked without anybody who signs in. Raises `ProviderFailed`."""
        self._documents.keys(self._metadata().jwks_uri)

    def _metadata(self) -> Metadata:
        return self._documents.metadata(self._client.issuer)

    def _authentication(self, metadata: Metadata) -> tuple[dict[str, str], dict[str, str]]:
        """What goes into the form, and what into the headers (RFC 6749 section 2.3.1). The form comes first: of the
        header, providers disagree on how to write what is not a letter."""
        client = self._client
        if client.secret is None:
            return {"client_id": client.client_id}, {}
        if metadata.takes_secret_in_form:
            return {"client_id": client.client_id, "client_secret": client.secret}, {}
        pair = f"{quote(client.client_id, safe='')}:{quote(client.secret, safe='')}"
        return {}, {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}

    def _read(self, id_token: str, metadata: Metadata, expected: Expected) -> Claims:
        try:
            return read_id_token(id_token, self._documents.keys(metadata.jwks_uri), expected)
        except UnknownKey:
            keys = self._documents.keys(metadata.jwks_uri, anew=True)
        try:
            return read_id_token(id_token, keys, expected)
        except UnknownKey as error:
            raise ProviderFailed("The sign-in provider's ID token is signed by nobody it vouches for.") from error


def _tokens(said: Said) -> Json:
    """What a code was worth (RFC 6749 section 5)."""
    if said.status == 200 and isinstance(said.found.get("id_token"), str):
        return said.found
    if said.status == 200:
        raise ProviderFailed("The sign-in provider says nothing of who you are: its answer has no ID token.")
    word = plain_word(said.found.get("error"))
    if word == "invalid_grant":
        raise BadRequest("This sign-in was ended already, or took too long. Begin again.")
    raise ProviderFailed(f"The sign-in provider refuses this server: {word} ({said.status}).")


class _Kept:
    """A provider's documents, asked for by one thread at a time; those who waited share a failure."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._lock = Lock()
        self._metadata: tuple[Metadata, float] | None = None
        self._keys: tuple[KeySet, float] | None = None
        self._anew_at = -_ANEW_SECONDS
        self._failure: tuple[str, float] = ("", 0.0)

    def metadata(self, issuer: str) -> Metadata:
        """The discovery document. Raises `ProviderFailed`."""
        with self._lock:
            if self._metadata is None or self._metadata[1] <= time.monotonic():
                self._metadata = self._ask(lambda: read_metadata(self._wire.get(document_url(issuer)), issuer))
            return self._metadata[0]

    def keys(self, url: str, *, anew: bool = False) -> KeySet:
        """The provider's keys. Raises `ProviderFailed`."""
        with self._lock:
            is_late = self._keys is None or self._keys[1] <= time.monotonic()
            if anew and self._anew_at + _ANEW_SECONDS <= time.monotonic():
                self._anew_at, is_late = time.monotonic(), True
            if self._keys is None or is_late:
                self._keys = self._ask(lambda: read_keys(self._wire.get(url)))
            return self._keys[0]

    def _ask(self, ask: Callable[[], T]) -> tuple[T, float]:
        words, until = self._failure
        if time.monotonic() < until:
            raise ProviderFailed(words)
        try:
            return ask(), time.monotonic() + _KEPT_SECONDS
        except ProviderFailed as error:
            self._failure = error.detail, time.monotonic() + _SHARED_SECONDS
            raise
