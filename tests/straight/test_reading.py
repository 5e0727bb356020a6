"""Files of a version where the store signs links: sent there for bytes, and never for what only the registry knows."""

import random
import time
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.house import Person
from tests.house.people import oid_of
from tests.straight.conftest import Yard

DATA = random.Random(6).randbytes(100_000)
PATH = "weights/über model.bin"


@pytest.fixture
def file(ada: Person) -> str:
    """The address of a published file."""
    assert ada.publish(f"{ada.name}/tiny:1.0.0", {PATH: DATA, "empty": b""}).status_code == 201
    return f"/org/{ada.name}/models/tiny/1.0.0/files/{PATH}"


@pytest.mark.parametrize("asked", [None, "bytes=10-19", "bytes=99990-", "bytes=-10", "bytes=99990-100000"])
def test_plain_and_single_range_reads_are_sent_to_the_store(
    yard: Yard, ada: Person, file: str, outside: httpx2.Client, asked: str | None
) -> None:
    headers = {"Range": asked} if asked else {}
    sent = ada.get(file, headers=headers)
    assert (sent.status_code, sent.headers["cache-control"], sent.content) == (302, "no-store", b"")
    assert sent.headers["location"].startswith(yard.store.endpoint)
    got = outside.get(sent.headers["location"], headers=headers)
    assert got.status_code == (206 if asked else 200)
    assert got.content == {None: DATA, "bytes=10-19": DATA[10:20]}.get(asked, DATA[-10:])
    assert got.headers["content-type"] == "application/octet-stream"
    assert got.headers["content-disposition"].startswith("attachment")
    assert "%C3%BC" in got.headers["content-disposition"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": f'"{oid_of(DATA)}"'}, 304),
        ({"If-None-Match": '"another"'}, 200),
        ({"If-Match": f'"{oid_of(DATA)}"'}, 200),
        ({"If-Match": '"another"'}, 412),
        ({"Range": "bytes=0-9", "If-Range": f'"{oid_of(DATA)}"'}, 206),
        ({"Range": "bytes=0-9,20-29"}, 206),
        ({"Range": "bytes=100000-"}, 416),
    ],
    ids=str,
)
def test_conditions_and_several_ranges_are_answered_by_the_registry(
    ada: Person, file: str, headers: dict[str, str], status: int
) -> None:
    answered = ada.get(file, headers=headers)
    assert answered.status_code == status
    if status == 200:
        assert answered.content == DATA


def test_head_and_empty_files_are_answered_by_the_registry(ada: Person, file: str) -> None:
    head = ada.request("HEAD", file)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(DATA)))
    assert head.headers["etag"] == f'"{oid_of(DATA)}"'
    assert ada.get(file.replace(PATH, "empty")).status_code == 200


def test_the_tar_is_made_by_the_registry(ada: Person, file: str, outside: httpx2.Client) -> None:
    url = ada.post(f"/org/{ada.name}/models/tiny/1.0.0/download").json()["url"]
    sent = outside.get(url)
    assert sent.status_code == 200
    assert DATA in sent.content


def test_a_link_reads_one_file_and_writes_nothing(yard: Yard, ada: Person, file: str, outside: httpx2.Client) -> None:
    link = ada.get(file).headers["location"]
    stored = yard.stored()
    assert {outside.put(link, content=b"x").status_code, outside.delete(link).status_code} == {403}
    path = urlsplit(link).path
    other = urlsplit(link)._replace(path=path[:-1] + ("0" if path[-1] != "0" else "1")).geturl()
    assert outside.get(other).status_code == 403
    assert yard.stored() == stored


def test_who_may_not_see_a_file_gets_no_link(ada: Person, file: str, outside: httpx2.Client, yard: Yard) -> None:
    assert Person(ada.client, "nobody", None).get(file).status_code == 401
    made = ada.post("/user/api-keys", {"name": "short-lived"}).json()
    reader = Person(ada.client, ada.name, made["key"])
    assert reader.get(file).status_code == 302
    assert ada.delete(f"/user/api-keys/{made['id']}").status_code == 204
    assert reader.get(file).status_code == 401


def test_a_read_by_link_counts_as_a_download(ada: Person, file: str) -> None:
    detail = f"/org/{ada.name}/models/tiny"
    ada.request("HEAD", file)
    ada.get(file, headers={"If-None-Match": f'"{oid_of(DATA)}"'})
    time.sleep(1.5)
    assert ada.get(detail).json()["download_count"] == 0
    assert ada.get(file).status_code == 302
    deadline = time.monotonic() + 5
    while ada.get(detail).json()["download_count"] != 1:
        assert time.monotonic() < deadline
        time.sleep(0.1)
