"""What breaks underneath is answered as the contract says, tells no internals, and is over when its cause is.

Every fault here has a real cause: a lock, a full disk, a limit of the operating system, a folder or a file that is
gone, bytes that are not what they were. Only a store that does not answer in time is played, at the system call.
"""

import errno
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

import httpx2
import pytest

from tests.conftest import MakeRegistered
from tests.house import Registered, RunningServer
from tests.house.people import Person, oid_of
from tests.reliability.causes import damaged, emptied_log, full, largest_file, locked, moved_away
from tests.reliability.pushing import PART_BYTES, new_person
from tests.reliability.sockets import statuses

INTERNALS = ("sqlite", "select ", "insert ", "traceback", "errno", ".py", "/store", "/data", "sha256/")


def assert_fault(answer: httpx2.Response, status: int, kind: str) -> None:
    """The one error body, with a request id beside it and no internals in it."""
    assert (answer.status_code, answer.json()["type"]) == (status, kind), answer.text
    assert set(answer.json()) == {"code", "detail", "type"}
    assert answer.json()["code"] == status
    assert not [word for word in INTERNALS if word in answer.text.lower()], answer.text
    assert answer.headers["X-Request-Id"]


def publish_body(version: str, *oids: str) -> dict[str, object]:
    return {"version": version, "artifacts": {f"file{number}.bin": oid for number, oid in enumerate(oids)}}


# --- the database


def test_a_locked_database_is_a_504_until_the_lock_is_gone(make_registered: MakeRegistered, tmp_path: Path) -> None:
    registered = make_registered(data=tmp_path / "data", database_timeout_seconds=0.2)
    ada = registered.user("ada")
    oid = ada.upload("ada/tiny", b"weights")[0]
    with locked(tmp_path / "data/steelyard.sqlite3"):
        assert_fault(
            ada.post("/org/ada/models/tiny/versions", publish_body("1.0.0", oid)), 504, "database_timeout_error"
        )
        assert_fault(ada.offer("ada/tiny", b"more weights"), 504, "database_timeout_error")
        assert ada.get("/user").status_code == 200  # who only reads does not notice
        assert ada.get("/org/ada/models/tiny").status_code == 404
    assert ada.post("/org/ada/models/tiny/versions", publish_body("1.0.0", oid)).status_code == 201


def test_a_database_locked_while_bytes_arrive_loses_none_that_were_acknowledged(
    make_registered: MakeRegistered, tmp_path: Path
) -> None:
    registered = make_registered(data=tmp_path / "data", database_timeout_seconds=0.2, part_size_bytes=PART_BYTES)
    ada, data = registered.user("ada"), Random(1).randbytes(3 * PART_BYTES)
    action = ada.offer("ada/tiny", data).json()["objects"][0]["actions"]["upload"]
    links = action["header"]
    assert ada.client.put(links["1"], content=data[:PART_BYTES]).status_code == 200
    with locked(tmp_path / "data/steelyard.sqlite3"):
        assert_fault(ada.client.put(links["2"], content=data[PART_BYTES:][:PART_BYTES]), 504, "database_timeout_error")
        assert_fault(ada.client.post(action["href"]), 504, "database_timeout_error")
    assert ada.offer("ada/tiny", data).json()["objects"][0]["parts_done"] == [1]
    assert ada.publish("ada/tiny:1.0.0", {"model.bin": data}).status_code == 201


def test_a_damaged_database_is_a_502_until_it_is_mended(shared_server: RunningServer) -> None:
    database = shared_server.data / "steelyard.sqlite3"
    with new_person(shared_server, "damaged") as ada:
        assert ada.publish("damaged/tiny:1.0.0").status_code == 201
        with damaged(database):
            assert_not_ready(ada.client, "database")
            assert_fault(ada.get("/org/damaged/models/tiny"), 502, "database_error")
            assert_fault(ada.post("/org/damaged/models/tiny/versions", publish_body("2.0.0")), 502, "database_error")
        assert ada.get("/org/damaged/models/tiny").json()["version"] == "1.0.0"
        assert ada.publish("damaged/tiny:2.0.0").status_code == 201


def test_a_database_that_cannot_be_written_is_a_502(shared_server: RunningServer) -> None:
    """The operating system forbids the write-ahead log to grow: an input-output error, to SQLite."""
    with new_person(shared_server, "unwritten") as ada:
        oid = ada.upload("unwritten/tiny", b"weights of unwritten")[0]
        body = publish_body("1.0.0", oid)
        with emptied_log(shared_server.data / "steelyard.sqlite3"), largest_file(shared_server, 8192):
            assert_fault(ada.post("/org/unwritten/models/tiny/versions", body), 502, "database_error")
            assert ada.get("/org/unwritten/models/tiny").status_code == 404
        assert ada.post("/org/unwritten/models/tiny/versions", body).status_code == 201


