"""`kill -9` of the server at any moment of a push: nothing half visible, nothing lost, and the push goes on."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx2
import pytest

from tests.house import RunningServer, start_server
from tests.reliability.killing import PHASES, Hit, kill_during
from tests.reliability.pushing import PART_BYTES, Pusher, Release, make_release, open_client
from tests.reliability.soundness import assert_sound, describe, is_visible

HASHED_BYTES = 40 * PART_BYTES  # enough that hashing takes a moment


@dataclass
class Toll:
    """What was counted."""

    hits: Counter[str] = field(default_factory=Counter)
    oids: int = 0

    def __str__(self) -> str:
        kills = sum(self.hits.values())
        return f"\nkills of the server: {describe(self.hits)} = {kills}; OIDs checked: {self.oids}; losses: 0"


@dataclass
class Lifetime:
    """A data directory, the servers that die on it, and what was pushed to it."""

    server: RunningServer
    seed: int
    token: str
    toll: Toll
    pushed: list[Release] = field(default_factory=list)

    def kill_in(self, phase: str) -> None:
        """One push with a kill on the way, a restart, the invariant, and the push again."""
        number = len(self.pushed)
        random = Random(f"{self.seed}/{number}")  # noqa: S311
        size = HASHED_BYTES if phase == "hashing" else 5 * PART_BYTES
        release = make_release(random, f"ada/model{number % 3}", f"1.{number}.0", large_bytes=size)
        first = Pusher(self.server.url, self.token)
        hit = kill_during(self.server, first, release, phase, random)
        self.toll.hits[hit.phase] += 1
        self.server = start_server(self.server.data, port=self.server.port, **SETTINGS)
        with open_client(self.server.url, self.token) as client:
            visible = self._check(client, first, release, hit)
            self._push_again(release, hit, visible=visible)
            assert is_visible(client, release)

    def _check(self, client: httpx2.Client, pusher: Pusher, release: Release, hit: Hit) -> bool:
        assert all(is_visible(client, earlier) for earlier in self.pushed)
        visible = is_visible(client, release)
        assert visible or "publish" not in {step.kind for step in pusher.acknowledged}
        assert {(step.oid, step.part) for step in pusher.acknowledged if step.kind == "part"} <= hit.parts
        self.toll.oids += assert_sound(self.server, self.token, "ada").oids
        return visible

    def _push_again(self, release: Release, hit: Hit, *, visible: bool) -> None:
        again = Pusher(self.server.url, self.token)
        assert again.push(release) == (200 if visible else 201)
        assert again.sent_bytes == hit.owed_bytes
        self.pushed.append(release)


SETTINGS = {"part_size_bytes": str(PART_BYTES), "free_disk_floor_bytes": "0"}


def live(data: Path, seed: int, kills: int, toll: Toll) -> None:
    """So many kills on one data directory, until every phase was hit as often as its share."""
    server = start_server(data, **SETTINGS)
    lifetime = Lifetime(server, seed, _make_user(server), toll)
    share = kills // len(PHASES)
    begun = Counter[str]()
    try:
        for number in range(kills * 2):
            missing = [phase for phase in PHASES if toll.hits[phase] - begun[phase] < share]
            if number >= kills and not missing:
                break
            lifetime.kill_in(missing[number % len(missing)] if missing else PHASES[number % len(PHASES)])
        toll.oids += assert_sound(lifetime.server, lifetime.token, "ada").oids
    finally:
        lifetime.server.stop()
    assert not [phase for phase in PHASES if toll.hits[phase] < share], toll


def _make_user(server: RunningServer) -> str:
    body = {"username": "ada", "email_address": "ada@example.com"}
    with open_client(server.url, server.token) as client:
        made = client.post("/api/v1/users", json=body)
    assert made.status_code == 201, made.text
    return str(made.json()["key"])


def test_a_killed_server_loses_nothing_and_the_push_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toll = Toll()
    live(tmp_path / "data", seed=1, kills=20, toll=toll)
    with capsys.disabled():
        print(toll)
