"""Limiters, and what they let through."""

from concurrent.futures import ThreadPoolExecutor

from steelyard.server.core.limits import LimitedAction, Limiter
from steelyard.server.errors import RateLimited
from steelyard.server.settings import Settings


def limiter_with(**chosen: object) -> Limiter:
    """A limiter with these settings; whoever asks for one that counts in an engine closes it."""
    return Limiter(Settings(**chosen))  # type: ignore[arg-type]


def is_allowed(limiter: Limiter, caller: str = "ada", action: LimitedAction = LimitedAction.PUBLISH) -> bool:
    try:
        limiter.take(action, caller)
    except RateLimited:
        return False
    return True


def allowed(limiter: Limiter, times: int, caller: str = "ada", action: LimitedAction = LimitedAction.PUBLISH) -> int:
    """How many of so many uses were taken."""
    return sum(is_allowed(limiter, caller, action) for _ in range(times))


def allowed_at_once(limiters: list[Limiter], times: int) -> int:
    """How many of so many uses, spread over the limiters and made by sixteen threads, were taken."""
    with ThreadPoolExecutor(16) as threads:
        return sum(threads.map(is_allowed, limiters * (times // len(limiters))))
