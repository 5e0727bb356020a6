"""Links that carry a right of their own: to what, for how long, and whose rights they stand for (contract section 5).

That they ignore the credentials of whoever uses them is in the access table.
"""

import time
from collections.abc import Callable, Iterator
from itertools import count
from types import SimpleNamespace

import httpx2
import pytest

from steelyard.server.core import tickets
from tests.house import Person, Registered
from tests.house.registries import open_registered
from tests.server.doors.native import world as w
from tests.server.doors.native.models import ModelAt, faults, refusal
from tests.server.doors.native.world import ORG, PART_BYTES, Link, World

_numbers = count(1)
KINDS = {
    "upload": ("PUT", w.link_to_upload),
    "part": ("PUT", w.link_to_part),
    "completion": ("POST", w.link_to_completion),
    "state of an upload": ("GET", w.link_to_completed),
    "archive": ("GET", w.link_to_archive),
    "head of an archive": ("HEAD", w.link_to_archive),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    data = tmp_path_factory.mktemp("links") / "data"
    with open_registered(data=data, limits="off", part_size_bytes=PART_BYTES) as registered:
        yield World(registered, "private")


@pytest.fixture
def registry(world: World) -> Registered:
    return world.registered


@pytest.fixture(params=KINDS)
def follow(request: pytest.FixtureRequest, world: World) -> Iterator[Callable[..., httpx2.Response]]:
    """Use a new link of each kind, or what was made of it."""
    method, make = KINDS[request.param]
    link: Link = make(world)

    def use(changed: Callable[[str], str] = str) -> httpx2.Response:
        return world.registered.client.request(method, changed(link.url), content=link.content)

    yield use
    assert use().status_code == 200, "whatever was tried before, the link itself is good"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let time pass for whoever reads tickets."""

    def pass_(seconds: int) -> None:
        monkeypatch.setattr(tickets, "time", SimpleNamespace(time=lambda: time.time() + seconds))

    return pass_


def _with_another_ticket(ticket: str) -> Callable[[str], str]:
    return lambda url: f"{url.partition('?')[0]}?ticket={ticket}"


def _ticket(url: str) -> str:
    return url.partition("?ticket=")[2]


def test_a_ticket_that_was_changed_is_refused(follow: Callable[..., httpx2.Response]) -> None:
    # Not the last character: some of its bits are padding, which nobody signs.
    changed = follow(lambda url: url[:-5] + ("A" if url[-5] != "A" else "B") + url[-4:])
    assert changed.status_code == 403
    assert changed.request.method == "HEAD" or "not valid" in changed.json()["detail"]


def test_a_link_without_its_ticket_is_refused(follow: Callable[..., httpx2.Response]) -> None:
    assert follow(lambda url: url.partition("?")[0]).status_code == 422


def test_a_link_ends_when_it_says(follow: Callable[..., httpx2.Response], later: Callable[[int], None]) -> None:
    later(3590)
    assert follow().status_code == 200
    later(3610)
    expired = follow()
    assert expired.status_code == 403
    assert expired.request.method == "HEAD" or "expired" in expired.json()["detail"]
    later(0)


def test_no_ticket_opens_what_another_one_does(follow: Callable[..., httpx2.Response], world: World) -> None:
    """Neither of another kind, nor of the same kind for something else."""
    for _, make in KINDS.values():
        other = make(world)
        assert follow(_with_another_ticket(_ticket(other.url))).status_code == 403


def test_the_ticket_of_one_part_is_not_that_of_the_next(world: World) -> None:
    link = w.link_to_part(world)
    second = world.registered.client.put(link.url.replace("/parts/1?", "/parts/2?"), content=b"x")
    assert refusal(second) == (403, "forbidden_error")


def test_the_ticket_of_one_version_is_not_that_of_the_next(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", "1.1.0")
    url = tiny.post("/1.0.0/download").json()["url"]
    assert refusal(tiny.person.client.get(url.replace("1.0.0", "1.1.0"))) == (403, "forbidden_error")


@pytest.fixture
def contributor(registry: Registered, world: World) -> Person:
    """Somebody who may publish in acme, as long as he may."""
    someone = registry.user(f"contributor{next(_numbers)}")
    added = world.callers["owner"].post(f"/org/{ORG}/members", {"username": someone.name, "role": "contributor"})
    assert added.status_code == 201
    return someone


def _links_of(contributor: Person, world: World) -> list[tuple[str, str, bytes | None]]:
    """A link to upload with, and one to a version: method, URL, body."""
    data = f"bytes {next(_numbers)}".encode()
    offered = contributor.offer(f"{ORG}/tiny", data).json()["objects"][0]
    begun = contributor.post(f"/org/{ORG}/models/{world.model()}/1.0.0/download").json()
    return [("PUT", offered["actions"]["upload"]["href"], data), ("GET", begun["url"], None)]


def _revoke(contributor: Person, world: World) -> None:
    (key,) = contributor.get("/user/api-keys").json()["api_keys"]
    assert contributor.delete(f"/user/api-keys/{key['id']}").status_code == 204


def _disable(contributor: Person, world: World) -> None:
    assert world.registered.admin.patch(f"/users/{contributor.name}", {"disabled": True}).status_code == 200


def _remove(contributor: Person, world: World) -> None:
    assert world.callers["owner"].delete(f"/org/{ORG}/members/{contributor.name}").status_code == 204


def _demote(contributor: Person, world: World) -> None:
    changed = world.callers["owner"].patch(f"/org/{ORG}/members/{contributor.name}", {"role": "reader"})
    assert changed.status_code == 200


@pytest.mark.parametrize(
    ("event", "upload", "download"),
    [(_revoke, 401, 401), (_disable, 401, 401), (_remove, 404, 404), (_demote, 403, 200)],
)
def test_a_link_stands_for_what_its_maker_may_now(
    contributor: Person, world: World, event: Callable[[Person, World], None], upload: int, download: int
) -> None:
    links = _links_of(contributor, world)
    event(contributor, world)
    answered = [world.registered.client.request(method, url, content=data) for method, url, data in links]
    assert [response.status_code for response in answered] == [upload, download]


def test_hiding_a_model_ends_the_links_of_outsiders(tiny: ModelAt, bob: Person) -> None:
    tiny.publish("1.0.0")
    tiny.make_public()
    url = tiny.seen_by(bob).post("/1.0.0/download").json()["url"]
    assert bob.client.get(url).status_code == 200
    tiny.patch("/visibility", {"is_public": False})
    assert refusal(bob.client.get(url)) == (404, "not_found_error")


def test_an_upload_of_one_organisation_is_unknown_in_another(ada: Person) -> None:
    action = ada.offer(f"{ada.name}/tiny", b"bytes").json()["objects"][0]["actions"]["upload"]
    elsewhere = action["href"].replace(f"/org/{ada.name}/", f"/org/{ORG}/")
    assert refusal(ada.client.put(elsewhere, content=b"bytes")) == (404, "not_found_error")


@pytest.mark.parametrize("number", ["0", "3", "10001"])
def test_a_part_that_the_upload_does_not_have_is_refused(world: World, number: str) -> None:
    link = w.link_to_part(world)
    refused = world.registered.client.put(link.url.replace("/parts/1?", f"/parts/{number}?"), content=b"x")
    if number == "3":
        assert refusal(refused) == (403, "forbidden_error")
    else:
        assert list(faults(refused)) == ["path.number"]
