"""What is believed of a provider, asked over real connections: its document, its keys, and how it takes its time."""

import base64
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from steelyard.server.errors import BadRequest, ProviderFailed
from steelyard.server.openid.flow import Flow
from steelyard.server.openid.id_tokens import Claims
from steelyard.server.openid.metadata import is_safe
from steelyard.server.openid.provider import Client, Provider
from tests.house.openid import CLIENT_ID, CLIENT_SECRET, Answer, OwnProvider, own_provider
from tests.house.servers import free_port

FLOW = Flow("a secret of the browser's", "http://127.0.0.1/-/oidc/callback")
DOCUMENT = "/.well-known/openid-configuration"


@pytest.fixture
def own() -> Iterator[OwnProvider]:
    with own_provider() as provider:
        yield provider


def opened(issuer: str, *, timeout_seconds: float = 30.0) -> Provider:
    return Provider(Client(issuer, CLIENT_ID, CLIENT_SECRET), timeout_seconds=timeout_seconds)


def walk(provider: Provider, flow: Flow = FLOW) -> Claims:
    """A whole sign-in, the browser left out."""
    sent_back = httpx2.get(provider.authorization_url(flow)).headers["location"]
    query = dict(parse_qsl(urlsplit(sent_back).query))
    assert flow.is_of(query["state"])
    return provider.redeem(flow, query["code"])


def failure(own: OwnProvider, **chosen: float) -> str:
    """What is said of a provider that cannot be used; it is not waited for long."""
    began = time.monotonic()
    with closing(opened(own.issuer, **chosen)) as provider, pytest.raises(ProviderFailed) as caught:
        provider.check()
    assert time.monotonic() - began < 15
    return caught.value.detail


@pytest.mark.parametrize("methods", [None, ["client_secret_basic"], ["client_secret_post", "client_secret_basic"]])
def test_a_secret_of_any_letters_is_taken(own: OwnProvider, methods: list[str] | None) -> None:
    own.document = {"token_endpoint_auth_methods_supported": methods}
    own.person = {"sub": "ada", "preferred_username": "ada", "email": "ada@example.org", "email_verified": True}
    with closing(opened(own.issuer)) as provider:
        assert walk(provider) == Claims(own.issuer, "ada", "ada", "ada@example.org", True)


def test_documents_are_asked_for_once(own: OwnProvider) -> None:
    with closing(opened(own.issuer)) as provider:
        for _ in range(3):
            walk(provider)
    assert (own.asked.count(DOCUMENT), own.asked.count("/keys")) == (1, 1)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (RSAKey.generate_key(2048, {"kid": "k"}), "RS256"),
        (RSAKey.generate_key(2048, {"kid": "k"}), "PS256"),
        (ECKey.generate_key("P-256", {"kid": "k"}), "ES256"),
        (ECKey.generate_key("P-384", {"kid": "k"}), "ES384"),
        (OKPKey.generate_key("Ed25519", {"kid": "k"}), "Ed25519"),
    ],
    ids=["RS256", "PS256", "ES256", "ES384", "Ed25519"],
)
def test_these_signatures_are_believed_if_the_provider_names_them(own: OwnProvider, key: Any, algorithm: str) -> None:
    own.key, own.header = key, {"alg": algorithm}
    own.document = {"id_token_signing_alg_values_supported": [algorithm]}
    with closing(opened(own.issuer)) as provider:
        assert walk(provider).subject == own.person["sub"]
    own.document = {"id_token_signing_alg_values_supported": ["RS512"]}
    with closing(opened(own.issuer)) as provider, pytest.raises(ProviderFailed, match="unsupported_algorithm"):
        walk(provider)


def test_of_several_keys_the_one_is_taken_that_signed(own: OwnProvider) -> None:
    others: list[Any] = [
        {"kty": "of tomorrow", "kid": "x"},
        {"kty": "RSA", "n": "!", "e": "AQAB"},
        "no key",
        {**RSAKey.generate_key(2048, {"kid": own.key.kid or ""}).as_dict(private=False), "use": "enc"},
        OctKey.generate_key(256, {"kid": own.key.kid or ""}).as_dict(),
        RSAKey.generate_key(2048, {"kid": "other"}).as_dict(private=False),
    ]
    own.published = [*others, own.key.as_dict(private=False)]
    with closing(opened(own.issuer)) as provider:
        assert walk(provider).subject == own.person["sub"]


def _short() -> dict[str, str]:
    """A key that a cupboard full of computers can find."""
    n = rsa.generate_private_key(65537, 1024).public_key().public_numbers().n
    return {"kty": "RSA", "e": "AQAB", "n": base64.urlsafe_b64encode(n.to_bytes(128, "big")).rstrip(b"=").decode()}


