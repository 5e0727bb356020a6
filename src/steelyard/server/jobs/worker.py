"""The background of a running server: a thread that writes counts down every second and cleans up every so often."""

import logging
import threading
import time

from steelyard.server.context import Registry
from steelyard.server.errors import RegistryError
from steelyard.server.jobs import gc

log = logging.getLogger(__name__)
_TICK_SECONDS = 1.0  # the contract lets counts lag by five


class Worker:
    """Runs until it is stopped; what fails once is tried again at the next tick."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._next_clean_up = time.monotonic() + registry.settings.gc_interval_seconds

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
            self._clean_up_when_due()

    def _tick(self) -> None:
        try:
            self._registry.usage.write_down(self._registry.database)
        except RegistryError as error:
            log.warning("counts could not be written yet: %s", error.detail)

    def _clean_up_when_due(self) -> None:
        settings = self._registry.settings
        if not settings.gc_interval_seconds or time.monotonic() < self._next_clean_up:
            return
        self._next_clean_up = time.monotonic() + settings.gc_interval_seconds
        try:
            gc.collect(
                self._registry.database,
                self._registry.store,
                grace_seconds=settings.gc_grace_seconds,
                upload_ttl_seconds=settings.upload_ttl_seconds,
            )
        except RegistryError as error:
            log.warning("clean-up did not end: %s", error.detail)
