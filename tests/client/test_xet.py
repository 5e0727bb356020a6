"""Large files as chunks: with the real library against the real server, and with processes that misbehave."""

import itertools
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import httpx2
import pytest

from steelyard.client import Client, Progress, Stage, push, xet
from steelyard.client.errors import DigestMismatch, FileChanged
from steelyard.client.hashing import HashedFile
from tests.client.conftest import MakeFolder
from tests.house import RunningServer

MIB = 1 << 20
FRESH = Random(1).randbytes(64 * MIB)
CHANGED = FRESH[: 30 * MIB] + Random(2).randbytes(MIB) + FRESH[31 * MIB :]
SMALL = {"config.json": b'{"for": "the tests of Xet"}'}
_seeds = itertools.count(10)


class Heard(Progress):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


class Counted(Progress):
    """Remembers what its stages came to: label, expected, done."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, int, int]] = []

    def stage(self, label: str) -> Stage:
        return _Counting(label, self.ended)


class _Counting(Stage):
    def __init__(self, label: str, ended: list[tuple[str, int, int]]) -> None:
        self._label, self._ended = label, ended
        self._expected = self._done = 0

    def expect(self, size_bytes: int) -> None:
        self._expected += size_bytes

    def advance(self, size_bytes: int) -> None:
        self._done += size_bytes

    def __exit__(self, *args: object) -> None:
        self._ended.append((self._label, self._expected, self._done))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, where nothing is."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("HF_HOME", "HF_XET_CACHE", "HF_HUB_DISABLE_XET", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture
def heard() -> Heard:
    return Heard()


FakeProcess = Callable[[str], None]


@pytest.fixture
def fake_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeProcess:
    """Put a process that does this in the place of the one that runs the library; `order` is what it was told."""

    def put(story: str) -> None:
        script = tmp_path / "process.py"
        script.write_text("import json, os, sys, time\norder = json.loads(sys.stdin.readline())\n" + story)
        monkeypatch.setattr(xet, "PROCESS", script)

    return put


def doubled(seed: int, size: int) -> bytes:
    """Bytes that pack to half their size: whatever comes comes twice."""
    once = Random(seed).randbytes(size // 2 + 1024)
    return b"".join(once[start : start + 1024] * 2 for start in range(0, len(once), 1024))[:size]


def counted(live: RunningServer, name: str) -> float:
    """What the server has counted until now."""
    text = httpx2.get(f"{live.url}/metrics", headers={"Authorization": f"Bearer {live.token}"}).text
    return sum(float(number) for number in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))


def await_cut(live: RunningServer, model: str) -> None:
    """Wait until the latest version's weights are offered as chunks."""
    until = time.monotonic() + 60
    url, token = f"{live.url}/{model}/resolve/main/model.bin", {"Authorization": f"Bearer {live.token}"}
    while "X-Xet-Hash" not in httpx2.head(url, headers=token).headers:
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_second_version_sends_what_changed(
    client: Client, live: RunningServer, model: str, make_folder: MakeFolder, tmp_path: Path, home: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    config = f'{{"of": "{model}"}}'.encode()
    first = client.push(make_folder({"config.json": config, "model.bin": FRESH}), f"{model}:1.0.0")
    assert first.uploaded_bytes == len(FRESH) + len(config)
    assert f"{model.partition('/')[2]}/blobs/xet" not in live.log  # no earlier version has any of it
    await_cut(live, model)
    received, heard = counted(live, "steelyard_http_received_bytes_total"), Heard()
    second = client.push(make_folder({**SMALL, "model.bin": CHANGED}), f"{model}:2.0.0", progress=heard)
    assert MIB < counted(live, "steelyard_http_received_bytes_total") - received < 3 * MIB
    assert MIB < second.uploaded_bytes < 3 * MIB
    assert second.created and heard.lines == []

    client.pull(f"{model}:2.0.0", tmp_path / "dest")
    assert (tmp_path / "dest" / "model.bin").read_bytes() == CHANGED
    assert any((tmp_path / "cache" / "xet").rglob("*.mdb"))
    assert not home.exists()
    assert capfd.readouterr() == ("", "")


def test_bytes_that_pack_well_come_packed(
    client: Client, live: RunningServer, model: str, make_folder: MakeFolder, tmp_path: Path, heard: Heard
) -> None:
    client.push(make_folder(SMALL), f"{model}:1.0.0")
    large, medium = doubled(3, 40 * MIB + 5), doubled(4, 9 * MIB)
    sent = client.push(make_folder({"a.bin": large, "b.bin": medium}), f"{model}:2.0.0")
    assert sent.uploaded_bytes < 0.7 * sent.size_bytes
    before = counted(live, "steelyard_http_sent_bytes_total")
    pulled = client.pull(f"{model}:2.0.0", tmp_path / "dest", progress=heard)
    assert counted(live, "steelyard_http_sent_bytes_total") - before < 0.7 * pulled.size_bytes
    assert (tmp_path / "dest" / "a.bin").read_bytes() == large
    assert (tmp_path / "dest" / "b.bin").read_bytes() == medium
    assert heard.lines == []


@pytest.fixture
def packed(client: Client, model: str, make_folder: MakeFolder) -> bytes:
    """A file of the model's version 2.0.0 that is pulled as chunks."""
    data = doubled(next(_seeds), 25 * MIB)
    client.push(make_folder(SMALL), f"{model}:1.0.0")
    sent = client.push(make_folder({"model.bin": data}), f"{model}:2.0.0")
    assert sent.uploaded_bytes < 0.7 * sent.size_bytes
    return data


@pytest.fixture(params=["not installed", "switched off"])
def _without_the_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, packed: bytes) -> None:
    if request.param == "not installed":
        monkeypatch.setattr(xet, "find_spec", lambda name: None)
    else:
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")


