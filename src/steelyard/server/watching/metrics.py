"""What is measured while the registry runs, in instruments of `prometheus_client`; and the page that Prometheus reads.

Each application has a registry of instruments of its own, so that two in one process do not meet.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import product
from time import perf_counter
from types import TracebackType
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from steelyard import __version__
from steelyard.server.errors import DatabaseFailed, DatabaseTimeout, RegistryError, StorageFailed, StorageTimeout
from steelyard.server.watching import Answered, Counted, Part, instruments
from steelyard.server.watching.instruments import METHODS, OPEN, Instrument
from steelyard.server.watching.sharing import SharedNumbers

M = TypeVar("M", Counter, Gauge, Histogram)

_OWN_FAULTS: dict[Part, tuple[type[Exception], ...]] = {
    "database": (DatabaseFailed, DatabaseTimeout),
    "lock": (),  # the transaction that waits for it is the one that fails
    "store": (StorageFailed, StorageTimeout),
    "job": (Exception,),
}
"""What counts as a failure of the part itself: other things are raised through it, and are none."""


class Metrics:
    """The instruments, and the few ways to move them. Safe to use from any thread."""

    def __init__(self, shared: SharedNumbers | None = None) -> None:
        self._registry, self._shared = CollectorRegistry(), shared
        self._added: list[Sampling] = []
        # Where to call `render`: when requests hold all other threads, somebody wants to see that.
        self.threads = ThreadPoolExecutor(2, thread_name_prefix="scrape")
        if shared is None:
            ProcessCollector(registry=self._registry)
        else:
            shared.show_in(self._registry)
        self._requests = self._make(Counter, instruments.REQUESTS)
        self._request_seconds = self._make(Histogram, instruments.REQUEST_SECONDS)
        self._in_flight = self._make(Gauge, instruments.IN_FLIGHT)
        self._received_bytes = self._make(Counter, instruments.RECEIVED_BYTES)
        self._sent_bytes = self._make(Counter, instruments.SENT_BYTES)
        self._redirected_bytes = self._make(Counter, instruments.REDIRECTED_BYTES)
        self._seconds: dict[Part, Histogram] = {
            "database": self._make(Histogram, instruments.TRANSACTION_SECONDS),
            "lock": self._make(Histogram, instruments.LOCK_SECONDS),
            "store": self._make(Histogram, instruments.STORE_SECONDS),
            "job": self._make(Histogram, instruments.JOB_SECONDS),
        }
        self._failures: dict[Part, Counter] = {
            "database": self._make(Counter, instruments.DATABASE_FAILURES),
            "store": self._make(Counter, instruments.STORE_FAILURES),
            "job": self._make(Counter, instruments.JOB_FAILURES),
        }
        self._counted: dict[Counted, Counter] = {
            "tree_cache_hits": self._make(Counter, instruments.CACHE_HITS),
            "tree_cache_misses": self._make(Counter, instruments.CACHE_MISSES),
            "store_read_bytes": self._make(Counter, instruments.STORE_READ_BYTES),
            "store_written_bytes": self._make(Counter, instruments.STORE_WRITTEN_BYTES),
            "proof_read_bytes": self._make(Counter, instruments.PROOF_BYTES),
            "refusals": self._make(Counter, instruments.REFUSALS),
            "removed": self._make(Counter, instruments.REMOVED),
            "freed_bytes": self._make(Counter, instruments.FREED_BYTES),
        }
        own = instruments.OF_EACH_WORKER if shared else ()
        self._own = {instrument.name: self._make(Gauge, instrument) for instrument in own}
        self._make(Gauge, instruments.BUILD).labels(__version__).set(1)
        # Finding the instrument of some labels costs more than moving it.
        self._work_of = cache(self._find_work)
        self._request_of = cache(self._find_request)

    def _make(self, kind: type[M], instrument: Instrument) -> M:
        """Where every value of its labels is known, a counter begins at 0 and not with its first event."""
        more: dict[str, Any] = {"buckets": instrument.buckets} if instrument.buckets else {}
        if kind is Gauge:
            more["multiprocess_mode"] = f"live{instrument.together}"
        page = None if self._shared else self._registry  # what is shared is read from where all workers write it
        made = kind(instrument.name, instrument.says, tuple(instrument.labels), registry=page, **more)
        if kind is Counter and instrument.labels and OPEN not in instrument.labels.values():
            for values in product(*instrument.labels.values()):
                made.labels(*values)
        return made

    # --- requests

    def request_began(self) -> None:
        """One more is being answered."""
        self._in_flight.inc()

    def request_ended(self, answered: Answered) -> None:
        """It is answered. Any method may come; its route is a template."""
        self._in_flight.dec()
        method = answered.method if answered.method in METHODS else "other"
        found = self._request_of(method, answered.route)
        self._requests.labels(method, answered.route, str(answered.status)).inc()
        found.seconds.observe(answered.seconds)
        found.received_bytes.inc(answered.received_bytes)
        found.sent_bytes.inc(answered.sent_bytes)
        if answered.redirected_bytes:
            self._redirected_bytes.labels(method, answered.route).inc(answered.redirected_bytes)

    def _find_request(self, method: str, route: str) -> "_Request":
        return _Request(self._request_seconds, self._received_bytes, self._sent_bytes, method, route)

    # --- the parts

    def work(self, part: Part, kind: str) -> "_Work":
        """Measures what happens inside it."""
        return _Work(self, part, kind)

    def work_ended(self, part: Part, kind: str, seconds: float, fault: BaseException | None) -> None:
        """A piece of work took so long, and may have failed."""
        self._work_of(part, kind).observe(seconds)
        if fault is not None and isinstance(fault, _OWN_FAULTS[part]):
            self._failures[part].labels(kind, _reason(part, fault)).inc()

    def _find_work(self, part: Part, kind: str) -> Histogram:
        return self._seconds[part].labels(kind)

    def count(self, what: Counted, amount: int = 1, *, kind: str = "") -> None:
        """So many more of this."""
        counter = self._counted[what]
        (counter.labels(kind) if kind else counter).inc(amount)

    # --- the page

    def add(self, samples: "Sampling") -> None:
        """Show what this finds at each scrape as well."""
        self._registry.register(samples)
        self._added.append(samples)

    @property
    def is_shared(self) -> bool:
        """Whether the page shows what several workers count."""
        return self._shared is not None

    def tell(self) -> None:
        """Let the other workers know how things stand in this one."""
        for samples in self._added:
            for instrument, number in samples.of_this_process():
                self._own[instrument.name].set(number)

    def render(self, accept: str) -> tuple[bytes, str]:
        """The page and its media type, as this Accept header wants it. Blocks for as long as samples are taken."""
        if self.is_shared:
            self.tell()
        encode, media_type = choose_encoder(accept)
        return encode(_Shown(self._registry)), media_type

    def close(self) -> None:
        """Render no more."""
        for samples in self._added:
            samples.close()
        self.threads.shutdown(wait=False, cancel_futures=True)


class Sampling(Collector, ABC):
    """What is found out at each scrape."""

    @abstractmethod
    def of_this_process(self) -> Iterable[tuple[Instrument, float]]:
        """Those of `instruments.OF_EACH_WORKER`."""

    @abstractmethod
    def close(self) -> None:
        """Ask no more."""


class _Work:
    """A stop watch around a piece of work."""

    __slots__ = ("_began", "_kind", "_metrics", "_part")

    def __init__(self, metrics: Metrics, part: Part, kind: str) -> None:
        self._metrics, self._part, self._kind = metrics, part, kind

    def __enter__(self) -> None:
        self._began = perf_counter()

    def __exit__(
        self, _kind: type[BaseException] | None, fault: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._metrics.work_ended(self._part, self._kind, perf_counter() - self._began, fault)


class _Request:
    """The instruments of one method and route."""

    __slots__ = ("received_bytes", "seconds", "sent_bytes")

    def __init__(self, seconds: Histogram, received: Counter, sent: Counter, method: str, route: str) -> None:
        self.seconds = seconds.labels(method, route)
        self.received_bytes, self.sent_bytes = received.labels(method, route), sent.labels(method, route)


class _Shown(Collector):
    """The registry without the series `…_created`, which the text format has no use for: one more for each counter."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        """Every metric, with its samples."""
        yield from map(_without_created, self._registry.collect())


def _without_created(metric: Metric) -> Metric:
    metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
    return metric


def _reason(part: Part, fault: BaseException) -> str:
    """The type that the API has for it; of a job any, so that those that nobody expects there are one."""
    found = str(getattr(fault, "type", RegistryError.type))
    return found if part != "job" or found in instruments.JOB_FAILURES.labels["reason"] else RegistryError.type
