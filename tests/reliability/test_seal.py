"""What was proven cannot change: whoever writes to an upload keeps it from being completed, or is refused."""

import threading
from pathlib import Path
from random import Random
from typing import Any

import httpx2

from tests.house import RunningServer
from tests.house.people import Person, oid_of
from tests.reliability.pushing import PART_BYTES, new_person, open_client
from tests.reliability.sockets import RawRequest, open_files, wait_for
from tests.reliability.soundness import assert_sound


def begin(ada: Person, model: str, data: bytes) -> tuple[str, dict[str, str]]:
    """`(href to complete, header with the parts' links)` of a new multipart upload, all its parts sent."""
    action = ada.offer(model, data).json()["objects"][0]["actions"]["upload"]
    for number in range(1, -(-len(data) // PART_BYTES) + 1):
        part = data[(number - 1) * PART_BYTES : number * PART_BYTES]
        assert ada.client.put(action["header"][str(number)], content=part).status_code == 200
    return action["href"], action["header"]


def upload_id_of(href: str) -> str:
    return href.partition("?")[0].rpartition("/")[2]


def complete(ada: Person, href: str, data: bytes) -> httpx2.Response:
    return ada.client.post(href, json={"oid": oid_of(data)})


def test_a_part_that_is_still_arriving_keeps_its_upload_from_being_completed(shared_server: RunningServer) -> None:
    data = Random(1).randbytes(3 * PART_BYTES)
    taken = {"version": "1.0.0", "artifacts": {"model.bin": oid_of(data)}}
    with new_person(shared_server, "slow") as ada:
        href, links = begin(ada, "slow/tiny", data)
        with RawRequest("PUT", links["2"], headers={"Content-Length": str(PART_BYTES)}) as sender:
            sender.send(bytes(PART_BYTES // 2))
            _wait_until_it_writes(shared_server, href)
            refused = complete(ada, href, data)
            assert (refused.status_code, refused.json()["type"]) == (409, "conflict_error")
            assert ada.post("/org/slow/models/tiny/versions", taken).status_code == 409
            sender.send(bytes(PART_BYTES // 2))  # not the bytes that the digest is of
            sender.answer()
        mismatch = complete(ada, href, data)
        assert (mismatch.status_code, mismatch.json()["type"]) == (422, "validation_error")
        assert ada.post("/org/slow/models/tiny/versions", taken).status_code == 422
        assert ada.offer("slow/tiny", data).json()["objects"][0]["parts_done"] == []
    assert not _left_of(shared_server, href)


def test_a_part_that_was_given_up_keeps_nobody_waiting(shared_server: RunningServer) -> None:
    data = Random(2).randbytes(3 * PART_BYTES)
    with new_person(shared_server, "fickle") as ada:
        href, links = begin(ada, "fickle/tiny", data)
        with RawRequest("PUT", links["2"], headers={"Content-Length": str(PART_BYTES)}) as sender:
            sender.send(data[PART_BYTES : PART_BYTES + 1000])
            _wait_until_it_writes(shared_server, href)
        wait_for(lambda: complete(ada, href, data).status_code == 200, "completing the upload")
        assert ada.publish("fickle/tiny:1.0.0", {"model.bin": data}).status_code == 201


def test_bytes_never_change_after_their_proof(shared_server: RunningServer) -> None:
    """Whoever holds the links sends other bytes all the while: what is completed is what was announced, or nothing."""
    outcomes: set[int] = set()
    with new_person(shared_server, "hostile") as ada:
        for number in range(150):
            if number > 20 and len(outcomes) > 1:
                break
            data = Random(number).randbytes(4 * PART_BYTES)
            href, links = begin(ada, "hostile/tiny", data)
            attackers = [threading.Thread(target=_overwrite, args=(links[str(part)],)) for part in (1, 2, 3, 4)]
            for attacker in attackers[: number % 5]:
                attacker.start()
            outcomes.add(complete(ada, href, data).status_code)
            for attacker in attackers[: number % 5]:
                attacker.join()
            _publish_if_held(ada, data, f"1.{number}.0")
    assert outcomes <= {200, 409, 422}
    assert 200 in outcomes
    assert len(outcomes) > 1, "no attack met its upload"
    assert_sound(shared_server, str(ada.token), "hostile")


def _overwrite(link: str) -> None:
    with open_client(link) as client:
        for _ in range(3):
            answer = client.put(link, content=bytes(PART_BYTES))
            assert answer.status_code in (200, 404, 409, 422), answer.text


def _publish_if_held(ada: Person, data: bytes, version: str) -> None:
    item: dict[str, Any] = ada.offer("hostile/tiny", data).json()["objects"][0]
    if "actions" not in item:
        assert ada.publish(f"hostile/tiny:{version}", {"model.bin": data}).status_code == 201


def _wait_until_it_writes(server: RunningServer, href: str) -> None:
    staged = f"/staged/{upload_id_of(href)}"
    wait_for(lambda: any(name.endswith(staged) for name in open_files(server)), "opening the staged upload")


def _left_of(server: RunningServer, href: str) -> list[Path]:
    return [path for path in (server.data / "store").rglob(upload_id_of(href)) if path.is_file()]
