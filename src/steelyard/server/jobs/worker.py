"""The background of a running server: a thread that writes counts down every second and cleans up every so often."""

import logging
import threading
from collections.abc import Callable

from steelyard.server.context import Registry
from steelyard.server.errors import RegistryError
from steelyard.server.jobs import gc

log = logging.getLogger(__name__)
_COUNT_SECONDS = 1.0  # the contract lets counts lag by five
_RESUME_SECONDS = 60.0  # between looks for proofs that a failing store or database broke off


class Worker:
    """A thread for each chore, so that a long clean-up holds up no count. What fails is tried again the next time."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._stopping = threading.Event()
        self._threads = [
            self._every(_COUNT_SECONDS, "counts could not be written yet", self._write_down),
            self._every(_RESUME_SECONDS, "proofs could not be resumed", registry.prover.resume),
        ]
        if interval := registry.settings.gc_interval_seconds:
            self._threads.append(self._every(interval, "clean-up did not end", self._clean_up))

    def start(self) -> None:
        """Go on with what an earlier server left, then with the chores."""
        self._registry.prover.resume()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish what runs, and write down what is not yet."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._registry.prover.close()
        _attempt("counts are lost", self._write_down)

    def _every(self, seconds: float, failed: str, chore: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            while not self._stopping.wait(seconds):
                _attempt(failed, chore)

        return threading.Thread(target=run, name=getattr(chore, "__name__", "chore").strip("_"), daemon=True)

    def _write_down(self) -> None:
        self._registry.usage.write_down(self._registry.database)

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
