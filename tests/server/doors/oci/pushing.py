"""A repository as container tools speak to it, and what they push: blobs, manifests that name them, and errors back."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urljoin

import httpx2

from tests.house import Person

ORIGIN = "http://127.0.0.1"
IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
EMPTY = "application/vnd.oci.empty.v1+json"
TITLE = "org.opencontainers.image.title"


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    """What container tools call some bytes."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def descriptor(media_type: str, data: bytes, *, algorithm: str = "sha256", **annotations: str) -> dict[str, Any]:
    """What a manifest says of some bytes."""
    told = {"mediaType": media_type, "digest": digest_of(data, algorithm), "size": len(data)}
    return {**told, "annotations": annotations} if annotations else told


def image_manifest(config: Mapping[str, Any], layers: Sequence[Mapping[str, Any]], **fields: Any) -> dict[str, Any]:
    """An image manifest of these descriptors, with more fields: `subject`, `artifactType`, `annotations`."""
    return {"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": list(layers), **fields}


def index_manifest(manifests: Sequence[Mapping[str, Any]], **fields: Any) -> dict[str, Any]:
    """An index of these descriptors."""
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(manifests), **fields}


def as_bytes(manifest: Mapping[str, Any] | bytes) -> bytes:
    """A manifest as it is sent."""
    return manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()


def error_of(answered: httpx2.Response) -> tuple[int, str]:
    """Status and code of an error, whose body is as the specification has it."""
    assert answered.headers["docker-distribution-api-version"] == "registry/2.0"
    body = answered.json()
    assert set(body) == {"errors"}, body
    [error] = body["errors"]
    assert error["message"]
    return answered.status_code, str(error["code"])


def message_of(answered: httpx2.Response) -> str:
    """What an error says to people."""
    return str(answered.json()["errors"][0]["message"])


class Repository:
    """`org/name` as somebody reaches it. Paths are below it, or whole as a Location gives them."""

    def __init__(self, person: Person, name: str, origin: str = ORIGIN) -> None:
        self.person, self.name, self.origin = person, name, origin
        self.path = f"/v2/{name}"

    def by(self, person: Person) -> "Repository":
        """The same one, for somebody else."""
        return Repository(person, self.name, self.origin)

    def request(self, method: str, path: str, **kwargs: Any) -> httpx2.Response:
        whole = path if path.startswith(("http", "/v2", "/api")) else f"{self.path}/{path}"
        return self.person.request(method, urljoin(self.origin, whole), **kwargs)

    def get(self, path: str, **kwargs: Any) -> httpx2.Response:
        return self.request("GET", path, **kwargs)

    def head(self, path: str, **kwargs: Any) -> httpx2.Response:
        return self.request("HEAD", path, **kwargs)

    def post(self, path: str, **kwargs: Any) -> httpx2.Response:
        return self.request("POST", path, **kwargs)

    def put(self, path: str, **kwargs: Any) -> httpx2.Response:
        return self.request("PUT", path, **kwargs)

    def patch(self, path: str, **kwargs: Any) -> httpx2.Response:
        return self.request("PATCH", path, **kwargs)

    def delete(self, path: str, **kwargs: Any) -> httpx2.Response:
        return self.request("DELETE", path, **kwargs)

    # --- what tools do

    def begin(self, query: str = "") -> str:
        """Begin an upload; answers where it goes on."""
        begun = self.post(f"blobs/uploads/{query}")
        assert begun.status_code == 202, begun.text
        return str(begun.headers["location"])

    def push_blob(self, data: bytes, algorithm: str = "sha256") -> str:
        """Push bytes in one stream, as tools do; answers their digest."""
        digest = digest_of(data, algorithm)
        sent = self.patch(self.begin(), content=data)
        assert sent.status_code == 202, sent.text
        put = self.put(with_digest(sent.headers["location"], digest))
        assert put.status_code == 201, put.text
        return digest

    def push_manifest(
        self, manifest: Mapping[str, Any] | bytes, reference: str | None = None, media_type: str = IMAGE
    ) -> httpx2.Response:
        """PUT a manifest by a tag, or by its digest."""
        content = as_bytes(manifest)
        path = f"manifests/{reference or digest_of(content)}"
        return self.put(path, content=content, headers={"Content-Type": media_type})

    def push_files(self, reference: str | None, files: Mapping[str, bytes], **fields: Any) -> httpx2.Response:
        """Push files as an oras artifact: blobs with titles and an empty config; then the manifest."""
        for data in {b"{}", *files.values()}:
            self.push_blob(data)
        return self.push_manifest(files_manifest(files, **fields), reference)


def files_manifest(files: Mapping[str, bytes], **fields: Any) -> dict[str, Any]:
    """What oras makes of files: an artifact whose layers have titles."""
    layers = [descriptor(LAYER, data, **{TITLE: path}) for path, data in files.items()]
    kind = {"artifactType": "application/vnd.unknown.artifact.v1"}
    return image_manifest(descriptor(EMPTY, b"{}"), layers, **{**kind, **fields})


def with_digest(location: str, digest: str) -> str:
    """A Location with `digest` put to whatever query it has."""
    return f"{location}{'&' if '?' in location else '?'}digest={digest.replace(':', '%3A')}"
