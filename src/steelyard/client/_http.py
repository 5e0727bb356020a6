"""The one place that speaks HTTP: credentials, retries, error mapping, bounds.

The token goes to the registry's own origin and nowhere else: not with a redirect, not to a link of another origin.
Redirects are followed for bytes only (`follow`), never on calls of the API.
"""

import json
import random
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from html import unescape
from http.client import HTTPException
from typing import Any, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError, LocationParseError, NewConnectionError, URLSchemeUnknown
from urllib3.exceptions import TimeoutError as HTTPTimeout

from steelyard import __version__
from steelyard.client.addresses import is_loopback, linked, origin, without_query
from steelyard.client.errors import (
    ApiError,
    ConnectionFailed,
    InvalidSettings,
    RateLimited,
    ServerFailed,
    SteelyardError,
    UnexpectedAnswer,
    error_class,
)

MAX_ANSWER_BYTES = 128 << 20  # a Detail of 100,000 files with long paths stays below
MAX_ERROR_BYTES = 1 << 20
_STORE_ERROR_BYTES = 8 << 10  # where its words are
MAX_REDIRECTS = 5
_SAFE_METHODS = frozenset({"GET", "HEAD", "PUT"})
_STORE_FAILED = "InternalError"  # what an S3 store calls a failure of its own, in a 500
_T = TypeVar("_T")
Query = Mapping[str, object]
Body = bytes | Iterable[bytes] | None


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on trying: attempts, and the pause between them, doubling up to the longest."""

    attempts: int
    first_pause_seconds: float
    longest_pause_seconds: float

    def pause_seconds(self, attempt: int, error: SteelyardError, *, resend_safe: bool) -> float | None:
        """Seconds to wait before the next attempt (counted from 0), or None to give up."""
        if attempt + 1 >= self.attempts or not _worth_another(error, resend_safe=resend_safe):
            return None
        asked = getattr(error, "retry_after_seconds", None) or 0.0
        if asked > 60:
            return None
        backoff = min(self.first_pause_seconds * 2**attempt, self.longest_pause_seconds)
        return float(max(asked, backoff * random.uniform(0.7, 1.3)))  # noqa: S311 spreads clients, guards nothing


CALLING = Patience(attempts=4, first_pause_seconds=0.2, longest_pause_seconds=2)
ONCE = Patience(attempts=1, first_pause_seconds=0, longest_pause_seconds=0)
MOVING_BYTES = Patience(attempts=8, first_pause_seconds=0.3, longest_pause_seconds=8)  # outlives a server restart


def _worth_another(error: SteelyardError, *, resend_safe: bool) -> bool:
    if isinstance(error, RateLimited):
        return True  # refused before anything was done
    if isinstance(error, ServerFailed):
        return resend_safe and (error.status in (502, 503, 504) or error.type == _STORE_FAILED)
    return resend_safe and isinstance(error, ConnectionFailed)


def retrying(
    action: Callable[[], _T],
    *,
    resend_safe: bool,
    patience: Patience = CALLING,
    pause: Callable[[float], object] = time.sleep,
) -> _T:
    """Run `action` until it answers, fails for good, or patience ends."""
    attempt = 0
    while True:
        try:
            return action()
        except SteelyardError as error:
            seconds = patience.pause_seconds(attempt, error, resend_safe=resend_safe)
            if seconds is None:
                raise
            pause(seconds)
            attempt += 1


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer: `body` is the decoded JSON, or None where there is none."""

    status: int
    body: Any
    headers: Mapping[str, str]


