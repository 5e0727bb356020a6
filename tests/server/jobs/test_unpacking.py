"""Tars made into versions off the request: joined, done once, begun again after a death, given up where they must."""

import gzip
import io
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from steelyard.server.core import jobs
from steelyard.server.core.jobs import new_holder
from steelyard.server.core.manifests import tars, unpacking
from steelyard.server.core.manifests.tars import Member
from steelyard.server.db.tables import AuditEvent, Job, Manifest, Model, Version
from steelyard.server.errors import StorageFailed
from steelyard.server.jobs import worker
from steelyard.server.jobs.leasing import Leases
from steelyard.server.jobs.unpacking import Unpacker
from steelyard.server.names import Version as SemVer
from steelyard.server.storage import StoredBlob
from tests.conftest import MakeRegistered
from tests.house.people import oid_of
from tests.server.doors.oci.pushing import Repository, as_bytes, descriptor, error_of, image_manifest, message_of
from tests.server.jobs.conftest import PART_BYTES, Yard

SOON_SECONDS = 20
FILES = {f"m/{number}.bin": bytes([number]) * 1_000 for number in range(5)}
KIT = "application/vnd.kitops.modelkit."
CONFIG = b'{"manifestVersion": "1.0.0"}'
NUMBER = SemVer.parse("1.0.0")


@pytest.fixture(autouse=True)
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry's own worker takes nothing of what these tests leave to be taken."""
    monkeypatch.setattr(worker, "_LOOK_SECONDS", 3600)


@pytest.fixture
def yard(idle: None, make_registered: MakeRegistered, tmp_path: Path) -> Yard:
    """One in which nobody waits for anything."""
    registered = make_registered(data=tmp_path / "yard", prove_wait_seconds=0, part_size_bytes=PART_BYTES)
    return Yard(registered, tmp_path / "yard", registered.user("ada"))


@pytest.fixture
def repo(yard: Yard) -> Repository:
    return Repository(yard.ada, "ada/tiny")


class Gate:
    """What unpacks stands still before the second file until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        self.passed = 0
        read_members = tars.read_members

        def stand_still(blob: StoredBlob) -> Iterator[Member]:
            for place, member in enumerate(read_members(blob)):
                if place == 1:
                    self.reached.set()
                    assert self.opened.wait(SOON_SECONDS)
                    self.passed += 1
                yield member

        monkeypatch.setattr(tars, "read_members", stand_still)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.opened.set()


def tar_of(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as out:
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            out.addfile(member, io.BytesIO(data))
    return gzip.compress(packed.getvalue(), mtime=0)


def kit_of(files: Mapping[str, bytes]) -> dict[str, Any]:
    layers = [descriptor(KIT + "model.v1.tar+gzip", tar_of(files))]
    return image_manifest(descriptor(KIT + "config.v1+json", CONFIG), layers)


def push(repo: Repository, files: Mapping[str, bytes] = FILES, tag: str = "1.0.0") -> Any:
    for data in (CONFIG, tar_of(files)):
        repo.push_blob(data)
    return repo.push_manifest(kit_of(files), tag)


def unpacker_of(yard: Yard, lease_seconds: float = 60) -> Unpacker:
    """As another server has one."""
    leases = Leases(yard.database, new_holder(lease_seconds))
    return Unpacker(yard.database, yard.store, yard.registry.settings, leases)


def kept(yard: Yard) -> Manifest:
    with yard.database.read() as session:
        return session.scalars(select(Manifest).order_by(Manifest.id.desc())).first() or pytest.fail("nothing kept")


def jobs_of(yard: Yard) -> list[tuple[str | None, bool]]:
    """`(failure, whether it is leased)` of what is to be unpacked."""
    with yard.database.read() as session:
        rows = session.scalars(select(Job).where(Job.kind == jobs.UNPACK)).all()
        return [(job.failure, job.leased_until is not None) for job in rows]


def versions_of(yard: Yard) -> list[str]:
    with yard.database.read() as session:
        return list(session.scalars(select(Version.version)))


def failures_of(yard: Yard) -> list[str]:
    with yard.database.read() as session:
        query = select(AuditEvent).where(AuditEvent.action == unpacking.FAILED).order_by(AuditEvent.id)
        return [event.details["reason"] for event in session.scalars(query)]


def staged_in(yard: Yard) -> list[str]:
    return [found.name for found in yard.store.scan() if found.kind == "stage"]


def until(holds: Callable[[], bool], words: str) -> None:
    deadline = time.monotonic() + SOON_SECONDS
    while not holds():
        assert time.monotonic() < deadline, words
        time.sleep(0.01)


def left_by_a_server_that_died(yard: Yard, repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest that was kept, and a job that nobody does."""
    with monkeypatch.context() as patched:
        patched.setattr(yard.registry.unpacker, "start", lambda *_: None)
        patched.setattr(yard.registry.unpacker, "is_pending", lambda *_: False)
        assert push(repo).status_code == 201
    with yard.database.write() as session:
        token = session.scalars(select(AuditEvent.token_uuid).where(AuditEvent.action == "model.create")).one()
        manifest = session.scalars(select(Manifest)).one()
        jobs.enqueue(session, jobs.UNPACK, unpacking.subject_of(manifest, NUMBER, token or ""))


