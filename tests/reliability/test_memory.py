"""Bytes flow through the server: how many there are must not show in its memory."""

import http.client
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from steelyard.client import Client
from tests.conftest import Tell
from tests.house import RunningServer, start_server
from tests.house.people import API
from tests.reliability.pushing import make_user, open_client

MIB, GIB = 2**20, 2**30
AT_ONCE = 16


@pytest.fixture
def roomy(tmp_path: Path) -> Iterator[RunningServer]:
    """A server with its defaults whose gigabytes do not stay behind."""
    server = start_server(tmp_path / "data", free_disk_floor_bytes="0")
    yield server
    server.stop()
    shutil.rmtree(tmp_path)


def make_folder(parent: Path, name: str, size_bytes: int) -> Path:
    """A folder with one file that no other has; it takes no room, and its bytes are made when they are read."""
    folder = parent / name
    folder.mkdir()
    with (folder / "model.bin").open("wb") as file:
        file.write(name.encode())
        file.truncate(size_bytes)
    return folder


def push(server: RunningServer, token: str, folder: Path, cache: Path) -> None:
    with Client(server.url, token, cache_dir=cache) as client:
        assert client.push(folder, f"ada/{folder.name}:1.0.0", use_git=False).created


class Growth:
    """How far the server's memory rises above what it is now."""

    def __init__(self, server: RunningServer) -> None:
        Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")  # the peak begins anew: proc(5)
        self._server, self._before = server, server.rss_bytes()

    @property
    def bytes(self) -> int:
        return self._server.peak_rss_bytes() - self._before


def warm(server: RunningServer, tmp_path: Path) -> str:
    """A first push and pull, so that what is loaded once does not count; answers the token."""
    token = make_user(server, "ada")
    push(server, token, make_folder(tmp_path, "warm", 40 * MIB), tmp_path / "cache")
    assert read_all(server, token, "warm", 40 * MIB) == 200
    return token


def read_all(server: RunningServer, token: str, model: str, size_bytes: int, *, start: int = 0) -> int:
    """Get a file, or its end from `start` on; answers the status."""
    headers = {"Authorization": f"Bearer {token}"} | ({"Range": f"bytes={start}-"} if start else {})
    return _drain(f"{server.url}{API}/org/ada/models/{model}/1.0.0/files/model.bin", headers, size_bytes - start)


def read_archive(server: RunningServer, token: str, model: str, size_bytes: int) -> int:
    """Get the tar of a version; answers the status."""
    with open_client(server.url, token) as client:
        url = client.post(f"{API}/org/ada/models/{model}/1.0.0/download").json()["url"]
    return _drain(url, {}, size_bytes)


def _drain(url: str, headers: dict[str, str], at_least: int) -> int:
    target = urlsplit(url)
    connection = http.client.HTTPConnection(target.netloc, timeout=60)
    connection.request("GET", f"{target.path}?{target.query}", headers=headers)
    answer, buffer, read = connection.getresponse(), bytearray(MIB), 0
    while count := answer.readinto(buffer):
        read += count
    connection.close()
    assert at_least <= read == int(answer.headers["Content-Length"])
    return answer.status


@pytest.mark.parametrize("size_bytes", [256 * MIB, pytest.param(GIB, marks=pytest.mark.thorough)])
def test_a_large_file_goes_in_and_out_in_constant_memory(
    size_bytes: int, roomy: RunningServer, tmp_path: Path, tell: Tell
) -> None:
    token = warm(roomy, tmp_path)
    growth: dict[str, int] = {}
    pushing = Growth(roomy)
    push(roomy, token, make_folder(tmp_path, "large", size_bytes), tmp_path / "cache")
    growth["push"] = pushing.bytes
    reads: dict[str, Callable[[], int]] = {
        "file": lambda: read_all(roomy, token, "large", size_bytes),
        "range": lambda: read_all(roomy, token, "large", size_bytes, start=1),
        "tar": lambda: read_archive(roomy, token, "large", size_bytes),
    }
    for way, read in reads.items():
        reading = Growth(roomy)
        assert read() == (206 if way == "range" else 200)
        growth[way] = reading.bytes
    told = ", ".join(f"{way} +{size / MIB:.1f} MiB" for way, size in growth.items())
    tell(f"memory for {size_bytes // MIB} MiB: {told}")
    assert max(growth.values()) < 64 * MIB


def push_at_once(server: RunningServer, tmp_path: Path, size_bytes: int) -> int:
    """Sixteen pushes together; answers by how much the server grew."""
    token = warm(server, tmp_path)
    folders = [make_folder(tmp_path, f"model{number}", size_bytes) for number in range(AT_ONCE)]
    growth = Growth(server)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for done in [threads.submit(push, server, token, folder, tmp_path / folder.name) for folder in folders]:
            done.result()
    return growth.bytes


@pytest.mark.thorough
def test_sixteen_pushes_at_once_share_little_memory(roomy: RunningServer, tmp_path: Path, tell: Tell) -> None:
    grown = push_at_once(roomy, tmp_path, 64 * MIB)
    tell(f"memory for 16 pushes of 64 MiB at once: +{grown / MIB:.1f} MiB")
    assert grown < 256 * MIB


@pytest.mark.thorough
def test_sixteen_gigabytes_at_once_share_little_memory(roomy: RunningServer, tmp_path: Path, tell: Tell) -> None:
    if shutil.disk_usage(tmp_path).free < 20 * GIB:
        pytest.skip("this disk has no room for sixteen gigabytes")
    grown = push_at_once(roomy, tmp_path, GIB)
    tell(f"memory for 16 pushes of 1 GiB at once: +{grown / MIB:.1f} MiB")
    assert grown < 256 * MIB
