"""Servers that start at the same moment on nothing, or on what the previous release left."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select

from steelyard.server.db.engine import Database
from steelyard.server.db.migrate import differences, migrate
from steelyard.server.db.tables import Org, SigningKey, Token, User
from tests.house import RunningServer
from tests.house.people import API
from tests.house.postgres import postgres_url
from tests.house.servers import free_port, launch_server, wait_until_ready
from tests.reliability.pushing import open_client

SERVERS = 4
PREVIOUS_RELEASE = "0001"


@contextmanager
def started_together(folder: Path, database: str, count: int = SERVERS) -> Iterator[list[RunningServer]]:
    """So many servers on one database, launched at the same moment, once all are ready."""
    with ExitStack() as running:
        servers = [
            launch_server(folder / f"server{number}", port=free_port(), database=database, store="memory:")
            for number in range(count)
        ]
        for server in servers:
            running.callback(server.kill)
        for server in servers:
            wait_until_ready(server)
        yield servers
        for server in servers:
            server.stop()


def rows(url: str) -> dict[str, int]:
    """How many there are of what a first start makes."""
    with closing(Database(url)) as database, database.read() as session:
        tables = (User, Org, Token, SigningKey)
        return {table.__name__: session.scalar(select(func.count()).select_from(table)) or 0 for table in tables}


def assert_no_fault(servers: list[RunningServer]) -> None:
    for server in servers:
        assert "Traceback" not in server.log and "ERROR" not in server.log, server.log


def statuses_of_links(servers: list[RunningServer]) -> Counter[int]:
    """What all of them answer to links that each of them gave, sent other bytes than were announced."""
    answers: Counter[int] = Counter()
    for signer in servers:
        with open_client(signer.url, signer.token) as client:
            wanted = {"operation": "upload", "objects": [{"oid": f"{signer.port:064x}", "size": 1}]}
            batch = client.post(f"{API}/org/admin/models/tiny/blobs/batch", json=wanted).json()
        path = batch["objects"][0]["actions"]["upload"]["href"].removeprefix(signer.url)
        for other in servers:
            with open_client(other.url) as client:
                answers[client.put(path, content=b"?").status_code] += 1
    return answers


def assert_one_registry(url: str, servers: list[RunningServer]) -> None:
    """One admin and one key, known to all."""
    assert rows(url) == {"User": 1, "Org": 1, "Token": 1, "SigningKey": 1}
    assert sum("STEELYARD_ADMIN_TOKEN is ignored" in server.log for server in servers) == len(servers) - 1
    for server in servers:
        with open_client(server.url, server.token) as client:
            assert client.get(f"{API}/user").json()["username"] == "admin"
        assert "Traceback" not in server.log and "ERROR" not in server.log, server.log
    # Each read the key when it started. Had two made one, half of these were refused for their tickets: 403.
    assert statuses_of_links(servers) == {422: len(servers) ** 2}


def test_first_starts_at_the_same_moment_make_one_admin_and_one_key(tmp_path: Path) -> None:
    url = postgres_url(migrated=False)
    with started_together(tmp_path, url) as servers:
        assert_one_registry(url, servers)


@pytest.mark.thorough
def test_first_starts_at_the_same_moment_make_one_admin_and_one_key_ten_times(tmp_path: Path) -> None:
    for turn in range(10):
        url = postgres_url(migrated=False)
        (tmp_path / str(turn)).mkdir()
        with started_together(tmp_path / str(turn), url) as servers:
            assert_one_registry(url, servers)


@pytest.mark.thorough
def test_servers_of_this_release_find_the_previous_one_s_tables_and_one_migrates(tmp_path: Path) -> None:
    url = postgres_url(migrated=False)
    with closing(Database(url)) as database:
        migrate(database, PREVIOUS_RELEASE)
    with started_together(tmp_path, url, 3) as servers:
        assert_one_registry(url, servers)
    with closing(Database(url)) as database:
        assert differences(database) == []
