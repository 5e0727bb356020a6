"""What every store of bytes has to do: a suite that each store's test module runs by subclassing it with a `store`."""

import contextlib
import hashlib
import itertools
import random
import secrets
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steelyard.server.errors import Conflict, NotFound, StorageFailed
from steelyard.server.storage import BlobStore, Proof, StoredBlob, StoredName

UPLOAD = "0123456789abcdef" * 2
KEY = "ab" * 32 + ".00c0ffee"
CONTENT = random.Random(1).randbytes(3_000_000)

HOSTILE_NAMES = [
    "",
    ".",
    "..",
    "../" + UPLOAD,
    "/etc/passwd",
    UPLOAD + "/..",
    UPLOAD + "\n",
    UPLOAD + "\0",
    UPLOAD.upper(),
    KEY.upper(),
    KEY[:64],
    KEY + "/x",
    "../" * 21 + "x" + KEY[64:],
]

each_example_in_the_same_store = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)


def new_upload_id() -> str:
    return secrets.token_hex(16)


def put(store: BlobStore, content: bytes, key: str = KEY) -> str:
    upload_id = new_upload_id()
    with store.stage(upload_id, 0) as writer:
        writer.write([content])
    store.commit(upload_id, key)
    return key


def opened(store: BlobStore, key: str = KEY) -> StoredBlob:
    blob = store.open(key)
    assert blob is not None
    return blob


def prove_if_allowed(store: BlobStore, upload_id: str) -> Proof | None:
    """The proof, or None where it is refused because somebody is writing."""
    try:
        return store.prove(upload_id)
    except Conflict:
        return None


def content_of(store: BlobStore, key: str = KEY) -> bytes:
    with opened(store, key) as blob:
        return blob.read(0, blob.size_bytes)


def proof_of(content: bytes | bytearray) -> Proof:
    return Proof(hashlib.sha256(content).hexdigest(), len(content))


