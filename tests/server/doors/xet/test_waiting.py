"""Verifying takes as long as it takes: clients are kept from giving up meanwhile, and told how it ended."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from steelyard.server.core.xet import shards
from steelyard.server.doors.calls import MIB
from steelyard.server.doors.xet import arriving
from steelyard.server.doors.xet.verifying import ShardTurns, Waiting
from steelyard.server.errors import Invalid, RateLimited, StorageTimeout
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


def test_who_is_alone_has_all_turns_and_what_is_more_waits(sent: Cas, proof: SlowProof) -> None:
    senders, answers = _send_side_by_side(sent, 6)
    assert proof.begun.wait(10)
    _wait_until(lambda: proof.count == 4)
    time.sleep(0.1)
    assert proof.count == 4
    proof.may_go_on.set()
    for sender in senders:
        sender.join(20)
    assert [lines[-1] for lines in answers] == [{"type": "result", "result": 1}] * len(senders)


def _wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.01)


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Crowd:
    """Shards that want a turn, each by name, and who has one. To be used on an event loop."""

    def __init__(self, at_once: int = 4) -> None:
        self.turns = ShardTurns(at_once)
        self.running: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}

    async def come(self, *names: str) -> None:
        """The first letter is the organisation."""
        for name in names:
            self._ends[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._pass(name))
            await _settle()

    async def end(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()
            await _settle()

    async def _pass(self, name: str) -> None:
        with self.turns.waiting(ord(name[0]), 1) as line:
            async with self.turns.turn(line):
                self.running.append(name)
                await self._ends[name].wait()
            self.running.remove(name)


def test_nobody_waits_behind_what_another_organisation_sent() -> None:
    async def scene() -> None:
        crowd = Crowd()
        await crowd.come("a1", "a2", "a3", "a4", "a5", "a6", "b1", "b2", "c1")
        assert crowd.running == ["a1", "a2", "a3", "a4"]
        await crowd.end("a1")
        assert crowd.running[-1] == "b1"
        await crowd.end("a2")
        assert crowd.running[-1] == "c1", "who has none is before who has one"
        await crowd.end("a3")
        assert crowd.running[-1] == "a5", "of those with as many, who came first"
        await crowd.end("a4", "a5")
        assert sorted(crowd.running) == ["a6", "b1", "b2", "c1"]

    asyncio.run(scene())


def test_who_is_cancelled_leaves_nothing_behind() -> None:
    async def scene() -> None:
        crowd = Crowd(1)
        await crowd.come("a1", "b1", "c1", "d1")
        crowd.tasks["b1"].cancel()  # it waits
        await _settle()
        await crowd.end("a1")
        assert crowd.running == ["c1"]
        await crowd.come("e1", "f1")
        crowd.tasks["d1"].cancel()  # before e1 and f1 in the queue
        await crowd.end("c1")
        assert crowd.running == ["e1"]
        del crowd.tasks["b1"], crowd.tasks["d1"]
        await crowd.end("e1", "f1")
        await asyncio.gather(*crowd.tasks.values())
        await crowd.come("g1")
        assert (crowd.running, crowd.turns._queue) == (["g1"], [])

    asyncio.run(scene())


def test_no_turn_is_given_to_one_that_is_cancelled_and_has_not_heard_of_it() -> None:
    async def scene() -> None:
        turns = ShardTurns(1)
        with turns.waiting(1, 1) as ours, turns.waiting(2, 1) as theirs:
            async with turns.turn(ours):
                waits = asyncio.create_task(turns._take(theirs))
                await _settle()
                waits.cancel()
            async with asyncio.timeout(5), turns.turn(ours):
                assert theirs.turns == 0
            await asyncio.wait({waits})
            assert turns._queue == []

    asyncio.run(scene())


def test_a_turn_that_a_cancelled_one_was_given_is_passed_on() -> None:
    async def scene() -> None:
        turns = ShardTurns(1)
        with turns.waiting(1, 1) as ours, turns.waiting(2, 1) as theirs:
            async with turns.turn(ours):
                given = asyncio.create_task(turns._take(theirs))
                await _settle()
            given.cancel()  # the turn is its own, and it does not know yet
            async with asyncio.timeout(5), turns.turn(ours):
                assert (given.cancelled(), theirs.turns, ours.turns) == (True, 0, 1)

    asyncio.run(scene())


def test_eight_organisations_are_needed_to_take_all_places_and_then_others_begin_all_the_same() -> None:
    turns = ShardTurns()
    with ExitStack() as held:
        for org_id in range(8):
            held.enter_context(turns.waiting(org_id, 64 * MIB))
            with pytest.raises(RateLimited, match="Your organisation"):
                held.enter_context(turns.waiting(org_id, 1))
        with pytest.raises(RateLimited, match="This server"):
            held.enter_context(turns.waiting(8, MIB + 1))
        held.enter_context(turns.waiting(8, MIB))
        with pytest.raises(RateLimited, match="This server"):
            held.enter_context(turns.waiting(8, 1))


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
