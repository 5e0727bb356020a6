"""Jobs: leased by one at a time, on every database; what a dead server held, another one gets."""

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from steelyard.server.core import jobs
from steelyard.server.core.jobs import Holder, Lease, new_holder
from steelyard.server.db.engine import Database
from steelyard.server.db.migrate import migrate
from steelyard.server.db.tables import Job, utc_now
from tests.house.postgres import postgres_url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database with this release's tables and no rows."""
    url = f"sqlite:///{tmp_path / 'jobs.sqlite3'}" if request.param == "sqlite" else postgres_url()
    opened = Database(url)
    migrate(opened)
    yield opened
    opened.close()


def enqueue(database: Database, *subjects: str) -> None:
    with database.write() as session:
        for subject in subjects:
            jobs.enqueue(session, jobs.PROVE, subject)


def claim(database: Database, holder: Holder, most: int = 1) -> list[Lease]:
    with database.write() as session:
        return jobs.claim(session, holder, jobs.PROVE, most)


def finish(database: Database, lease: Lease) -> bool:
    with database.write() as session:
        return jobs.finish(session, lease)


def test_a_job_is_there_once_however_often_it_is_asked_for(database: Database) -> None:
    enqueue(database, "a", "a", "b")
    with database.read() as session:
        assert [(waiting.kind, waiting.due) for waiting in jobs.list_backlogs(session)] == [("prove", 2)]


def test_the_oldest_is_leased_first_and_what_is_leased_to_nobody_else(database: Database) -> None:
    enqueue(database, "a")
    enqueue(database, "b")
    mine, his = new_holder(60), new_holder(60)
    assert [lease.subject for lease in claim(database, mine)] == ["a"]
    assert [lease.subject for lease in claim(database, his, 9)] == ["b"]
    assert claim(database, mine, 9) == []
    with database.write() as session:
        assert jobs.take(session, his, jobs.PROVE, "a") is None
        assert jobs.is_leased(session, jobs.PROVE, "a")


def test_many_who_ask_at_once_get_each_job_once(database: Database) -> None:
    enqueue(database, *(str(number) for number in range(40)))
    got: list[Lease] = []

    def work() -> None:
        holder = new_holder(60)
        while leases := claim(database, holder, 3):
            got.extend(leases)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(lease.subject) for lease in got) == list(range(40))


def test_a_lease_that_ran_out_is_somebody_elses_and_its_first_holder_ends_nothing(database: Database) -> None:
    enqueue(database, "a")
    [lost] = claim(database, new_holder(0.05))
    time.sleep(0.1)
    with database.read() as session:
        assert jobs.is_held(session, lost), "as long as nobody else has it"
    [lease] = claim(database, new_holder(60))
    assert (lease.job_id, lease.attempts) == (lost.job_id, 2)
    with database.write() as session:
        assert not jobs.is_held(session, lost)
        assert not jobs.finish(session, lost)
        jobs.postpone(session, lost, "not his to say")
        jobs.hand_back(session, [lost])
        jobs.extend(session, new_holder(-60), [lost])
        assert jobs.is_leased(session, jobs.PROVE, "a")
    assert finish(database, lease)
    assert not finish(database, lease)
    assert claim(database, new_holder(60)) == []


def test_a_holder_that_leases_again_what_it_lost_is_not_taken_for_its_former_self(database: Database) -> None:
    enqueue(database, "a")
    slow = new_holder(0.05)
    [lost] = claim(database, slow)
    time.sleep(0.1)
    [lease] = claim(database, slow)
    assert not finish(database, lost)
    assert finish(database, lease)


def test_a_lease_that_is_extended_does_not_run_out(database: Database) -> None:
    enqueue(database, "a", "b")
    holder = new_holder(0.3)
    kept, left = claim(database, holder, 2)
    for _ in range(5):
        time.sleep(0.1)
        with database.write(beside=True) as session:
            jobs.extend(session, holder, [kept])
    assert [lease.subject for lease in claim(database, new_holder(60), 9)] == [left.subject]


def test_what_failed_comes_again_after_a_pause_that_grows(database: Database) -> None:
    enqueue(database, "a")
    for pause_seconds in (1, 2, 4, 8, 16, 32, 60, 60, 60):
        with database.write() as session:
            lease = jobs.take(session, new_holder(60), jobs.PROVE, "a")
            assert lease is not None
            before = utc_now()
            jobs.postpone(session, lease, "the store does not answer")
            after = utc_now()
        with database.read() as session:
            job = session.query(Job).one()
            assert before <= job.run_at - timedelta(seconds=pause_seconds) <= after
            assert (job.failure, job.leased_by) == ("the store does not answer", None)
            assert not jobs.has_due(session, jobs.PROVE) or pause_seconds < 8  # on a machine that is busy


def test_what_was_not_begun_is_anybodys_at_once(database: Database) -> None:
    enqueue(database, "a")
    leases = claim(database, new_holder(60))
    with database.write() as session:
        jobs.hand_back(session, leases)
    [lease] = claim(database, new_holder(60))
    assert lease.attempts == 1


def test_a_server_that_is_alone_forgets_the_leases_of_the_one_before(database: Database) -> None:
    enqueue(database, "a")
    assert claim(database, new_holder(3600))
    with database.write() as session:
        jobs.forget_leases(session)
    assert len(claim(database, new_holder(60))) == 1


def test_who_takes_the_place_of_one_that_died_forgets_his_leases_and_no_others(database: Database) -> None:
    enqueue(database, "his", "another's")
    dead, alive = Holder("0123456789abcd01", 3600), Holder("0123456789abcd02", 3600)
    [lost], [kept] = claim(database, dead), claim(database, alive)
    with database.write() as session:
        jobs.forget_leases(session, dead)
        assert jobs.is_held(session, kept) and not jobs.is_held(session, lost)
    assert [lease.subject for lease in claim(database, dead, 9)] == [lost.subject]


def test_what_is_done_again_and_again_is_one_job_that_the_shortest_interval_rules(database: Database) -> None:
    now = utc_now()
    with database.write() as session:
        jobs.schedule(session, jobs.CLEAN_UP, now + timedelta(hours=1))
        jobs.schedule(session, jobs.CLEAN_UP, now - timedelta(seconds=1))
        jobs.schedule(session, jobs.CLEAN_UP, now + timedelta(hours=2))
        assert jobs.claim(session, new_holder(60), jobs.PROVE, 9) == []
        [lease] = jobs.claim(session, new_holder(60), jobs.CLEAN_UP, 9)
        jobs.do_again(session, lease, now + timedelta(hours=1))
    with database.read() as session:
        assert not jobs.has_due(session, jobs.CLEAN_UP)
        assert session.query(Job).one().attempts == 0