class BlobStoreContract:
    """Needs a fixture `store`: an empty store."""

    def test_what_is_staged_committed_and_opened_is_what_was_written(self, store: BlobStore) -> None:
        with store.stage(UPLOAD, 0) as writer:
            writer.write([CONTENT[:1000], b"", CONTENT[1000:5000]])
            writer.write([])
            writer.write([CONTENT[5000:]])
        assert store.prove(UPLOAD) == proof_of(CONTENT)
        store.commit(UPLOAD, KEY)
        assert content_of(store) == CONTENT

    def test_a_write_takes_any_number_of_pieces(self, store: BlobStore) -> None:
        pieces = [CONTENT[i : i + 7] for i in range(0, 35_000, 7)]
        with store.stage(UPLOAD, 0) as writer:
            writer.write(pieces)
        assert store.prove(UPLOAD) == proof_of(CONTENT[:35_000])

    @pytest.mark.parametrize("size", [1, 4095, 4097, 2**20 - 1, 8 * 2**20 - 1, 8 * 2**20, 8 * 2**20 + 1, 17 * 2**20])
    def test_a_blob_may_have_any_size(self, store: BlobStore, size: int) -> None:
        content = (CONTENT * (size // len(CONTENT) + 1))[:size]
        with store.stage(UPLOAD, 0) as writer:
            for at in range(0, size, 999_983):
                writer.write([content[at : at + 999_983]])
        assert store.prove(UPLOAD) == proof_of(content)
        store.commit(UPLOAD, KEY)
        assert hashlib.sha256(content_of(store)).digest() == hashlib.sha256(content).digest()

    def test_nothing_written_is_an_empty_blob(self, store: BlobStore) -> None:
        store.stage(UPLOAD, 0).close()
        assert store.prove(UPLOAD) == proof_of(b"")
        store.commit(UPLOAD, KEY)
        assert content_of(store) == b""

    def test_an_upload_goes_on_at_an_offset(self, store: BlobStore) -> None:
        for start, end in ((0, 1_000_000), (1_000_000, 1_000_001), (1_000_001, len(CONTENT))):
            with store.stage(UPLOAD, start) as writer:
                writer.write([CONTENT[start:end]])
        assert store.prove(UPLOAD) == proof_of(CONTENT)

    def test_a_part_sent_again_replaces_what_was_there(self, store: BlobStore) -> None:
        with store.stage(UPLOAD, 0) as writer:
            writer.write([bytes(len(CONTENT))])
        with store.stage(UPLOAD, 0) as writer:
            writer.write([CONTENT])
        assert store.prove(UPLOAD) == proof_of(CONTENT)

    def test_a_shorter_part_sent_again_leaves_what_lies_behind_it(self, store: BlobStore) -> None:
        for content in (b"0123456789", b"abc"):
            with store.stage(UPLOAD, 0) as writer:
                writer.write([content])
        assert store.prove(UPLOAD) == proof_of(b"abc3456789")

    @each_example_in_the_same_store
    @given(writes=st.lists(st.tuples(st.integers(0, 200), st.binary(max_size=100)), min_size=1, max_size=6))
    def test_writes_that_overlap_are_as_if_done_one_after_another(
        self, store: BlobStore, writes: list[tuple[int, bytes]]
    ) -> None:
        upload_id, expected = new_upload_id(), bytearray()
        for at, content in writes:
            with store.stage(upload_id, at) as writer:
                writer.write([content])
            if content:
                expected.extend(bytes(max(0, at - len(expected))))
                expected[at : at + len(content)] = content
        assert store.prove(upload_id) == proof_of(expected)
        key = f"{expected.hex()[:64]:0>64}.{upload_id[:8]}"
        store.commit(upload_id, key)
        assert content_of(store, key) == expected

    def test_a_hole_reads_as_zeros(self, store: BlobStore) -> None:
        with store.stage(UPLOAD, 5000) as writer:
            writer.write([b"late"])
        assert store.prove(UPLOAD) == proof_of(bytes(5000) + b"late")

    def test_a_writer_that_was_broken_off_leaves_the_upload_usable(self, store: BlobStore) -> None:
        with pytest.raises(ConnectionError), store.stage(UPLOAD, 0) as writer:
            writer.write([b"half"])
            raise ConnectionError
        with store.stage(UPLOAD, 0) as writer:
            writer.write([b"whole"])
        store.commit(UPLOAD, KEY)
        assert content_of(store) == b"whole"

    def test_parts_are_written_at_once_by_many_writers(self, store: BlobStore) -> None:
        part_bytes = 100_000

        def write_part(start: int) -> None:
            with store.stage(UPLOAD, start) as writer:
                for at in range(start, start + part_bytes, 10_000):
                    writer.write([CONTENT[at : at + 10_000]])

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(write_part, range(0, len(CONTENT), part_bytes)))
        assert store.prove(UPLOAD) == proof_of(CONTENT)

    @each_example_in_the_same_store
    @given(cuts=st.lists(st.integers(0, 5000)), order=st.randoms(use_true_random=False))
    def test_the_order_of_parts_does_not_matter(self, store: BlobStore, cuts: list[int], order: random.Random) -> None:
        upload_id, edges = new_upload_id(), [0, *sorted(cuts), 5000]
        parts = list(itertools.pairwise(edges))
        order.shuffle(parts)
        for start, end in parts:
            with store.stage(upload_id, start) as writer:
                writer.write([CONTENT[start:end]])
        assert store.prove(upload_id) == proof_of(CONTENT[:5000])
        store.discard(upload_id)

    def test_after_a_commit_the_staged_upload_is_gone(self, store: BlobStore) -> None:
        put(store, CONTENT)
        assert [held.kind for held in store.scan()] == ["blob"]

    def test_a_commit_may_be_repeated(self, store: BlobStore) -> None:
        with store.stage(UPLOAD, 0) as writer:
            writer.write([CONTENT])
        store.commit(UPLOAD, KEY)
        store.commit(UPLOAD, KEY)
        assert content_of(store) == CONTENT

    def test_what_was_never_staged_can_be_neither_proven_nor_committed(self, store: BlobStore) -> None:
        with pytest.raises(NotFound, match="Begin it again"):
            store.prove(UPLOAD)
        with pytest.raises(NotFound, match="Begin it again"):
            store.commit(UPLOAD, KEY)
        assert store.open(KEY) is None

    def test_a_discarded_upload_is_gone(self, store: BlobStore) -> None:
        store.stage(UPLOAD, 0).close()
        store.discard(UPLOAD)
        store.discard(UPLOAD)
        assert list(store.scan()) == []

    def test_a_deleted_blob_is_gone(self, store: BlobStore) -> None:
        put(store, CONTENT)
        store.delete(KEY)
        store.delete(KEY)
        assert store.open(KEY) is None
        assert list(store.scan()) == []

    def test_two_keys_of_one_digest_are_two_blobs(self, store: BlobStore) -> None:
        other = put(store, CONTENT, KEY[:64] + ".deadbeef")
        put(store, CONTENT)
        store.delete(KEY)
        assert content_of(store, other) == CONTENT

    def test_an_open_blob_never_gives_other_bytes_when_its_key_is_deleted(self, store: BlobStore) -> None:
        put(store, CONTENT)
        with opened(store) as blob:
            assert blob.read(0, 100_000) == CONTENT[:100_000]
            store.delete(KEY)
            with contextlib.suppress(StorageFailed):
                assert blob.read(100_000, blob.size_bytes) == CONTENT[100_000:]

    def test_a_blob_may_be_closed_twice(self, store: BlobStore) -> None:
        blob = opened(store, put(store, CONTENT))
        blob.close()
        blob.close()

    def test_a_blob_knows_its_size_and_its_file_if_it_has_one(self, store: BlobStore) -> None:
        with opened(store, put(store, CONTENT)) as blob:
            assert blob.size_bytes == len(CONTENT)
            assert blob.path is None or blob.path.read_bytes() == CONTENT

    @each_example_in_the_same_store
    @given(start=st.integers(0, 70_000), length=st.integers(0, 70_000))
    def test_a_read_is_a_slice(self, store: BlobStore, start: int, length: int) -> None:
        content = CONTENT[:65_536]
        if not list(store.scan()):
            put(store, content)
        with opened(store) as blob:
            assert blob.read(start, length) == content[start : start + length]
            assert blob.read_now(start, length) in (None, content[start : start + length])

    def test_one_blob_is_read_by_many_threads(self, store: BlobStore) -> None:
        with opened(store, put(store, CONTENT)) as blob, ThreadPoolExecutor(8) as threads:
            pieces = threads.map(lambda at: blob.read(at, 10_000), range(0, len(CONTENT), 10_000))
            assert b"".join(pieces) == CONTENT

    def test_a_blob_is_read_from_its_begin_to_its_end_and_from_anywhere_after(self, store: BlobStore) -> None:
        with opened(store, put(store, CONTENT)) as blob:
            pieces = [blob.read(at, 65_521) for at in range(0, len(CONTENT), 65_521)]
            assert b"".join(pieces) == CONTENT
            assert blob.read(len(CONTENT), 10) == b""
            for at in (2_000_000, 2_000_010, 5, len(CONTENT) - 3):
                assert blob.read(at, 10) == CONTENT[at : at + 10]
            assert blob.read(0, 2 * len(CONTENT)) == CONTENT

    def test_many_blobs_are_written_and_read_at_once(self, store: BlobStore) -> None:
        def write_and_read(number: int) -> bool:
            content = CONTENT[number * 1000 : number * 1000 + 300_000]
            return content_of(store, put(store, content, f"{number:064x}.00000000")) == content

        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(write_and_read, range(24)))
        assert len(list(store.scan())) == 24

    def test_what_is_discarded_or_deleted_is_that_alone(self, store: BlobStore) -> None:
        other, other_key = new_upload_id(), KEY[:64] + ".deadbeef"
        for upload_id in (UPLOAD, other):
            with store.stage(upload_id, 0) as writer:
                writer.write([b"kept"])
        put(store, b"kept, too", other_key)
        put(store, CONTENT)
        store.discard(UPLOAD)
        store.delete(KEY)
        assert {held.name for held in store.scan()} == {other, other_key}
        assert store.prove(other) == proof_of(b"kept")
        assert content_of(store, other_key) == b"kept, too"

    def test_a_blob_set_aside_is_found_no_more(self, store: BlobStore) -> None:
        put(store, CONTENT)
        store.set_aside(KEY)
        store.set_aside(KEY)
        assert store.open(KEY) is None
        assert list(store.scan()) == []

    def test_a_scan_names_all_blobs_and_staged_uploads(self, store: BlobStore) -> None:
        before = time.time() - 2
        keys = {put(store, CONTENT[:n], f"{n:064x}.00000000"): n for n in (0, 1, 257, 65_537)}
        with store.stage(UPLOAD, 0) as writer:
            writer.write([b"12345"])
        found = list(store.scan())
        expected = {("blob", key, size) for key, size in keys.items()} | {("stage", UPLOAD, 5)}
        assert {(held.kind, held.name, held.size_bytes) for held in found} == expected
        assert len(found) == len(expected)
        assert all(before < held.modified_at < time.time() + 2 for held in found)

    def test_a_scan_survives_what_goes_meanwhile(self, store: BlobStore) -> None:
        keys = [put(store, b"x", f"{'ab' * 2}{n:060x}.00000000") for n in range(20)]
        found: list[StoredName] = []
        for held in store.scan():
            found.append(held)
            for key in keys:
                store.delete(key)
        assert {held.name for held in found} <= set(keys)

    def test_free_space_is_a_number_or_unknown(self, store: BlobStore) -> None:
        free = store.free_bytes()
        assert free is None or free > 0

    @pytest.mark.parametrize("name", HOSTILE_NAMES)
    def test_a_name_that_is_none_is_refused_before_anything_is_touched(self, store: BlobStore, name: str) -> None:
        with store.stage(UPLOAD, 0) as writer:
            writer.write([b"kept"])
        for refused in (
            lambda: store.stage(name, 0),
            lambda: store.prove(name),
            lambda: store.discard(name),
            lambda: store.commit(name, KEY),
            lambda: store.commit(UPLOAD, name),
            lambda: store.open(name),
            lambda: store.delete(name),
            lambda: store.set_aside(name),
        ):
            with pytest.raises(ValueError, match="not "):
                refused()
        assert store.prove(UPLOAD) == proof_of(b"kept")

    def test_nobody_writes_to_what_is_being_proven(self, store: BlobStore) -> None:
        with store.stage(UPLOAD, 0) as writer:
            writer.write([CONTENT])
        store.prove(UPLOAD)
        with pytest.raises(Conflict):
            store.stage(UPLOAD, 0)
        store.commit(UPLOAD, KEY)
        with opened(store, KEY) as blob:
            assert blob.read(0, len(CONTENT)) == CONTENT

    def test_what_was_proven_is_not_changed_by_who_was_still_writing(self, store: BlobStore) -> None:
        with store.stage(UPLOAD, 0) as writer:
            writer.write([CONTENT[:10_000]])
        with store.stage(UPLOAD, 5_000) as writer:
            writer.write([b"late"])
            proof = prove_if_allowed(store, UPLOAD)
            assert proof in (None, proof_of(CONTENT[:10_000]))
        assert store.prove(UPLOAD) == (proof or proof_of(CONTENT[:5_000] + b"late" + CONTENT[5_004:10_000]))
        store.commit(UPLOAD, KEY)
        assert proof_of(content_of(store)) == (proof or proof_of(CONTENT[:5_000] + b"late" + CONTENT[5_004:10_000]))
        assert [held.kind for held in store.scan()] == ["blob"]

    def test_a_blob_is_never_replaced(self, store: BlobStore) -> None:
        put(store, CONTENT)
        with store.stage(UPLOAD, 0) as writer:
            writer.write([b"other bytes, that nobody has proven"])
        store.commit(UPLOAD, KEY)
        assert content_of(store) == CONTENT
