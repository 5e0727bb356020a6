"""Thirty-two publishers at the same moment: every number is given once."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import TypeVar

import httpx2

from steelyard.client import Client
from steelyard.client.types import PushResult
from tests.house import RunningServer, start_server
from tests.house.people import API, Person
from tests.reliability.pushing import PART_BYTES, make_user, open_client

T = TypeVar("T")
PUBLISHERS = 32


def all_at_once(server: RunningServer, token: str, act: Callable[[Person, int], T], count: int = PUBLISHERS) -> list[T]:
    """`act(person, number)` from so many threads, each with a connection of its own, let loose together."""
    gate = threading.Barrier(count)

    def run(number: int) -> T:
        with open_client(server.url) as client:
            ada = Person(client, "ada", token)
            assert ada.get("/user").status_code == 200
            gate.wait()
            return act(ada, number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(run, range(count)))


def test_of_different_contents_under_one_number_exactly_one_is_published(shared_server: RunningServer) -> None:
    token = make_user(shared_server, "different")
    with open_client(shared_server.url) as client:
        oids = Person(client, "different", token).upload(
            "different/tiny", *(b"weights %d" % number for number in range(PUBLISHERS))
        )

        def publish(ada: Person, number: int) -> httpx2.Response:
            body = {"version": "1.0.0", "artifacts": {"model.safetensors": oids[number]}}
            return ada.post("/org/different/models/tiny/versions", body)

        answers = all_at_once(shared_server, token, publish)
        assert Counter(answer.status_code for answer in answers) == {201: 1, 409: PUBLISHERS - 1}
        assert {a.json()["type"] for a in answers if a.status_code == 409} == {"already_exists_error"}
        won = next(number for number, answer in enumerate(answers) if answer.status_code == 201)
        shown = Person(client, "different", token).get("/org/different/models/tiny").json()
    assert shown["artifacts"] == {"model.safetensors": oids[won]}


def test_of_the_same_contents_one_is_published_and_the_others_find_it(shared_server: RunningServer) -> None:
    token = make_user(shared_server, "same")
    body = {"version": "1.0.0", "artifacts": {}, "summary": "the same for all"}
    with open_client(shared_server.url) as client:
        body["artifacts"] = {"model.bin": Person(client, "same", token).upload("same/tiny", b"weights")[0]}
    answers = all_at_once(shared_server, token, lambda ada, _: ada.post("/org/same/models/tiny/versions", body))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: PUBLISHERS - 1}
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_whole_pushes_of_the_same_bytes_by_one_caller_all_succeed(shared_server: RunningServer, tmp_path: Path) -> None:
    """They share one upload: who comes late finds it being proven, or ended, and goes on from there."""
    data = Random(1).randbytes(30 * PART_BYTES)
    (tmp_path / "model.bin").write_bytes(data)
    token = make_user(shared_server, "whole")

    def push(_: Person, number: int) -> PushResult:
        with Client(shared_server.url, token, cache_dir=tmp_path.parent / "cache", threads=1) as client:
            return client.push(tmp_path, f"whole/model{number}:1.0.0", use_git=False)

    results = all_at_once(shared_server, token, push, count=8)
    assert all(result.created for result in results)
    with open_client(shared_server.url, token) as client:
        for number in range(8):
            assert client.get(f"{API}/org/whole/models/model{number}/1.0.0/files/model.bin").content == data


def test_bumps_with_keys_of_their_own_give_as_many_numbers(shared_server: RunningServer) -> None:
    token = make_user(shared_server, "bumped")
    with open_client(shared_server.url) as client:
        oid = Person(client, "bumped", token).upload("bumped/tiny", b"weights")[0]

    def bump(ada: Person, number: int) -> httpx2.Response:
        body = {"bump": ("major", "minor", "patch")[number % 3], "artifacts": {"model.bin": oid}}
        return ada.post("/org/bumped/models/tiny/versions", body, headers={"Idempotency-Key": f"run-{number}"})

    answers = all_at_once(shared_server, token, bump)
    assert Counter(answer.status_code for answer in answers) == {201: PUBLISHERS}
    versions = {answer.json()["version"] for answer in answers}
    assert len(versions) == PUBLISHERS
    with open_client(shared_server.url, token) as client:
        assert set(client.get(f"{API}/org/bumped/models/tiny/versions").json()["versions"]) == versions


def test_bumps_with_one_key_give_one_number(shared_server: RunningServer) -> None:
    token = make_user(shared_server, "retried")
    with open_client(shared_server.url) as client:
        oid = Person(client, "retried", token).upload("retried/tiny", b"weights")[0]
    body = {"bump": "minor", "artifacts": {"model.bin": oid}}
    headers = {"Idempotency-Key": "one"}
    answers = all_at_once(
        shared_server, token, lambda ada, _: ada.post("/org/retried/models/tiny/versions", body, headers=headers)
    )
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: PUBLISHERS - 1}
    assert {answer.json()["version"] for answer in answers} == {"0.1.0"}


def test_of_two_servers_started_at_once_on_nothing_one_serves_and_the_other_says_why(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        starting = [threads.submit(start_server, tmp_path / "data") for _ in range(2)]
        faults = [start.exception() for start in starting]
    serving = [start.result() for start in starting if start.exception() is None]
    try:
        assert "another server runs on the data directory" in str(next(filter(None, faults)))
        with open_client(serving[0].url, serving[0].token) as client:
            assert [user["username"] for user in client.get(f"{API}/users").json()["users"]] == ["admin"]
    finally:
        for server in serving:
            server.stop()
