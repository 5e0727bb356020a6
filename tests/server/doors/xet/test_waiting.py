"""Verifying takes as long as it takes: clients are kept from giving up meanwhile, and told how it ended."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from steelyard.server.core.xet import shards
from steelyard.server.doors.xet import arriving
from steelyard.server.doors.xet.verifying import ShardTurns, Waiting
from steelyard.server.errors import Invalid, StorageTimeout
from tests.house import Person, Registered
from tests.server.doors.xet.cas import Cas, open_cas, some_chunks
from tests.server.doors.xet.crafted import Shard, Xorb, file_of

XORB = Xorb(some_chunks(500))
SHARD = Shard([file_of((XORB, 0, 4))])


class SlowProof:
    """Verifies as always, after somebody has let it go on; and then fails, if it is told to."""

    def __init__(self) -> None:
        self.begun, self.may_go_on, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.failure: Exception | None = None
        self.count = 0
        self._keep = shards.keep_shard

    def __call__(self, *args: Any, **named: Any) -> None:
        self.count += 1
        args[-1](1, 2)
        self.begun.set()
        assert self.may_go_on.wait(20)
        if self.failure is not None:
            raise self.failure
        self._keep(*args, **named)
        self.ended.set()


@pytest.fixture(autouse=True)
def _turns(registry: Registered) -> None:
    app: Any = registry.client.app
    app.state.shard_turns = ShardTurns()


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


def _send_side_by_side(cas: Cas, count: int) -> tuple[list[threading.Thread], list[list[dict[str, Any]]]]:
    answers: list[list[dict[str, Any]]] = []
    senders = [threading.Thread(target=lambda: answers.append(cas.tell_shard(SHARD.body))) for _ in range(count)]
    for sender in senders:
        sender.start()
    return senders, answers


def test_one_shard_of_an_organisation_is_verified_at_a_time_and_the_others_wait(sent: Cas, proof: SlowProof) -> None:
    senders, answers = _send_side_by_side(sent, 4)
    assert proof.begun.wait(10)
    time.sleep(0.1)
    assert proof.count == 1
    proof.may_go_on.set()
    for sender in senders:
        sender.join(20)
    assert [lines[-1] for lines in answers] == [{"type": "result", "result": 1}] * len(senders)


def test_nobody_waits_behind_what_another_organisation_sent(sent: Cas, bob: Person, proof: SlowProof) -> None:
    senders, _ = _send_side_by_side(sent, 6)
    assert proof.begun.wait(10)
    proof.begun.clear()
    bobs = open_cas(bob, f"{bob.name}/tiny")
    assert bobs.send_xorb(XORB).status_code == 200
    [sender], answers = _send_side_by_side(bobs, 1)
    assert proof.begun.wait(10), "bob's is begun, while all of ada's but one wait"
    assert proof.count == 2
    proof.may_go_on.set()
    for each in (sender, *senders):
        each.join(20)
    assert answers[0][-1] == {"type": "result", "result": 1}


def test_who_sends_more_than_may_wait_is_told_to_come_again(
    sent: Cas, bob: Person, proof: SlowProof, registry: Registered
) -> None:
    app: Any = registry.client.app
    app.state.shard_turns = ShardTurns(most=Waiting(3, 10**6), most_of_one=Waiting(2, 10**6))
    senders, _ = _send_side_by_side(sent, 2)
    assert proof.begun.wait(10)
    time.sleep(0.1)
    refused = sent.send_shard(SHARD)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "30")
    assert "Your organisation" in refused.json()["error"]
    bobs = open_cas(bob, f"{bob.name}/tiny")
    assert bobs.send_xorb(XORB).status_code == 200
    others, answers = _send_side_by_side(bobs, 1)
    time.sleep(0.1)
    assert "This server" in bobs.send_shard(SHARD).json()["error"]
    proof.may_go_on.set()
    for each in (*senders, *others):
        each.join(20)
    assert answers[0][-1] == {"type": "result", "result": 1}
    assert sent.send_shard(SHARD).status_code == 200, "there is room again"


def test_a_shard_too_large_to_wait_with_the_others_is_told_to_come_again(sent: Cas, registry: Registered) -> None:
    app: Any = registry.client.app
    app.state.shard_turns = ShardTurns(most_of_one=Waiting(9, len(SHARD.body) - 1))
    assert sent.send_shard(SHARD).status_code == 429
    app.state.shard_turns = ShardTurns(most_of_one=Waiting(9, len(SHARD.body)))
    assert sent.send_shard(SHARD).status_code == 200


def test_a_server_that_stops_ends_a_verification_and_has_its_client_try_again(
    sent: Cas, proof: SlowProof, registry: Registered
) -> None:
    app: Any = registry.client.app
    [sender], answers = _send_side_by_side(sent, 1)
    assert proof.begun.wait(10)
    app.state.registry.stopping.set()
    try:
        proof.may_go_on.set()
        sender.join(20)
        assert sent.send_shard(SHARD).status_code == 503
    finally:
        app.state.registry.stopping.clear()
    *_, last = answers[0]
    assert (last["type"], last["retryable"]) == ("error", True)
    assert "stops" in last["message"]


def test_of_a_verification_that_is_given_up_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """As when the process ends: nobody is there to be told."""

    async def give_up() -> None:
        held, task = ExitStack(), asyncio.create_task(asyncio.sleep(9, 1))
        task.add_done_callback(partial(arriving._forget, held))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        await asyncio.sleep(0)

    asyncio.run(give_up())
    assert caplog.records == []
