"""Traces, as a collector gets them from a server of its own; and that without them nothing is there."""

import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from steelyard import __version__
from steelyard.server.watching import Answered
from steelyard.server.watching.monitor import open_monitor
from tests.house import RunningServer, start_server
from tests.house.collector import Collector, Span, collecting
from tests.house.people import Person
from tests.house.servers import free_port

PART_BYTES = 64 * 1024
MODEL = "/api/v1/org/{org}/models/{name}"
SERVER, CLIENT, INTERNAL = 2, 3, 1


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector, to which servers that are started now send at once."""
    with collecting() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.endpoint)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")  # whose spans have the query string: ours only
        yield running


@pytest.fixture
def traced(collector: Collector, tmp_path: Path) -> Iterator[RunningServer]:
    """A server that sends its traces there."""
    server = start_server(tmp_path / "data", part_size_bytes=str(PART_BYTES), log_format="json")
    yield server
    server.stop()


def access_lines(server: RunningServer) -> list[dict[str, object]]:
    """What the access log has, by request."""
    lines = (json.loads(line) for line in server.log.splitlines() if line.startswith("{"))
    return [line for line in lines if line["logger"] == "steelyard.access"]


def below(collector: Collector, span: Span) -> set[str]:
    """The names of the spans that hang on this one."""
    return {it.name for it in list(collector.spans) if it.parent_id == span.id}


def test_a_request_is_a_span_named_by_its_route(traced: RunningServer, collector: Collector) -> None:
    with httpx2.Client(base_url=traced.url) as client:
        headers = {"X-Request-Id": "request-7", "Authorization": f"Bearer {traced.token}"}
        client.get("/api/v1/org/admin/models/no-such-model?search=private", headers=headers)
        client.request("BREW", "/api/v1/org/admin/models")
        client.get("/no/such/thing")
    collector.wait_for(lambda: len(collector.named("HTTP")) + len(collector.named("GET")) >= 2)
    collector.wait_for(lambda: collector.named(f"GET {MODEL}"))
    (span,) = collector.named(f"GET {MODEL}")
    assert (span.kind, span.parent_id, span.failed) == (SERVER, "", False)
    assert span.attributes == {
        "http.request.method": "GET", "http.route": MODEL, "http.response.status_code": 404, "url.scheme": "http",
        "url.path": "/api/v1/org/admin/models/no-such-model", "client.address": "127.0.0.1",
        "steelyard.request_id": "request-7",
    }  # fmt: skip
    assert span.service["service.name"] == "steelyard"
    assert span.service["service.version"] == __version__
    assert span.seconds > 0
    assert below(collector, span) == {"database read"}
    (brewed,) = collector.named("HTTP")
    assert brewed.attributes["http.request.method"] == "_OTHER"
    (lost,) = [it for it in collector.named("GET") if it.attributes["url.path"] == "/no/such/thing"]
    assert "http.route" not in lost.attributes
    (line,) = [it for it in access_lines(traced) if it["request_id"] == "request-7"]
    assert line["trace_id"] == span.trace_id


def test_a_caller_s_trace_goes_on_in_the_server(traced: RunningServer, collector: Collector) -> None:
    with httpx2.Client(base_url=traced.url) as client:
        client.get("/config", headers={"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"})
        client.get("/config", headers={"traceparent": f"00-{'ef' * 16}-{'cd' * 8}-00"})  # he does not want it kept
        client.get("/config", headers={"traceparent": "nonsense"})
    collector.wait_for(lambda: len(collector.named("GET /config")) >= 2)
    continued, own = sorted(collector.named("GET /config"), key=lambda it: it.parent_id, reverse=True)
    assert (continued.trace_id, continued.parent_id) == ("ab" * 16, "cd" * 8)
    assert own.parent_id == ""
    assert own.trace_id not in ("ab" * 16, "ef" * 16)


def test_transactions_the_store_and_proofs_hang_on_their_requests(traced: RunningServer, collector: Collector) -> None:
    small, large = random.randbytes(1_000), random.randbytes(PART_BYTES + 1)
    with httpx2.Client(base_url=traced.url) as client:
        admin = Person(client, "admin", traced.token)
        assert admin.publish("admin/tiny:1.0.0", {"a.bin": small, "b.bin": large}).status_code == 201
        admin.get("/org/admin/models/tiny/1.0.0/files/b.bin", headers={"Range": "bytes=1-70000"})
    route = f"{MODEL}/blobs/uploads/{{upload_id}}"
    collector.wait_for(lambda: collector.named(f"GET {MODEL}/{{version}}/files/{{path}}"))
    (published,) = collector.named(f"POST {MODEL}/versions")
    assert {"database read", "database write", "lock write"} <= below(collector, published)
    (sent,) = collector.named(f"PUT {route}")
    assert {"store stage", "store close", "store commit", "database write"} <= below(collector, sent)
    assert "store write" not in below(collector, sent), "pieces have no spans: a large file would make thousands"
    (completed,), (proof,) = collector.named(f"POST {route}"), collector.named("job prove")
    assert (proof.parent_id, proof.trace_id, proof.kind) == (completed.id, completed.trace_id, INTERNAL)
    assert {"store prove", "store commit", "database write"} <= below(collector, proof)
    transaction = next(it for it in collector.spans if it.name == "database write")
    assert transaction.kind == CLIENT
    assert transaction.attributes["db.operation.name"] == "write"
    assert transaction.attributes["db.system.name"] in ("sqlite", "postgresql")


def test_what_goes_wrong_is_told_by_its_type_alone(traced: RunningServer, collector: Collector) -> None:
    with httpx2.Client(base_url=traced.url) as client:
        admin = Person(client, "admin", traced.token)
        action = admin.offer("admin/tiny", bytes(2 * PART_BYTES)).json()["objects"][0]["actions"]["upload"]
        for number in ("1", "2"):
            client.put(action["header"][number], content=b"x" * PART_BYTES)
        assert client.post(action["href"]).status_code == 422
    collector.wait_for(lambda: collector.named("job prove"))
    (proof,) = collector.named("job prove")
    assert proof.attributes == {"error.type": "validation_error"}
    assert b"hash to" not in collector.raw


def test_no_secret_is_in_a_trace(traced: RunningServer, collector: Collector) -> None:
    with httpx2.Client(base_url=traced.url) as client:
        admin = Person(client, "admin", traced.token)
        made = admin.post("/user/api-keys", {"name": "new"}).json()["key"]
        admin.publish("admin/tiny:1.0.0", {"a.bin": random.randbytes(2 * PART_BYTES)})
        url = admin.post("/org/admin/models/tiny/1.0.0/download").json()["url"]
        client.get(url)
        client.get(url + "x")
        client.get("/nothing?token=in-the-query", headers={"Authorization": "Bearer wrong-but-secret"})
        client.get("/health")
    collector.wait_for(lambda: collector.named("GET /health"))
    ticket = url.partition("ticket=")[2]
    secrets = [traced.token, made, ticket, "ticket", "in-the-query", "wrong-but-secret", "?"]
    attributes = [str(value) for span in collector.spans for value in (span.name, *span.attributes.values())]
    assert len(attributes) > 50
    assert [secret for secret in secrets if any(secret in value for value in attributes)] == []
    assert [secret for secret in secrets[:-1] if secret.encode() in collector.raw] == []


def test_idle_servers_send_nothing(traced: RunningServer, collector: Collector) -> None:
    """Chores of every second are below no request, and are no news."""
    time.sleep(2.5)
    assert {span.name for span in collector.spans} <= {"GET /ready"} | below(
        collector, collector.named("GET /ready")[0]
    )


def test_what_is_left_is_sent_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{collector.endpoint}/v1/traces")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "registry-of-ours")
        server = start_server(tmp_path / "data")
        httpx2.get(f"{server.url}/config")
        assert collector.named("GET /config") == []
        server.stop()
        (span,) = collector.named("GET /config")
        assert span.service["service.name"] == "registry-of-ours"


def test_a_collector_that_is_not_there_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    server = start_server(tmp_path / "data")
    with httpx2.Client(base_url=server.url) as client:
        client.get("/config")
        time.sleep(0.5)
        began = time.monotonic()
        assert client.get("/config").status_code == 200
        assert time.monotonic() - began < 2
    server.stop()
    assert server.process.returncode == 0


def test_what_cannot_be_sent_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter alone goes on for its timeout, and once more for what is left."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "20")
    monitor = open_monitor(os.environ, database="sqlite")
    for _ in range(3):
        span = monitor.request_began("GET", "http", [])
        monitor.request_ended(Answered("GET", "/config", "/config", 200, 0.1, 0, 0, 0, "id", None), span)
    began = time.monotonic()
    monitor.close()
    assert time.monotonic() - began < 10


# --- off


_OFF = """
import sys
from pathlib import Path
from fastapi.testclient import TestClient
from steelyard.server.app import create_app, open_registry
from steelyard.server.settings import Settings
registry = open_registry(Settings(data=Path(sys.argv[1])))
with TestClient(create_app(registry)) as client:
    client.get("/health", headers={"traceparent": "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"})
