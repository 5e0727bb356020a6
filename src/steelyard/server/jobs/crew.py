"""Threads in which a server does jobs of one kind that somebody may be waiting for, here or at another server."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context

from sqlalchemy.orm import Session

from steelyard.server.core import jobs
from steelyard.server.core.jobs import Lease, LeaseLost, Stopped
from steelyard.server.db.engine import Database
from steelyard.server.errors import RegistryError
from steelyard.server.jobs.leasing import Leases

log = logging.getLogger(__name__)
_AT_ONCE = 2  # what is bound by the processor would only be slower with more

Work = Callable[[Lease, Callable[[], bool]], None]
"""Does a leased job, unless it is asked to stop: then it raises `Stopped`."""


class Crew:
    """Does the jobs of one kind. What a dying server was doing, another one does again."""

    def __init__(self, database: Database, leases: Leases, kind: str, work: Work) -> None:
        self._database, self._leases, self._kind, self._work = database, leases, kind, work
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix=kind)
        self._stopping = threading.Event()
        self._lock, self._starting = threading.Lock(), threading.Lock()
        self._running: dict[Lease, Future[None]] = {}

    def start(self, subject: str, check: Callable[[Session], None]) -> "Future[None] | None":
        """Have a job done, or join it. None where another server is at it, or all threads here are at others: then
        whoever is idle first takes it.

        The future raises what the work raises, and it is logged here. `check` raises, in the transaction that enqueues
        the job, where there is nothing to be done.
        """
        if running := self._find(subject):
            return running
        with self._database.read() as session:
            if jobs.is_leased(session, self._kind, subject):
                return None
        with self._starting:
            return self._find(subject) or self._take(subject, check)

    def run_due(self) -> int:
        """Do what nobody is at: its server died, or the store failed. Answers how many were begun.

        Takes no more than there are idle threads, so that other servers get the rest.
        """
        with self._starting:
            leases = self._leases.claim(self._kind, self._idle) if self._idle > 0 else []
            for lease in leases:
                self._begin(lease)
        return len(leases)

    def close(self) -> None:
        """Have what runs stop early; others may have it, and what was not begun."""
        self._stopping.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            waiting = [lease for lease, work in self._running.items() if work.cancelled()]
        try:
            self._leases.hand_back(waiting)
        except RegistryError as error:
            log.warning("jobs are left until their lease runs out: %s", error.detail)
        self._threads.shutdown(wait=True)

    def _find(self, subject: str) -> "Future[None] | None":
        with self._lock:
            return next((work for lease, work in self._running.items() if lease.subject == subject), None)

    def _take(self, subject: str, check: Callable[[Session], None]) -> "Future[None] | None":
        """As nothing runs here, a lease of ours is from a transaction whose end we never heard of."""
        with self._database.write() as session:
            check(session)
            if self._idle > 0:
                lease = jobs.take(session, self._leases.holder, self._kind, subject, forgotten=True)
            else:
                jobs.enqueue(session, self._kind, subject)
                lease = None
        return None if lease is None else self._begin(lease)

    @property
    def _idle(self) -> int:
        """How many threads have nothing to do."""
        return _AT_ONCE - len(self._running)

    def _begin(self, lease: Lease) -> "Future[None]":
        self._leases.keep(lease)
        with self._lock:
            work = self._threads.submit(copy_context().run, self._do, lease)
            self._running[lease] = work
        # Outside the lock: work that has ended by now calls back at once, in this thread.
        work.add_done_callback(lambda done: self._end(lease, done))
        return work

    def _do(self, lease: Lease) -> None:
        with self._leases.working_on(lease):
            try:
                self._work(lease, self._stopping.is_set)
            except Stopped:
                self._leases.hand_back([lease])

    def _end(self, lease: Lease, work: "Future[None]") -> None:
        if work.cancelled():
            return  # `close` hands it back
        with self._lock:
            self._running.pop(lease, None)
        self._log_failure(work.exception())

    def _log_failure(self, error: BaseException | None) -> None:
        if isinstance(error, LeaseLost):
            log.warning("a job '%s' took longer than its lease was extended: another server has it", self._kind)
        elif isinstance(error, RegistryError):
            log.warning("a job '%s' failed: %s", self._kind, error)
        elif error is not None:
            log.error("a job '%s' failed", self._kind, exc_info=error)
