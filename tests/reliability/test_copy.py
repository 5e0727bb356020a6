"""`steelyard admin copy`: from SQLite and disk to PostgreSQL and S3, while it serves, through kills, and whole."""

import json
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from steelyard.server.app import open_store
from steelyard.server.db.carrying import tables
from steelyard.server.db.engine import Database
from steelyard.server.jobs.check import check
from steelyard.server.settings import Settings
from tests.conftest import Tell
from tests.house import Person, RunningServer, start_server
from tests.house.people import oid_of
from tests.house.postgres import postgres, postgres_url
from tests.house.seaweed import seaweed
from tests.reliability.administering import admin, start_admin
from tests.reliability.pushing import PART_BYTES, make_user, open_client

pytestmark = pytest.mark.only("sqlite", "disk")  # they bring the other engines themselves

FILES = {f"layer{n}.bin": Random(n).randbytes(20_000 + n) for n in range(60)} | {
    "large.bin": Random(99).randbytes(9_000_000)
}
NEVER_THE_SAME = ("last_used_at", "download_count", "url")  # they tell of being asked, and of where
WITHIN_SECONDS = 120.0


@dataclass(frozen=True)
class Source:
    """The data directory of a stopped registry that has a bit of everything; `token` is Ada's, who owns it all."""

    data: Path
    token: str
    link: str


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    data = tmp_path_factory.mktemp("source") / "data"
    server = start_server(data, part_size_bytes=str(PART_BYTES), free_disk_floor_bytes="0")
    try:
        token = make_user(server, "ada")
        with open_client(server.url) as client:
            link = fill(Person(client, "ada", token))
            walk(Person(client, "ada", token))
    finally:
        server.stop()
    return Source(data, token, link)


def fill(ada: Person) -> str:
    """Everything that a table may hold; answers a link to download."""

    def done(answer: Any, *expected: int) -> Any:
        assert answer.status_code in (expected or (200, 201, 204)), answer.text
        return answer.json() if answer.content else None

    done(ada.publish("ada/base:1.0.0", FILES, tags=["a", "b"], license="mit", metrics={"loss": 0.5, "notes": "good"}))
    done(ada.publish("ada/tiny:1.0.0", {"model.bin": b"one", "empty": b""}, base_model="ada/base", metrics=None))
    done(ada.publish("ada/tiny:1.1.0", {"model.bin": b"two"}, aliases=["production"]))
    done(ada.publish("ada/tiny:2.0.0-rc.1", {"model.bin": "drei 三".encode(), "большой/файл.txt": b"path"}))
    done(ada.publish("ada/tiny:3.0.0", {"model.bin": b"deleted"}))
    tiny = "/org/ada/models/tiny"
    done(ada.post(f"{tiny}/1.0.0/aliases", {"alias": "production"}))
    done(ada.post(f"{tiny}/1.1.0/aliases", {"alias": "frozen", "protected": True}))
    done(ada.put(f"{tiny}/1.0.0/metrics", {"accuracy": 0.25}))
    done(ada.put(f"{tiny}/1.1.0/yank", {"reason": "wrong data"}))
    done(ada.delete(f"{tiny}/3.0.0"))
    done(ada.patch("/org/ada/models/base/visibility", {"is_public": True}))
    done(ada.post("/org/ada/service-accounts", {"name": "robot"}))
    done(ada.post("/org/ada/service-accounts/robot/api-keys", {"name": "ci"}))
    done(ada.post("/user/api-keys", {"name": "revoked soon"}))
    bumped = {"bump": "patch", "artifacts": {"model.bin": oid_of(b"one")}}
    done(ada.post(f"{tiny}/versions", bumped, headers={"Idempotency-Key": "a-retry"}))
    ada.offer("ada/tiny", bytes(3 * PART_BYTES))  # and never sends it
    return str(done(ada.post(f"{tiny}/1.0.0/download"))["url"])


def walk(ada: Person) -> dict[str, Any]:
    """All that she is shown, by path: documents, and the digests of files."""
    seen: dict[str, Any] = {}

    def see(path: str) -> Any:
        answer = ada.get(path, follow_redirects=True)
        assert answer.status_code == 200, (path, answer.text)
        if "/files/" in path:
            seen[path] = oid_of(answer.content)
            return None
        seen[path] = _without_moving_things(answer.json())
        return answer.json()

    for path in ("/user", "/user/organizations", "/user/api-keys", "/org/ada", "/org/ada/members"):
        see(path)
    for path in (
        "/service-accounts",
        "/service-accounts/robot/api-keys",
        "/audit?limit=200",
        "/models/facets",
        "/models/activity",
    ):
        see(f"/org/ada{path}")
    for model in see("/org/ada/models?limit=200")["models"]:
        path = f"/org/{model['name'].replace('/', '/models/')}"
        see(path)
        see(f"{path}/aliases")
        for version in see(f"{path}/versions")["versions"]:
            for file in see(f"{path}/{version}")["artifacts"]:
                see(f"{path}/{version}/files/{file}")
    return seen


