"""`steelyard admin …` on a real data directory, some of it while the server is at work."""

import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner

from steelyard.cli import main
from steelyard.server.db.engine import Database
from steelyard.server.db.migrate import downgrade, standing
from tests.house import RunningServer, start_server
from tests.house.people import API, Person, oid_of
from tests.reliability.administering import admin, start_admin
from tests.reliability.pushing import PART_BYTES, Pusher, Release, make_release, make_user, new_person, open_client
from tests.reliability.soundness import assert_sound, is_visible, list_references


@contextmanager
def pushing_all_the_while(server: RunningServer, token: str, done: list[Release]) -> Iterator[None]:
    """Somebody pushes one release after the other; `done` are those that were acknowledged."""
    stopping = threading.Event()

    def run() -> None:
        number = 0
        while not stopping.is_set():
            release = make_release(Random(number), "ada/busy", f"1.{number}.0")
            Pusher(server.url, token).push(release)
            done.append(release)
            number += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def test_a_backup_taken_during_pushes_restores_to_a_registry_that_holds_all_it_shows(tmp_path: Path) -> None:
    server = start_server(tmp_path / "data", part_size_bytes=str(PART_BYTES), free_disk_floor_bytes="0")
    token = make_user(server, "ada")
    done: list[Release] = []
    with pushing_all_the_while(server, token, done):
        while len(done) < 3:
            threading.Event().wait(0.05)
        before = list(done)
        taken, _ = start_admin(server.data, "backup", str(tmp_path / "backup")).communicate(timeout=60)
    server.stop()
    assert len(done) > len(before)
    assert json.loads(taken)["blobs"] >= 4 * len(before)
    admin(tmp_path / "restored", "restore", str(tmp_path / "backup"))
    assert admin(tmp_path / "restored", "check")["findings"] == []
    assert "holds a registry already" in admin(tmp_path / "restored", "restore", str(tmp_path / "backup"), code=1)
    restored = start_server(tmp_path / "restored", part_size_bytes=str(PART_BYTES), free_disk_floor_bytes="0")
    try:
        _compare(restored, token, before, done)
    finally:
        restored.stop()


