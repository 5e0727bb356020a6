"""The registry as a plain server of Git LFS: what git-lfs sends stays, whatever is published."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from steelyard.server.context import Registry
from steelyard.server.jobs import gc
from tests.house import Person, Registered
from tests.house.people import oid_of
from tests.house.registries import open_registered
from tests.server.doors.lfs.test_transfers import batch, commit, digest, error_of, objects_of, some_bytes

HUB = ("basic", "multipart")


@pytest.fixture
def registered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registered]:
    """A registry of this test's own, whose public models are open to everybody."""
    data = tmp_path_factory.mktemp("keeping") / "data"
    with open_registered(data=data, anonymous_public=True, store_direct=False) as opened:
        yield opened


@pytest.fixture
def ada(registered: Registered) -> Person:
    """Somebody with a model."""
    ada = registered.user("ada")
    assert ada.post("http://127.0.0.1/api/repos/create", {"name": "tiny"}).status_code == 200
    return ada


def clean_up(registered: Registered) -> list[str]:
    """What a clean-up without a grace takes."""
    registry: Registry = registered.client.app.state.registry  # type: ignore[attr-defined]
    done = gc.collect(registry.database, registry.store, grace_seconds=-1, upload_ttl_seconds=86_400)
    return [oid for oid, _ in done.blobs]


def push(person: Person, repo: str, data: bytes) -> None:
    """As git-lfs does: what has no actions need not be sent, and what has is verified after."""
    [item] = objects_of(batch(person, repo, "upload", data))
    if actions := item.get("actions"):
        assert person.client.put(actions["upload"]["href"], content=data).status_code == 200
        verified = verify(person, item, data)
        assert (verified.status_code, verified.json()) == (200, {"oid": digest(data), "size": len(data)})


def verify(person: Person, item: dict[str, Any], data: bytes, size: int | None = None) -> httpx2.Response:
    """As git-lfs does, by the link alone."""
    body = {"oid": digest(data), "size": len(data) if size is None else size}
    return person.client.post(item["actions"]["verify"]["href"], json=body)


def fetch(person: Person, repo: str, data: bytes) -> int:
    """The status of fetching these bytes."""
    [item] = objects_of(batch(person, repo, "download", data))
    if "error" in item:
        return int(item["error"]["code"])
    answered = person.client.get(item["actions"]["download"]["href"])
    assert answered.content == data
    return answered.status_code


# --- what stays


def test_what_git_lfs_sent_is_fetched_and_stays(registered: Registered, ada: Person) -> None:
    data = some_bytes(1000)
    push(ada, "ada/tiny", data)
    assert fetch(ada, "ada/tiny", data) == 200
    assert clean_up(registered) == []
    assert fetch(ada, "ada/tiny", data) == 200


def test_what_the_organisation_has_already_is_kept_for_this_model_too(registered: Registered, ada: Person) -> None:
    data = some_bytes(1000)
    assert ada.publish("ada/other:1.0.0", {"a.bin": data}).status_code == 201
    assert fetch(ada, "ada/tiny", data) == 404
    assert objects_of(batch(ada, "ada/tiny", "upload", data)) == [{"oid": digest(data), "size": 1000}]
    assert fetch(ada, "ada/tiny", data) == 200
    assert ada.delete("/org/ada/models/other").status_code == 204
    assert clean_up(registered) == []
    assert fetch(ada, "ada/tiny", data) == 200


def test_what_a_client_of_the_hub_sends_goes_unless_it_commits(registered: Registered, ada: Person) -> None:
    data = some_bytes(1000)
    [item] = objects_of(batch(ada, "ada/tiny", "upload", data, transfers=HUB))
    assert set(item["actions"]) == {"upload"}
    assert ada.client.put(item["actions"]["upload"]["href"], content=data).status_code == 200
    assert objects_of(batch(ada, "ada/tiny", "upload", data, transfers=HUB)) == [{"oid": digest(data), "size": 1000}]
    verify = "http://127.0.0.1/ada/tiny.git/info/lfs/objects/verify"
    assert ada.post(verify, {"oid": digest(data), "size": 1000}).status_code == 200
    assert fetch(ada, "ada/tiny", data) == 404
    assert clean_up(registered) == [oid_of(data)]


def test_the_model_frees_its_bytes_when_it_goes(registered: Registered, ada: Person) -> None:
    data = some_bytes(1000)
    push(ada, "ada/tiny", data)
    assert ada.delete("/org/ada/models/tiny").status_code == 204
    assert clean_up(registered) == [oid_of(data)]


def test_what_git_lfs_sent_can_be_published_and_committed(ada: Person) -> None:
    first, second = some_bytes(1000), some_bytes(1001)
    push(ada, "ada/tiny", first)
    push(ada, "ada/tiny", second)
    done = ada.post("/org/ada/models/tiny/versions", {"version": "1.0.0", "artifacts": {"a.bin": oid_of(first)}})
    assert done.status_code == 201, done.text
    commit(ada, "ada/tiny", "b.bin", second)


def test_bytes_of_a_size_that_they_have_not_are_not_kept(ada: Person) -> None:
    data = some_bytes(1000)
    ada.upload("ada/tiny", data)
    wrong = {"oid": digest(data), "size": 999}
    assert error_of(batch(ada, "ada/tiny", "upload", wrong))[0] == 422
    assert fetch(ada, "ada/tiny", data) == 404