def test_a_full_disk_under_the_database_is_a_502_until_there_is_room(
    small_disk: Path, make_registered: MakeRegistered
) -> None:
    registered = make_registered(database=f"sqlite:///{small_disk}/steelyard.sqlite3")
    ada = registered.user("ada")
    oids = ada.upload("ada/tiny", *(b"file %d" % number for number in range(3)))
    with emptied_log(small_disk / "steelyard.sqlite3"), full(small_disk):
        failed = ada.post("/org/ada/models/tiny/versions", publish_body("1.0.0", *oids))
        assert_fault(failed, 502, "database_error")
        assert "full" in failed.json()["detail"]
        assert ada.get("/org/ada/models/tiny").status_code == 404
    assert ada.post("/org/ada/models/tiny/versions", publish_body("1.0.0", *oids)).status_code == 201


# --- the store of bytes


def test_a_full_disk_under_the_store_is_a_502_and_the_upload_goes_on_when_there_is_room(
    small_disk: Path, tmp_path: Path, make_registered: MakeRegistered
) -> None:
    registered = make_registered(
        data=small_disk / "data", database=f"sqlite:///{tmp_path}/other.sqlite3", part_size_bytes=PART_BYTES
    )
    ada, data = registered.user("ada"), Random(2).randbytes(8 * PART_BYTES)
    links = ada.offer("ada/tiny", data).json()["objects"][0]["actions"]["upload"]["header"]
    assert ada.client.put(links["1"], content=data[:PART_BYTES]).status_code == 200
    whole = ada.offer("ada/tiny", b"w" * PART_BYTES).json()["objects"][0]["actions"]["upload"]["href"]
    with full(small_disk):
        failed = ada.client.put(links["2"], content=data[PART_BYTES : 2 * PART_BYTES])
        assert_fault(failed, 502, "storage_error")
        assert "disk is full" in failed.json()["detail"]
        assert_fault(ada.client.put(whole, content=b"w" * PART_BYTES), 502, "storage_error")
        assert ada.offer("ada/tiny", data).status_code == 413  # who asks first is told that there is no room
    assert ada.offer("ada/tiny", data).json()["objects"][0]["parts_done"] == [1]
    assert ada.publish("ada/tiny:1.0.0", {"model.bin": data, "w": b"w" * PART_BYTES}).status_code == 201
    assert ada.get("/org/ada/models/tiny/1.0.0/files/model.bin").content == data


def test_a_file_that_may_not_grow_is_a_502_and_the_upload_goes_on_when_it_may(shared_server: RunningServer) -> None:
    """As a full disk, for whoever may not mount one: a limit of the operating system on the size of files."""
    data = Random(3).randbytes(80 * PART_BYTES)
    with new_person(shared_server, "bounded") as ada:
        links = ada.offer("bounded/tiny", data).json()["objects"][0]["actions"]["upload"]["header"]
        with largest_file(shared_server, 70 * PART_BYTES):
            assert_fault(ada.client.put(links["80"], content=data[79 * PART_BYTES :]), 502, "storage_error")
            assert ada.client.put(links["1"], content=data[:PART_BYTES]).status_code == 200
        assert ada.offer("bounded/tiny", data).json()["objects"][0]["parts_done"] == [1]
        assert ada.publish("bounded/tiny:1.0.0", {"model.bin": data}).status_code == 201
        assert ada.get("/org/bounded/models/tiny/1.0.0/files/model.bin").content == data


def test_a_store_that_is_gone_is_a_502_and_not_ready_until_it_is_back(
    make_registered: MakeRegistered, tmp_path: Path
) -> None:
    registered = make_registered(data=tmp_path / "data")
    ada = registered.user("ada")
    oid = ada.upload("ada/tiny", b"weights")[0]
    assert ada.post("/org/ada/models/tiny/versions", publish_body("1.0.0", oid)).status_code == 201
    link = ada.offer("ada/tiny", b"more").json()["objects"][0]["actions"]["upload"]["href"]
    with moved_away(tmp_path / "data/store"):
        assert_fault(ada.get("/org/ada/models/tiny/1.0.0/files/file0.bin"), 502, "storage_error")
        assert_fault(ada.client.put(link, content=b"more"), 502, "storage_error")
        assert_fault(ada.offer("ada/tiny", b"others"), 502, "storage_error")
        assert ada.get("/org/ada/models/tiny").status_code == 200  # metadata are somewhere else
        assert_not_ready(ada.client, "store")
    assert ada.client.get("/ready").status_code == 200
    assert ada.client.put(link, content=b"more").status_code == 200
    assert ada.get("/org/ada/models/tiny/1.0.0/files/file0.bin").content == b"weights"


