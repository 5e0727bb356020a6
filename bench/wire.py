"""A container tool reduced to what it sends and reads, so that it costs as little as can be beside the server.

`HEAD` is asked here, since `wrk` waits for the body of such an answer.
"""

import hashlib
import selectors
import socket
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from typing import Protocol
from urllib.parse import urlsplit

from bench.load import SECONDS

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
Piece = bytes | memoryview
READ_BYTES = 256 * 1024
SENT_BYTES = 32 * 1024
"""A chunk of skopeo's: Go copies in such pieces."""


class Server(Protocol):
    """Whoever serves `/v2/`."""

    @property
    def url(self) -> str: ...

    @property
    def token(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool and its repository at one server."""

    server: Server
    repository: str

    def url(self, path: str) -> str:
        return f"{self.server.url}/v2/{self.repository}/{path}"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.server.token}"}

    def push_whole(self, digest: str, body: Piece) -> None:
        """A blob in one PUT, after the POST that the specification has before it."""
        with_digest = _with_query(self._begin(), f"digest={digest}")
        self._ask("PUT", with_digest, 201, body, {"Content-Length": str(memoryview(body).nbytes)})

    def push_streamed(self, digest: str, pieces: Iterable[Piece]) -> None:
        """A blob as skopeo sends it: one PATCH of chunks whose number nobody says, then PUT with the digest."""
        answer = self._ask("PATCH", self._begin(), 202, pieces, {"Transfer-Encoding": "chunked"})
        self._ask("PUT", _with_query(answer.headers["Location"], f"digest={digest}"), 201)

    def push_manifest(self, reference: str, media_type: str, content: bytes) -> None:
        self._ask("PUT", self.url(f"manifests/{reference}"), 201, content, {"Content-Type": media_type})

    def pull(self, digest: str) -> int:
        """Read a blob, and forget it; answers how many bytes it was."""
        connection, answer = self._open(self.url(f"blobs/{digest}"))
        buffer, count = bytearray(READ_BYTES), 0
        while read := answer.readinto(buffer):
            count += read
        connection.close()
        return count

    def pull_at_once(self, digest: str, connections: int) -> int:
        with ThreadPoolExecutor(connections) as threads:
            return sum(threads.map(self.pull, [digest] * connections))

    def heads_per_second(self, path: str, connections: int) -> float:
        """How many answers of 200 a second to HEAD; raises when any answer is another."""
        target = urlsplit(self.url(path))
        asking = _request("HEAD", target.path, self.server)
        with selectors.DefaultSelector() as selector:
            for _ in range(connections):
                opened = socket.create_connection((target.hostname or "", target.port or 80))
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(opened, selectors.EVENT_READ)
                opened.sendall(asking)
            try:
                return _count_answers(selector, asking) / SECONDS
            finally:
                for key in list(selector.get_map().values()):
                    key.fileobj.close()  # type: ignore[union-attr]

    def _begin(self) -> str:
        return str(self._ask("POST", self.url("blobs/uploads/"), 202).headers["Location"])

    def _open(self, url: str) -> tuple[HTTPConnection, HTTPResponse]:
        target = urlsplit(url)
        connection = HTTPConnection(target.netloc, timeout=120)
        connection.request("GET", target.path, headers=self.headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"GET {target.path}: {answer.status}\n{answer.read()!r}")
        return connection, answer

    def _ask(
        self,
        method: str,
        url: str,
        wanted: int,
        body: Piece | Iterable[Piece] | None = None,
        headers: dict[str, str] | None = None,
    ) -> HTTPResponse:
        target = urlsplit(url)
        connection = HTTPConnection(target.netloc or urlsplit(self.server.url).netloc, timeout=120)
        path = f"{target.path}?{target.query}" if target.query else target.path
        streamed = (headers or {}).get("Transfer-Encoding") == "chunked"
        sent = {"Content-Length": "0"} if body is None else headers or {}
        connection.request(method, path, body, {**self.headers, **sent}, encode_chunked=streamed)
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        if answer.status != wanted:
            raise RuntimeError(f"{method} {target.path}: {answer.status}\n{said!r}")
        return answer


def digest_of(pieces: Iterable[Piece]) -> str:
    """The name of these bytes."""
    found = hashlib.sha256()
    for piece in pieces:
        found.update(piece)
    return f"sha256:{found.hexdigest()}"


def in_chunks(content: bytes) -> Iterator[memoryview]:
    """What skopeo would send at a time."""
    whole = memoryview(content)
    return (whole[start : start + SENT_BYTES] for start in range(0, len(whole), SENT_BYTES))


def _count_answers(selector: selectors.BaseSelector, asking: bytes) -> int:
    count, until = 0, time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        for key, _ in selector.select(timeout=1.0):
            opened = key.fileobj
            assert isinstance(opened, socket.socket)
            said = opened.recv(READ_BYTES)
            while not said.endswith(b"\r\n\r\n"):
                said += (more := opened.recv(READ_BYTES))
                if not more:
                    raise RuntimeError(f"the server went away after {said!r}")
            if not said.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"an answer to HEAD was {said!r}")
            count += 1
            opened.sendall(asking)
    return count


def _request(method: str, path: str, server: Server) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {urlsplit(server.url).netloc}"]
    return "\r\n".join([*lines, f"Authorization: Bearer {server.token}", f"Accept: {MANIFEST}", "", ""]).encode()


def _with_query(location: str, query: str) -> str:
    return f"{location}{'&' if '?' in location else '?'}{query}"
