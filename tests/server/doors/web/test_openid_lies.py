"""Past a provider that lies, whose keys change, or that is not well: nobody is let in, and it is told in words."""

import base64
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jws
from joserfc.jwk import RSAKey

from tests.house import Registered
from tests.house.openid import CLIENT_ID, CLIENT_SECRET, Answer, OwnProvider, own_provider
from tests.house.registries import open_registered
from tests.server.doors.web.openid_walks import come_back, consent, name_of, settings_of, sign_in, start
from tests.server.doors.web.visiting import Visitor


@pytest.fixture(scope="module")
def provider() -> Iterator[OwnProvider]:
    with own_provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory, provider: OwnProvider) -> Iterator[Registered]:
    """A registry that asks our own provider, and makes users of strangers."""
    data = tmp_path_factory.mktemp("openid") / "data"
    with open_registered(data=data, limits="off", **settings_of(provider.issuer), oidc_create_users=True) as opened:
        yield opened


@pytest.fixture(autouse=True)
def honest(provider: OwnProvider) -> None:
    provider.be_honest()
    provider.person = {"sub": f"somebody-{time.monotonic_ns()}"}


# --- ID tokens that lie


def part(said: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"=").decode()


def unsigned(provider: OwnProvider, claims: dict[str, Any]) -> str:
    return f"{part({'alg': 'none'})}.{part(claims)}."


def by_the_public_key(provider: OwnProvider, claims: dict[str, Any]) -> str:
    """HS256, with what everybody knows for its secret."""
    signed = f"{part({'alg': 'HS256', 'kid': provider.key.kid})}.{part(claims)}"
    assert isinstance(provider.key, RSAKey)
    made = hmac.digest(provider.key.as_pem(private=False), signed.encode(), hashlib.sha256)
    return f"{signed}.{base64.urlsafe_b64encode(made).rstrip(b'=').decode()}"


def by_the_client_secret(provider: OwnProvider, claims: dict[str, Any]) -> str:
    signed = f"{part({'alg': 'HS256'})}.{part(claims)}"
    made = hmac.digest(CLIENT_SECRET.encode(), signed.encode(), hashlib.sha256)
    return f"{signed}.{base64.urlsafe_b64encode(made).rstrip(b'=').decode()}"


def by_another_key(provider: OwnProvider, claims: dict[str, Any]) -> str:
    key = RSAKey.generate_key(2048, {"kid": "first"})
    return jws.serialize_compact({"alg": "RS256", "kid": "first"}, json.dumps(claims), key)


def by_a_key_that_it_brings(provider: OwnProvider, claims: dict[str, Any]) -> str:
    key = RSAKey.generate_key(2048)
    header = {"alg": "RS256", "jwk": key.as_dict(private=False)}
    registry = jws.JWSRegistry(strict_check_header=False)
    registry.max_header_length = 2000
    return jws.serialize_compact(header, json.dumps(claims), key, registry=registry)


def altered(provider: OwnProvider, claims: dict[str, Any]) -> str:
    header, _, signature = provider.sign({"nonce": claims["nonce"]}).split(".")
    return f"{header}.{part({**claims, 'sub': 'the-boss'})}.{signature}"


@pytest.mark.parametrize(
    "forge", [unsigned, by_the_public_key, by_the_client_secret, by_another_key, by_a_key_that_it_brings, altered]
)
def test_a_forged_token_is_not_believed(
    registered: Registered, provider: OwnProvider, forge: Callable[[OwnProvider, dict[str, Any]], str]
) -> None:
    browser = Visitor(registered)
    url = start(browser)
    (nonce,) = parse_qs(urlsplit(url).query)["nonce"]
    now = int(time.time())
    claims = {"iss": provider.issuer, "aud": CLIENT_ID, "sub": "forged", "iat": now, "exp": now + 60, "nonce": nonce}
    provider.id_token = forge(provider, claims)
    page = come_back(browser, consent(url))
    assert page.status == 502 and "ID token" in page.text()
    assert name_of(browser) is None


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"nonce": ["x"]},
        {"aud": "another"},
        {"aud": []},
        {"aud": None},
        {"aud": {CLIENT_ID: 1}},
        {"aud": [CLIENT_ID, "another"]},  # without `azp`
        {"aud": [CLIENT_ID, "another"], "azp": "another"},
        {"azp": "another"},
        {"iss": "https://other.example.org"},
        {"iss": None},
        {"exp": 1},
        {"exp": -(10**400)},
        {"exp": "never"},
        {"exp": None},
        {"iat": 2**40},
        {"iat": None},
        {"nbf": 2**40},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "x" * 256},
        {"sub": "a\nb"},
        {"at_hash": "of another access token"},
        {"at_hash": 5},
    ],
    ids=str,
)
def test_a_token_that_says_something_else_is_not_believed(
    registered: Registered, provider: OwnProvider, claims: dict[str, Any]
) -> None:
    provider.claims = claims
    browser = Visitor(registered)
    page = sign_in(browser)
    assert page.status == 502, page.text()
    assert name_of(browser) is None


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": [CLIENT_ID]},
        {"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID},
        {"preferred_username": {"a": "b"}, "email": ["x"], "email_verified": 1, "amr": ["pwd"]},
    ],
    ids=str,
)
def test_what_a_token_may_say_is_believed(
    registered: Registered, provider: OwnProvider, claims: dict[str, Any]
) -> None:
    provider.claims, provider.header = claims, {"x-of-its-own": "word"}
    provider.header = {}
    browser = Visitor(registered)
    sign_in(browser)
    assert name_of(browser)