def _without_moving_things(document: Any) -> Any:
    if isinstance(document, dict):
        return {key: _without_moving_things(value) for key, value in document.items() if key not in NEVER_THE_SAME}
    return [_without_moving_things(each) for each in document] if isinstance(document, list) else document


@dataclass(frozen=True)
class Target:
    """Where a registry is to be copied: an empty PostgreSQL and an empty prefix, named by a settings file."""

    file: Path
    settings: dict[str, str]

    def run(self, data: Path, *flags: str, code: int = 0) -> Any:
        return admin(data, "copy", "--to-settings", str(self.file), *flags, code=code)

    def keys(self) -> set[str]:
        """The blobs that are there."""
        store = open_store(Settings(data=Path("unused"), **self.settings))  # type: ignore[arg-type]
        return {name.name for name in store.scan() if name.kind == "blob"}

    def rows(self) -> dict[str, list[Any]]:
        return rows_of(self.settings["database"])


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return make_target(tmp_path)


def make_target(folder: Path, **more: str) -> Target:
    settings = {"database": postgres_url(migrated=False), **seaweed().settings(), **more}
    file = folder / "company.toml"
    file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items()))
    return Target(file, settings)


def rows_of(url: str) -> dict[str, list[Any]]:
    """Every row of every table that is carried, with what is absent told from what is `null`."""
    with closing(Database(url)) as database, database.read() as session:
        return {table.name: [tuple(row) for row in session.execute(_exactly(table))] for table in tables()}


def _exactly(table: sa.Table) -> sa.Select[Any]:
    documents = [column for column in table.columns if isinstance(column.type, sa.JSON)]
    nulls = [column.is_(sa.null()) for column in documents]
    return sa.select(*table.columns, *nulls).order_by(*table.primary_key.columns)


@contextmanager
def copied_data(source: Source, folder: Path) -> Iterator[Path]:
    """The source's directory for a test that runs a server on it."""
    admin(folder / "data", "restore", str(_backup(source, folder)))
    yield folder / "data"


def _backup(source: Source, folder: Path) -> Path:
    admin(source.data, "backup", str(folder / "backup"))
    return folder / "backup"


@contextmanager
def reading_all_the_while(server: RunningServer, token: str) -> Iterator[Callable[[], int]]:
    """Somebody reads without a pause; whatever fails is raised at the end. Yields how often he has."""
    stopping, times, failures = threading.Event(), count(), list[BaseException]()
    done = [0]

    def run() -> None:
        with open_client(server.url) as client:
            ada = Person(client, "ada", token)
            while not stopping.is_set():
                try:
                    assert ada.get("/org/ada/models/tiny/1.0.0/files/model.bin").content == b"one"
                    done[0] = next(times) + 1
                except BaseException as error:
                    failures.append(error)
                    return

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield lambda: done[0]
    finally:
        stopping.set()
        thread.join()
    assert failures == []


@pytest.mark.thorough
def test_a_registry_moves_to_postgresql_and_s3_while_it_serves(source: Source, target: Target, tmp_path: Path) -> None:
    with copied_data(source, tmp_path) as data:
        with closing_server(data, part_size_bytes=str(PART_BYTES)) as old, open_client(old.url) as client:
            with reading_all_the_while(old, source.token) as times:
                before = times()
                first = target.run(data, code=5)
                assert times() > before
            assert "another server runs" in first["why"]
            assert (first["ended"], first["copied_blobs"]) == (False, first["blobs"])
            assert "copy that was not ended" in refusal_to_start(target, tmp_path)
            ada = Person(client, "ada", source.token)
            assert ada.publish("ada/late:1.0.0", {"model.bin": b"between two runs"}).status_code == 201
            seen = walk(ada)
        second = target.run(data)
        assert (second["ended"], second["copied_blobs"], second["uploads_left"], second["lost"]) == (True, 1, 0, [])
        assert target.rows() == rows_of(f"sqlite:///{data / 'steelyard.sqlite3'}")
        assert "holds a registry" in target.run(data, code=1)
    serve_and_compare(target, source, tmp_path, seen)


def refusal_to_start(target: Target, folder: Path) -> str:
    with pytest.raises(RuntimeError) as failure:
        start_server(folder / "new", port=None, **target.settings)
    return str(failure.value)


def serve_and_compare(target: Target, source: Source, folder: Path, seen: dict[str, Any]) -> None:
    with closing_server(folder / "new", **target.settings) as new, open_client(new.url) as client:
        ada = Person(client, "ada", source.token)
        assert walk(ada) == seen
        linked = client.get(re.sub("^http://[^/]+", new.url, source.link))
        assert (linked.status_code, b"one" in linked.content) == (200, True)
        again = {"bump": "patch", "artifacts": {"model.bin": oid_of(b"one")}}
        retried = ada.post("/org/ada/models/tiny/versions", again, headers={"Idempotency-Key": "a-retry"})
        assert (retried.status_code, retried.json()["version"]) == (200, "1.0.1")
        assert (
            ada.publish("ada/tiny:9.0.0", {"model.bin": b"goes on", "old.bin": FILES["large.bin"]}).status_code == 201
        )
        assert ada.publish("ada/new:1.0.0", {"model.bin": b"and on"}).status_code == 201
        assert ada.publish("ada/tiny:3.0.0", {"model.bin": b"deleted"}).status_code == 409  # its number is spent