registry.close()
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter", "google"))])
"""


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"},
        {"FASTAPI_OTEL_AUTO_CONFIGURE": "true"},
    ],
    ids=["by default", "disabled", "no exporter", "the framework's own"],
)
def test_without_traces_nothing_of_them_is_loaded(tmp_path: Path, variables: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _OFF, str(tmp_path / "data")],
        env={**_plain_environment(), **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def _plain_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "STEELYARD_"))}


_WITHOUT_THE_LIBRARY = """
import sys
sys.modules["opentelemetry.exporter.otlp.proto.http.trace_exporter"] = None
from steelyard.cli import main
sys.argv = ["steelyard", "serve", "--data", sys.argv[1], "--port", sys.argv[2]]
main()
"""


@pytest.mark.parametrize(
    ("program", "variables", "says"),
    [
        (_WITHOUT_THE_LIBRARY, {}, r"pip install 'steelyard\[server,traces\]'"),
        (
            _WITHOUT_THE_LIBRARY.replace("trace_exporter", "no"),
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "http/protobuf",
        ),
    ],
)
def test_traces_that_cannot_be_had_stop_the_start(
    tmp_path: Path, program: str, variables: dict[str, str], says: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "data"), str(free_port())],
        env={**_plain_environment(), "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "The registry cannot start" in done.stderr
    assert re.search(says, done.stderr)
    assert "Traceback" not in done.stderr
