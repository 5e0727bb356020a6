"""The real huggingface_hub with its hf_xet, which nothing here pretends to be: files go and come by Xet."""

import hashlib
import shutil
import time
from array import array
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import httpx2
import pytest

from tests.conftest import Tell
from tests.house import Person, RunningServer, start_server
from tests.server.doors.xet.hub import HubUser

MIB, MB = 2**20, 10**6
_FRESH = Random(4).randbytes(20 * MIB)
_CHANGED = _FRESH[: 9 * MIB] + Random(5).randbytes(MIB) + _FRESH[10 * MIB :]

_UPLOAD = """
repo, data = {repo!r}, Path({path!r})
api.create_repo(repo, exist_ok=True)
done = api.upload_file(path_or_fileobj=str(data), path_in_repo="weights.bin", repo_id=repo, commit_message="weights")
said["commit"] = done.oid
"""
_TAG = """
api.create_tag({repo!r}, tag={tag!r})
"""
_DOWNLOAD = """
from huggingface_hub import hf_hub_download, snapshot_download
here = hf_hub_download({repo!r}, "weights.bin", revision={revision!r})
said["sha256"] = hashlib.sha256(Path(here).read_bytes()).hexdigest()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    running = start_server(tmp_path / "data", free_disk_floor_bytes="0")
    yield running
    running.stop()
    shutil.rmtree(running.data, ignore_errors=True)  # else hundreds of megabytes stay, of each of the last runs


class Hub:
    """A server, and people at machines of their own."""

    def __init__(self, server: RunningServer, folder: Path) -> None:
        self.server, self._folder, self._machines = server, folder, 0
        self.client = httpx2.Client(base_url=server.url, timeout=60)
        self.admin = Person(self.client, "admin", server.token)

    def person(self, name: str) -> Person:
        made = self.admin.post("/users", {"username": name, "email_address": f"{name}@example.com"})
        assert made.status_code == 201, made.text
        return Person(self.client, name, made.json()["key"])

    def at_a_new_machine(self, person: Person) -> HubUser:
        self._machines += 1
        return HubUser(self.server.url, person.token, self._folder / f"home{self._machines}")

    def received_bytes(self) -> float:
        """What came in until now, by the server's own count."""
        page = self.client.get("/metrics").text
        lines = [line for line in page.splitlines() if line.startswith("steelyard_http_received_bytes_total")]
        assert lines, page
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def stored_bytes(self) -> int:
        return sum(file.stat().st_size for file in (self.server.data / "store").rglob("*") if file.is_file())


@pytest.fixture
def hub(server: RunningServer, tmp_path: Path) -> Iterator[Hub]:
    made = Hub(server, tmp_path)
    with closing(made.client):
        yield made


def _written(folder: Path, data: bytes) -> str:
    path = folder / f"{hashlib.sha256(data).hexdigest()[:8]}.bin"
    path.write_bytes(data)
    return str(path)


def test_a_file_goes_by_xet_and_comes_back_by_every_way(hub: Hub, tmp_path: Path) -> None:
    ada = hub.person("ada")
    machine = hub.at_a_new_machine(ada)
    path, digest = _written(tmp_path, _FRESH), hashlib.sha256(_FRESH).hexdigest()
    said = machine.run(_UPLOAD.format(repo="ada/big", path=path) + _TAG.format(repo="ada/big", tag="1.0.0"))
    assert len(said["commit"]) == 40
    assert "/xorbs/default/" in hub.server.log
    assert "/v2/shards" in hub.server.log

    story = _DOWNLOAD.format(repo="ada/big", revision="1.0.0")
    assert hub.at_a_new_machine(ada).run(story) == {"sha256": digest}
    assert "/v2/reconstructions/" in hub.server.log
    assert "/data/" in hub.server.log
    plainly = hub.at_a_new_machine(ada).run(story, HF_HUB_DISABLE_XET="1")
    assert plainly == {"sha256": digest}
    native = ada.get("/org/ada/models/big/1.0.0/files/weights.bin")
    assert (native.status_code, native.content == _FRESH) == (200, True)
    part = ada.get("/org/ada/models/big/1.0.0/files/weights.bin", headers={"Range": "bytes=9999999-10000999"})
    assert (part.status_code, part.content) == (206, _FRESH[9999999:10001000])


