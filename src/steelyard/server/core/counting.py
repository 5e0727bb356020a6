"""Where budgets are counted: in Valkey or Redis, by the library `limits`, for all servers that name the same one; or in
the memory of this process, when it is the only one and while the engine does not answer."""

import logging
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Mapping
from threading import Lock
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.strategies import MovingWindowRateLimiter

from steelyard.server.errors import Unavailable

if TYPE_CHECKING:
    from limits.storage import RedisStorage

log = logging.getLogger(__name__)

ASK_AGAIN_SECONDS = 3.0
MOST_CALLERS = 20_000  # that one budget is counted for in memory; who was quiet longest is forgotten first
_SCHEMES = {"redis": "valkey", "rediss": "valkeys", "valkey": "valkey", "valkeys": "valkeys"}


class Count(Protocol):
    """A place where budgets are counted. `is_lost` while this server counts by itself and should not."""

    @property
    def place(self) -> str:
        """What it is, in words, without credentials."""

    @property
    def is_lost(self) -> bool:
        """Whether this server counts by itself although it should count with others."""

    def take(self, action: str, caller: str) -> float | None:
        """Count one use, or answer in how many seconds there is room for one."""

    def rehearse(self) -> None:
        """Count something and forget it again. Raises `Unavailable`."""

    def close(self) -> None:
        """Let go of every connection."""


class LocalCount:
    """Each server for itself."""

    place = "the memory of each server"
    is_lost = False

    def __init__(self, items: Mapping[str, RateLimitItem]) -> None:
        self._windows = {action: LocalWindow(item) for action, item in items.items()}

    def take(self, action: str, caller: str) -> float | None:
        """Count one use, or answer in how many seconds there is room for one."""
        return self._windows[action].take(caller)

    def rehearse(self) -> None:
        """It always can."""

    def close(self) -> None:
        """It holds nothing."""


class LocalWindow:
    """One budget's moving window: who spent when. What is over is let go of."""

    def __init__(self, item: RateLimitItem) -> None:
        self._most, self._seconds = item.amount, item.get_expiry()
        self._spent: OrderedDict[str, deque[float]] = OrderedDict()  # who was quiet longest comes first
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._spent)

    def take(self, caller: str) -> float | None:
        """Count one use, or answer in how many seconds there is room for one."""
        now = time.monotonic()
        with self._lock:
            self._let_go(now)
            spent = self._spent.setdefault(caller, deque(maxlen=self._most))
            self._spent.move_to_end(caller)
            wait_seconds = (spent[0] if spent else now) + self._seconds - now
            if len(spent) >= self._most and wait_seconds > 0:
                return wait_seconds
            spent.append(now)
            return None

    def _let_go(self, now: float) -> None:
        while self._spent:
            quietest = next(iter(self._spent.values()))
            if len(self._spent) < MOST_CALLERS and quietest and quietest[-1] + self._seconds > now:
                return
            self._spent.popitem(last=False)