def test_a_store_that_is_something_else_is_a_502_and_not_ready(make_registered: MakeRegistered, tmp_path: Path) -> None:
    ada = make_registered(data=tmp_path / "data").user("ada")
    with moved_away(tmp_path / "data/store"):
        (tmp_path / "data/store").write_text("a file")
        assert_fault(ada.offer("ada/tiny", b"others"), 502, "storage_error")
        assert_not_ready(ada.client, "store")
        (tmp_path / "data/store").unlink()
    assert ada.publish("ada/tiny:1.0.0").status_code == 201


def test_a_store_that_may_not_be_read_is_a_502_and_not_ready(make_registered: MakeRegistered, tmp_path: Path) -> None:
    ada = make_registered(data=tmp_path / "data").user("ada")
    assert ada.publish("ada/tiny:1.0.0", {"model.bin": b"weights"}).status_code == 201
    store = tmp_path / "data/store"
    store.chmod(0)
    try:
        if os.access(store, os.X_OK):
            pytest.skip("this user may read everything")
        assert_fault(ada.get("/org/ada/models/tiny/1.0.0/files/model.bin"), 502, "storage_error")
        assert_fault(ada.offer("ada/tiny", b"others"), 502, "storage_error")
        assert_not_ready(ada.client, "store")
    finally:
        store.chmod(0o700)
    assert ada.get("/org/ada/models/tiny/1.0.0/files/model.bin").content == b"weights"


def test_a_store_that_became_read_only_is_a_502_and_not_ready(
    small_disk: Path, tmp_path: Path, make_registered: MakeRegistered
) -> None:
    registered = make_registered(data=small_disk / "data", database=f"sqlite:///{tmp_path}/other.sqlite3")
    ada = registered.user("ada")
    assert ada.publish("ada/tiny:1.0.0", {"model.bin": b"weights"}).status_code == 201
    link = ada.offer("ada/tiny", b"more").json()["objects"][0]["actions"]["upload"]["href"]
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert_fault(ada.client.put(link, content=b"more"), 502, "storage_error")
    assert_not_ready(ada.client, "store")
    assert ada.get("/org/ada/models/tiny/1.0.0/files/model.bin").content == b"weights"
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert ada.client.put(link, content=b"more").status_code == 200


def assert_not_ready(client: httpx2.Client, part: str) -> None:
    ready = client.get("/ready")
    assert_fault(ready, 503, "unavailable_error")
    assert f"the {part} does not answer" in ready.json()["detail"]
    assert client.get("/health").json() == {"status": "ok"}


def test_lost_bytes_are_a_502_and_never_a_short_200(shared_server: RunningServer) -> None:
    lost, kept = Random(4).randbytes(PART_BYTES), Random(5).randbytes(10 * PART_BYTES)
    with new_person(shared_server, "loser") as ada:
        assert ada.publish("loser/tiny:1.0.0", {"a.bin": lost}).status_code == 201
        assert ada.publish("loser/tiny:2.0.0", {"a.bin": kept, "b.bin": lost}).status_code == 201
        files = "/org/loser/models/tiny/2.0.0/files"
        with lost_bytes(shared_server.data, lost, leaving=1000):
            assert_fault(ada.get(f"{files}/b.bin"), 502, "storage_error")
            assert ada.request("HEAD", f"{files}/b.bin").status_code == 502
        with lost_bytes(shared_server.data, lost):
            assert_fault(ada.get(f"{files}/b.bin"), 502, "storage_error")
            assert_fault(ada.get(f"{files}/b.bin", headers={"Range": "bytes=1-9"}), 502, "storage_error")
            assert_fault(ada.client.get(archive_link(ada, "1.0.0")), 502, "storage_error")
            with pytest.raises(httpx2.TransportError):  # begun, and cut off shorter than was promised
                ada.client.get(archive_link(ada, "2.0.0"))
            assert ada.get(f"{files}/a.bin").content == kept
        assert ada.get(f"{files}/b.bin").content == lost