def test_the_version_comes_when_it_is_done(yard: Yard, repo: Repository, gate: Gate) -> None:
    pushed = push(repo)
    assert pushed.status_code == 201, "nobody waits here"
    assert gate.reached.wait(SOON_SECONDS)
    assert versions_of(yard) == []
    assert repo.get("manifests/1.0.0").content == as_bytes(kit_of(FILES)), "the tag leads there already"
    gate.opened.set()
    until(lambda: versions_of(yard) == ["1.0.0"], "it was not unpacked")
    until(lambda: jobs_of(yard) == [], "the job is not over")
    told = yard.ada.get("/org/ada/models/tiny/1.0.0").json()
    assert told["artifacts"] == {path: oid_of(data) for path, data in FILES.items()}
    assert repo.get("manifests/1.0.0").content == as_bytes(kit_of(FILES))
    assert staged_in(yard) == []


def test_the_same_again_joins_and_other_content_is_denied_meanwhile(yard: Yard, repo: Repository, gate: Gate) -> None:
    push(repo)
    assert gate.reached.wait(SOON_SECONDS)
    assert push(repo).status_code == 201
    refused = push(repo, {"other": b"x", "more": b"y"})
    assert error_of(refused) == (403, "DENIED")
    assert "is being unpacked from another manifest" in message_of(refused)
    gate.opened.set()
    until(lambda: versions_of(yard) == ["1.0.0"], "it was not unpacked")
    assert gate.passed == 1


def test_one_manifest_under_two_numbers(yard: Yard, repo: Repository) -> None:
    push(repo, tag="1.0.0")
    push(repo, tag="v1.0.1")
    until(lambda: sorted(versions_of(yard)) == ["1.0.0", "1.0.1"], "they were not unpacked")
    assert {repo.get(f"manifests/{tag}").content for tag in ("1.0.0", "1.0.1", "v1.0.1")} == {as_bytes(kit_of(FILES))}


