"""A rolling restart under load: each server is told to stop, ends what it does, and is started again, one after the
other. Nobody's request fails in a way that our client does not mend by itself."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.conftest import Tell
from tests.house.people import API
from tests.reliability.pushing import open_client
from tests.reliability.soundness import assert_sound
from tests.replicas.load import under_load
from tests.replicas.site import Replicas, Somebody

MENDED = {502, 503, 504}
"""What our client tries again, as it does a broken connection, since all that it calls may be asked twice."""


def restart_in_turn(replicas: Replicas, times: int) -> None:
    for _ in range(times):
        for server in replicas.servers:
            server.stop()
            assert server.process.returncode == 0
            replicas.restart(server)


def plain_requests(replicas: Replicas, caller: Somebody, done: threading.Event) -> Counter[int]:
    """What somebody gets who asks and never tries again: by status, 0 for a broken connection."""
    answers: Counter[int] = Counter()
    with open_client(replicas.url, caller.token) as client:
        number = 0
        while not done.wait(0.002):
            number += 1
            try:
                if number % 4:
                    answers[client.get(f"{API}/org/{caller.name}/models").status_code] += 1
                else:
                    answers[client.post(f"{API}/user/api-keys", json={"name": "x"}).status_code] += 1
            except httpx2.TransportError:
                answers[0] += 1
    return answers


def roll(replicas: Replicas, folder: Path, times: int) -> tuple[str, Counter[int]]:
    """The whole story; answers what was counted."""
    ada, bob = replicas.user("ada"), replicas.user("bob")
    done = threading.Event()
    with ThreadPoolExecutor(2) as threads, under_load(replicas, ada, folder, pushers=2) as load:
        asking = [threads.submit(plain_requests, replicas, bob, done) for _ in range(2)]
        try:
            restart_in_turn(replicas, times)
        finally:
            done.set()
        answers = sum((each.result() for each in asking), Counter[int]())
    sound = assert_sound(replicas.two, ada.token, "ada", checked_by=replicas.check)
    assert sound.versions == len(load.pushed)
    failed = {status: count for status, count in answers.items() if status not in (200, 201)}
    return f"restarts: {2 * times}; {load}; plain requests: {sum(answers.values())}, failed: {failed}", answers


def assert_mendable(answers: Counter[int]) -> None:
    assert sum(answers.values()) > 100
    assert set(answers) <= {200, 201, 0} | MENDED, answers
    assert sum(count for status, count in answers.items() if status not in (200, 201)) <= 0.02 * sum(answers.values())


@pytest.mark.thorough
def test_a_rolling_restart_fails_nothing_that_our_client_does_not_mend(
    make_replicas: Callable[..., Replicas], tmp_path: Path, tell: Tell
) -> None:
    story, answers = roll(make_replicas(), tmp_path / "load", times=1)
    tell(story)
    assert_mendable(answers)


@pytest.mark.thorough
def test_ten_rolling_restarts_fail_nothing_that_our_client_does_not_mend(
    make_replicas: Callable[..., Replicas], tmp_path: Path, tell: Tell
) -> None:
    story, answers = roll(make_replicas(), tmp_path / "load", times=10)
    tell(story)
    assert_mendable(answers)
