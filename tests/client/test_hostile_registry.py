"""A registry that lies: nothing it says makes the client write elsewhere, keep wrong bytes or send the token away."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from steelyard.client import Client, _http, cache, download
from steelyard.client.errors import (
    ConnectionFailed,
    DigestMismatch,
    SteelyardError,
    TransferError,
    UnexpectedAnswer,
    UnsafePath,
)
from tests.client.conftest import MakeFolder
from tests.client.fakes import FakeRegistry, Reply, Seen, json_reply, oid_of, serve_bytes

DATA = os.urandom(300_000)
FILES = {"config.json": b"{}", "model.bin": DATA}


@pytest.fixture
def victim(fake: FakeRegistry) -> Iterator[Client]:
    with Client(fake.url, "the-token", timeout_seconds=2) as made:
        yield made


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No long patience with what never gets better."""
    patience = _http.Patience(attempts=3, first_pause_seconds=0.01, longest_pause_seconds=0.01)
    for module in ("download", "upload", "models"):
        monkeypatch.setattr(f"steelyard.client.{module}.MOVING_BYTES", patience)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges and blocks small enough to have many in a small file."""
    monkeypatch.setattr(cache, "BLOCK_BYTES", 16 << 10)
    monkeypatch.setattr(download, "BLOCK_BYTES", 16 << 10)
    monkeypatch.setattr(download, "RANGED_ABOVE_BYTES", 64 << 10)


def everything_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize(
    "path", ["../escaped", "/tmp/escaped", "a/../../escaped", ".git/config", "a\\b", "nul", ".steelyard.json", "x/"]
)
def test_a_path_out_of_the_folder_stops_the_pull_before_anything_is_fetched(
    fake: FakeRegistry, victim: Client, tmp_path: Path, path: str
) -> None:
    fake.offer(
        "acme/tiny", FILES, artifacts={"fine": oid_of(b"{}"), path: oid_of(DATA)}, sizes={"fine": 2, path: len(DATA)}
    )
    before = everything_below(tmp_path)
    with pytest.raises(UnsafePath):
        victim.pull("acme/tiny", tmp_path / "dest")
    assert everything_below(tmp_path) == before
    assert len(fake.seen) == 1


@pytest.mark.parametrize("paths", [["a", "A"], ["a", "a/b"], ["é", "e\u0301"]])
def test_paths_that_clash_on_some_machine_are_refused(
    fake: FakeRegistry, victim: Client, tmp_path: Path, paths: list[str]
) -> None:
    fake.offer(
        "acme/tiny", FILES, artifacts={path: oid_of(DATA) for path in paths}, sizes=dict.fromkeys(paths, len(DATA))
    )
    with pytest.raises(UnsafePath):
        victim.pull("acme/tiny", tmp_path / "dest")


@pytest.mark.parametrize(
    "changes",
    [
        {"artifacts": {"a": "sha256:../../../etc/passwd"}},
        {"artifacts": {"a": "md5:00"}},
        {"artifacts": {}},
        {"name": "acme/other"},
        {"name": "../../x"},
        {"version": "../../1"},
        {"version": "latest"},
        {"sizes": {"config.json": -1, "model.bin": 5}},
        {"sizes": {}},
        {"sizes": {"config.json": "2", "model.bin": 5}},
    ],
)
def test_a_detail_that_is_none_is_refused(
    fake: FakeRegistry, victim: Client, tmp_path: Path, changes: dict[str, object]
) -> None:
    fake.offer("acme/tiny", FILES, **changes)
    with pytest.raises(UnexpectedAnswer):
        victim.pull("acme/tiny", tmp_path / "dest")
    assert not (tmp_path / "dest").exists()


def test_other_bytes_than_announced_are_not_kept(fake: FakeRegistry, victim: Client, tmp_path: Path) -> None:
    route = fake.offer("acme/tiny", FILES)
    fake.on("GET", f"{route}/1.0.0/files/model.bin", serve_bytes(DATA[::-1]))
    with pytest.raises(DigestMismatch, match=r"model\.bin"):
        victim.pull("acme/tiny", tmp_path / "dest")
    assert not (tmp_path / "dest").exists()
    cached = [
        path.name for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.stat().st_size == len(DATA)
    ]
    assert cached == []


def test_more_bytes_than_announced_are_not_taken(fake: FakeRegistry, victim: Client, tmp_path: Path) -> None:
    route = fake.offer("acme/tiny", FILES)
    fake.on("GET", f"{route}/1.0.0/files/model.bin", Reply(200, DATA * 20))
    with pytest.raises(UnexpectedAnswer, match="6000000"):
        victim.pull("acme/tiny", tmp_path / "dest")


def test_more_bytes_without_saying_so_are_cut_off(fake: FakeRegistry, victim: Client, tmp_path: Path) -> None:
    """Without a length the answer ends with the connection; only what was announced is read."""
    route = fake.offer("acme/tiny", FILES)
    fake.on("GET", f"{route}/1.0.0/files/model.bin", Reply(200, DATA + b"more" * 100_000, {"Content-Length": ""}))
    victim.pull("acme/tiny", tmp_path / "dest")
    assert (tmp_path / "dest" / "model.bin").read_bytes() == DATA


@pytest.mark.usefixtures("quick")
def test_fewer_bytes_than_announced_are_not_kept(fake: FakeRegistry, victim: Client, tmp_path: Path) -> None:
    route = fake.offer("acme/tiny", FILES)
    fake.on("GET", f"{route}/1.0.0/files/model.bin", Reply(200, DATA[:-1], {"Content-Length": ""}))
    with pytest.raises(SteelyardError):
        victim.pull("acme/tiny", tmp_path / "dest")
    assert not (tmp_path / "dest").exists()


def test_a_size_beyond_the_disk_is_refused_at_once(fake: FakeRegistry, victim: Client, tmp_path: Path) -> None:
    fake.offer("acme/tiny", FILES, sizes={"config.json": 2, "model.bin": 1 << 60})
    with pytest.raises(TransferError, match="do not fit"):
        victim.pull("acme/tiny", tmp_path / "dest")
    assert len(fake.seen) == 1


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("wrong", ["bytes 0-5/6", "bytes 16384-32767/99", "bytes */300000", "", "nonsense"])
def test_a_range_that_was_not_asked_for_is_refused(
    fake: FakeRegistry, victim: Client, tmp_path: Path, wrong: str
) -> None:
    route = fake.offer("acme/tiny", FILES)

    def answer(seen: Seen) -> Reply:
        good = serve_bytes(DATA)(seen)
        return Reply(206, good.body, {"Content-Range": wrong} if wrong else {})

    fake.on("GET", f"{route}/1.0.0/files/model.bin", answer)
    with pytest.raises(UnexpectedAnswer, match="were asked for"):
        victim.pull("acme/tiny", tmp_path / "dest")


@pytest.mark.usefixtures("small_blocks")
def test_a_server_without_ranges_is_served_from_all_the_same(
    fake: FakeRegistry, victim: Client, tmp_path: Path
) -> None:
    route = fake.offer("acme/tiny", FILES)
    fake.on("GET", f"{route}/1.0.0/files/model.bin", Reply(200, DATA))
    victim.pull("acme/tiny", tmp_path / "dest")
    assert (tmp_path / "dest" / "model.bin").read_bytes() == DATA


@pytest.mark.usefixtures("small_blocks")
def test_large_files_come_in_ranges_and_are_whole(fake: FakeRegistry, victim: Client, tmp_path: Path) -> None:
    fake.offer("acme/tiny", FILES)
    result = victim.pull("acme/tiny", tmp_path / "dest")
    assert (tmp_path / "dest" / "model.bin").read_bytes() == DATA
    asked = [seen.headers["Range"] for seen in fake.seen if seen.path.endswith("model.bin")]
    assert len(asked) == 5 and None not in asked
    assert result.downloaded_bytes == len(DATA) + 2


def test_files_side_by_side_come_by_one_request_each_and_what_is_left_for_the_end_in_ranges(
    fake: FakeRegistry, victim: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "RANGED_ABOVE_BYTES", 1 << 20)
    files = {f"{number}.bin": os.urandom(2 << 20) for number in range(8)}
    route = fake.offer("acme/m", files | {"large.bin": os.urandom(40 << 20)})
    victim.pull("acme/m", tmp_path / "dest")
    assert len(fake.asked("GET", f"{route}/1.0.0/files/large.bin")) == 2
    assert not fake.asked("GET", f"{route}/1.0.0/files/0.bin")[0].headers.get("Range")


def test_a_pull_that_fails_leaves_nothing_of_what_it_prepared(
    fake: FakeRegistry, victim: Client, tmp_path: Path
) -> None:
    route = fake.offer("acme/m", {"good.bin": os.urandom(5000), "bad.bin": b"as announced"})
    fake.on("GET", f"{route}/1.0.0/files/bad.bin", serve_bytes(b"something els"[:12]))
    with pytest.raises(DigestMismatch):
        victim.pull("acme/m", tmp_path / "dest")
    assert not (tmp_path / "dest").exists()


@pytest.mark.usefixtures("small_blocks", "quick")
def test_a_connection_that_always_breaks_still_gets_there_from_where_it_was(
    fake: FakeRegistry, victim: Client, tmp_path: Path
) -> None:
    route = fake.offer("acme/tiny", FILES)
    fake.on("GET", f"{route}/1.0.0/files/model.bin", serve_bytes(DATA, cut_after=20_000))
    result = victim.pull("acme/tiny", tmp_path / "dest")
    assert (tmp_path / "dest" / "model.bin").read_bytes() == DATA
    assert result.downloaded_bytes == len(DATA) + 2


@pytest.mark.usefixtures("quick")
def test_a_connection_that_never_gives_a_byte_is_given_up(fake: FakeRegistry, victim: Client, tmp_path: Path) -> None:
    route = fake.offer("acme/tiny", FILES)
    fake.on("GET", f"{route}/1.0.0/files/model.bin", serve_bytes(DATA, cut_after=0))
    with pytest.raises(ConnectionFailed):
        victim.pull("acme/tiny", tmp_path / "dest")


@pytest.mark.usefixtures("small_blocks")
def test_what_an_earlier_pull_left_is_not_believed(fake: FakeRegistry, victim: Client, tmp_path: Path) -> None:
    """The partial file of a killed pull was damaged since: its bytes spoil the hash, so all of it comes anew."""
    fake.offer("acme/tiny", FILES)
    partial = cache.BlobCache(tmp_path / "cache").partial(hashlib.sha256(DATA).hexdigest(), len(DATA))
    partial.file.write_bytes(b"\0" * (32 << 10))
    partial.mark(0)
    partial.mark(1)
    victim.pull("acme/tiny", tmp_path / "dest")
    assert (tmp_path / "dest" / "model.bin").read_bytes() == DATA


def test_bytes_may_come_from_elsewhere_but_the_token_stays(fake: FakeRegistry, victim: Client, tmp_path: Path) -> None:
    route = fake.offer("acme/tiny", FILES)
    with FakeRegistry() as store:
        store.on("GET", "/signed", serve_bytes(DATA))
        fake.on("GET", f"{route}/1.0.0/files/model.bin", Reply(302, headers={"Location": f"{store.url}/signed?sig=1"}))
        victim.pull("acme/tiny", tmp_path / "dest")
        assert [seen.headers["Authorization"] for seen in store.seen] == [None]
    assert (tmp_path / "dest" / "model.bin").read_bytes() == DATA


def test_a_link_to_upload_elsewhere_gets_the_bytes_but_not_the_token(
    fake: FakeRegistry, victim: Client, make_folder: MakeFolder
) -> None:
    route = "/api/v1/org/acme/models/tiny"
    with FakeRegistry() as store:
        store.on("PUT", "/part", Reply(200))
        action = {"href": f"{store.url}/part?sig=1", "header": {"Host": "evil", "X-Amz": "1", "Content-Length": "1"}}
        answer = {"objects": [{"oid": oid_of(b"weights"), "size": 7, "actions": {"upload": action}}]}
        fake.on("POST", f"{route}/blobs/batch", json_reply(answer))
        with pytest.raises(SteelyardError):  # this registry cannot publish
            victim.push(make_folder({"w.bin": b"weights"}), "acme/tiny:1.0.0", use_git=False)
        [put] = store.seen
        assert (put.body, put.headers["Authorization"], put.headers["X-Amz"]) == (b"weights", None, "1")
        assert put.headers["Host"] == store.url.removeprefix("http://")


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"actions": {"upload": {}}},
        {"actions": {"upload": {"href": 3}}},
        {"actions": {"upload": {"href": "file:///etc/passwd"}}},
        {"actions": {"upload": {"href": "http://h/x", "header": {"chunk_size": "0"}}}},
        {"actions": {"upload": {"href": "http://h/x", "header": {"chunk_size": "4"}}}},
        {"actions": {"upload": {"href": "http://h/x", "header": "x"}}},
    ],
)
@pytest.mark.usefixtures("quick")
def test_an_upload_answer_that_is_none_is_refused(
    fake: FakeRegistry, victim: Client, make_folder: MakeFolder, item: dict[str, object]
) -> None:
    listed = [{"oid": oid_of(b"weights"), **item}] if item else []
    fake.on("POST", "/api/v1/org/acme/models/tiny/blobs/batch", json_reply({"objects": listed}))
    with pytest.raises(UnexpectedAnswer):
        victim.push(make_folder({"w.bin": b"weights"}), "acme/tiny:1.0.0", use_git=False)


def test_a_refusal_of_one_object_names_its_file(fake: FakeRegistry, victim: Client, make_folder: MakeFolder) -> None:
    refused = {"oid": oid_of(b"weights"), "size": 7, "error": {"code": 413, "message": "too large for this registry"}}
    fake.on("POST", "/api/v1/org/acme/models/tiny/blobs/batch", json_reply({"objects": [refused]}))
    with pytest.raises(SteelyardError, match=r"(?s)w\.bin.*too large"):
        victim.push(make_folder({"w.bin": b"weights"}), "acme/tiny:1.0.0", use_git=False)
