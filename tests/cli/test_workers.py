"""Several workers of one server: who serves, what one knows of another, and what becomes of one that dies."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.house import Person, RunningServer, start_server
from tests.house.people import API
from tests.house.scraped import read_page
from tests.house.servers import free_port, launch_server
from tests.reliability.pushing import open_client

pytestmark = pytest.mark.only("disk", "s3")  # a store in memory is of one process

WITHIN_SECONDS = 20.0

Start = Callable[..., "Crew"]


@dataclass(frozen=True, slots=True)
class Crew:
    """A running server of several workers."""

    server: RunningServer
    connections: ExitStack

    @property
    def workers(self) -> list[int]:
        """Their processes, in the order in which they were begun."""
        supervisor = self.server.process.pid
        return [int(pid) for pid in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()]

    def person_at(self, worker: int) -> Person:
        """The admin, over a connection to this worker."""
        for _ in range(200):
            client = open_client(self.server.url)
            if self.worker_of(client) == worker:
                self.connections.callback(client.close)
                return Person(client, "admin", self.server.token)
            client.close()
        raise AssertionError("the kernel connected nobody to this worker")

    def worker_of(self, client: httpx2.Client) -> int | None:
        """Who answers on the connection that a client keeps open; None if nobody holds it any more."""
        stream = client.get("/health").extensions["network_stream"]
        theirs = stream.get_extra_info("client_addr")[1]
        ends = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        # A port that was used a moment ago may be listed twice: with the connection that is going, and this one.
        sockets = {f"socket:[{end[9]}]" for end in ends if _ports(end) == (self.server.port, theirs)}
        return next((worker for worker in self.workers if sockets & _open_files(worker)), None)


def _ports(end: list[str]) -> tuple[int, int]:
    """Of a line of /proc/net/tcp: ours, and that of the other end."""
    return int(end[1].rpartition(":")[2], 16), int(end[2].rpartition(":")[2], 16)


def _open_files(process: int) -> set[str]:
    found = set()
    for file in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(str(file.readlink()))
    return found


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server of two workers, with these settings besides."""
    with ExitStack() as started:

        def start_crew(**settings: str) -> Crew:
            chosen: dict[str, Any] = {"workers": "2", "free_disk_floor_bytes": "0", **settings}
            server = start_server(tmp_path / "data", **chosen)
            started.callback(server.kill)
            crew = Crew(server, started.enter_context(ExitStack()))
            eventually(lambda: len(crew.workers) == 2)
            return crew

        yield start_crew


def eventually(is_so: Callable[[], bool]) -> None:
    """Wait until it is."""
    until = time.monotonic() + WITHIN_SECONDS
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


def is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def numbers_of(crew: Crew) -> Path:
    """The folder of the metrics."""
    shared = {Path(file).parent for file in _open_files(crew.workers[0]) if file.endswith(".db")}
    (folder,) = [folder for folder in shared if folder.name.startswith("steelyard-")]
    return folder


# --- serving


def test_what_one_worker_answered_the_other_knows(start: Start) -> None:
    crew = start()
    one, two = (crew.person_at(worker) for worker in crew.workers)
    for number in range(5):
        published = one.publish(f"admin/tiny:1.{number}.0")
        assert published.status_code == 201, published.text
        assert two.get("/org/admin/models/tiny").json()["version"] == f"1.{number}.0"
        assert two.delete(f"/org/admin/models/tiny/1.{number}.0").is_success
        assert one.get(f"/org/admin/models/tiny/1.{number}.0").status_code == 404
        made = one.post("/user/api-keys", {"name": f"key-{number}"}).json()
        guest = Person(two.client, "guest", made["key"])
        assert guest.get("/user").status_code == 200
        assert one.delete(f"/user/api-keys/{made['id']}").is_success
        assert guest.get("/user").status_code == 401


def test_an_upload_that_one_worker_began_ends_at_the_other(start: Start) -> None:
    """Each part with another worker, and the completion with the first, which did not see what the other wrote."""
    crew = start(part_size_bytes=str(64 * 1024))
    one, two = (crew.person_at(worker) for worker in crew.workers)
    data = os.urandom(5 * 64 * 1024)
    item = one.offer("admin/large", data, transfers=("multipart",)).json()["objects"][0]
    action = item["actions"]["upload"]
    for number in range(1, 6):
        part = data[(number - 1) * 64 * 1024 : number * 64 * 1024]
        assert (one, two)[number % 2].client.put(action["header"][str(number)], content=part).status_code == 200
    assert one.client.post(action["href"], json={"oid": item["oid"]}).status_code == 200
    artifacts = {"large.bin": f"sha256:{item['oid']}"}
    assert two.post("/org/admin/models/large/versions", {"version": "1.0.0", "artifacts": artifacts}).is_success
    fetched = two.get("/org/admin/models/large/1.0.0/files/large.bin", follow_redirects=True)
    assert fetched.content == data


