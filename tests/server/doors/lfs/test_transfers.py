"""Git LFS as its clients speak it: a batch, then bytes by links that need no credential; and as the Hub's does."""

import itertools
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.house import Person, Registered
from tests.house.people import oid_of
from tests.house.registries import open_registered

PART = 64 * 1024
MEDIA_TYPE = "application/vnd.git-lfs+json"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registered]:
    """A registry whose parts are small."""
    data = tmp_path_factory.mktemp("lfs") / "data"
    with open_registered(data=data, part_size_bytes=PART, max_file_bytes=2**20, store_direct=False) as opened:
        yield opened


@pytest.fixture
def ada(registry: Registered) -> Person:
    """Somebody new."""
    return registry.user(f"ada{next(_numbers)}")


@pytest.fixture
def bob(registry: Registered) -> Person:
    """Somebody else."""
    return registry.user(f"bob{next(_numbers)}")


@pytest.fixture
def repo(ada: Person) -> str:
    """A model of ada's that is there."""
    made = ada.post("http://127.0.0.1/api/repos/create", {"name": "tiny", "organization": ada.name})
    assert made.status_code == 200, made.text
    return f"{ada.name}/tiny"


def some_bytes(size: int) -> bytes:
    """Bytes that were never sent before."""
    return f"{next(_numbers)}:".encode().ljust(size, b"x")[:size]


def digest(data: bytes) -> str:
    return oid_of(data).removeprefix("sha256:")


def batch(
    person: Person, repo: str, operation: str, *objects: Any, transfers: tuple[str, ...] | None = None, **fields: Any
) -> httpx2.Response:
    """A batch, of bytes or of objects as they are sent."""
    asked = [{"oid": digest(each), "size": len(each)} if isinstance(each, bytes) else each for each in objects]
    body = {"operation": operation, "objects": asked, **fields}
    headers = {"Accept": MEDIA_TYPE, "Content-Type": f"{MEDIA_TYPE}; charset=utf-8"}
    transferring = {"transfers": list(transfers)} if transfers else {}
    url = f"http://127.0.0.1/{repo}.git/info/lfs/objects/batch"
    return person.post(url, {**body, **transferring}, headers=headers)


def objects_of(answered: httpx2.Response) -> list[dict[str, Any]]:
    assert answered.status_code == 200, answered.text
    assert answered.headers["content-type"] == MEDIA_TYPE
    return list(answered.json()["objects"])


def send(person: Person, repo: str, data: bytes) -> None:
    """Upload as git-lfs does."""
    [item] = objects_of(batch(person, repo, "upload", data))
    assert person.client.put(item["actions"]["upload"]["href"], content=data).status_code == 200


def commit(person: Person, repo: str, path: str, data: bytes) -> None:
    """Put bytes that were sent into a commit."""
    lines = '{"key":"header","value":{"summary":"Add"}}\n'
    lines += f'{{"key":"lfsFile","value":{{"path":"{path}","oid":"{digest(data)}"}}}}'
    done = person.request("POST", f"http://127.0.0.1/api/models/{repo}/commit/main", content=lines)
    assert done.status_code == 200, done.text


def error_of(answered: httpx2.Response) -> tuple[int, str]:
    """Status and message of an error whose body is as Git LFS has it."""
    body = answered.json()
    assert set(body) == {"message", "request_id", "documentation_url"}, body
    assert body["request_id"] == answered.headers["x-request-id"]
    assert answered.headers["content-type"] == MEDIA_TYPE
    return answered.status_code, str(body["message"])


# --- in one piece


def test_an_object_is_sent_in_one_piece_without_a_credential(ada: Person, repo: str) -> None:
    data = some_bytes(1000)
    answered = batch(ada, repo, "upload", data, transfers=("lfs-standalone-file", "basic", "ssh"))
    [item] = objects_of(answered)
    assert (answered.json()["transfer"], answered.json()["hash_algo"]) == ("basic", "sha256")
    assert (item["oid"], item["size"], set(item["actions"])) == (digest(data), 1000, {"upload", "verify"})
    assert (item["actions"]["upload"]["header"], item["actions"]["upload"]["expires_in"]) == ({}, 3600)
    sent = ada.client.put(item["actions"]["upload"]["href"], content=data)
    assert (sent.status_code, sent.json()) == (200, {"oid": digest(data), "size": 1000})


def test_an_object_that_is_held_need_not_be_sent(ada: Person, repo: str) -> None:
    data = some_bytes(1000)
    send(ada, repo, data)
    assert objects_of(batch(ada, repo, "upload", data)) == [{"oid": digest(data), "size": 1000}]


def test_an_object_that_another_organisation_holds_must_be_sent(ada: Person, repo: str, bob: Person) -> None:
    data = some_bytes(1000)
    bob.upload(f"{bob.name}/his", data)
    [item] = objects_of(batch(ada, repo, "upload", data))
    assert "upload" in item["actions"]


