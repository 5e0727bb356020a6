"""`kill -9` of the server at any moment of a push: nothing half visible, nothing lost, and the push goes on."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx2
import pytest

from tests.conftest import Tell
from tests.house import RunningServer, start_server
from tests.reliability.killing import PHASES, Remains, examine, kill_during, phase_of
from tests.reliability.pushing import PART_BYTES, Pusher, Release, make_release, make_user, open_client
from tests.reliability.soundness import assert_sound, describe, is_visible

HASHED_BYTES = 40 * PART_BYTES  # enough that hashing takes a moment


@dataclass
class Toll:
    """What was counted."""

    aims: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    oids: int = 0

    def __str__(self) -> str:
        kills = sum(self.hits.values())
        return f"\nkills of the server: {describe(self.hits)} = {kills}; OIDs checked: {self.oids}; losses: 0"


@dataclass
class Lifetime:
    """A data directory, the servers that die on it, and what was pushed to it."""

    server: RunningServer
    token: str
    seed: int
    toll: Toll
    pushed: list[Release] = field(default_factory=list)

    def kill_in(self, phase: str) -> None:
        """One push with a kill on the way, a restart, the invariant, and the push again."""
        number = len(self.pushed)
        random = Random(f"{self.seed}/{number}")
        size = HASHED_BYTES if phase == "hashing" else 5 * PART_BYTES
        release = make_release(random, f"ada/model{number % 3}", f"1.{number}.0", large_bytes=size)
        first = Pusher(self.server.url, self.token)
        kill_during(self.server, first, release, phase, self.toll.aims[phase], random)
        self.toll.aims[phase] += 1
        remains = examine(self.server.data)
        hit = phase_of(self.server.data, remains, first.in_flight)
        self.toll.hits[hit] += 1
        self._restart(kill_again=hit in ("hashing", "link") and random.random() < 0.3)
        assert all(remains.has(step) for step in first.acknowledged if step.kind == "part")
        with open_client(self.server.url, self.token) as client:
            self._check(client, first, release, remains)

    def _restart(self, *, kill_again: bool) -> None:
        data, port = self.server.data, self.server.port
        if kill_again:  # while it goes on with the proof
            start(data, port).kill()
        self.server = start(data, port)

    def _check(self, client: httpx2.Client, first: Pusher, release: Release, remains: Remains) -> None:
        assert all(is_visible(client, earlier) for earlier in self.pushed)
        visible = is_visible(client, release)
        assert visible or "publish" not in {step.kind for step in first.acknowledged}
        self.toll.oids += assert_sound(self.server, self.token, "ada").oids
        again = Pusher(self.server.url, self.token)
        assert again.push(release) == (200 if visible else 201)
        assert again.sent_bytes == remains.owed_bytes(release)
        assert is_visible(client, release)
        self.pushed.append(release)


def start(data: Path, port: int | None = None) -> RunningServer:
    return start_server(data, port=port, part_size_bytes=str(PART_BYTES), free_disk_floor_bytes="0")


def live(data: Path, seed: int, kills: int, toll: Toll) -> None:
    """So many kills on one data directory, and more until every phase was hit as often as its share."""
    server = start(data)
    lifetime = Lifetime(server, make_user(server, "ada"), seed, toll)
    goal = {phase: toll.hits[phase] + kills // len(PHASES) for phase in PHASES}
    try:
        for number in range(kills * 2):
            short = [phase for phase in PHASES if toll.hits[phase] < goal[phase]]
            if number >= kills and not short:
                break
            aims = short or PHASES
            lifetime.kill_in(aims[number % len(aims)])
        toll.oids += assert_sound(lifetime.server, lifetime.token, "ada").oids
    finally:
        lifetime.server.stop()
    assert not [phase for phase in PHASES if toll.hits[phase] < goal[phase]], toll


def test_a_killed_server_loses_nothing_and_the_push_goes_on(tmp_path: Path, tell: Tell) -> None:
    toll = Toll()
    live(tmp_path / "data", seed=1, kills=len(PHASES), toll=toll)
    tell(toll)


@pytest.mark.thorough
def test_two_hundred_kills_of_a_server_lose_nothing(tmp_path: Path, tell: Tell) -> None:
    toll = Toll()
    for seed in range(2, 12):
        live(tmp_path / f"data{seed}", seed=seed, kills=20, toll=toll)
    assert sum(toll.hits.values()) >= 200
    tell(toll)
