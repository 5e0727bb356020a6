"""A model as a test speaks of it."""

from typing import Any

import httpx2

from tests.house import Person
from tests.house.people import Files, path_of


class ModelAt:
    """A model that need not be there yet, as one person reaches it. Paths are below it: `tiny.get("/1.0.0")`."""

    def __init__(self, person: Person, ref: str) -> None:
        self.person, self.ref, self.path = person, ref, path_of(ref)
        self.org = ref.partition("/")[0]

    def seen_by(self, person: Person) -> "ModelAt":
        """The same model, as somebody else reaches it."""
        return ModelAt(person, self.ref)

    def publish(self, *versions: str, files: Files | None = None, **fields: Any) -> httpx2.Response:
        """Publish versions, one after the other, each with the same files and fields; answers the last response."""
        for version in versions:
            published = self.person.publish(f"{self.ref}:{version}", files, **fields)
            assert published.status_code == 201, published.text
        return published

    def post_version(self, **body: Any) -> httpx2.Response:
        """The bare call behind publishing."""
        headers = body.pop("headers", {})
        return self.post("/versions", body, headers=headers)

    def get(self, below: str = "", **kwargs: Any) -> httpx2.Response:
        return self.person.get(self.path + below, **kwargs)

    def head(self, below: str = "", **kwargs: Any) -> httpx2.Response:
        return self.person.request("HEAD", self.path + below, **kwargs)

    def post(self, below: str, json: Any = None, **kwargs: Any) -> httpx2.Response:
        return self.person.post(self.path + below, json, **kwargs)

    def put(self, below: str, json: Any = None, **kwargs: Any) -> httpx2.Response:
        return self.person.put(self.path + below, json, **kwargs)

    def patch(self, below: str, json: Any = None, **kwargs: Any) -> httpx2.Response:
        return self.person.patch(self.path + below, json, **kwargs)

    def delete(self, below: str = "", **kwargs: Any) -> httpx2.Response:
        return self.person.delete(self.path + below, **kwargs)

    def latest(self) -> str:
        """The number of the latest version."""
        return self.resolved("latest")

    def resolved(self, reference: str) -> str:
        """The number of the version that a reference leads to, the reference as it stands in a path."""
        found = self.get(f"/{reference}")
        assert found.status_code == 200, found.text
        return str(found.json()["version"])

    def set_alias(self, alias: str, version: str, **fields: Any) -> httpx2.Response:
        return self.post(f"/{version}/aliases", {"alias": alias, **fields})

    def make_public(self) -> None:
        assert self.patch("/visibility", {"is_public": True}).status_code == 200


def pages(person: Person, path: str, key: str, limit: int) -> list[list[Any]]:
    """All the pages of a list that goes on by a cursor."""
    found: list[list[Any]] = []
    cursor = None
    while not found or cursor:
        query = {"limit": str(limit), **({"cursor": cursor} if cursor else {})}
        answered = person.get(path, params=query).json()
        found.append(answered[key])
        cursor = answered["next_cursor"]
    return found


def refusal(response: httpx2.Response) -> tuple[int, str]:
    """Status and type of an error whose body is whole and right (contract section 3)."""
    body = response.json()
    expected = {"code", "detail", "type"} | ({"errors"} if response.status_code == 422 else set())
    assert set(body) == expected, body
    assert body["code"] == response.status_code
    assert body["detail"]
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    return response.status_code, body["type"]


def faults(response: httpx2.Response) -> dict[str, str]:
    """What a 422 names: where, joined by dots, and what is wrong there."""
    assert refusal(response) == (422, "validation_error")
    return {".".join(map(str, item["loc"])): item["msg"] for item in response.json()["errors"]}
