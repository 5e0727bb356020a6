"""An upload that was begun on one server goes on at the other: parts on both, completed on either."""

from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import httpx2
import pytest

from steelyard import Client
from tests.house.people import oid_of
from tests.replicas.site import PART_BYTES, Replicas, Somebody, start_replicas

SIZE_BYTES = 2 * PART_BYTES + 1_000_000  # three parts


@pytest.fixture(scope="module", params=["direct", "proxied"])
def replicas(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """Servers that send clients to the store, and ones that take the bytes themselves."""
    direct = "true" if request.param == "direct" else "false"
    started = start_replicas(tmp_path_factory.mktemp(request.param), store_direct=direct)
    yield started
    started.close()


def data_of(seed: object) -> bytes:
    return Random(str(seed)).randbytes(SIZE_BYTES)


def begin(caller: Somebody, server: str, model: str, data: bytes) -> dict[str, Any]:
    """What a server answers to the wish to upload."""
    offered = getattr(caller, server).offer(model, data)
    assert offered.status_code == 200, offered.text
    answer: dict[str, Any] = offered.json()["objects"][0]
    return answer


def at(url: str, server: str, replicas: Replicas) -> str:
    """The link as another server of the registry has it; a link to the store stays what it is."""
    for each in (replicas.one.url, replicas.two.url, replicas.url):
        if url.startswith(each):
            return {"one": replicas.one.url, "two": replicas.two.url, "through": replicas.url}[server] + url[
                len(each) :
            ]
    return url


def send_part(
    caller: Somebody, replicas: Replicas, item: dict[str, Any], data: bytes, number: int, server: str
) -> None:
    link = at(item["actions"]["upload"]["header"][str(number)], server, replicas)
    part = data[(number - 1) * PART_BYTES : number * PART_BYTES]
    sent = caller.one.client.put(link, content=part)
    assert sent.status_code == 200, sent.text


def complete(caller: Somebody, replicas: Replicas, item: dict[str, Any], server: str) -> httpx2.Response:
    link = at(item["actions"]["upload"]["href"], server, replicas)
    return caller.one.client.post(link, json={"oid": item["oid"]})


@pytest.mark.parametrize(
    ("begun", "parts", "completed", "published"),
    [
        ("one", ("one", "two", "one"), "two", "one"),
        ("two", ("one", "one", "two"), "one", "two"),
        ("one", ("two", "two", "two"), "two", "one"),
        ("through", ("through", "one", "two"), "through", "through"),
    ],
)
def test_each_step_may_be_another_server_s(
    replicas: Replicas, begun: str, parts: tuple[str, str, str], completed: str, published: str
) -> None:
    name = f"steps-{begun}-{'-'.join(parts)}"[:39]
    caller, model = replicas.user(name), f"{name}/tiny"
    data = data_of(name)
    item = begin(caller, begun, model, data)
    for number, server in enumerate(parts, 1):
        send_part(caller, replicas, item, data, number, server)
    done = complete(caller, replicas, item, completed)
    assert done.status_code == 200, done.text
    body = {"version": "1.0.0", "artifacts": {"model.bin": oid_of(data)}}
    made = getattr(caller, published).post(f"/org/{name}/models/tiny/versions", body)
    assert made.status_code == 201, made.text
    for person in (caller.one, caller.two, caller.through):
        read = person.get(f"/org/{name}/models/tiny/1.0.0/files/model.bin", follow_redirects=True)
        assert oid_of(read.content) == oid_of(data)


def test_parts_that_arrived_by_one_server_are_not_asked_for_by_the_other(replicas: Replicas) -> None:
    caller = replicas.user("resuming")
    data = data_of("resuming")
    first = begin(caller, "one", "resuming/tiny", data)
    send_part(caller, replicas, first, data, 2, "one")
    again = begin(caller, "two", "resuming/tiny", data)
    assert again["parts_done"] == [2]
    for number in (1, 3):
        send_part(caller, replicas, again, data, number, "two")
    assert complete(caller, replicas, first, "one").status_code == 200, "with the link from before"
    assert "actions" not in begin(caller, "two", "resuming/tiny", data), "it is held"


def test_completing_on_both_at_once_makes_one_blob(replicas: Replicas) -> None:
    caller = replicas.user("twice")
    data = data_of("twice")
    item = begin(caller, "one", "twice/tiny", data)
    for number in (1, 2, 3):
        send_part(caller, replicas, item, data, number, "one")
    from tests.replicas.at_once import at_once, on_both

    def end(person: Any, number: int) -> int:
        link = at(item["actions"]["upload"]["href"], ("one", "two")[number % 2], replicas)
        answer = person.client.post(link, json={"oid": item["oid"]})
        while answer.status_code == 202:
            answer = person.client.get(answer.headers["location"])
        return int(answer.status_code)

    assert Counter(at_once(on_both(replicas, caller, 6), end)) == {200: 6}
    assert caller.two.publish("twice/tiny:1.0.0", {"model.bin": data}).status_code == 201
    assert replicas.check().is_sound


def test_a_small_file_may_be_sent_to_the_server_that_was_not_asked(replicas: Replicas) -> None:
    caller = replicas.user("small")
    item = begin(caller, "one", "small/tiny", b"few bytes")
    sent = caller.one.client.put(at(item["actions"]["upload"]["href"], "two", replicas), content=b"few bytes")
    assert sent.status_code == 200
    assert "actions" not in begin(caller, "one", "small/tiny", b"few bytes")


def test_what_one_server_proves_the_other_tells_of(replicas: Replicas) -> None:
    """The link to a proof that goes on leads through nginx to either of them."""
    caller = replicas.user("waiting")
    data = data_of("waiting")
    item = begin(caller, "one", "waiting/tiny", data)
    for number in (1, 2, 3):
        send_part(caller, replicas, item, data, number, "one")
    assert complete(caller, replicas, item, "one").status_code == 200
    looked = caller.one.client.get(at(item["actions"]["upload"]["href"], "two", replicas))
    assert (looked.status_code, looked.json()["status"]) == (200, "done")


def test_a_push_and_a_pull_by_our_client_go_through_nginx_to_both(replicas: Replicas, tmp_path: Any) -> None:
    caller = replicas.user("whole")
    folder = tmp_path / "model"
    folder.mkdir()
    for number in range(3):
        (folder / f"part-{number}.bin").write_bytes(data_of(number))
    before = len(replicas.nginx.lines)
    with Client(replicas.url, caller.token, cache_dir=tmp_path / "cache") as client:
        client.push(folder, "whole/tiny:1.0.0", use_git=False)
        client.pull("whole/tiny:1.0.0", tmp_path / "pulled")
    for path in folder.iterdir():
        assert (tmp_path / "pulled" / path.name).read_bytes() == path.read_bytes()
    lines = replicas.nginx.lines[before:]
    for server in replicas.servers:
        assert any(f"upstream=127.0.0.1:{server.port}/20" in line for line in lines), "both had a share"
