"""Proving uploads: hashing what arrived in parts, off the request that asked for it, by whichever server leased it."""

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context

from steelyard.server.core import jobs
from steelyard.server.core.arrivals import proofs, straight
from steelyard.server.core.jobs import Lease, LeaseLost
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Upload
from steelyard.server.errors import Conflict, Invalid, RegistryError
from steelyard.server.jobs.leasing import Leases
from steelyard.server.storage import BlobStore

log = logging.getLogger(__name__)
_AT_ONCE = 2  # hashing is bound by the processor; more would only make each slower


class Prover:
    """Runs `proofs.prove` in threads of its own. What a dying server was proving, another one proves."""

    def __init__(self, database: Database, store: BlobStore, leases: Leases) -> None:
        self._database, self._store, self._leases = database, store, leases
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="prover")
        self._lock = threading.Lock()
        self._running: dict[Lease, Future[None]] = {}

    def start(self, upload: Upload) -> "Future[None] | None":
        """All parts are here: note it, and begin the proof or join it. None where another server is at it, or was.

        The future raises what the proof raises, and it is logged here. Raises what `proofs.start_proving` does.
        """
        if upload.state == "open" and upload.handle is not None:
            self._check_arrived(upload)
        with self._database.write() as session:
            if session.get(Upload, upload.id) is None:
                return None  # it has ended since the caller looked
            proofs.start_proving(session, upload.id)
            forgotten = self._find(upload.id) is None
            lease = jobs.take(session, self._leases.holder, jobs.PROVE, upload.id, forgotten=forgotten)
        return self._find(upload.id) if lease is None else self._begin(lease)

    def join(self, upload: Upload) -> "Future[None] | None":
        """As `start`, for an upload that is being proven: begins anew what a failing store broke off."""
        if running := self._find(upload.id):
            return running
        with self._database.read() as session:
            if jobs.is_leased(session, jobs.PROVE, upload.id):
                return None
        return self.start(upload)

    def _check_arrived(self, upload: Upload) -> None:
        """Ask the store for the parts. By the time it answers another request may have completed, or ended, it."""
        try:
            straight.check_arrived(self._store, upload)
        except Conflict:
            with self._database.read() as session:
                row = session.get(Upload, upload.id)
            if row is not None and row.state == "open":
                raise

    def run_due(self) -> int:
        """Go on with proofs that nobody is at: their server died, or the store failed. Answers how many.

        Takes no more than there are idle threads, so that other servers get the rest.
        """
        with self._lock:
            idle = _AT_ONCE - len(self._running)
        leases = self._leases.claim(jobs.PROVE, idle) if idle > 0 else []
        for lease in leases:
            self._begin(lease)
        return len(leases)

    def close(self) -> None:
        """Wait for the proofs that run; others may have those that do not yet."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            waiting = [lease for lease, proof in self._running.items() if proof.cancelled()]
        try:
            self._leases.hand_back(waiting)
        except RegistryError as error:
            log.warning("proofs are left until their lease runs out: %s", error.detail)
        self._threads.shutdown(wait=True)

    def _find(self, upload_id: str) -> "Future[None] | None":
        with self._lock:
            return next((proof for lease, proof in self._running.items() if lease.subject == upload_id), None)

    def _begin(self, lease: Lease) -> "Future[None]":
        self._leases.keep(lease)
        with self._lock:
            proof = self._threads.submit(copy_context().run, self._prove, lease)
            self._running[lease] = proof
        # Outside the lock: a proof that has ended by now calls back at once, in this thread.
        proof.add_done_callback(lambda done: self._end(lease, done))
        return proof

    def _prove(self, lease: Lease) -> None:
        with self._leases.working_on(lease):
            proofs.prove(self._database, self._store, lease)

    def _end(self, lease: Lease, proof: "Future[None]") -> None:
        if proof.cancelled():
            return  # `close` hands it back
        with self._lock:
            self._running.pop(lease, None)
        _log_failure(proof.exception())


def _log_failure(error: BaseException | None) -> None:
    if isinstance(error, Invalid):
        log.info("an upload turned out wrong: %s", error)
    elif isinstance(error, LeaseLost):
        log.warning("a proof took longer than its lease was extended, and another server has it now")
    elif isinstance(error, RegistryError):
        log.warning("an upload could not be proven, and will be tried again: %s", error)
    elif error is not None:
        log.error("an upload could not be proven", exc_info=error)
