"""The background thread: what is due is done, and no fault ends it."""

import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import select

from steelyard.server.core.jobs import CLEAN_UP
from steelyard.server.db.tables import Job
from steelyard.server.jobs import worker
from steelyard.server.storage import StoredName
from tests.conftest import MakeRegistered
from tests.server.jobs.conftest import PART_BYTES, Yard


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_COUNT_SECONDS", 0.02)
    monkeypatch.setattr(worker, "_LOOK_SECONDS", 0.05)


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_clean_up_comes_when_it_is_due(make_registered: MakeRegistered) -> None:
    ada = make_registered(gc_interval_seconds=1, gc_grace_seconds=0).user("ada")
    store = ada.client.app.state.registry.store  # type: ignore[attr-defined]
    ada.upload("ada/tiny", b"unneeded")
    wait_for(lambda: not list(store.scan()))


def test_a_server_that_ends_leaves_the_rest_of_a_clean_up_to_others(make_registered: MakeRegistered) -> None:
    registered = make_registered(gc_interval_seconds=1, gc_grace_seconds=0)
    registry = registered.client.app.state.registry  # type: ignore[attr-defined]
    scanning, stores = threading.Event(), registry.store

    def endless() -> Iterator[StoredName]:
        while True:
            scanning.set()
            yield StoredName("blob", f"{'0' * 64}.{'0' * 8}", 0, 0.0)

    stores.scan = endless
    assert scanning.wait(10)
    registered.client.__exit__(None, None, None)  # as SIGTERM ends a server; it must come to an end
    with registry.database.read() as session:
        [job] = session.scalars(select(Job).where(Job.kind == CLEAN_UP))
        assert (job.leased_by, job.failure) == (None, None)


def test_a_chore_that_fails_is_logged_and_tried_again(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    yard.ada.publish("ada/tiny:1.0.0", {"model.bin": b"weights"})
    writing = type(yard.registry.usage).write_down
    failures = iter([RuntimeError("nobody foresaw this")])

    def write_down(*arguments: object) -> None:
        for failure in failures:
            raise failure
        writing(*arguments)  # type: ignore[arg-type]

    with caplog.at_level(logging.ERROR, "steelyard.server.jobs.worker"):
        monkeypatch.setattr(type(yard.registry.usage), "write_down", write_down)
        yard.ada.get("/org/ada/models/tiny/1.0.0/files/model.bin")
        wait_for(lambda: yard.ada.get("/org/ada/models/tiny").json()["download_count"] == 1)
    assert "counts could not be written yet" in caplog.text


@pytest.mark.only("disk")
def test_a_proof_that_was_broken_off_is_resumed_without_a_restart(yard: Yard) -> None:
    content = bytes(2 * PART_BYTES)
    href = yard.send_parts(content)
    store = yard.data / "store/blobs"
    store.rename(store.with_suffix(".away"))
    assert yard.ada.client.post(href).status_code == 502
    store.with_suffix(".away").rename(store)
    wait_for(lambda: "actions" not in yard.ada.offer("ada/tiny", content).json()["objects"][0])