def test_wrong_bytes_are_not_kept(ada: Person, repo: str) -> None:
    data = some_bytes(1000)
    [item] = objects_of(batch(ada, repo, "upload", data))
    status, message = error_of(ada.client.put(item["actions"]["upload"]["href"], content=some_bytes(1000)))
    assert (status, "do not match their digest" in message) == (422, True)
    assert "actions" in objects_of(batch(ada, repo, "upload", data))[0]


# --- in parts


def in_parts(person: Person, repo: str, data: bytes) -> dict[str, Any]:
    """What the Hub's client is told to do with a large file."""
    answered = batch(person, repo, "upload", data, transfers=("basic", "multipart"))
    assert answered.json()["transfer"] == "multipart"
    return dict(objects_of(answered)[0]["actions"])


def test_a_large_object_is_sent_in_parts_as_the_hubs_client_does(ada: Person, repo: str) -> None:
    data = some_bytes(3 * PART + 5)
    actions = in_parts(ada, repo, data)
    header = actions["upload"]["header"]
    assert (int(header["chunk_size"]), sorted(header)) == (PART, ["1", "2", "3", "4", "chunk_size"])
    tags = []
    for number in (4, 2, 1, 3):
        part = data[(number - 1) * PART : number * PART]
        sent = ada.client.put(header[str(number)], content=part)
        assert sent.status_code == 200
        tags.append({"partNumber": number, "etag": sent.headers["etag"]})
    completed = ada.client.post(
        actions["upload"]["href"],
        json={"oid": digest(data), "parts": tags},
        headers={"Content-Type": MEDIA_TYPE},
    )
    assert (completed.status_code, completed.json()["oid"]) == (200, digest(data))
    verified = ada.post(actions["verify"]["href"], {"oid": digest(data), "size": len(data)})
    assert verified.status_code == 200
    commit(ada, repo, "model.bin", data)


def test_an_upload_whose_parts_are_missing_cannot_be_completed(ada: Person, repo: str) -> None:
    actions = in_parts(ada, repo, some_bytes(2 * PART))
    status, message = error_of(ada.client.post(actions["upload"]["href"], json={}))
    assert (status, "2 of 2 parts have not arrived" in message) == (409, True)


def test_what_did_not_arrive_is_not_verified(ada: Person, repo: str) -> None:
    data = some_bytes(2 * PART)
    verify = in_parts(ada, repo, data)["verify"]["href"]
    assert error_of(ada.post(verify, {"oid": digest(data), "size": len(data)}))[0] == 404
    ada.upload(repo, data)
    assert ada.post(verify, {"oid": digest(data), "size": len(data)}).status_code == 200
    assert error_of(ada.post(verify, {"oid": digest(data), "size": 1}))[0] == 422


# --- out again


def test_an_object_is_fetched_by_a_link(ada: Person, repo: str) -> None:
    data = some_bytes(1000)
    send(ada, repo, data)
    commit(ada, repo, "a.bin", data)
    [item] = objects_of(batch(ada, repo, "download", data))
    href = item["actions"]["download"]["href"]
    assert ada.client.get(href).content == data
    part = ada.client.get(href, headers={"Range": "bytes=990-"})
    assert (part.status_code, part.content) == (206, data[990:])


def test_an_object_that_no_file_of_the_model_has_is_not_found_and_the_others_are(ada: Person, repo: str) -> None:
    there, sent_only = some_bytes(10), some_bytes(11)
    send(ada, repo, there)
    send(ada, repo, sent_only)
    commit(ada, repo, "a.bin", there)
    first, second = objects_of(batch(ada, repo, "download", there, sent_only))
    assert "actions" in first
    assert (second["error"]["code"], "actions" in second) == (404, False)


def test_a_draft_is_for_members_only(ada: Person, repo: str, bob: Person) -> None:
    published, draft = some_bytes(10), some_bytes(11)
    ada.publish(f"{repo}:1.0.0", {"a.bin": published})
    send(ada, repo, draft)
    commit(ada, repo, "draft.bin", draft)
    org, name = repo.split("/")
    assert ada.patch(f"/org/{org}/models/{name}/visibility", {"is_public": True}).status_code == 200
    assert ["actions" in each for each in objects_of(batch(bob, repo, "download", published, draft))] == [True, False]
    assert ["actions" in each for each in objects_of(batch(ada, repo, "download", published, draft))] == [True, True]


def test_a_link_to_fetch_dies_with_the_right_to_see_the_model(ada: Person, repo: str, bob: Person) -> None:
    data = some_bytes(10)
    ada.publish(f"{repo}:1.0.0", {"a.bin": data})
    org, name = repo.split("/")
    ada.patch(f"/org/{org}/models/{name}/visibility", {"is_public": True})
    href = objects_of(batch(bob, repo, "download", data))[0]["actions"]["download"]["href"]
    assert bob.client.get(href).status_code == 200
    ada.patch(f"/org/{org}/models/{name}/visibility", {"is_public": False})
    assert error_of(bob.client.get(href))[0] == 404


