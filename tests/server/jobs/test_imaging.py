"""Twins off the request: joined, made once, begun again when a fault or a death broke them off, and waited for."""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from steelyard.server.core import jobs
from steelyard.server.core.access import Actor
from steelyard.server.core.jobs import new_holder
from steelyard.server.core.manifests import images
from steelyard.server.core.models import Found
from steelyard.server.db.tables import Job, Manifest, Model, Org, Version
from steelyard.server.doors.calls import Call
from steelyard.server.doors.oci import twins
from steelyard.server.errors import NotFound, StorageFailed, Unavailable
from steelyard.server.jobs import worker
from steelyard.server.jobs.imaging import Imager
from steelyard.server.jobs.leasing import Leases
from tests.conftest import MakeRegistered
from tests.server.jobs.conftest import PART_BYTES, Yard

CONTENT = bytes(3 * PART_BYTES)
SOON_SECONDS = 20


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry's own worker takes nothing of what these tests leave to be taken."""
    monkeypatch.setattr(worker, "_LOOK_SECONDS", 3600)


@pytest.fixture
def yard(idle: None, yard: Yard) -> Yard:
    """One whose worker is idle."""
    return yard


def imager_of(yard: Yard, lease_seconds: float = 60) -> Imager:
    """As another server has one."""
    leases = Leases(yard.database, new_holder(lease_seconds))
    return Imager(yard.database, yard.store, yard.registry.trees, leases)


def published(yard: Yard, number: str = "1.0.0", content: bytes = CONTENT) -> tuple[Found, Version]:
    made = yard.ada.publish(f"ada/tiny:{number}", {"model.bin": content})
    assert made.status_code == 201, made.text
    query = select(Model, Org, Version).join(Org, Org.id == Model.org_id).join(Version, Version.model_id == Model.id)
    with yard.database.read() as session:
        model, org, version = session.execute(query.where(Version.version == number)).one()
        return Found(model, org), version


def jobs_of(yard: Yard) -> list[tuple[str, str | None, bool]]:
    """`(subject, failure, whether it is leased)` of the twins that are to be made."""
    with yard.database.read() as session:
        rows = session.scalars(select(Job).where(Job.kind == jobs.IMAGE)).all()
        return [(job.subject, job.failure, job.leased_until is not None) for job in rows]


def until(holds: Callable[[], bool], words: str) -> None:
    deadline = time.monotonic() + SOON_SECONDS
    while not holds():
        assert time.monotonic() < deadline, words
        time.sleep(0.01)


class Gate:
    """Hashing stands still there until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        self.passed = 0
        hash_tar = images.hash_tar

        def stand_still(*args: Any) -> str:
            self.reached.set()
            assert self.opened.wait(SOON_SECONDS)
            self.passed += 1
            return hash_tar(*args)

        monkeypatch.setattr(images, "hash_tar", stand_still)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


def test_a_twin_is_made_when_it_is_asked_for(yard: Yard) -> None:
    found, version = published(yard)
    imager = imager_of(yard)
    assert imager.find(found, version) is None
    work = imager.start(found, version)
    assert work is not None
    assert work.result(SOON_SECONDS) is None
    manifest = imager.find(found, version)
    assert manifest is not None
    assert manifest.content.startswith(b'{"schemaVersion":2')
    assert jobs_of(yard) == []
    imager.close()


def test_who_asks_while_it_is_made_joins(yard: Yard, gate: Gate) -> None:
    found, version = published(yard)
    imager, other = imager_of(yard), imager_of(yard)
    first = imager.start(found, version)
    assert first is not None
    assert imager.start(found, version) is first
    assert other.start(found, version) is None, "it is another server's"
    assert other.run_due() == 0
    gate.opened.set()
    first.result(SOON_SECONDS)
    assert gate.passed == 1
    assert other.find(found, version) is not None
    for each in (imager, other):
        each.close()


def test_a_dead_servers_twin_is_made_by_another_one_when_its_lease_ran_out(yard: Yard) -> None:
    found, version = published(yard)
    with yard.database.write() as session:
        assert jobs.take(session, new_holder(0.3), jobs.IMAGE, version.uuid) is not None
    imager = imager_of(yard)
    assert imager.run_due() == 0
    time.sleep(0.4)
    assert imager.run_due() == 1
    until(lambda: imager.find(found, version) is not None, "nobody made it")
    imager.close()
    assert jobs_of(yard) == []


@pytest.mark.only("disk")
def test_one_that_the_store_broke_off_is_put_off_and_begun_again_when_somebody_asks(yard: Yard) -> None:
    found, version = published(yard)
    store = yard.data / "store/blobs"
    store.rename(store.with_suffix(".away"))
    imager = imager_of(yard)
    failing = imager.start(found, version)
    assert failing is not None
    assert isinstance(failing.exception(SOON_SECONDS), StorageFailed)
    [(subject, failure, is_leased)] = jobs_of(yard)
    assert (subject, is_leased) == (version.uuid, False)
    assert failure
    assert imager.run_due() == 0, "not at once"
    store.with_suffix(".away").rename(store)
    again = imager.start(found, version)
    assert again is not None
    assert again.exception(SOON_SECONDS) is None
    imager.close()
    assert imager.find(found, version) is not None
    assert jobs_of(yard) == []


def test_a_server_that_ends_stops_early_and_hands_back(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was at, and what it had not begun."""
    versions = [published(yard, f"1.0.{patch}", bytes([patch]) * PART_BYTES) for patch in range(4)]
    read, going_on = yard.store.open, threading.Event()
    monkeypatch.setattr(type(yard.store), "open", lambda _, key: going_on.wait(SOON_SECONDS) and read(key))
    imager = imager_of(yard)
    begun = [imager.start(found, version) is not None for found, version in versions]
    assert begun == [True, True, False, False], "what waits is leased by nobody"
    assert [is_leased for _, _, is_leased in jobs_of(yard)].count(True) == 2
    closing = threading.Thread(target=imager.close)
    closing.start()
    going_on.set()
    closing.join()
    assert [is_leased for _, _, is_leased in jobs_of(yard)] == [False] * 4
    other = imager_of(yard)
    until(lambda: bool(other.run_due() or not jobs_of(yard)) and not jobs_of(yard), "another server makes them")
    other.close()
    assert all(other.find(found, version) for found, version in versions)


