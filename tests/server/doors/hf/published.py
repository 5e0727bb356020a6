"""Models that were published by the native API, for the Hub's clients to find."""

from typing import Any

from tests.house import Person
from tests.house.people import Files, path_of

FILES: Files = {"README.md": b"# tiny\n", "weights/a.bin": b"a" * 1000, "weights/b/c d.bin": b"c" * 70_000}


def publish(person: Person, name: str = "tiny", version: str = "1.0.0", files: Files = FILES, **fields: Any) -> str:
    """A version of somebody's model; answers the model's full name."""
    published = person.publish(f"{person.name}/{name}:{version}", files, **fields)
    assert published.status_code == 201, published.text
    return f"{person.name}/{name}"


def open_to_all(person: Person, repo: str) -> None:
    """Make a model public."""
    assert person.patch(f"{path_of(repo)}/visibility", {"is_public": True}).status_code == 200


def set_alias(person: Person, repo: str, version: str, alias: str) -> None:
    """Point an alias at a version."""
    assert person.post(f"{path_of(repo)}/{version}/aliases", {"alias": alias}).status_code == 200