def _weights(count: int) -> bytes:
    """Numbers near to each other, as weights are: clients regroup their bytes before they compress them."""
    chance = Random(6)
    return array("f", (chance.gauss(0.0, 0.02) for _ in range(count))).tobytes()


@pytest.mark.only("disk")
def test_what_compresses_is_kept_compressed_and_comes_back_whole(hub: Hub, tmp_path: Path) -> None:
    ada = hub.person("ada")
    words = b"".join(b"%d words and more of them, " % number for number in range(200_000))
    data = words + bytes(MIB) + _weights(MIB) + words[::-1]
    stored = hub.stored_bytes()
    hub.at_a_new_machine(ada).run(_UPLOAD.format(repo="ada/mixed", path=_written(tmp_path, data)))
    assert hub.stored_bytes() - stored < len(data) * 0.7
    back = hub.at_a_new_machine(ada).run(_DOWNLOAD.format(repo="ada/mixed", revision="main"))
    assert back == {"sha256": hashlib.sha256(data).hexdigest()}
    sha = ada.get(f"{hub.server.url}/api/models/ada/mixed").json()["sha"]
    plain = ada.get(f"{hub.server.url}/ada/mixed/resolve/{sha}/weights.bin")
    assert (plain.status_code, plain.content == data) == (200, True)


@pytest.mark.only("disk")
def test_of_200_mb_with_one_mb_changed_less_than_three_are_sent_and_stored(
    hub: Hub, tmp_path: Path, tell: Tell
) -> None:
    """By whoever sent the first version, and by a member with an empty cache even less."""
    ada, bob = hub.person("ada"), hub.person("bob")
    machine, path = hub.at_a_new_machine(ada), tmp_path / "weights.bin"
    data = bytearray(Random(7).randbytes(200 * MB))
    path.write_bytes(data)
    before = hub.received_bytes(), hub.stored_bytes()
    machine.run(_UPLOAD.format(repo="ada/large", path=str(path)))
    assert hub.received_bytes() - before[0] > 200 * MB
    assert hub.stored_bytes() - before[1] > 200 * MB

    data[100 * MB : 101 * MB] = Random(8).randbytes(MB)
    path.write_bytes(data)
    before = hub.received_bytes(), hub.stored_bytes()
    machine.run(_UPLOAD.format(repo="ada/large", path=str(path)))
    sent, stored = hub.received_bytes() - before[0], hub.stored_bytes() - before[1]
    assert MB < sent < 3 * MB
    assert MB < stored < 3 * MB

    # A member at a machine that has never seen any of it: the server tells him what is here.
    assert ada.post("/org/ada/members", {"username": "bob", "role": "contributor"}).status_code == 201
    before = hub.received_bytes(), hub.stored_bytes()
    hub.at_a_new_machine(bob).run(_UPLOAD.format(repo="ada/copy", path=str(path)))
    sent_again = hub.received_bytes() - before[0]
    assert sent_again < 0.1 * MB
    assert hub.stored_bytes() - before[1] < 0.1 * MB
    tell(
        f"1 MB of 200 changed: {sent / MB:.2f} MB sent, {stored / MB:.2f} MB stored; "
        f"sent by another member: {sent_again / MB:.2f} MB"
    )

    digest = hashlib.sha256(data).hexdigest()
    assert hub.at_a_new_machine(bob).run(_DOWNLOAD.format(repo="ada/copy", revision="main")) == {"sha256": digest}
    assert hub.at_a_new_machine(ada).run(_DOWNLOAD.format(repo="ada/large", revision="main")) == {"sha256": digest}


