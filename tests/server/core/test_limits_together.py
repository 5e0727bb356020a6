"""Budgets that several servers count together in Valkey, and what happens while it is gone, silent, slow or wrong."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest

from steelyard.server.core import counting
from steelyard.server.core.limits import LimitedAction, Limiter
from steelyard.server.errors import Unavailable
from tests.house.servers import free_port
from tests.house.valkey import Valkey, valkey_server, valkey_url
from tests.server.core.taking import allowed, allowed_at_once, is_allowed, limiter_with

TIMEOUT_SECONDS = 0.3
Open = Callable[..., Limiter]


@pytest.fixture
def open_limiter() -> Iterator[Open]:
    """Open a limiter with these settings, as one of several servers would."""
    with ExitStack() as opened:

        def open_one(**chosen: object) -> Limiter:
            limiter = limiter_with(**{"limits_timeout_seconds": TIMEOUT_SECONDS, **chosen})
            opened.callback(limiter.close)
            return limiter

        yield open_one


@pytest.fixture
def make_engine() -> Iterator[Callable[..., Valkey]]:
    """An engine of the test's own, with these options, and not started."""
    with ExitStack() as made:

        def make(**options: str) -> Valkey:
            engine = Valkey(options=options)
            made.callback(engine.discard)
            return engine

        yield make


@pytest.fixture
def engine(make_engine: Callable[..., Valkey]) -> Valkey:
    """An engine that runs."""
    return make_engine().start()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> float:
    """The pause between two questions to an engine that is gone, shorter than in life."""
    monkeypatch.setattr(counting, "ASK_AGAIN_SECONDS", 0.6)
    return 0.7


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# --- together


def test_servers_take_from_one_budget(open_limiter: Open) -> None:
    url = valkey_url()
    one, two = (open_limiter(limits=url, limit_publish="10/minute") for _ in range(2))
    assert [allowed(one, 6), allowed(two, 6), allowed(one, 6)] == [6, 4, 0]


def test_servers_that_ask_at_the_same_moment_never_both_get_the_last(open_limiter: Open) -> None:
    for _ in range(5):
        url = valkey_url()
        servers = [open_limiter(limits=url, limit_publish="50/minute") for _ in range(3)]
        assert allowed_at_once(servers, 300) == 50


def test_registries_with_databases_of_their_own_count_apart(open_limiter: Open) -> None:
    one, two = (open_limiter(limits=valkey_url(), limit_publish="5/minute") for _ in range(2))
    assert [allowed(one, 9), allowed(two, 9)] == [5, 5]


def test_what_is_kept_has_a_name_of_ours_and_an_end(open_limiter: Open) -> None:
    url = valkey_url()
    allowed(open_limiter(limits=url, limit_publish="5/minute"), 9)
    with closing(valkey_server().client(url)) as client:
        [key] = client.scan_iter()
        assert key.startswith(b"steelyard:") and b"publish/ada" in key
        seconds: object = client.ttl(key)
        assert isinstance(seconds, int) and 0 < seconds <= 60
        assert client.llen(key) == 5, "a caller who goes on does not fill the engine"


