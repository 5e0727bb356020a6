"""People who publish and read while a part breaks: each asks again for what failed, and remembers what was promised."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from random import Random

import httpx2

from tests.faults.site import Site, wait_until
from tests.reliability.pushing import PART_BYTES, Pusher, Refused, Release
from tests.reliability.soundness import is_visible

AGAIN_SECONDS = 0.05


@dataclass
class Load:
    """What went on. Whatever is neither success nor in `allowed` ends it with an error."""

    site: Site
    allowed: frozenset[tuple[int, str]]
    promised: list[Release] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    reads: int = 0
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _ended: threading.Event = field(default_factory=threading.Event)

    def publish(self, random: Random) -> None:
        """Push a release until it is promised."""
        files = {f"file{n}.bin": random.randbytes(random.randrange(2 * PART_BYTES)) for n in range(2)}
        release = Release(f"ada/model{random.randrange(3)}", f"1.{next(self._numbers)}.0", files)
        while True:
            try:
                Pusher(self.site.server.url, self.site.token).push(release)
                break
            except Refused as refused:
                self._note(refused.status, refused.type)
            time.sleep(AGAIN_SECONDS)
        self.promised.append(release)

    def read(self, random: Random) -> None:
        """A file of what was promised is there, whole; or the answer says what is wrong."""
        if not self.promised:
            return
        release = random.choice(self.promised)
        path, data = random.choice(sorted(release.files.items()))
        try:
            with self.site.client(self.site.token) as client:
                answer = client.get(f"{release.route}/{release.version}/files/{path}")
        except httpx2.RemoteProtocolError:  # cut off, and so it says
            self.refusals["cut off"] += 1
            return
        if answer.status_code == 200:
            assert answer.content == data
            self.reads += 1
        else:
            assert answer.status_code >= 500, answer.text
            self._note(answer.status_code, answer.json()["type"])

    def assert_kept(self) -> None:
        """All that was promised is visible, whole; nothing else is."""
        with self.site.client(self.site.token) as client:
            assert all(is_visible(client, release) for release in self.promised)
        assert self.site.assert_sound() == len(self.promised)

    def _note(self, status: int, kind: str) -> None:
        assert (status, kind) in self.allowed, (status, kind)
        self.refusals[f"{status} {kind}"] += 1

    @contextmanager
    def going_on(self, publishers: int = 2, readers: int = 2) -> Iterator[None]:
        """For as long as the block runs; what went wrong is raised at its end."""
        roles: list[Callable[[Random], None]] = [*[self.publish] * publishers, *[self.read] * readers]
        with ThreadPoolExecutor(len(roles)) as threads:
            running = [threads.submit(self._repeat, role, Random(number)) for number, role in enumerate(roles)]
            try:
                yield
            finally:
                self._ended.set()
            for each in running:
                each.result()

    def wait_for(self, happened: Callable[[], bool], seconds: float = 30.0) -> None:
        """Wait until so much has gone on."""
        wait_until(happened, "the load stands still", seconds)

    def _repeat(self, role: Callable[[Random], None], random: Random) -> None:
        while not self._ended.is_set():
            role(random)
