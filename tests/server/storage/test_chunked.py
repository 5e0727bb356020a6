"""A store in front of another one: whole blobs as they are there, chunked ones as their layouts make them."""

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.server.errors import StorageFailed
from steelyard.server.storage import BlobStore, StoredBlob
from steelyard.server.storage.chunked import (
    ChunkedBlob,
    ChunkedStore,
    Layout,
    Term,
    XorbPlace,
    is_chunked,
    place_xorb,
)
from steelyard.server.storage.local import LocalStore
from steelyard.server.storage.memory import MemoryStore
from steelyard.server.xet.hashes import chunk_hash
from steelyard.server.xet.xorbs import Chunk, XorbReader, pack
from tests.house.chunked import some_raws
from tests.server.storage.contract import BlobStoreContract, new_upload_id

CHUNKED = "ab" * 32 + ".x00c0ffe"


class Book:
    """`Recipes` that a test wrote."""

    def __init__(self) -> None:
        self.layouts: dict[str, Layout] = {}
        self.xorbs: dict[int, XorbPlace] = {}
        self.asked_anew: list[int] = []

    def find_layout(self, key: str) -> Layout | None:
        return self.layouts.get(key)

    def find_xorb(self, xorb_id: int, *, anew: bool = False) -> XorbPlace | None:
        if anew:
            self.asked_anew.append(xorb_id)
        return self.xorbs.get(xorb_id)


class TestChunkedStore(BlobStoreContract):
    @pytest.fixture(params=["memory", "disk"])
    def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
        inner = MemoryStore() if request.param == "memory" else LocalStore(tmp_path / "store")
        return ChunkedStore(inner, Book())


def keep(store: BlobStore, key: str, content: bytes) -> None:
    upload_id = new_upload_id()
    with store.stage(upload_id, 0) as writer:
        writer.write([content])
    store.commit(upload_id, key)


class Shelf:
    """Four xorbs, two of them over one whole blob that has bytes before, between and after them."""

    def __init__(self) -> None:
        self.book, self.behind = Book(), MemoryStore()
        self.store = ChunkedStore(self.behind, self.book)
        self.raws = {number: some_raws(number, 5 + number, 1, 3_000) for number in range(4)}
        for number in (0, 1):
            self.keep_packed(number)
        self.whole = b"before" + b"".join(self.raws[2]) + b"between" + b"".join(self.raws[3]) + b"after"
        keep(self.behind, key_of(9), self.whole)
        for number in (2, 3):
            self.stand_over(number, self.whole.index(b"".join(self.raws[number])))

    def keep_packed(self, number: int) -> None:
        packed = [pack(raw) for raw in self.raws[number]]
        self.behind.delete(key_of(number))
        keep(self.behind, key_of(number), b"".join(packed))
        self.book.xorbs[number] = place_xorb(key_of(number), self.chunks(number, [len(each) for each in packed]))

    def stand_over(self, number: int, offset: int) -> None:
        chunks = self.chunks(number, [len(raw) + 8 for raw in self.raws[number]])
        self.book.xorbs[number] = place_xorb(key_of(9), chunks, is_raw=True, offset_bytes=offset)

    def chunks(self, number: int, stored: Sequence[int]) -> list[Chunk]:
        return [Chunk(chunk_hash(raw), len(raw), size) for raw, size in zip(self.raws[number], stored, strict=True)]

    def lay_out(self, *runs: tuple[int, int, int]) -> bytes:
        """Let the chunked blob be these runs `(xorb, start, end)`; answers what its bytes should be."""
        contents = [b"".join(self.raws[number][start:end]) for number, start, end in runs]
        terms = [Term(*run, len(content)) for run, content in zip(runs, contents, strict=True)]
        self.book.layouts[CHUNKED] = Layout(terms)
        return b"".join(contents)

    def open(self) -> StoredBlob:
        blob = self.store.open(CHUNKED)
        assert blob is not None
        return blob


def key_of(number: int) -> str:
    return f"{number:064x}.00c0ffee"


RUNS = [(0, 0, 5), (2, 1, 4), (1, 3, 6), (0, 2, 3), (3, 0, 8), (2, 6, 7)]


def test_a_chunked_key_is_no_key_of_any_store() -> None:
    assert is_chunked(CHUNKED)
    assert not is_chunked(key_of(0))
    with pytest.raises(ValueError, match="not the key"):
        MemoryStore().open(CHUNKED)


def test_a_chunked_blob_reads_as_the_bytes_it_is_made_of() -> None:
    shelf = Shelf()
    content = shelf.lay_out(*RUNS)
    with shelf.open() as blob:
        assert blob.size_bytes == len(content)
        assert blob.path is None
        assert blob.read(0, len(content) + 1) == content


@pytest.mark.parametrize("step", [1, 7, 1_000, 4_096, 10**6])
def test_reading_on_piece_by_piece_gives_the_same(step: int) -> None:
    shelf = Shelf()
    content = shelf.lay_out(*RUNS)[: 20_000 if step > 10 else 3_000]
    with shelf.open() as blob:
        pieces = [blob.read(start, min(step, len(content) - start)) for start in range(0, len(content), step)]
    assert b"".join(pieces) == content


SHELF = Shelf()
RUN = st.sampled_from(range(4)).flatmap(
    lambda number: st.tuples(st.just(number), st.integers(0, 4 + number), st.integers(1, 5 + number)).filter(
        lambda run: run[1] < run[2]
    )
)


@settings(max_examples=200, deadline=None)
@given(runs=st.lists(RUN, max_size=12), reads=st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 9_000))))
def test_any_range_of_any_layout_is_right_whatever_was_read_before(
    runs: list[tuple[int, int, int]], reads: list[tuple[int, int]]
) -> None:
    content = SHELF.lay_out(*runs)
    with SHELF.open() as blob:
        for start, length in reads:
            assert blob.read(start, length) == content[start : start + length]
            assert blob.read_now(start, length) in (None, content[start : start + length])


