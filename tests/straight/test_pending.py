"""While the registry proves what came: 202, then 409 with `Retry-After` at publish; our client waits and says so."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from click.testing import CliRunner

from steelyard.cli import main
from steelyard.client import Client, Progress, Stage
from tests.client.conftest import MakeFolder
from tests.house import Person
from tests.house.people import oid_of
from tests.server.doors.native.models import refusal
from tests.straight.conftest import MIB, Yard, start_yard
from tests.straight.sending import complete, offer, send

_random = random.Random(7)


def some_bytes() -> bytes:
    """Enough that reading them back takes a moment."""
    return _random.randbytes(MIB) * 48


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """A server that waits for no proof."""
    data = tmp_path_factory.mktemp("pending") / "data"
    made = start_yard(data, prove_wait_seconds="0", part_size_bytes=str(16 * MIB))
    yield made
    made.server.stop()


def test_what_is_being_proven_is_pending_until_it_is_published(
    ada: Person, outside: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.straight.sending.PART_BYTES", 16 * MIB)
    data, model = some_bytes(), f"{ada.name}/tiny"
    item = offer(ada, model, data, checksums=True)
    send(outside, item, data)
    accepted = complete(outside, item)
    assert (accepted.status_code, accepted.json()["status"]) == (202, "proving")
    assert int(accepted.headers["retry-after"]) >= 1
    body = {"version": "1.0.0", "artifacts": {"a.bin": oid_of(data), "b.bin": oid_of(data)}}
    refused = ada.post(f"/org/{ada.name}/models/tiny/versions", body)
    assert refusal(refused) == (409, "conflict_error")
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["detail"].startswith("2 of 2 files are still being proven")
    location = ada.client.base_url.join(accepted.headers["location"])
    deadline = time.monotonic() + 60
    while (asked := outside.get(location)).status_code == 202:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (asked.status_code, asked.json()) == (200, {"oid": oid_of(data), "size": len(data), "status": "done"})
    assert ada.post(f"/org/{ada.name}/models/tiny/versions", body).status_code == 201


class Told(Progress):
    """What the client tells while it pushes."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def counting(self, label: str) -> Stage:
        told = self.told

        class Counting(Stage):
            def expect(self, size_bytes: int) -> None:
                told.append(f"{label} {size_bytes}")

            def advance(self, size_bytes: int) -> None:
                told.append(f"done {size_bytes}")

        return Counting()


def test_the_client_waits_for_the_proofs_and_publishes_then(
    yard: Yard, make_folder: MakeFolder, tmp_path: Path
) -> None:
    told, folder = Told(), make_folder({"a.bin": some_bytes(), "b.bin": some_bytes(), "c.txt": b"small"})
    with Client(yard.server.url, yard.server.token, cache_dir=tmp_path / "cache") as client:
        assert client.push(folder, "admin/waited:1.0.0", progress=told).created
    assert told.told == ["Proving 2", "done 1", "done 1"]


def test_the_command_says_what_it_waits_for(
    yard: Yard, make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("URL", yard.server.url), ("TOKEN", yard.server.token), ("CACHE", str(tmp_path / "cache"))):
        monkeypatch.setenv(f"STEELYARD_{name}", value)
    folder = make_folder({"a.bin": some_bytes(), "b.bin": some_bytes()})
    done = CliRunner().invoke(main, ["push", str(folder), "admin/told:1.0.0"])
    assert done.exit_code == 0, done.output
    assert [line for line in done.stderr.splitlines() if "Proving" in line] == ["Proving 1 of 2 …", "Proving 2 of 2 …"]
    assert "Proving" not in done.stdout
