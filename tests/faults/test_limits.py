"""Limits fail over to each server's own memory: nobody is refused because Valkey is broken, nor let do as he likes."""

import time
from collections.abc import Iterator
from functools import partial

import pytest

from steelyard.server.core.counting import ASK_AGAIN_SECONDS
from tests.faults.asking import FAULTS, assert_served, together
from tests.faults.conftest import MakeSite
from tests.faults.operations import OPERATIONS, Scene
from tests.faults.site import LIMITS_SECONDS, MARGIN_SECONDS, RECOVERY_SECONDS, Site, wait_until
from tests.house.people import Person
from tests.house.valkey import Valkey
from tests.reliability.pushing import make_user

BUDGET = 10
THOROUGH = pytest.mark.thorough


@pytest.fixture(scope="module")
def engine() -> Iterator[Valkey]:
    """A Valkey of these tests' own, to be ended and started."""
    started = Valkey().start()
    yield started
    started.discard()


@pytest.fixture(scope="module")
def site(make_site: MakeSite, engine: Valkey) -> Site:
    return make_site("limits", urls={"limits": engine.url()}, limit_accounts=f"{BUDGET}/hour")


@pytest.mark.parametrize(
    "kind", ["silent", *(pytest.param(kind, marks=THOROUGH) for kind in ("slow", "cut", "refuse"))]
)
def test_nobody_is_refused_because_limits_cannot_be_counted_together(scene: Scene, kind: str) -> None:
    jobs = [partial(assert_served, operation, operation.prepare(scene)) for operation in OPERATIONS]
    with scene.site.broken("limits", FAULTS[kind]):
        began = time.monotonic()
        together(jobs)
        assert time.monotonic() - began < LIMITS_SECONDS + MARGIN_SECONDS
        assert scene.site.ready().status_code == 200  # it serves
        assert spend(scene, f"person-{kind}") == BUDGET  # and counts, by itself
    wait_until_counted_together(scene)


def test_a_valkey_that_ends_and_starts_again_is_missed_by_nobody(scene: Scene, engine: Valkey) -> None:
    engine.kill()
    for operation in OPERATIONS:
        assert_served(operation, operation.prepare(scene))
    engine.start()
    wait_until_counted_together(scene)
    for operation in OPERATIONS:
        assert_served(operation, operation.prepare(scene))


def spend(scene: Scene, name: str) -> int:
    """A new user makes tokens until that is refused; answers how many were made."""
    person = Person(scene.client, name, make_user(scene.site.server, name))
    for number in range(BUDGET + 5):
        answer = person.post("/user/api-keys", {"name": f"token {number}"})
        if answer.status_code == 429:
            return number
        assert answer.status_code == 201, answer.text
    raise AssertionError("nobody counts")


def wait_until_counted_together(scene: Scene) -> None:
    """It recovers by itself: requests find out, every few seconds."""

    def is_counted_together() -> bool:
        assert scene.ada.get("/org/ada/models").status_code == 200
        return "steelyard_rate_limit_counts_alone 0.0" in scene.client.get("/metrics").text

    wait_until(is_counted_together, "the server goes on counting by itself", ASK_AGAIN_SECONDS + RECOVERY_SECONDS)
