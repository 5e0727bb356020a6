"""deploy/nginx-files.conf: a real nginx sends the bytes, what it answers is what the registry would have answered, and
nobody is told the name of a file but nginx."""

import http.client
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import ip_network
from pathlib import Path
from signal import SIGTERM

import pytest
from starlette.datastructures import Headers

from steelyard import Client
from steelyard.server.doors.proxies import sends_files
from tests.deployment.files import DEPLOY
from tests.house import RunningServer, start_server
from tests.house.leash import Leashed, start_on_leash
from tests.house.nginx import _program
from tests.house.servers import free_port
from tests.reliability.pushing import make_user

pytestmark = pytest.mark.only("sqlite", "disk")
CONTENT = os.urandom(300_000)
ETAG = f'"sha256:{sha256(CONTENT).hexdigest()}"'
FILE = "/api/v1/org/admin/models/large/1.0.0/files/model.bin"
BLOB = f"/v2/admin/large/blobs/sha256:{sha256(CONTENT).hexdigest()}"
HUB = "/admin/large/resolve/main/model.bin"
PATHS = {"version": FILE, "latest": FILE.replace("1.0.0", "latest"), "blob": BLOB, "hub": HUB}
_OF_EACH_ANSWER = ("date", "server", "connection", "x-request-id", "transfer-encoding")

_CONFIGURATION = """
{user}
pid nginx.pid;
worker_processes 1;
error_log stderr warn;
events {{}}
http {{
    access_log {folder}/access.log;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    server {{ listen 127.0.0.1:{port}; include files.conf; }}
}}
"""


@dataclass(slots=True)
class Sender:
    """nginx with the shipped file: only the registry's address and folder are others."""

    server: RunningServer
    port: int = field(default_factory=free_port)
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="steelyard-nginx-")))
    process: Leashed | None = None

    def start(self) -> "Sender":
        """Start it and wait until it answers."""
        text = (DEPLOY / "nginx-files.conf").read_text()
        for shipped, ours in {
            "127.0.0.1:8950": f"127.0.0.1:{self.server.port}",
            "/var/lib/steelyard/": f"{self.server.data}/",
        }.items():
            assert shipped in text
            text = text.replace(shipped, ours)
        (self.folder / "files.conf").write_text(text)
        user = "user root;" if os.geteuid() == 0 else ""
        (self.folder / "nginx.conf").write_text(_CONFIGURATION.format(user=user, folder=self.folder, port=self.port))
        command = [_program(), "-p", str(self.folder), "-c", "nginx.conf", "-g", "daemon off;"]
        self.process = start_on_leash(command, self.folder, self.folder / "log", SIGTERM)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                ask(self.port, "GET", "/health")
            except OSError:
                time.sleep(0.02)
            else:
                return self
        raise RuntimeError(f"nginx did not start:\n{(self.folder / 'log').read_text()}")

    def discard(self) -> None:
        """End it and leave nothing."""
        if self.process is not None:
            self.process.end()
        shutil.rmtree(self.folder)


Answer = tuple[int, dict[str, str], bytes]


def ask(port: int, method: str, path: str, **headers: str) -> Answer:
    """Status, headers, body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with closing(connection):
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with a published file that lets nginx send."""
    folder = tmp_path_factory.mktemp("server")
    running = start_server(folder / "data", trusted_proxies="127.0.0.1", accel_redirect="/stored/")
    (folder / "large").mkdir()
    (folder / "large" / "model.bin").write_bytes(CONTENT)
    Client(running.url, running.token).push(folder / "large", "admin/large:1.0.0")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def nginx(server: RunningServer) -> Iterator[Sender]:
    """The proxy before it."""
    running = Sender(server).start()
    yield running
    running.discard()


def mine(server: RunningServer) -> dict[str, str]:
    return {"Authorization": f"Bearer {server.token}"}


def without_boundary(status: int, headers: dict[str, str], content: bytes) -> Answer:
    """The answer with the line between several ranges, which is another one each time, replaced."""
    kind, found, boundary = headers.get("content-type", "").partition("multipart/byteranges; boundary=")
    if not found:
        return status, headers, content
    plain = {**headers, "content-type": f"{kind}{found}LINE"}
    return status, plain, content.replace(boundary.encode(), b"LINE")


def told(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in _OF_EACH_ANSWER}


