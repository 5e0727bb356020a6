"""The store in a bucket keeps the contract, and what it is made of there is what several servers agree on."""

import hashlib
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from steelyard.server.errors import Conflict, NotFound, StorageFailed
from steelyard.server.storage import LEAST_PART_BYTES, BlobStore
from steelyard.server.storage.s3 import S3Store, writing
from steelyard.server.storage.s3.bucket import Bucket, StoredObject
from steelyard.server.storage.s3.copying import make_object, plan_parts
from steelyard.server.storage.s3.refusals import Unmet
from steelyard.server.storage.s3.staging import Manifest
from tests.server.storage.conftest import SMALL_COPIES, Behind, OpenStore
from tests.server.storage.contract import (
    CONTENT,
    KEY,
    UPLOAD,
    BlobStoreContract,
    content_of,
    new_upload_id,
    opened,
    proof_of,
    put,
)

MIB = 2**20
LARGE = CONTENT * 8  # 24 MB: three buffers of a writer


class TestS3Store(BlobStoreContract):
    @pytest.fixture
    def store(self, open_s3: OpenStore) -> BlobStore:
        return open_s3()


@pytest.fixture
def store(open_s3: OpenStore) -> S3Store:
    return open_s3()


def stage(store: BlobStore, content: bytes, offset_bytes: int = 0, upload_id: str = UPLOAD) -> None:
    with store.stage(upload_id, offset_bytes) as writer:
        writer.write([content])


# Where things are


def test_blobs_and_staged_uploads_are_objects_of_the_documented_layout(store: S3Store, behind: Behind) -> None:
    stage(store, b"half", 0x1234)
    put(store, CONTENT)
    blob, run = behind.names()
    assert blob == f"blobs/sha256/ab/ab/{KEY}"
    assert run.startswith(f"staged/{UPLOAD}/0000000000001234.")
    store.prove(UPLOAD)
    assert f"staged/{UPLOAD}/sealed" in behind.names()


def test_a_prefix_is_a_registry_of_its_own(store: S3Store, open_s3: OpenStore, behind: Behind) -> None:
    put(store, CONTENT)
    stage(store, b"half")
    behind.client.put_object(Bucket=behind.bucket, Key=f"{behind.prefix}-other/blobs/sha256/ab/ab/{KEY}", Body=b"x")
    behind.client.put_object(Bucket=behind.bucket, Key=f"{behind.prefix}/blobs/sha256/README", Body=b"not ours")
    behind.client.put_object(Bucket=behind.bucket, Key=f"{behind.prefix}/staged/notes.txt", Body=b"not ours")
    assert {(held.kind, held.name, held.size_bytes) for held in store.scan()} == {
        ("blob", KEY, len(CONTENT)),
        ("stage", UPLOAD, 4),
    }


def test_a_store_opened_again_goes_on_where_the_other_stopped(open_s3: OpenStore) -> None:
    put(open_s3(), CONTENT)
    stage(open_s3(), b"first ")
    stage(open_s3(), b"second", 6)
    again = open_s3()
    assert again.prove(UPLOAD) == proof_of(b"first second")
    assert content_of(again) == CONTENT


def test_more_objects_are_listed_than_one_answer_has(store: S3Store, behind: Behind) -> None:
    names = [f"{number:064x}.00000000" for number in range(1005)]

    def make(name: str) -> None:
        key = f"{behind.prefix}/blobs/sha256/{name[:2]}/{name[2:4]}/{name}"
        behind.client.put_object(Bucket=behind.bucket, Key=key, Body=b"x")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(make, names))
    assert [held.name for held in store.scan()] == names


