"""Rate limits: named actions with budgets, not URL patterns. `counting` has the places where budgets are counted."""

import math
from collections.abc import Mapping
from enum import StrEnum

from limits import RateLimitItem, parse

from steelyard.server.core.counting import Count, LocalCount, SharedCount
from steelyard.server.errors import RateLimited
from steelyard.server.settings import Settings
from steelyard.server.watching import UNWATCHED, Watch


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


class Limiter:
    """Counts what each caller does. Safe to use from any thread, and from the event loop only what it need not
    wait for."""

    def __init__(self, settings: Settings, *, watch: Watch = UNWATCHED) -> None:
        self._watch = watch
        self._items = {} if settings.limits == "off" else _items(settings)
        self._count = _open_count(settings, self._items)

    @property
    def place(self) -> str:
        """Where budgets are counted, in words, without credentials."""
        return self._count.place

    @property
    def counts_alone(self) -> bool:
        """Whether this server counts by itself although it should count with others."""
        return self._count.is_lost

    def waits_for(self, action: LimitedAction) -> bool:
        """Whether counting this may have to wait for an engine elsewhere."""
        return action in self._items and isinstance(self._count, SharedCount)

    def take(self, action: LimitedAction, caller: str) -> None:
        """Count one use; raises `RateLimited` when the caller's budget is spent."""
        item = self._items.get(action)
        wait_seconds = None if item is None else self._count.take(action, caller)
        if item is not None and wait_seconds is not None:
            self._watch.count("refusals", kind=action)
            raise _refusal(action, item, max(1, math.ceil(wait_seconds)))

    def rehearse(self) -> None:
        """Have the engine count something and forget it again. Raises `Unavailable` when it does not."""
        self._count.rehearse()

    def close(self) -> None:
        """Let go of every connection."""
        self._count.close()


def _refusal(action: LimitedAction, item: RateLimitItem, wait_seconds: int) -> RateLimited:
    name = action.value.replace("_", "-")
    return RateLimited(
        f"Too many requests ({name}: {item}). Try again in {wait_seconds} seconds.",
        retry_after_seconds=wait_seconds,
        headers={
            "RateLimit": f'"{name}";r=0;t={wait_seconds}',
            "RateLimit-Policy": f'"{name}";q={item.amount};w={item.get_expiry()}',
        },
    )


def _items(settings: Settings) -> dict[str, RateLimitItem]:
    texts = {action: str(getattr(settings, f"limit_{action}")) for action in LimitedAction}
    return {action: _parsed(action, text) for action, text in texts.items() if text != "off"}


def _parsed(action: LimitedAction, text: str) -> RateLimitItem:
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"limit_{action} = {text!r} is no budget: write it as in '600/minute', or 'off'") from error


def _open_count(settings: Settings, items: Mapping[str, RateLimitItem]) -> Count:
    if settings.limits in ("memory", "off"):
        return LocalCount(items)
    return SharedCount(settings.limits, items, settings.limits_timeout_seconds)