def test_a_version_that_is_gone_is_told_of(yard: Yard) -> None:
    found, version = published(yard)
    imager = imager_of(yard)
    assert yard.ada.delete("/org/ada/models/tiny").status_code == 204
    for ask in (imager.find, imager.start):
        with pytest.raises(NotFound):
            ask(found, version)
    imager.close()
    assert jobs_of(yard) == []


def test_the_worker_makes_what_was_left(make_registered: MakeRegistered, tmp_path: Path) -> None:
    """Nobody asks again, and it is there nevertheless."""
    registered = make_registered(data=tmp_path / "yard")
    yard = Yard(registered, tmp_path / "yard", registered.user("ada"))
    found, version = published(yard)
    with yard.database.write() as session:
        jobs.enqueue(session, jobs.IMAGE, version.uuid)
    until(lambda: yard.registry.imager.find(found, version) is not None, "the worker does not look")


# --- waiting at a door


def get_image(yard: Yard, found: Found, version: Version) -> Manifest:
    call = Call(yard.registry, Actor("user:ada", "ada"), "http://127.0.0.1")
    return asyncio.run(twins.get_image(call, found, version))


def test_the_first_who_asks_waits_for_it_and_the_next_need_not(yard: Yard) -> None:
    found, version = published(yard)
    first = get_image(yard, found, version)
    assert get_image(yard, found, version).content == first.content
    assert jobs_of(yard) == []


def test_who_would_have_to_wait_for_long_is_told_when_to_ask_again(
    make_registered: MakeRegistered, yard: Yard, gate: Gate
) -> None:
    registered = make_registered(data=yard.data.with_name("hasty"), prove_wait_seconds=0.2)
    hasty = Yard(registered, yard.data.with_name("hasty"), registered.user("ada"))
    found, version = published(hasty)
    for _ in range(2):
        with pytest.raises(Unavailable, match="being prepared") as told:
            get_image(hasty, found, version)
        assert told.value.retry_after_seconds
    gate.opened.set()
    until(lambda: hasty.registry.imager.find(found, version) is not None, "it goes on meanwhile")
    assert get_image(hasty, found, version).size_bytes
    assert gate.passed == 1


def test_what_another_server_makes_is_waited_for(yard: Yard, gate: Gate) -> None:
    found, version = published(yard)
    other = imager_of(yard)
    assert other.start(found, version) is not None
    assert gate.reached.wait(SOON_SECONDS)
    threading.Timer(0.2, gate.opened.set).start()
    assert get_image(yard, found, version).content
    assert gate.passed == 1
    other.close()


@pytest.mark.only("disk")
def test_a_store_that_fails_is_told_of(yard: Yard) -> None:
    found, version = published(yard)
    (yard.data / "store/blobs").rename(yard.data / "store/away")
    with pytest.raises(StorageFailed):
        get_image(yard, found, version)
