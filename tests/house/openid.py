"""OpenID providers on loopback: an independent one in a process of its own, and one of ours that can be told to lie."""

import base64
import hashlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit

import urllib3
from joserfc import jws
from joserfc.jwk import Key, RSAKey

from tests.house.servers import free_port

CLIENT_ID, CLIENT_SECRET = "steelyard-tests", "a secret: of the client/ +&%"
_READY_WITHIN_SECONDS = 30.0
Claims = dict[str, Any]


@contextmanager
def independent_provider(*people: Claims) -> Iterator[str]:
    """`oidc-provider-mock` in a process of its own; answers its issuer. Whoever it does not know has no claims but an
    e-mail address like the subject."""
    port = free_port()
    known = [part for person in people for part in ("--user-claims", json.dumps(person))]
    command = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(port), *known]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    issuer = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{issuer}/.well-known/openid-configuration", process)
        yield issuer
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _READY_WITHIN_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if urllib3.request("GET", url, retries=False, timeout=2).status == 200:
                return
        except urllib3.exceptions.HTTPError:
            time.sleep(0.05)
    raise RuntimeError("the provider was not ready in time")


@dataclass
class Answer:
    """What is said instead of the truth: after a while, and in pieces with a pause after each."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    after_seconds: float = 0.0
    pause_seconds: float = 0.0


@dataclass
class OwnProvider:
    """A provider that lets everybody in as `person`, and whose every word can be changed. It checks what clients have
    to prove: their secret, the address that they named before, the verifier, that a code is used once."""

    issuer: str = ""
    person: Claims = field(default_factory=lambda: {"sub": "248289761001"})
    key: Key = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "first", "use": "sig"}))
    published: list[Claims] | None = None
    document: Claims = field(default_factory=dict)
    """What the discovery document says otherwise; None leaves a field out."""
    header: Claims = field(default_factory=dict)
    claims: Claims = field(default_factory=dict)
    """What the ID token says otherwise; None leaves a claim out."""
    id_token: str | None = None
    instead: dict[str, Answer] = field(default_factory=dict)
    """By path: answers that are no provider's."""
    asked: list[str] = field(default_factory=list)
    codes: dict[str, Claims] = field(default_factory=dict)
    is_public: bool = False

    def be_honest(self) -> None:
        """Forget all lies."""
        fresh = OwnProvider(self.issuer, key=self.key)
        for name in ("person", "published", "document", "header", "claims", "id_token", "instead", "is_public"):
            setattr(self, name, getattr(fresh, name))

    def describe(self) -> Claims:
        said = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize?tenant=1",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            **self.document,
        }
        return {name: value for name, value in said.items() if value is not None}

    def keys(self) -> list[Claims]:
        return [self.key.as_dict(private=False)] if self.published is None else self.published

    def authorize(self, query: Claims) -> str:
        """Where somebody is sent back to: everybody is let in at once."""
        code = f"code-{len(self.codes)}-{time.monotonic_ns()}"
        self.codes[code] = query
        back = {"code": code, "state": query["state"]}
        if self.document.get("authorization_response_iss_parameter_supported"):
            back["iss"] = self.issuer
        return f"{query['redirect_uri']}?{urlencode(back)}"

    def exchange(self, form: Claims, authorization: str | None) -> tuple[int, Claims]:
        if not self._knows(form, authorization):
            return 401, {"error": "invalid_client"}
        begun = self.codes.pop(form.get("code", ""), None)
        if begun is None or form.get("redirect_uri") != begun["redirect_uri"] or not _fits(form, begun):
            return 400, {"error": "invalid_grant"}
        token = self.id_token or self.sign(begun)
        return 200, {"access_token": "an access token", "token_type": "Bearer", "id_token": token}

    def _knows(self, form: Claims, authorization: str | None) -> bool:
        if self.is_public:
            return form.get("client_id") == CLIENT_ID and "client_secret" not in form and authorization is None
        if authorization is not None:
            name, _, secret = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
            return (unquote(name), unquote(secret)) == (CLIENT_ID, CLIENT_SECRET)
        return (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)

    def sign(self, begun: Claims) -> str:
        """The ID token for a flow."""
        now = int(time.time())
        said = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": begun.get("nonce"),
            **self.person,
            **self.claims,
        }
        said = {name: value for name, value in said.items() if value is not None}
        header = {"alg": "RS256", "kid": self.key.kid, **self.header}
        header = {name: value for name, value in header.items() if value is not None}
        return jws.serialize_compact(header, json.dumps(said), self.key, algorithms=[header["alg"]])


def _fits(form: Claims, begun: Claims) -> bool:
    """RFC 7636 section 4.6."""
    made = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
    challenge = base64.urlsafe_b64encode(made).rstrip(b"=").decode()
    return begun.get("code_challenge_method") == "S256" and begun.get("code_challenge") == challenge


@contextmanager
def own_provider() -> Iterator[OwnProvider]:
    """Ours, on a thread of this process."""
    provider = OwnProvider()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"provider": provider}))
    server.daemon_threads = True
    provider.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """Says what the provider of its subclass does."""

    provider: OwnProvider

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, dict(parse_qsl(urlsplit(self.path).query))
        if self._said_otherwise(path):
            return
        if path == "/authorize":
            self._answer(302, b"", {"Location": self.provider.authorize(query)})
        elif path == "/keys":
            self._json(200, {"keys": self.provider.keys()})
        elif path == "/.well-known/openid-configuration":
            self._json(200, self.provider.describe())
        else:
            self._json(404, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[-1] for name, values in parse_qs(body).items()}
        if not self._said_otherwise("/token"):
            self._json(*self.provider.exchange(form, self.headers["Authorization"]))

    def _said_otherwise(self, path: str) -> bool:
        self.provider.asked.append(path)
        said = self.provider.instead.get(path)
        if said is not None:
            time.sleep(said.after_seconds)
            self._answer(said.status, said.body, said.headers, said.pause_seconds)
        return said is not None

    def _json(self, status: int, body: Claims) -> None:
        self._answer(status, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str], pause_seconds: float = 0.0) -> None:
        piece = 1 if pause_seconds else len(body) or 1
        with suppress(OSError):  # whoever asked may have left
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            for start in range(0, len(body), piece):
                self.wfile.write(body[start : start + piece])
                time.sleep(pause_seconds)

    def log_message(self, *_: object) -> None:
        pass