def test_what_was_unpacked_is_read_without_waiting() -> None:
    shelf = Shelf()
    content = shelf.lay_out(*RUNS)
    with shelf.open() as blob:
        assert blob.read_now(0, 10) is None
        blob.read(0, 10)
        assert blob.read_now(2, 8) == content[2:10]
        assert blob.read_now(0, len(content)) is None


def test_an_empty_file_is_made_of_nothing() -> None:
    shelf = Shelf()
    shelf.lay_out()
    with shelf.open() as blob:
        assert (blob.size_bytes, blob.read(0, 10), blob.list_lost()) == (0, b"", [])  # type: ignore[attr-defined]


def test_a_key_without_a_layout_is_no_blob() -> None:
    assert Shelf().store.open(CHUNKED) is None


def test_deleting_and_setting_aside_leave_what_others_are_made_of() -> None:
    shelf = Shelf()
    content = shelf.lay_out(*RUNS)
    shelf.store.delete(CHUNKED)
    shelf.store.set_aside(CHUNKED)
    with shelf.open() as blob:
        assert blob.read(0, len(content)) == content


def test_a_lost_xorb_is_named_and_reading_it_fails() -> None:
    shelf = Shelf()
    content = shelf.lay_out(*RUNS)
    shelf.behind.delete(key_of(1))
    before = sum(len(raw) for number, start, end in RUNS[:2] for raw in shelf.raws[number][start:end])
    with shelf.open() as blob:
        assert isinstance(blob, ChunkedBlob)
        assert blob.list_lost() == [1]
        assert blob.read(0, before) == content[:before]
        with pytest.raises(StorageFailed, match="admin check"):
            blob.read(0, before + 1)


def test_a_xorb_that_was_cut_short_is_lost() -> None:
    shelf = Shelf()
    shelf.lay_out(*RUNS)
    packed = b"".join(pack(raw) for raw in shelf.raws[0])
    shelf.behind.delete(key_of(0))
    keep(shelf.behind, key_of(0), packed[:-1])
    with shelf.open() as blob, pytest.raises(StorageFailed):
        assert isinstance(blob, ChunkedBlob)
        assert blob.list_lost() == [0]
        blob.read(0, 1)


def test_wrong_bytes_in_a_xorb_are_a_failure_of_the_store() -> None:
    shelf = Shelf()
    shelf.lay_out(*RUNS)
    packed = b"".join(pack(raw) for raw in shelf.raws[0])
    shelf.behind.delete(key_of(0))
    keep(shelf.behind, key_of(0), bytes(len(packed)))
    with shelf.open() as blob, pytest.raises(StorageFailed, match="not what was recorded"):
        blob.read(0, 1)


def test_a_xorb_that_came_anew_is_found_where_it_is_now() -> None:
    shelf = Shelf()
    content = shelf.lay_out(*RUNS)
    stale, now = shelf.book.xorbs[0], place_xorb(key_of(7), shelf.chunks(0, [len(pack(raw)) for raw in shelf.raws[0]]))
    keep(shelf.behind, key_of(7), b"".join(pack(raw) for raw in shelf.raws[0]))
    shelf.behind.delete(stale.key)

    class Forgetful(Book):
        def find_xorb(self, xorb_id: int, *, anew: bool = False) -> XorbPlace | None:
            return now if anew and not xorb_id else shelf.book.find_xorb(xorb_id)

    with ChunkedBlob(shelf.store, Forgetful(), shelf.book.layouts[CHUNKED]) as blob:
        assert blob.read(0, len(content)) == content


@pytest.mark.parametrize("number", [2, 3])
def test_a_run_of_a_whole_blob_is_sent_as_a_xorb(number: int) -> None:
    shelf = Shelf()
    reader = XorbReader()
    with shelf.store.open_xorb(number) as xorb:
        body = xorb.read(0, xorb.size_bytes)
        reader.feed(body)
        assert reader.finish() == xorb.size_bytes == len(body)
        assert reader.chunks == shelf.chunks(number, [len(raw) + 8 for raw in shelf.raws[number]])
        random = Random(number)
        for _ in range(200):
            start, length = random.randrange(len(body) + 9), random.randrange(5_000)
            assert xorb.read(start, length) == body[start : start + length]


def test_a_xorb_of_its_own_is_sent_as_it_is_stored() -> None:
    shelf = Shelf()
    with shelf.store.open_xorb(0) as xorb:
        assert xorb.read(0, xorb.size_bytes) == b"".join(pack(raw) for raw in shelf.raws[0])


def test_one_who_reads_on_looks_into_the_store_once_for_many_pieces() -> None:
    shelf = Shelf()
    shelf.raws[0] = some_raws(5, 400, 8_000, 40_000)
    shelf.keep_packed(0)
    content = shelf.lay_out((0, 0, 400))
    counting = Counting(shelf.behind)
    with ChunkedBlob(counting, shelf.book, shelf.book.layouts[CHUNKED]) as blob:
        pieces = [blob.read(start, 65_536) for start in range(0, len(content), 65_536)]
    assert b"".join(pieces) == content
    assert counting.reads < len(pieces) / 10


class Counting(ChunkedStore):
    """Counts how often something is read behind."""

    def __init__(self, store: BlobStore) -> None:
        super().__init__(store, Book())
        self.reads = 0

    def open(self, key: str) -> StoredBlob | None:
        blob = super().open(key)
        if blob is not None:
            read = blob.read

            def counted(start: int, length: int) -> bytes:
                self.reads += 1
                return read(start, length)

            blob.read = counted  # type: ignore[method-assign]
        return blob
