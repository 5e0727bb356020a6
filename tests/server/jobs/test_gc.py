"""Clean-up: what nothing needs goes after its grace, and nothing else; a dry run says the same."""

import os
import time
from pathlib import Path
from uuid import uuid4

import pytest

from steelyard.server.core import blobs
from steelyard.server.core.arrivals import proofs
from steelyard.server.db.tables import utc_now
from steelyard.server.jobs import gc
from steelyard.server.jobs.gc import ORPHAN_SECONDS
from steelyard.server.names import Oid
from tests.house.people import oid_of
from tests.server.jobs.conftest import DAY, PART_BYTES, Yard, upload_id_of

AT_ONCE = -2  # seconds of grace: a store may tell times to the second only


def test_what_a_version_needs_stays(yard: Yard) -> None:
    yard.ada.publish("ada/tiny:1.0.0", {"model.bin": b"needed"})
    assert yard.collect().blobs == ()
    assert yard.ada.get("/org/ada/models/tiny/1.0.0/files/model.bin").content == b"needed"


def test_what_was_uploaded_and_never_published_goes_after_its_grace(yard: Yard) -> None:
    yard.ada.upload("ada/tiny", b"unneeded")
    assert yard.collect(grace_seconds=DAY).blobs == ()
    assert yard.collect().blobs == ((oid_of(b"unneeded"), 8),)
    assert yard.keys_of(b"unneeded") == []
    assert "actions" in yard.ada.offer("ada/tiny", b"unneeded").json()["objects"][0]


def test_to_be_told_that_bytes_are_held_begins_their_grace_anew(yard: Yard) -> None:
    yard.ada.upload("ada/tiny", b"asked for again")
    yard.age(days=2)
    assert "actions" not in yard.ada.offer("ada/tiny", b"asked for again").json()["objects"][0]
    assert yard.collect(grace_seconds=DAY).blobs == ()


def test_the_grace_of_a_deleted_versions_bytes_begins_when_it_is_deleted(yard: Yard) -> None:
    yard.ada.publish("ada/tiny:1.0.0", {"model.bin": b"of a version"})
    yard.ada.publish("ada/whole:1.0.0", {"model.bin": b"of a whole model"})
    yard.age(days=2)
    assert yard.ada.delete("/org/ada/models/tiny/1.0.0").status_code == 204
    assert yard.ada.delete("/org/ada/models/whole").status_code == 204
    assert yard.collect(grace_seconds=DAY).blobs == ()
    yard.age(days=2)
    assert len(yard.collect(grace_seconds=DAY).blobs) == 2


def test_a_server_that_ends_does_not_wait_for_a_clean_up(yard: Yard) -> None:
    yard.ada.upload("ada/tiny", b"unneeded")
    with pytest.raises(gc.Stopped):
        gc.collect(yard.database, yard.store, grace_seconds=0, upload_ttl_seconds=DAY, is_stopping=lambda: True)
    assert yard.keys_of(b"unneeded") != []
    assert yard.collect().blobs == ((oid_of(b"unneeded"), 8),)


def test_what_another_organisation_needs_stays_for_it_alone(yard: Yard) -> None:
    yard.ada.publish("ada/tiny:1.0.0", {"model.bin": b"shared"})
    bob = yard.registered.user("bob")
    bob.upload("bob/tiny", b"shared")
    assert yard.collect().blobs == ()
    assert "actions" in bob.offer("bob/tiny", b"shared").json()["objects"][0]
    assert yard.ada.get("/org/ada/models/tiny/1.0.0/files/model.bin").content == b"shared"


def test_what_is_needed_again_between_the_look_and_the_letting_go_stays(yard: Yard) -> None:
    _, published = yard.ada.upload("ada/tiny", b"asked for", b"published")
    until = utc_now()
    with yard.database.read() as session:
        unneeded = blobs.list_unneeded(session, until)
    assert len(unneeded) == 2
    assert "actions" not in yard.ada.offer("ada/tiny", b"asked for").json()["objects"][0]
    body = {"version": "1.0.0", "artifacts": {"model.bin": published}}
    assert yard.ada.post("/org/ada/models/tiny/versions", body).status_code == 201
    with yard.database.write() as session:
        assert blobs.let_go(session, unneeded, until) == []
    assert "actions" not in yard.ada.offer("ada/tiny", b"asked for").json()["objects"][0]


