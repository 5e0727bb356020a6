"""Artifacts that container tools push, delete and read, as `pushing` has it of versions."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import httpx2

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"


class Lost(Exception):
    """What the push counted on was collected, or expired, before a manifest named it: it is begun again."""


@dataclass(frozen=True)
class Artifact:
    """Layers under a tag of `org/name`."""

    model: str
    tag: str
    layers: Sequence[bytes]

    @property
    def path(self) -> str:
        return f"/v2/{self.model}"

    @cached_property
    def manifest(self) -> bytes:
        """Unlike any other: its tag stands in it."""
        layers = [_descriptor("application/octet-stream", layer) for layer in self.layers]
        body = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/x-storm"}
        told = {"config": _descriptor(EMPTY, b"{}"), "layers": layers, "annotations": {"tag": self.tag}}
        return json.dumps({**body, **told}).encode()

    @property
    def digest(self) -> str:
        return _digest(self.manifest)


def push_artifact(client: httpx2.Client, artifact: Artifact) -> None:
    """Every blob in one stream, then the manifest. Raises `Lost`."""
    for data in (b"{}", *artifact.layers):
        begun = client.post(f"{artifact.path}/blobs/uploads/")
        assert begun.status_code == 202, begun.text
        sent = _went_on(client.patch(begun.headers["location"], content=data), 202)
        _went_on(client.put(sent.headers["location"], params={"digest": _digest(data)}), 201)
    headers = {"Content-Type": MANIFEST}
    _went_on(client.put(f"{artifact.path}/manifests/{artifact.tag}", content=artifact.manifest, headers=headers), 201)


def delete_artifact(client: httpx2.Client, artifact: Artifact) -> None:
    deleted = client.delete(f"{artifact.path}/manifests/{artifact.digest}")
    assert deleted.status_code == 202, deleted.text


def read_artifact(client: httpx2.Client, artifact: Artifact) -> None:
    """To the byte, with all that its manifest names."""
    found = client.get(f"{artifact.path}/manifests/{artifact.tag}")
    assert found.content == artifact.manifest, (artifact.tag, found.text)
    for data in (b"{}", *artifact.layers):
        blob = client.get(f"{artifact.path}/blobs/{_digest(data)}", follow_redirects=True)
        assert blob.content == data, (artifact.tag, blob.status_code)


def _went_on(answer: httpx2.Response, status: int) -> httpx2.Response:
    if answer.status_code in (404, 409):
        raise Lost(answer.text)
    assert answer.status_code == status, answer.text
    return answer


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(data), "size": len(data)}


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
