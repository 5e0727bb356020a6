"""How the data of a release was made: run with that release's code, `python -m tests.server.db.data.building FOLDER`.

It leaves the rows as SQL, and as JSON the tokens and what the release answered. The bytes need not be kept: they are
what is written here.
"""

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import httpx2

from tests.house import Person, Registered
from tests.house.people import oid_of
from tests.house.registries import open_registered

PART_BYTES = 64 * 1024
TINY, OPEN = "/org/acme/models/Tiny.Net", "/org/ada/models/open"
HALF = bytes(range(256)) * 256 * 3  # three parts, of which two arrived
NEVER_SENT = b"never sent"
VERSIONS: dict[str, dict[str, object]] = {
    "1.0.0": {
        "summary": "the first — größer als nichts",
        "description": "# Card\n\nline 'two' \"quoted\" \\ back; 🦀",
        "tags": ["vision", "Größe"],
        "license": "mit",
        "metrics": {"accuracy": 0.5, "big": 2**53, "note": "x"},
        "task_categories": ["image-classification"],
    },
    "1.1.0": {
        "summary": "second",
        "aliases": ["production"],
        "dataset_refs": ["acme/data", {"name": "d", "rows": 3}],
    },
    "2.0.0-rc.1": {"summary": "candidate"},
    "2.0.0+build.7": {
        "summary": "with build metadata",
        "origin": {"run": {"id": 7, "by": "ada"}},
        "language": ["en", "de"],
    },
}
ASKED = (
    TINY,
    *(f"{TINY}/{rest}" for rest in ("versions", "1.0.0", "1.1.0", "2.0.0-rc.1", "aliases", "production", "%5E1")),
    "/org/acme/models?sort_by=name",
    "/org/acme/models/facets",
    "/org/acme/models/activity",
    "/org/acme/audit",
    "/org/acme/members",
    "/org/acme/service-accounts",
    "/org/ada/models?include_public=true",
    OPEN,
    f"{OPEN}/versions",
)


def weights(number: str) -> bytes:
    """The weights of a version of Tiny.Net."""
    return b"weights of " + number.encode()


def stored() -> list[bytes]:
    """All bytes that were ever stored."""
    others = (b"read me", b"public bytes", b"", b"deleted bytes", b"gone bytes")
    return [*others, *(weights(number) for number in VERSIONS)]


def build(folder: Path) -> None:
    """Fill a registry and write down what it holds and answers."""
    with open_registered(data=folder / "data", part_size_bytes=PART_BYTES) as registered:
        people = _people(registered)
        _publish_tiny(people["ada"], people["acme-owner"], people["bob"])
        _publish_open(people["ada"])
        _leave_unfinished(people["ada"])
        registry = registered.client.app.state.registry  # type: ignore[attr-defined]
        registry.usage.write_down(registry.database)
        answers = {path: _done(people[asker_of(path)].get(path)).json() for path in ASKED}
    tokens = {name: person.token for name, person in people.items()}
    (folder / "release.json").write_text(json.dumps({"tokens": tokens, "answers": answers}, indent=1) + "\n")
    with closing(sqlite3.connect(folder / "data/steelyard.sqlite3")) as database:
        (folder / "release.sql").write_text("\n".join(database.iterdump()) + "\n")


def asker_of(path: str) -> str:
    """Whose token a path is asked with."""
    return "acme-owner" if "/acme/" in path else "ada"


def _people(registered: Registered) -> dict[str, Person]:
    ada, bob, _ = (registered.user(name) for name in ("ada", "bob", "eve"))
    acme = registered.org("acme", ada="contributor", bob="reader")
    _done(acme.post("/org/acme/service-accounts", {"name": "ci", "role": "contributor"}))
    pipeline = _done(acme.post("/org/acme/service-accounts/ci/api-keys", {"name": "pipeline"})).json()
    lost = _done(bob.post("/user/api-keys", {"name": "lost"})).json()
    _done(bob.delete(f"/user/api-keys/{lost['id']}"))
    _done(registered.admin.patch("/users/eve", {"disabled": True}))
    others = {"ci": pipeline["key"], "revoked": lost["key"]}
    named = {"admin": registered.admin, "ada": ada, "bob": bob, "acme-owner": acme}
    return named | {name: Person(registered.client, name, token) for name, token in others.items()}


def _publish_tiny(ada: Person, owner: Person, bob: Person) -> None:
    for number, fields in VERSIONS.items():
        files = {"model.safetensors": weights(number), "README.md": b"read me"}
        _done(ada.publish(f"acme/Tiny.Net:{number}", files, **fields))
    _done(owner.post(f"{TINY}/1.0.0/aliases", {"alias": "stable", "protected": True}))
    _done(owner.post(f"{TINY}/2.0.0+build.7/aliases", {"alias": "production"}))
    _done(owner.post(f"{TINY}/1.0.0/aliases", {"alias": "passing"}))
    _done(owner.delete(f"{TINY}/1.0.0/aliases/passing"))
    _done(owner.put(f"{TINY}/1.0.0/metrics", {"accuracy": 0.75, "note": None, "loss": 1e-3}))
    _done(owner.put(f"{TINY}/1.1.0/yank", {"reason": "wrong labels"}))
    _done(bob.post(f"{TINY}/1.0.0/download"))
    _done(bob.get(f"{TINY}/1.0.0/files/README.md"))


def _publish_open(ada: Person) -> None:
    of_tiny = {"base_model": "acme/Tiny.Net", "origin": {"base_model": "acme/Tiny.Net"}}
    _done(ada.publish("ada/open:1.0.0", {"a.bin": b"public bytes"}, is_public=True, **of_tiny))
    _done(ada.publish("ada/open:1.1.0", {"a.bin": b"public bytes", "b/c.bin": b""}))
    _done(ada.publish("ada/open:1.2.0", {"a.bin": b"deleted bytes"}))
    _done(ada.delete(f"{OPEN}/1.2.0"))
    _done(ada.publish("ada/gone:1.0.0", {"a.bin": b"gone bytes"}))
    _done(ada.delete("/org/ada/models/gone"))
    _done(bump(ada))


def bump(ada: Person) -> httpx2.Response:
    """Publish the next minor of ada/open, under a key."""
    body = {"bump": "minor", "artifacts": {"a.bin": oid_of(b"public bytes")}}
    return ada.post(f"{OPEN}/versions", body, headers={"Idempotency-Key": "the-same-again"})


def _leave_unfinished(ada: Person) -> None:
    [item] = _done(ada.offer("ada/half", HALF)).json()["objects"]
    links = item["actions"]["upload"]["header"]
    for number in (1, 3):
        part = HALF[(number - 1) * PART_BYTES : number * PART_BYTES]
        _done(ada.client.put(links[str(number)], content=part))
    _done(ada.offer("ada/half", NEVER_SENT))


def _done(response: httpx2.Response) -> httpx2.Response:
    assert response.is_success, response.text
    return response


if __name__ == "__main__":
    build(Path(sys.argv[1]))