def test_a_restart_of_the_server_forgets_nothing(open_limiter: Open) -> None:
    url = valkey_url()
    first = limiter_with(limits=url, limit_publish="5/minute")
    assert allowed(first, 4) == 4
    first.close()
    assert allowed(open_limiter(limits=url, limit_publish="5/minute"), 4) == 1


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
def test_a_password_in_the_url_opens_the_engine_and_is_never_shown(
    open_limiter: Open, make_engine: Callable[..., Valkey], scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine = make_engine(requirepass="s3cret").start()
    limiter = open_limiter(limits=engine.url(3).replace("redis", scheme), limit_publish="5/minute")
    assert allowed(limiter, 9) == 5
    assert not limiter.counts_alone
    engine.kill()
    assert is_allowed(limiter), "it counts alone, from the beginning"
    with pytest.raises(Unavailable) as refused:
        limiter.rehearse()
    assert limiter.place == f"Valkey at 127.0.0.1:{engine.port} (database 3)"
    assert "s3cret" not in " ".join([limiter.place, *said(caplog), refused.value.detail, repr(refused.value.__cause__)])


# --- without it


def test_a_server_counts_alone_while_the_engine_is_gone_and_together_again_after(
    engine: Valkey, open_limiter: Open, soon: float, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = (open_limiter(limits=engine.url(), limit_publish="5/minute") for _ in range(2))
    assert allowed(one, 3) + allowed(two, 3) == 5
    engine.kill()
    assert [allowed(one, 30), allowed(two, 30)] == [5, 5], "neither closed nor without limit"
    assert one.counts_alone and two.counts_alone
    engine.start()
    time.sleep(soon)
    assert allowed(one, 4, "bob") + allowed(two, 4, "bob") == 5, "together"
    assert not one.counts_alone
    lines = said(caplog)
    assert len(lines) == 4, f"one line a server when it goes, one when it comes back: {lines}"
    assert "does not count: Error 111 connecting" in lines[0]
    assert "counts again" in lines[-1]


def test_a_server_that_starts_before_the_engine_counts_alone_until_it_is_there(
    open_limiter: Open, make_engine: Callable[..., Valkey], soon: float
) -> None:
    engine = make_engine()
    limiter = open_limiter(limits=engine.url(), limit_publish="5/minute")
    assert allowed(limiter, 9) == 5
    engine.start()
    time.sleep(soon)
    assert allowed(limiter, 9) == 5
    with closing(engine.client()) as client:
        assert client.dbsize() == 1


def test_an_engine_that_is_silent_costs_few_requests_one_timeout_and_all_others_nothing(
    engine: Valkey, open_limiter: Open
) -> None:
    limiter = open_limiter(limits=engine.url(), limit_publish="1000/minute")
    threads = 8

    def take(_: int) -> float:
        began = time.monotonic()
        assert is_allowed(limiter)
        return time.monotonic() - began

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(take, range(50)))
        engine.freeze()
        waits = sorted(pool.map(take, range(400)), reverse=True)
    engine.thaw()
    assert waits[0] > 0.9 * TIMEOUT_SECONDS, "the fault did not happen"
    assert waits[0] < TIMEOUT_SECONDS + 0.5
    assert waits[threads] < 0.1, "only those that were under way when it fell silent have waited"


def test_an_engine_that_stays_silent_is_asked_by_one_request_after_each_pause(
    engine: Valkey, open_limiter: Open, soon: float
) -> None:
    limiter = open_limiter(limits=engine.url(), limit_publish="100000/minute")
    engine.freeze()
    until, slow = time.monotonic() + 4, 0
    while time.monotonic() < until:
        began = time.monotonic()
        assert is_allowed(limiter)
        slow += time.monotonic() - began > 0.5 * TIMEOUT_SECONDS
        time.sleep(0.002)
    engine.thaw()
    assert 3 <= slow <= 1 + 4 / 0.6


def test_an_engine_that_was_silent_is_used_again_without_a_restart(
    engine: Valkey, open_limiter: Open, soon: float
) -> None:
    one, two = (open_limiter(limits=engine.url(), limit_publish="5/minute") for _ in range(2))
    allowed(one, 1), allowed(two, 1)
    engine.freeze()
    assert allowed(one, 9, "bob") == 5
    engine.thaw()
    time.sleep(soon)
    assert allowed(one, 9, "eve") + allowed(two, 9, "eve") == 5


def test_a_restart_of_the_engine_between_two_requests_is_not_noticed(
    engine: Valkey, open_limiter: Open, caplog: pytest.LogCaptureFixture
) -> None:
    limiter = open_limiter(limits=engine.url(), limit_publish="5/minute")
    assert allowed(limiter, 2) == 2
    engine.kill()
    engine.start()
    assert allowed(limiter, 9) == 5, "what it had counted is lost with it"
    assert not limiter.counts_alone
    assert said(caplog) == []


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"requirepass": "other"}, "Authentication required"),
        ({"maxmemory": "1"}, "used memory > 'maxmemory'"),
        ({"databases": "1"}, "DB index is out of range"),
    ],
)
def test_an_engine_that_refuses_is_named_with_its_reason(
    open_limiter: Open,
    make_engine: Callable[..., Valkey],
    options: dict[str, str],
    why: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = make_engine(**options).start()
    limiter = open_limiter(limits=f"redis://127.0.0.1:{engine.port}/1", limit_publish="5/minute")
    assert allowed(limiter, 9) == 5
    assert limiter.counts_alone
    [line] = said(caplog)
    assert why in line


def test_an_engine_is_checked_in_words(engine: Valkey, open_limiter: Open) -> None:
    limiter = open_limiter(limits=engine.url())
    limiter.rehearse()
    engine.freeze()
    with pytest.raises(Unavailable, match=r"Valkey at 127\.0\.0\.1:\d+ .* no answer within 0\.3 seconds"):
        limiter.rehearse()
    engine.thaw()
    limiter.rehearse()


def test_a_port_where_nobody_listens_is_found_out_at_once(open_limiter: Open) -> None:
    limiter = open_limiter(limits=f"redis://127.0.0.1:{free_port()}", limit_search="5/minute")
    began = time.monotonic()
    assert allowed(limiter, 9, action=LimitedAction.SEARCH) == 5
    assert time.monotonic() - began < 0.5


def test_without_the_library_the_next_step_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkey", None)
    with pytest.raises(ValueError, match=r"pip install 'steelyard\[server,valkey\]'"):
        limiter_with(limits="redis://127.0.0.1:6379")
