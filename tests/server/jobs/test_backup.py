"""A backup is whole or has no name; it goes on where it was broken off, and says what it cannot copy."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from steelyard.server.db.engine import Database
from steelyard.server.errors import Conflict
from steelyard.server.jobs.backup import copy_registry
from steelyard.server.jobs.check import Finding, check
from steelyard.server.settings import DATABASE_NAME
from steelyard.server.storage.local import LocalStore
from tests.house.people import oid_of
from tests.server.jobs.conftest import PART_BYTES, Yard

pytestmark = pytest.mark.only("sqlite", "disk")


def test_a_backup_holds_all_that_is_published_and_nothing_that_is_on_its_way(yard: Yard, tmp_path: Path) -> None:
    yard.ada.publish("ada/tiny:1.0.0", {"a": b"aa", "b": b"bbb"})
    yard.begin(bytes(2 * PART_BYTES))
    done = copy_registry(yard.database, yard.store, tmp_path / "backup")
    assert (done.blobs, done.bytes, done.copied_bytes) == (2, 5, 5)
    assert sorted(path.name for path in (tmp_path / "backup").iterdir()) == [DATABASE_NAME, "store"]
    assert check_copy(tmp_path / "backup") == ()
    with closing(sqlite3.connect(tmp_path / "backup" / DATABASE_NAME)) as database:
        assert database.execute("SELECT count(*) FROM uploads").fetchone() == (0,)
        assert database.execute("SELECT version FROM versions").fetchall() == [("1.0.0",)]


@pytest.mark.parametrize("left", [None, b"bb", b"bbc"], ids=["gone", "shorter", "changed"])
def test_lost_bytes_are_named_and_keep_nothing_else_from_being_copied(
    yard: Yard, tmp_path: Path, left: bytes | None
) -> None:
    yard.ada.publish("ada/tiny:1.0.0", {"a": b"aa", "b": b"bbb"})
    file = yard.files_of(b"bbb")[0]
    file.unlink()
    if left is not None:
        file.write_bytes(left)
    done = copy_registry(yard.database, yard.store, tmp_path / "backup")
    assert (done.lost, done.copied_bytes) == ((oid_of(b"bbb"),), 2)
    assert [(found.kind, found.name) for found in check_copy(tmp_path / "backup")] == [("missing", oid_of(b"bbb"))]


def check_copy(folder: Path) -> tuple[Finding, ...]:
    copy = Database(f"sqlite:///{folder / DATABASE_NAME}")
    try:
        return check(copy, LocalStore(folder / "store")).findings
    finally:
        copy.close()


def test_a_backup_that_was_broken_off_copies_only_what_is_missing(yard: Yard, tmp_path: Path) -> None:
    yard.ada.publish("ada/tiny:1.0.0", {"a": b"aa", "b": b"bbb"})
    copy_registry(yard.database, yard.store, tmp_path / "backup")
    (tmp_path / "backup" / DATABASE_NAME).unlink()  # the last thing that a backup makes
    next((tmp_path / "backup/store").rglob(f"{oid_of(b'aa').removeprefix('sha256:')}.*")).unlink()
    assert copy_registry(yard.database, yard.store, tmp_path / "backup").copied_bytes == 2
    assert check_copy(tmp_path / "backup") == ()


def test_a_folder_that_holds_a_registry_is_refused(yard: Yard, tmp_path: Path) -> None:
    copy_registry(yard.database, yard.store, tmp_path / "backup")
    with pytest.raises(Conflict, match="holds a registry already"):
        copy_registry(yard.database, yard.store, tmp_path / "backup")


def test_the_log_of_a_database_that_is_gone_is_not_replayed_into_a_restored_one(yard: Yard, tmp_path: Path) -> None:
    (tmp_path / "lost").mkdir()
    (tmp_path / "lost" / f"{DATABASE_NAME}-wal").write_bytes(b"what SQLite would take for its own")
    with pytest.raises(Conflict, match="what is left of one"):
        copy_registry(yard.database, yard.store, tmp_path / "lost")


def test_what_a_killed_backup_left_does_not_get_into_the_next_one(yard: Yard, tmp_path: Path) -> None:
    yard.ada.publish("ada/tiny:1.0.0", {"a": b"aa"})
    (tmp_path / "backup").mkdir()
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / "backup" / f"{DATABASE_NAME}.partial{suffix}").write_bytes(b"half of something")
    assert copy_registry(yard.database, yard.store, tmp_path / "backup").blobs == 1


def test_a_folder_may_have_any_name(yard: Yard, tmp_path: Path) -> None:
    yard.ada.publish("ada/tiny:1.0.0", {"a": b"aa"})
    first, second = tmp_path / "50% of it #1", tmp_path / "again"
    copy_registry(yard.database, yard.store, first)
    database = Database(f"sqlite:///{first / DATABASE_NAME}")
    assert copy_registry(database, LocalStore(first / "store"), second).blobs == 1
    database.close()
