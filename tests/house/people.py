"""A registry in this process and the people in it. Everything goes through the public API, nothing past it."""

import hashlib
from collections.abc import Mapping
from typing import Any

import httpx2
from fastapi.testclient import TestClient

Files = Mapping[str, bytes]
API = "/api/v1"


def oid_of(data: bytes) -> str:
    """`sha256:<hex>` of some bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Person:
    """Somebody with a token (or none), and the requests he makes. Paths are below `/api/v1`."""

    def __init__(self, client: httpx2.Client, name: str, token: str | None) -> None:
        self.client, self.name, self.token = client, name, token

    def request(self, method: str, path: str, **kwargs: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers.update(kwargs.pop("headers", {}))
        url = path if path.startswith("http") else API + path
        return self.client.request(method, url, headers=headers, **kwargs)

    def get(self, path: str, **kwargs: Any) -> httpx2.Response:
        return self.request("GET", path, **kwargs)

    def post(self, path: str, json: Any = None, **kwargs: Any) -> httpx2.Response:
        return self.request("POST", path, **({"json": json} if json is not None else {}), **kwargs)

    def put(self, path: str, json: Any = None, **kwargs: Any) -> httpx2.Response:
        return self.request("PUT", path, **({"json": json} if json is not None else {}), **kwargs)

    def patch(self, path: str, json: Any = None, **kwargs: Any) -> httpx2.Response:
        return self.request("PATCH", path, **({"json": json} if json is not None else {}), **kwargs)

    def delete(self, path: str, **kwargs: Any) -> httpx2.Response:
        return self.request("DELETE", path, **kwargs)

    # --- verbs of the registry

    def offer(self, model: str, *blobs: bytes, transfers: tuple[str, ...] = ("basic", "multipart")) -> httpx2.Response:
        """Ask to upload these bytes to the organisation of `org/name`."""
        org, name = model.split("/")
        objects = [{"oid": oid_of(data).removeprefix("sha256:"), "size": len(data)} for data in blobs]
        body = {"operation": "upload", "transfers": list(transfers), "objects": objects}
        return self.post(f"/org/{org}/models/{name}/blobs/batch", body)

    def upload(self, model: str, *blobs: bytes) -> list[str]:
        """Upload bytes; answers their OIDs."""
        offered = self.offer(model, *blobs)
        assert offered.status_code == 200, offered.text
        for data, item in zip(blobs, offered.json()["objects"], strict=True):
            if "actions" in item:
                self._send(data, item)
        return [oid_of(data) for data in blobs]

    def _send(self, data: bytes, item: dict[str, Any]) -> None:
        action = item["actions"]["upload"]
        if "chunk_size" not in action["header"]:
            sent = self.client.put(action["href"], content=data)
        else:
            size = int(action["header"]["chunk_size"])
            for number in range(1, -(-len(data) // size) + 1):
                part = data[(number - 1) * size : number * size]
                assert self.client.put(action["header"][str(number)], content=part).status_code == 200
            sent = self.client.post(action["href"], json={"oid": item["oid"]})
        assert sent.status_code == 200, sent.text

    def publish(self, ref: str, files: Files | None = None, **fields: Any) -> httpx2.Response:
        """Upload files and publish them as `org/name:version`."""
        model, version = ref.split(":")
        files = {"model.safetensors": b"weights of " + ref.encode()} if files is None else files
        self.upload(model, *dict.fromkeys(files.values()))
        artifacts = {path: oid_of(data) for path, data in files.items()}
        return self.post(f"{path_of(model)}/versions", {"version": version, "artifacts": artifacts, **fields})


def path_of(model: str) -> str:
    """The path of `org/name`, below the prefix."""
    org, name = model.split("/")
    return f"/org/{org}/models/{name}"


class Registered:
    """A registry and the people in it; the first is the instance admin."""

    def __init__(self, client: TestClient, admin_token: str) -> None:
        self.client = client
        self.admin = Person(client, "admin", admin_token)
        self.anonymous = Person(client, "anonymous", None)

    def user(self, name: str) -> Person:
        """A new user, with his own organisation."""
        made = self.admin.post("/users", {"username": name, "email_address": f"{name}@example.com"})
        assert made.status_code == 201, made.text
        return Person(self.client, name, made.json()["key"])

    def org(self, slug: str, **members: str) -> Person:
        """A new organisation, its members by role; answers its owner."""
        owner = self.user(f"{slug}-owner")
        assert self.admin.post("/orgs", {"key": slug, "owner": owner.name}).status_code == 201
        for name, role in members.items():
            assert owner.post(f"/org/{slug}/members", {"username": name, "role": role}).status_code == 201
        return owner
