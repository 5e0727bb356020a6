"""deploy/nginx.conf: a real nginx takes it, and hands on what the registry needs, before a real server."""

import http.client
import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from steelyard.server.doors.hf.committing import PROOF_SECONDS
from tests.deployment.files import DEPLOY, ROOT
from tests.house import RunningServer, start_server
from tests.house.nginx import Nginx, _program
from tests.house.servers import free_port
from tests.reliability.sockets import wait_for

pytestmark = pytest.mark.only("sqlite", "disk")  # what stands behind the server makes no difference here
CALLER = "127.0.0.7"  # an address of this machine that is not the proxy's


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that believes its proxy."""
    running = start_server(tmp_path_factory.mktemp("server") / "data", trusted_proxies="127.0.0.1", log_format="json")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def nginx(server: RunningServer) -> Iterator[Nginx]:
    """The proxy before it."""
    running = Nginx([server.port]).start()
    yield running
    running.discard()


def ask(
    nginx: Nginx, path: str, *, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Ask the proxy from `CALLER`: status, headers, body."""
    connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=20, source_address=(CALLER, 0))
    with closing(connection):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def lines(server: RunningServer, path: str, wait_seconds: float = 10) -> list[dict[str, object]]:
    """The registry's own log lines about a path; they are written when the answer has gone."""
    deadline = time.monotonic() + wait_seconds
    while True:
        logged = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
        found = [line for line in logged if str(line.get("path", "")).startswith(path)]
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.01)


# --- the configuration


@pytest.mark.parametrize("listen", ["nginx-listen.conf", "nginx-listen-tls.conf"])
def test_nginx_takes_the_shipped_files(listen: str, tmp_path: Path) -> None:
    """As they are but for the folders of the container."""
    _make_certificate(tmp_path)
    for name, shipped in {"nginx.conf": "nginx.conf", "listen.conf": listen}.items():
        text = (DEPLOY / shipped).read_text().replace("/tmp/", f"{tmp_path}/").replace("/run/secrets", str(tmp_path))
        (tmp_path / name).write_text(text.replace("/dev/stdout", f"{tmp_path}/access.log"))
    command = [_program(), "-t", "-p", str(tmp_path), "-c", "nginx.conf", "-g", "daemon off;"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr and "[emerg]" not in done.stderr


def _make_certificate(folder: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(folder / "tls_key"), "-out", str(folder / "tls_certificate")]
    subprocess.run([*command, "-days", "1", "-subj", "/CN=models.example.com", *files], check=True, capture_output=True)


def test_the_proxy_waits_for_as_long_as_the_registry_may_be_silent() -> None:
    """The shipped one, and the one of the manual."""
    for text in ((DEPLOY / "nginx.conf").read_text(), (ROOT / "docs" / "operations.md").read_text()):
        [seconds] = re.findall(r"proxy_read_timeout (\d+)s;", text)
        assert int(seconds) >= PROOF_SECONDS + 60


# --- what it hands on


def test_the_registry_sees_the_caller_and_not_what_he_says_of_himself(nginx: Nginx, server: RunningServer) -> None:
    status, _, _ = ask(nginx, "/config", X_Forwarded_For="203.0.113.9", X_Forwarded_Proto="https")
    assert status == 200
    assert lines(server, "/config")[-1]["address"] == CALLER


def test_links_lead_back_to_the_proxy_and_large_bodies_pass(nginx: Nginx, server: RunningServer) -> None:
    content = bytes(3_000_000)
    wanted = {"objects": [{"oid": sha256(content).hexdigest(), "size": len(content)}], "operation": "upload"}
    _, _, answer = ask(
        nginx,
        "/api/v1/org/admin/models/tiny/blobs/batch",
        method="POST",
        body=json.dumps(wanted).encode(),
        Authorization=f"Bearer {server.token}",
        Content_Type="application/json",
    )
    link = json.loads(answer)["objects"][0]["actions"]["upload"]["href"]
    assert link.startswith(f"{nginx.url}/")
    assert ask(nginx, link.removeprefix(nginx.url), method="PUT", body=content)[0] == 200


def test_a_body_is_handed_on_while_it_comes(nginx: Nginx) -> None:
    """A proxy that waited for the end, to keep the body on its disk until then, would not answer."""
    connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=20)
    with closing(connection):
        connection.putrequest("PUT", "/api/v1/uploads/x")
        connection.putheader("Content-Length", "3000000")
        connection.endheaders(bytes(100_000))
        assert connection.getresponse().status in (401, 403, 404, 405)


def test_a_path_arrives_as_it_was_sent(nginx: Nginx, server: RunningServer) -> None:
    ask(nginx, "/api/v1/org/admin%2Fmodels/x%20y//z")
    assert lines(server, "/api/v1/org/admin%2Fmodels/x%20y//z")


def test_monitoring_is_not_open_to_callers(nginx: Nginx, server: RunningServer) -> None:
    for path in ("/metrics", "//metrics", "/%6detrics", "/x/../metrics", "/api/v1/metrics", "/metrics?x"):
        status, _, answer = ask(nginx, path, Authorization=f"Bearer {server.token}")
        assert status == 404 and b"steelyard_" not in answer, path
    assert not lines(server, "/metrics", 0.2) and not lines(server, "/api/v1/metrics", 0.2)


def test_the_log_of_the_proxy_has_no_query_and_says_which_request_it_was(nginx: Nginx) -> None:
    _, headers, _ = ask(nginx, "/config?ticket=secret")
    wait_for(lambda: any(headers["x-request-id"] in line for line in nginx.lines), "a line in the proxy's log")
    [line] = [line for line in nginx.lines if headers["x-request-id"] in line]
    assert '"GET /config"' in line
    assert "secret" not in "".join(nginx.lines) + nginx.log


def test_the_other_server_answers_when_one_is_gone(server: RunningServer) -> None:
    gone = free_port()
    both = Nginx([gone, server.port]).start()
    try:
        assert [ask(both, "/health")[0] for _ in range(6)] == [200] * 6
        tried = re.compile(rf"upstream=127\.0\.0\.1:{gone}, 127\.0\.0\.1:{server.port}/")
        wait_for(lambda: any(tried.search(line) for line in both.lines), "a line about both servers")
    finally:
        both.discard()


def test_a_failure_of_all_servers_is_told_without_the_query(tmp_path: Path) -> None:
    alone = Nginx([free_port()]).start()
    try:
        assert ask(alone, "/config?ticket=secret")[0] == 502
        assert "secret" not in "".join(alone.lines) + alone.log
    finally:
        alone.discard()