@pytest.mark.only("disk")
def test_a_stranger_is_told_nothing_of_what_is_here_and_sends_it_all(hub: Hub, tmp_path: Path) -> None:
    path = _written(tmp_path, _FRESH)
    hub.at_a_new_machine(hub.person("ada")).run(_UPLOAD.format(repo="ada/big", path=path))
    received = hub.received_bytes()
    hub.at_a_new_machine(hub.person("eve")).run(_UPLOAD.format(repo="eve/own", path=path))
    assert hub.received_bytes() - received > 19 * MIB


@pytest.mark.only("disk")
def test_a_file_that_came_whole_is_fetched_and_built_on_by_xet(hub: Hub, tmp_path: Path) -> None:
    ada = hub.person("ada")
    assert ada.publish("ada/whole:1.0.0", {"weights.bin": _FRESH}).status_code == 201
    while "X-Xet-Hash" not in ada.request("HEAD", f"{hub.server.url}/ada/whole/resolve/1.0.0/weights.bin").headers:
        time.sleep(0.1)  # until it was cut into chunks, in the background
    machine = hub.at_a_new_machine(ada)
    back = machine.run(_DOWNLOAD.format(repo="ada/whole", revision="1.0.0"))
    assert back == {"sha256": hashlib.sha256(_FRESH).hexdigest()}
    assert "/data/" in hub.server.log
    received, stored = hub.received_bytes(), hub.stored_bytes()
    machine.run(_UPLOAD.format(repo="ada/whole", path=_written(tmp_path, _CHANGED)))
    assert hub.received_bytes() - received < 1.5 * MIB
    assert hub.stored_bytes() - stored < 1.5 * MIB
    back = hub.at_a_new_machine(ada).run(_DOWNLOAD.format(repo="ada/whole", revision="main"))
    assert back == {"sha256": hashlib.sha256(_CHANGED).hexdigest()}


@pytest.mark.only("disk")
def test_chunks_that_the_store_has_lost_are_sent_anew_when_asked_for(hub: Hub, tmp_path: Path) -> None:
    """The client believes that they are here and does not send them: he is told, and then finds another cache."""
    ada = hub.person("ada")
    machine = hub.at_a_new_machine(ada)
    machine.run(_UPLOAD.format(repo="ada/big", path=_written(tmp_path, _FRESH)))
    for file in (hub.server.data / "store").rglob("*"):
        if file.is_file() and file.stat().st_size > MIB:
            file.unlink()
    again = _UPLOAD.format(repo="ada/big", path=_written(tmp_path, _CHANGED))
    refused = machine.attempt(again)
    assert refused.returncode != 0
    assert "Push again" in refused.stderr
    machine.run(again + _TAG.format(repo="ada/big", tag="1.0.0"))
    back = hub.at_a_new_machine(ada).run(_DOWNLOAD.format(repo="ada/big", revision="1.0.0"))
    assert back == {"sha256": hashlib.sha256(_CHANGED).hexdigest()}


def test_why_a_file_is_refused_reaches_the_user_at_once(tmp_path: Path) -> None:
    server = start_server(tmp_path / "data", free_disk_floor_bytes="0", max_file_bytes="1000000")
    try:
        hub = Hub(server, tmp_path)
        with closing(hub.client):
            path = _written(tmp_path, _FRESH[: 2 * MIB])
            refused = hub.at_a_new_machine(hub.person("ada")).attempt(_UPLOAD.format(repo="ada/big", path=path))
    finally:
        server.stop()
    assert "A file of 2097152 bytes is larger than this server takes" in refused.stderr


def test_a_revoked_credential_neither_sends_nor_fetches(hub: Hub, tmp_path: Path) -> None:
    ada = hub.person("ada")
    key = ada.post("/user/api-keys", {"name": "short-lived"}).json()
    other = Person(hub.client, "ada", key["key"])
    hub.at_a_new_machine(other).run(_UPLOAD.format(repo="ada/big", path=_written(tmp_path, _FRESH[:MIB])))
    assert ada.delete(f"/user/api-keys/{key['id']}").status_code == 204
    late = hub.at_a_new_machine(other).attempt(_DOWNLOAD.format(repo="ada/big", revision="main"))
    assert late.returncode != 0
    assert "401" in late.stderr or "RepositoryNotFound" in late.stderr