@pytest.mark.parametrize(
    "keys",
    [[], None, "keys", [OctKey.generate_key(256).as_dict()], [_short()]],
    ids=["none", "null", "text", "shared", "short"],
)
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_without_a_key_that_can_be_used_nobody_is_believed(own: OwnProvider, keys: Any) -> None:
    own.instead = {"/keys": Answer(body=json.dumps({"keys": keys}).encode())}
    assert "no key" in failure(own)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"issuer": "https://other.example.org"}, "says that it is 'https://other.example.org'"),
        ({"issuer": None}, "says that it is 'None'"),
        ({"response_types_supported": ["id_token"]}, "authorization code"),
        ({"authorization_endpoint": None}, "authorization_endpoint"),
        ({"token_endpoint": 7}, "token_endpoint"),
        ({"token_endpoint": "http://other.example.org/token"}, "token_endpoint"),
        ({"jwks_uri": "file:///etc/passwd"}, "jwks_uri"),
        ({"jwks_uri": "https://[::1"}, "jwks_uri"),
        ({"id_token_signing_alg_values_supported": ["HS256", "none"]}, "no algorithm"),
    ],
)
def test_a_document_that_cannot_be_used_is_told_apart(own: OwnProvider, said: dict[str, Any], words: str) -> None:
    own.document = said
    assert words in failure(own)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (Answer(404), "answers 404"),
        (Answer(200, b"no JSON"), "no JSON"),
        (Answer(200, b"\xff\xfe{}"), "no JSON"),
        (Answer(200, b"5"), "no JSON object"),
        (Answer(200, b'{"a":' * 40_000), "no JSON"),
        (Answer(200, b" " * 2_000_000), "too large"),
        (Answer(301, b"", {"Location": "https://example.org/"}), "elsewhere"),
        (Answer(200, b"{}", after_seconds=3.0), "does not answer"),
        (Answer(200, b" " * 200, pause_seconds=0.1), "too long"),
        (Answer(200, b"{}", {"Content-Length": "10"}), "does not answer"),
        (Answer(200, b"{}", {"Content-Encoding": "gzip"}), "says that it is"),
    ],
    ids=lambda said: f"{said.status}-{said.body[:9]!r}" if isinstance(said, Answer) else "",
)
def test_an_answer_that_is_none_is_told_apart(own: OwnProvider, said: Answer, words: str) -> None:
    own.instead = {DOCUMENT: said}
    is_slow = said.after_seconds or said.pause_seconds
    assert words in failure(own, timeout_seconds=0.5 if is_slow else 30.0)


def test_nobody_there_is_told_apart() -> None:
    assert "does not answer" in failure(OwnProvider(f"http://127.0.0.1:{free_port()}"))


def test_a_crowd_before_a_silent_provider_waits_together(own: OwnProvider) -> None:
    own.instead = {DOCUMENT: Answer(after_seconds=20.0)}
    with closing(opened(own.issuer, timeout_seconds=2.0)) as provider, ThreadPoolExecutor(8) as crowd:
        began = time.monotonic()
        asked = [crowd.submit(provider.check) for _ in range(8)]
        assert all(isinstance(one.exception(), ProviderFailed) for one in asked)
        assert time.monotonic() - began < 10.0  # and not eight times two
        own.instead = {}
        time.sleep(1.1)
        provider.check()  # and soon after, it is asked again


def test_whoever_sends_somebody_back_says_who_he_is_where_the_provider_does(own: OwnProvider) -> None:
    with closing(opened(own.issuer)) as provider:
        provider.check_sender(None)
        provider.check_sender(own.issuer)
        with pytest.raises(BadRequest):
            provider.check_sender(own.issuer + "/")
    own.document = {"authorization_response_iss_parameter_supported": True}
    with closing(opened(own.issuer)) as provider:
        provider.check_sender(own.issuer)
        with pytest.raises(BadRequest):
            provider.check_sender(None)


def test_a_code_is_worth_nothing_to_another_flow(own: OwnProvider) -> None:
    with closing(opened(own.issuer)) as provider:
        sent_back = httpx2.get(provider.authorization_url(FLOW)).headers["location"]
        code = dict(parse_qsl(urlsplit(sent_back).query))["code"]
        with pytest.raises(BadRequest, match="Begin again"):
            provider.redeem(Flow("another secret", FLOW.redirect_uri), code)


def test_the_parts_of_a_flow_tell_nothing_of_each_other() -> None:
    parts = [FLOW.state, FLOW.nonce, FLOW.verifier, Flow("another", FLOW.redirect_uri).state]
    assert len(set(parts)) == 4
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", part) for part in parts)
    assert FLOW.is_of(FLOW.state) and not FLOW.is_of(FLOW.nonce) and not FLOW.is_of("")
    assert "secret" not in repr(FLOW) and CLIENT_SECRET not in repr(Client("i", CLIENT_ID, CLIENT_SECRET))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://id.example.org/x?y", True),
        ("http://127.0.0.1:8080/x", True),
        ("http://[::1]/x", True),
        ("http://localhost/x", True),
        ("http://id.example.org/x", False),
        ("http://127.0.0.1.example.org/", False),
        ("https://user@example.org/", False),
        ("https:///x", False),
        ("https://example.org/#x", False),
        ("https://example.org:port/", False),
        ("https://example.org/a b", False),
        ("https://example.org\\@evil.example", False),
        ("https://example.org/\nHost: evil", False),
        ("javascript:alert(1)", False),
        ("", False),
    ],
)
def test_which_addresses_are_safe(url: str, expected: bool) -> None:
    assert is_safe(url) is expected
