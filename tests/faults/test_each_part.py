"""Every operation while each part is slow, silent, cut off, refusing or failing: before it, and at each of its moments.

What is asked for is answered as the contract says and in time, tells nothing of what stands behind the registry, and
succeeds when it is asked for again after the fault. Nothing is lost.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from tests.faults.asking import (
    FAULTS,
    OF_A_STORE,
    WAYS,
    ask,
    assert_alive,
    assert_fault,
    assert_not_ready,
    assert_served,
    break_in_the_middle,
    meet,
    moments,
    together,
)
from tests.faults.operations import (
    OPERATIONS,
    READ,
    Act,
    Operation,
    Scene,
    get_file,
    get_range,
    get_tar,
    resolve,
)
from tests.faults.site import DATABASE_SECONDS, MARGIN_SECONDS, STORE_SECONDS, Part
from tests.house.wires import Fault, Kind

PARTS: tuple[Part, ...] = ("database", "store")
CROWD = 100  # more than twice the threads that there are
CONNECT_SECONDS = 2.0  # the driver knows no shorter wait for a new connection
ALL = [(part, kind) for part in PARTS for kind in FAULTS if part == "store" or kind not in OF_A_STORE]
BRIEFLY = ("silent", "refuse", "503")  # the others differ from these in how, and hardly in what is answered
operations = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)


@pytest.mark.parametrize(
    ("part", "kind"),
    [pytest.param(*cell, marks=[pytest.mark.thorough] * (cell[1] not in BRIEFLY)) for cell in ALL],
)
def test_a_broken_part_is_named_in_time_and_all_is_well_when_it_is_whole(scene: Scene, part: Part, kind: str) -> None:
    prepared = [(operation, operation.prepare(scene)) for operation in OPERATIONS]
    jobs = [partial(meet, operation, act, part, FAULTS[kind].kind) for operation, act in prepared]
    with scene.site.broken(part, FAULTS[kind]):
        together([*jobs, partial(assert_not_ready, scene.site, part), partial(assert_alive, scene.site)])
    scene.site.wait_until_ready()
    for operation, act in prepared:
        assert_served(operation, act)


@operations
def test_what_was_heard_and_never_answered_is_asked_for_again(scene: Scene, operation: Operation) -> None:
    for part in PARTS:
        for fault in moments(operation, part, ["cut"], ["down"]):
            break_in_the_middle(scene, operation, part, fault)


@pytest.mark.thorough
@operations
def test_whatever_breaks_in_the_middle_is_asked_for_again(scene: Scene, operation: Operation) -> None:
    for part in PARTS:
        for fault in moments(operation, part, list(FAULTS), WAYS):
            break_in_the_middle(scene, operation, part, fault)


@operations
def test_what_the_store_fails_to_do_once_is_done_without_a_word(scene: Scene, operation: Operation) -> None:
    """The store is asked again where that is safe: for all that the registry asks of it."""
    for fault in moments(operation, "store", ["cut"], ["down"]) + moments(operation, "store", ["503"], ["up"]):
        act = operation.prepare(scene)
        with scene.site.broken("store", replace(fault, times=1)):
            assert_served(operation, act)


@operations
def test_a_connection_that_died_in_the_pool_is_noticed_by_nobody(scene: Scene, operation: Operation) -> None:
    act = operation.prepare(scene)
    with scene.site.broken("database", Fault("cut", at=rb"BEGIN", times=1)):
        assert_served(operation, act)


def test_slow_parts_are_slow_and_nothing_else(scene: Scene) -> None:
    for part in PARTS:
        prepared = [(operation, operation.prepare(scene)) for operation in OPERATIONS]
        with scene.site.broken(part, Fault("slow", delay_seconds=0.005)):
            for operation, act in prepared:
                assert_served(operation, act)


@pytest.mark.parametrize("prepare", [get_file, get_range, get_tar])
@pytest.mark.parametrize("kind", ["cut", pytest.param("silent", marks=pytest.mark.thorough)])
def test_an_answer_that_breaks_off_is_never_short(scene: Scene, prepare: Callable[[Scene], Act], kind: Kind) -> None:
    act = prepare(scene)
    whole = act().content
    with scene.site.broken("store", Fault(kind, at=READ, way="down", after_bytes=300_000)):
        answer, seconds = ask(act)
        assert answer is None or answer.content == whole
        assert seconds < STORE_SECONDS + MARGIN_SECONDS
    with scene.site.broken("store", Fault("cut", at=READ, way="down", after_bytes=300_000, times=1)):
        assert act().content == whole  # the store is asked for the rest


def test_a_batch_of_many_waits_for_a_silent_store_no_longer_than_one(scene: Scene) -> None:
    model, blobs = scene.fresh(), [b"blob %d" % number for number in range(40)]
    scene.published(model, {f"file{number}.bin": blob for number, blob in enumerate(blobs)})
    with scene.site.broken("store", FAULTS["silent"]):
        answer, seconds = ask(lambda: scene.ada.offer(model, *blobs))
    assert answer is not None
    assert_fault(answer, "store", "silent")
    assert seconds < STORE_SECONDS + MARGIN_SECONDS


def test_a_crowd_before_a_silent_database_is_sent_away_in_time(scene: Scene) -> None:
    act = resolve(scene)
    assert act().status_code == 200
    with scene.site.broken("database", FAULTS["silent"]):
        together([partial(assert_sent_away, act)] * CROWD)
    assert act().status_code == 200


def assert_sent_away(act: Act) -> None:
    answer, seconds = ask(act)
    assert answer is not None
    assert_fault(answer, "database", "silent")
    assert seconds < 2 * DATABASE_SECONDS + CONNECT_SECONDS + MARGIN_SECONDS  # a thread, a place in the pool, an answer
