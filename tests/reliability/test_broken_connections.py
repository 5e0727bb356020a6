"""Senders and readers that leave, stall, or say one thing and do another: refused or forgotten, and nothing leaks."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from random import Random

import pytest

from steelyard.server.doors import receiving
from steelyard.server.errors import BadRequest
from tests.house import RunningServer, start_server
from tests.house.people import API, Person
from tests.reliability.pushing import PART_BYTES, make_user, new_person, open_client
from tests.reliability.sockets import RawRequest, open_files, statuses, wait_for

TIMES = 10


def staged_files(server: RunningServer) -> set[str]:
    return {path.name for folder in ("staged", "sealed") for path in (server.data / "store" / folder).iterdir()}


@contextmanager
def leaking_nothing(server: RunningServer) -> Iterator[None]:
    """What happens inside leaves no descriptor open, no fault in the log, and no 5xx."""
    with open_client(server.url) as client:
        client.get("/ready")
        time.sleep(0.1)
        before, answered, logged = len(open_files(server)), len(statuses(server)), len(server.log)
        yield
        wait_for(lambda: len(open_files(server)) <= before, "closing of all that was opened")
    assert not [status for status in statuses(server)[answered:] if status >= 500]
    assert "Traceback" not in server.log[logged:]


def links_of(ada: Person, model: str, data: bytes) -> tuple[str, dict[str, str]]:
    """`(href, header)` of the offer to upload these bytes."""
    action = ada.offer(model, data).json()["objects"][0]["actions"]["upload"]
    return action["href"], action["header"]


@pytest.mark.parametrize(("sent_bytes", "says"), [(1_000, None), (900_000, None), (3_000_000, "close")])
def test_an_answer_before_the_end_of_a_body_says_whether_the_connection_is_good(
    shared_server: RunningServer, sent_bytes: int, says: str | None
) -> None:
    connection = HTTPConnection("127.0.0.1", shared_server.port, timeout=10)
    for _ in range(5):
        connection.request("PUT", "/api/v1/nothing", body=bytes(sent_bytes))
        answer = connection.getresponse()
        answer.read()
        assert (answer.status, answer.getheader("Connection")) == (404, says)
    connection.close()


def test_a_sender_that_leaves_in_the_middle_of_a_part_leaves_what_resume_needs(shared_server: RunningServer) -> None:
    data = Random(1).randbytes(3 * PART_BYTES)
    with new_person(shared_server, "parter") as ada, leaking_nothing(shared_server):
        _, links = links_of(ada, "parter/tiny", data)
        assert ada.client.put(links["1"], content=data[:PART_BYTES]).status_code == 200
        for _ in range(TIMES):
            with RawRequest("PUT", links["2"], headers={"Content-Length": str(PART_BYTES)}) as sender:
                sender.send(bytes(PART_BYTES // 2))
        wait_for(lambda: statuses(shared_server).count(499) >= TIMES, "noticing that the senders left")
        assert ada.offer("parter/tiny", data).json()["objects"][0]["parts_done"] == [1]
        assert ada.publish("parter/tiny:1.0.0", {"model.bin": data}).status_code == 201
        assert ada.get("/org/parter/models/tiny/1.0.0/files/model.bin").content == data
    assert not staged_files(shared_server)


def test_a_sender_that_leaves_in_the_middle_of_a_whole_file_leaves_nothing(shared_server: RunningServer) -> None:
    data = Random(2).randbytes(PART_BYTES)
    with new_person(shared_server, "whole") as ada, leaking_nothing(shared_server):
        href, _ = links_of(ada, "whole/tiny", data)
        before = statuses(shared_server).count(499)
        for _ in range(TIMES):
            with RawRequest("PUT", href, headers={"Content-Length": str(PART_BYTES)}) as sender:
                sender.send(data[:1000])
        wait_for(lambda: statuses(shared_server).count(499) >= before + TIMES, "noticing that the senders left")
        assert not staged_files(shared_server)
        assert "actions" in ada.offer("whole/tiny", data).json()["objects"][0]
        assert ada.publish("whole/tiny:1.0.0", {"model.bin": data}).status_code == 201


def test_a_sender_of_json_that_leaves_changes_nothing(shared_server: RunningServer) -> None:
    with new_person(shared_server, "json") as ada, leaking_nothing(shared_server):
        headers = {"Authorization": f"Bearer {ada.token}", "Content-Length": "1000", "Content-Type": "application/json"}
        for _ in range(TIMES):
            url = f"{shared_server.url}{API}/org/json/models/tiny/versions"
            with RawRequest("POST", url, headers=headers) as sender:
                sender.send(b'{"version": "1.0.0", "artifacts"')
        assert ada.get("/org/json/models/tiny").status_code == 404


def test_a_body_longer_than_announced_is_refused_before_its_end(shared_server: RunningServer) -> None:
    data = Random(3).randbytes(PART_BYTES)
    with new_person(shared_server, "long") as ada, leaking_nothing(shared_server):
        href, _ = links_of(ada, "long/tiny", data)
        with RawRequest("PUT", href, headers={"Transfer-Encoding": "chunked"}) as sender:
            sender.send(b"%x\r\n" % (PART_BYTES + 1) + data + b"x\r\n")  # and the rest never comes
            status, body = sender.answer()
        assert status == 422, body
        assert not staged_files(shared_server)
        wrong = ada.client.put(href, content=data + b"x")
        assert (wrong.status_code, wrong.json()["type"]) == (422, "validation_error")


def test_a_body_shorter_than_its_digest_says_is_refused(shared_server: RunningServer) -> None:
    data = Random(4).randbytes(PART_BYTES)
    with new_person(shared_server, "short") as ada, leaking_nothing(shared_server):
        href, _ = links_of(ada, "short/tiny", data)
        with RawRequest("PUT", href, headers={"Transfer-Encoding": "chunked"}) as sender:
            sender.send(b"%x\r\n" % 1000 + data[:1000] + b"\r\n0\r\n\r\n")
            assert sender.answer()[0] == 422
        assert not staged_files(shared_server)


@pytest.mark.parametrize("way", ["file", "range", "tar"])
def test_a_reader_that_leaves_in_the_middle_leaks_nothing(shared_server: RunningServer, way: str) -> None:
    data = Random(5).randbytes(8 * 2**20)
    with new_person(shared_server, f"reader-{way}") as ada:
        model = f"/org/{ada.name}/models/tiny"
        href = ada.offer(f"{ada.name}/tiny", data, transfers=("basic",)).json()["objects"][0]["actions"]["upload"][
            "href"
        ]
        assert ada.client.put(href, content=data).status_code == 200
        assert ada.publish(f"{ada.name}/tiny:1.0.0", {"model.bin": data}).status_code == 201
        url = f"{shared_server.url}{API}{model}/1.0.0/files/model.bin"
        headers = {"Authorization": f"Bearer {ada.token}"} | ({"Range": "bytes=1-"} if way == "range" else {})
        if way == "tar":
            url, headers = ada.post(f"{model}/1.0.0/download").json()["url"], {}
        with leaking_nothing(shared_server):
            for _ in range(TIMES):
                with RawRequest("GET", url, headers=headers) as reader:
                    assert reader.read(100_000).startswith((b"HTTP/1.1 200", b"HTTP/1.1 206"))
        with leaking_nothing(shared_server):
            assert ada.get(f"{model}/1.0.0/files/model.bin").content == data


def test_a_silent_sender_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "STALL_SECONDS", 0.05)
    written: list[bytes] = []

    async def stall() -> AsyncIterator[bytes]:
        yield b"some"
        await asyncio.sleep(30)
        yield b"more"

    async def receive() -> None:
        await receiving.receive(stall(), 8, [written.extend])

    with pytest.raises(BadRequest, match="Nothing came"):
        asyncio.run(receive())


@pytest.mark.thorough
def test_a_silent_sender_is_answered_and_forgotten(tmp_path: Path) -> None:
    server = start_server(tmp_path / "data", part_size_bytes=str(PART_BYTES), free_disk_floor_bytes="0")
    data = Random(6).randbytes(3 * PART_BYTES)
    token = make_user(server, "silent")
    with open_client(server.url) as client, leaking_nothing(server):
        _, links = links_of(Person(client, "silent", token), "silent/tiny", data)
        with RawRequest("PUT", links["1"], headers={"Content-Length": str(PART_BYTES)}) as sender:
            sender.send(data[:1000])
            sender.wait_seconds(receiving.STALL_SECONDS + 20)
            status, body = sender.answer()
        assert status == 400
        assert b'"invalid_request_error"' in body
        assert Person(client, "silent", token).publish("silent/tiny:1.0.0", {"m.bin": data}).status_code == 201
    server.stop()
