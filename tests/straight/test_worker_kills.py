"""A server is killed with -9 in the middle of a job: another one takes it over after the lease, and the end is right.

Both stand on one PostgreSQL and one store. That the kill hit the middle is read from what the dead server left.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import func, select

from steelyard.server.core import jobs
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Garbage, Job, Upload
from tests.house import Person
from tests.house.people import oid_of
from tests.house.postgres import postgres_url
from tests.straight.conftest import MIB, Yard, start_yard
from tests.straight.sending import complete, offer, send

LEASE_SECONDS = 1.0
_SETTINGS = {"job_lease_seconds": str(LEASE_SECONDS), "prove_wait_seconds": "0", "part_size_bytes": str(16 * MIB)}


@dataclass
class Pair:
    """Two servers, of which one will die; what both stand on; and who calls."""

    folder: Path
    database: Database
    outside: httpx2.Client
    first: Yard | None = None
    second: Yard | None = None

    def start(self, **settings: str) -> Yard:
        """Another server on the same ground."""
        url = None if self.first is None else self.first.url
        name = f"server{random.randrange(10**6)}"
        chosen = {"gc_interval_seconds": "0", **_SETTINGS, **settings}
        return start_yard(self.folder / name, url=url, database=self.database.url, **chosen)

    def admin(self, yard: Yard) -> Person:
        return Person(self.outside, "admin", yard.server.token)

    def job(self, kind: str) -> Job | None:
        with self.database.read() as session:
            return session.scalar(select(Job).where(Job.kind == kind))


@pytest.fixture
def pair(tmp_path: Path, outside: httpx2.Client) -> Iterator[Pair]:
    with closing(Database(postgres_url())) as database:
        made = Pair(tmp_path, database, outside)
        yield made
        for yard in (made.first, made.second):
            if yard is not None:
                yard.server.kill()


def wait_for(happened: Callable[[], bool], within_seconds: float = 30, every_seconds: float = 0.002) -> None:
    deadline = time.monotonic() + within_seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(every_seconds)


def test_a_proof_is_ended_by_another_server_when_its_own_was_killed(
    pair: Pair, outside: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.straight.sending.PART_BYTES", 16 * MIB)
    data = random.Random(8).randbytes(MIB) * 128
    pair.first, pair.second = pair.start(), None
    pair.second = pair.start()
    at_first, at_second = pair.first.server.url, pair.second.server.url
    item = offer(pair.admin(pair.first), "admin/tiny", data, checksums=True, at=at_first)
    send(outside, item, data)
    assert complete(outside, item).status_code == 202
    pair.first.server.kill()
    killed = time.monotonic()

    job = pair.job(jobs.PROVE)
    assert job is not None, "the kill came before the end of the proof"
    assert (job.attempts, job.leased_by is not None) == (1, True), "and after its begin"
    with pair.database.read() as session:
        assert session.get_one(Upload, job.subject).state == "proving"

    elsewhere = item["actions"]["upload"]["href"].replace(at_first, at_second)
    asked = outside.get(elsewhere)
    assert asked.status_code == 202, "the other server waits for the lease"
    wait_for(lambda: outside.get(elsewhere).status_code == 200, every_seconds=0.1)
    assert time.monotonic() - killed >= LEASE_SECONDS / 2
    assert pair.job(jobs.PROVE) is None
    assert pair.second.proof_read_bytes == len(data), "it was the second that proved"

    admin = pair.admin(pair.second)
    body = {"version": "1.0.0", "artifacts": {"a.bin": oid_of(data)}}
    versions = f"{at_second}/api/v1/org/admin/models/tiny"
    assert admin.post(f"{versions}/versions", body).status_code == 201
    assert admin.get(f"{versions}/1.0.0/files/a.bin", follow_redirects=True).content == data
    assert [name.partition("/")[0] for name in pair.second.stored()] == ["blobs"]


def test_a_clean_up_is_ended_by_another_server_when_its_own_was_killed(pair: Pair, outside: httpx2.Client) -> None:
    unneeded = [f"unneeded {number}".encode() for number in range(300)]
    pair.first = pair.start()
    with httpx2.Client(base_url=pair.first.server.url, trust_env=False, verify=False, timeout=30) as http:
        admin = Person(http, "admin", pair.first.server.token)
        files = {f"{number}.bin": data for number, data in enumerate(unneeded)}
        assert admin.publish("admin/gone:1.0.0", files).status_code == 201
        assert admin.publish("admin/kept:1.0.0", {"kept.bin": b"kept"}).status_code == 201
        assert admin.delete("/org/admin/models/gone").status_code == 204
    pair.first.server.stop()
    assert len(pair.first.stored()) == len(unneeded) + 1

    pair.first = pair.start(gc_interval_seconds="1", gc_grace_seconds="0")
    wait_for(lambda: garbage_of(pair.database) > 0)
    pair.first.server.kill()
    left, job = garbage_of(pair.database), pair.job(jobs.CLEAN_UP)
    assert left, "the kill came before the end of the clean-up"
    assert job is not None
    assert job.leased_by, "and after its begin"

    pair.second = pair.start(gc_interval_seconds="1", gc_grace_seconds="0")
    wait_for(lambda: not garbage_of(pair.database), every_seconds=0.1)
    stored = pair.second.stored
    wait_for(lambda: len(stored()) == 1, every_seconds=0.2)
    ended = pair.job(jobs.CLEAN_UP)
    assert ended is not None, "and it is done again and again"
    kept = f"{pair.second.server.url}/api/v1/org/admin/models/kept/1.0.0/files/kept.bin"
    assert pair.admin(pair.second).get(kept, follow_redirects=True).content == b"kept"


def garbage_of(database: Database) -> int:
    """How many names the store has still to let go of."""
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(Garbage)) or 0


def test_a_server_that_is_alone_takes_its_predecessors_proof_over_at_once(
    tmp_path: Path, outside: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.straight.sending.PART_BYTES", 16 * MIB)
    data = random.Random(9).randbytes(MIB) * 128
    alone = {**_SETTINGS, "job_lease_seconds": "3600", "database": f"sqlite:///{tmp_path / 'alone.sqlite3'}"}
    yard = start_yard(tmp_path / "data", **alone)
    item = offer(Person(outside, "admin", yard.server.token), "admin/tiny", data, checksums=True, at=yard.server.url)
    send(outside, item, data)
    assert complete(outside, item).status_code == 202
    yard.server.kill()
    with closing(Database(alone["database"])) as database, database.read() as session:
        job = session.scalars(select(Job).where(Job.kind == jobs.PROVE)).one()
        assert job.leased_by, "the kill came in the middle"
    again = start_yard(tmp_path / "data", url=yard.url, **alone)
    try:
        elsewhere = item["actions"]["upload"]["href"].replace(yard.server.url, again.server.url)
        wait_for(lambda: outside.get(elsewhere).status_code == 200, every_seconds=0.1)
        assert again.proof_read_bytes == len(data)
    finally:
        again.server.stop()
