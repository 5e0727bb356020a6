"""What being watched costs a request. The bounds are ten times what was measured (docs/metrics.md): machines differ."""

from collections.abc import Callable
from timeit import repeat

import pytest

from steelyard.server.storage.memory import MemoryStore
from steelyard.server.storage.watched import WatchedStore
from steelyard.server.watching import Answered
from steelyard.server.watching.monitor import Monitor
from tests.conftest import Tell

_ROUNDS = 2_000
_ANSWERED = Answered("GET", "/api/v1/org/{org}", "/api/v1/org/acme", 200, 0.001, 0, 120, 0, "id", "127.0.0.1")


def microseconds(action: Callable[[], object]) -> float:
    """What one takes, at best: whatever else the machine does only adds."""
    return min(repeat(action, number=_ROUNDS, repeat=5)) / _ROUNDS * 1e6


def a_request(monitor: Monitor) -> None:
    """What is counted of every request by itself."""
    monitor.request_ended(_ANSWERED, monitor.request_began("GET", "http", ()))


def a_transaction(monitor: Monitor) -> None:
    """What is around each of them."""
    with monitor.work("database", "read"):
        pass


def a_writing_transaction(monitor: Monitor) -> None:
    """The wait for its turn as well."""
    with monitor.work("database", "write"), monitor.work("lock", "write"):
        pass


def a_hit(monitor: Monitor) -> None:
    """Of a cache."""
    monitor.count("tree_cache_hits")


@pytest.mark.parametrize(
    ("action", "most_us"), [(a_request, 80), (a_transaction, 30), (a_writing_transaction, 60), (a_hit, 10)]
)
def test_counting_is_cheap(action: Callable[[Monitor], None], most_us: float, tell: Tell) -> None:
    monitor = Monitor()
    took_us = microseconds(lambda: action(monitor))
    tell(f"{action.__name__}: {took_us:.1f} µs")
    assert took_us < most_us


def test_a_watched_read_costs_little_more_than_a_read(tell: Tell) -> None:
    monitor, store = Monitor(), MemoryStore()
    upload, key = "ab" * 16, f"{'cd' * 32}.{'ef' * 4}"
    with store.stage(upload, 0) as writer:
        writer.write([bytes(100)])
    store.commit(upload, key)

    def read(some: MemoryStore | WatchedStore) -> Callable[[], object]:
        blob = some.open(key)
        assert blob is not None
        return lambda: blob.read(0, 100)

    more_us = microseconds(read(WatchedStore(store, monitor))) - microseconds(read(store))
    tell(f"a read: {more_us:.1f} µs more")
    assert more_us < 50