@pytest.mark.only("disk")
def test_files_without_a_row_go_when_they_are_old_and_foreign_ones_stay(yard: Yard) -> None:
    folder = yard.data / "store/blobs/sha256/ab/cd"
    folder.mkdir(parents=True)
    old, young = folder / f"abcd{'0' * 60}.00000000", folder / f"abcd{'0' * 60}.00000001"
    staged, foreign = yard.data / "store/staged" / uuid4().hex, folder / "NOTES.txt"
    for file in (old, young, staged, foreign):
        file.write_bytes(b"left")
    for file in (old, staged, foreign):
        _make_old(file)
    found = yard.collect()
    assert {(name.kind, name.name) for name in found.orphans} == {("blob", old.name), ("stage", staged.name)}
    assert found.freed_bytes == 8
    assert [file.exists() for file in (old, staged, young, foreign)] == [False, False, True, True]


def test_a_server_that_stood_still_between_bytes_and_row_loses_the_upload_and_links_no_garbage(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By then a collector may have decided that the bytes are nobody's."""
    monkeypatch.setattr(proofs, "LINK_WITHIN_SECONDS", -1)
    action = yard.ada.offer("ada/tiny", b"late").json()["objects"][0]["actions"]["upload"]
    answer = yard.ada.client.put(action["href"], content=b"late")
    assert (answer.status_code, answer.json()["type"]) == (409, "conflict_error")
    with yard.database.read() as session:
        assert blobs.list_blobs(session) == []
    monkeypatch.undo()
    assert yard.ada.publish("ada/tiny:1.0.0", {"model.bin": b"late"}).status_code == 201
    monkeypatch.setattr(gc, "ORPHAN_SECONDS", AT_ONCE)
    assert [name.size_bytes for name in yard.collect(grace_seconds=AT_ONCE).orphans] == [4]
    assert yard.ada.get("/org/ada/models/tiny/1.0.0/files/model.bin").content == b"late"


def test_bytes_that_get_their_row_after_the_look_are_no_orphans(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "ORPHAN_SECONDS", AT_ONCE)
    with yard.store.stage("0" * 32, 0) as writer:
        writer.write([b"linked now"])
    yard.store.commit("0" * 32, blobs.new_key(Oid(oid_of(b"linked now"))))
    [orphan] = gc.find_orphans(yard.database, yard.store, AT_ONCE).names
    with yard.database.write() as session:
        blobs.link(session, 1, oid_of(b"linked now"), 10, orphan.name)
    assert gc.remove_orphans(yard.database, yard.store, [orphan]) == []
    assert yard.keys_of(b"linked now") != []


@pytest.mark.parametrize(("known", "taken"), [(0, 0), (6, 6)], ids=["most", "the lesser part"])
def test_what_a_database_does_not_know_is_left_alone_where_it_is_most_of_the_store(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, known: int, taken: int
) -> None:
    """As it is with another registry's store, or with a database that was restored from long ago."""
    monkeypatch.setattr(gc, "ORPHAN_SECONDS", AT_ONCE)
    monkeypatch.setattr(gc, "_FEW", 5)
    yard.ada.publish("ada/tiny:1.0.0", {f"file{n}": f"known {n}".encode() for n in range(known)} | {"a": b"a"})
    for number in range(6):
        with yard.store.stage("0" * 32, 0) as writer:
            writer.write([b"somebody's"])
        yard.store.commit("0" * 32, blobs.new_key(Oid(oid_of(f"somebody's {number}".encode()))))
    said = yard.preview(grace_seconds=AT_ONCE)
    assert (len(said.orphans), said.strangers) == (taken, 6 - taken)
    assert len(yard.collect(grace_seconds=AT_ONCE).orphans) == taken
    told = gc.collect(yard.database, yard.store, grace_seconds=AT_ONCE, upload_ttl_seconds=DAY, even_most=True)
    assert len(told.orphans) == 6 - taken


def test_an_upload_that_nobody_goes_on_with_expires_with_its_bytes(yard: Yard) -> None:
    content = bytes(2 * PART_BYTES)
    href, links = yard.begin(content)
    assert yard.ada.client.put(links["1"], content=content[:PART_BYTES]).status_code == 200
    assert yard.collect(upload_ttl_seconds=DAY).uploads == ()
    assert [upload.id for upload in yard.collect(upload_ttl_seconds=0).uploads] == [upload_id_of(href)]
    assert [found.name for found in yard.store.scan() if found.kind == "stage"] == []
    assert yard.ada.client.put(links["2"], content=content[PART_BYTES:]).status_code == 404
    assert yard.ada.publish("ada/tiny:1.0.0", {"model.bin": content}).status_code == 201


def test_an_upload_that_is_being_proven_does_not_expire(yard: Yard) -> None:
    content = bytes(2 * PART_BYTES)
    href = yard.send_parts(content)
    with yard.database.write() as session:
        proofs.start_proving(session, upload_id_of(href))
    assert yard.collect(upload_ttl_seconds=0).uploads == ()
    assert yard.ada.client.post(href).status_code == 200


@pytest.mark.only("disk")
def test_a_dry_run_says_what_the_run_then_does(yard: Yard) -> None:
    yard.ada.publish("ada/tiny:1.0.0", {"kept": b"kept", "gone": b"gone"})
    yard.ada.delete("/org/ada/models/tiny/1.0.0")
    yard.ada.publish("ada/tiny:2.0.0", {"kept": b"kept"})
    yard.ada.upload("ada/tiny", b"never published")
    yard.begin(bytes(2 * PART_BYTES))
    orphan = yard.data / "store/staged" / uuid4().hex
    orphan.write_bytes(b"orphan")
    _make_old(orphan)
    _collect_rows_only(yard, b"collected by one that was killed")
    said = yard.preview(upload_ttl_seconds=0)
    assert (len(said.blobs), len(said.orphans), len(said.uploads), said.leftovers) == (2, 1, 1, 1)
    assert yard.preview(upload_ttl_seconds=0) == said
    done = yard.collect(upload_ttl_seconds=0)
    assert (set(done.blobs), done.orphans, done.uploads) == (set(said.blobs), said.orphans, said.uploads)
    assert done.leftovers == said.leftovers
    assert yard.collect(upload_ttl_seconds=0).freed_bytes == 0


def test_what_a_killed_collector_left_the_next_one_ends(yard: Yard) -> None:
    _collect_rows_only(yard, b"half collected")
    assert yard.keys_of(b"half collected")
    yard.collect()
    assert yard.keys_of(b"half collected") == []


def test_bytes_that_come_again_while_their_old_file_goes_have_a_file_of_their_own(yard: Yard) -> None:
    _collect_rows_only(yard, b"came again")
    yard.ada.publish("ada/tiny:1.0.0", {"model.bin": b"came again"})
    assert len(yard.keys_of(b"came again")) == 2
    yard.collect()
    assert len(yard.keys_of(b"came again")) == 1
    assert yard.ada.get("/org/ada/models/tiny/1.0.0/files/model.bin").content == b"came again"


def _collect_rows_only(yard: Yard, content: bytes) -> None:
    """Upload, and collect as far as a collector comes that is killed before the files."""
    yard.age(days=-300 * 366)  # what else there is stays
    yard.ada.upload("ada/tiny", content)
    assert yard.let_go() == [(oid_of(content), len(content))]
    yard.age(days=300 * 366)


def _make_old(file: Path) -> None:
    then = time.time() - ORPHAN_SECONDS - 60
    os.utime(file, (then, then))
