"""Clean-up with no grace at all, while the same digests are pushed, deleted, read and pushed again."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import insert, update

from steelyard.server.db.engine import Database
from steelyard.server.db.migrate import migrate
from steelyard.server.db.tables import Blob, Org, OrgBlob
from steelyard.server.jobs.gc import collect
from steelyard.server.storage.memory import MemoryStore
from tests.conftest import Tell
from tests.house.postgres import postgres_url
from tests.house.seaweed import seaweed
from tests.house.servers import start_server
from tests.reliability.pushing import PART_BYTES, make_user
from tests.reliability.soundness import describe
from tests.reliability.storm import Storm

pytestmark = pytest.mark.only("sqlite", "disk")  # they bring the other engines themselves

SMALL = [Random(n).randbytes(n * 9_000 + 1) for n in range(12)]  # some in one body, some in two parts
BY_LINKS = Random(12).randbytes(5 * 2**20 + 9)  # too large for one body: two parts, straight to the store
AT_ONCE = {"gc_interval_seconds": "1", "gc_grace_seconds": "0", "upload_ttl_seconds": "3600"}

MANY = 100_000
LONGEST_SECONDS = 2.5  # half of what a request waits, and an order of magnitude more than on a machine at rest

Start = Callable[[Path, ExitStack], Storm]


def on_one_machine(folder: Path, running: ExitStack) -> Storm:
    """One server on SQLite and a disk."""
    server = start_server(folder / "data", part_size_bytes=str(PART_BYTES), free_disk_floor_bytes="0")
    running.callback(server.stop)
    return Storm([server], {}, {name: make_user(server, name) for name in ("ada", "bob")}, SMALL)


def on_many(folder: Path, running: ExitStack) -> Storm:
    """Two servers on PostgreSQL and S3, which clean up themselves, without a grace and every second."""
    place = {"database": postgres_url(), **seaweed().settings()}
    servers = []
    for name in ("one", "two"):
        servers.append(start_server(folder / name, port=None, part_size_bytes=str(5 * 2**20), **place, **AT_ONCE))
        running.callback(servers[-1].stop)
    return Storm(servers, place, {name: make_user(servers[0], name) for name in ("ada", "bob")}, [*SMALL, BY_LINKS])


@pytest.fixture(params=[on_one_machine, on_many], ids=["sqlite+disk", "postgres+s3"])
def storm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storm]:
    start: Start = request.param
    with ExitStack() as running:
        yield start(tmp_path, running)


def test_clean_up_without_grace_loses_nothing(storm: Storm, tell: Tell) -> None:
    for seed in range(12):
        storm.rage(2.5, seed)
        if seed >= 2 and _has_raged(storm):
            break
    _assert_it_raged(storm, tell)


@pytest.mark.thorough
def test_clean_up_without_grace_loses_nothing_for_long(storm: Storm, tell: Tell) -> None:
    with storm.dying_collectors():
        for seed in range(100, 112):
            storm.rage(10, seed)
    _assert_it_raged(storm, tell)


@pytest.mark.thorough
@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_a_large_clean_up_never_holds_others_up_for_long(engine: str, tmp_path: Path, tell: Tell) -> None:
    url = postgres_url() if engine == "postgres" else f"sqlite:///{tmp_path / 'many.sqlite3'}"
    with closing(Database(url, timeout_seconds=60)) as database:
        migrate(database)
        fill_with_unneeded(database, MANY)
        with writing_all_the_while(url) as waits:
            found = collect(database, MemoryStore(), grace_seconds=0, upload_ttl_seconds=3600)
    assert len(found.blobs) == MANY
    assert len(waits) > 20
    assert max(waits) < LONGEST_SECONDS
    tell(f"{MANY} blobs collected on {engine}; of {len(waits)} other writers the longest took {max(waits):.3f} s")


def fill_with_unneeded(database: Database, count: int) -> None:
    """Blobs that an organisation holds and no version needs."""
    digests = [sha256(str(number).encode()).hexdigest() for number in range(count)]
    held = [{"org_id": 1, "blob_id": number + 1} for number in range(count)]
    rows = [
        {"id": number + 1, "oid": f"sha256:{digest}", "size_bytes": 1, "key": f"{digest}.00000000"}
        for number, digest in enumerate(digests)
    ]
    with database.write(patient=True) as session:
        session.add(Org(id=1, slug="ada", name="Ada"))
        session.flush()
        session.execute(insert(Blob), rows)
        session.execute(insert(OrgBlob), held)


@contextmanager
def writing_all_the_while(url: str) -> Iterator[list[float]]:
    """Another process's writer, as far as the database is concerned; yields how long each of its changes took."""
    stopping, took = threading.Event(), list[float]()

    def run() -> None:
        with closing(Database(url, timeout_seconds=60)) as database:
            while not stopping.wait(0.005):
                began = time.monotonic()
                with database.write() as session:
                    session.execute(update(Org).values(name="Ada again"))
                took.append(time.monotonic() - began)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield took
    finally:
        stopping.set()
        thread.join()


def _has_raged(storm: Storm) -> bool:
    often = ("pushes", "deletes", "reads", "collections", "OIDs checked")
    return all(storm.done[what] > 5 for what in often) and storm.done["artifacts read"] > 2


def _assert_it_raged(storm: Storm, tell: Tell) -> None:
    assert _has_raged(storm), storm.done
    assert storm.end() == []
    assert storm.done["blobs collected"] > 5
    tell(f"clean-up without grace, {len(storm.servers)} servers: {describe(storm.done)}; losses: 0")
