"""Rate limits: named actions with budgets, not URL patterns. The counting is the library `limits`'s."""

import math
import time
from dataclasses import dataclass
from enum import StrEnum

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from steelyard.server.errors import RateLimited
from steelyard.server.settings import Settings


class LimitedAction(StrEnum):
    """What is budgeted; the setting `limit_<name>` gives the budget."""

    SIGN_IN_FAILURES = "sign_in_failures"
    READ = "read"
    SEARCH = "search"
    WRITE = "write"
    PUBLISH = "publish"
    DOWNLOAD = "download"
    TRANSFER = "transfer"
    ACCOUNTS = "accounts"


@dataclass(frozen=True, slots=True)
class _Budget:
    action: LimitedAction
    item: RateLimitItem


class Limiter:
    """Counts what each caller does in the memory of this process."""

    def __init__(self, settings: Settings) -> None:
        if settings.limits not in ("memory", "off"):
            raise ValueError(f"'{settings.limits}' is no place to count limits in this release: use `memory` or `off`")
        self._budgets = {} if settings.limits == "off" else _budgets(settings)
        self._window = MovingWindowRateLimiter(MemoryStorage())

    def take(self, action: LimitedAction, caller: str) -> None:
        """Count one use; raises `RateLimited` when the caller's budget is spent."""
        budget = self._budgets.get(action)
        if budget is not None and not self._window.hit(budget.item, action, caller):
            raise self._refusal(budget, caller)

    def _refusal(self, budget: _Budget, caller: str) -> RateLimited:
        window = self._window.get_window_stats(budget.item, budget.action, caller)
        wait_seconds = max(1, math.ceil(window.reset_time - time.time()))
        name, item = budget.action.value.replace("_", "-"), budget.item
        return RateLimited(
            f"Too many requests ({name}: {item}). Try again in {wait_seconds} seconds.",
            retry_after_seconds=wait_seconds,
            headers={
                "RateLimit": f'"{name}";r={window.remaining};t={wait_seconds}',
                "RateLimit-Policy": f'"{name}";q={item.amount};w={item.get_expiry()}',
            },
        )


def _budgets(settings: Settings) -> dict[LimitedAction, _Budget]:
    texts = {action: str(getattr(settings, f"limit_{action}")) for action in LimitedAction}
    return {action: _Budget(action, _parsed(action, text)) for action, text in texts.items() if text != "off"}


def _parsed(action: LimitedAction, text: str) -> RateLimitItem:
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"limit_{action} = {text!r} is no budget: write it as in '600/minute', or 'off'") from error
