"""To wait for what happens in another process."""

import time
from collections.abc import Callable

_WITHIN_SECONDS = 60.0


def wait_for(happened: Callable[[], object], what: str) -> None:
    """Wait until something is so. Raises AssertionError when it never is."""
    deadline = time.monotonic() + _WITHIN_SECONDS
    while not happened():
        assert time.monotonic() < deadline, f"waited for {what} in vain"
        time.sleep(0.05)
