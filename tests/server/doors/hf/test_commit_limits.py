"""Commits against the limits of a registry, and what happens when one comes twice, too early, or in pieces."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from steelyard.server.doors.hf import lines
from tests.conftest import MakeRegistered
from tests.house import Person, Registered
from tests.house.people import oid_of

HEADER = {"key": "header", "value": {"summary": "Add"}}


def a_repo(registered: Registered) -> tuple[Person, str]:
    """Somebody, and a new model of his."""
    ada = registered.user("ada")
    made = ada.post("http://127.0.0.1/api/repos/create", {"name": "tiny"})
    assert made.status_code == 200, made.text
    return ada, "ada/tiny"


def file_line(path: str, data: bytes) -> dict[str, Any]:
    return {"key": "file", "value": {"path": path, "content": base64.b64encode(data).decode(), "encoding": "base64"}}


def commit(person: Person, repo: str, *said: dict[str, Any]) -> httpx2.Response:
    """A commit as it goes over the wire."""
    return send(person, repo, b"\n".join(json.dumps(each).encode() for each in said))


def send(person: Person, repo: str, body: Any) -> httpx2.Response:
    url = f"http://127.0.0.1/api/models/{repo}/commit/main"
    return person.request("POST", url, content=body, headers={"Content-Type": "application/x-ndjson"})


def history(person: Person, repo: str) -> list[str]:
    listed = person.get(f"http://127.0.0.1/api/models/{repo}/commits/main").json()
    return [each["title"] for each in listed]


def files(person: Person, repo: str) -> dict[str, int]:
    listed = person.get(f"http://127.0.0.1/api/models/{repo}/tree/main?recursive=true").json()
    return {each["path"]: each["size"] for each in listed}


# --- limits


def test_a_commit_counts_against_the_quota(make_registered: MakeRegistered) -> None:
    ada, repo = a_repo(make_registered(quota_org_bytes=1_000))
    assert commit(ada, repo, HEADER, file_line("a", b"a" * 600)).status_code == 200
    refused = commit(ada, repo, HEADER, file_line("b", b"b" * 600))
    assert refused.status_code == 413
    assert "quota_org_bytes" in refused.json()["error"]
    assert "quota_org_bytes" in refused.headers["x-error-message"]
    assert files(ada, repo) == {"a": 600}


def test_what_is_held_already_counts_once(make_registered: MakeRegistered) -> None:
    ada, repo = a_repo(make_registered(quota_org_bytes=1_000))
    same = [file_line(name, b"a" * 600) for name in ("a", "b", "c")]
    assert commit(ada, repo, HEADER, *same).status_code == 200
    assert commit(ada, repo, HEADER, file_line("d", b"a" * 600)).status_code == 200


def test_a_file_may_be_too_large(make_registered: MakeRegistered) -> None:
    ada, repo = a_repo(make_registered(max_file_bytes=100))
    refused = commit(ada, repo, HEADER, file_line("a", b"a" * 101))
    assert (refused.status_code, "max_file_bytes" in refused.json()["error"]) == (413, True)


@pytest.mark.only("disk")
def test_a_disk_at_its_floor_takes_no_commit(make_registered: MakeRegistered) -> None:
    ada, repo = a_repo(make_registered(free_disk_floor_bytes=2**60))
    refused = commit(ada, repo, HEADER, file_line("a", b"a"))
    assert (refused.status_code, "free_disk_floor_bytes" in refused.json()["error"]) == (413, True)


def test_a_commit_that_names_too_much_is_refused(make_registered: MakeRegistered) -> None:
    ada, repo = a_repo(make_registered(max_body_bytes=10_000))
    removed = [{"key": "deletedFile", "value": {"path": f"{number}"}} for number in range(200)]
    refused = commit(ada, repo, HEADER, *removed)
    assert (refused.status_code, "Send it in several commits" in refused.json()["error"]) == (413, True)


def test_a_commit_may_be_longer_than_a_body_of_json(make_registered: MakeRegistered) -> None:
    ada, repo = a_repo(make_registered(max_body_bytes=10_000))
    assert commit(ada, repo, HEADER, *(file_line(f"{n}", b"%d" % n * 5_000) for n in range(5))).status_code == 200
    assert len(files(ada, repo)) == 5


def test_an_endless_line_is_refused_before_it_ends(
    make_registered: MakeRegistered, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, repo = a_repo(make_registered())
    monkeypatch.setattr(lines, "MOST_LINE_BYTES", 100_000)

    def body() -> Iterator[bytes]:
        yield json.dumps(HEADER).encode() + b"\n"
        for _ in range(100):
            yield b"x" * 10_000

    assert send(ada, repo, body()).status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n\n",
        b"nothing",
        b'{"key":"deletedFile","value":{"path":"a"}}',
        json.dumps(HEADER).encode() + b"\n" + json.dumps(HEADER).encode(),
        json.dumps(HEADER).encode() + b"\n{",
        b"\xff\xfe\x00",
    ],
)
def test_a_body_that_is_no_commit_is_a_bad_request(make_registered: MakeRegistered, body: bytes) -> None:
    ada, repo = a_repo(make_registered())
    refused = send(ada, repo, body)
    assert (refused.status_code, refused.json()["error"] != "") == (400, True)
    assert history(ada, repo) == ["initial commit"]


# --- twice, and too early


def test_a_commit_that_comes_twice_is_one_commit(make_registered: MakeRegistered) -> None:
    ada, repo = a_repo(make_registered())
    said = [HEADER, file_line("a", b"a"), {"key": "deletedFile", "value": {"path": "old"}}]
    assert commit(ada, repo, {"key": "header", "value": {"summary": "Old"}}, file_line("old", b"o")).status_code == 200
    first, second = commit(ada, repo, *said).json(), commit(ada, repo, *said).json()
    assert first["commitOid"] == second["commitOid"]
    assert history(ada, repo) == ["Add", "Old", "initial commit"]


def test_a_commit_waits_for_large_files_to_be_proven(make_registered: MakeRegistered) -> None:
    part = 64 * 1024
    ada, repo = a_repo(make_registered(part_size_bytes=part, prove_wait_seconds=0, store_direct=False))
    data = b"large" * part
    batch = f"http://127.0.0.1/{repo}.git/info/lfs/objects/batch"
    digest = oid_of(data).removeprefix("sha256:")
    asked = {"operation": "upload", "transfers": ["multipart"], "objects": [{"oid": digest, "size": len(data)}]}
    [item] = ada.post(batch, asked).json()["objects"]
    upload = item["actions"]["upload"]
    for number in range(1, 6):
        sent = ada.client.put(upload["header"][str(number)], content=data[(number - 1) * part : number * part])
        assert sent.status_code == 200
    assert ada.client.post(upload["href"], json={}).status_code in (200, 202)
    line = {"key": "lfsFile", "value": {"path": "model.bin", "oid": digest}}
    assert commit(ada, repo, HEADER, line).status_code == 200
    assert files(ada, repo) == {"model.bin": len(data)}


def test_a_file_that_came_by_another_way_is_regular_once_it_came_inside_a_commit(
    make_registered: MakeRegistered,
) -> None:
    ada, repo = a_repo(make_registered())
    ada.publish(f"{repo}:1.0.0", {"a.txt": b"hello\n"})
    before = history(ada, repo)
    url = f"http://127.0.0.1/api/models/{repo}/preupload/main"
    asked = {"files": [{"path": "a.txt", "sample": base64.b64encode(b"hello\n").decode(), "size": 6, "sha": "old"}]}
    planned = {"path": "a.txt", "uploadMode": "regular", "shouldIgnore": False}
    assert ada.post(url, asked).json() == {"files": [planned]}
    assert commit(ada, repo, HEADER, file_line("a.txt", b"hello\n")).status_code == 200
    oid = "ce013625030ba8dba906f756967f9e9ca394464a"
    assert ada.post(url, asked).json() == {"files": [{**planned, "oid": oid}]}
    assert history(ada, repo) == before


def test_lost_bytes_come_back_when_they_are_committed_again(make_registered: MakeRegistered) -> None:
    registered = make_registered()
    ada, repo = a_repo(registered)
    assert commit(ada, repo, HEADER, file_line("a", b"precious")).status_code == 200
    store = registered.client.app.state.registry.store  # type: ignore[attr-defined]
    for name in [found.name for found in store.scan()]:
        store.delete(name)
    assert commit(ada, repo, HEADER, file_line("b", b"precious")).status_code == 200
    fetched = ada.get(f"http://127.0.0.1/{repo}/resolve/main/a")
    assert (fetched.status_code, fetched.content) == (200, b"precious")