def test_any_port_is_one_port_for_all(tmp_path: Path) -> None:
    server = launch_server(tmp_path / "data", workers="3", port=0)
    try:
        eventually(lambda: " with 3 workers" in server.log)
        port = int(server.log.partition("127.0.0.1:")[2].split()[0])
        with open_client(f"http://127.0.0.1:{port}") as client:
            eventually(lambda: _answers(client))
    finally:
        server.stop()


def _answers(client: httpx2.Client) -> bool:
    with suppress(httpx2.ConnectError):
        return client.get("/health").status_code == 200
    return False


# --- metrics


def test_metrics_are_those_of_all_workers(start: Start) -> None:
    crew = start(limit_search="2/minute")
    people = [crew.person_at(worker) for worker in crew.workers]
    before = read_page(people[0].get("/metrics").text)
    for person in people:
        for _ in range(10):
            person.get("/user")
        statuses = [person.get("/org/admin/models").status_code for _ in range(3)]
        assert statuses == [200, 200, 429], "each worker counts for itself"
    for person in people:
        page = read_page(person.get("/metrics").text)
        asked = {"method": "GET", "route": "/api/v1/user", "status": "200"}
        name = "steelyard_http_requests_total"
        assert page.value(name, **asked) - before.value(name, **asked) == 20
        assert page.value("steelyard_http_request_duration_seconds_count", route="/api/v1/user") == 20
        assert page.value("steelyard_rate_limit_refusals_total", action="search") == 2
        assert page.value("steelyard_build_info") == 1
        assert page.value("steelyard_http_requests_in_flight") == 1
        assert page.value("steelyard_part_up", part="database") == 1
        for alone in ("steelyard_database_connections_in_use", "steelyard_rate_limit_counts_alone"):
            assert len(list(page.find(alone))) == 1
        resident = sum(_resident_bytes(process) for process in (crew.server.process.pid, *crew.workers))
        assert page.value("process_resident_memory_bytes") == pytest.approx(resident, rel=0.2)
        assert len(page.series) == len(page.samples), "no sample is there twice"


def _resident_bytes(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


# --- dying


def test_a_worker_that_dies_is_begun_anew_and_no_count_goes_back(start: Start) -> None:
    crew = start()
    first, second = crew.workers
    for _ in range(10):
        crew.person_at(first).get("/user")
    eventually(lambda: _counted(crew.person_at(second)) == 10)  # which is done after the answer has gone
    os.kill(first, signal.SIGKILL)
    eventually(lambda: len(crew.workers) == 2 and first not in crew.workers)
    assert second in crew.workers
    (anew,) = {*crew.workers} - {second}
    eventually(lambda: _listens(crew, anew))
    person = crew.person_at(anew)
    assert person.publish("admin/tiny:1.0.0").status_code == 201
    assert _counted(person) == 10
    page = read_page(person.get("/metrics").text)
    assert page.value("steelyard_http_requests_in_flight") == 1
    assert "worker 1" in crew.server.log and "was ended by signal 9" in crew.server.log
    crew.server.stop()
    assert crew.server.process.returncode == 0


def _counted(person: Person) -> float:
    """How often the caller was asked for, by the count of all workers."""
    return read_page(person.get("/metrics").text).value("steelyard_http_requests_total", route="/api/v1/user")


def _listens(crew: Crew, worker: int) -> bool:
    with suppress(AssertionError, httpx2.TransportError):
        return bool(crew.person_at(worker))
    return False


def test_who_dies_early_again_waits_longer_before_he_is_begun_anew(start: Start) -> None:
    crew = start()
    dead = set[int]()
    for _ in range(3):
        eventually(lambda: len({*crew.workers} - dead) == 2)
        worker = max(crew.workers)
        os.kill(worker, signal.SIGKILL)
        dead.add(worker)
        eventually(lambda: worker not in crew.workers)  # noqa: B023 - it is called before the next turn
    pauses = [line.rpartition(" in ")[2] for line in crew.server.log.splitlines() if "begun anew" in line]
    assert pauses == ["0 seconds", "1 seconds", "2 seconds"]
    crew.server.stop()
    assert crew.server.process.returncode == 0, "who waits to be begun anew holds up no end"


def test_without_their_supervisor_workers_end_at_once(start: Start) -> None:
    crew = start()
    workers, numbers = crew.workers, numbers_of(crew)
    crew.server.kill()
    eventually(lambda: all(map(is_gone, workers)))
    assert crew.server.log.count("the supervisor is gone") == 2
    start().server.stop()
    for file in numbers.iterdir():  # nobody is left who would
        file.unlink()
    numbers.rmdir()


# --- beginning and ending


def test_what_keeps_one_from_serving_is_said_once(tmp_path: Path) -> None:
    server = launch_server(tmp_path / "data", workers="4", limits="nowhere")
    assert server.process.wait(WITHIN_SECONDS) == 1
    assert server.log.count("STEELYARD_LIMITS is no place to count limits") == 1


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [("store", "memory:", "a store in memory"), ("database", "sqlite://", "a database in memory")],
)
def test_what_workers_cannot_share_is_refused(tmp_path: Path, setting: str, value: str, said: str) -> None:
    refused: dict[str, Any] = {"workers": "2", setting: value}
    server = launch_server(tmp_path / "data", **refused)
    assert server.process.wait(WITHIN_SECONDS) == 1
    assert said in server.log


