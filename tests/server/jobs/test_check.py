"""The check finds what is missing, corrupt, of the wrong size, and what nothing refers to."""

import pytest

from steelyard.server.errors import RegistryError, StorageFailed, StorageTimeout
from steelyard.server.jobs.check import Checked, check
from tests.house.people import oid_of
from tests.server.jobs.conftest import Yard


def checked(yard: Yard) -> Checked:
    return check(yard.database, yard.store)


def told(found: Checked) -> list[tuple[str, str, int]]:
    """What each finding says, without the rows behind it."""
    return [(each.kind, each.name, each.size_bytes) for each in found.findings]


def test_a_sound_registry_has_no_findings(yard: Yard) -> None:
    yard.ada.publish("ada/tiny:1.0.0", {"a": b"aa", "b": b"bbb"})
    assert checked(yard) == Checked(blobs=2, bytes=5, findings=())
    assert checked(yard).is_sound


def test_missing_bytes_are_found(yard: Yard) -> None:
    yard.ada.publish("ada/tiny:1.0.0", {"a": b"aa", "b": b"bbb"})
    yard.store.delete(yard.keys_of(b"bbb")[0])
    assert told(checked(yard)) == [("missing", oid_of(b"bbb"), 3)]
    assert not checked(yard).is_sound


@pytest.mark.only("disk")
def test_one_changed_bit_is_found(yard: Yard) -> None:
    yard.ada.publish("ada/tiny:1.0.0", {"a": b"aa", "b": b"bbb"})
    yard.files_of(b"aa")[0].write_bytes(b"ac")
    assert told(checked(yard)) == [("corrupt", oid_of(b"aa"), 2)]
    assert not checked(yard).is_sound


@pytest.mark.only("disk")
def test_a_wrong_size_is_found(yard: Yard) -> None:
    yard.ada.publish("ada/tiny:1.0.0", {"a": b"aa"})
    yard.files_of(b"aa")[0].write_bytes(b"a")
    assert told(checked(yard)) == [("size", oid_of(b"aa"), 1)]


@pytest.mark.only("disk")
def test_a_file_that_nothing_refers_to_is_found_and_is_no_loss(yard: Yard) -> None:
    yard.ada.publish("ada/tiny:1.0.0", {"a": b"aa"})
    left = yard.files_of(b"aa")[0].with_suffix(".ffffffff")
    left.write_bytes(b"aa")
    assert told(checked(yard)) == [("unreferenced", left.name, 2)]
    assert checked(yard).is_sound


@pytest.mark.parametrize("fault", [StorageFailed, StorageTimeout])
def test_bytes_that_cannot_be_read_now_are_named_and_the_rest_is_looked_at(
    yard: Yard, fault: type[RegistryError]
) -> None:
    yard.ada.publish("ada/tiny:1.0.0", {"a": b"aa", "b": b"bbb", "c": b"cccc"})
    [broken] = yard.keys_of(b"bbb")
    opening = yard.store.open

    def refuse_one(key: str) -> object:
        if key == broken:
            raise fault("The store is not itself today.")
        return opening(key)

    class Failing:
        def __getattr__(self, name: str) -> object:
            return refuse_one if name == "open" else getattr(yard.store, name)

    found = check(yard.database, Failing())  # type: ignore[arg-type]
    assert (told(found), found.blobs, found.is_sound) == ([("unreadable", oid_of(b"bbb"), 3)], 3, False)


def test_what_is_deleted_during_the_check_is_no_loss(yard: Yard) -> None:
    """The clean-up comes between the look at the rows and the look at the files."""
    yard.ada.upload("ada/tiny", b"collected")
    opening = yard.store.open

    def collect_first(key: str) -> object:
        yard.let_go()
        yard.store.delete(key)
        return opening(key)

    class Racing:
        def __getattr__(self, name: str) -> object:
            return collect_first if name == "open" else getattr(yard.store, name)

    assert check(yard.database, Racing()).findings == ()  # type: ignore[arg-type]
