"""Files in chunks in everything that is done beside requests: clean-up, check and repair, backup and copy."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

import pytest
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from steelyard.server.core import blobs, jobs
from steelyard.server.core.xet import chunking, unneeded
from steelyard.server.core.xet import cutting as core_cutting
from steelyard.server.core.xet.chunks import find_dedup
from steelyard.server.core.xet.layouts import open_chunked
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Garbage, Job, Recipe, RecipeXorb, Xorb, utc_now
from steelyard.server.errors import Invalid, StorageFailed
from steelyard.server.jobs import cutting, gc
from steelyard.server.jobs.backup import copy_registry
from steelyard.server.jobs.check import check
from steelyard.server.jobs.copying import Place, copy_ahead, finish
from steelyard.server.jobs.gc import Collected
from steelyard.server.jobs.repair import repair
from steelyard.server.jobs.worker import Worker
from steelyard.server.settings import DATABASE_NAME
from steelyard.server.storage.local import LocalStore
from steelyard.server.xet.chunking import split
from steelyard.server.xet.hashes import chunk_hash
from steelyard.server.xet.xorbs import Chunk
from tests.conftest import MakeRegistered
from tests.house.chunked import Packed, Part, Sender, content_of, some_raws, told
from tests.house.people import oid_of
from tests.server.jobs.conftest import DAY, Yard

FIRST, SECOND = Packed(some_raws(1, 12)), Packed(some_raws(2, 7))
FILE = (Part(FIRST), Part(SECOND, 2, 6), Part(FIRST, 3, 5))
WHOLE = b"".join(some_raws(3, 90, 20_000))
MONTH = 31
PATH = "/org/ada/models/tiny/1.0.0/files/model"


@pytest.fixture
def sender(yard: Yard) -> Sender:
    return Sender(yard.registered, "ada")


@pytest.fixture
def published(yard: Yard, sender: Sender) -> str:
    """A version with a file in chunks; answers its OID."""
    return publish(yard, sender.make(*FILE))


def publish(yard: Yard, oid: str, version: str = "1.0.0") -> str:
    body = {"version": version, "artifacts": {"model": oid}}
    assert yard.ada.post("/org/ada/models/tiny/versions", body).status_code == 201
    return oid


def unpublish(yard: Yard) -> None:
    assert yard.ada.delete("/org/ada/models/tiny").status_code == 204


def clean(yard: Yard, *, xorb_grace_seconds: int = 22 * DAY) -> Collected:
    said, done = (
        run(
            yard.database,
            yard.store,
            grace_seconds=0,
            xorb_grace_seconds=xorb_grace_seconds,
            upload_ttl_seconds=DAY,
        )
        for run in (gc.preview, gc.collect)
    )
    assert (sorted(said.blobs), sorted(said.xorbs)) == (sorted(done.blobs), sorted(done.xorbs))
    with yard.database.read() as session:
        assert session.scalars(select(Garbage)).all() == []
    return done


def cut(yard: Yard) -> None:
    """Wait until all is cut that is to be: the registry's own worker is at it too."""
    run_due(yard)
    deadline = time.monotonic() + 20
    while _count_running(yard):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def run_due(yard: Yard, is_stopping: Callable[[], bool] = lambda: False) -> int:
    registry = yard.registry
    return cutting.run_due(registry.database, registry.store, registry.leases, is_stopping)


def _count_running(yard: Yard) -> int:
    with yard.database.read() as session:
        return sum(backlog.running for backlog in jobs.list_backlogs(session) if backlog.kind == jobs.CHUNK)


# --- clean-up


def test_chunks_that_a_file_needs_stay_however_old(yard: Yard, sender: Sender, published: str) -> None:
    sender.age(days=MONTH)
    assert clean(yard, xorb_grace_seconds=0) == Collected((), (), ())
    assert yard.ada.get(PATH).content == content_of(FILE)