def test_parts_and_unfinished_uploads_are_listed_page_by_page(store: S3Store, behind: Behind) -> None:
    bucket, prefix = store._bucket, f"{behind.prefix}/"
    begun = {bucket.begin(f"{prefix}{number // 2}") for number in range(5)}
    assert {upload.handle for upload in bucket.list_unfinished(prefix, most=2)} == begun
    first = next(bucket.list_unfinished(f"{prefix}0"))
    sent = {number: bucket.send_part(first.key, first.handle, number, bytes(number)) for number in range(1, 6)}
    found = bucket.list_parts(first.key, first.handle, most=2)
    assert [(number, part.etag) for number, part in found.items()] == [(n, part.etag) for n, part in sent.items()]


# What is written


def test_a_small_run_is_one_object_and_a_large_one_is_sent_in_parts(store: S3Store, behind: Behind) -> None:
    with store.stage(UPLOAD, 0) as writer:
        writer.write([LARGE[: 8 * MIB - 1]])
        assert (behind.names(), behind.unfinished()) == ([], [])
        writer.write([LARGE[8 * MIB - 1 :]])
        assert len(behind.unfinished()) == 1
    assert (len(behind.names()), behind.unfinished()) == (1, [])
    assert store.prove(UPLOAD) == proof_of(LARGE)


def test_a_run_that_is_too_long_for_one_object_goes_on_in_the_next(
    store: S3Store, behind: Behind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_MOST_PARTS", 2)
    stage(store, LARGE, 100)
    assert sorted(int(name.split("/")[2][:16], 16) for name in behind.names()) == [100, 100 + 16 * MIB]
    store.commit(UPLOAD, KEY)
    assert content_of(store) == bytes(100) + LARGE


def test_a_writer_that_was_broken_off_leaves_nothing(store: S3Store, behind: Behind) -> None:
    with pytest.raises(ConnectionError), store.stage(UPLOAD, 0) as writer:
        writer.write([LARGE])
        raise ConnectionError
    assert (behind.names(), behind.unfinished()) == ([], [])


def test_what_a_dying_server_left_is_listed_and_can_be_discarded(store: S3Store, behind: Behind) -> None:
    writer = store.stage(UPLOAD, 0)
    writer.write([LARGE])
    assert [(held.kind, held.name) for held in store.scan()] == [("stage", UPLOAD)]
    store.discard(UPLOAD)
    assert (list(store.scan()), behind.unfinished()) == ([], [])
    with pytest.raises(StorageFailed):
        writer.close()


# Sealing


def test_a_writer_opened_before_the_proof_and_closed_after_it_changes_nothing(open_s3: OpenStore) -> None:
    one, other = open_s3(), open_s3()
    stage(one, b"as it was")
    with other.stage(UPLOAD, 0) as late:
        late.write([b"or as it became"])
        assert one.prove(UPLOAD) == proof_of(b"as it was")
    assert one.prove(UPLOAD) == other.prove(UPLOAD) == proof_of(b"as it was")
    other.commit(UPLOAD, KEY)
    assert content_of(one) == b"as it was"


def test_a_run_that_comes_after_the_commit_is_left_for_clean_up(store: S3Store) -> None:
    stage(store, b"as it was")
    with store.stage(UPLOAD, 0) as late:
        late.write([b"too late"])
        store.prove(UPLOAD)
        store.commit(UPLOAD, KEY)
    assert {(held.kind, held.name) for held in store.scan()} == {("blob", KEY), ("stage", UPLOAD)}
    store.discard(UPLOAD)
    assert [held.kind for held in store.scan()] == ["blob"]
    assert content_of(store) == b"as it was"


def test_an_upload_is_the_same_for_all_that_prove_it_at_once(open_s3: OpenStore) -> None:
    stores = [open_s3() for _ in range(6)]
    stage(stores[0], LARGE)
    late = [store.stage(UPLOAD, 1000) for store in stores]

    def write_and_prove(number: int) -> object:
        late[number].write([bytes([number])])
        late[number].close()
        return stores[number].prove(UPLOAD)

    with ThreadPoolExecutor(6) as threads:
        proofs = set(threads.map(write_and_prove, range(6)))
    assert len(proofs) == 1
    stores[3].commit(UPLOAD, KEY)
    assert proof_of(content_of(stores[0])) in proofs


def test_nobody_writes_on_another_server_to_what_is_being_proven(open_s3: OpenStore) -> None:
    stage(open_s3(), CONTENT)
    open_s3().prove(UPLOAD)
    with pytest.raises(Conflict):
        open_s3().stage(UPLOAD, 0)


def test_runs_that_were_taken_away_after_the_sealing_begin_the_upload_anew(store: S3Store, behind: Behind) -> None:
    stage(store, CONTENT)
    store.prove(UPLOAD)
    run = next(name for name in behind.names() if not name.endswith("sealed"))
    behind.client.delete_object(Bucket=behind.bucket, Key=f"{behind.prefix}/{run}")
    with pytest.raises(NotFound, match="Begin it again"):
        store.prove(UPLOAD)
    stage(store, b"anew")
    assert store.prove(UPLOAD) == proof_of(b"anew")


def test_a_store_that_does_not_honour_conditions_proves_nothing(open_s3: OpenStore) -> None:
    store = open_s3()
    write = store._bucket.put
    store._bucket.put = lambda key, body, **_: write(key, body)  # type: ignore[method-assign]
    stage(store, CONTENT)
    with pytest.raises(StorageFailed, match="If-None-Match"):
        store.prove(UPLOAD)


# Committing


@pytest.mark.parametrize("limits", [None, SMALL_COPIES])
def test_several_servers_that_commit_at_once_make_one_blob(open_s3: OpenStore, behind: Behind, limits: object) -> None:
    stores = [open_s3(limits=limits) for _ in range(4)]
    stage(stores[0], LARGE)
    for each in stores:
        each.prove(UPLOAD)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda each: each.commit(UPLOAD, KEY), stores))
    assert (behind.names(), behind.unfinished()) == ([f"blobs/sha256/ab/ab/{KEY}"], [])
    assert content_of(stores[0]) == LARGE
    stores[1].commit(UPLOAD, KEY)