@contextmanager
def closing_server(data: Path, **settings: str) -> Iterator[RunningServer]:
    """A server that ends with the test, however that ends."""
    server = start_server(data, port=None, free_disk_floor_bytes="0", **settings)
    try:
        yield server
    finally:
        server.stop()


@pytest.mark.thorough
def test_a_copy_that_is_killed_at_any_moment_goes_on(
    source: Source, target: Target, tmp_path: Path, tell: Tell
) -> None:
    moments = (0, 1, 20, 45)
    for blobs in moments:
        kill_when(source, target, lambda blobs=blobs: len(target.keys()) > blobs)  # type: ignore[misc]
    assert len(target.keys()) > 45
    with postgres().administering(target.settings["database"].rpartition("/")[2]) as connection:
        connection.execute("BEGIN; LOCK TABLE audit_events IN EXCLUSIVE MODE")
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'audit_events'::regclass"
        kill_when(source, target, lambda: connection.execute(waiting).fetchone() == (1,))
        connection.execute("ROLLBACK")
    assert all(rows == [] for rows in target.rows().values())
    ended = target.run(source.data)
    assert (ended["ended"], ended["copied_blobs"], ended["blobs"]) == (True, 0, len(target.keys()))
    assert target.rows() == rows_of(f"sqlite:///{source.data / 'steelyard.sqlite3'}")
    with closing(Database(target.settings["database"])) as database:
        store = open_store(Settings(data=tmp_path, **target.settings))  # type: ignore[arg-type]
        assert check(database, store).findings == ()
        assert [name for name in store.scan() if name.kind == "stage"] == []
    tell(f"a copy to PostgreSQL and S3 killed {len(moments) + 1} times: {ended['blobs']} blobs compared; losses: 0")


def test_a_copy_goes_on_after_a_kill_and_is_whole(source: Source, target: Target) -> None:
    kill_when(source, target, lambda: len(target.keys()) > 20)
    there = len(target.keys())
    ended = target.run(source.data)
    assert there > 20 and (ended["ended"], ended["copied_blobs"]) == (True, ended["blobs"] - there)
    assert target.rows() == rows_of(f"sqlite:///{source.data / 'steelyard.sqlite3'}")


def kill_when(source: Source, target: Target, happened: Callable[[], bool]) -> None:
    """Kill the command with -9 at a moment that anybody can see; it must not have ended before."""
    process = start_admin(source.data, "copy", "--to-settings", str(target.file))
    deadline = time.monotonic() + WITHIN_SECONDS
    while not happened():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_what_the_source_has_lost_is_named_and_the_rest_is_copied(
    source: Source, target: Target, tmp_path: Path
) -> None:
    with copied_data(source, tmp_path) as data:
        [gone] = (data / "store").rglob(f"{oid_of(b'two').removeprefix('sha256:')}.*")
        [wrong] = (data / "store").rglob(f"{oid_of(FILES['layer3.bin']).removeprefix('sha256:')}.*")
        gone.unlink()
        wrong.write_bytes(bytes(len(FILES["layer3.bin"])))
        ended = target.run(data, code=1)
    assert ended["ended"]
    assert set(ended["lost"]) == {oid_of(b"two"), oid_of(FILES["layer3.bin"])}
    assert len(target.keys()) == ended["blobs"] - 2


def test_a_target_that_holds_something_is_refused(source: Source, target: Target, tmp_path: Path) -> None:
    store = open_store(Settings(data=tmp_path, **target.settings))  # type: ignore[arg-type]
    with store.stage("0" * 32, 0) as writer:
        writer.write([b"somebody's"])
    assert "target store holds something" in target.run(source.data, code=1)
    store.discard("0" * 32)
    with postgres().administering(target.settings["database"].rpartition("/")[2]) as connection:
        connection.execute("CREATE TABLE accounting (id int)")
        assert "tables of something else (accounting)" in target.run(source.data, code=1)
        connection.execute("DROP TABLE accounting")
    kill_when(source, target, lambda: bool(target.keys()))
    with closing_server(tmp_path / "other"):
        pass
    assert "unfinished copy of another registry" in target.run(tmp_path / "other", code=1)


def test_a_registry_comes_back_into_a_folder(source: Source, target: Target, tmp_path: Path) -> None:
    """From PostgreSQL and S3, whose servers nobody can see from here, to the embedded default."""
    target.run(source.data)
    back = tmp_path / "back"
    environment = {f"STEELYARD_{name.upper()}": value for name, value in target.settings.items()}
    where = ("copy", "--to", f"sqlite:///{back / 'steelyard.sqlite3'}", str(back))
    assert "cannot be seen" in admin(tmp_path / "unused", *where, code=5, env=environment)["why"]
    assert admin(tmp_path / "unused", *where, "--snapshot", env=environment)["ended"]
    assert rows_of(f"sqlite:///{back / 'steelyard.sqlite3'}") == target.rows()
    assert admin(back, "check")["findings"] == []