WAYS: dict[str, dict[str, str]] = {
    "whole": {},
    "range": {"Range": "bytes=1000-65999"},
    "open range": {"Range": "bytes=299000-"},
    "suffix": {"Range": "bytes=-77"},
    "past the end": {"Range": "bytes=299999-99999999"},
    "many digits": {"Range": f"bytes=5-{'9' * 30}"},
    "several": {"Range": "bytes=0-9,20-29"},
    "overlapping": {"Range": "bytes=0-9,5-29"},
    "unsatisfiable": {"Range": "bytes=300000-"},
    "backwards": {"Range": "bytes=9-5"},
    "another unit": {"Range": "lines=1-2"},
    "if-range": {"Range": "bytes=0-9", "If-Range": ETAG},
    "if-range of another": {"Range": "bytes=0-9", "If-Range": '"other"'},
    "if-range by date": {"Range": "bytes=0-9", "If-Range": "Sat, 01 Jan 2050 00:00:00 GMT"},
    "had already": {"If-None-Match": ETAG},
    "had another": {"If-None-Match": '"other"'},
    "if-match": {"If-Match": ETAG},
    "if-match of another": {"If-Match": '"other"'},
    "modified since": {"If-Modified-Since": "Sat, 01 Jan 2050 00:00:00 GMT"},
    "unmodified since": {"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"},
    "another site": {"Origin": "https://elsewhere.example"},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("place", PATHS)
def test_nginx_answers_what_the_registry_would(
    server: RunningServer, nginx: Sender, place: str, method: str, way: str
) -> None:
    """Status, every header and every byte."""
    path = PATHS[place]
    headers = {**mine(server), "Host": "models.example.com", **WAYS[way]}
    status, wanted, content = ask(server.port, method, path, **headers)
    found = ask(nginx.port, method, path, **headers)
    status, wanted, content = without_boundary(status, wanted, content)
    found = without_boundary(*found)
    assert (found[0], found[2].partition(b'"request_id"')[0]) == (status, content.partition(b'"request_id"')[0])
    assert told(found[1]) == told(wanted)
    assert "x-request-id" in found[1]


def test_the_registry_sends_nothing_of_what_nginx_sends(server: RunningServer, nginx: Sender) -> None:
    """Bytes and pieces: counted by the registry as fetched elsewhere."""
    before = sent_and_left(server)
    assert ask(nginx.port, "GET", FILE, **mine(server))[2] == CONTENT
    assert ask(nginx.port, "GET", FILE, Range="bytes=10-19", **mine(server))[2] == CONTENT[10:20]
    sent, left = sent_and_left(server)
    assert (sent - before[0], left - before[1]) == (0, len(CONTENT) + 10)


def sent_and_left(server: RunningServer) -> tuple[float, float]:
    """Bytes of this file so far: sent by the registry, left to nginx."""
    lines = ask(server.port, "GET", "/metrics", **mine(server))[2].decode().splitlines()
    of_files = [line for line in lines if "/files/" in line]

    def total(name: str) -> float:
        return sum(float(line.rpartition(" ")[2]) for line in of_files if line.startswith(f"{name}{{"))

    return total("steelyard_http_sent_bytes_total"), total("steelyard_http_redirected_bytes_total")


def test_who_may_not_gets_nothing(nginx: Sender) -> None:
    for path in (FILE, BLOB, HUB):
        for way in ("whole", "range", "had already"):
            status, headers, content = ask(nginx.port, "GET", path, **WAYS[way])
            assert status == 401 and content[:50] != CONTENT[:50], path
            assert "x-accel-redirect" not in headers


def test_a_stranger_with_a_token_gets_nothing_of_a_private_model(server: RunningServer, nginx: Sender) -> None:
    stranger = {"Authorization": f"Bearer {make_user(server, 'stranger')}"}
    for place, path in PATHS.items():
        status, headers, content = ask(nginx.port, "GET", path, **stranger)
        assert status == 404 and content[:50] != CONTENT[:50], place
        assert "x-accel-redirect" not in headers


def test_the_store_is_not_open_to_callers(server: RunningServer, nginx: Sender) -> None:
    [blob] = [path for path in (server.data / "store" / "blobs").rglob("*.*") if path.read_bytes() == CONTENT]
    name = f"/stored/{blob.relative_to(server.data / 'store')}"
    for path in (name, f"/{name}", name.replace("stored", "st%6fred"), f"/x/..{name}", "/stored/blobs/", "/stored/"):
        status, _, content = ask(nginx.port, "GET", path, **mine(server))
        assert status in (401, 404) and content[:50] != CONTENT[:50], path


def test_nobody_else_is_told_names(server: RunningServer) -> None:
    """Who asks the registry itself and does not say that he is nginx gets bytes."""
    asked: list[dict[str, str]] = [{}, {"X_Sendfile_Type": "X-Sendfile"}]
    for headers in asked:
        _, told_him, content = ask(server.port, "GET", FILE, **mine(server), **headers)
        assert content == CONTENT and "x-accel-redirect" not in told_him


@pytest.mark.parametrize(("address", "told"), [("10.1.2.3", True), ("10.2.2.3", False), (None, False), ("unix", False)])
def test_only_a_trusted_address_is_believed_to_be_nginx(address: str | None, told: bool) -> None:
    scope = {"client": None if address is None else (address, 1234)}
    says_so = Headers({"X-Sendfile-Type": "X-Accel-Redirect"})
    assert sends_files(scope, says_so, (ip_network("10.1.0.0/16"),)) is told
    assert not sends_files(scope, says_so, ())


def test_what_is_deleted_in_between_the_registry_says(server: RunningServer, nginx: Sender) -> None:
    """nginx finds no file, and asks again for bytes. Here the file only moved from where nginx looks."""
    blobs = server.data / "store" / "blobs"
    conf = nginx.folder / "files.conf"
    elsewhere = Sender(server)
    try:
        elsewhere.start()
        (elsewhere.folder / "files.conf").write_text(conf.read_text().replace(f"{blobs}/", f"{blobs}-gone/"))
        assert elsewhere.process is not None
        elsewhere.process.end()
        command = [_program(), "-p", str(elsewhere.folder), "-c", "nginx.conf", "-g", "daemon off;"]
        elsewhere.process = start_on_leash(command, elsewhere.folder, elsewhere.folder / "log", SIGTERM)
        deadline = time.monotonic() + 20
        while True:
            try:
                assert ask(elsewhere.port, "GET", FILE, **mine(server))[2] == CONTENT
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
    finally:
        elsewhere.discard()
