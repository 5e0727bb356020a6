"""Jobs that this server has leased: kept while it works on them, put off when it fails, handed back when it ends."""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from steelyard.server.core import jobs
from steelyard.server.core.jobs import Holder, Lease
from steelyard.server.db.engine import Database
from steelyard.server.errors import RegistryError
from steelyard.server.watching import UNWATCHED, Watch

log = logging.getLogger(__name__)


class Leases:
    """What this server holds. `extend` is called by a thread of the worker, several times within a lease."""

    def __init__(self, database: Database, holder: Holder, *, watch: Watch = UNWATCHED) -> None:
        self.holder, self._watch = holder, watch
        self._database = database
        self._lock = threading.Lock()
        self._held: set[Lease] = set()

    def claim(self, kind: str, most: int) -> list[Lease]:
        """Lease what is due of a kind. Looks before it writes: mostly there is nothing."""
        with self._database.read() as session:
            if not jobs.has_due(session, kind):
                return []
        with self._database.write() as session:
            leases = jobs.claim(session, self.holder, kind, most)
        for lease in leases:
            self.keep(lease)
        return leases

    def keep(self, lease: Lease) -> None:
        """Extend this one from now on."""
        with self._lock:
            self._held.add(lease)

    def extend(self) -> None:
        """Tell the database that this server lives."""
        with self._lock:
            held = list(self._held)
        if held:
            with self._database.write(beside=True) as session:
                jobs.extend(session, self.holder, held)

    @contextmanager
    def working_on(self, lease: Lease) -> Iterator[None]:
        """Let go of the lease when the block ends, and put the job off where it failed before it was done."""
        try:
            with self._watch.work("job", lease.kind):
                yield
        except Exception as error:
            self._drop(lease)
            self._put_off(lease, error)
            raise
        finally:
            self._drop(lease)

    def do_again(self, lease: Lease, run_at: datetime) -> None:
        """The job is done, until that time."""
        with self._database.write() as session:
            jobs.do_again(session, lease, run_at)

    def hand_back(self, leases: Sequence[Lease]) -> None:
        """Let others have what was not begun."""
        for lease in leases:
            self._drop(lease)
        if leases:
            with self._database.write() as session:
                jobs.hand_back(session, leases)

    def _put_off(self, lease: Lease, failure: Exception) -> None:
        words = failure.detail if isinstance(failure, RegistryError) else type(failure).__name__
        try:
            with self._database.write() as session:
                jobs.postpone(session, lease, words)
        except RegistryError as error:
            log.warning("a job that failed is left until its lease runs out: %s", error.detail)

    def _drop(self, lease: Lease) -> None:
        """Extend it no more."""
        with self._lock:
            self._held.discard(lease)