@pytest.mark.usefixtures("_without_the_library")
def test_without_the_library_files_go_and_come_whole(
    client: Client, model: str, make_folder: MakeFolder, tmp_path: Path, heard: Heard, packed: bytes
) -> None:
    data = doubled(next(_seeds), 9 * MIB)
    sent = client.push(make_folder({"model.bin": data}), f"{model}:3.0.0", progress=heard)
    assert sent.uploaded_bytes == len(data)
    client.pull(f"{model}:2.0.0", tmp_path / "dest", progress=heard)
    assert (tmp_path / "dest" / "model.bin").read_bytes() == packed
    assert heard.lines == []


def test_a_cas_that_is_not_there_is_told_and_files_go_and_come_whole(
    client: Client, model: str, make_folder: MakeFolder, tmp_path: Path, heard: Heard, packed: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(xet, "linked", lambda base, link: "http://127.0.0.1:9/cas/nobody/0")
    data = doubled(next(_seeds), 9 * MIB)
    sent = client.push(make_folder({"model.bin": data}), f"{model}:3.0.0", progress=heard)
    assert (sent.created, sent.uploaded_bytes) == (True, len(data))
    client.pull(f"{model}:2.0.0", tmp_path / "dest", progress=heard)
    assert (tmp_path / "dest" / "model.bin").read_bytes() == packed
    there, back = (line.removeprefix("Large files go whole, not as chunks: ") for line in heard.lines)
    assert "127.0.0.1:9" in there
    assert "127.0.0.1:9" in back or back == "model.bin ended early"  # which it is, the library decides by chance


@pytest.mark.parametrize(
    ("story", "said"),
    [
        ("os.abort()", "it ended without a word"),
        ("print(7, 7); sys.exit('no link http://127.0.0.1/x?ticket=secret')", "no link http://127.0.0.1/x"),
        ("print('hello'); sys.exit('')", "it ended without a word"),
    ],
)
def test_a_process_that_fails_costs_nothing_but_time(
    client: Client, model: str, make_folder: MakeFolder, heard: Heard, fake_process: FakeProcess, story: str, said: str
) -> None:
    client.push(make_folder(SMALL), f"{model}:1.0.0")
    fake_process(story)
    data = os.urandom(9 * MIB)
    sent = client.push(make_folder({"model.bin": data}), f"{model}:2.0.0", progress=heard)
    assert sent.created and len(data) <= sent.uploaded_bytes <= len(data) + 7
    assert heard.lines == [f"Large files go whole, not as chunks: {said}"]


@pytest.mark.parametrize(
    ("story", "said"),
    [
        ("os.abort()", "it ended without a word"),
        ("sys.stdout.write('x' * (10 << 20)); sys.stdout.flush(); sys.exit('broken')", "broken"),
        ("sys.stdout.write('x' * (10 << 20))", "model.bin ended early"),
        ("sys.stdout.write('x' * (25 << 20))", "model.bin came with other bytes than its digest says"),
        ("sys.stdout.write('x' * (60 << 20))", "model.bin came with other bytes than its digest says"),
    ],
)
def test_wrong_bytes_and_too_few_are_told_and_come_whole(
    client: Client, model: str, tmp_path: Path, heard: Heard, packed: bytes, fake_process: FakeProcess, story: str,
    said: str,
) -> None:  # fmt: skip
    fake_process(story)
    client.pull(f"{model}:2.0.0", tmp_path / "dest", progress=heard)
    assert (tmp_path / "dest" / "model.bin").read_bytes() == packed
    assert heard.lines[0] == f"Large files go whole, not as chunks: {said}"


def test_what_came_as_chunks_before_a_break_is_not_fetched_again(
    client: Client, model: str, tmp_path: Path, heard: Heard, packed: bytes, fake_process: FakeProcess
) -> None:
    (tmp_path / "half").write_bytes(packed[: 17 * MIB])
    fake_process(f"sys.stdout.buffer.write(open({str(tmp_path / 'half')!r}, 'rb').read())\nsys.exit('broken')")
    pulled = client.pull(f"{model}:2.0.0", tmp_path / "dest", progress=heard)
    assert (tmp_path / "dest" / "model.bin").read_bytes() == packed
    assert pulled.downloaded_bytes == len(packed) + MIB  # of the third block, one MiB had come
    assert heard.lines == ["Large files go whole, not as chunks: broken"]


def test_a_wrong_digest_is_told(
    client: Client, model: str, make_folder: MakeFolder, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.push(make_folder(SMALL), f"{model}:1.0.0")
    hashed = push._hashed

    def wrong(*args: object) -> list[HashedFile]:
        return [HashedFile(file.found, "ab" * 32) for file in hashed(*args)]  # type: ignore[arg-type]

    monkeypatch.setattr(push, "_hashed", wrong)
    with pytest.raises(DigestMismatch, match=r"other bytes than model\.bin holds"):
        client.push(make_folder({"model.bin": os.urandom(9 * MIB)}), f"{model}:2.0.0", progress=heard)
    assert len(heard.lines) == 1 and "not to sha256:" + "ab" * 32 in heard.lines[0]


def test_a_file_that_changes_meanwhile_is_named(
    client: Client, model: str, make_folder: MakeFolder, heard: Heard, fake_process: FakeProcess
) -> None:
    client.push(make_folder(SMALL), f"{model}:1.0.0")
    fake_process("open(order['files'][0]['path'], 'ab').write(b'more')\nsys.exit('refused')")
    with pytest.raises(FileChanged, match=r"model\.bin changed while it was being pushed"):
        client.push(make_folder({"model.bin": os.urandom(9 * MIB)}), f"{model}:2.0.0", progress=heard)


def test_the_progress_adds_up(client: Client, model: str, make_folder: MakeFolder, fake_process: FakeProcess) -> None:
    client.push(make_folder(SMALL), f"{model}:1.0.0")
    bar = Counted()
    client.push(make_folder({"model.bin": os.urandom(9 * MIB)}), f"{model}:2.0.0", progress=bar)
    fake_process("print(5_000_000, 4_000_000)\nsys.exit('broken')")
    client.push(make_folder({"model.bin": os.urandom(9 * MIB)}), f"{model}:3.0.0", progress=bar)
    assert [each for each in bar.ended if each[0] == "Uploading"] == [("Uploading", 9 * MIB, 9 * MIB)] * 2
