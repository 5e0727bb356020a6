"""An upload that goes straight to the store, step by step, as anybody who reads the API would write it."""

import base64
import threading
import zlib
from typing import Any

import httpx2

from tests.house import Person
from tests.house.people import oid_of, path_of
from tests.straight.conftest import PART_BYTES


def crc32_of(data: bytes) -> str:
    """As S3 and our API spell it."""
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def part_of(data: bytes, number: int) -> bytes:
    return data[(number - 1) * PART_BYTES : number * PART_BYTES]


def offer(person: Person, model: str, data: bytes, *, checksums: bool, at: str = "") -> dict[str, Any]:
    """What the server says to these bytes, being asked by links bound to `checksums` or by plain ones."""
    objects = [{"oid": oid_of(data), "size": len(data)}]
    body = {"operation": "upload", "transfers": ["multipart"], "objects": objects}
    more = {"part_checksums": "crc32"} if checksums else {}
    path = f"{path_of(model)}/blobs/batch"
    answered = person.post(f"{at}/api/v1{path}" if at else path, body | more)
    assert answered.status_code == 200, answered.text
    item: dict[str, Any] = answered.json()["objects"][0]
    return item


def ask_link(client: httpx2.Client, item: dict[str, Any], number: int, part: bytes) -> dict[str, Any]:
    """The store's link for a part, bound to these bytes."""
    answered = client.post(item["actions"]["upload"]["header"][str(number)], json={"crc32": crc32_of(part)})
    assert answered.status_code == 200, answered.text
    link: dict[str, Any] = answered.json()
    return link


def send(client: httpx2.Client, item: dict[str, Any], data: bytes, *numbers: int) -> None:
    """Send these parts, or all, by the links that were given."""
    header = item["actions"]["upload"]["header"]
    for number in numbers or range(1, -(-len(data) // PART_BYTES) + 1):
        part = part_of(data, number)
        if "part_checksums" in header:
            link = ask_link(client, item, number, part)
            sent = client.put(link["href"], headers=link["header"], content=part)
        else:
            sent = client.put(header[str(number)], content=part)
        assert sent.status_code == 200, sent.text


def complete(client: httpx2.Client, item: dict[str, Any]) -> httpx2.Response:
    return client.post(item["actions"]["upload"]["href"])


class Attack:
    """Somebody who sends to a link again and again, until it is over."""

    def __init__(self, client: httpx2.Client, link: str, content: bytes) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(client, link, content))
        self._thread.start()

    def _run(self, client: httpx2.Client, link: str, content: bytes) -> None:
        while not self._over.is_set():
            client.put(link, content=content)

    def end(self) -> None:
        self._over.set()
        self._thread.join()
