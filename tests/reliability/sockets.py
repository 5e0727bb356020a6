"""Requests by hand, for senders and readers that do not behave."""

import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.house import RunningServer


class RawRequest:
    """One request over a connection of its own, sent and read as slowly as a test likes."""

    def __init__(self, method: str, url: str, *, headers: dict[str, str] | None = None) -> None:
        target = urlsplit(url)
        self._socket = socket.create_connection((target.hostname or "", target.port or 80), timeout=30)
        path = f"{target.path}?{target.query}" if target.query else target.path
        lines = [f"{method} {path} HTTP/1.1", f"Host: {target.netloc}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.send("\r\n".join([*lines, "", ""]).encode())

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def read(self, size: int) -> bytes:
        """So many bytes of the answer, its head included; fewer where it ends."""
        read = b""
        while len(read) < size and (piece := self._socket.recv(size - len(read))):
            read += piece
        return read

    def wait_seconds(self, seconds: float) -> None:
        """How long to wait for something to read."""
        self._socket.settimeout(seconds)

    def answer(self) -> tuple[int, bytes]:
        """Status and all that follows."""
        whole = self.read(10**9)
        return int(whole.split(b" ", 2)[1]), whole.partition(b"\r\n\r\n")[2]

    def close(self) -> None:
        """Leave, in the middle of whatever it is."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_files(server: RunningServer) -> list[str]:
    """What the server's descriptors lead to, but for the database: its pool keeps connections, up to a bound."""
    found: list[str] = []
    for link in Path(f"/proc/{server.process.pid}/fd").iterdir():
        try:
            found.append(str(link.readlink()))
        except FileNotFoundError:  # closed since it was listed
            continue
    return [path for path in found if ".sqlite3" not in path]


def wait_for(happened: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    """Wait until a function says yes."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} seconds"
        time.sleep(0.005)


def statuses(server: RunningServer) -> list[int]:
    """What the server's log says it answered, in order."""
    return [int(found) for found in re.findall(r"steelyard\.access: \w+ \S+ (\d+) ", server.log)]