def _compare(server: RunningServer, token: str, before: list[Release], pushed: list[Release]) -> None:
    """All from before the backup is there; of the rest, each version is there whole or not at all; all can go on."""
    found = assert_sound(server, token, "ada")
    with open_client(server.url, token) as client:
        assert all(is_visible(client, release) for release in before)
        assert sum(is_visible(client, release) for release in pushed) == found.versions
        assert len(list_references(client, "ada")) == found.versions
    last = make_release(Random(10_000), "ada/busy", "9.0.0")
    assert Pusher(server.url, token).push(last) == 201


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a stopped server: one version published, one deleted, one upload unfinished."""
    data = tmp_path_factory.mktemp("stopped") / "data"
    server = start_server(data, part_size_bytes=str(PART_BYTES), free_disk_floor_bytes="0")
    with new_person(server, "ada") as ada:
        assert ada.publish("ada/tiny:1.0.0", {"kept.bin": b"kept"}).status_code == 201
        assert ada.publish("ada/tiny:2.0.0", {"kept.bin": b"kept", "gone.bin": b"gone"}).status_code == 201
        assert ada.delete("/org/ada/models/tiny/2.0.0").status_code == 204
        links = ada.offer("ada/tiny", bytes(3 * PART_BYTES)).json()["objects"][0]["actions"]["upload"]["header"]
        assert ada.client.put(links["1"], content=bytes(PART_BYTES)).status_code == 200
    server.stop()
    return data


def test_a_token_is_made_offline_for_whoever_lost_his(stopped: Path) -> None:
    made = admin(stopped, "token", "ada")
    assert made["username"] == "ada"
    assert "no user" in admin(stopped, "token", "nobody", code=1)
    server = start_server(stopped)
    with open_client(server.url) as client:
        assert Person(client, "ada", made["key"]).get("/org/ada/models/tiny").json()["version"] == "1.0.0"
        assert client.get(f"{API}/user").status_code == 401
    server.stop()


def test_who_takes_all_at_once_is_warned_that_pushes_may_run(stopped: Path) -> None:
    said = CliRunner().invoke(main, ["admin", "--data", str(stopped), "gc"]).output
    assert "4 bytes wait for their grace (--grace-seconds 0 takes them now: when nobody pushes" in said
    said = CliRunner().invoke(main, ["admin", "--data", str(stopped), "gc", "--dry-run", "--grace-seconds", "0"]).output
    assert said.rstrip().endswith("0 bytes wait for their grace")


def test_a_dry_run_says_what_the_run_then_does(stopped: Path) -> None:
    assert admin(stopped, "gc")["blobs"] == []  # it was deleted just now: the grace has not passed
    said = admin(stopped, "gc", "--dry-run", "--grace-seconds", "0")
    assert [blob["name"] for blob in said["blobs"]] == [oid_of(b"gone")]
    assert said["freed_bytes"] == 4
    assert admin(stopped, "gc", "--dry-run", "--grace-seconds", "0") == said  # and it did nothing
    assert admin(stopped, "gc", "--grace-seconds", "0") == {**said, "dry_run": False}
    assert admin(stopped, "gc", "--grace-seconds", "0")["blobs"] == []
    assert admin(stopped, "check")["findings"] == []


def test_a_check_of_lost_bytes_ends_with_1_and_names_them(stopped: Path, tmp_path: Path) -> None:
    admin(tmp_path / "data", "restore", str(_backup(stopped, tmp_path)))
    next((tmp_path / "data/store").rglob(f"{oid_of(b'kept').removeprefix('sha256:')}.*")).unlink()
    found = admin(tmp_path / "data", "check", code=1)
    needed_by = [{"version": "ada/tiny:1.0.0", "path": "kept.bin"}]
    [lost] = found["findings"]
    assert lost["key"].startswith(oid_of(b"kept").removeprefix("sha256:"))
    assert {**lost, "key": ""} == {
        "kind": "missing",
        "name": oid_of(b"kept"),
        "size": 4,
        "key": "",
        "needed_by": needed_by,
    }
    assert found["sound"] is False


def _backup(data: Path, folder: Path) -> Path:
    admin(data, "backup", str(folder / "backup"))
    return folder / "backup"


def test_a_repair_says_what_it_did_and_what_is_left_to_a_person(stopped: Path, tmp_path: Path) -> None:
    admin(tmp_path / "data", "restore", str(_backup(stopped, tmp_path)))
    [file] = (tmp_path / "data/store").rglob(f"{oid_of(b'kept').removeprefix('sha256:')}.*")
    file.write_bytes(b"KEPT")
    done = admin(tmp_path / "data", "check", "--repair", code=1)
    assert [(step["what"], step["name"]) for step in done["repaired"]] == [("set aside", file.name)]
    assert ([loss["name"] for loss in done["left"]], done["sound"]) == ([oid_of(b"kept")], False)
    said = CliRunner().invoke(main, ["admin", "--data", str(tmp_path / "data"), "check", "--repair"])
    assert "ada/tiny:1.0.0  kept.bin" in said.output
    assert "when somebody pushes a file with these bytes again" in said.output
    server = start_server(tmp_path / "data", free_disk_floor_bytes="0")
    with new_person(server, "bob") as bob:
        assert bob.publish("bob/other:1.0.0", {"kept.bin": b"kept"}).status_code == 201
    server.stop()
    healed = {"findings": [], "sound": True, "repaired": [], "left": []}
    assert admin(tmp_path / "data", "check", "--repair") == {**done, **healed}


def test_tables_of_an_older_release_are_left_to_its_servers(stopped: Path, tmp_path: Path) -> None:
    admin(tmp_path / "data", "restore", str(_backup(stopped, tmp_path)))
    with closing(Database(f"sqlite:///{tmp_path}/data/steelyard.sqlite3")) as database:
        downgrade(database, "0001")
        for command in (["gc", "--dry-run"], ["check"], ["backup", str(tmp_path / "again")]):
            assert "tables are those of an older release" in admin(tmp_path / "data", *command, code=1)
        assert standing(database) == "behind"


def test_the_doctor_ends_with_1_when_something_is_wrong(stopped: Path) -> None:
    found = admin(stopped, "doctor", env={"STEELYARD_FREE_DISK_FLOOR_BYTES": "0"})
    assert found["healthy"]
    assert {note["part"] for note in found["notes"]} == {"settings", "database", "store", "limits"}
    full = {"STEELYARD_FREE_DISK_FLOOR_BYTES": str(2**60)}
    assert not admin(stopped, "doctor", env=full, code=1)["healthy"]
    said = CliRunner().invoke(main, ["admin", "--data", str(stopped), "doctor"], env=full)
    assert "FAULT  store:" in said.output
    assert "1 fault" in said.output
    unreadable = {"STEELYARD_PORT": "many"}
    assert "port" in admin(stopped, "doctor", env=unreadable, code=2)


def test_a_backup_of_an_engine_is_left_to_its_own_tools(tmp_path: Path) -> None:
    engine = {"STEELYARD_DATABASE": "postgresql://steelyard:secret@127.0.0.1:1/registry"}
    said = admin(tmp_path, "backup", str(tmp_path / "backup"), code=2, env=engine)
    assert "pg_dump" in said
    assert "secret" not in said


def test_a_folder_without_a_registry_is_named(tmp_path: Path) -> None:
    assert "There is no registry" in admin(tmp_path / "nothing", "check", code=1)
    (tmp_path / "nothing").mkdir()
    engine = {"STEELYARD_DATABASE": f"sqlite:///{tmp_path / 'empty.sqlite3'}"}
    assert "no registry in this database" in admin(tmp_path / "nothing", "check", code=1, env=engine)
    assert "STEELYARD_DATABASE is" in admin(tmp_path / "nothing", "gc", code=2, env={"STEELYARD_DATABASE": "mysql://x"})
    assert "no whole backup" in admin(tmp_path / "new", "restore", str(tmp_path / "nothing"), code=1)