def test_a_link_to_keep_is_for_one_object_that_is_here_and_whole(ada: Person) -> None:
    data, other = some_bytes(1000), some_bytes(1001)
    [item] = objects_of(batch(ada, "ada/tiny", "upload", data))
    assert error_of(verify(ada, item, data))[0] == 404
    ada.upload("ada/tiny", data, other)
    assert error_of(verify(ada, item, other))[0] == 422
    assert error_of(verify(ada, item, data, size=999))[0] == 422
    assert fetch(ada, "ada/tiny", data) == 404
    href = item["actions"]["verify"]["href"]
    stolen = href.replace(digest(data), digest(other))
    assert error_of(ada.client.post(stolen, json={"oid": digest(other), "size": 1001}))[0] == 403


def test_a_link_to_keep_dies_with_its_token(ada: Person) -> None:
    made = ada.post("/user/api-keys", {"name": "short"})
    data = some_bytes(1000)
    [item] = objects_of(batch(Person(ada.client, "ada", made.json()["key"]), "ada/tiny", "upload", data))
    assert ada.client.put(item["actions"]["upload"]["href"], content=data).status_code == 200
    assert ada.delete(f"/user/api-keys/{made.json()['id']}").status_code == 204
    assert error_of(verify(ada, item, data))[0] == 401


# --- for whom


def test_whoever_reads_the_model_fetches_what_it_keeps(registered: Registered, ada: Person) -> None:
    data, bob = some_bytes(1000), registered.user("bob")
    push(ada, "ada/tiny", data)
    assert error_of(batch(bob, "ada/tiny", "download", data))[0] == 404
    assert ada.patch("/org/ada/models/tiny/visibility", {"is_public": True}).status_code == 200
    assert (fetch(bob, "ada/tiny", data), fetch(registered.anonymous, "ada/tiny", data)) == (200, 200)


def test_to_offer_what_others_have_reveals_and_gives_nothing(registered: Registered, ada: Person) -> None:
    data, bob = some_bytes(1000), registered.user("bob")
    push(ada, "ada/tiny", data)
    [item] = objects_of(batch(bob, "bob/his", "upload", data))
    assert "upload" in item["actions"]
    assert error_of(verify(bob, item, data))[0] == 404
    assert error_of(batch(bob, "bob/his", "download", data))[0] == 404


# --- a model that is not there


def test_a_push_makes_the_model_with_the_first_bytes_that_it_keeps(registered: Registered, ada: Person) -> None:
    data = some_bytes(1000)
    [item] = objects_of(batch(ada, "ada/New", "upload", data))
    assert ada.client.put(item["actions"]["upload"]["href"], content=data).status_code == 200
    assert error_of(batch(ada, "ada/New", "download", data))[0] == 404
    assert verify(ada, item, data).status_code == 200
    assert fetch(ada, "ada/new", data) == 200
    assert error_of(batch(registered.user("bob"), "ada/new", "download", data))[0] == 404
    events = ada.get("/org/ada/audit").json()["events"]
    assert ("model.create", "ada/New") in {(e["action"], e["target"]) for e in events}


def test_a_push_of_what_is_held_makes_the_model(ada: Person) -> None:
    data = some_bytes(1000)
    push(ada, "ada/tiny", data)
    push(ada, "ada/second", data)
    assert fetch(ada, "ada/second", data) == 200


def test_who_may_not_publish_makes_no_model(registered: Registered, ada: Person) -> None:
    bob, carol = registered.user("bob"), registered.user("carol")
    assert ada.post("/org/ada/members", {"username": "carol", "role": "reader"}).status_code == 201
    for somebody, status in ((bob, 404), (carol, 404), (registered.anonymous, 401)):
        refused = batch(somebody, "ada/new", "upload", b"x")
        assert (error_of(refused)[0], refused.headers["x-error-code"]) == (status, "RepoNotFound")
    assert error_of(batch(ada, "ada/new", "download", b"x"))[0] == 404


# --- a wrong password


@pytest.mark.parametrize("password", ["wrong", ""], ids=["wrong", "empty"])
def test_git_lfs_is_told_to_stop_sending_a_wrong_password(
    tmp_path_factory: pytest.TempPathFactory, password: str
) -> None:
    """It asks again at every 401, and waits out a 429."""
    data = tmp_path_factory.mktemp("wrong") / "data"
    with open_registered(data=data, limit_sign_in_failures="3/minute") as registered:
        ada = registered.user("ada")
        url = "http://127.0.0.1/ada/tiny.git/info/lfs/objects/batch"
        body = {"operation": "upload", "objects": []}
        answered = [ada.client.post(url, json=body, auth=("git", password)) for _ in range(4)]
        assert [error_of(each)[0] for each in answered] == [401, 401, 401, 403]
        assert "no token" in error_of(answered[3])[1]
        assert ada.client.post(url, json=body, headers={"Authorization": "Bearer wrong"}).status_code == 429
        assert ada.client.post(url, json=body, auth=("git", str(ada.token))).status_code == 200