class SharedCount:
    """With every server that names the same engine. While it does not answer, by itself.

    The first requests that find it silent wait for the timeout. Then none asks until a pause is over, and one does.
    """

    def __init__(self, url: str, items: Mapping[str, RateLimitItem], timeout_seconds: float) -> None:
        self.place = _place(url)
        self._storage = _open_storage(url, timeout_seconds)
        self._window = MovingWindowRateLimiter(self._storage)
        self._silence = (self._storage.dependency.ValkeyError, OSError)
        self._timeout_seconds = timeout_seconds
        self._items, self._local = items, LocalCount(items)
        self._lock = Lock()
        self._lost_at: float | None = None
        self._ask_again_at = 0.0

    @property
    def is_lost(self) -> bool:
        """Whether this server counts by itself for now."""
        return self._lost_at is not None

    def take(self, action: str, caller: str) -> float | None:
        """Count one use, or answer in how many seconds there is room for one."""
        if not self._may_ask():
            return self._local.take(action, caller)
        began = time.monotonic()
        try:
            wait_seconds = self._ask(action, caller)
        except self._silence as error:
            self._lose(self._words(error))
            return self._local.take(action, caller)
        if time.monotonic() - began > 2 * self._timeout_seconds:  # each answer was in time, but one use took several
            self._lose("it answers too slowly")
        else:
            self._find(began)
        return wait_seconds

    def rehearse(self) -> None:
        """Count something and forget it again, where rights may be lacking to. Raises `Unavailable`."""
        item, nonce = RateLimitItemPerMinute(1), secrets.token_hex(8)
        try:
            self._window.hit(item, "rehearsal", nonce)
            self._window.clear(item, "rehearsal", nonce)
        except self._silence as error:
            raise Unavailable(f"{self.place} does not count: {self._words(error)}.") from error

    def close(self) -> None:
        """Let go of every connection."""
        self._storage.storage.connection_pool.disconnect()

    def _ask(self, action: str, caller: str) -> float | None:
        """The use is one script in the engine: of two servers that ask at the same moment, one takes the last."""
        item = self._items[action]
        if self._window.hit(item, action, caller):
            return None
        window = self._window.get_window_stats(item, action, caller)
        # There is room since a moment ago: what the library calls the reset is then a whole window away.
        return 0.0 if window.remaining > 0 else window.reset_time - time.time()

    def _may_ask(self) -> bool:
        with self._lock:
            if self._lost_at is None:
                return True
            if time.monotonic() < self._ask_again_at:
                return False
            self._ask_again_at = time.monotonic() + ASK_AGAIN_SECONDS
            return True

    def _lose(self, why: str) -> None:
        with self._lock:
            first = self._lost_at is None
            self._lost_at = time.monotonic()
            self._ask_again_at = self._lost_at + ASK_AGAIN_SECONDS
        self._storage.storage.connection_pool.disconnect(inuse_connections=False)  # they lead to what is silent
        if first:
            log.warning("%s does not count: %s. This server counts rate limits by itself meanwhile.", self.place, why)

    def _find(self, asked_at: float) -> None:
        """It answers. An answer to what was asked before it was lost says nothing about now."""
        if self._lost_at is None:
            return
        with self._lock:
            found = self._lost_at is not None and self._lost_at < asked_at
            if found:
                self._lost_at = None
        if found:
            log.warning("%s counts again: budgets are common to all servers.", self.place)

    def _words(self, error: Exception) -> str:
        """What went wrong. The client library's messages name host and port, and never a password."""
        if isinstance(error, TimeoutError) or type(error).__name__ == "TimeoutError":
            return f"no answer within {self._timeout_seconds:g} seconds"
        return str(error).rstrip(". ") or type(error).__name__


def _place(url: str) -> str:
    """The engine in words. Raises ValueError, without the URL: if it was misread, a password may be anywhere in it."""
    try:
        parts = urlsplit(url)
        host, port, database = parts.hostname, parts.port or 6379, int(parts.path.strip("/") or 0)
        known = parts.scheme in _SCHEMES
    except ValueError:
        host, known = None, False
    if host is None or not known:
        raise ValueError(
            "STEELYARD_LIMITS is no place to count limits: write `memory`, `off` or redis://[user:password@]host:port/0"
            " (rediss:// for TLS), a password as URLs want it (`@` is %40, `/` is %2F)"
        )
    return f"Valkey at {host}:{port} (database {database})"


def _open_storage(url: str, timeout_seconds: float) -> "RedisStorage":
    try:
        import valkey  # noqa: F401 - what it lacks is better said here than by the library that asks for it
    except ModuleNotFoundError:
        raise ValueError(
            "counting limits in Valkey or Redis needs a library: pip install 'steelyard[server,valkey]'"
        ) from None
    from limits.storage import RedisStorage

    scheme, _, rest = url.partition("://")
    return RedisStorage(
        f"{_SCHEMES[scheme.lower()]}://{rest}",
        key_prefix="steelyard",
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        socket_keepalive=True,
        lib_name="",  # or each new connection asks two things more before it can be used
        lib_version="",
    )