def test_chunks_outlive_their_file_for_as_long_as_clients_build_on_them(
    yard: Yard, sender: Sender, published: str
) -> None:
    unpublish(yard)
    generation = sender.org.xet_generation
    assert clean(yard).blobs == ((published, 0),)
    assert sender.make(*FILE) == published
    clean(yard)
    sender.age(days=MONTH)
    done = clean(yard)
    assert dict(done.xorbs) == {FIRST.name: len(FIRST.body), SECOND.name: len(SECOND.body)}
    assert (sender.stored(), sender.xorbs()) == ({}, {})
    assert sender.org.xet_generation == generation


def test_what_goes_sooner_empties_the_caches_of_its_organisation(yard: Yard, sender: Sender) -> None:
    bob = Sender(yard.registered, yard.registered.user("bob").name)
    sender.send(FIRST), sender.send(SECOND), bob.send(SECOND)
    bob.age(days=MONTH)
    assert len(clean(yard, xorb_grace_seconds=0).xorbs) == 2
    assert (sender.org.xet_generation, bob.org.xet_generation) == (1, 0)


def test_a_xorb_that_another_organisation_needs_stays_for_it_alone(yard: Yard, sender: Sender) -> None:
    bob = Sender(yard.registered, yard.registered.user("bob").name)
    sender.send(FIRST), bob.send(FIRST)
    sender.age(days=MONTH)
    assert clean(yard).xorbs == ()
    with pytest.raises(Invalid):
        sender.say(told([Part(FIRST)]))
    bob.say(told([Part(FIRST)]))


def test_what_is_told_of_between_the_look_and_the_letting_go_stays(yard: Yard, sender: Sender) -> None:
    sender.send(FIRST)
    sender.age(days=MONTH)
    until = utc_now() - timedelta(days=22)
    with yard.database.read() as session:
        assert unneeded.list_unneeded(session, until) != []
        listed = unneeded.list_unneeded(session, until)
    sender.send(FIRST)
    with yard.database.write() as session:
        assert unneeded.let_go(session, listed, until) == ([], False)


def test_a_xorb_that_was_staged_and_never_ended_goes(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "ORPHAN_SECONDS", -2)
    with yard.store.stage("0" * 32, 0) as writer:
        writer.write([FIRST.body])
    found = yard.collect(grace_seconds=-2)
    assert [(name.kind, name.name) for name in found.orphans] == [("stage", "0" * 32)]