def test_a_link_opens_one_object_only(ada: Person, repo: str) -> None:
    first, second = some_bytes(10), some_bytes(11)
    for path, data in {"a": first, "b": second}.items():
        send(ada, repo, data)
        commit(ada, repo, path, data)
    href = objects_of(batch(ada, repo, "download", first))[0]["actions"]["download"]["href"]
    assert error_of(ada.client.get(href.replace(digest(first), digest(second))))[0] == 403


# --- who may


def test_links_die_with_the_token_they_were_made_with(ada: Person, repo: str) -> None:
    made = ada.post("/user/api-keys", {"name": "short"})
    assert made.status_code == 201, made.text
    other = Person(ada.client, ada.name, made.json()["key"])
    data = some_bytes(100)
    href = objects_of(batch(other, repo, "upload", data))[0]["actions"]["upload"]["href"]
    assert ada.delete(f"/user/api-keys/{made.json()['id']}").status_code == 204
    assert error_of(ada.client.put(href, content=data))[0] == 401


def test_a_token_is_the_password_that_git_sends(ada: Person, repo: str) -> None:
    url = f"http://127.0.0.1/{repo}.git/info/lfs/objects/batch"
    body = {"operation": "upload", "objects": []}
    assert ada.client.post(url, json=body, auth=("anything", str(ada.token))).status_code == 200
    refused = ada.client.post(url, json=body)
    assert error_of(refused)[0] == 401
    assert refused.headers["lfs-authenticate"].startswith("Basic ")


def test_who_may_not_publish_may_not_upload(ada: Person, repo: str, bob: Person) -> None:
    assert error_of(batch(bob, repo, "upload", b"x"))[0] == 404
    ada.post(f"/org/{ada.name}/members", {"username": bob.name, "role": "reader"})
    assert error_of(batch(bob, repo, "upload", b"x"))[0] == 403


def test_a_model_that_is_not_there_is_one_that_the_hubs_client_knows_to_miss(ada: Person) -> None:
    refused = batch(ada, f"{ada.name}/nothing", "upload", b"x", transfers=("basic", "multipart"))
    assert (error_of(refused)[0], refused.headers["x-error-code"]) == (404, "RepoNotFound")


# --- what makes no sense


def test_what_is_wrong_with_an_object_is_said_of_it_alone(ada: Person, repo: str) -> None:
    good = some_bytes(10)
    bad = [{"oid": "short", "size": 1}, {"oid": "0" * 64, "size": -1}, {"oid": "1" * 64, "size": 2**20 + 1}]
    answered = objects_of(batch(ada, repo, "upload", bad[0], good, *bad[1:]))
    assert [each.get("error", {}).get("code") for each in answered] == [422, None, 422, 422]
    assert [(each["oid"], each["size"]) for each in answered[2:]] == [(each["oid"], each["size"]) for each in bad[1:]]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"operation": "delete", "objects": []},
        {"operation": "upload", "objects": [{"oid": "x"}]},
        {"operation": "upload", "objects": [{"oid": "x", "size": "5"}]},
        {"operation": "upload", "objects": [{"oid": "0" * 64, "size": 1}] * 1001},
    ],
)
def test_a_batch_that_makes_no_sense_is_refused_in_git_lfss_words(ada: Person, repo: str, body: Any) -> None:
    url = f"http://127.0.0.1/{repo}.git/info/lfs/objects/batch"
    assert error_of(ada.post(url, body))[0] == 422


@pytest.mark.parametrize("operation", ["upload", "download"])
def test_objects_are_not_known_by_another_hash(ada: Person, repo: str, operation: str) -> None:
    status, message = error_of(batch(ada, repo, operation, b"x", hash_algo="sha512"))
    assert (status, "sha256" in message) == (409, True)


def test_a_ref_and_keys_of_the_future_are_left_alone(ada: Person, repo: str) -> None:
    for ref in (None, {"name": "refs/heads/main"}):
        assert objects_of(batch(ada, repo, "upload", ref=ref, later=True)) == []


def test_an_empty_object_is_one(ada: Person, repo: str) -> None:
    [item] = objects_of(batch(ada, repo, "upload", b""))
    assert ada.client.put(item["actions"]["upload"]["href"], content=b"").status_code == 200
    assert objects_of(batch(ada, repo, "upload", b"")) == [{"oid": digest(b""), "size": 0}]
    [found] = objects_of(batch(ada, repo, "download", b""))
    assert ada.client.get(found["actions"]["download"]["href"]).content == b""