def test_a_server_that_stops_leaves_it_to_the_next(
    yard: Yard, repo: Repository, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_by_a_server_that_died(yard, repo, monkeypatch)
    stopping = unpacker_of(yard)
    assert stopping.run_due() == 1
    assert gate.reached.wait(SOON_SECONDS)
    closing = threading.Thread(target=stopping.close)
    closing.start()
    until(stopping._crew._stopping.is_set, "it does not stop")
    gate.opened.set()
    closing.join(SOON_SECONDS)
    assert jobs_of(yard) == [(None, False)], "handed back"
    assert versions_of(yard) == []
    assert staged_in(yard) == []
    other = unpacker_of(yard)
    assert other.run_due() == 1
    until(lambda: versions_of(yard) == ["1.0.0"], "nobody went on")
    other.close()
    assert jobs_of(yard) == []


def test_a_dead_servers_work_is_done_when_its_lease_ran_out(
    yard: Yard, repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_by_a_server_that_died(yard, repo, monkeypatch)
    with yard.database.write() as session:
        assert len(jobs.claim(session, new_holder(0.3), jobs.UNPACK, 5)) == 1
    other = unpacker_of(yard)
    assert other.run_due() == 0
    time.sleep(0.4)
    assert other.run_due() == 1
    until(lambda: versions_of(yard) == ["1.0.0"], "nobody went on")
    other.close()


def test_whose_token_is_worth_nothing_by_then_publishes_nothing(
    yard: Yard, repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_by_a_server_that_died(yard, repo, monkeypatch)
    tokens = yard.ada.get("/user/api-keys").json()
    key = (tokens["keys"] if "keys" in tokens else next(iter(tokens.values())))[0]
    assert yard.ada.delete(f"/user/api-keys/{key['id']}").status_code == 204
    other = unpacker_of(yard)
    assert other.run_due() == 1
    until(lambda: jobs_of(yard) == [], "the job is not over")
    other.close()
    assert versions_of(yard) == []
    assert failures_of(yard) == ["Authentication failed"]


def test_a_tag_that_leads_elsewhere_by_then_is_left_alone(
    yard: Yard, repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_by_a_server_that_died(yard, repo, monkeypatch)
    assert repo.delete("manifests/1.0.0").status_code == 202
    other = unpacker_of(yard)
    assert other.run_due() == 1
    until(lambda: jobs_of(yard) == [], "the job is not over")
    other.close()
    assert (versions_of(yard), failures_of(yard)) == ([], [])


def test_what_a_failing_store_broke_off_is_done_again(
    yard: Yard, repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_by_a_server_that_died(yard, repo, monkeypatch)

    def fail(_blob: StoredBlob) -> Iterator[Member]:
        raise StorageFailed("The store is out of order.")

    other = unpacker_of(yard)
    with monkeypatch.context() as patched:
        patched.setattr(tars, "read_members", fail)
        assert other.run_due() == 1
        until(lambda: jobs_of(yard) == [("The store is out of order.", False)], "it was not put off")
    assert failures_of(yard) == []
    assert push(repo).status_code == 201, "whoever pushes again need not wait for the pause to end"
    until(lambda: versions_of(yard) == ["1.0.0"], "it was not done again")
    other.close()


def test_a_bad_tar_leaves_nothing_staged_and_no_file_of_it_is_a_versions(yard: Yard, repo: Repository) -> None:
    push(repo, {**FILES, "../up": b"x"})
    until(lambda: len(failures_of(yard)) == 1, "nothing was said")
    assert "'..'" in failures_of(yard)[0]
    assert (versions_of(yard), jobs_of(yard), staged_in(yard)) == ([], [], [])


def test_what_passes_the_quota_is_not_kept(make_registered: MakeRegistered, tmp_path: Path) -> None:
    registered = make_registered(data=tmp_path / "small", quota_org_bytes=200_000, prove_wait_seconds=60)
    repo = Repository(registered.user("ada"), "ada/tiny")
    refused = push(repo, {"big": bytes(10**8)})
    assert error_of(refused) == (413, "SIZE_INVALID")
    assert "quota_org_bytes" in message_of(refused)
    many = push(repo, {f"{number}": b"%d" % number * 1_000 for number in range(300)})
    assert error_of(many) == (413, "SIZE_INVALID")
    assert push(repo, FILES).status_code == 201


def test_another_server_tells_what_became_of_it(yard: Yard, repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    left_by_a_server_that_died(yard, repo, monkeypatch)
    other, manifest = unpacker_of(yard), kept(yard)
    assert other.is_pending(manifest, NUMBER)
    assert other.run_due() == 1
    until(lambda: not other.is_pending(manifest, NUMBER), "it was not unpacked")
    other.close()
    assert versions_of(yard) == ["1.0.0"]


def test_a_model_that_is_gone_by_then(yard: Yard, repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    left_by_a_server_that_died(yard, repo, monkeypatch)
    assert yard.ada.delete("/org/ada/models/tiny").status_code == 204
    other = unpacker_of(yard)
    assert other.run_due() == 1
    until(lambda: jobs_of(yard) == [], "the job is not over")
    other.close()
    with yard.database.read() as session:
        assert session.scalars(select(Model)).all() == []
