"""What is looked at when somebody scrapes: how the parts stand at this moment.

A scrape must answer most of all when something is wrong. So a part is asked in a thread of its own, one question at a
time, and who does not answer within a second is down, for this scrape.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Generic, TypeVar

from prometheus_client.metrics_core import Metric
from sqlalchemy.pool import QueuePool

from steelyard.server.context import Registry
from steelyard.server.core import jobs
from steelyard.server.core.arrivals import uploads
from steelyard.server.core.jobs import Backlog
from steelyard.server.errors import RegistryError
from steelyard.server.watching import instruments
from steelyard.server.watching.instruments import Instrument
from steelyard.server.watching.metrics import Sampling

log = logging.getLogger(__name__)
_WITHIN_SECONDS = 1.0

T = TypeVar("T")
Sample = tuple[Sequence[str], float]
"""The values of the labels, and the number."""


@dataclass(frozen=True, slots=True)
class _Queues:
    """What only the database knows."""

    uploads: dict[str, int]
    backlogs: list[Backlog]


class Samples(Sampling):
    """The metrics that nobody moves: they are found out at each scrape."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="probe")
        self._database = _Probe(self._threads, "database", self._queues)
        self._store = _Probe(self._threads, "store", registry.store.free_bytes)

    def describe(self) -> Iterable[Metric]:
        """Nothing is asked before the first scrape."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """How everything stands now."""
        for instrument, samples in self._found():
            family = Metric(instrument.name, instrument.says, instrument.kind)
            for values, number in samples:
                family.add_sample(instrument.name, dict(zip(instrument.labels, values, strict=True)), number)
            yield family

    def of_this_process(self) -> Iterator[tuple[Instrument, float]]:
        """What is this process's alone, and asks nobody."""
        yield instruments.CONNECTIONS, float(_connections_in_use(self._registry))
        yield instruments.CACHE_BYTES, float(self._registry.trees.bytes_kept)
        yield instruments.COUNTS_ALONE, float(self._registry.limiter.counts_alone)

    def close(self) -> None:
        """Ask no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _found(self) -> Iterator[tuple[Instrument, Sequence[Sample]]]:
        until = monotonic() + _WITHIN_SECONDS
        for probe in (self._database, self._store):
            probe.begin()
        queues, free = self._database.answer(until), self._store.answer(until)
        up = [(("database",), float(queues is not None)), (("store",), float(free is not None))]
        yield instruments.UP, up
        yield instruments.FREE_BYTES, [((), float(free.said))] if free and free.said is not None else []
        if queues is not None:
            yield from _of_queues(queues.said)
        if not self._registry.monitor.metrics.is_shared:
            yield from ((instrument, [((), number)]) for instrument, number in self.of_this_process())

    def _queues(self) -> _Queues:
        with self._registry.database.read() as session:
            return _Queues(uploads.count_by_state(session), jobs.list_backlogs(session))


def _of_queues(queues: _Queues) -> Iterator[tuple[Instrument, Sequence[Sample]]]:
    states = instruments.UPLOADS.labels["state"]
    yield instruments.UPLOADS, [((state,), float(queues.uploads.get(state, 0))) for state in states]
    found = {backlog.kind: backlog for backlog in queues.backlogs}
    kinds = [found.get(kind) or Backlog(kind) for kind in instruments.JOBS.labels["kind"]]
    yield (
        instruments.JOBS,
        [
            ((backlog.kind, state), float(getattr(backlog, state)))
            for backlog in kinds
            for state in instruments.JOBS.labels["state"]
        ],
    )
    yield instruments.JOB_AGE, [((backlog.kind,), backlog.oldest_due_seconds) for backlog in kinds]


def _connections_in_use(registry: Registry) -> int:
    pool = registry.database.engine.pool
    return pool.checkedout() if isinstance(pool, QueuePool) else 0


@dataclass(frozen=True, slots=True)
class _Answer(Generic[T]):
    said: T


class _Probe(Generic[T]):
    """Asks one part one question, which may hang: it then holds one thread, and no scrape for longer than a bound."""

    def __init__(self, threads: ThreadPoolExecutor, name: str, question: Callable[[], T]) -> None:
        self._threads, self._name, self._question = threads, name, question
        self._lock = Lock()
        self._asked: Future[T] | None = None

    def begin(self) -> None:
        """Ask, if the last question is answered."""
        with self._lock:
            if self._asked is None or self._asked.done():
                self._asked = self._threads.submit(self._question)

    def answer(self, until: float) -> _Answer[T] | None:
        """What it said, or None: it failed, or did not answer in time."""
        asked = self._asked
        try:
            return _Answer(asked.result(max(0.0, until - monotonic()))) if asked else None
        except (RegistryError, TimeoutError):
            return None
        except Exception:
            log.exception("the %s could not be asked for its metrics", self._name)
            return None
