"""`kill -9` of the server at any moment of a push by the Hub's own client: nothing half visible, nothing lost, and one
more push makes every file whole."""

import os
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from tests.conftest import Tell
from tests.house import RunningServer, start_server
from tests.house.people import oid_of
from tests.house.scraped import read_page
from tests.reliability.administering import admin
from tests.reliability.hub_killing import PHASES, HubKiller, examine_traces, names_in_store, phase_of
from tests.reliability.pushing import make_user, open_client
from tests.reliability.soundness import check_data, describe
from tests.server.doors.xet.hub import HubUser

MIB = 2**20
REPO = "ada/weights"
LARGE = ("model.safetensors", "onnx/model.onnx")
_SOON = {"HF_XET_CLIENT_RETRY_BASE_DELAY": "1s"}  # is when a client tries again

Files = dict[str, bytes]


def change(random: Random, files: Files) -> Files:
    """The next state of the repository: large files by Xet, of which half is new, and small ones that go otherwise."""
    old = files.get(LARGE[0]) or random.randbytes(12 * MIB)
    return {
        LARGE[0]: old[: 6 * MIB] + random.randbytes(6 * MIB + random.randrange(MIB)),
        LARGE[1]: random.randbytes(2 * MIB + random.randrange(MIB)),
        "config.json": b'{"seed": %d}' % random.getrandbits(32),
        "README.md": b"---\nlicense: mit\n---\n" + random.randbytes(9).hex().encode(),
    }


@dataclass
class Toll:
    """What was counted."""

    hits: Counter[str] = field(default_factory=Counter)
    turns: Counter[str] = field(default_factory=Counter)
    files: int = 0

    def __str__(self) -> str:
        kills = sum(self.hits.values())
        return (
            f"kills of the server, Hub's client: {describe(self.hits)} = {kills}; files read: {self.files}; losses: 0"
        )


@dataclass
class Lifetime:
    """A data directory, the servers that die on it, and somebody who pushes to it from one machine."""

    server: RunningServer
    user: HubUser
    folder: Path
    toll: Toll
    files: Files = field(default_factory=dict)

    def begin(self, random: Random) -> None:
        """A first commit, undisturbed."""
        self.files = change(random, {})
        self.user.run(f"api.create_repo('{REPO}')" + self._push())
        self._assert_whole()

    def kill_in(self, phase: str, random: Random) -> None:
        """One push with a kill on the way, a restart, the invariant, and the push again."""
        old, self.files = self.files, change(random, self.files)
        push = self._push()
        client, hit = self._begin_and_kill(push, phase, random)
        if sum(self.toll.hits.values()) % 2:
            client.kill()  # dies with it; the others try again by themselves for a while
        self.server = start(self.server.data, self.server.port)
        client.communicate(timeout=60)
        went_on = client.returncode == 0
        assert self._read() == (self.files if went_on or hit == "answer" else old)
        assert check_data(self.server.data).is_sound

        received = self._received_bytes()
        self.user.run(push)
        if went_on or hit in ("commit", "answer"):  # all large files had come
            assert self._received_bytes() - received < MIB
        self._assert_whole()

    def _begin_and_kill(self, push: str, phase: str, random: Random) -> tuple[subprocess.Popen[str], str]:
        """The client, who has been told nothing yet, and where the kill hit."""
        data, turn = self.server.data, self.toll.turns[phase]
        oids = {oid_of(self.files[path]) for path in LARGE}
        before, names = examine_traces(data), names_in_store(data)
        with HubKiller(self.server, oids, phase, turn, random):
            client = self.user.begin(push, **_SOON)
        assert self.server.process.returncode == -9
        hit = phase_of(before, examine_traces(data), oids, names_in_store(data) - names)
        self.toll.turns[phase] += 1
        self.toll.hits[hit] += 1
        return client, hit

    def end(self) -> None:
        """What was pushed last comes whole to a machine that has nothing, and what nobody needs can be cleaned up."""
        machine = HubUser(self.server.url, self.user.token, self.folder.with_name("another machine"))
        said = machine.run(f"from huggingface_hub import snapshot_download\nsaid['at'] = snapshot_download('{REPO}')")
        assert "/reconstructions/" in self.server.log
        assert {path: (Path(said["at"]) / path).read_bytes() for path in self.files} == self.files
        for name in (self.server.data / "store").rglob("*.*"):
            os.utime(name, (0, 0))  # as if time had passed: clean-up leaves alone what may have come just now
        admin(self.server.data, "gc", "--grace-seconds", "0")
        assert check_data(self.server.data).findings == ()

    def _push(self) -> str:
        for path, data in self.files.items():
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(data)
        return f"\napi.upload_folder(repo_id='{REPO}', folder_path={str(self.folder)!r})"

    def _assert_whole(self) -> None:
        assert self._read() == self.files
        assert check_data(self.server.data).is_sound

    def _read(self) -> Files:
        """All that the repository shows now."""
        with open_client(self.server.url, self.user.token) as client:
            listed = client.get(f"/api/models/{REPO}/tree/main", params={"recursive": "true"}).raise_for_status().json()
            paths = [entry["path"] for entry in listed if entry["type"] == "file" and entry["path"] != ".gitattributes"]
            found = {path: client.get(f"/{REPO}/resolve/main/{path}").raise_for_status().content for path in paths}
        self.toll.files += len(found)
        return found

    def _received_bytes(self) -> float:
        with open_client(self.server.url) as client:
            return read_page(client.get("/metrics").text).value("steelyard_http_received_bytes_total")


def start(data: Path, port: int | None = None) -> RunningServer:
    return start_server(data, port=port, free_disk_floor_bytes="0")


def live(folder: Path, seed: int, phases: tuple[str, ...], toll: Toll) -> None:
    """Kills in these phases, each again where it was missed; and a few more at most."""
    folder.mkdir(exist_ok=True)
    server = start(folder / "data")
    user = HubUser(server.url, make_user(server, "ada"), folder / "machine")
    lifetime = Lifetime(server, user, folder / "weights", toll)
    goal, random = toll.hits + Counter(phases), Random(seed)
    try:
        lifetime.begin(random)
        for _ in range(2 * len(phases)):
            if missing := [phase for phase in phases if toll.hits[phase] < goal[phase]]:
                lifetime.kill_in(missing[0], random)
        lifetime.end()
    finally:
        lifetime.server.stop()
    assert all(toll.hits[phase] >= goal[phase] for phase in phases), toll


def test_a_server_killed_in_a_push_by_xet_loses_nothing_and_one_more_push_ends_it(tmp_path: Path, tell: Tell) -> None:
    toll = Toll()
    live(tmp_path, 1, ("xorb", "shard", "commit"), toll)
    tell(toll)


@pytest.mark.thorough
def test_sixty_kills_in_pushes_by_xet_lose_nothing(tmp_path: Path, tell: Tell) -> None:
    toll = Toll()
    for seed in range(2, 7):
        live(tmp_path / str(seed), seed, PHASES * 3, toll)
    assert sum(toll.hits.values()) >= 60
    tell(toll)
