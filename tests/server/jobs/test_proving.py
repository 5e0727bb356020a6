"""Proofs off the request: joined, ended once, and begun again when a fault or a death broke them off."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from typing import Any

import pytest

from steelyard.server.core import jobs
from steelyard.server.core.arrivals import proofs
from steelyard.server.core.jobs import Lease, LeaseLost, new_holder
from steelyard.server.db.tables import Job, Upload
from steelyard.server.errors import Conflict, Invalid, StorageFailed
from steelyard.server.jobs import worker
from steelyard.server.jobs.leasing import Leases
from steelyard.server.jobs.proving import Prover
from tests.server.jobs.conftest import PART_BYTES, Yard, upload_id_of

CONTENT = bytes(3 * PART_BYTES)


@pytest.fixture(autouse=True)
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry's own worker takes nothing of what these tests leave to be taken."""
    monkeypatch.setattr(worker, "_LOOK_SECONDS", 3600)


class AtOnce(Executor):
    """Runs what it is given before it answers: the thread that came first, every time."""

    def submit(self, run: Callable[..., Any], /, *arguments: Any, **more: Any) -> "Future[Any]":
        done: Future[Any] = Future()
        try:
            done.set_result(run(*arguments, **more))
        except Exception as error:
            done.set_exception(error)
        return done


def prover_of(yard: Yard, lease_seconds: float = 60) -> Prover:
    return Prover(yard.database, yard.store, Leases(yard.database, new_holder(lease_seconds)))


def sent(yard: Yard, content: bytes) -> Upload:
    """An upload whose parts are all here."""
    href = yard.send_parts(content)
    with yard.database.read() as session:
        return session.get_one(Upload, upload_id_of(href))


def complete_and_die(yard: Yard, content: bytes, lease_seconds: float = 3600, sent: bytes | None = None) -> Lease:
    """All parts are here and the upload is marked; its server has the job and does nothing about it."""
    href = yard.send_parts(content, sent)
    with yard.database.write() as session:
        proofs.start_proving(session, upload_id_of(href))
        lease = jobs.take(session, new_holder(lease_seconds), jobs.PROVE, upload_id_of(href))
    assert lease is not None
    return lease


def take_over(yard: Yard, lease: Lease) -> Lease:
    """Another server leases what the first one holds, whose lease has run out meanwhile."""
    with yard.database.write() as session:
        jobs.forget_leases(session)
        taken = jobs.take(session, new_holder(3600), jobs.PROVE, lease.subject)
    assert taken is not None
    return taken


def prove(yard: Yard, lease: Lease) -> None:
    proofs.prove(yard.database, yard.store, lease)


def jobs_of(yard: Yard) -> list[tuple[str, str | None]]:
    """`(subject, failure)` of the proofs that are to be done."""
    with yard.database.read() as session:
        return [(job.subject, job.failure) for job in session.query(Job).filter_by(kind=jobs.PROVE)]


