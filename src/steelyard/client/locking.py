"""A lock between processes that a dying process lets go of."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from steelyard.client.parallel import Stop

_POLL_SECONDS = 0.05


@contextmanager
def file_lock(path: Path, stop: Stop, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock file at `path`, waiting for whoever has it; raises Interrupted when `stop` goes up meanwhile.

    `waiting` is called once when it is not free at once.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        while not _try_lock(handle):
            if waiting is not None:
                waiting()
                waiting = None
            stop.pause(_POLL_SECONDS)
        yield
    finally:
        os.close(handle)  # lets go of the lock


if sys.platform == "win32":
    import msvcrt

    def _try_lock(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
