"""What is really at the registry, asked by plain requests, and put there without any of the tools."""

import json
from dataclasses import dataclass

import httpx2

from tests.house.people import Person
from tests.house.scraped import scrape
from tests.oci_clients.samples import MANIFEST, TITLE, Files, Layout, digest_of, files_in

_ANY = {"Accept": "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"}


@dataclass(frozen=True)
class Referee:
    """An owner, who may do everything there. A repository is `org/name`, a reference a tag or a digest."""

    person: Person
    admin: Person

    def push(self, repository: str, tag: str, layout: Layout) -> None:
        """Put a layout there."""
        for digest, data in layout.blobs().items():
            begun = self._ask("POST", f"/v2/{repository}/blobs/uploads/")
            assert begun.status_code == 202, begun.text
            sent = self._ask("PUT", begun.headers["Location"], params={"digest": digest}, content=data)
            assert sent.status_code == 201, sent.text
        put = self._ask(
            "PUT", f"/v2/{repository}/manifests/{tag}", content=layout.manifest, headers={"Content-Type": MANIFEST}
        )
        assert put.status_code == 201, put.text

    def digest(self, repository: str, reference: str) -> str | None:
        """The digest of what a tag leads to."""
        asked = self._ask("HEAD", f"/v2/{repository}/manifests/{reference}", headers=_ANY)
        assert asked.status_code in (200, 404), asked
        return asked.headers["Docker-Content-Digest"] if asked.status_code == 200 else None

    def manifest(self, repository: str, reference: str) -> bytes:
        """A manifest, byte for byte."""
        return self._get(f"/v2/{repository}/manifests/{reference}")

    def blob(self, repository: str, digest: str) -> bytes:
        """Bytes of a repository; they are what their digest says."""
        data = self._get(f"/v2/{repository}/blobs/{digest}")
        assert digest_of(data) == digest
        return data

    def files(self, repository: str, reference: str) -> Files:
        """The files in what a tag leads to: a container image's, or those that the layers of an artifact are."""
        found: dict[str, bytes] = {}
        for layer in json.loads(self.manifest(repository, reference))["layers"]:
            data = self.blob(repository, layer["digest"])
            title = layer.get("annotations", {}).get(TITLE)
            found.update({title: data} if title and not layer["mediaType"].endswith("+gzip") else files_in(data))
        return found

    def tags(self, repository: str) -> list[str]:
        """The tags of a repository."""
        return list(json.loads(self._get(f"/v2/{repository}/tags/list"))["tags"])

    def uploaded_bytes(self) -> float:
        """Bytes that uploads of blobs brought to this server since it began."""
        page = scrape(self.admin)
        routes = {it.labels["route"] for it in page.find("steelyard_http_received_bytes_total")}
        return sum(
            page.value("steelyard_http_received_bytes_total", route=it)
            for it in routes
            if it.startswith("/v2/") and "uploads" in it
        )

    def _get(self, path: str) -> bytes:
        asked = self._ask("GET", path, headers=_ANY, follow_redirects=True)
        assert asked.status_code == 200, f"{path}: {asked.text}"
        return asked.content

    def _ask(self, method: str, path: str, **kwargs: object) -> httpx2.Response:
        url = path if path.startswith("http") else f"{self.person.client.base_url}".rstrip("/") + path
        return self.person.request(method, url, **kwargs)
