"""What happens inside a running registry, told to whoever watches. This module is all that the parts know of it.

A database, a store, a cache or a job says which piece of work begins and ends, and counts what it did. It says so in
words from short lists, never in names of organisations, models, people or files. What comes of it, `monitor` decides:
numbers for Prometheus, spans for OpenTelemetry. Telling must be cheap, and never fails.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, Protocol

Part = Literal["database", "lock", "store", "job"]
Counted = Literal[
    "tree_cache_hits", "tree_cache_misses", "store_read_bytes", "store_written_bytes", "proof_read_bytes",
    "refusals", "removed", "freed_bytes",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answered:
    """A request of any door, and what became of it. `route` is a template; `path` has no query string."""

    method: str
    route: str
    path: str
    status: int
    seconds: float
    received_bytes: int
    sent_bytes: int
    redirected_bytes: int
    request_id: str
    address: str | None


class Watch(Protocol):
    """Whoever wants to know. Called from any thread, often."""

    def work(self, part: Part, kind: str) -> AbstractContextManager[object]:
        """Stands around a piece of work of a part, whose failure passes through: `("store", "open")`."""
        ...

    def count(self, what: Counted, amount: int = 1, *, kind: str = "") -> None:
        """So many more of this; `kind` where there are several."""
        ...


class Unwatched:
    """Nobody wants to know."""

    def work(self, _part: Part, _kind: str) -> AbstractContextManager[object]:
        """Nothing around it."""
        return _NOTHING

    def count(self, what: Counted, amount: int = 1, *, kind: str = "") -> None:
        """Forgotten."""


_NOTHING: AbstractContextManager[object] = nullcontext()
UNWATCHED = Unwatched()
