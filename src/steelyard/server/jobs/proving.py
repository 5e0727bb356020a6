"""Proving uploads: hashing what arrived in parts, off the request that asked for it, at most once at a time each."""

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor

from sqlalchemy import select

from steelyard.server.core import uploads
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Upload
from steelyard.server.errors import Invalid, RegistryError
from steelyard.server.storage import BlobStore

log = logging.getLogger(__name__)
_AT_ONCE = 2  # hashing is bound by the processor; more would only make each slower


class Prover:
    """Runs `uploads.prove` in threads of its own. What a dying server was proving, the next one proves."""

    def __init__(self, database: Database, store: BlobStore) -> None:
        self._database, self._store = database, store
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="prover")
        self._lock = threading.Lock()
        self._running: dict[str, Future[None]] = {}

    def prove(self, upload: Upload) -> Future[None]:
        """Begin, or join, the proof of an upload. The future raises what the proof raises, and it is logged here."""
        with self._lock:
            running = self._running.get(upload.id)
            if running is not None:
                return running
            proof = self._threads.submit(uploads.prove, self._database, self._store, upload)
            self._running[upload.id] = proof
        # Outside the lock: a proof that has ended by now calls back at once, in this thread.
        proof.add_done_callback(lambda done: self._end(upload.id, done))
        return proof

    def _end(self, upload_id: str, proof: "Future[None]") -> None:
        with self._lock:
            self._running.pop(upload_id, None)
        _log_failure(proof)

    def resume(self) -> int:
        """Go on with proofs that were begun and not ended, by a server before this one or by a store that failed.

        Answers how many there are; those that run already are only counted.
        """
        with self._database.read() as session:
            interrupted = list(session.scalars(select(Upload).where(Upload.state == "proving")))
        for upload in interrupted:
            self.prove(upload)
        return len(interrupted)

    def close(self) -> None:
        """Wait for the proofs that run, begin no more."""
        self._threads.shutdown(wait=True, cancel_futures=True)


def _log_failure(proof: "Future[None]") -> None:
    error = None if proof.cancelled() else proof.exception()
    if isinstance(error, Invalid):
        log.info("an upload turned out wrong: %s", error)
    elif isinstance(error, RegistryError):
        log.warning("an upload could not be proven, and will be tried again: %s", error)
    elif error is not None:
        log.error("an upload could not be proven", exc_info=error)
