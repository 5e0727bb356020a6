"""Who may do what by the door of Git LFS: every route of it, as every kind of caller. One that is not listed fails."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts

from steelyard.server.doors.lfs.calls import LfsRoute, LinkRoute, LockRoute
from tests.house import Person, Registered
from tests.house.people import oid_of
from tests.house.registries import open_registered

LFS = "/{org}/{name}.git/info/lfs"
DATA = b"weights"
OBJECT = {"oid": oid_of(DATA).removeprefix("sha256:"), "size": len(DATA)}
# Callers are anonymous, an outsider, a reader, a contributor, and an owner with a token that only reads.
CALLERS = ("anonymous", "outsider", "reader", "contributor", "read-only")


@dataclass(frozen=True)
class Row:
    """A call, and what each caller is answered about a public model and about a private one."""

    path: str
    body: dict[str, Any]
    public: str
    private: str

    def __str__(self) -> str:
        return f"{self.path} {self.body.get('operation', '')}"


ROWS = [
    Row("objects/batch", {"operation": "download", "objects": [OBJECT]}, "200 200 200 200 200", "401 404 200 200 200"),
    Row("objects/batch", {"operation": "upload", "objects": [OBJECT]}, "401 403 403 200 403", "401 404 403 200 403"),
    Row("objects/verify", OBJECT, "401 403 403 200 403", "401 404 403 200 403"),
]
LOCKS = {
    f"POST {LFS}/locks",
    f"GET {LFS}/locks",
    f"POST {LFS}/locks/verify",
    f"POST {LFS}/locks/{{lock_id}}/unlock",
}
LINKS = {
    f"PUT {LFS}/uploads/{{upload_id}}",
    f"POST {LFS}/uploads/{{upload_id}}",
    f"POST {LFS}/objects/{{digest}}/keep",
    f"PUT {LFS}/uploads/{{upload_id}}/parts/{{number}}",
    f"GET {LFS}/objects/{{digest}}",
    f"HEAD {LFS}/objects/{{digest}}",
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registered]:
    """A registry whose public models are open to everybody."""
    data = tmp_path_factory.mktemp("access") / "data"
    with open_registered(data=data, anonymous_public=True, store_direct=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def people(registry: Registered) -> dict[str, Person]:
    """Each caller, by his kind; and models of theirs, a public and a private one."""
    people = {name: registry.user(name) for name in ("reader", "contributor", "outsider")}
    owner = registry.org("acme", reader="reader", contributor="contributor")
    for name, is_public in (("public", True), ("private", False)):
        assert owner.publish(f"acme/{name}:1.0.0", {"a.bin": DATA}, is_public=is_public).status_code == 201
    reading = owner.post("/user/api-keys", {"name": "reads", "access": "read"})
    assert reading.status_code == 201, reading.text
    people["read-only"] = Person(registry.client, owner.name, reading.json()["key"])
    return {**people, "anonymous": registry.anonymous}


@pytest.mark.parametrize("name", ["public", "private"])
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_who_may(people: dict[str, Person], row: Row, name: str) -> None:
    url = f"http://127.0.0.1/acme/{name}.git/info/lfs/{row.path}"
    answered = [str(people[caller].post(url, row.body).status_code) for caller in CALLERS]
    expected = row.public if name == "public" else row.private
    assert answered == expected.split()


@pytest.mark.parametrize("link", sorted(LINKS))
def test_a_link_without_a_ticket_of_ours_opens_nothing(people: dict[str, Person], link: str) -> None:
    method, _, path = link.partition(" ")
    path = path.format(org="acme", name="public", upload_id="0" * 32, number=1, digest="0" * 64)
    for query in ("", "?ticket=forged"):
        answered = people["contributor"].request(method, f"http://127.0.0.1{path}{query}", content=b"")
        assert answered.status_code in (403, 422)


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("lock", sorted(LOCKS))
def test_everybody_is_told_that_there_are_no_locks(people: dict[str, Person], lock: str, caller: str) -> None:
    """With a status that git-lfs takes for an answer about locks, and not about the model."""
    method, _, path = lock.partition(" ")
    for name in ("public", "private", "nothing"):
        url = f"http://127.0.0.1{path.format(org='acme', name=name, lock_id='7')}"
        answered = people[caller].request(method, url, json={"path": "a.bin"} if method == "POST" else None)
        assert answered.status_code == 404
        assert "keeps no locks" in answered.json()["message"]
        assert "x-error-code" not in answered.headers


def test_every_route_is_listed(registry: Registered) -> None:
    found = {
        f"{method} {context.path}"
        for context in iter_route_contexts(registry.client.app.routes)  # type: ignore[attr-defined]
        if isinstance(context.original_route, LfsRoute | LinkRoute | LockRoute)
        for method in context.methods or ()
    }
    assert found == {f"POST {LFS}/{row.path}" for row in ROWS} | LINKS | LOCKS
