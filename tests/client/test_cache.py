"""The cache: nothing unproven enters it, nothing damaged leaves it."""

import hashlib
import os
from pathlib import Path

import pytest

from steelyard.client.cache import BLOCK_BYTES, BlobCache
from steelyard.client.hashing import WORTH_REMEMBERING_BYTES
from steelyard.client.parallel import Stop

DATA = os.urandom(WORTH_REMEMBERING_BYTES + 5)
HEX = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def cache(tmp_path: Path) -> BlobCache:
    return BlobCache(tmp_path / "cache")


def fill(cache: BlobCache) -> Path:
    partial = cache.partial(HEX, len(DATA))
    with partial.open_at(0) as file:
        partial.append(file, DATA)
    return cache.enter(partial)


def test_what_entered_is_found_and_read_only(cache: BlobCache) -> None:
    path = fill(cache)
    assert cache.find(HEX, len(DATA), Stop()) == path
    assert path.read_bytes() == DATA
    assert path.stat().st_mode & 0o777 == 0o444
    assert list((cache.root / "partial").iterdir()) == []
    assert cache.root.stat().st_mode & 0o077 == 0


def test_an_entry_is_hashed_and_flushed_when_it_is_used_again_and_then_no_more(
    cache: BlobCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    fill(cache)
    assert not flushed  # a pull whose bytes are never used again does not wait for the disk
    assert cache.find(HEX, len(DATA), Stop()) is not None
    assert len(flushed) == 1
    monkeypatch.setattr("steelyard.client.cache.hash_file", lambda *_: pytest.fail("hashed"))
    assert BlobCache(cache.root).find(HEX, len(DATA), Stop()) is not None
    assert len(flushed) == 1


def test_what_the_disk_does_not_take_is_not_trusted(cache: BlobCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    path = fill(cache)
    assert cache.find(HEX, len(DATA), Stop()) == path
    path.chmod(0o644)
    status = path.stat()
    path.write_bytes(DATA[::-1])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert cache.find(HEX, len(DATA), Stop()) is None


def test_a_damaged_entry_is_thrown_away(cache: BlobCache) -> None:
    path = fill(cache)
    path.chmod(0o644)
    path.write_bytes(DATA[::-1])
    assert cache.find(HEX, len(DATA), Stop()) is None
    assert not path.exists()


def test_an_entry_of_another_size_is_thrown_away(cache: BlobCache) -> None:
    path = fill(cache)
    assert cache.find(HEX, len(DATA) + 1, Stop()) is None
    assert not path.exists()


def test_an_entry_that_was_only_touched_is_proven_and_kept(cache: BlobCache) -> None:
    path = fill(cache)
    os.utime(path, (1, 1))
    assert cache.find(HEX, len(DATA), Stop()) == path


def test_a_link_in_the_place_of_an_entry_is_not_followed(cache: BlobCache, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(DATA)
    cache.path(HEX).parent.mkdir(parents=True)
    cache.path(HEX).symlink_to(tmp_path / "elsewhere")
    assert cache.find(HEX, cache.path(HEX).lstat().st_size, Stop()) is None
    assert not cache.path(HEX).is_symlink()
    assert (tmp_path / "elsewhere").read_bytes() == DATA


def test_the_journal_of_a_partial_file_says_which_blocks_arrived(cache: BlobCache) -> None:
    size = 2 * BLOCK_BYTES + 5
    partial = cache.partial(HEX, size)
    with partial.open_at(0) as file:
        file.truncate(size)
    partial.mark(0)
    partial.mark(2)
    assert cache.partial(HEX, size).done == {0, 2}
    assert [partial.block_bytes(block) for block in range(partial.blocks)] == [BLOCK_BYTES, BLOCK_BYTES, 5]


@pytest.mark.parametrize(
    "lie",
    [
        "5 0\n",
        "x\n",
        f"{3 * BLOCK_BYTES} 7\n",
        f"{3 * BLOCK_BYTES} 2\n",
        "\xff\n",
        f"{3 * BLOCK_BYTES} -1\n",
        f"{3 * BLOCK_BYTES}\n",
    ],
)
def test_a_journal_that_cannot_be_true_counts_for_nothing(cache: BlobCache, lie: str) -> None:
    partial = cache.partial(HEX, 3 * BLOCK_BYTES)
    partial.file.write_bytes(b"x" * BLOCK_BYTES)
    partial.file.with_suffix(".done").write_text(lie)
    assert cache.partial(HEX, 3 * BLOCK_BYTES).done == set()


def test_a_journal_without_its_file_is_dropped(cache: BlobCache) -> None:
    partial = cache.partial(HEX, 3 * BLOCK_BYTES)
    partial.mark(0)
    partial.file.unlink()
    assert cache.partial(HEX, 3 * BLOCK_BYTES).done == set()
