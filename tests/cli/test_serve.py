"""How a server starts and stops: what it keeps on this machine, and what happens to requests that are under way."""

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from tests.house import RunningServer, start_server
from tests.house.people import API, Person
from tests.house.postgres import postgres_url
from tests.house.servers import free_port
from tests.house.valkey import Valkey, valkey_url
from tests.reliability.pushing import open_client


@pytest.fixture
def stateless(tmp_path: Path) -> Iterator[RunningServer]:
    """A server that keeps nothing on this machine."""
    server = start_server(tmp_path / "data", database=postgres_url(migrated=False), store="memory:")
    yield server
    server.stop()


def test_a_server_that_keeps_nothing_here_has_no_data_directory(stateless: RunningServer) -> None:
    with open_client(stateless.url, stateless.token) as client:
        assert client.get(f"{API}/user").json()["username"] == "admin"
    assert not stateless.data.exists()


def test_two_of_them_may_be_told_the_same_directory(stateless: RunningServer) -> None:
    start_server(stateless.data, database=postgres_url(migrated=False), store="memory:").stop()


@pytest.mark.parametrize("kept", ["database", pytest.param("store", marks=pytest.mark.only("disk"))])
def test_whoever_keeps_files_holds_their_directory(tmp_path: Path, kept: str) -> None:
    database = f"sqlite:///{tmp_path}/data/db.sqlite3" if kept == "database" else postgres_url(migrated=False)
    elsewhere = {"store": "memory:"} if kept == "database" else {}
    first = start_server(tmp_path / "data", port=free_port(), database=database, **elsewhere)
    try:
        with pytest.raises(RuntimeError, match="another server runs on the data directory"):
            start_server(tmp_path / "data", port=free_port(), database=database, **elsewhere)
    finally:
        first.stop()


def test_the_log_says_what_it_serves_from_and_no_password(stateless: RunningServer) -> None:
    assert "postgresql://127.0.0.1:" in stateless.log and "and memory:" in stateless.log
    assert "password" not in stateless.log


def test_a_place_for_limits_that_is_none_stops_the_start_without_showing_it(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="STEELYARD_LIMITS is no place to count limits") as refused:
        start_server(tmp_path / "data", limits="redis://:s3cret/0@127.0.0.1:6379")
    assert "s3cret" not in str(refused.value)


# --- ready


def ready(server: RunningServer) -> tuple[int, str]:
    with open_client(server.url) as client:
        answer = client.get("/ready")
        return answer.status_code, answer.json().get("detail", "")


def test_a_server_whose_limits_have_no_place_is_ready_and_counts_by_itself(tmp_path: Path) -> None:
    engine = Valkey().start()
    server = start_server(tmp_path / "data", limits=engine.url(), limit_search="3/minute")
    engine.discard()
    with open_client(server.url, server.token) as client:
        statuses = [client.get(f"{API}/org/admin/models").status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
    assert ready(server) == (200, "")
    assert server.log.count("does not count") == 1
    server.stop()


# --- stopping


@pytest.fixture
def start_patient(tmp_path: Path) -> Iterator[Callable[[int], RunningServer]]:
    """Start a server that gives load balancers so many seconds."""
    with ExitStack() as started:

        def start(seconds: int) -> RunningServer:
            server = start_server(tmp_path / "data", shutdown_delay_seconds=str(seconds), limits=valkey_url())
            started.callback(server.kill)
            return server

        yield start


def test_a_server_that_is_told_to_stop_says_so_first_and_serves_on(
    start_patient: Callable[[int], RunningServer],
) -> None:
    leaving = start_patient(4)
    assert ready(leaving) == (200, "")
    leaving.process.terminate()
    began = time.monotonic()
    with open_client(leaving.url, leaving.token) as client:
        while ready(leaving)[0] == 200:
            assert time.monotonic() - began < 3
        assert ready(leaving) == (503, "Not ready: this server is about to stop.")
        assert client.get(f"{API}/user").status_code == 200
        assert client.get("/health").status_code == 200
    assert leaving.process.wait(timeout=20) == 0
    assert time.monotonic() - began > 3.9


def test_told_twice_it_stops_at_once(start_patient: Callable[[int], RunningServer]) -> None:
    leaving = start_patient(60)
    leaving.process.terminate()
    while ready(leaving)[0] == 200:
        time.sleep(0.01)
    began = time.monotonic()
    leaving.process.terminate()
    assert leaving.process.wait(timeout=20) == 0
    assert time.monotonic() - began < 20


def test_requests_that_are_under_way_are_answered_and_new_connections_are_not_taken(tmp_path: Path) -> None:
    server = start_server(tmp_path / "data", free_disk_floor_bytes="0")
    data = b"weights" * 100_000
    with open_client(server.url) as client:
        admin = Person(client, "admin", server.token)
        offered = admin.offer("admin/tiny", data).json()["objects"][0]["actions"]["upload"]["href"]
        idle = socket.create_connection(("127.0.0.1", server.port))
        began, answers = threading.Event(), []

        def upload() -> None:
            def pieces() -> Iterator[bytes]:
                yield data[:1000]
                began.set()
                time.sleep(1.5)
                yield data[1000:]

            answers.append(httpx2.put(offered, content=pieces(), headers={"Content-Length": str(len(data))}))

        uploading = threading.Thread(target=upload)
        uploading.start()
        began.wait(10)
        server.process.terminate()
        time.sleep(0.5)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port))
        idle.settimeout(5)
        assert idle.recv(1) == b"", "connections without a request are closed"
        idle.close()
        uploading.join()
    assert [answer.status_code for answer in answers] == [200]
    assert server.process.wait(timeout=20) == 0


def test_a_connection_that_is_kept_open_between_requests_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    server = start_server(tmp_path / "data")
    kept = http.client.HTTPConnection("127.0.0.1", server.port)
    kept.request("GET", "/health")
    kept.getresponse().read()
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 5
    kept.close()
