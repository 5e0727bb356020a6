"""The background of a running server: counts written down every second, and the jobs that it leases."""

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from steelyard.server.context import Registry
from steelyard.server.core import jobs
from steelyard.server.core.arrivals import proofs
from steelyard.server.core.xet import chunking
from steelyard.server.db.tables import utc_now
from steelyard.server.errors import RegistryError
from steelyard.server.jobs import cutting, gc
from steelyard.server.jobs.gc import Collected, Stopped

log = logging.getLogger(__name__)
_COUNT_SECONDS = 1.0  # the contract lets counts lag by five
_LOOK_SECONDS = 1.0  # between looks for jobs that are due
_EXTENSIONS = 3  # of a lease before it runs out: two may fail


class Worker:
    """A thread for each chore, so that a long clean-up holds up no count. What fails is tried again the next time.

    One thread extends the leases of what runs in the others, until the last of them has ended.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._stopping, self._stopped = threading.Event(), threading.Event()
        every_lease = registry.settings.job_lease_seconds / _EXTENSIONS
        self._extending = _every(every_lease, self._stopped, "leases could not be extended", registry.leases.extend)
        self._threads = [
            _every(_COUNT_SECONDS, self._stopping, "counts could not be written yet", self._write_down),
            _every(_LOOK_SECONDS, self._stopping, "proofs could not be looked for", registry.prover.run_due),
            _every(_LOOK_SECONDS, self._stopping, "files were not cut into chunks", self._cut),
            _every(_LOOK_SECONDS, self._stopping, "images could not be looked for", registry.imager.run_due),
            _every(_LOOK_SECONDS, self._stopping, "tars could not be looked for", registry.unpacker.run_due),
        ]
        if registry.post is not None:
            tell = registry.monitor.metrics.tell
            self._threads.append(_every(_COUNT_SECONDS, self._stopping, "other workers could not be told", tell))
        if registry.settings.gc_interval_seconds:
            self._threads.append(_every(_LOOK_SECONDS, self._stopping, "clean-up did not end", self._clean_up))

    def start(self) -> None:
        """Go on with what an earlier server left, then with the chores."""
        with self._registry.database.write() as session:
            if self._registry.post is not None:
                jobs.forget_leases(session, self._registry.leases.holder)  # of whoever had this post before, and died
            elif self._registry.database.is_sqlite:
                jobs.forget_leases(session)  # held by a server that is gone: two never share a file
            proofs.enqueue_left(session)
            if self._registry.settings.xet:
                chunking.enqueue_left(session)
            if self._registry.settings.gc_interval_seconds:
                jobs.schedule(session, jobs.CLEAN_UP, self._next_clean_up())
        self._registry.prover.run_due()
        for thread in (self._extending, *self._threads):
            thread.start()

    def stop(self) -> None:
        """Finish what runs, and write down what is not yet."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._registry.prover.close()
        self._registry.imager.close()
        self._registry.unpacker.close()
        self._stopped.set()
        self._extending.join()
        _attempt("counts are lost", self._write_down)

    def _write_down(self) -> None:
        self._registry.usage.write_down(self._registry.database)

    def _cut(self) -> None:
        """Whatever was enqueued while chunks are not wanted is enqueued again when they are."""
        registry = self._registry
        if registry.settings.xet:
            cutting.run_due(registry.database, registry.store, registry.leases, self._stopping.is_set)
        else:
            cutting.forget_due(registry.database)

    def _clean_up(self) -> None:
        """Clean up where it is due and no other server does. A server that ends leaves the rest to the others."""
        settings, leases = self._registry.settings, self._registry.leases
        for lease in leases.claim(jobs.CLEAN_UP, 1):
            with leases.working_on(lease):
                try:
                    collected = gc.collect(
                        self._registry.database,
                        self._registry.store,
                        grace_seconds=settings.gc_grace_seconds,
                        upload_ttl_seconds=settings.upload_ttl_seconds,
                        xorb_grace_seconds=settings.xorb_grace_seconds,
                        is_stopping=self._stopping.is_set,
                    )
                except Stopped:
                    leases.hand_back([lease])
                    return
                leases.do_again(lease, self._next_clean_up())
            self._tell(collected)

    def _tell(self, collected: Collected) -> None:
        count = self._registry.monitor.count
        count("removed", len(collected.blobs), kind="blob")
        count("removed", len(collected.xorbs), kind="xorb")
        count("removed", len(collected.orphans), kind="orphan")
        count("removed", len(collected.uploads), kind="upload")
        count("freed_bytes", sum(size for _, size in collected.blobs), kind="blob")
        count("freed_bytes", sum(size for _, size in collected.xorbs), kind="xorb")
        count("freed_bytes", sum(name.size_bytes for name in collected.orphans), kind="orphan")

    def _next_clean_up(self) -> datetime:
        return utc_now() + timedelta(seconds=self._registry.settings.gc_interval_seconds)


def _every(seconds: float, stopping: threading.Event, failed: str, chore: Callable[[], object]) -> threading.Thread:
    def run() -> None:
        while not stopping.wait(seconds):
            _attempt(failed, chore)

    return threading.Thread(target=run, name=getattr(chore, "__name__", "chore").strip("_"), daemon=True)


def _attempt(failed: str, chore: Callable[[], object]) -> None:
    """Do a chore; whatever goes wrong is logged, and ends neither the thread nor the other chores."""
    try:
        chore()
    except RegistryError as error:
        log.warning("%s: %s", failed, error.detail)
    except Exception:
        log.exception("%s", failed)