def test_a_proof_that_ends_before_anybody_waits_stops_nothing(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    prover = prover_of(yard)
    monkeypatch.setattr(prover, "_threads", AtOnce())
    upload = sent(yard, CONTENT)
    thread = threading.Thread(target=prover.start, args=(upload,), daemon=True)
    thread.start()
    thread.join(timeout=10)
    assert not thread.is_alive(), "the prover waits for itself"
    assert jobs_of(yard) == []


def test_a_dead_servers_proof_is_ended_by_another_one_when_its_lease_ran_out(yard: Yard) -> None:
    complete_and_die(yard, CONTENT, lease_seconds=0.3)
    prover = prover_of(yard)
    assert prover.run_due() == 0
    time.sleep(0.4)
    assert prover.run_due() == 1
    prover.close()
    assert jobs_of(yard) == []
    assert yard.ada.publish("ada/tiny:1.0.0", {"model.bin": CONTENT}).status_code == 201


def test_what_another_server_proves_is_not_begun_here(yard: Yard) -> None:
    lease = complete_and_die(yard, CONTENT)
    with yard.database.read() as session:
        upload = session.get_one(Upload, lease.subject)
    prover = prover_of(yard)
    assert prover.start(upload) is None
    assert prover.join(upload) is None
    prover.close()


def test_to_ask_for_a_proof_that_ended_a_moment_ago_is_no_fault(yard: Yard) -> None:
    upload = sent(yard, CONTENT)
    first, second = prover_of(yard), prover_of(yard)
    proof = first.start(upload)
    assert proof is not None
    assert proof.exception() is None
    for prover in (first, second):
        assert prover.start(upload) is None
        assert prover.join(upload) is None
        prover.close()
    assert jobs_of(yard) == []


def test_an_upload_that_an_earlier_release_left_unproven_gets_its_job(yard: Yard) -> None:
    complete_and_die(yard, CONTENT)
    with yard.database.write() as session:
        session.query(Job).delete()
        proofs.enqueue_left(session)
        proofs.enqueue_left(session)
    prover = prover_of(yard)
    assert prover.run_due() == 1
    prover.close()
    assert yard.ada.publish("ada/tiny:1.0.0", {"model.bin": CONTENT}).status_code == 201


@pytest.mark.only("disk")
def test_a_proof_that_the_store_broke_off_is_put_off_and_begun_again(yard: Yard) -> None:
    upload = sent(yard, CONTENT)
    store = yard.data / "store/blobs"
    store.rename(store.with_suffix(".away"))
    prover = prover_of(yard)
    failing = prover.start(upload)
    assert failing is not None
    assert isinstance(failing.exception(), StorageFailed)
    [(_, failure)] = jobs_of(yard)
    assert failure
    assert prover.run_due() == 0, "not at once"
    store.with_suffix(".away").rename(store)
    again = prover.join(upload)
    assert again is not None, "but when somebody asks"
    assert again.exception() is None
    prover.close()
    assert "actions" not in yard.ada.offer("ada/tiny", CONTENT).json()["objects"][0]
    assert jobs_of(yard) == []


def test_bytes_that_are_gone_are_sent_anew(yard: Yard) -> None:
    lease = complete_and_die(yard, CONTENT)
    yard.store.discard(lease.subject)
    with pytest.raises(Conflict, match="gone"):
        prove(yard, lease)
    assert jobs_of(yard) == []
    assert yard.ada.offer("ada/tiny", CONTENT).json()["objects"][0]["parts_done"] == []
    assert yard.ada.publish("ada/tiny:1.0.0", {"model.bin": CONTENT}).status_code == 201


def test_one_upload_is_proven_once_at_a_time(yard: Yard) -> None:
    upload = sent(yard, CONTENT)
    prover = prover_of(yard)
    first = prover.start(upload)
    with suppress(Exception):  # it may be over by now
        assert prover.join(upload) in (first, None)
    assert first is not None
    assert first.exception() is None
    prover.close()
    assert len(yard.keys_of(CONTENT)) == 1


def test_a_server_that_ends_hands_back_what_it_has_not_begun(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = [bytes([number]) * 2 * PART_BYTES for number in range(4)]
    begun = [sent(yard, content) for content in contents]
    prover, going_on = prover_of(yard), threading.Event()
    proving = type(yard.store).prove
    monkeypatch.setattr(type(yard.store), "prove", lambda *args: going_on.wait(10) and proving(*args))
    for upload in begun:
        prover.start(upload)
    closing = threading.Thread(target=prover.close)
    closing.start()
    other = prover_of(yard)
    deadline = time.monotonic() + 10
    while other.run_due() != 2:
        assert time.monotonic() < deadline, "the two that were not begun are anybody's"
        time.sleep(0.01)
    going_on.set()
    closing.join()
    other.close()
    assert jobs_of(yard) == []
    assert [len(yard.keys_of(content)) for content in contents] == [1, 1, 1, 1]


# --- two servers at one proof: the first was silent for longer than its lease


class Meddler:
    """A store that does something else first, once, when it is asked to do one thing."""

    def __init__(self, yard: Yard, method: str, meddle: Callable[[], object]) -> None:
        self._store, self._method, self._meddle = yard.store, method, meddle

    def __getattr__(self, name: str) -> Any:
        if name == self._method:
            self._method = ""
            self._meddle()
        return getattr(self._store, name)


@pytest.mark.parametrize("moment", ["open", "prove", "commit"])
def test_the_second_ends_it_while_the_first_is_at_any_step(yard: Yard, moment: str) -> None:
    first = complete_and_die(yard, CONTENT)
    store = Meddler(yard, moment, lambda: prove(yard, take_over(yard, first)))
    proofs.prove(yard.database, store, first)
    assert jobs_of(yard) == []
    assert len(yard.keys_of(CONTENT)) == 1
    assert "actions" not in yard.ada.offer("ada/tiny", CONTENT).json()["objects"][0]


@pytest.mark.parametrize("moment", ["open", "prove", "commit"])
def test_the_second_ends_it_and_the_bytes_are_collected_while_the_first_is_at_any_step(yard: Yard, moment: str) -> None:
    first = complete_and_die(yard, CONTENT)

    def end_and_collect() -> None:
        prove(yard, take_over(yard, first))
        yard.collect()

    store = Meddler(yard, moment, end_and_collect)
    with suppress(LeaseLost):
        proofs.prove(yard.database, store, first)
    assert jobs_of(yard) == []
    assert "actions" in yard.ada.offer("ada/tiny", CONTENT).json()["objects"][0]
    assert yard.ada.publish("ada/tiny:1.0.0", {"model.bin": CONTENT}).status_code == 201
    assert yard.ada.get("/org/ada/models/tiny/1.0.0/files/model.bin").content == CONTENT


def test_the_first_ends_it_while_the_second_has_the_lease(yard: Yard) -> None:
    first = complete_and_die(yard, CONTENT)
    second: list[Lease] = []
    store = Meddler(yard, "commit", lambda: second.append(take_over(yard, first)))
    proofs.prove(yard.database, store, first)
    prove(yard, second[0])
    assert jobs_of(yard) == []
    assert len(yard.keys_of(CONTENT)) == 1


def test_a_proof_whose_lease_was_lost_is_not_committed(yard: Yard) -> None:
    first = complete_and_die(yard, CONTENT)
    take_over(yard, first)
    with pytest.raises(LeaseLost):
        prove(yard, first)
    assert yard.keys_of(CONTENT) == []


def test_only_who_holds_the_lease_may_fail_an_upload(yard: Yard) -> None:
    first = complete_and_die(yard, CONTENT, sent=CONTENT[:-1] + b"x")
    second = take_over(yard, first)
    with pytest.raises(LeaseLost):
        prove(yard, first)
    with yard.database.read() as session:
        assert session.get_one(Upload, first.subject).state == "proving"
    with pytest.raises(Invalid):
        prove(yard, second)
    with pytest.raises(Invalid):
        prove(yard, first)  # another server has found out what it ended in
    assert jobs_of(yard) == []


def test_only_who_holds_the_lease_may_begin_an_upload_anew(yard: Yard) -> None:
    first = complete_and_die(yard, CONTENT)
    second = take_over(yard, first)
    yard.store.discard(first.subject)
    with pytest.raises(LeaseLost):
        prove(yard, first)
    with yard.database.read() as session:
        assert session.get_one(Upload, first.subject).state == "proving"
    with pytest.raises(Conflict):
        prove(yard, second)


def test_what_was_proven_is_not_linked_to_an_upload_that_was_begun_anew(yard: Yard) -> None:
    """The key of the first proof has no row any more: clean-up may be about to remove what has that name."""
    first = complete_and_die(yard, CONTENT)

    def begin_anew() -> None:
        take_over(yard, first)
        with yard.database.write() as session:
            row = session.get_one(Upload, first.subject)
            row.state, row.key = "open", None

    store = Meddler(yard, "commit", begin_anew)
    with pytest.raises(LeaseLost):
        proofs.prove(yard.database, store, first)
    assert "actions" in yard.ada.offer("ada/tiny", CONTENT).json()["objects"][0]


def test_the_job_of_an_upload_that_has_ended_is_done(yard: Yard) -> None:
    first = complete_and_die(yard, CONTENT)
    second = take_over(yard, first)
    with yard.database.write() as session:
        session.delete(session.get_one(Upload, first.subject))
    prove(yard, second)
    assert jobs_of(yard) == []