class Http:
    """Calls to one registry, from any number of threads."""

    def __init__(self, base: str, token: str | None, *, timeout_seconds: float, connections: int) -> None:
        self.base = base
        self.token = token
        self._origin = origin(base)
        self._timeout = urllib3.Timeout(connect=min(timeout_seconds, 15.0), read=timeout_seconds)
        self._connections = connections
        self._pools: dict[str | None, urllib3.PoolManager] = {}

    def close(self) -> None:
        """Close the idle connections."""
        for pool in self._pools.values():
            pool.clear()

    def url(self, path: str, query: Query | None = None) -> str:
        """The absolute URL of a path of the API; a None in the query is left out, a list repeats its key."""
        pairs = [(key, item) for key, value in (query or {}).items() for item in _items(value)]
        return f"{self.base}{path}" + (f"?{urlencode(pairs)}" if pairs else "")

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        resend_safe: bool | None = None,
        patience: Patience = CALLING,
        pause: Callable[[float], object] = time.sleep,
    ) -> Answer:
        """One call of the API, JSON in and out. `path` is a route of ours or an absolute link.

        `resend_safe` says that sending it twice does what sending it once does (GET, HEAD and PUT always are).
        Raises ApiError for a refusal, ConnectionFailed, UnexpectedAnswer.
        """
        url = path if "://" in path else self.url(path, query)
        sent = dict(headers or {}) | {"Accept": "application/json"}
        data = None
        if body is not None:
            data = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
            sent["Content-Type"] = "application/json"
        safe = method in _SAFE_METHODS if resend_safe is None else resend_safe
        return retrying(lambda: self._answer(method, url, data, sent), resend_safe=safe, patience=patience, pause=pause)

    def _answer(self, method: str, url: str, body: Body, headers: Mapping[str, str]) -> Answer:
        response = self.open(method, url, body=body, headers=headers)
        try:
            if 300 <= response.status < 400:
                raise UnexpectedAnswer(_redirect_text(url, response.headers.get("Location", "")))
            data = read_bounded(response, MAX_ANSWER_BYTES, url)
        finally:
            response.release_conn()
        return Answer(response.status, _decoded(data, url), response.headers)

    def open(
        self, method: str, url: str, *, body: Body = None, headers: Mapping[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse:
        """One exchange without retries; an answer below 400 comes back unread, the others raise ApiError."""
        target = origin(url)
        sent = {"User-Agent": f"steelyard/{__version__}", "Accept-Encoding": "identity", **(headers or {})}
        if self.token and target == self._origin:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        try:
            response = self._pool(url).request(
                method, url, body=body, headers=sent, timeout=self._timeout, redirect=False, retries=False,
                preload_content=False, decode_content=False,
            )  # fmt: skip
        except (LocationParseError, URLSchemeUnknown, UnicodeError, ValueError):
            raise UnexpectedAnswer("the registry gave a link that cannot be understood") from None
        except (HTTPError, HTTPException, OSError) as error:
            raise ConnectionFailed(_unreachable_text(url, error)) from error
        if response.status >= 400:
            raise _api_error(response, f"{method} {without_query(url)}")
        return response

    def put_bytes(self, url: str, pieces: Iterable[bytes], size_bytes: int, headers: Mapping[str, str]) -> None:
        """One PUT of a body of known size, without retries; the pieces are read as they are sent."""
        response = self.open("PUT", url, body=pieces, headers={**headers, "Content-Length": str(size_bytes)})
        try:
            if response.status >= 300:
                raise UnexpectedAnswer(_redirect_text(url, response.headers.get("Location", "")))
            read_bounded(response, MAX_ERROR_BYTES, url)
        finally:
            response.release_conn()

    def follow(self, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """GET bytes through redirects, at most five, never from https down to http."""
        return self.find(url, headers)[0]

    def find(self, url: str, headers: Mapping[str, str]) -> tuple[urllib3.BaseHTTPResponse, str]:
        """As `follow`; answers besides where the bytes were found."""
        for _ in range(MAX_REDIRECTS + 1):
            response = self.open("GET", url, headers=headers)
            if response.status not in (301, 302, 303, 307, 308):
                return response, url
            response.close()
            url = linked(url, response.headers.get("Location", ""))
        raise UnexpectedAnswer(f"more than {MAX_REDIRECTS} redirects; the last led to {without_query(url)}")

    def _pool(self, url: str) -> urllib3.PoolManager:
        proxy = proxy_for(url)
        if proxy not in self._pools:
            options: dict[str, Any] = {"num_pools": 8, "maxsize": self._connections, "blocksize": 256 << 10}
            self._pools[proxy] = _proxied(proxy, options) if proxy else urllib3.PoolManager(**options)
        return self._pools[proxy]


def _items(value: object) -> list[str]:
    if value is None:
        return []
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, (list, tuple)):
        return [str(item) for item in value]
    return [str(value)]


def proxy_for(url: str) -> str | None:
    """The proxy the environment names for this URL; a loopback address never goes through one."""
    parts = urlsplit(url)
    if is_loopback(url) or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if proxy and "://" not in proxy:
        return f"http://{proxy}"
    return proxy or None


def _proxied(proxy: str, options: Mapping[str, Any]) -> urllib3.ProxyManager:
    parts = urlsplit(proxy)
    credentials = f"{parts.username}:{parts.password or ''}" if parts.username else None
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    headers = urllib3.make_headers(proxy_basic_auth=credentials) if credentials else None
    try:
        return urllib3.ProxyManager(bare, proxy_headers=headers, **options)
    except (HTTPError, ValueError):
        raise InvalidSettings(f"the proxy {bare} cannot be used; only http and https proxies can") from None


def read_bounded(response: urllib3.BaseHTTPResponse, limit_bytes: int, url: str) -> bytes:
    """The whole body, at most `limit_bytes`. Raises UnexpectedAnswer above, ConnectionFailed when it breaks off."""
    pieces, size = [], 0
    try:
        while piece := response.read(1 << 20):
            pieces.append(piece)
            size += len(piece)
            if size > limit_bytes:
                response.close()
                raise UnexpectedAnswer(f"{without_query(url)} answered with more than {limit_bytes >> 20} MiB")
    except (HTTPError, HTTPException, OSError) as error:
        raise ConnectionFailed(_unreachable_text(url, error)) from error
    return b"".join(pieces)


def _decoded(data: bytes, url: str) -> Any:
    if not data:
        return None
    try:
        return json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise UnexpectedAnswer(
            f"{without_query(url)} did not answer with JSON; is this the address of a Steelyard registry?"
        ) from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _api_error(response: urllib3.BaseHTTPResponse, call: str) -> ApiError:
    """The registry's error body as an exception, or the store's; any other body still gives the status."""
    data = b""
    try:
        data = read_bounded(response, MAX_ERROR_BYTES, call)
    except SteelyardError:
        response.close()
    finally:
        response.release_conn()
    body = _error_body(data, call, response.status)
    given, detail = body.get("type"), body.get("detail")
    type_ = given if isinstance(given, str) else ""
    errors = body.get("errors")
    return error_class(response.status, type_)(
        response.status,
        type_,
        detail if isinstance(detail, str) else f"{call} answered {response.status}",
        errors=[fault for fault in errors if isinstance(fault, dict)] if isinstance(errors, list) else (),
        request_id=response.headers.get("X-Request-Id"),
        retry_after_seconds=retry_after_seconds(response.headers),
        call=call,
    )


def _error_body(data: bytes, call: str, status: int) -> dict[str, Any]:
    """The keys of the registry's error body. A store's is XML with `Code` and `Message` (S3 API, "Error responses")."""
    if data.lstrip()[:1] == b"<":
        return _store_error(data[:_STORE_ERROR_BYTES].decode(errors="replace"), call, status)
    try:
        body = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _store_error(text: str, call: str, status: int) -> dict[str, Any]:
    code, message = (re.search(f"<{name}>([^<>]{{1,500}})</{name}>", text) for name in ("Code", "Message"))
    if code is None or "<Error" not in text:
        return {}
    said = f"{code[1]}: {unescape(message[1])}" if message else code[1]
    return {"type": code[1], "detail": f"the store of bytes answered {status} to {call}: {said}"}


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """`Retry-After` in seconds; None where it is missing or a date."""
    try:
        return max(0.0, float(headers.get("Retry-After", "")))
    except ValueError:
        return None


def _redirect_text(url: str, location: str) -> str:
    target = without_query(urljoin(url, location))
    return f"{without_query(url)} answered with a redirect to {target}; log in to that address if it is the registry's"


def _unreachable_text(url: str, error: Exception) -> str:
    where = origin(url)
    if isinstance(error, NewConnectionError):
        reason = str(error).rpartition(": ")[2] or "no connection"
        return f"cannot reach {where}: {reason}"
    if isinstance(error, HTTPTimeout):
        return f"{where} did not answer in time"
    return f"the connection to {where} broke: {type(error).__name__}"
