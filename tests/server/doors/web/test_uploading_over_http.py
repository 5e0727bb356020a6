"""Uploads from a browser to a server in a process of its own: its memory, and what it says to who sends too much, or
stops in the middle."""

import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.house import Person, RunningServer, start_server
from tests.reliability.test_memory import Growth

pytestmark = pytest.mark.only("disk")  # a bucket's parts are put together in memory
MIB = 2**20
LINE = "----browser"
HEADERS = {
    "Content-Type": f"multipart/form-data; boundary={LINE}",
    "Sec-Fetch-Site": "same-origin",
    "Accept": "text/html",
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    """A server with its defaults and no limits."""
    running = start_server(tmp_path / "data", free_disk_floor_bytes="0", limits="off")
    yield running
    running.stop()


@pytest.fixture
def browser(server: RunningServer) -> Iterator[httpx2.Client]:
    """The admin's."""
    with httpx2.Client(base_url=server.url, timeout=60) as client:
        assert client.post("/-/login", data={"token": server.token}).status_code == 303
        yield client


def _address(browser: httpx2.Client) -> str:
    """Where the form is sent, with its ticket."""
    page = browser.get("/admin/-/upload", headers={"Accept": "text/html"}).text
    found = re.search(r'action="(/admin/-/upload\?csrf=[^"]+)"', page)
    assert found is not None
    return found[1]


def _form(version: str, *sizes: int) -> Iterator[bytes]:
    """A form with files of these sizes, made as it is read."""
    for name, value in (("name", "large"), ("version", version)):
        yield f'--{LINE}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    for number, size in enumerate(sizes):
        head = f'Content-Disposition: form-data; name="files"; filename="{number}.bin"'
        yield f"--{LINE}\r\n{head}\r\n\r\n{version}".encode()
        for _ in range(0, size, MIB):
            yield bytes(MIB)
        yield b"\r\n"
    yield f"--{LINE}--\r\n".encode()


def _send(browser: httpx2.Client, version: str, *sizes: int, announced: int | None = None) -> httpx2.Response:
    headers = HEADERS if announced is None else {**HEADERS, "Content-Length": str(announced)}
    return browser.post(_address(browser), content=_form(version, *sizes), headers=headers)


def test_files_go_through_in_constant_memory(server: RunningServer, browser: httpx2.Client) -> None:
    assert _send(browser, "1.0.0", MIB, MIB).status_code == 303
    growth = Growth(server)
    answered = _send(browser, "2.0.0", 60 * MIB, 20 * MIB, 15 * MIB)
    assert (answered.status_code, answered.headers["location"]) == (303, "/admin/large/v/2.0.0")
    assert growth.bytes < 32 * MIB
    admin = Person(browser, "admin", server.token)
    assert sorted(admin.get("/org/admin/models/large/2.0.0").json()["sizes"].values()) == [
        size * MIB + len("2.0.0") for size in (15, 20, 60)
    ]


def test_too_much_is_answered_to_who_is_still_sending(server: RunningServer, browser: httpx2.Client) -> None:
    answered = _send(browser, "1.0.0", 120 * MIB)
    assert (answered.status_code, "steelyard push" in answered.text) == (413, True)
    framing = sum(map(len, _form("1.0.0")))
    head = len('--\r\nContent-Disposition: form-data; name="files"; filename="0.bin"\r\n\r\n1.0.0\r\n') + len(LINE)
    answered = _send(browser, "1.0.0", 120 * MIB, announced=framing + head + 120 * MIB)
    assert (answered.status_code, "steelyard push" in answered.text) == (413, True)


def test_who_leaves_in_the_middle_leaves_nothing(server: RunningServer, browser: httpx2.Client) -> None:
    path, cookie = _address(browser), browser.cookies["steelyard-session"]
    with socket.create_connection(("127.0.0.1", server.port)) as sent:
        lines = [f"POST {path} HTTP/1.1", "Host: x", f"Cookie: steelyard-session={cookie}", "Content-Length: 9000000"]
        lines += [f"{name}: {value}" for name, value in HEADERS.items()]
        sent.sendall("\r\n".join([*lines, "", ""]).encode())
        for piece in list(_form("1.0.0", 4 * MIB))[:5]:
            sent.sendall(piece)
        staged = server.data / "store"
        assert _within(5, lambda: _staged(staged) != [])
    assert _within(10, lambda: _staged(staged) == [])
    assert browser.get("/-/me").status_code == 200
    assert "Traceback" not in server.log


def _staged(store: Path) -> list[str]:
    return [path.name for path in store.rglob("*") if path.is_file() and re.fullmatch("[0-9a-f]{32}", path.name)]


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True
