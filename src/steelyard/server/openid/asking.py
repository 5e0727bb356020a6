"""HTTP to an OpenID provider: short waits, small answers, JSON or nothing, and never to where a redirect leads."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import urllib3

from steelyard import __version__
from steelyard.server.errors import ProviderFailed

_MOST_BYTES = 256 * 1024
_PIECE_BYTES = 16 * 1024
_AT_ONCE = 4
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": f"steelyard/{__version__}"}
_FORM = "application/x-www-form-urlencoded"

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """What the provider answered: a status, and an object."""

    status: int
    found: Json


class Wire:
    """Connections to a provider. Safe to use from any thread."""

    def __init__(self, timeout_seconds: float) -> None:
        self._pool = urllib3.PoolManager(maxsize=_AT_ONCE, retries=False)
        self._seconds = timeout_seconds

    def get(self, url: str) -> Json:
        """A document. Raises `ProviderFailed` for all but 200 and an object."""
        said = self._ask("GET", url, _HEADERS, None)
        if said.status != 200:
            raise ProviderFailed(f"The sign-in provider answers {said.status} at {place_of(url)}.")
        return said.found

    def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Said:
        """What the provider says to a form, which may be a refusal. Raises `ProviderFailed`."""
        return self._ask("POST", url, {**_HEADERS, "Content-Type": _FORM, **headers}, urlencode(form).encode())

    def close(self) -> None:
        """Let go of every connection."""
        self._pool.clear()

    def _ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Said:
        ends_at, waits = time.monotonic() + self._seconds, urllib3.Timeout(total=self._seconds)
        try:
            answer = self._pool.request(
                method, url, body=body, headers=headers, timeout=waits, redirect=False, preload_content=False
            )
            try:
                content = _read(answer, url, ends_at)
            finally:
                answer.close()  # and not back to the pool: what was not read may be without end
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ProviderFailed(f"The sign-in provider does not answer at {place_of(url)}.") from error
        return Said(answer.status, _parse(answer.status, content, url))


def _read(answer: urllib3.BaseHTTPResponse, url: str, ends_at: float) -> bytes:
    content = bytearray()
    while piece := answer.read1(_PIECE_BYTES, decode_content=False):
        content += piece
        if len(content) > _MOST_BYTES:
            raise ProviderFailed(f"The sign-in provider's answer at {place_of(url)} is too large to be one.")
        if time.monotonic() > ends_at:
            raise ProviderFailed(f"The sign-in provider takes too long to answer at {place_of(url)}.")
    return bytes(content)


def _parse(status: int, content: bytes, url: str) -> Json:
    if 300 <= status < 400:
        raise ProviderFailed(f"The sign-in provider wants to be asked elsewhere than at {place_of(url)} ({status}).")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ProviderFailed(f"The sign-in provider's answer ({status}) at {place_of(url)} is no JSON.") from error
    if not isinstance(found, dict):
        raise ProviderFailed(f"The sign-in provider's answer ({status}) at {place_of(url)} is no JSON object.")
    return found


def place_of(url: str) -> str:
    """Where a URL leads, without its query and whatever else it may carry."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
