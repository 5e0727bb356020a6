"""The background of a running server: a thread that writes counts down every second and cleans up every so often."""

import logging
import threading
import time
from collections.abc import Callable

from steelyard.server.context import Registry
from steelyard.server.errors import RegistryError
from steelyard.server.jobs import gc

log = logging.getLogger(__name__)
_TICK_SECONDS = 1.0  # the contract lets counts lag by five
_RESUME_SECONDS = 60.0  # between looks for proofs that a failing store or database broke off


class Worker:
    """Runs until it is stopped; what fails once is tried again at the next tick."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._next_clean_up = time.monotonic() + registry.settings.gc_interval_seconds
        self._next_resume = time.monotonic() + _RESUME_SECONDS

    def start(self) -> None:
        """Go on with what an earlier server left, then tick."""
        self._registry.prover.resume()
        self._thread.start()

    def stop(self) -> None:
        """Finish what runs, and write down what is not yet."""
        self._stopping.set()
        self._thread.join()
        self._registry.prover.close()
        self._tick()

    def _run(self) -> None:
        while not self._stopping.wait(_TICK_SECONDS):
            self._tick()
            self._resume_when_due()
            self._clean_up_when_due()

    def _tick(self) -> None:
        registry = self._registry
        _attempt("counts could not be written yet", lambda: registry.usage.write_down(registry.database))

    def _resume_when_due(self) -> None:
        if time.monotonic() >= self._next_resume:
            self._next_resume = time.monotonic() + _RESUME_SECONDS
            _attempt("proofs could not be resumed", self._registry.prover.resume)

    def _clean_up_when_due(self) -> None:
        settings = self._registry.settings
        if not settings.gc_interval_seconds or time.monotonic() < self._next_clean_up:
            return
        self._next_clean_up = time.monotonic() + settings.gc_interval_seconds
        _attempt("clean-up did not end", self._clean_up)

    def _clean_up(self) -> None:
        settings = self._registry.settings
        gc.collect(
            self._registry.database,
            self._registry.store,
            grace_seconds=settings.gc_grace_seconds,
            upload_ttl_seconds=settings.upload_ttl_seconds,
        )


def _attempt(failed: str, chore: Callable[[], object]) -> None:
    """Do a chore; whatever goes wrong is logged, and ends neither the thread nor the other chores."""
    try:
        chore()
    except RegistryError as error:
        log.warning("%s: %s", failed, error.detail)
    except Exception:
        log.exception("%s", failed)
