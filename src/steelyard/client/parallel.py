"""Running jobs in a few threads, so that the first failure or a Ctrl-C stops them all at their next piece of work."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from steelyard.client.errors import Interrupted

Job = Callable[[], object]
_GRACE_SECONDS = 2.0


class Stop:
    """A flag every long loop looks at, and the pause that ends when it is raised. A child goes up with its parent."""

    def __init__(self, parent: "Stop | None" = None) -> None:
        self._event = threading.Event()
        self._parent = parent

    def raise_flag(self) -> None:
        """Ask all threads of the transfer to end."""
        self._event.set()

    @property
    def is_up(self) -> bool:
        """Whether the flag is up."""
        return self._event.is_set() or (self._parent is not None and self._parent.is_up)

    def check(self) -> None:
        """Raises Interrupted once the flag is up."""
        if self.is_up:
            raise Interrupted("the transfer was stopped")

    def pause(self, seconds: float) -> None:
        """Sleep, or raise Interrupted as soon as the flag is up."""
        self._event.wait(seconds)
        self.check()


class Slots:
    """So many at a time: who enters waits for a free slot, or for the flag."""

    def __init__(self, count: int) -> None:
        self._free = threading.Semaphore(count)

    @contextmanager
    def one(self, stop: Stop) -> Iterator[None]:
        """Hold a slot."""
        while not self._free.acquire(timeout=0.1):
            stop.check()
        try:
            yield
        finally:
            self._free.release()


def in_parallel(jobs: Iterable[Job], *, threads: int, stop: Stop) -> None:
    """Run all jobs; raise what the first failing one raised, after the others have come to rest.

    The threads are daemons: one that hangs in the network cannot keep a command from ending after Ctrl-C.
    """
    queue = deque(jobs)
    if len(queue) == 1:
        queue[0]()
        return
    failures: list[BaseException] = []
    workers = [
        threading.Thread(target=_work, args=(queue, failures, stop), daemon=True, name="steelyard")
        for _ in range(min(threads, len(queue)))
    ]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    except BaseException:
        stop.raise_flag()
        for worker in workers:
            if worker.ident is not None:
                worker.join(_GRACE_SECONDS / len(workers))
        raise
    if failures:
        raise next((each for each in failures if not isinstance(each, Interrupted)), failures[0])


def _work(queue: "deque[Job]", failures: list[BaseException], stop: Stop) -> None:
    while not failures:
        try:
            job = queue.popleft()
        except IndexError:
            return
        try:
            stop.check()
            job()
        except BaseException as error:
            failures.append(error)
            stop.raise_flag()
