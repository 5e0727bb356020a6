"""Stored bytes over HTTP, from a real granian that runs this file."""

import asyncio
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import urllib3
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from steelyard.server.doors.sending import PIECE_BYTES, BlobSource
from steelyard.server.errors import RegistryError
from steelyard.server.storage.local import LocalBlob, LocalStore
from tests.server.doors.stored import CONTENT, ETAG, FILES, SpySource, archive_source, put, response_of, tar_of

LARGE_BYTES = 400 * 1024 * 1024
LARGE_KEY = "f" * 64 + ".00000000"


def put_hole(store: LocalStore, digit: str) -> str:
    """A large blob that takes no space, under a key made of one digit."""
    key = digit * 64 + ".00000000"
    with store.stage(digit * 32, LARGE_BYTES - 1) as writer:
        writer.write([b"x"])
    store.commit(digit * 32, key)
    return key


def create_app(root: Path) -> ASGIApp:
    """A file, a tar and a broken source, behind FastAPI and its error handlers as in the real doors."""
    app = FastAPI()
    store = LocalStore(root)

    @app.exception_handler(RegistryError)
    def answer_error(request: Request, error: RegistryError) -> Response:
        return JSONResponse({"detail": error.detail}, error.status, error.headers)

    @app.api_route("/file/{key}", methods=["GET", "HEAD"])
    def get_file(key: str) -> Response:
        blob = store.open(key)
        assert blob is not None
        return response_of(BlobSource(blob, blob.size_bytes, ETAG))

    @app.get("/tar")
    def get_tar() -> Response:
        return response_of(archive_source(store, FILES))

    @app.get("/broken/{at}")
    def get_broken(at: int) -> Response:
        return response_of(SpySource(fails_at=at))

    return with_record(app)


def with_record(app: ASGIApp) -> ASGIApp:
    """Tells at /sent what the request before sent."""
    sent: list[str] = []

    async def recording(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/sent":
            await JSONResponse(sent)(scope, receive, send)
            return
        sent.clear()

        async def record(message: Message) -> None:
            sent.append(message["type"])
            await send(message)

        await app(scope, receive, record)

    return recording


async def serve(port: int, root: Path) -> None:
    from granian.constants import Interfaces
    from granian.server.embed import Server

    app = create_app(root)
    await Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGINL, log_enabled=False).serve()


@dataclass
class Granian:
    """The running server, and a client with one connection to it that is kept alive."""

    process: subprocess.Popen[bytes]
    client: urllib3.HTTPConnectionPool
    store: LocalStore
    key: str

    def get(self, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> urllib3.BaseHTTPResponse:
        return self.client.request(method, path, headers=headers)

    def begin(self, path: str, headers: dict[str, str] | None = None) -> urllib3.BaseHTTPResponse:
        return self.client.request("GET", path, headers=headers, preload_content=False)

    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def memory_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) * 1024


@pytest.fixture(scope="module")
def granian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Granian]:
    root = tmp_path_factory.mktemp("store")
    store = LocalStore(root)
    put_hole(store, "f")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    repository = Path(__file__).parents[3]
    process = subprocess.Popen([sys.executable, "-m", __name__, str(port), root], cwd=repository)
    try:
        wait_for_port(port, process)
        with urllib3.HTTPConnectionPool("127.0.0.1", port, maxsize=1, retries=False, timeout=20) as client:
            yield Granian(process, client, store, put(store, CONTENT))
    finally:
        process.terminate()
        process.wait(10)


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server did not start"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the server did not start in time")


def test_a_whole_file_that_is_on_the_disk_is_sent_by_its_path(granian: Granian) -> None:
    blob = granian.store.open(granian.key)
    assert blob is not None
    with blob:
        forget(blob)
        if blob.read_now(0, PIECE_BYTES) is not None:
            pytest.skip("this disk lets go of nothing that was read")
        forget(blob)  # to ask was to have it read
    response = granian.get(f"/file/{granian.key}")
    assert (response.status, response.data) == (200, CONTENT)
    assert response.headers["Content-Length"] == str(len(CONTENT))
    assert response.headers["ETag"] == ETAG
    assert granian.get("/sent").json() == ["http.response.start", "http.response.pathsend"]


