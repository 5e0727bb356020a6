"""Reading one artifact as a stream."""

from collections.abc import Iterator
from http.client import HTTPException
from types import TracebackType
from typing import Self

import urllib3
from urllib3.exceptions import HTTPError

from steelyard.client._http import Http, retrying
from steelyard.client.errors import ConnectionFailed

PIECE_BYTES = 256 << 10


class ArtifactStream:
    """Bytes of an artifact, for a `with`: `etag` is its OID, `size_bytes` what follows (None when not announced)."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response
        self.etag = (response.headers.get("ETag") or "").removeprefix("W/").strip('"') or None
        length = response.headers.get("Content-Length", "")
        self.size_bytes = int(length) if length.isdecimal() else None

    def read(self, size_bytes: int = PIECE_BYTES) -> bytes:
        """At most `size_bytes` more; empty at the end. Raises ConnectionFailed when it breaks off."""
        try:
            return self._response.read(size_bytes)
        except (HTTPError, HTTPException, OSError) as error:
            raise ConnectionFailed(f"the download broke off: {type(error).__name__}") from error

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read():
            yield piece

    def close(self) -> None:
        """Give the connection up."""
        self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_artifact(http: Http, url: str, first_byte: int, length_bytes: int | None) -> ArtifactStream:
    """The artifact at `url` from `first_byte` on, redirects followed."""
    headers = {}
    if first_byte or length_bytes is not None:
        last = "" if length_bytes is None else str(first_byte + length_bytes - 1)
        headers["Range"] = f"bytes={first_byte}-{last}"
    return ArtifactStream(retrying(lambda: http.follow(url, headers), resend_safe=True))
