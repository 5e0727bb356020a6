"""What a link of the store may do: just what the server signed it for, and nothing once the bytes are proven."""

import random
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.house import Person
from tests.house.people import oid_of
from tests.server.doors.native.models import refusal
from tests.straight.conftest import PART_BYTES, Yard, start_yard
from tests.straight.sending import Attack, ask_link, complete, offer, part_of, send

_random = random.Random(5)


@pytest.fixture
def data() -> bytes:
    """Two parts of bytes that were never sent before."""
    return _random.randbytes(PART_BYTES + 1000)


@pytest.fixture
def model(ada: Person) -> str:
    return f"{ada.name}/tiny"


def publish(ada: Person, model: str, *contents: bytes) -> httpx2.Response:
    files = {f"{number}.bin": oid_of(content) for number, content in enumerate(contents)}
    return ada.post(f"/org/{ada.name}/models/tiny/versions", {"version": "1.0.0", "artifacts": files})


def staged_of(yard: Yard, item: dict[str, Any]) -> list[str]:
    """What the store has of an upload that is not proven."""
    upload_id = item["actions"]["upload"]["href"].partition("?")[0].rpartition("/")[2]
    return [name for name in yard.stored() if upload_id in name]


def test_a_client_that_knows_git_lfs_alone_needs_nothing_but_its_links(
    yard: Yard, ada: Person, model: str, data: bytes, outside: httpx2.Client
) -> None:
    item = offer(ada, model, data, checksums=False)
    header = item["actions"]["upload"]["header"]
    assert set(header) == {"chunk_size", "1", "2"}
    assert all(header[number].startswith(yard.store.endpoint) for number in ("1", "2"))
    send(outside, item, data)
    assert offer(ada, model, data, checksums=False)["parts_done"] == [1, 2]
    assert complete(outside, item).json() == {"oid": item["oid"], "size": len(data), "status": "done"}
    assert publish(ada, model, data).status_code == 201
    assert staged_of(yard, item) == []


def test_what_is_small_or_comes_in_one_body_passes_the_server(yard: Yard, ada: Person, model: str, data: bytes) -> None:
    small = ada.offer(model, data[:1000]).json()["objects"][0]["actions"]["upload"]
    basic = ada.offer(model, data, transfers=("basic",)).json()["objects"][0]["actions"]["upload"]
    assert [each["href"].startswith(yard.server.url) for each in (small, basic)] == [True, True]
    assert ada.client.put(basic["href"], content=data).status_code == 200


def test_parts_come_in_any_order_and_more_than_once(
    ada: Person, model: str, data: bytes, outside: httpx2.Client
) -> None:
    item = offer(ada, model, data, checksums=True)
    send(outside, item, data, 2, 1, 2)
    assert [complete(outside, item).status_code for _ in range(2)] == [200, 200]


def test_other_bytes_than_the_checksums_are_refused_by_the_store(
    ada: Person, model: str, data: bytes, outside: httpx2.Client
) -> None:
    item, part = offer(ada, model, data, checksums=True), part_of(data, 1)
    link = ask_link(outside, item, 1, part)
    wrong = part[:-1] + bytes([part[-1] ^ 1])
    assert outside.put(link["href"], headers=link["header"], content=wrong).status_code == 400
    assert outside.put(link["href"], content=part).status_code in (400, 403), "the checksum has to come along"
    assert offer(ada, model, data, checksums=True)["parts_done"] == []
    assert outside.put(link["href"], headers=link["header"], content=part).status_code == 200
    assert offer(ada, model, data, checksums=True)["parts_done"] == [1]


@pytest.mark.parametrize("size", [0, PART_BYTES - 1, PART_BYTES + 1])
def test_a_part_of_another_size_is_refused_by_the_store(
    ada: Person, model: str, data: bytes, outside: httpx2.Client, size: int
) -> None:
    item = offer(ada, model, data, checksums=False)
    assert outside.put(item["actions"]["upload"]["header"]["1"], content=bytes(size)).status_code == 403
    assert offer(ada, model, data, checksums=False)["parts_done"] == []


def test_completing_too_early_is_409_and_names_what_is_missing(
    ada: Person, model: str, data: bytes, outside: httpx2.Client
) -> None:
    item = offer(ada, model, data, checksums=True)
    send(outside, item, data, 2)
    refused = complete(outside, item)
    assert refusal(refused) == (409, "conflict_error")
    assert "1 of 2 parts have not arrived: 1." in refused.json()["detail"]
    send(outside, item, data, 1)
    assert complete(outside, item).status_code == 200


@pytest.mark.parametrize("checksums", [False, True])
def test_wrong_bytes_are_422_and_leave_nothing_in_the_store(
    yard: Yard, ada: Person, model: str, data: bytes, outside: httpx2.Client, checksums: bool
) -> None:
    item, before = offer(ada, model, data, checksums=checksums), yard.stored()
    assert staged_of(yard, item), "there is something to leave"
    send(outside, item, data[::-1])
    assert refusal(complete(outside, item)) == (422, "validation_error")
    assert staged_of(yard, item) == []
    assert set(yard.stored()) <= set(before)
    assert refusal(complete(outside, item)) == (422, "validation_error"), "asking again says the same"
    assert publish(ada, model, data).status_code == 422
    again = offer(ada, model, data, checksums=checksums)
    assert (again["parts_done"], again["actions"]["upload"]["href"] == item["actions"]["upload"]["href"]) == ([], False)
    send(outside, again, data)
    assert complete(outside, again).status_code == 200