def forget(blob: LocalBlob) -> None:
    """Have the system drop from memory what it read of a file."""
    with blob.path.open("rb") as file:
        os.fdatasync(file)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def test_a_whole_file_in_memory_is_sent_from_there(granian: Granian) -> None:
    assert granian.get(f"/file/{granian.key}").data == CONTENT
    assert granian.get(f"/file/{granian.key}").data == CONTENT
    assert "http.response.pathsend" not in granian.get("/sent").json()


def test_a_file_that_went_while_it_was_sent_is_still_whole(granian: Granian) -> None:
    key = put_hole(granian.store, "e")
    response = granian.begin(f"/file/{key}")
    received = len(response.read(1))
    granian.store.delete(key)
    received += sum(len(piece) for piece in response.stream(1024 * 1024))
    assert received == LARGE_BYTES


@pytest.mark.parametrize(
    ("method", "headers", "status", "body"),
    [
        ("GET", {}, 200, CONTENT),
        ("HEAD", {}, 200, b""),
        ("GET", {"Range": "bytes=10-19"}, 206, CONTENT[10:20]),
        ("GET", {"Range": "bytes=1-"}, 206, CONTENT[1:]),
        ("GET", {"If-None-Match": ETAG}, 304, b""),
        ("GET", {"Range": f"bytes={len(CONTENT)}-"}, 416, None),
        ("GET", {"If-Match": '"x"'}, 412, None),
        ("GET", {"Range": "bytes=0-0,2-2"}, 206, None),
    ],
)
def test_every_kind_of_answer_leaves_the_connection_usable(
    granian: Granian, method: str, headers: dict[str, str], status: int, body: bytes | None
) -> None:
    granian.get("/sent")
    connections = granian.client.num_connections
    response = granian.get(f"/file/{granian.key}", headers, method)
    assert response.status == status
    assert body is None or response.data == body
    if method == "HEAD":
        assert response.headers["Content-Length"] == str(len(CONTENT))
    if status == 416:
        assert response.headers["Content-Range"] == f"bytes */{len(CONTENT)}"
    granian.get("/sent")
    assert granian.client.num_connections == connections


def test_a_broken_download_of_the_tar_goes_on(granian: Granian) -> None:
    response = granian.begin("/tar")
    begun = response.read(500_000)
    response.close()
    rest = granian.get("/tar", {"Range": f"bytes={len(begun)}-", "If-Range": response.headers["ETag"]})
    assert rest.status == 206
    assert begun + rest.data == tar_of(FILES)


def test_a_failure_before_the_first_byte_is_an_error_answer(granian: Granian) -> None:
    response = granian.get("/broken/0")
    assert response.status == 502
    assert response.json() == {"detail": "The disk is gone."}


def test_a_failure_later_cuts_the_connection(granian: Granian) -> None:
    response = granian.begin(f"/broken/{2 * PIECE_BYTES}")
    assert response.status == 200
    with pytest.raises(urllib3.exceptions.ProtocolError, match="IncompleteRead"):
        response.read()


@pytest.mark.parametrize("header", ["bytes=1-", "bytes=0-5,9-"])
def test_clients_that_leave_leave_nothing_open(granian: Granian, header: str) -> None:
    granian.get("/sent")
    before = granian.open_files()
    responses = [granian.begin(f"/file/{LARGE_KEY}", {"Range": header}) for _ in range(8)]
    for response in responses:
        response.read(100_000)
    assert granian.open_files() >= before + 8
    for response in responses:
        response.close()
    deadline = time.monotonic() + 5
    while granian.open_files() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert granian.open_files() <= before


def test_a_stream_takes_no_memory_for_its_length(granian: Granian) -> None:
    granian.get(f"/file/{LARGE_KEY}", {"Range": "bytes=1-5000000"})
    before = granian.memory_bytes()
    response = granian.begin(f"/file/{LARGE_KEY}", {"Range": "bytes=1-"})
    received, memory = 0, [before]
    for piece in response.stream(4 * 1024 * 1024):
        received += len(piece)
        memory.append(granian.memory_bytes())
    assert received == LARGE_BYTES - 1
    assert max(memory) - before < 48 * 1024 * 1024


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