def test_clocks_may_differ_a_little(registered: Registered, provider: OwnProvider) -> None:
    ahead = int(time.time()) + 30
    provider.claims = {"iat": ahead, "nbf": ahead}
    browser = Visitor(registered)
    sign_in(browser)
    assert name_of(browser)


def test_keys_that_the_provider_has_changed_are_found(tmp_path: Path) -> None:
    with (
        own_provider() as provider,
        open_registered(data=tmp_path / "data", **settings_of(provider.issuer), oidc_create_users=True) as registered,
    ):
        sign_in(Visitor(registered))
        provider.key = RSAKey.generate_key(2048, {"kid": "second", "use": "sig"})
        browser = Visitor(registered)
        sign_in(browser)
        assert name_of(browser)
        assert provider.asked.count("/keys") == 2
        provider.published = provider.keys()
        provider.key = RSAKey.generate_key(2048, {"kid": "of nobody"})
        assert [sign_in(Visitor(registered)).status for _ in range(3)] == [502] * 3
        assert provider.asked.count("/keys") == 2  # strangers cannot have it asked again and again


# --- a provider that is not well


@pytest.mark.parametrize(
    "said",
    [
        Answer(500, b"oops"),
        Answer(200, b"<html>"),
        Answer(200, b"[]"),
        Answer(200, b'{"id_token": 5}'),
        Answer(200, b'{"id_token": "a.b.c"}'),
        Answer(200, b'{"id_token": "' + b"x" * 200_000 + b'"}'),
        Answer(200, b"[" * 200_000),
        Answer(200, b" " * 300_000),
        Answer(302, b"", {"Location": "http://127.0.0.1:1/"}),
        Answer(200, b"{}", after_seconds=6.0),
        Answer(200, b" " * 200, pause_seconds=0.1),
        Answer(200, b"{}", {"Content-Length": "5"}),
        Answer(401, b'{"error": "invalid_client"}'),
        Answer(400, b'{"error": ["a"]}'),
    ],
    ids=lambda said: f"{said.status} {said.body[:12]!r} {said.after_seconds} {said.pause_seconds}",
)
def test_a_provider_that_is_not_well_is_an_error_page(
    registered: Registered, provider: OwnProvider, said: Answer
) -> None:
    browser = Visitor(registered)
    url = consent(start(browser))
    provider.instead = {"/token": said}
    began = time.monotonic()
    page = come_back(browser, url)
    assert page.status == 502 and page.texts("main h1")
    assert time.monotonic() - began < 15  # and not twenty, as it would take
    assert name_of(browser) is None


def test_nothing_secret_is_logged(
    registered: Registered, provider: OwnProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    browser = Visitor(registered)
    url = consent(start(browser))
    (code,) = parse_qs(urlsplit(url).query)["code"]
    cookie = browser.client.cookies["steelyard-oidc"]
    come_back(browser, url)
    url = consent(start(browser))
    provider.claims = {"exp": 1}
    come_back(browser, url)
    ours = [record for record in caplog.records if record.name.partition(".")[0] not in ("httpx2", "httpcore2")]
    told = "\n".join(f"{record.getMessage()} {record.exc_text} {record.__dict__}" for record in ours)
    assert "oidc/callback" in told and "/token" in told
    for secret in (CLIENT_SECRET, code, cookie, "an access token", "eyJ", "code="):
        assert secret not in told
