"""Clean-up with no grace at all, of files and of chunks, while files that share chunks are pushed, deleted and read."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import httpx2
import pytest

from steelyard.server.app import open_store
from steelyard.server.core.xet.layouts import open_chunked
from steelyard.server.db.engine import Database
from steelyard.server.errors import Invalid
from steelyard.server.jobs.check import check
from steelyard.server.jobs.gc import collect
from steelyard.server.settings import Settings
from tests.house.chunked import Packed, Part, Parts, Sender, content_of, some_raws
from tests.house.people import API, oid_of
from tests.house.postgres import postgres_url
from tests.house.seaweed import seaweed
from tests.house.servers import start_server
from tests.reliability.pushing import Pusher, Refused, Release, again_and_again, make_user, open_client

pytestmark = pytest.mark.only("sqlite", "disk")  # they bring the other engines themselves

XORBS = [Packed(some_raws(number, 12, 8_192, 40_000)) for number in range(5)]
FILES = [
    tuple(Part(XORBS[each], random.randrange(5), random.randrange(6, 12)) for each in random.sample(range(5), 3))
    for random in map(Random, range(8))
]
WHOLE = [b"".join(some_raws(number, 60, 20_000)) for number in (20, 21)]  # large enough to be cut in the background


@dataclass
class ChunkStorm:
    """People of two organisations, some of whom send files in chunks, and collectors beside the server."""

    url: str
    tokens: dict[str, str]
    parts: Parts
    done: Counter[str] = field(default_factory=Counter)
    visible: list[tuple[str, str, bytes]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def rage(self, seconds: float, seed: int) -> None:
        """All of them at once, for so long; whatever any of them finds wrong is raised."""
        roles = [self._push, self._push, self._push_whole, self._delete, self._read, self.collect]
        until = time.monotonic() + seconds
        with ThreadPoolExecutor(len(roles)) as threads:
            for ended in [threads.submit(_repeat, role, Random(f"{seed}/{n}"), until) for n, role in enumerate(roles)]:
                ended.result()

    @property
    def has_raged(self) -> bool:
        """Whether each of them came to do something."""
        often = ("pushes in chunks", "pushes of whole files", "deletes", "reads")
        return all(self.done[what] > 2 for what in often) and self.done["xorbs collected"] > 5

    def _push(self, random: Random) -> None:
        """In chunks. Who is told that some went sends all of them again, as a client with an empty cache does."""
        org, file = random.choice(["ada", "bob"]), random.choice(FILES)
        for _ in range(100):
            try:
                oid = Sender(self.parts, org).make(*file)
            except Invalid:
                self.done["shards refused"] += 1
            else:
                if self._publish(org, oid, content_of(file)):
                    self.done["pushes in chunks"] += 1
                    return
        raise AssertionError("a push did not get through in a hundred times")

    def _publish(self, org: str, oid: str, content: bytes) -> bool:
        version = f"1.{next(self._numbers)}.0"
        with open_client(self.url, self.tokens[org]) as client:
            body = {"version": version, "artifacts": {"model": oid}}
            answer = client.post(f"{API}/org/{org}/models/tiny/versions", json=body)
        assert answer.status_code in (201, 422), answer.text  # 422: what nothing needed yet was collected
        if answer.status_code == 201:
            with self._lock:
                self.visible.append((org, version, content))
        return answer.status_code == 201

    def _push_whole(self, random: Random) -> None:
        org, content, version = random.choice(["ada", "bob"]), random.choice(WHOLE), f"2.{next(self._numbers)}.0"
        for _ in again_and_again("a push"):
            try:
                Pusher(self.url, self.tokens[org]).push(Release(f"{org}/tiny", version, {"model": content}))
            except Refused as refused:
                assert refused.status in (404, 409, 422), refused
            except httpx2.RemoteProtocolError:
                self.done["connections lost"] += 1
            else:
                break
        self.done["pushes of whole files"] += 1
        with self._lock:
            self.visible.append((org, version, content))

    def _delete(self, random: Random) -> None:
        with self._lock:
            found = self.visible.pop(random.randrange(len(self.visible))) if len(self.visible) > 3 else None
        if found is None:
            time.sleep(0.01)
            return
        org, version, _ = found
        with open_client(self.url, self.tokens[org]) as client:
            assert client.delete(f"{API}/org/{org}/models/tiny/{version}").status_code == 204
        self.done["deletes"] += 1

    def _read(self, random: Random) -> None:
        with self._lock:
            found = random.choice(self.visible) if self.visible else None
        if found is None:
            time.sleep(0.01)
            return
        org, version, content = found
        path = f"{API}/org/{org}/models/tiny/{version}"
        with open_client(self.url, self.tokens[org]) as client:
            try:
                answer = client.get(f"{path}/files/model", follow_redirects=True)
            except httpx2.RemoteProtocolError:  # cut short: its chunks went under it
                answer = httpx2.Response(502)
            if answer.status_code != 200:  # then only because somebody deleted it just now
                assert client.get(path).status_code == 404, answer.text
                return
        assert answer.content == content
        self.done["reads"] += 1

    def collect(self, random: Random) -> None:
        """One clean-up without any grace, by a process that is none of the servers."""
        time.sleep(random.uniform(0, 0.3))
        grace = {"grace_seconds": 0, "xorb_grace_seconds": 0, "upload_ttl_seconds": 3600}
        found = collect(self.parts.database, self.parts.store, **grace)  # type: ignore[arg-type]
        self.done["collections"] += 1
        self.done["blobs collected"] += len(found.blobs)
        self.done["xorbs collected"] += len(found.xorbs)

    def end(self) -> dict[str, int]:
        """Delete everything and clean up; answers what the store still holds of blobs and xorbs."""
        for org, token in self.tokens.items():
            with open_client(self.url, token) as client:
                assert client.delete(f"{API}/org/{org}/models/tiny").status_code in (204, 404)
        for _ in range(2):  # a file that was being cut meanwhile goes with the second
            self.collect(Random(0))
        return Sender(self.parts, "ada").stored()


def _repeat(role: Callable[[Random], None], random: Random, until: float) -> None:
    while time.monotonic() < until:
        role(random)


@pytest.mark.parametrize("engines", ["sqlite+disk", "postgres+s3"])
def test_clean_up_without_grace_loses_no_chunk_that_a_file_needs(
    engines: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place: dict[str, Any] = {"database": postgres_url(), **seaweed().settings()} if engines == "postgres+s3" else {}
    server = start_server(tmp_path / "data", part_size_bytes=str(5 * 2**20), free_disk_floor_bytes="0", **place)
    chosen = Settings(data=tmp_path / "data", free_disk_floor_bytes=0, **place)
    with closing(Database(chosen.database_url, timeout_seconds=30)) as database:
        parts = Parts(database, open_chunked(open_store(chosen), database), chosen)
        storm = ChunkStorm(server.url, {name: make_user(server, name) for name in ("ada", "bob")}, parts)
        try:
            for seed in range(8):
                storm.rage(2.5, seed)
                assert check(database, parts.store).findings == ()
                if seed >= 1 and storm.has_raged:
                    break
            left = {org for org, _, _ in storm.visible}
            assert storm.end() == {}, left
        finally:
            server.stop()
    assert storm.has_raged, storm.done
    with capsys.disabled():
        print(f"\nclean-up of chunks without grace, {engines}: {dict(storm.done)}; losses: 0")


def test_the_files_of_the_storm_share_chunks() -> None:
    names = [{part.xorb.name for part in file} for file in FILES]
    assert sum(bool(one & other) for one in names for other in names if one is not other) > 30
    assert len({oid_of(content_of(file)) for file in FILES}) == len(FILES)