@pytest.mark.parametrize("content", [b"", b"small", LARGE])
def test_a_name_that_is_taken_is_never_written(open_s3: OpenStore, content: bytes) -> None:
    store = open_s3(limits=SMALL_COPIES)
    put(store, b"there before")
    stage(store, content)
    manifest = store._staging.find(UPLOAD)
    assert manifest is not None
    with pytest.raises(Unmet):
        make_object(store._bucket, manifest, store._layout.blob(KEY), SMALL_COPIES)
    assert content_of(store) == b"there before"


def test_a_large_blob_is_copied_in_parts_inside_the_store(open_s3: OpenStore, behind: Behind) -> None:
    store = open_s3(limits=SMALL_COPIES)
    stage(store, LARGE)
    store.commit(UPLOAD, KEY)
    etag = behind.client.head_object(Bucket=behind.bucket, Key=f"{behind.prefix}/blobs/sha256/ab/ab/{KEY}")["ETag"]
    assert etag.strip('"').endswith("-2")
    assert content_of(store) == LARGE


def test_a_commit_that_was_cut_off_is_made_good_and_leaves_nothing(open_s3: OpenStore, behind: Behind) -> None:
    store, blob = open_s3(limits=SMALL_COPIES), f"{behind.prefix}/blobs/sha256/ab/ab/{KEY}"
    behind.client.create_multipart_upload(Bucket=behind.bucket, Key=blob)
    assert [(held.kind, held.name, held.size_bytes) for held in store.scan()] == [("blob", KEY, 0)]
    stage(store, LARGE)
    store.commit(UPLOAD, KEY)
    assert [(held.kind, held.size_bytes) for held in store.scan()] == [("blob", len(LARGE))]
    store.delete(KEY)
    assert (list(store.scan()), behind.unfinished()) == ([], [])


