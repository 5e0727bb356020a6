"""The store on a disk keeps the contract, syncs in the right order, and says what a broken disk did."""

import errno
import os
import resource
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from steelyard.server.errors import Conflict, RegistryError, StorageFailed, StorageTimeout
from steelyard.server.storage import BlobStore
from steelyard.server.storage.local import LocalStore
from tests.server.storage.contract import CONTENT, KEY, UPLOAD, BlobStoreContract, content_of, opened, proof_of, put


class TestLocalStore(BlobStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> BlobStore:
        return LocalStore(tmp_path / "store")

    def test_an_open_blob_outlives_its_key(self, store: BlobStore) -> None:
        with opened(store, put(store, CONTENT)) as blob:
            store.delete(KEY)
            assert blob.read(0, blob.size_bytes) == CONTENT

    def test_nothing_is_proven_while_somebody_writes(self, store: BlobStore) -> None:
        with store.stage(UPLOAD, 0) as writer:
            writer.write([CONTENT])
            with pytest.raises(Conflict):
                store.prove(UPLOAD)
            with pytest.raises(Conflict):
                store.commit(UPLOAD, KEY)
        assert store.prove(UPLOAD) == proof_of(CONTENT)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> LocalStore:
    return LocalStore(root)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, where the tests may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tiny", place], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("nobody but root may mount a file system")
    yield place
    subprocess.run(["umount", place], check=True)


def stage(store: BlobStore, content: bytes, upload_id: str = UPLOAD) -> None:
    with store.stage(upload_id, 0) as writer:
        writer.write([content])


def assert_failed(failure: RegistryError, root: Path, *words: str) -> None:
    for word in words:
        assert word in failure.detail
    assert str(root) not in failure.detail
    assert "/" not in failure.detail
    assert "Errno" not in failure.detail


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# Where things are


def test_blobs_and_staged_uploads_are_files_of_the_documented_layout(store: LocalStore, root: Path) -> None:
    stage(store, b"half")
    put(store, CONTENT)
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert files == {f"staged/{UPLOAD}", f"blobs/sha256/ab/ab/{KEY}"}


def test_nobody_else_may_read_what_the_store_keeps(store: LocalStore, root: Path) -> None:
    old = os.umask(0)
    try:
        stage(store, b"half")
        put(store, CONTENT)
    finally:
        os.umask(old)
    modes = {stat.S_IFMT(path.stat().st_mode): path.stat().st_mode & 0o777 for path in (root, *root.rglob("*"))}
    assert modes == {stat.S_IFDIR: 0o700, stat.S_IFREG: 0o600}


def test_a_store_opened_again_goes_on_where_the_other_stopped(store: LocalStore, root: Path) -> None:
    put(store, CONTENT)
    stage(store, b"first ")
    again = LocalStore(root)
    with again.stage(UPLOAD, 6) as writer:
        writer.write([b"second"])
    assert again.prove(UPLOAD) == proof_of(b"first second")
    assert content_of(again) == CONTENT


def test_a_late_offset_takes_no_space_of_its_own(store: LocalStore, root: Path) -> None:
    with store.stage(UPLOAD, 2**40) as writer:
        writer.write([b"x"])
    status = (root / "staged" / UPLOAD).stat()
    assert status.st_size == 2**40 + 1
    assert status.st_blocks * 512 < 2**20


def test_a_scan_leaves_foreign_files_alone(store: LocalStore, root: Path) -> None:
    put(store, CONTENT)
    for foreign in ("staged/notes.txt", "blobs/sha256/README", "blobs/sha256/ab/ab/lost+found"):
        (root / foreign).write_text("not ours")
    assert [held.name for held in store.scan()] == [KEY]


def test_a_blob_is_dated_by_its_commit(store: LocalStore, root: Path) -> None:
    stage(store, CONTENT)
    os.utime(root / "staged" / UPLOAD, (1_000_000_000, 1_000_000_000))
    assert [held.modified_at for held in store.scan()] == [1_000_000_000]
    store.commit(UPLOAD, KEY)
    assert [held.modified_at for held in store.scan()] > [1_700_000_000]


def test_a_blob_that_nobody_closed_is_closed_when_it_is_forgotten(store: LocalStore) -> None:
    put(store, CONTENT)
    before = open_files()
    with pytest.warns(ResourceWarning):
        for _ in range(10):
            store.open(KEY)
    for _ in range(10):
        store.stage(UPLOAD, 0)
    assert open_files() == before


# What is made durable, and when


@pytest.fixture
def disk_calls(monkeypatch: pytest.MonkeyPatch, root: Path) -> list[str]:
    """Every sync and rename from here on, in order, with paths under the root."""
    calls: list[str] = []

    def name_of(what: int | str | Path) -> str:
        path = Path(f"/proc/self/fd/{what}").readlink() if isinstance(what, int) else Path(what)
        return str(path.relative_to(root))

    def recording(name: str) -> None:
        real: Callable[..., None] = getattr(os, name)

        def call(*args: int | str | Path) -> None:
            calls.append(" ".join([name, *map(name_of, args)]))
            real(*args)

        monkeypatch.setattr(os, name, call)

    for name in ("fsync", "fdatasync", "rename", "replace", "link"):
        recording(name)
    return calls


SEALED = f"rename staged/{UPLOAD} sealed/{UPLOAD}"
RENAMED = f"rename sealed/{UPLOAD} blobs/sha256/ab/ab/{KEY}"


def test_closing_a_writer_syncs_its_bytes_once(store: LocalStore, disk_calls: list[str]) -> None:
    with store.stage(UPLOAD, 0) as writer:
        writer.write([CONTENT])
        writer.write([CONTENT])
        assert disk_calls == []
    writer.close()
    assert disk_calls == [f"fdatasync staged/{UPLOAD}"]


def test_a_commit_syncs_new_directories_then_renames_then_syncs_the_name(
    store: LocalStore, disk_calls: list[str]
) -> None:
    stage(store, CONTENT)
    disk_calls.clear()
    store.commit(UPLOAD, KEY)
    assert disk_calls == [SEALED, "fsync blobs/sha256", "fsync blobs/sha256/ab", RENAMED, "fsync blobs/sha256/ab/ab"]


def test_a_commit_beside_another_blob_syncs_one_directory(store: LocalStore, disk_calls: list[str]) -> None:
    put(store, CONTENT, KEY[:4] + "0" * 60 + ".00000000")
    stage(store, CONTENT)
    disk_calls.clear()
    store.commit(UPLOAD, KEY)
    assert disk_calls == [SEALED, RENAMED, "fsync blobs/sha256/ab/ab"]


def test_a_directory_of_the_same_name_elsewhere_is_another_directory(store: LocalStore, disk_calls: list[str]) -> None:
    put(store, CONTENT, "cdab" + "0" * 60 + ".00000000")
    put(store, CONTENT, "ab00" + "0" * 60 + ".00000000")
    stage(store, CONTENT)
    disk_calls.clear()
    store.commit(UPLOAD, KEY)
    assert disk_calls == [SEALED, "fsync blobs/sha256/ab", RENAMED, "fsync blobs/sha256/ab/ab"]


def test_what_another_process_staged_is_synced_by_the_commit(
    store: LocalStore, root: Path, disk_calls: list[str]
) -> None:
    stage(store, CONTENT)
    again = LocalStore(root)
    disk_calls.clear()
    again.commit(UPLOAD, KEY)
    assert disk_calls[-3:] == [f"fdatasync sealed/{UPLOAD}", RENAMED, "fsync blobs/sha256/ab/ab"]


def test_a_commit_repeated_after_a_crash_syncs_the_name(store: LocalStore, root: Path, disk_calls: list[str]) -> None:
    put(store, CONTENT)
    again = LocalStore(root)
    disk_calls.clear()
    again.commit(UPLOAD, KEY)
    assert disk_calls == ["fsync blobs/sha256", "fsync blobs/sha256/ab", "fsync blobs/sha256/ab/ab"]


@pytest.mark.parametrize("order", ["the broken writer leaves last", "the broken writer leaves first"])
def test_what_a_broken_writer_left_is_synced_by_the_commit(
    store: LocalStore, disk_calls: list[str], order: str
) -> None:
    broken, sound = store.stage(UPLOAD, 0), store.stage(UPLOAD, 4)
    sound.write([b"5678"])
    broken.write([b"1234"])
    writers = [sound, broken] if order.endswith("last") else [broken, sound]
    for writer in writers:
        writer.__exit__(*((None, None, None) if writer is sound else (ConnectionError, None, None)))
    store.commit(UPLOAD, KEY)
    synced = [call for call in disk_calls if call.startswith("fdatasync")]
    assert len(synced) == (2 if order.endswith("last") else 1)
    assert disk_calls.index(RENAMED) > disk_calls.index(synced[-1])


def test_a_new_store_syncs_the_names_of_its_directories(root: Path, disk_calls: list[str]) -> None:
    LocalStore(root / "inner")
    assert disk_calls == ["fsync .", "fsync inner", "fsync inner", "fsync inner", "fsync inner/blobs"]
    disk_calls.clear()
    LocalStore(root / "inner")
    assert disk_calls == []


# Disks that fail


def test_a_full_disk_says_so(store: LocalStore, root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "staged" / UPLOAD).symlink_to("/dev/full")
    writer = store.stage(UPLOAD, 0)
    with pytest.raises(StorageFailed) as failed:
        writer.write([CONTENT])
    assert_failed(failed.value, root, "writing an upload", "the disk is full", "free space")
    assert (failed.value.status, failed.value.type) == (502, "storage_error")
    assert caplog.messages == [f"{failed.value.detail} The system said: ENOSPC"]


def test_an_upload_goes_on_when_a_full_disk_has_room_again(tiny_disk: Path) -> None:
    store = LocalStore(tiny_disk)
    (tiny_disk / "ballast").write_bytes(bytes(600_000))
    half = 300_000
    content = CONTENT[: 2 * half]
    with store.stage(UPLOAD, 0) as writer:
        writer.write([content[:half]])
    with pytest.raises(StorageFailed, match="disk is full"), store.stage(UPLOAD, half) as writer:
        writer.write([content[half:]])
    (tiny_disk / "ballast").unlink()
    with store.stage(UPLOAD, half) as writer:
        writer.write([content[half:]])
    assert store.prove(UPLOAD) == proof_of(content)


def test_free_space_is_that_of_the_disk(tiny_disk: Path) -> None:
    store = LocalStore(tiny_disk)
    before = store.free_bytes()
    stage(store, bytes(500_000))
    assert 2**19 < before <= 2**20
    assert 450_000 < before - store.free_bytes() < 550_000


def test_a_read_only_disk_says_so(tiny_disk: Path) -> None:
    store = LocalStore(tiny_disk)
    stage(store, b"x")
    subprocess.run(["mount", "-o", "remount,ro", tiny_disk], check=True)
    for refused in (
        store.free_bytes,
        lambda: store.stage(UPLOAD, 0),
        lambda: store.commit(UPLOAD, KEY),
        lambda: store.discard(UPLOAD),
    ):
        with pytest.raises(StorageFailed) as failed:
            refused()
        assert_failed(failed.value, tiny_disk, "the disk is read-only")


def test_a_file_larger_than_the_system_allows_says_so(store: LocalStore, root: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = store.stage(UPLOAD, 0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StorageFailed) as failed:
            writer.write([CONTENT])  # the first 100,000 bytes are taken: a short write, then the refusal
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_failed(failed.value, root, "grew past the largest")


def test_a_store_whose_disk_went_away_is_broken_and_not_empty(store: LocalStore, root: Path) -> None:
    put(store, CONTENT)
    root.rename(root.with_name("elsewhere"))
    for refused in (
        store.free_bytes,
        lambda: list(store.scan()),
        lambda: store.open(KEY),
        lambda: store.stage(UPLOAD, 0),
    ):
        with pytest.raises(StorageFailed) as failed:
            refused()
        assert_failed(failed.value, root, "is its disk mounted?")
    assert not root.exists()


def test_a_file_in_place_of_a_directory_is_a_broken_store(root: Path) -> None:
    root.mkdir()
    (root / "staged").write_text("not a directory")
    with pytest.raises(StorageFailed) as failed:
        LocalStore(root)
    assert_failed(failed.value, root, "opening the store")


def test_a_directory_in_place_of_a_blob_is_a_broken_store(store: LocalStore, root: Path) -> None:
    (root / "blobs/sha256/ab/ab" / KEY).mkdir(parents=True)
    with pytest.raises(StorageFailed) as failed:
        store.open(KEY)
    assert_failed(failed.value, root, "opening a blob")


@pytest.mark.parametrize("number", [errno.EIO, errno.EDQUOT, errno.EACCES, errno.EMFILE, errno.ESTALE, None])
def test_every_refusal_of_the_disk_is_worded(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    def refuse(*args: object) -> int:
        raise OSError(number, "internal", str(root)) if number else OSError("internal")

    writer = store.stage(UPLOAD, 0)
    monkeypatch.setattr(os, "pwritev", refuse)
    with pytest.raises(StorageFailed) as failed:
        writer.write([CONTENT])
    assert_failed(failed.value, root, "writing an upload")
    assert "internal" not in failed.value.detail


def test_a_disk_that_does_not_answer_in_time_is_told_apart(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def time_out(*args: object) -> int:
        raise OSError(errno.ETIMEDOUT, "timed out")

    writer = store.stage(UPLOAD, 0)
    monkeypatch.setattr(os, "pwritev", time_out)
    with pytest.raises(StorageTimeout, match="in time"):
        writer.write([CONTENT])


def test_a_sync_that_fails_is_not_taken_for_durable(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int) -> None:
        raise OSError(errno.EIO, "i/o error")

    writer = store.stage(UPLOAD, 0)
    writer.write([CONTENT])
    monkeypatch.setattr(os, "fdatasync", refuse)
    with pytest.raises(StorageFailed, match="input-output error"):
        writer.close()
    with pytest.raises(StorageFailed):
        store.commit(UPLOAD, KEY)
    assert store.open(KEY) is None


def test_short_writes_are_gone_on_with(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwritev

    def write_a_little(fd: int, buffers: list[memoryview], offset: int) -> int:
        return real(fd, [buffers[0][:1000]], offset)

    monkeypatch.setattr(os, "pwritev", write_a_little)
    with store.stage(UPLOAD, 0) as writer:
        writer.write([CONTENT[:1500], CONTENT[1500:1501], b"", CONTENT[1501:20_000]])
    assert store.prove(UPLOAD) == proof_of(CONTENT[:20_000])


def test_a_write_that_makes_no_way_is_a_failure(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwritev", lambda *args: 0)
    with pytest.raises(StorageFailed):
        store.stage(UPLOAD, 0).write([CONTENT])


def test_a_blob_cut_short_while_open_reads_short(store: LocalStore, root: Path) -> None:
    put(store, CONTENT)
    with opened(store) as blob:
        os.truncate(root / "blobs/sha256/ab/ab" / KEY, 1000)
        assert blob.read(0, 5000) == CONTENT[:1000]
        assert blob.read_now(0, 5000) is None


def test_bytes_in_memory_are_read_without_waiting(store: LocalStore) -> None:
    put(store, CONTENT)
    with opened(store) as blob:
        if blob.read_now(0, 1) is None:
            pytest.skip("this system cannot say what is in memory")
        assert blob.read_now(100, 65_536) == CONTENT[100 : 100 + 65_536]
        assert blob.read_now(len(CONTENT) - 5, 65_536) == CONTENT[-5:]
        assert blob.read_now(len(CONTENT) + 5, 65_536) == b""


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EOPNOTSUPP])
def test_bytes_that_are_not_in_memory_are_not_waited_for(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*args: object) -> int:
        raise OSError(number, "not now")

    put(store, CONTENT)
    monkeypatch.setattr(os, "preadv", refuse)
    with opened(store) as blob:
        assert blob.read_now(0, 100) is None
        assert blob.read(0, 100) == CONTENT[:100]
