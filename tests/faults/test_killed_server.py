"""`kill -9` of a server at each step of a push: the push goes on at another server, from what had arrived."""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from random import Random

import httpx2
import pytest

from tests.conftest import Tell
from tests.faults.conftest import MakeSite
from tests.faults.site import Site
from tests.house import RunningServer
from tests.reliability.pushing import PART_BYTES, Kind, Pusher, Release, Step, make_release
from tests.reliability.soundness import describe, is_visible

STEPS: tuple[Kind, ...] = ("begin", "part", "completion", "publish")
NTH = {"begin": 1, "part": 10, "completion": 2, "publish": 1}  # how many there are of each in a push


@pytest.fixture(scope="module")
def site(make_site: MakeSite) -> Site:
    return make_site("database", "store", job_lease_seconds="1")


class Killer:
    """Kills a server some milliseconds after the nth request of a kind was sent."""

    def __init__(self, server: RunningServer, kind: Kind, random: Random) -> None:
        self.server, self.kind = server, kind
        self._left = random.randrange(NTH[kind])
        self._seconds = random.uniform(0, 0.06)
        self._waiting: threading.Thread | None = None

    def before(self, step: Step) -> None:
        """To be told of every step before it is sent."""
        if step.kind == self.kind:
            self._left -= 1
            if self._left == -1:
                self._waiting = threading.Thread(target=self._kill)
                self._waiting.start()

    def _kill(self) -> None:
        time.sleep(self._seconds)
        self.server.kill()

    def finish(self) -> None:
        if self._waiting is not None:
            self._waiting.join()
        self.server.kill()


def push_to_the_dying(site: Site, release: Release, kind: Kind, random: Random) -> Pusher:
    """Push to a second server, which is killed on the way."""
    killer = Killer(site.start_another(f"dying-{release.version}"), kind, random)
    pusher = Pusher(killer.server.url, site.token, before=killer.before)
    try:
        pusher.push(release)
    except httpx2.TransportError:
        pass
    finally:
        killer.finish()
    return pusher


def survive(site: Site, steps: Sequence[Kind], seed: int) -> Counter[str]:
    """A kill at each of these steps; answers what was not answered."""
    hits = Counter[str]()
    for number, step in enumerate(steps):
        random = Random(f"{seed}/{number}")
        release = make_release(random, f"ada/model{number % 3}", f"{seed}.{number}.0", large_bytes=5 * PART_BYTES)
        first = push_to_the_dying(site, release, step, random)
        hits[first.in_flight.kind if first.in_flight else "none"] += 1
        with site.client(site.token) as client:
            visible = is_visible(client, release)
            again = Pusher(site.server.url, site.token)
            assert again.push(release) == (200 if visible else 201)
            assert is_visible(client, release)
        assert again.sent_bytes <= sum(map(len, release.files.values())) - acknowledged_bytes(first, release)
    site.toll.faults["kills of a server"] += len(steps)
    return hits


def acknowledged_bytes(pusher: Pusher, release: Release) -> int:
    """What had arrived by the server's own word."""
    sizes = {oid: len(release.files[path]) for path, oid in release.artifacts.items()}
    parts = [step for step in pusher.acknowledged if step.kind == "part"]
    return sum(min(PART_BYTES, sizes[each.oid] - max(each.part - 1, 0) * PART_BYTES) for each in parts)


def test_a_push_goes_on_at_another_server(site: Site, tell: Tell) -> None:
    hits = survive(site, ["part", "completion"], seed=1)
    assert hits.total() > hits["none"]
    tell(f"kills of one of two servers: {describe(hits)}")


@pytest.mark.thorough
def test_a_push_goes_on_at_another_server_again_and_again(site: Site, tell: Tell) -> None:
    hits = survive(site, STEPS * 10, seed=2)
    assert all(hits[kind] for kind in STEPS)
    tell(f"kills of one of two servers: {describe(hits)}")