def test_a_link_changes_nothing_once_the_bytes_are_proven(
    yard: Yard, ada: Person, model: str, data: bytes, outside: httpx2.Client
) -> None:
    item = offer(ada, model, data, checksums=False)
    header = item["actions"]["upload"]["header"]
    send(outside, item, data)
    assert complete(outside, item).status_code == 200
    assert publish(ada, model, data).status_code == 201
    stored, other = yard.stored(), data[::-1]
    for number in (1, 2):
        late = outside.put(header[str(number)], content=part_of(other, number))
        assert late.status_code == 404, late.text
    assert yard.stored() == stored
    read = ada.get(f"/org/{ada.name}/models/tiny/1.0.0/files/0.bin").headers["location"]
    assert outside.get(read).content == data


def test_a_link_writes_nothing_while_the_bytes_are_being_proven(
    yard: Yard, ada: Person, model: str, outside: httpx2.Client
) -> None:
    """Whoever holds the links sends other bytes beside the completion: it ends in what was announced, or in nothing."""
    ends = set()
    for _ in range(4):
        data = _random.randbytes(PART_BYTES + 1000)
        item = offer(ada, model, data, checksums=False)
        send(outside, item, data)
        with httpx2.Client(trust_env=False, verify=False, timeout=30) as attacker:
            attack = Attack(attacker, item["actions"]["upload"]["header"]["2"], bytes(1000))
            done = complete(outside, item)
            attack.end()
        ends.add(done.status_code)
        held = "actions" not in offer(ada, model, data, checksums=False)
        assert held == (done.status_code == 200), done.text
    assert ends <= {200, 409, 422}


def test_links_end_and_new_ones_go_on_where_they_stopped(tmp_path: Path, data: bytes, outside: httpx2.Client) -> None:
    yard = start_yard(tmp_path / "data", ticket_ttl_seconds="2", download_ttl_seconds="2")
    admin = Person(httpx2.Client(base_url=yard.server.url, trust_env=False, verify=False), "admin", yard.server.token)
    try:
        plain = offer(admin, "admin/plain", data, checksums=False)
        bound = offer(admin, "admin/bound", data, checksums=True)
        send(outside, bound, data, 1)
        link = ask_link(outside, bound, 2, part_of(data, 2))
        time.sleep(3.5)
        late = outside.put(link["href"], headers=link["header"], content=part_of(data, 2))
        assert late.status_code == 403
        assert "<Code>" in late.text
        assert outside.put(plain["actions"]["upload"]["header"]["1"], content=part_of(data, 1)).status_code == 403
        expired = outside.post(bound["actions"]["upload"]["header"]["2"], json={"crc32": "AAAAAA=="})
        assert refusal(expired) == (403, "forbidden_error")
        again = offer(admin, "admin/bound", data, checksums=True)
        assert again["parts_done"] == [1]
        send(outside, again, data, 2)
        assert complete(outside, again).status_code == 200
    finally:
        admin.client.close()
        yard.server.stop()


def test_the_links_of_a_revoked_token_die_at_the_server(
    yard: Yard, ada: Person, model: str, data: bytes, outside: httpx2.Client
) -> None:
    made = ada.post("/user/api-keys", {"name": "short-lived"}).json()
    item = offer(Person(ada.client, ada.name, made["key"]), model, data, checksums=True)
    send(outside, item, data)
    assert ada.delete(f"/user/api-keys/{made['id']}").status_code == 204
    header = item["actions"]["upload"]["header"]
    assert outside.post(header["1"], json={"crc32": "AAAAAA=="}).status_code == 401
    assert complete(outside, item).status_code == 401
    assert "actions" in offer(ada, model, data, checksums=True), "nothing is held"


@pytest.mark.parametrize("crc32", ["", "AAAAAA", "AAAAAAAA", "AAAAAAA=", "!!!!!!==", 0, None])
def test_what_is_no_checksum_is_422(
    ada: Person, model: str, data: bytes, outside: httpx2.Client, crc32: object
) -> None:
    header = offer(ada, model, data, checksums=True)["actions"]["upload"]["header"]
    assert refusal(outside.post(header["1"], json={"crc32": crc32})) == (422, "validation_error")


def test_a_part_of_the_store_is_not_taken_by_the_server(
    ada: Person, model: str, data: bytes, outside: httpx2.Client
) -> None:
    header = offer(ada, model, data, checksums=True)["actions"]["upload"]["header"]
    refused = outside.put(header["1"], content=part_of(data, 1))
    assert refusal(refused) == (409, "conflict_error")


def test_an_upload_that_nobody_goes_on_with_goes_from_the_store_too(
    tmp_path: Path, data: bytes, outside: httpx2.Client
) -> None:
    yard = start_yard(tmp_path / "data", upload_ttl_seconds="1", gc_interval_seconds="1")
    admin = Person(httpx2.Client(base_url=yard.server.url, trust_env=False, verify=False), "admin", yard.server.token)
    try:
        send(outside, offer(admin, "admin/left", data, checksums=True), data, 1)
        deadline = time.monotonic() + 20
        while yard.stored():
            assert time.monotonic() < deadline, yard.stored()
            time.sleep(0.2)
    finally:
        admin.client.close()
        yard.server.stop()
