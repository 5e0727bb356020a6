"""Budgets, wherever they are counted: in the memory of a server, and in a real Valkey."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from limits import parse

from steelyard.server.core import counting
from steelyard.server.core.limits import LimitedAction, Limiter
from steelyard.server.errors import RateLimited
from tests.house.valkey import valkey_url
from tests.server.core.taking import allowed, allowed_at_once, is_allowed, limiter_with

Open = Callable[..., Limiter]
PUBLISH, SEARCH = LimitedAction.PUBLISH, LimitedAction.SEARCH


@pytest.fixture(params=["memory", "valkey"])
def place(request: pytest.FixtureRequest) -> str:
    """Where limits are counted: a setting."""
    return "memory" if request.param == "memory" else valkey_url()


@pytest.fixture
def open_limiter(place: str) -> Iterator[Open]:
    """Open a limiter with these budgets; all of them count in the same place."""
    with ExitStack() as opened:

        def open_one(**budgets: str) -> Limiter:
            limiter = limiter_with(limits=place, **budgets)
            opened.callback(limiter.close)
            return limiter

        yield open_one


def test_a_budget_is_taken_to_the_last_and_no_further(open_limiter: Open) -> None:
    assert allowed(open_limiter(limit_publish="7/minute"), 20) == 7


def test_callers_have_budgets_of_their_own(open_limiter: Open) -> None:
    limiter = open_limiter(limit_publish="2/minute")
    assert allowed(limiter, 5, "ada") == 2
    assert allowed(limiter, 5, "bob") == 2


def test_actions_have_budgets_of_their_own(open_limiter: Open) -> None:
    limiter = open_limiter(limit_publish="2/minute", limit_search="3/minute")
    assert allowed(limiter, 5, action=PUBLISH) == 2
    assert allowed(limiter, 5, action=SEARCH) == 3


def test_what_has_no_budget_is_not_counted(open_limiter: Open) -> None:
    assert allowed(open_limiter(limit_publish="off"), 2_000) == 2_000


def test_many_at_the_same_moment_take_no_more_than_there_is(open_limiter: Open) -> None:
    assert allowed_at_once([open_limiter(limit_publish="100/minute")], 400) == 100


def test_a_refusal_says_what_is_spent_and_when_there_is_room(open_limiter: Open) -> None:
    limiter = open_limiter(limit_publish="3/hour")
    allowed(limiter, 3)
    with pytest.raises(RateLimited, match=r"publish: 3 per 1 hour.*Try again in \d+ seconds") as refused:
        limiter.take(PUBLISH, "ada")
    seconds = refused.value.retry_after_seconds
    assert seconds is not None and 3_590 < seconds <= 3_600
    assert refused.value.headers == {
        "RateLimit": f'"publish";r=0;t={seconds}',
        "RateLimit-Policy": '"publish";q=3;w=3600',
    }


def test_the_window_moves_with_each_use(open_limiter: Open) -> None:
    limiter = open_limiter(limit_publish="2/3 seconds")
    began = time.monotonic()
    assert is_allowed(limiter)
    time.sleep(1.5)
    assert allowed(limiter, 2) == 1
    time.sleep(max(0.0, began + 3.2 - time.monotonic()))
    assert allowed(limiter, 3) == 1, "the first use is over, the second is not"


def test_a_refused_use_costs_nothing(open_limiter: Open) -> None:
    limiter = open_limiter(limit_publish="1/second")
    until = time.monotonic() + 2.5
    taken = 0
    while time.monotonic() < until:
        taken += is_allowed(limiter)
        time.sleep(0.01)
    assert taken == 3


def test_waiting_as_long_as_the_refusal_says_is_enough(open_limiter: Open) -> None:
    limiter = open_limiter(limit_publish="1/second")
    for _ in range(3):
        assert is_allowed(limiter)
        with pytest.raises(RateLimited) as refused:
            limiter.take(PUBLISH, "ada")
        time.sleep(float(refused.value.retry_after_seconds or 0))


def test_a_budget_of_nothing_refuses_everybody(open_limiter: Open) -> None:
    assert allowed(open_limiter(limit_publish="0/minute"), 3) == 0


# --- in memory


def test_memory_keeps_no_word_of_callers_whose_window_is_over() -> None:
    window = counting.LocalWindow(parse("5/second"))
    for number in range(1_000):
        window.take(f"caller {number}")
    time.sleep(1.1)
    window.take("the next")
    assert len(window) == 1


def test_memory_has_a_bound_and_forgets_who_was_quiet_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "MOST_CALLERS", 100)
    window = counting.LocalWindow(parse("1/hour"))
    assert window.take("busy") is None
    for number in range(500):
        assert window.take(f"caller {number}") is None
        assert window.take("busy") is not None, "who comes again and again is not forgotten"
        assert len(window) <= 101
    assert window.take("caller 499") is not None
    assert window.take("caller 0") is None, "forgotten"


def test_twenty_thousand_callers_make_the_next_one_no_slower() -> None:
    """The library's own memory wakes a thread every ten milliseconds that goes through all of them."""
    limiter = limiter_with(limit_sign_in_failures="60/minute")
    for number in range(20_000):
        limiter.take(LimitedAction.SIGN_IN_FAILURES, f"2001:db8::{number:x}")
    began = time.process_time()
    for number in range(1_000):
        limiter.take(LimitedAction.SIGN_IN_FAILURES, f"2001:db8::{number:x}")
    assert time.process_time() - began < 0.5


# --- settings


def test_a_budget_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ValueError, match="limit_publish = 'often' is no budget"):
        limiter_with(limit_publish="often")


@pytest.mark.parametrize(
    "url",
    ["somewhere", "memcached://127.0.0.1", "redis://", "redis://:p4ss/word@127.0.0.1:1", "redis://:p4ss@host:port",
     "redis://ada:p4ss@127.0.0.1:99999", "redis://:p4ss@127.0.0.1/first", "p4ss://127.0.0.1"],
)  # fmt: skip
def test_a_place_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match=re.escape("write `memory`, `off` or redis://")) as refused:
        limiter_with(limits=url)
    assert "p4ss" not in repr(refused.value)
    assert refused.value.__cause__ is None
