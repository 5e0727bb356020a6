"""Digests and the memory of them: never a stale one."""

import hashlib
import os
from pathlib import Path

import pytest

from steelyard.client import hashing
from steelyard.client.errors import FileChanged
from steelyard.client.hashing import HashMemory, hash_files
from steelyard.client.parallel import Stop
from steelyard.client.progress import Stage
from steelyard.client.walking import walk

BIG = bytes(range(256)) * 8192  # 2 MiB, worth remembering


class CountedReads(Stage):
    """How many bytes were hashed or recalled."""

    def __init__(self) -> None:
        self.done = self.expected = 0

    def expect(self, size_bytes: int) -> None:
        self.expected += size_bytes

    def advance(self, size_bytes: int) -> None:
        self.done += size_bytes


def digests(folder: Path, memory: HashMemory) -> dict[str, str]:
    stage = CountedReads()
    found = hash_files(walk(folder), memory, stage, Stop(), threads=3)
    assert stage.done == stage.expected
    return {file.found.path: file.sha256_hex for file in found}


def test_files_are_hashed_in_the_order_they_were_named(tmp_path: Path) -> None:
    files = {f"f{number}": os.urandom(number * 1000) for number in range(9)}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    found = digests(tmp_path, HashMemory(None))
    assert found == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    assert list(found) == sorted(files)


def test_an_unchanged_file_is_not_read_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_RACY_NS", 0)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "w.bin").write_bytes(BIG)
    memory = HashMemory(tmp_path / "h.sqlite")
    first = digests(folder, memory)
    monkeypatch.setattr(hashing, "hash_file", lambda *_: pytest.fail("read again"))
    assert digests(folder, HashMemory(tmp_path / "h.sqlite")) == first


def test_a_change_that_keeps_size_and_time_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_RACY_NS", 0)
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "w.bin"
    path.write_bytes(BIG)
    memory = HashMemory(tmp_path / "h.sqlite")
    first, before = digests(folder, memory), path.stat()
    path.write_bytes(BIG[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert digests(folder, memory) != first


def test_a_file_touched_just_now_is_not_remembered(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "w.bin").write_bytes(BIG)
    memory = HashMemory(tmp_path / "h.sqlite")
    digests(folder, memory)
    [found] = walk(folder)
    assert memory.find(found.source, found.marks) is None


def test_a_file_that_changes_while_it_is_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.bin"
    path.write_bytes(BIG)
    real = hashing.hash_file

    def slow(*arguments: object) -> str:
        digest = real(*arguments)  # type: ignore[arg-type]
        path.write_bytes(b"other")
        return digest

    monkeypatch.setattr(hashing, "hash_file", slow)
    with pytest.raises(FileChanged, match=r"w\.bin"):
        digests(tmp_path, HashMemory(None))


@pytest.mark.parametrize("content", [b"not a database", b""])
def test_a_damaged_memory_costs_time_and_nothing_else(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "w.bin").write_bytes(BIG)
    (tmp_path / "h.sqlite").write_bytes(content)
    assert digests(folder, HashMemory(tmp_path / "h.sqlite")) == {"w.bin": hashlib.sha256(BIG).hexdigest()}
