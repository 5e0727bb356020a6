"""Any fault of any part at any moment, one after the other, while people publish and read."""

import time
from random import Random

import pytest

from tests.conftest import Tell
from tests.faults.asking import FAULTS, OF_A_STORE
from tests.faults.load import Load
from tests.faults.site import PARTS, Part, Site
from tests.house.wires import Fault
from tests.reliability.soundness import describe

REFUSED = frozenset(
    {
        (502, "database_error"),
        (504, "database_timeout_error"),
        (502, "storage_error"),
        (504, "storage_timeout_error"),
        (409, "conflict_error"),  # still being proven, by a request whose answer was lost
        (404, "not_found_error"),  # a link whose upload was over, and nobody had heard
    }
)


def some_fault(random: Random) -> tuple[Part, Fault]:
    """Of the parts that others than Valkey have, more often."""
    part = random.choice([*PARTS, "database", "store"])
    kinds = [kind for kind in FAULTS if part == "store" or kind not in OF_A_STORE]
    fault = FAULTS[random.choice(kinds)]
    return part, Fault(
        fault.kind,
        way=random.choice(["up", "down"]) if fault.kind in ("cut", "silent") else "up",
        after_bytes=random.choice([0, 0, 5_000, 100_000]) if fault.kind in ("cut", "silent") else 0,
        times=random.choice([None, None, 1, 3]) if fault.kind == "cut" else None,
        delay_seconds=random.choice([0.05, 0.5, 4.0]),
    )


def rage(site: Site, seed: int, rounds: int) -> Load:
    """So many faults, each for a moment, and time to breathe in between; then all that was promised is there."""
    load, random = Load(site, REFUSED), Random(seed)
    with load.going_on(publishers=3, readers=3):
        for _ in range(rounds):
            part, fault = some_fault(random)
            with site.broken(part, fault, must_strike=False):
                time.sleep(random.uniform(0.1, 2.0))
            time.sleep(random.uniform(0.1, 1.0))
        promised = len(load.promised)
        load.wait_for(lambda: len(load.promised) >= promised + 3)
    load.assert_kept()
    return load


def describe_storm(load: Load, rounds: int) -> str:
    return (
        f"faults at any moment: rounds {rounds}; versions promised: {len(load.promised)}, reads: {load.reads}, "
        f"refused meanwhile: {describe(load.refusals)}"
    )


@pytest.mark.thorough
def test_whatever_breaks_whenever_nothing_is_lost(site: Site, tell: Tell) -> None:
    tell(describe_storm(rage(site, seed=1, rounds=3), 3))


@pytest.mark.thorough
def test_whatever_breaks_whenever_nothing_is_lost_for_long(site: Site, tell: Tell) -> None:
    tell(describe_storm(rage(site, seed=2, rounds=120), 120))
