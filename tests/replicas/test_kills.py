"""`kill -9` of one server in the middle of uploads and publishes: clients go on with the other, nothing is lost, and
nothing is half visible. The killed one comes back."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from tests.conftest import Tell
from tests.house.people import path_of
from tests.reliability.pushing import open_client
from tests.reliability.soundness import assert_sound
from tests.replicas.load import Load, under_load
from tests.replicas.site import Replicas

SHORT_LEASES = {"job_lease_seconds": "2"}  # what a killed server was proving, the other one takes over


@dataclass
class Toll:
    """Kills, and those of them that cut off requests which nginx could not hand to the other server."""

    kills: int = 0
    hits: int = 0
    cut: int = 0


def kill_until(replicas: Replicas, load: Load, hits: int, random: Random) -> Toll:
    """Kill one or the other at some moment, and start it again, until so many kills have cut something off."""
    toll = Toll()
    while toll.hits < hits and toll.kills < 6 * hits:
        time.sleep(random.uniform(0.3, 1.0))
        server, pushed = random.choice(replicas.servers), len(load.pushed)
        server.kill()
        wait_for(lambda pushed=pushed: len(load.pushed) > pushed)  # type: ignore[misc]
        cut, toll.kills = cut_off(replicas), toll.kills + 1
        toll.hits += cut > toll.cut
        toll.cut = cut
        replicas.restart(server)
    return toll


def cut_off(replicas: Replicas) -> int:
    """How many requests a server had begun and nobody answered."""
    return sum('" 502 ' in line for line in replicas.nginx.lines)


def wait_for(happens: Callable[[], bool]) -> None:
    """Wait until the other server has brought a push to its end."""
    deadline = time.monotonic() + 60
    while not happens():
        assert time.monotonic() < deadline, "no push came to its end beside the killed server"
        time.sleep(0.02)


def survive(replicas: Replicas, folder: Path, hits: int) -> str:
    """The whole story; answers what was counted."""
    ada = replicas.user("ada")
    with under_load(replicas, ada, folder) as load:
        toll = kill_until(replicas, load, hits, Random("kills"))
    for server in replicas.servers:
        with open_client(server.url, ada.token) as client:
            for reference, artifacts in load.pushed.items():
                model, version = reference.split(":")
                shown = client.get(f"/api/v1{path_of(model)}/{version}")
                assert shown.json()["artifacts"] == artifacts, reference
    sound = assert_sound(replicas.one, ada.token, "ada", checked_by=replicas.check)
    assert sound.versions == len(load.pushed), "what is visible was pushed whole"
    assert toll.hits == hits, toll
    return (
        f"kills of a replica: {toll.kills}, of them in the middle of requests: {toll.hits} ({toll.cut} cut off); "
        f"{load}; OIDs checked: {sound.oids}; losses: 0"
    )


@pytest.mark.thorough
def test_clients_go_on_with_the_other_server(
    make_replicas: Callable[..., Replicas], tmp_path: Path, tell: Tell
) -> None:
    tell(survive(make_replicas(**SHORT_LEASES), tmp_path / "load", hits=2))


@pytest.mark.thorough
def test_clients_go_on_with_the_other_server_many_times(
    make_replicas: Callable[..., Replicas], tmp_path: Path, tell: Tell
) -> None:
    tell(survive(make_replicas(**SHORT_LEASES), tmp_path / "load", hits=15))