def test_parts_are_planned_so_that_the_store_takes_them() -> None:
    sizes = [1, 6 * MIB, 64 * 1024, 40 * MIB, 5 * MIB, 3, 2, 5 * MIB - 1, 12 * MIB, 7]
    edges = [sum(sizes[:count]) for count in range(len(sizes) + 1)]
    holes = 30 * MIB
    runs = [
        (at + (holes if at >= edges[5] else 0), StoredObject(str(number), size, "etag", 0.0))
        for number, (at, size) in enumerate(zip(edges, sizes, strict=False))
    ]
    manifest = Manifest.of(runs)
    plan = list(plan_parts(manifest, 10 * MIB))
    lengths = [sum(span.length for span in part) for part in plan]
    assert sum(lengths) == manifest.size_bytes == edges[-1] + holes
    assert min(lengths[:-1]) >= LEAST_PART_BYTES
    assert max(lengths) <= 10 * MIB
    sent = [length for part, length in zip(plan[:-1], lengths, strict=False) if len(part) > 1]
    assert set(sent) == {LEAST_PART_BYTES}
    flat = [span for part in plan for span in part]
    for before, after in pairwise(flat):
        is_same = before.source is not None and before.source == after.source
        assert not is_same or after.start == before.start + before.length


def test_pieces_of_every_size_become_one_blob(open_s3: OpenStore) -> None:
    store, content = open_s3(limits=SMALL_COPIES), LARGE
    edges = [0, 10, 11 * MIB, 11 * MIB + 5, 17 * MIB, 18 * MIB, 18 * MIB + 1, len(LARGE)]
    for start, end in pairwise(edges):
        stage(store, content[start:end], start)
    stage(store, content[3 * MIB : 9 * MIB], 3 * MIB)  # sent again, across others
    assert store.prove(UPLOAD) == proof_of(content)
    store.commit(UPLOAD, KEY)
    assert hashlib.sha256(content_of(store)).digest() == hashlib.sha256(content).digest()


# Reading


def test_a_blob_that_is_deleted_while_it_is_read_says_so(store: S3Store, open_s3: OpenStore) -> None:
    with opened(store, put(store, LARGE)) as blob:
        assert blob.read(0, 1000) == LARGE[:1000]
        open_s3().delete(KEY)
        with pytest.raises(StorageFailed, match="not there"):
            blob.read(20 * MIB, 1000)


def test_other_bytes_under_the_same_name_are_never_given_for_a_blob(store: S3Store, behind: Behind) -> None:
    with opened(store, put(store, CONTENT)) as blob:
        other = bytes(len(CONTENT))
        behind.client.put_object(Bucket=behind.bucket, Key=f"{behind.prefix}/blobs/sha256/ab/ab/{KEY}", Body=other)
        with pytest.raises(StorageFailed, match="changed"):
            blob.read(0, 10)


@pytest.mark.thorough
def test_memory_does_not_grow_with_what_is_written_proven_and_read(open_s3: OpenStore) -> None:
    store, size = open_s3(), 50 * len(LARGE)
    tracemalloc.start()
    try:
        with store.stage(UPLOAD, 0) as writer:
            for _ in range(50):
                writer.write([LARGE])
        assert store.prove(UPLOAD).size_bytes == size
        store.commit(UPLOAD, KEY)
        with opened(store) as blob:
            for at in range(0, size, MIB):
                blob.read(at, MIB)
        assert tracemalloc.get_traced_memory()[1] < 64 * MIB
    finally:
        tracemalloc.stop()


def test_one_upload_is_not_another(store: S3Store) -> None:
    other = new_upload_id()
    stage(store, b"mine")
    stage(store, b"yours", upload_id=other)
    assert (store.prove(UPLOAD), store.prove(other)) == (proof_of(b"mine"), proof_of(b"yours"))


def test_names_are_dated_by_this_machines_clock_also_when_the_stores_is_late(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, CONTENT)
    [found] = store.scan()
    assert abs(found.modified_at - time.time()) < 10
    hours_late = -2 * 3600.0
    monkeypatch.setattr(Bucket, "clock_ahead_seconds", lambda _: hours_late)
    [late] = store.scan()
    assert abs(late.modified_at - found.modified_at + hours_late) < 10
