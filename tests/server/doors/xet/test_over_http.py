"""What only a real server shows: many xorbs at once, and senders who leave in the middle."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.house import Person, RunningServer, start_server
from tests.server.doors.xet.cas import Cas
from tests.server.doors.xet.crafted import Xorb

MIB = 2**20
_AT_ONCE, _XORB_MIB = 24, 8


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    running = start_server(tmp_path / "data", free_disk_floor_bytes="0")
    yield running
    running.stop()


@pytest.fixture
def cas(server: RunningServer) -> Iterator[Cas]:
    with closing(httpx2.Client(base_url=server.url, timeout=60)) as client:
        admin = Person(client, "admin", server.token)
        made = admin.post("/users", {"username": "ada", "email_address": "ada@example.com"})
        ada = Person(client, "ada", made.json()["key"])
        assert ada.publish("ada/tiny:1.0.0").status_code == 201
        told = ada.get(f"{server.url}/api/models/ada/tiny/xet-write-token/main").json()
        yield Cas(client, told["casUrl"], told["accessToken"])


def _fresh_xorb() -> Xorb:
    return Xorb(tuple(os.urandom(64 * 1024) for _ in range(_XORB_MIB * 16)))


@pytest.mark.only("disk")  # for a bucket each request gathers 8 MiB, which a xorb of this size is
def test_many_xorbs_at_once_take_little_memory(server: RunningServer, cas: Cas) -> None:
    xorbs = [(xorb.name, xorb.body) for xorb in (_fresh_xorb() for _ in range(_AT_ONCE))]
    before = server.rss_bytes()

    def send(name: str, body: bytes) -> int:
        with httpx2.Client(timeout=120) as client:
            headers = {"Authorization": f"Bearer {cas.token}"}
            return client.post(f"{cas.url}/v1/xorbs/default/{name}", content=body, headers=headers).status_code

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        assert list(threads.map(send, *zip(*xorbs, strict=True))) == [200] * _AT_ONCE
    grown = server.peak_rss_bytes() - before
    assert grown < _AT_ONCE * _XORB_MIB * MIB / 2, f"{grown / MIB:.0f} MiB more"


@pytest.mark.only("disk")
def test_a_sender_who_leaves_in_the_middle_leaves_nothing_behind(server: RunningServer, cas: Cas) -> None:
    xorb, at = _fresh_xorb(), urlsplit(cas.url)
    body, stored = xorb.body, _stored(server)
    head = (
        f"POST {at.path}/v1/xorbs/default/{xorb.name} HTTP/1.1\r\nHost: {at.netloc}\r\n"
        f"Authorization: Bearer {cas.token}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with closing(socket.create_connection((at.hostname or "", at.port or 0))) as connection:
        connection.sendall(head.encode() + body[: 3 * MIB])
        _wait(lambda: _stored(server) > stored)
    _wait(lambda: _stored(server) == stored)
    assert cas.request("HEAD", f"/v1/xorbs/default/{xorb.name}").status_code == 404
    assert cas.send_xorb(xorb).json() == {"was_inserted": True}


def _stored(server: RunningServer) -> int:
    return sum(1 for file in (server.data / "store").rglob("*") if file.is_file())


def _wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.02)
