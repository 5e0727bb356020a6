"""People who push, delete and read the same few digests at once, on some servers, and collectors with no grace.

For tests of clean-up: what the storm leaves has to be whole, whatever the collectors and the people met.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from random import Random

import httpx2

from steelyard.server.app import open_store
from steelyard.server.db.engine import Database
from steelyard.server.jobs.check import Checked, check
from steelyard.server.jobs.gc import collect
from steelyard.server.settings import Settings
from tests.house import RunningServer
from tests.house.people import API
from tests.reliability.artifacts import Artifact, Lost, delete_artifact, push_artifact, read_artifact
from tests.reliability.pushing import Pusher, Refused, Release, again_and_again, open_client
from tests.reliability.soundness import assert_sound

BEATEN = {("part", 404), ("part", 409), ("completion", 404), ("completion", 409), ("publish", 409), ("publish", 422)}
"""How a push may be told that what it counted on was collected, expired or is being proven: it is begun again."""


@dataclass
class Storm:
    """Servers of one registry with these settings; every request goes to one of them at random."""

    servers: Sequence[RunningServer]
    settings: Mapping[str, str]
    tokens: Mapping[str, str]
    contents: Sequence[bytes]
    done: Counter[str] = field(default_factory=Counter)
    visible: list[Release] = field(default_factory=list)
    artifacts: list[Artifact] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def rage(self, seconds: float, seed: int) -> None:
        """All of them at once, for so long; then the invariant. Whatever any of them finds wrong is raised."""
        roles: list[Callable[[Random], None]] = [
            *(self._pushing(org) for org in ("ada", "ada", "bob")),
            self._push_artifact,
            self._delete,
            self._delete_artifact,
            self._read,
            self.collect,
            self.collect,
        ]
        until = time.monotonic() + seconds
        with ThreadPoolExecutor(len(roles)) as threads:
            for ended in [threads.submit(_repeat, role, Random(f"{seed}/{n}"), until) for n, role in enumerate(roles)]:
                ended.result()
        self.done["rounds"] += 1
        self._check(Random(seed))

    def _pushing(self, org: str) -> Callable[[Random], None]:
        return lambda random: self._push(random, org)

    def _push(self, random: Random, org: str) -> None:
        with self._lock:
            version = f"1.{next(self._numbers)}.0"
        files = {f"file{n}.bin": data for n, data in enumerate(random.sample(self.contents, random.randrange(1, 4)))}
        release = Release(f"{org}/model{random.randrange(3)}", version, files)
        expected = {201}
        for _ in again_and_again("a push"):
            try:
                assert Pusher(random.choice(self.servers).url, self.tokens[org]).push(release) in expected
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

    def _push_artifact(self, random: Random) -> None:
        """As container tools do: blobs, then a manifest that names them, under a tag that is no version's number."""
        with self._lock:
            tag = f"artifact-{next(self._numbers)}"
        artifact = Artifact(
            f"ada/model{random.randrange(3)}", tag, random.sample(self.contents, random.randrange(1, 4))
        )
        for _ in again_and_again("an artifact"):
            try:
                with open_client(random.choice(self.servers).url, self.tokens["ada"]) as client:
                    push_artifact(client, artifact)
                break
            except httpx2.RemoteProtocolError:
                self.done["connections lost"] += 1
            except Lost:
                self.done["artifacts begun again"] += 1
        self.done["artifacts"] += 1
        with self._lock:
            self.artifacts.append(artifact)

    def _delete_artifact(self, random: Random) -> None:
        with self._lock:
            artifact = self.artifacts.pop(random.randrange(len(self.artifacts))) if len(self.artifacts) > 3 else None
        if artifact is None:
            time.sleep(0.01)
            return
        with open_client(random.choice(self.servers).url, self.tokens["ada"]) as client:
            delete_artifact(client, artifact)
        self.done["artifacts deleted"] += 1

    def _delete(self, random: Random) -> None:
        with self._lock:
            release = self.visible.pop(random.randrange(len(self.visible))) if len(self.visible) > 3 else None
        if release is None:
            time.sleep(0.01)
            return
        with self._client(random, release) as client:
            assert client.delete(f"{release.route}/{release.version}").status_code == 204
        self.done["deletes"] += 1

    def _read(self, random: Random) -> None:
        with self._lock:
            release = random.choice(self.visible) if self.visible else None
        if release is None:
            time.sleep(0.01)
            return
        path, data = random.choice(list(release.files.items()))
        with self._client(random, release) as client:
            answer = client.get(f"{release.route}/{release.version}/files/{path}", follow_redirects=True)
            if answer.status_code != 200:  # then only because somebody deleted it just now
                assert client.get(f"{release.route}/{release.version}").status_code == 404, answer.text
                return
            assert answer.content == data
        self.done["reads"] += 1

    def collect(self, random: Random) -> None:
        """One clean-up without a grace, by a process that is none of the servers."""
        time.sleep(random.uniform(0, 0.2))
        with self.database() as database:
            store = open_store(self._chosen)
            found = collect(database, store, grace_seconds=0, upload_ttl_seconds=random.choice([1, 3600]))
        self.done["collections"] += 1
        self.done["blobs collected"] += len(found.blobs)

    @property
    def _chosen(self) -> Settings:
        return Settings(data=self.servers[0].data, **self.settings)  # type: ignore[arg-type]

    @contextmanager
    def database(self) -> Iterator[Database]:
        """What the servers stand on, behind their backs."""
        with closing(Database(self._chosen.database_url)) as database:
            yield database

    def _client(self, random: Random, release: Release) -> httpx2.Client:
        return open_client(random.choice(self.servers).url, self.tokens[release.model.split("/")[0]])

    def _check(self, random: Random) -> None:
        """That all is whole, and that nobody's release was lost or came back."""
        found = [
            assert_sound(random.choice(self.servers), token, org, checked_by=self._admin_check)
            for org, token in self.tokens.items()
        ]
        assert sum(each.versions for each in found) == len(self.visible)
        with open_client(random.choice(self.servers).url, self.tokens["ada"]) as client:
            for artifact in self.artifacts:
                read_artifact(client, artifact)
        self.done["artifacts read"] += len(self.artifacts)
        self.done["OIDs checked"] += sum(each.oids for each in found)

    def _admin_check(self) -> Checked:
        with self.database() as database:
            return check(database, open_store(self._chosen))

    def end(self) -> list[str]:
        """Delete every model and clean up; answers what the store still holds of blobs."""
        for org, token in self.tokens.items():
            with open_client(self.servers[0].url, token) as client:
                for number in range(3):
                    deleted = client.delete(f"{API}/org/{org}/models/model{number}")
                    assert deleted.status_code in (204, 404)
        self.visible.clear()
        self.artifacts.clear()
        self.collect(Random(0))
        return [name.name for name in open_store(self._chosen).scan() if name.kind == "blob"]

    @contextmanager
    def dying_collectors(self) -> Iterator[list[int]]:
        """`steelyard admin gc` in processes that are killed at some moment, one after the other; how they ended."""
        ended: list[int] = []
        stopping = threading.Event()
        random = Random(1)
        environment = os.environ | {f"STEELYARD_{name.upper()}": value for name, value in self.settings.items()}
        command = [sys.executable, "-m", "steelyard", "admin", "--data", str(self.servers[0].data), "gc"]

        def run() -> None:
            while not stopping.is_set():
                process = subprocess.Popen(
                    [*command, "--grace-seconds", "0"], env=environment, stdout=subprocess.DEVNULL
                )
                stopping.wait(random.uniform(0.5, 3))
                process.kill()
                ended.append(process.wait())

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield ended
        finally:
            stopping.set()
            thread.join()
        assert ended.count(-signal.SIGKILL) >= 10
        assert set(ended) <= {-signal.SIGKILL, 0}
        self.done["collectors killed"] += ended.count(-signal.SIGKILL)


def _repeat(role: Callable[[Random], None], random: Random, until: float) -> None:
    while time.monotonic() < until:
        role(random)
