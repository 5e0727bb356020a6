"""`kill -9` of `steelyard push` at any moment: nothing half visible, and the next push sends only what is missing."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from tests.conftest import Tell
from tests.house import RunningServer, start_server
from tests.reliability.killing import Remains, read_remains
from tests.reliability.pushing import PART_BYTES, Release, make_release, make_user, open_client
from tests.reliability.soundness import assert_sound, describe, is_visible

MOMENTS = ("looking", "sending", "ending")


@dataclass(frozen=True)
class Shop:
    """A server, somebody who pushes to it with the command, and a look at the database."""

    server: RunningServer
    token: str
    database: sqlite3.Connection
    folder: Path

    def start_push(self, release: Release) -> subprocess.Popen[str]:
        """Write the release into a folder and push it."""
        source = self.folder / release.version
        for path, data in release.files.items():
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            (source / path).write_bytes(data)
        command = [sys.executable, "-m", "steelyard", "push", "--json", "--no-git", str(source)]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("STEELYARD_")}
        settings = {
            "STEELYARD_URL": self.server.url,
            "STEELYARD_TOKEN": self.token,
            "STEELYARD_CACHE": str(self.folder / "cache"),
        }
        return subprocess.Popen(
            [*command, f"{release.model}:{release.version}"], env=kept | settings, stdout=subprocess.PIPE, text=True
        )

    def count_parts(self, release: Release) -> int:
        """How many parts have arrived, those of finished files included; -1 before the first request to upload."""
        remains = read_remains(self.database)
        oids = release.artifacts.values()
        if not any(oid in remains.held or oid in remains.uploads for oid in oids):
            return -1
        sizes = {oid: len(release.files[path]) for path, oid in release.artifacts.items()}
        finished = sum(-(-size // PART_BYTES) for oid, size in sizes.items() if oid in remains.held)
        return finished + sum(len(remains.uploads[oid].parts) for oid in oids if oid in remains.uploads)

    def settled(self) -> Remains:
        """What is recorded once the server has ended what it was at when its client died."""
        before, now = None, read_remains(self.database)
        while before != now:
            time.sleep(0.15)
            before, now = now, read_remains(self.database)
        return now


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    server = start_server(tmp_path / "data", part_size_bytes=str(PART_BYTES), free_disk_floor_bytes="0")
    with closing(sqlite3.connect(f"file:{server.data}/steelyard.sqlite3?mode=ro", uri=True)) as database:
        yield Shop(server, make_user(server, "ada"), database, tmp_path)
    server.stop()


def kill_once(shop: Shop, release: Release, moment: str, random: Random) -> str:
    """Push, kill the client at such a moment, and say when it was."""
    total = sum(-(-len(data) // PART_BYTES) for data in release.files.values())
    goal = {"looking": -1, "sending": random.randrange(total), "ending": total}[moment]
    process = shop.start_push(release)
    if goal < 0:
        time.sleep(random.uniform(0.02, 0.25))
    while goal >= 0 and process.poll() is None and shop.count_parts(release) < goal:
        time.sleep(0.0005)
    process.kill()
    process.communicate()
    if process.returncode != -signal.SIGKILL:
        return "late"
    there = shop.count_parts(release)
    return "looking" if there < 0 else "sending" if there < total else "ending"


def assert_the_push_goes_on(shop: Shop, release: Release) -> None:
    remains = shop.settled()
    with open_client(shop.server.url, shop.token) as client:
        visible = is_visible(client, release)
        again = shop.start_push(release)
        said, _ = again.communicate(timeout=60)
        assert again.returncode == 0
        result = json.loads(said)
        assert result["uploaded_bytes"] == remains.owed_bytes(release)
        assert result["created"] is not visible
        assert is_visible(client, release)
    assert_sound(shop.server, shop.token, "ada")


def kill_clients(shop: Shop, seed: int, kills: int) -> Counter[str]:
    """So many kills, and more until each moment was met."""
    hits = Counter[str]()
    for number in range(kills * 5):
        if number >= kills and all(hits[moment] for moment in MOMENTS):
            break
        random = Random(f"{seed}/{number}")
        release = make_release(random, "ada/tiny", f"1.{number}.0", large_bytes=20 * PART_BYTES)
        hits[kill_once(shop, release, MOMENTS[number % len(MOMENTS)], random)] += 1
        assert_the_push_goes_on(shop, release)
    assert all(hits[moment] for moment in MOMENTS), hits
    return hits


def test_a_killed_client_leaves_nothing_half_visible_and_goes_on(shop: Shop, tell: Tell) -> None:
    hits = kill_clients(shop, seed=1, kills=4)
    tell(f"kills of the client: {describe(hits)}; losses: 0")


@pytest.mark.thorough
def test_sixty_kills_of_a_client_leave_nothing_half_visible(shop: Shop, tell: Tell) -> None:
    hits = kill_clients(shop, seed=2, kills=60)
    tell(f"kills of the client: {describe(hits)}; losses: 0")