def test_nobody_else_listens_where_workers_do(start: Start, tmp_path: Path) -> None:
    crew = start()
    second = launch_server(tmp_path / "second", port=crew.server.port, workers="2")
    assert second.process.wait(WITHIN_SECONDS) == 1
    assert "in use" in second.log


@pytest.mark.only("sqlite")
def test_workers_hold_their_data_directory(start: Start) -> None:
    crew = start()
    with pytest.raises(RuntimeError, match="another server runs on the data directory"):
        start_server(crew.server.data, port=free_port())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_end_the_requests_that_are_under_way(start: Start, number: signal.Signals) -> None:
    crew = start()
    numbers, data = numbers_of(crew), b"weights" * 100_000
    began, answers = threading.Semaphore(0), list[int]()

    def upload(person: Person, name: str) -> None:
        body = data + name.encode()
        offered = person.offer(f"admin/{name}", body).json()["objects"][0]["actions"]["upload"]["href"]

        def pieces() -> Iterator[bytes]:
            yield body[:1000]
            began.release()
            time.sleep(1.5)
            yield body[1000:]

        length = {"Content-Length": str(len(body))}
        answers.append(person.client.put(offered, content=pieces(), headers=length).status_code)

    people = [crew.person_at(worker) for worker in crew.workers]
    threads = [threading.Thread(target=upload, args=(person, f"m{at}")) for at, person in enumerate(people)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert began.acquire(timeout=WITHIN_SECONDS)
    crew.server.process.send_signal(number)
    eventually(lambda: not _takes_connections(crew.server.port))
    for thread in threads:
        thread.join()
    assert answers == [200, 200]
    assert crew.server.process.wait(WITHIN_SECONDS) == 0
    assert not numbers.exists()


def _takes_connections(port: int) -> bool:
    with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def test_told_to_leave_all_say_so_first_even_where_each_process_is_told(start: Start) -> None:
    """As systemd and terminals do, who tell every process of a group."""
    crew = start(shutdown_delay_seconds="3")
    people = [crew.person_at(worker) for worker in crew.workers]
    began = time.monotonic()
    for process in (*crew.workers, crew.server.process.pid, *crew.workers):
        os.kill(process, signal.SIGTERM)
    for person in people:
        eventually(lambda asked=person: asked.client.get("/ready").status_code == 503)  # type: ignore[misc]
        assert person.client.get(f"{API}/user", headers={"X-API-Key": str(person.token)}).status_code == 200
    assert crew.server.process.wait(WITHIN_SECONDS) == 0
    assert time.monotonic() - began > 2.9


def test_told_twice_all_end_at_once(start: Start) -> None:
    crew = start(shutdown_delay_seconds="60")
    person = crew.person_at(crew.workers[0])
    crew.server.process.terminate()
    eventually(lambda: person.client.get("/ready").status_code == 503)
    crew.server.process.terminate()
    assert crew.server.process.wait(WITHIN_SECONDS) == 0