@pytest.mark.parametrize("leaving", [None, 1000], ids=["gone", "shorter"])
def test_lost_bytes_come_back_when_somebody_pushes_them_again(
    shared_server: RunningServer, leaving: int | None
) -> None:
    lost = Random(f"lost/{leaving}").randbytes(2 * PART_BYTES)
    with new_person(shared_server, f"healer-{leaving or 0}") as ada:
        assert ada.publish(f"{ada.name}/tiny:1.0.0", {"a.bin": lost}).status_code == 201
        blob = blob_of(shared_server.data, lost)
        blob.unlink() if leaving is None else blob.write_bytes(lost[:leaving])
        assert_fault(ada.get(f"/org/{ada.name}/models/tiny/1.0.0/files/a.bin"), 502, "storage_error")
        assert ada.publish(f"{ada.name}/tiny:1.1.0", {"a.bin": lost}).status_code == 201
        for version in ("1.0.0", "1.1.0"):
            assert ada.get(f"/org/{ada.name}/models/tiny/{version}/files/a.bin").content == lost


def archive_link(ada: Person, version: str) -> str:
    return str(ada.post(f"/org/{ada.name}/models/tiny/{version}/download").json()["url"])


@contextmanager
def lost_bytes(data: Path, content: bytes, *, leaving: int | None = None) -> Iterator[None]:
    """A file of the store is gone, or shorter."""
    blob = blob_of(data, content)
    if leaving is None:
        blob.unlink()
    else:
        blob.write_bytes(content[:leaving])
    try:
        yield
    finally:
        blob.write_bytes(content)


def blob_of(data: Path, content: bytes) -> Path:
    return next((data / "store").rglob(f"{oid_of(content).removeprefix('sha256:')}.*"))


def test_a_proof_that_the_disk_broke_off_is_made_when_it_can_be(
    make_registered: MakeRegistered, tmp_path: Path
) -> None:
    ada = make_registered(data=tmp_path / "data", part_size_bytes=PART_BYTES).user("ada")
    data = Random(6).randbytes(3 * PART_BYTES)
    action = ada.offer("ada/tiny", data).json()["objects"][0]["actions"]["upload"]
    for number in (1, 2, 3):
        part = data[(number - 1) * PART_BYTES : number * PART_BYTES]
        assert ada.client.put(action["header"][str(number)], content=part).status_code == 200
    with moved_away(tmp_path / "data/store/blobs"):
        assert_fault(ada.client.post(action["href"]), 502, "storage_error")
        assert_fault(ada.client.get(action["href"]), 502, "storage_error")  # not "still proving" for ever
    assert ada.client.get(action["href"]).json()["status"] == "done"
    assert ada.publish("ada/tiny:1.0.0", {"model.bin": data}).status_code == 201


def test_a_store_that_does_not_answer_in_time_is_a_504(registered: Registered, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one fault that is played: no disk of a test machine says ETIMEDOUT, a network file system does."""
    ada, data = registered.user("ada"), Random(7).randbytes(600_000)
    assert ada.publish("ada/tiny:1.0.0", {"model.bin": data}).status_code == 201
    link = ada.offer("ada/tiny", b"more").json()["objects"][0]["actions"]["upload"]["href"]

    def time_out(*_: object) -> int:
        raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    with monkeypatch.context() as slow:
        for call in ("pread", "preadv", "pwritev"):
            slow.setattr(f"steelyard.server.storage.local.os.{call}", time_out)
        assert_fault(ada.get("/org/ada/models/tiny/1.0.0/files/model.bin"), 504, "storage_timeout_error")
        assert_fault(ada.client.put(link, content=b"more"), 504, "storage_timeout_error")
    assert ada.get("/org/ada/models/tiny/1.0.0/files/model.bin").content == data
    assert ada.client.put(link, content=b"more").status_code == 200


# --- a fault of ours


def test_what_nobody_foresaw_is_a_500_that_tells_the_request_id_and_nothing_else(shared_server: RunningServer) -> None:
    """A row that no release of ours writes: its JSON is none."""
    with new_person(shared_server, "odd") as ada:
        version = ada.publish("odd/tiny:1.0.0", metrics={"accuracy": 1}).json()["id"]
        _set_metrics(shared_server.data, version, "{not json")
        failed = ada.get("/org/odd/models/tiny", headers={"X-Request-Id": "find-me-in-the-log"})
        assert_fault(failed, 500, "internal_error")
        assert "find-me-in-the-log" in failed.json()["detail"]
        assert failed.headers["X-Request-Id"] == "find-me-in-the-log"
        assert "find-me-in-the-log failed" in shared_server.log
        _set_metrics(shared_server.data, version, '{"accuracy": 1}')
        assert ada.get("/org/odd/models/tiny").json()["metrics"] == {"accuracy": 1}
    assert statuses(shared_server).count(500) == 1


def _set_metrics(data: Path, version_uuid: str, text: str) -> None:
    with closing(sqlite3.connect(data / "steelyard.sqlite3")) as database, database:
        database.execute("UPDATE versions SET metrics = ? WHERE uuid = ?", (text, version_uuid))
