"""Verifying takes as long as it takes: clients are kept from giving up meanwhile, and told how it ended."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from steelyard.server.core.xet import shards
from steelyard.server.doors.xet import arriving
from steelyard.server.errors import Invalid, StorageTimeout
from tests.server.doors.xet.cas import Cas, some_chunks
from tests.server.doors.xet.crafted import Shard, Xorb, file_of

XORB = Xorb(some_chunks(500))
SHARD = Shard([file_of((XORB, 0, 4))])


class SlowProof:
    """Verifies as always, after somebody has let it go on; and then fails, if it is told to."""

    def __init__(self) -> None:
        self.begun, self.may_go_on, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.failure: Exception | None = None
        self._keep = shards.keep_shard

    def __call__(self, *args: Any) -> None:
        args[-1](1, 2)
        self.begun.set()
        assert self.may_go_on.wait(20)
        if self.failure is not None:
            raise self.failure
        self._keep(*args)
        self.ended.set()


@pytest.fixture
def proof(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowProof]:
    slow = SlowProof()
    monkeypatch.setattr(shards, "keep_shard", slow)
    monkeypatch.setattr(arriving, "_HEARTBEAT_SECONDS", 0.02)
    monkeypatch.setattr(arriving, "_PATIENCE_SECONDS", 0.02)
    yield slow
    slow.may_go_on.set()


@pytest.fixture
def sent(cas: Cas) -> Cas:
    assert cas.send_xorb(XORB).status_code == 200
    return cas


def _after(seconds: float, proof: SlowProof) -> None:
    threading.Timer(seconds, proof.may_go_on.set).start()


def test_the_second_version_tells_how_far_it_is(sent: Cas, proof: SlowProof) -> None:
    _after(0.2, proof)
    *meanwhile, last = sent.tell_shard(SHARD.body)
    assert len(meanwhile) > 2
    assert {line["type"] for line in meanwhile} == {"validating"}
    assert {"type": "validating", "verified": 1, "total": 2} in meanwhile
    assert last == {"type": "result", "result": 1}


def test_the_first_version_is_answered_in_blanks_before_its_json(sent: Cas, proof: SlowProof) -> None:
    _after(0.2, proof)
    answered = sent.send_shard(SHARD)
    assert answered.text.startswith("   ")
    assert answered.json() == {"result": 1}


@pytest.mark.parametrize(
    ("failure", "message", "retryable"),
    [
        (Invalid("It is wrong."), "It is wrong.", False),
        (StorageTimeout("The store is silent."), "The store is silent.", True),
        (KeyError("a fault of ours"), "request id", False),
    ],
)
def test_a_late_failure_is_told_with_whether_to_try_again(
    sent: Cas, proof: SlowProof, failure: Exception, message: str, retryable: bool
) -> None:
    proof.failure = failure
    _after(0.1, proof)
    *_, last = sent.tell_shard(SHARD.body)
    assert (last["type"], last["retryable"], message in last["message"]) == ("error", retryable, True)
    assert sent.send_shard(SHARD).json()["error"]


def test_more_shards_than_are_verified_at_once_wait_for_their_turn(sent: Cas, proof: SlowProof) -> None:
    answers: list[list[dict[str, Any]]] = []
    senders = [
        threading.Thread(target=lambda: answers.append(sent.tell_shard(SHARD.body)))
        for _ in range(arriving._AT_ONCE + 3)
    ]
    for sender in senders:
        sender.start()
    assert proof.begun.wait(10)
    time.sleep(0.1)
    proof.may_go_on.set()
    for sender in senders:
        sender.join(20)
    assert [lines[-1] for lines in answers] == [{"type": "result", "result": 1}] * len(senders)
