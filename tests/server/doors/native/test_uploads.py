"""Bytes on their way in: Git LFS batch, single PUTs, parts that may come in any order and from anywhere (section 5)."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from steelyard.server.storage import BlobStore
from tests.conftest import MakeRegistered
from tests.house import Person, Registered
from tests.house.people import oid_of
from tests.house.registries import open_registered
from tests.server.doors.native.models import ModelAt, faults, refusal

PART = 64 * 1024
_numbers = itertools.count()


def some_bytes(size: int) -> bytes:
    """Bytes that were never uploaded before."""
    return f"{next(_numbers)}:".encode().ljust(size, b"x")[:size]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registered]:
    """A registry whose parts are small."""
    with open_registered(data=tmp_path_factory.mktemp("uploads") / "data", part_size_bytes=PART) as opened:
        yield opened


def _batch(model: ModelAt, *objects: tuple[str, Any], **fields: Any) -> Any:
    body = {"operation": "upload", "objects": [{"oid": oid, "size": size} for oid, size in objects], **fields}
    return model.post("/blobs/batch", body)


def _multipart(model: ModelAt, data: bytes) -> dict[str, Any]:
    offered = model.person.offer(model.ref, data).json()
    assert offered["transfer"] == "multipart"
    return dict(offered["objects"][0])


def _send_part(model: ModelAt, item: dict[str, Any], data: bytes, number: int) -> Any:
    part = data[(number - 1) * PART : number * PART]
    return model.person.client.put(item["actions"]["upload"]["header"][str(number)], content=part)


def _complete(model: ModelAt, item: dict[str, Any]) -> Any:
    return model.person.client.post(item["actions"]["upload"]["href"])


def _stored(model: ModelAt) -> set[str]:
    """Everything that the store has."""
    store: BlobStore = model.person.client.app.state.registry.store  # type: ignore[attr-defined]
    return {found.name for found in store.scan()}


# --- the batch


def test_a_batch_tells_what_is_held_and_where_to_send_the_rest(tiny: ModelAt) -> None:
    held, small, large = some_bytes(10), some_bytes(10), some_bytes(PART + 1)
    tiny.person.upload(tiny.ref, held)
    answered = tiny.person.offer(tiny.ref, held, small, large).json()
    assert (answered["transfer"], answered["hash_algo"]) == ("multipart", "sha256")
    first, second, third = answered["objects"]
    assert first == {"oid": oid_of(held).removeprefix("sha256:"), "size": 10}
    action = second["actions"]["upload"]
    assert set(action) == {"href", "header", "expires_at", "expires_in"}
    assert (action["header"], action["expires_in"], action["expires_at"][-1]) == ({}, 3600, "Z")
    assert (set(third["actions"]["upload"]["header"]), third["parts_done"]) == ({"chunk_size", "1", "2"}, [])
    assert third["actions"]["upload"]["header"]["chunk_size"] == str(PART)


def test_an_oid_is_answered_as_it_was_spelled(tiny: ModelAt) -> None:
    oid = oid_of(some_bytes(5))
    answered = _batch(tiny, (oid, 5), (oid.removeprefix("sha256:"), 5)).json()
    assert [item["oid"] for item in answered["objects"]] == [oid, oid.removeprefix("sha256:")]


def test_a_client_that_knows_only_basic_gets_one_link_whatever_the_size(tiny: ModelAt) -> None:
    data = some_bytes(3 * PART)
    answered = tiny.person.offer(tiny.ref, data, transfers=("basic",)).json()
    assert answered["transfer"] == "basic"
    action = answered["objects"][0]["actions"]["upload"]
    assert action["header"] == {}
    sent = tiny.person.client.put(action["href"], content=data)
    assert (sent.status_code, sent.json()) == (200, {"oid": oid_of(data), "size": len(data), "status": "done"})
    assert "actions" not in tiny.person.offer(tiny.ref, data).json()["objects"][0]


def test_what_git_lfs_adds_is_left_alone(tiny: ModelAt) -> None:
    item = ("0" * 64, 5)
    assert (
        _batch(
            tiny, item, ref={"name": "refs/heads/main"}, hash_algo="sha256", transfers=["lfs-standalone-file", "ssh"]
        ).status_code
        == 200
    )
    assert _batch(tiny, item).json()["transfer"] == "basic"


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"operation": "download"}, "body.operation"),
        ({"hash_algo": "sha512"}, "body.hash_algo"),
        ({"objects": []}, "body.objects"),
        ({"objects": [{"oid": "0" * 64, "size": 1}] * 1_001}, "body.objects"),
        ({"objects": [{"oid": "0" * 63, "size": 1}]}, "body.objects.0.oid"),
        ({"objects": [{"oid": "A" * 64, "size": 1}]}, "body.objects.0.oid"),
        ({"objects": [{"oid": "md5:" + "0" * 64, "size": 1}]}, "body.objects.0.oid"),
        ({"objects": [{"oid": "0" * 64, "size": -1}]}, "body.objects.0.size"),
        ({"objects": [{"oid": "0" * 64, "size": 1.5}]}, "body.objects.0.size"),
        ({"objects": [{"oid": "0" * 64, "size": 2**60}]}, "body.objects.0.size"),
        ({"objects": [{"oid": "0" * 64}]}, "body.objects.0.size"),
    ],
    ids=str,
)
def test_a_fault_in_a_batch_is_422(tiny: ModelAt, fields: dict[str, Any], where: str) -> None:
    body = {"operation": "upload", "objects": [{"oid": "0" * 64, "size": 1}], **fields}
    assert list(faults(tiny.post("/blobs/batch", body))) == [where]


def test_a_size_that_is_not_that_of_the_held_bytes_is_422(tiny: ModelAt) -> None:
    data = some_bytes(10)
    tiny.person.upload(tiny.ref, data)
    assert list(faults(_batch(tiny, ("0" * 64, 1), (oid_of(data), 11)))) == ["body.objects.1.size"]


def test_one_oid_with_two_sizes_is_422(tiny: ModelAt) -> None:
    oid = oid_of(some_bytes(10))
    assert list(faults(_batch(tiny, (oid, 10), (oid, 10), (oid, 11)))) == ["body.objects.2.size"]


# --- who holds what


def test_what_one_organisation_holds_another_must_send_itself(tiny: ModelAt, ada: Person, bob: Person) -> None:
    data = some_bytes(100)
    ada.upload(tiny.ref, data)
    stored = _stored(tiny)
    assert "actions" in bob.offer(f"{bob.name}/loot", data).json()["objects"][0], "nothing tells that ada's has it"
    assert list(faults(_batch(tiny, (oid_of(data), 99)))) == ["body.objects.0.size"]
    assert _batch(ModelAt(bob, f"{bob.name}/loot"), (oid_of(data), 99)).status_code == 200, "nor its size"
    bob.upload(f"{bob.name}/loot", data)
    assert "actions" not in bob.offer(f"{bob.name}/loot", data).json()["objects"][0]
    assert _stored(tiny) == stored, "and it is stored once"


def test_the_same_bytes_twice_at_once_are_kept_once(tiny: ModelAt) -> None:
    data = some_bytes(100)
    before = _stored(tiny)
    links = [tiny.person.offer(tiny.ref, data).json()["objects"][0]["actions"]["upload"]["href"] for _ in range(2)]
    assert [tiny.person.client.put(link, content=data).status_code for link in links] == [200, 200]
    assert len(_stored(tiny) - before) == 1


# --- one PUT


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART])
def test_an_upload_in_one_body(tiny: ModelAt, size: int) -> None:
    data = some_bytes(size) if size else b""
    href = _multipart(tiny, data)["actions"]["upload"]["href"]
    assert tiny.person.client.put(href, content=data).json()["oid"] == oid_of(data)
    tiny.publish("1.0.0", files={"a.bin": data})
    assert tiny.get("/1.0.0/files/a.bin").content == data


def test_an_upload_without_an_announced_length(tiny: ModelAt) -> None:
    data = some_bytes(PART)
    href = _multipart(tiny, data)["actions"]["upload"]["href"]
    assert tiny.person.client.put(href, content=iter([data[:100], data[100:]])).status_code == 200


@pytest.mark.parametrize("wrong", ["other bytes of the same length", "too short", "too long", "nothing"])
@pytest.mark.parametrize("announced", [True, False])
def test_wrong_bytes_are_422_and_leave_nothing(tiny: ModelAt, wrong: str, announced: bool) -> None:
    data = some_bytes(1_000)
    sent = {"too short": data[:-1], "too long": data + b"x", "nothing": b""}.get(wrong, data[:-1] + b"y")
    before = _stored(tiny)
    item = _multipart(tiny, data)
    href = item["actions"]["upload"]["href"]
    refused = tiny.person.client.put(href, content=sent if announced else iter([sent]))
    assert refusal(refused) == (422, "validation_error")
    assert _stored(tiny) == before
    assert "actions" in _multipart(tiny, data), "still not held"
    assert tiny.post_version(version="1.0.0", artifacts={"a": oid_of(data)}).status_code == 422
    assert tiny.person.client.put(href, content=data).status_code == 200, "and the right bytes are still welcome"


def test_the_digest_of_what_came_is_told(tiny: ModelAt) -> None:
    data = some_bytes(5)
    refused = tiny.person.client.put(_multipart(tiny, data)["actions"]["upload"]["href"], content=b"wrong")
    assert oid_of(b"wrong") in refused.json()["detail"]
    assert oid_of(data) in refused.json()["detail"]


# --- parts


def test_parts_may_come_in_any_order_and_more_than_once(tiny: ModelAt) -> None:
    data = some_bytes(2 * PART + 5)
    item = _multipart(tiny, data)
    for number in (3, 1, 3, 2, 1):
        sent = _send_part(tiny, item, data, number)
        assert (sent.status_code, bool(sent.headers["etag"])) == (200, True)
    parts = [{"partNumber": 1, "etag": "x"}]
    done = tiny.person.client.post(item["actions"]["upload"]["href"], json={"oid": item["oid"], "parts": parts})
    assert (done.status_code, done.json()["oid"]) == (200, oid_of(data))
    tiny.publish("1.0.0", files={"a.bin": data})
    assert tiny.get("/1.0.0/files/a.bin").content == data


def test_completing_twice_is_once(tiny: ModelAt) -> None:
    data = some_bytes(PART + 1)
    item = _multipart(tiny, data)
    for number in (1, 2):
        _send_part(tiny, item, data, number)
    assert [_complete(tiny, item).status_code for _ in range(2)] == [200, 200]
    assert tiny.person.client.get(item["actions"]["upload"]["href"]).json()["status"] == "done"
    assert _send_part(tiny, item, data, 1).status_code == 200, "a part sent again in the end does no harm"


def test_asking_again_goes_on_from_the_parts_that_arrived_also_from_another_client(tiny: ModelAt) -> None:
    data = some_bytes(3 * PART)
    first = _multipart(tiny, data)
    _send_part(tiny, first, data, 2)
    other = Person(
        tiny.person.client, "another process", tiny.person.post("/user/api-keys", {"name": "x"}).json()["key"]
    )
    second = _multipart(tiny.seen_by(other), data)
    assert second["parts_done"] == [2]
    assert _path(second) == _path(first), "the same session"
    assert _send_part(tiny, first, data, 1).status_code == 200, "the older links work on"
    assert _send_part(tiny, second, data, 3).status_code == 200
    assert _multipart(tiny, data)["parts_done"] == [1, 2, 3]
    assert _complete(tiny, second).status_code == 200


def _path(item: dict[str, Any]) -> str:
    return str(item["actions"]["upload"]["href"].partition("?")[0])


@pytest.mark.only("disk", "s3")
def test_an_upload_goes_on_after_the_server_was_started_again(tmp_path: Path) -> None:
    data = some_bytes(2 * PART)
    with open_registered(data=tmp_path / "data", part_size_bytes=PART) as registered:
        tiny = ModelAt(registered.user("ada"), "ada/tiny")
        before = _multipart(tiny, data)
        _send_part(tiny, before, data, 1)
        token = tiny.person.token
    with open_registered(data=tmp_path / "data", part_size_bytes=2 * PART) as registered:
        tiny = ModelAt(Person(registered.client, "ada", token), "ada/tiny")
        after = _multipart(tiny, data)
        assert (after["parts_done"], _path(after)) == ([1], _path(before))
        assert after["actions"]["upload"]["header"]["chunk_size"] == str(PART), "the session keeps its size of parts"
        assert _send_part(tiny, after, data, 2).status_code == 200
        assert _complete(tiny, before).status_code == 200, "tickets outlive the process"


def test_completing_too_early_is_409_and_names_what_is_missing(tiny: ModelAt) -> None:
    data = some_bytes(3 * PART)
    item = _multipart(tiny, data)
    _send_part(tiny, item, data, 2)
    refused = _complete(tiny, item)
    assert refusal(refused) == (409, "conflict_error")
    assert "1, 3" in refused.json()["detail"]
    assert refusal(tiny.person.client.get(item["actions"]["upload"]["href"])) == (409, "conflict_error")


@pytest.mark.parametrize("size", [0, PART - 1, PART + 1])
def test_a_part_of_the_wrong_size_is_422_and_does_not_count(tiny: ModelAt, size: int) -> None:
    data = some_bytes(2 * PART)
    item = _multipart(tiny, data)
    url = item["actions"]["upload"]["header"]["1"]
    for content in (bytes(size), iter([bytes(size)])):
        assert refusal(tiny.person.client.put(url, content=content)) == (422, "validation_error")
    assert _multipart(tiny, data)["parts_done"] == []
    for number in (1, 2):
        _send_part(tiny, item, data, number)
    assert _complete(tiny, item).status_code == 200, "what the wrong part left behind was written over"


def test_parts_that_do_not_make_the_digest_are_422_and_leave_nothing(tiny: ModelAt) -> None:
    data, before = some_bytes(2 * PART), _stored(tiny)
    item = _multipart(tiny, data)
    for number in (1, 2):
        _send_part(tiny, item, data[::-1], number)
    assert refusal(_complete(tiny, item)) == (422, "validation_error")
    assert _stored(tiny) == before
    assert refusal(_complete(tiny, item)) == (422, "validation_error"), "asking again says the same"
    assert refusal(tiny.person.client.get(item["actions"]["upload"]["href"])) == (422, "validation_error")
    again = _multipart(tiny, data)
    assert (again["parts_done"], _path(again) == _path(item)) == ([], False)
    for number in (1, 2):
        _send_part(tiny, again, data, number)
    assert _complete(tiny, again).status_code == 200


# --- limits


@pytest.mark.parametrize(
    ("setting", "limit", "size"),
    [
        ("max_file_bytes", 1_000, 1_001),
        ("quota_org_bytes", 1_000, 1_001),
        pytest.param("free_disk_floor_bytes", 2**60, 1, marks=pytest.mark.only("disk")),
    ],
)
def test_what_would_pass_a_limit_is_413_at_batch_time_and_names_it(
    make_registered: MakeRegistered, setting: str, limit: int, size: int
) -> None:
    tiny = ModelAt(make_registered(**{setting: limit}).user("ada"), "ada/tiny")
    refused = tiny.person.offer(tiny.ref, bytes(size))
    assert refusal(refused) == (413, "invalid_request_error")
    assert f"{setting} = {limit}" in refused.json()["detail"]
    if setting != "free_disk_floor_bytes":
        assert tiny.person.offer(tiny.ref, bytes(size - 1)).status_code == 200


def test_a_quota_counts_what_is_held_each_digest_once(make_registered: MakeRegistered) -> None:
    tiny = ModelAt(make_registered(quota_org_bytes=100).user("ada"), "ada/tiny")
    first, second = b"a" * 60, b"b" * 40
    tiny.person.upload(tiny.ref, first)
    tiny.publish("1.0.0", "1.1.0", files={"a": first, "b": first})
    tiny.person.upload(tiny.ref, first, second)
    assert tiny.person.offer(tiny.ref, b"c").status_code == 413
    assert tiny.person.offer(tiny.ref, first, second).status_code == 200, "what is held already takes no more room"
    assert tiny.person.offer(tiny.ref, b"").status_code == 200


def test_one_batch_is_counted_together(make_registered: MakeRegistered) -> None:
    tiny = ModelAt(make_registered(quota_org_bytes=100).user("ada"), "ada/tiny")
    assert tiny.person.offer(tiny.ref, b"a" * 60, b"b" * 60).status_code == 413
    assert tiny.person.offer(tiny.ref, b"a" * 60, b"a" * 60).status_code == 200, "one digest, once"
