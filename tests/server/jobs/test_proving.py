"""Proofs off the request: joined, ended once, and begun again when a fault or a death broke them off."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import pytest

from steelyard.server.core import uploads
from steelyard.server.db.tables import Upload
from steelyard.server.errors import Conflict, StorageFailed
from steelyard.server.jobs.proving import Prover
from tests.server.jobs.conftest import PART_BYTES, Yard, upload_id_of


class AtOnce(Executor):
    """Runs what it is given before it answers: the thread that came first, every time."""

    def submit(self, run: Callable[..., Any], /, *arguments: Any, **more: Any) -> "Future[Any]":
        done: Future[Any] = Future()
        try:
            done.set_result(run(*arguments, **more))
        except Exception as error:
            done.set_exception(error)
        return done


def test_a_proof_that_ends_before_anybody_waits_stops_nothing(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    prover = Prover(yard.database, yard.store)
    monkeypatch.setattr(prover, "_threads", AtOnce())
    failing = Upload(id="0" * 32, key=None)  # nothing was completed
    thread = threading.Thread(target=prover.prove, args=(failing,), daemon=True)
    thread.start()
    thread.join(timeout=10)
    assert not thread.is_alive(), "the prover waits for itself"
    assert isinstance(prover.prove(failing).exception(), ValueError)


def test_a_dead_servers_proof_is_ended_by_the_next_one(yard: Yard) -> None:
    content = bytes(3 * PART_BYTES)
    _complete_and_die(yard, content)
    prover = Prover(yard.database, yard.store)
    assert prover.resume() == 1
    prover.close()
    assert yard.ada.publish("ada/tiny:1.0.0", {"model.bin": content}).status_code == 201


def test_a_proof_that_the_store_broke_off_is_begun_again(yard: Yard) -> None:
    content = bytes(3 * PART_BYTES)
    href = _complete_and_die(yard, content)
    store = yard.data / "store/blobs"
    store.rename(store.with_suffix(".away"))
    prover = Prover(yard.database, yard.store)
    with yard.database.read() as session:
        failing = prover.prove(session.get_one(Upload, upload_id_of(href)))
    assert isinstance(failing.exception(), StorageFailed)
    store.with_suffix(".away").rename(store)
    assert prover.resume() == 1
    prover.close()
    assert yard.ada.client.get(href).json()["status"] == "done"


def test_bytes_that_are_gone_are_sent_anew(yard: Yard) -> None:
    content = bytes(3 * PART_BYTES)
    href = _complete_and_die(yard, content)
    (yard.data / "store/staged" / upload_id_of(href)).unlink()
    prover = Prover(yard.database, yard.store)
    with yard.database.read() as session:
        failing = prover.prove(session.get_one(Upload, upload_id_of(href)))
    assert isinstance(failing.exception(), Conflict)
    prover.close()
    assert yard.ada.offer("ada/tiny", content).json()["objects"][0]["parts_done"] == []
    assert yard.ada.publish("ada/tiny:1.0.0", {"model.bin": content}).status_code == 201


def test_one_upload_is_proven_once_at_a_time(yard: Yard) -> None:
    content = bytes(3 * PART_BYTES)
    href = _complete_and_die(yard, content)
    prover = Prover(yard.database, yard.store)
    with yard.database.read() as session:
        upload = session.get_one(Upload, upload_id_of(href))
    proofs = [prover.prove(upload) for _ in range(20)]
    assert [proof.exception() for proof in proofs] == [None] * 20
    prover.close()
    assert len(yard.files_of(content)) == 1


def _complete_and_die(yard: Yard, content: bytes) -> str:
    """All parts are here and the upload is marked; the server dies before it hashes anything."""
    href = yard.send_parts(content)
    with yard.database.write() as session:
        uploads.start_proving(session, upload_id_of(href))
    return href
