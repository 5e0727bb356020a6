"""A store that says nothing holds up those who need it, and nobody else."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from steelyard.server.doors.turns import AT_ONCE
from tests.conftest import Tell
from tests.faults.conftest import MakeSite
from tests.faults.operations import (
    Act,
    Scene,
    batch_of_held,
    compare_tensors,
    get_file,
    get_range,
    get_tar,
    publish_weights,
    put_part,
)
from tests.faults.site import MARGIN_SECONDS, Site
from tests.house.people import Person, path_of
from tests.house.wires import Fault

WAITING = 100  # requests at once that wait for the store, as many as there are connections of one client
STORE_SECONDS = 4.0
SETTLING_SECONDS = 1.5  # until all have come as far as the store
SOON_SECONDS = 0.5  # for two busy processors; a free thread takes some milliseconds


@pytest.fixture(scope="module")
def site(make_site: MakeSite) -> Site:
    return make_site("store", store_timeout_seconds=str(STORE_SECONDS))


def test_who_does_not_need_a_silent_store_does_not_wait_for_it(scene: Scene, tell: Tell) -> None:
    model = scene.fresh()
    scene.published(model, {"config.json": b"{}"})
    needing = (get_file, get_range, get_tar, put_part, publish_weights, batch_of_held, compare_tensors)
    acts = [prepare(scene) for prepare in needing]
    assert WAITING > 2 * AT_ONCE
    other = Person(scene.site.client(), "ada", scene.site.token)
    with other.client, ThreadPoolExecutor(WAITING) as threads, scene.site.broken("store", Fault("silent")):
        waiting = [threads.submit(answer_of, acts[number % len(acts)]) for number in range(WAITING)]
        time.sleep(SETTLING_SECONDS)
        assert not any(each.done() for each in waiting)
        times = list(measured(lambda: other.get(path_of(model)), seconds=STORE_SECONDS / 3))
        answers = [each.result() for each in waiting]
    assert {status for status, _ in answers} == {504}
    assert max(seconds for _, seconds in answers) < 2 * STORE_SECONDS + MARGIN_SECONDS  # for a turn, and for the store
    tell(f"a silent store holds up {WAITING} requests; resolving beside them takes {max(times):.3f} s at most")
    assert max(times) < SOON_SECONDS


def answer_of(act: Act) -> tuple[int, float]:
    """Status, and how long it took."""
    began = time.monotonic()
    return act().status_code, time.monotonic() - began


def measured(act: Act, *, seconds: float) -> Iterator[float]:
    """How long each of many requests takes, one after the other."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        status, took = answer_of(act)
        assert status == httpx2.codes.OK
        yield took
