"""A watched store is the store it was: it keeps the contract, and tells what was done and what failed."""

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from steelyard.server.errors import NotFound, StorageFailed
from steelyard.server.storage import BlobStore
from steelyard.server.storage.local import LocalStore
from steelyard.server.storage.memory import MemoryStore
from steelyard.server.storage.watched import WatchedStore
from steelyard.server.watching import UNWATCHED, Counted, Part
from tests.server.storage.contract import KEY, UPLOAD, BlobStoreContract, put


class TestWatchedStore(BlobStoreContract):
    @pytest.fixture(params=["memory", "disk"])
    def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
        inner = MemoryStore() if request.param == "memory" else LocalStore(tmp_path / "store")
        return WatchedStore(inner, UNWATCHED)


class Listener:
    """A `Watch` that remembers."""

    def __init__(self) -> None:
        self.ended: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.counted: Counter[str] = Counter()

    def work(self, _part: Part, kind: str) -> AbstractContextManager[object]:
        return self._around(kind)

    @contextmanager
    def _around(self, kind: str) -> Iterator[None]:
        try:
            yield
        except Exception as fault:
            self.failed[f"{kind}: {type(fault).__name__}"] += 1
            raise
        finally:
            self.ended[kind] += 1

    def count(self, what: Counted, amount: int = 1, *, kind: str = "") -> None:
        self.counted[what] += amount


def test_every_call_is_told_once() -> None:
    listener = Listener()
    store = WatchedStore(MemoryStore(), listener)
    put(store, b"twelve bytes")
    blob = store.open(KEY)
    assert blob
    with blob:
        assert blob.read(0, 5) + blob.read(5, 100) == b"twelve bytes"
        assert blob.read_now(0, 4) == b"twel"
    assert store.open("cd" * 32 + ".00000000") is None
    assert [name.name for name in store.scan()] == [KEY]
    store.free_bytes()
    with store.stage(UPLOAD, 0) as writer:
        writer.write([b"more", b"bytes"])
    assert store.prove(UPLOAD).size_bytes == 9
    store.discard(UPLOAD)
    store.delete(KEY)
    assert listener.ended == {
        "stage": 2, "write": 2, "close": 2, "commit": 1, "open": 2, "read": 2, "scan": 1, "free_bytes": 1, "prove": 1,
        "discard": 1, "delete": 1,
    }  # fmt: skip
    assert listener.counted == {"store_written_bytes": 12 + 9, "store_read_bytes": 12 + 4, "proof_read_bytes": 9}
    assert not listener.failed


def test_what_fails_is_told_and_raised(tmp_path: Path) -> None:
    listener = Listener()
    store = WatchedStore(LocalStore(tmp_path / "store"), listener)
    with pytest.raises(NotFound):
        store.prove(UPLOAD)
    (tmp_path / "store").rename(tmp_path / "gone")
    with pytest.raises(StorageFailed):
        store.free_bytes()
    assert listener.failed == {"prove: NotFound": 1, "free_bytes: StorageFailed": 1}
    assert listener.counted == {}