def test_a_xorb_of_a_server_that_died_before_its_row_goes_and_known_ones_stay(
    yard: Yard, sender: Sender, published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    third = Packed(some_raws(9, 3))
    sender.send(third)
    with yard.database.write() as session:
        session.execute(delete(Xorb).where(Xorb.hash == third.name))
    monkeypatch.setattr(gc, "ORPHAN_SECONDS", -2)
    assert [name.name[:64] for name in yard.collect(grace_seconds=-2).orphans] == [third.name]
    assert yard.ada.get(PATH).content == content_of(FILE)


# --- whole files, cut in the background


def test_a_whole_file_is_cut_where_it_lies(yard: Yard, sender: Sender) -> None:
    yard.ada.publish("ada/tiny:1.0.0", {"model": WHOLE, "small": b"small"})
    cut(yard)
    assert sum(sender.stored().values()) == len(WHOLE) + 5
    assert set(sender.xorbs().values()) == {None}
    with yard.database.read() as session:
        assert session.scalars(select(Job).where(Job.kind == "chunk")).all() == []
        assert len(session.scalars(select(Recipe)).all()) == 1


def test_a_later_version_is_built_on_a_whole_file(yard: Yard, sender: Sender) -> None:
    yard.ada.publish("ada/tiny:1.0.0", {"model": WHOLE})
    cut(yard)
    [(xorb_hash, chunks)] = dedup_of(sender, WHOLE)
    raws, start = [], 0
    for chunk in chunks:
        raws.append(WHOLE[start : start + chunk.raw_bytes])
        start += chunk.raw_bytes
    known = Packed(tuple(raws))
    assert known.hash == xorb_hash
    sender.send(FIRST)
    file = (Part(known, 0, 5), Part(FIRST), Part(known, 5))
    sender.say(told(file))
    publish(yard, oid_of(content_of(file)), "1.0.1")
    assert yard.ada.get(PATH.replace("1.0.0", "1.0.1")).content == content_of(file)
    assert sum(sender.stored().values()) == len(WHOLE) + len(FIRST.body)


def dedup_of(sender: Sender, content: bytes) -> list[tuple[bytes, list[Chunk]]]:
    """What who has these bytes is told to build on."""
    first = next(iter(split([content])))
    return find_dedup(sender.registry.database, sender.org.id, chunk_hash(first))


def test_a_whole_file_stays_while_a_file_is_built_on_it_and_goes_after(yard: Yard, sender: Sender) -> None:
    test_a_later_version_is_built_on_a_whole_file(yard, sender)
    assert yard.ada.delete("/org/ada/models/tiny/1.0.0").status_code == 204
    sender.age(days=MONTH)
    assert clean(yard).blobs == ()
    assert yard.ada.get(PATH.replace("1.0.0", "1.0.1")).status_code == 200
    unpublish(yard)
    assert len(clean(yard).blobs) == 2
    assert (sender.stored(), sender.xorbs()) == ({}, {})


def test_a_whole_file_of_whose_chunks_nobody_heard_goes_at_once(yard: Yard, sender: Sender) -> None:
    yard.ada.publish("ada/tiny:1.0.0", {"model": WHOLE})
    cut(yard)
    unpublish(yard)
    assert clean(yard).blobs == ((oid_of(WHOLE), len(WHOLE)),)
    assert sender.org.xet_generation == 0
    assert (sender.stored(), sender.xorbs()) == ({}, {})


def test_two_whole_files_that_begin_alike_do_not_need_each_other(yard: Yard, sender: Sender) -> None:
    longer = WHOLE * 3
    yard.ada.publish("ada/tiny:1.0.0", {"model": WHOLE, "longer": longer})
    cut(yard)
    yard.ada.publish("ada/other:1.0.0", {"longer": longer + b"more"})
    cut(yard)
    unpublish(yard)
    assert len(clean(yard).blobs) == 2
    assert sum(sender.stored().values()) == len(longer) + 4
    assert yard.ada.get("/org/ada/models/other/1.0.0/files/longer").content == longer + b"more"


def test_who_holds_a_file_later_may_build_on_it_too(yard: Yard) -> None:
    yard.ada.publish("ada/tiny:1.0.0", {"model": WHOLE})
    cut(yard)
    bob = yard.registered.user("bob")
    sender = Sender(yard.registered, "bob")
    assert dedup_of(sender, WHOLE) == []
    bob.publish("bob/tiny:1.0.0", {"model": WHOLE})
    cut(yard)
    assert dedup_of(sender, WHOLE) != []


def test_who_holds_a_part_of_a_xorb_is_not_told_of_the_rest(yard: Yard, sender: Sender) -> None:
    part = content_of([Part(FIRST, 0, 6)])
    sender.make(Part(FIRST, 0, 6))
    bob = yard.registered.user("bob")
    bob.publish("bob/tiny:1.0.0", {"model": part})
    cut(yard)
    assert find_dedup(yard.database, Sender(yard.registered, "bob").org.id, FIRST.chunks[0].hash) == []
    assert bob.get("/org/bob/models/tiny/1.0.0/files/model").content == part


@pytest.fixture
def _uncut(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a registry that is opened afterwards: a worker knows its chores from its beginning."""
    monkeypatch.setattr(Worker, "_cut", lambda _: None)


@pytest.fixture
def idle(_uncut: None, yard: Yard) -> Yard:
    """A registry whose worker cuts nothing, with two files that are to be cut."""
    yard.ada.publish("ada/tiny:1.0.0", {"model": WHOLE, "other": WHOLE + b"."})
    return yard


def test_a_server_that_ends_hands_the_work_back(idle: Yard) -> None:
    asked = count()
    assert run_due(idle, lambda: next(asked) > 0) == 0
    with idle.database.read() as session:
        assert [(job.leased_by, job.attempts) for job in chunk_jobs(session)] == [(None, 0)] * 2
    assert run_due(idle) == 2


def chunk_jobs(session: Session) -> Sequence[Job]:
    return session.scalars(select(Job).where(Job.kind == jobs.CHUNK)).all()


def test_a_file_that_cannot_be_read_is_tried_again_later_and_holds_up_no_other(
    idle: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, bad = idle.store.open, idle.keys_of(WHOLE)[0]
    monkeypatch.setattr(idle.store, "open", lambda key: fail() if key == bad else opening(key))
    assert run_due(idle) == 1
    with idle.database.read() as session:
        assert [job.failure for job in chunk_jobs(session)] == ["The disk failed."]
        assert len(session.scalars(select(Recipe)).all()) == 1


def fail() -> NoReturn:
    raise StorageFailed("The disk failed.")


def test_a_file_that_is_lost_is_cut_when_it_comes_again(idle: Yard) -> None:
    idle.store.delete(idle.keys_of(WHOLE)[0])
    run_due(idle)
    with idle.database.read() as session:
        assert len(session.scalars(select(Recipe)).all()) == 1
        assert chunk_jobs(session) == []
    idle.ada.upload("ada/tiny", WHOLE)
    run_due(idle)
    with idle.database.read() as session:
        assert len(session.scalars(select(Recipe)).all()) == 2


def test_what_came_while_no_chunks_were_wanted_is_cut_when_they_are(idle: Yard) -> None:
    cutting.forget_due(idle.database)
    assert run_due(idle) == 0
    with idle.database.write() as session:
        chunking.enqueue_left(session)
    assert run_due(idle) == 2


def test_two_servers_that_cut_at_once_share_no_xorb(idle: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each looks for xorbs that are taken before the other has kept its."""
    looking, both = core_cutting._runs, threading.Barrier(2)

    def together(*args: Any) -> Any:
        found = list(looking(*args))
        if both.n_waiting < 2 and not both.broken:
            with suppress(threading.BrokenBarrierError):
                both.wait(2)
        return found

    monkeypatch.setattr(core_cutting, "_runs", together)
    threads = [threading.Thread(target=run_due, args=(idle,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with idle.database.read() as session:
        blobs_of = [
            {row.xorb_id for row in session.scalars(select(RecipeXorb).where(RecipeXorb.recipe_id == number))}
            for number in session.scalars(select(Recipe.id))
        ]
    assert len(blobs_of) == 2
    assert not blobs_of[0] & blobs_of[1]


def test_where_chunks_are_not_wanted_the_worker_makes_none(make_registered: MakeRegistered, tmp_path: Path) -> None:
    registered = make_registered(data=tmp_path / "plain", xet=False)
    yard = Yard(registered, tmp_path / "plain", registered.user("ada"))
    yard.ada.publish("ada/tiny:1.0.0", {"model": WHOLE})
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with yard.database.read() as session:
            if not chunk_jobs(session):
                break
        time.sleep(0.1)
    assert run_due(yard) == 0
    assert Sender(registered, "ada").xorbs() == {}


# --- check and repair


def test_a_registry_with_files_in_chunks_is_sound(yard: Yard, sender: Sender, published: str) -> None:
    sender.send(Packed(some_raws(7, 3)))
    found = check(yard.database, yard.store)
    assert (found.blobs, found.bytes, found.findings) == (1, len(content_of(FILE)), ())


@pytest.mark.parametrize("needed", [True, False])
def test_a_missing_xorb_is_found_and_wanted_again(yard: Yard, sender: Sender, needed: bool) -> None:
    oid = publish(yard, sender.make(*FILE)) if needed else ""
    sender.send(FIRST)
    yard.store.delete(sender.xorbs()[FIRST.name] or "")
    found = check(yard.database, yard.store)
    expected = [("missing", oid)] if needed else []
    assert [(each.kind, each.name) for each in found.findings] == [*expected, ("missing", f"xorb:{FIRST.name}")]
    mended = repair(yard.database, yard.store, found, grace_seconds=0)
    assert [each.name for each in mended.left] == [name for _, name in expected]
    assert sender.org.xet_generation == 1
    if needed:
        sender.make(*FILE)
        assert check(yard.database, yard.store).is_sound


def test_a_changed_xorb_is_set_aside_and_comes_back(yard: Yard, sender: Sender, published: str) -> None:
    key = sender.xorbs()[FIRST.name] or ""
    yard.store.delete(key)
    with yard.store.stage("1" * 32, 0) as writer:
        writer.write([FIRST.body[:-1] + bytes([FIRST.body[-1] ^ 1])])
    yard.store.commit("1" * 32, key)
    found = check(yard.database, yard.store)
    assert ("corrupt", f"xorb:{FIRST.name}") in [(each.kind, each.name) for each in found.findings]
    repair(yard.database, yard.store, found, grace_seconds=0)
    assert key not in sender.stored()
    sender.make(*FILE)
    assert check(yard.database, yard.store).is_sound
    assert yard.ada.get(PATH).content == content_of(FILE)


# --- elsewhere


@pytest.mark.only("sqlite", "disk")
def test_a_backup_has_files_in_chunks_and_gives_them_back(
    yard: Yard, sender: Sender, published: str, tmp_path: Path, make_registered: MakeRegistered
) -> None:
    yard.ada.publish("ada/whole:1.0.0", {"model": WHOLE})
    cut(yard)
    copy_registry(yard.database, yard.store, tmp_path / "backup")
    source = Database(f"sqlite:///{tmp_path / 'backup' / DATABASE_NAME}")
    done = copy_registry(source, LocalStore(tmp_path / "backup/store"), tmp_path / "restored")
    source.close()
    assert (done.lost, done.blobs) == ((), 3)
    restored = make_registered(data=tmp_path / "restored")
    ada = type(yard.ada)(restored.client, "ada", yard.ada.token)
    assert ada.get(PATH).content == content_of(FILE)
    assert Sender(restored, "ada").xorbs() == sender.xorbs()


@pytest.mark.only("sqlite", "disk")
def test_a_lost_xorb_is_named_by_a_backup(yard: Yard, sender: Sender, published: str, tmp_path: Path) -> None:
    yard.store.delete(sender.xorbs()[SECOND.name] or "")
    assert copy_registry(yard.database, yard.store, tmp_path / "backup").lost == (f"xorb:{SECOND.name}",)


def test_a_copy_to_other_engines_has_files_in_chunks(
    yard: Yard, sender: Sender, published: str, tmp_path: Path
) -> None:
    there = Place(Database(f"sqlite:///{tmp_path / 'copy.sqlite3'}"), LocalStore(tmp_path / "copy"))
    source = Place(yard.database, yard.store)
    moved = finish(source, there, copy_ahead(source, there, lambda _: None), lambda _: None)
    assert (moved.bytes.lost, moved.rows["xorbs"], moved.rows["recipes"]) == ((), 2, 2)
    assert check(there.database, open_chunked(there.store, there.database)).findings == ()
    with open_chunked(there.store, there.database).open(key_of(there.database)) as blob:  # type: ignore[union-attr]
        assert blob.read(0, 10**7) == content_of(FILE)
    there.database.close()


def key_of(database: Database) -> str:
    with database.read() as session:
        return blobs.list_blobs(session)[0].key
