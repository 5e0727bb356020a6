"""Clean-up with no grace at all, while the same digests are pushed, deleted, read and pushed again."""

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random

import httpx2
import pytest

from steelyard.server.db.engine import Database
from steelyard.server.jobs.gc import collect
from steelyard.server.storage.local import LocalStore
from tests.house import RunningServer, start_server
from tests.house.people import API
from tests.reliability.pushing import PART_BYTES, Pusher, Refused, Release, make_user, open_client
from tests.reliability.soundness import assert_sound, describe

CONTENTS = [Random(n).randbytes(n * 9_000 + 1) for n in range(12)]  # some in one body, some in two parts
BEATEN = {("part", 404), ("part", 409), ("completion", 404), ("completion", 409), ("publish", 409), ("publish", 422)}
"""How a push may be told that what it counted on was collected, expired or is being proven: it is begun again."""


@dataclass
class Storm:
    """A server under people who push and delete, collectors with no grace, and readers."""

    server: RunningServer
    tokens: dict[str, str]
    done: Counter[str] = field(default_factory=Counter)
    visible: list[Release] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def rage(self, seconds: float, seed: int) -> None:
        """All of them at once, for so long; whatever any of them finds wrong is raised."""
        roles: list[Callable[[Random], None]] = [
            *(self._pushing(org) for org in ("ada", "ada", "bob")),
            self._delete,
            self._read,
            self._collect,
            self._collect,
        ]
        until = time.monotonic() + seconds
        with ThreadPoolExecutor(len(roles)) as threads:
            for ended in [threads.submit(_repeat, role, Random(f"{seed}/{n}"), until) for n, role in enumerate(roles)]:
                ended.result()

    def _pushing(self, org: str) -> Callable[[Random], None]:
        return lambda random: self._push(random, org)

    def _push(self, random: Random, org: str) -> None:
        with self._lock:
            version = f"1.{next(self._numbers)}.0"
        files = {f"file{n}.bin": data for n, data in enumerate(random.sample(CONTENTS, random.randrange(1, 4)))}
        release = Release(f"{org}/model{random.randrange(3)}", version, files)
        expected = {201}
        while True:
            try:
                assert Pusher(self.server.url, self.tokens[org]).push(release) in expected
            except httpx2.RemoteProtocolError:  # a kept connection was closed: whether it was published, nobody can say
                expected = {200, 201}
                self.done["connections lost"] += 1
            except Refused as refused:
                if (refused.step.kind, refused.status) not in BEATEN:
                    raise
                self.done["pushes begun again"] += 1
            else:
                break
        self.done["pushes"] += 1
        with self._lock:
            self.visible.append(release)

    def _delete(self, random: Random) -> None:
        with self._lock:
            release = self.visible.pop(random.randrange(len(self.visible))) if len(self.visible) > 3 else None
        if release is None:
            time.sleep(0.01)
            return
        with self._client(release) as client:
            assert client.delete(f"{release.route}/{release.version}").status_code == 204
        self.done["deletes"] += 1

    def _read(self, random: Random) -> None:
        with self._lock:
            release = random.choice(self.visible) if self.visible else None
        if release is None:
            time.sleep(0.01)
            return
        path, data = random.choice(list(release.files.items()))
        with self._client(release) as client:
            answer = client.get(f"{release.route}/{release.version}/files/{path}")
            if answer.status_code != 200:  # then only because somebody deleted it just now
                assert client.get(f"{release.route}/{release.version}").status_code == 404, answer.text
                return
            assert answer.content == data
        self.done["reads"] += 1

    def _collect(self, random: Random) -> None:
        time.sleep(random.uniform(0, 0.2))
        database = Database(f"sqlite:///{self.server.data / 'steelyard.sqlite3'}")
        try:
            store = LocalStore(self.server.data / "store")
            found = collect(database, store, grace_seconds=0, upload_ttl_seconds=random.choice([1, 3600]))
        finally:
            database.close()
        self.done["collections"] += 1
        self.done["blobs collected"] += len(found.blobs)

    def _client(self, release: Release) -> httpx2.Client:
        return open_client(self.server.url, self.tokens[release.model.split("/")[0]])

    def check(self) -> None:
        """The invariant, and that nobody's release was lost or came back."""
        assert sum(assert_sound(self.server, token, org).versions for org, token in self.tokens.items()) == len(
            self.visible
        )

    def delete_all(self) -> None:
        """Delete every model."""
        for org, token in self.tokens.items():
            with open_client(self.server.url, token) as client:
                for number in range(3):
                    deleted = client.delete(f"{API}/org/{org}/models/model{number}")
                    assert deleted.status_code in (204, 404)
        self.visible.clear()


def _repeat(role: Callable[[Random], None], random: Random, until: float) -> None:
    while time.monotonic() < until:
        role(random)


@pytest.fixture
def storm(tmp_path: Path) -> Iterator[Storm]:
    server = start_server(tmp_path / "data", part_size_bytes=str(PART_BYTES), free_disk_floor_bytes="0")
    yield Storm(server, {name: make_user(server, name) for name in ("ada", "bob")})
    server.stop()


@contextmanager
def dying_collectors(storm: Storm) -> Iterator[list[int]]:
    """`steelyard admin gc` in processes that are killed at some moment, one after the other; yields how they ended."""
    ended: list[int] = []
    stopping = threading.Event()
    random = Random(1)
    command = [sys.executable, "-m", "steelyard", "admin", "--data", str(storm.server.data), "gc"]

    def run() -> None:
        while not stopping.is_set():
            process = subprocess.Popen([*command, "--grace-seconds", "0"], stdout=subprocess.DEVNULL)
            stopping.wait(random.uniform(0.5, 2))
            process.kill()
            ended.append(process.wait())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield ended
    finally:
        stopping.set()
        thread.join()


def blobs_on_disk(storm: Storm) -> list[str]:
    return [path.name for path in (storm.server.data / "store/blobs").rglob("*.*")]


def test_clean_up_without_grace_loses_nothing(storm: Storm, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(3):
        storm.rage(4, seed)
        storm.check()
    _assert_it_raged(storm, capsys)
    storm.delete_all()
    storm._collect(Random(0))
    assert blobs_on_disk(storm) == []


@pytest.mark.thorough
def test_clean_up_without_grace_loses_nothing_for_long(storm: Storm, capsys: pytest.CaptureFixture[str]) -> None:
    with dying_collectors(storm) as ended:
        for seed in range(100, 112):
            storm.rage(10, seed)
            storm.check()
    _assert_it_raged(storm, capsys)
    assert ended.count(-9) >= 10
    assert set(ended) <= {-9, 0}
    storm.delete_all()
    storm._collect(Random(0))
    assert blobs_on_disk(storm) == []


def _assert_it_raged(storm: Storm, capsys: pytest.CaptureFixture[str]) -> None:
    assert all(storm.done[what] > 5 for what in ("pushes", "deletes", "reads", "collections", "blobs collected"))
    with capsys.disabled():
        print(f"\nclean-up without grace: {describe(storm.done)}; losses: 0")
