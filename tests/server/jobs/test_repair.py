"""Real registries broken in every way, on every store: repaired, pushed to again, and sound."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select, update

from steelyard.server.core import blobs
from steelyard.server.db.tables import Blob, Garbage, OrgBlob, TreeBlob
from steelyard.server.jobs import gc
from steelyard.server.jobs.check import Checked, check
from steelyard.server.jobs.repair import Repaired, repair
from steelyard.server.names import Oid
from tests.house.people import oid_of
from tests.server.jobs.conftest import DAY, Yard

NEEDED, SHARED = b"needed", b"in two versions"


@pytest.fixture
def broken(yard: Yard) -> Yard:
    """A registry with three versions, that a test breaks."""
    yard.ada.publish("ada/tiny:1.0.0", {"model.bin": NEEDED, "shared": SHARED})
    yard.ada.publish("ada/tiny:1.1.0", {"shared": SHARED})
    yard.ada.publish("ada/whole:1.0.0", {"model.bin": b"never broken"})
    return yard


def mend(yard: Yard, *, grace_seconds: int = DAY) -> tuple[Checked, Repaired]:
    found = check(yard.database, yard.store)
    return found, repair(yard.database, yard.store, found, grace_seconds=grace_seconds)


def key_of(yard: Yard, content: bytes) -> str:
    with yard.database.read() as session:
        return blobs.find_keys(session, [oid_of(content)])[oid_of(content)]


def put(yard: Yard, key: str, content: bytes) -> None:
    """Bytes under a name that the registry did not give them, as a failing disk or a person does."""
    yard.store.delete(key)
    with yard.store.stage("0" * 32, 0) as writer:
        writer.write([content])
    yard.store.prove("0" * 32)
    yard.store.commit("0" * 32, key)


def new_key(content: bytes) -> str:
    return blobs.new_key(Oid(oid_of(content)))


def assert_sound(yard: Yard) -> None:
    """All that versions promise can be read, and a second repair finds nothing to do."""
    assert yard.ada.get("/org/ada/models/tiny/1.0.0/files/model.bin").content == NEEDED
    for version in ("1.0.0", "1.1.0"):
        assert yard.ada.get(f"/org/ada/models/tiny/{version}/files/shared").content == SHARED
    assert yard.ada.get("/org/ada/models/whole/1.0.0/files/model.bin").content == b"never broken"
    assert mend(yard, grace_seconds=0)[1] == Repaired((), ())


def lose(yard: Yard) -> None:
    yard.store.delete(key_of(yard, SHARED))


def cut_off(yard: Yard) -> None:
    put(yard, key_of(yard, SHARED), SHARED[:-3])


def change(yard: Yard) -> None:
    put(yard, key_of(yard, SHARED), SHARED.upper())


@pytest.mark.parametrize(("fault", "kind"), [(lose, "missing"), (cut_off, "size"), (change, "corrupt")])
def test_lost_bytes_come_back_with_the_next_push(broken: Yard, fault: Callable[[Yard], None], kind: str) -> None:
    fault(broken)
    found, repaired = mend(broken)
    [loss] = found.findings
    assert (loss.kind, loss.name) == (kind, oid_of(SHARED))
    assert [(use.version, use.path) for use in loss.needed_by] == [
        ("ada/tiny:1.0.0", "shared"),
        ("ada/tiny:1.1.0", "shared"),
    ]
    assert repaired.left == (loss,)
    assert [step.what for step in repaired.steps] == ([] if kind == "missing" else ["set aside"])
    assert broken.store.open(key_of(broken, SHARED)) is None
    assert broken.ada.get("/org/ada/models/tiny/1.1.0/files/shared").status_code == 502
    assert broken.ada.publish("ada/tiny:1.2.0", {"shared": SHARED}).status_code == 201
    assert_sound(broken)


@pytest.mark.only("disk")
def test_wrong_bytes_lie_aside_for_a_person(broken: Yard) -> None:
    change(broken)
    key = key_of(broken, SHARED)
    mend(broken)
    assert (broken.data / "store/aside" / key).read_bytes() == SHARED.upper()
    broken.collect()
    assert (broken.data / "store/aside" / key).exists()


@pytest.mark.parametrize("fault", [lose, cut_off, change])
def test_lost_bytes_are_found_again_under_another_name(broken: Yard, fault: Callable[[Yard], None]) -> None:
    fault(broken)
    wrong, right = new_key(SHARED), new_key(SHARED)
    put(broken, wrong, SHARED.lower() + b"?")
    put(broken, right, SHARED)
    _, repaired = mend(broken)
    assert repaired.left == ()
    assert "found again" in [step.what for step in repaired.steps]
    assert key_of(broken, SHARED) == right
    broken.store.delete(wrong)
    assert_sound(broken)


def test_a_copy_that_is_garbage_by_now_is_not_taken(broken: Yard) -> None:
    lose(broken)
    copy = new_key(SHARED)
    put(broken, copy, SHARED)
    found = check(broken.database, broken.store)
    with broken.database.write() as session:
        session.add(Garbage(key=copy))
    repaired = repair(broken.database, broken.store, found, grace_seconds=DAY)
    assert [loss.kind for loss in repaired.left] == ["missing"]
    assert [(step.what, step.name) for step in repaired.steps] == [("deleted", copy)]


def test_bytes_that_were_sent_anew_meanwhile_are_left_alone(broken: Yard) -> None:
    change(broken)
    old = key_of(broken, SHARED)
    found = check(broken.database, broken.store)
    broken.store.delete(old)
    assert broken.ada.publish("ada/tiny:1.2.0", {"shared": SHARED}).status_code == 201
    assert key_of(broken, SHARED) != old
    assert repair(broken.database, broken.store, found, grace_seconds=DAY).steps == ()
    assert_sound(broken)


def test_rows_that_clean_up_would_miss_are_written_again(broken: Yard) -> None:
    with broken.database.write() as session:
        blob_id = session.scalar(select(Blob.id).where(Blob.oid == oid_of(SHARED)))
        session.execute(delete(TreeBlob).where(TreeBlob.blob_id == blob_id))
        session.execute(delete(OrgBlob).where(OrgBlob.blob_id == blob_id))
    found, repaired = mend(broken)
    assert [(loss.kind, len(loss.needed_by)) for loss in found.findings] == [("unrecorded", 1), ("unrecorded", 1)]
    assert [step.what for step in repaired.steps] == ["recorded", "recorded"]
    assert broken.collect().blobs == ()
    assert_sound(broken)


def test_a_row_that_is_gone_is_written_for_bytes_that_are_there(broken: Yard) -> None:
    with broken.database.write() as session:
        blob_id = session.scalar(select(Blob.id).where(Blob.oid == oid_of(NEEDED)))
        for table in (TreeBlob, OrgBlob):
            session.execute(delete(table).where(table.blob_id == blob_id))
        session.execute(delete(Blob).where(Blob.id == blob_id))
    assert broken.ada.get("/org/ada/models/tiny/1.0.0/files/model.bin").status_code == 502
    _, repaired = mend(broken)
    assert ([step.what for step in repaired.steps], repaired.left) == (["recorded"], ())
    assert broken.collect().blobs == ()
    assert_sound(broken)


def test_a_row_that_is_gone_with_its_bytes_is_written_after_the_next_push(broken: Yard) -> None:
    broken.store.delete(key_of(broken, NEEDED))
    with broken.database.write() as session:
        blob_id = session.scalar(select(Blob.id).where(Blob.oid == oid_of(NEEDED)))
        for table in (TreeBlob, OrgBlob):
            session.execute(delete(table).where(table.blob_id == blob_id))
        session.execute(delete(Blob).where(Blob.id == blob_id))
    assert [loss.kind for loss in mend(broken)[1].left] == ["unrecorded"]
    broken.ada.upload("ada/tiny", NEEDED)
    assert [step.what for step in mend(broken)[1].steps] == ["recorded"]
    assert broken.collect().blobs == ()
    assert_sound(broken)


def test_what_was_half_done_is_ended(broken: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector that was killed before the bytes, and a server that was killed before the row."""
    monkeypatch.setattr(gc, "ORPHAN_SECONDS", -2)  # a store may tell times to the second only
    broken.ada.upload("ada/tiny", b"collected by half")
    collected, unlinked = key_of(broken, b"collected by half"), new_key(b"never linked")
    broken.let_go()
    put(broken, unlinked, b"never linked")
    _, kept = mend(broken, grace_seconds=DAY)
    assert [(step.what, step.name) for step in kept.steps] == [("deleted", collected)]
    _, repaired = mend(broken, grace_seconds=-2)
    assert [(step.what, step.name) for step in repaired.steps] == [("deleted", unlinked)]
    assert_sound(broken)
    with broken.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Garbage)) == 0


def test_a_size_on_record_that_is_wrong_costs_no_bytes(broken: Yard) -> None:
    with broken.database.write() as session:
        session.execute(update(Blob).where(Blob.oid == oid_of(SHARED)).values(size_bytes=1))
    _, repaired = mend(broken)
    assert (repaired.steps, [loss.kind for loss in repaired.left]) == ((), ["size"])
    assert key_of(broken, SHARED) in {name.name for name in broken.store.scan()}


@pytest.mark.only("disk")
def test_what_cannot_be_read_for_now_is_told_and_left_alone(broken: Yard) -> None:
    file = broken.files_of(SHARED)[0]
    content = file.rename(file.with_suffix(".kept"))
    file.symlink_to(file)  # opening it fails, for root too
    _, repaired = mend(broken)
    assert (repaired.steps, [loss.kind for loss in repaired.left]) == ((), ["unreadable"])
    file.unlink()
    Path(content).rename(file)
    assert_sound(broken)
