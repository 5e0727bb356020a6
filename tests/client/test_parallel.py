"""Jobs in threads: the first failure stops the rest."""

import threading
import time
from pathlib import Path

import pytest

from steelyard.client.errors import Interrupted
from steelyard.client.locking import file_lock
from steelyard.client.parallel import Slots, Stop, in_parallel


def test_all_jobs_run() -> None:
    done: list[int] = []
    in_parallel([lambda n=n: done.append(n) for n in range(100)], threads=4, stop=Stop())  # type: ignore[misc]
    assert sorted(done) == list(range(100))


def test_the_first_failure_stops_the_rest_and_is_raised() -> None:
    stop, started = Stop(), []

    def work(number: int) -> None:
        started.append(number)
        if number == 3:
            raise KeyError("three")
        stop.pause(5)

    begun = time.monotonic()
    with pytest.raises(KeyError):
        in_parallel([lambda n=n: work(n) for n in range(50)], threads=4, stop=stop)  # type: ignore[misc]
    assert time.monotonic() - begun < 3
    assert len(started) < 10


def test_a_flag_raised_outside_ends_a_pause_and_a_wait_for_a_slot() -> None:
    stop, slots = Stop(), Slots(1)
    threading.Timer(0.1, stop.raise_flag).start()
    with pytest.raises(Interrupted):
        stop.pause(10)
    with slots.one(Stop()), pytest.raises(Interrupted), slots.one(stop):
        pass


def test_a_child_goes_up_with_its_parent_and_not_the_other_way() -> None:
    parent = Stop()
    child = Stop(parent)
    child.raise_flag()
    assert not parent.is_up
    parent.raise_flag()
    assert Stop(parent).is_up


def test_only_one_holds_a_lock_and_the_next_is_told_to_wait(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with file_lock(tmp_path / "l", Stop(), lambda: order.append("waits")):
            order.append("second")

    with file_lock(tmp_path / "l", Stop()):
        thread = threading.Thread(target=second)
        thread.start()
        while not order:
            time.sleep(0.01)
        order.append("first")
    thread.join(5)
    assert order == ["waits", "first", "second"]
