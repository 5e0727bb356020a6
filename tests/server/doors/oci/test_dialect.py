"""The native API's own dialect of OCI: a model is published by a manifest that has no layers, and found again."""

import base64
import json
from typing import Any

import httpx2
import pytest

from tests.house import Person, Registered
from tests.house.people import API, oid_of, path_of
from tests.server.doors.oci.pushing import IMAGE, ORIGIN, Repository, descriptor, image_manifest

CONFIG = "application/vnd.dreadnode.config.v1+json"
WEIGHTS, CARD = b"weights", b"# Tiny\n"


class NativeRepository(Repository):
    """`org/name` as clients of the API reach it."""

    def __init__(self, person: Person, name: str) -> None:
        super().__init__(person, name)
        self.path = f"{API}/{name}"

    def blob(self, method: str, digest: str, **kwargs: Any) -> httpx2.Response:
        """A request about a blob of the organisation."""
        return self.request(method, f"{API}/{self.name.partition('/')[0]}/blobs/{digest}", **kwargs)

    def manifest(self, version: str, files: dict[str, bytes], **fields: Any) -> dict[str, Any]:
        """The manifest of a version, its config pushed."""
        unset = dict.fromkeys(("framework", "summary", "license", "base_model"))
        artifacts = {path: oid_of(data) for path, data in files.items()}
        config = json.dumps({**unset, "version": version, "artifacts": artifacts, **fields}).encode()
        self.push_blob(config)
        told = {"io.dreadnode.type": "model", "io.dreadnode.name": self.name, "io.dreadnode.version": version}
        return image_manifest(descriptor(CONFIG, config), [], annotations=told)

    def publish(self, version: str, files: dict[str, bytes], **fields: Any) -> httpx2.Response:
        """All that such a client does."""
        for data in files.values():
            if self.blob("HEAD", oid_of(data)).status_code == 404:
                self.push_blob(data)
        return self.push_manifest(self.manifest(version, files, **fields), version)


@pytest.fixture
def native(ada: Person) -> NativeRepository:
    """A repository of ada's that nobody has pushed to."""
    return NativeRepository(ada, f"{ada.name}/tiny")


def refusal(answered: httpx2.Response) -> tuple[int, str]:
    """Status and type of an error in the native body."""
    body = answered.json()
    assert body["code"] == answered.status_code
    assert body["detail"]
    return answered.status_code, str(body["type"])


def test_a_model_is_published_and_resolved(native: NativeRepository, ada: Person) -> None:
    published = native.publish("1.0.0", {"model.bin": WEIGHTS, "README.md": CARD}, summary="tiny", license="mit")
    assert published.status_code == 201, published.text
    detail = ada.get(f"{path_of(native.name)}/1.0.0").json()
    assert detail["artifacts"] == {"model.bin": oid_of(WEIGHTS), "README.md": oid_of(CARD)}
    assert (detail["summary"], detail["license"]) == ("tiny", "mit")
    assert ada.get(path_of(native.name)).json()["version"] == "1.0.0"


def test_what_was_put_is_what_is_got_by_number_by_latest_and_by_digest(native: NativeRepository) -> None:
    put = native.publish("1.0.0", {"model.bin": WEIGHTS})
    digest = put.headers["docker-content-digest"]
    assert put.headers["location"] == f"{native.path}/manifests/1.0.0"
    got = [native.get(f"manifests/{reference}") for reference in ("1.0.0", "latest", digest)]
    assert [(it.status_code, it.headers["docker-content-digest"], it.content) for it in got] == [
        (200, digest, got[0].content)
    ] * 3
    assert got[0].json()["layers"] == []
    assert native.get("tags/list").json() == {"name": native.name, "tags": ["1.0.0", "latest"]}
    head = native.head("manifests/latest")
    assert (head.status_code, head.headers["docker-content-digest"], head.content) == (200, digest, b"")


def test_the_same_again_is_taken_and_anything_else_is_not(native: NativeRepository) -> None:
    first = native.publish("1.0.0", {"model.bin": WEIGHTS})
    again = native.publish("1.0.0", {"model.bin": WEIGHTS})
    assert (first.status_code, again.is_success) == (201, True)
    other = native.publish("1.0.0", {"model.bin": CARD})
    assert other.status_code in (403, 409)
    assert refusal(other)


def test_bytes_that_are_not_there_are_named(native: NativeRepository) -> None:
    refused = native.push_manifest(native.manifest("1.0.0", {"model.bin": b"never sent"}), "1.0.0")
    assert 400 <= refused.status_code < 500
    assert oid_of(b"never sent") in refused.json()["detail"]


def test_a_version_of_another_door_has_a_manifest_here_too(native: NativeRepository, ada: Person) -> None:
    assert ada.publish(f"{native.name}:2.0.0", {"model.bin": WEIGHTS}, summary="elsewhere").status_code == 201
    manifest = native.get("manifests/latest").json()
    assert manifest["config"]["mediaType"] == CONFIG
    digest = manifest["config"]["digest"]
    config = native.blob("GET", digest)
    assert config.json()["artifacts"] == {"model.bin": oid_of(WEIGHTS)}
    assert config.json()["summary"] == "elsewhere"
    head = native.blob("HEAD", digest)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(config.content)))


def test_what_is_no_model_is_not_taken_here(native: NativeRepository) -> None:
    native.push_blob(b"{}")
    image = image_manifest(descriptor("application/vnd.oci.image.config.v1+json", b"{}"), [])
    assert native.push_manifest(image, "1.0.0", IMAGE).status_code in (400, 422)
    assert native.push_manifest(b"nonsense", "1.0.0").status_code in (400, 422)


def test_an_upload_goes_on_at_its_own_addresses(native: NativeRepository) -> None:
    begun = native.post("blobs/uploads/")
    assert begun.status_code == 202
    location = begun.headers["location"]
    assert location.startswith(f"{native.path}/blobs/uploads/")
    sent = native.patch(location, content=WEIGHTS)
    assert native.get(location).status_code == 204
    wrong = native.put(f"{sent.headers['location']}?digest={oid_of(b'other')}")
    assert refusal(wrong)[0] in (400, 422)
    begun = native.post(f"blobs/uploads/?digest={oid_of(WEIGHTS)}", content=WEIGHTS)
    assert begun.status_code == 201
    assert begun.headers["location"] == f"{API}/{native.person.name}/blobs/{oid_of(WEIGHTS)}"
    assert native.get(begun.headers["location"]).content == WEIGHTS
    assert native.delete(native.begin()).status_code == 204


# --- blobs of an organisation


def test_a_head_is_a_200_or_a_404_whatever_is_asked_besides(native: NativeRepository) -> None:
    native.push_blob(WEIGHTS)
    digest = oid_of(WEIGHTS)
    odd: tuple[dict[str, str], ...] = (
        {},
        {"Range": "bytes=90-"},
        {"Range": "bytes=0-1"},
        {"If-None-Match": "*"},
        {"If-Match": '"other"'},
    )
    for headers in odd:
        found = native.blob("HEAD", digest, headers=headers)
        assert (found.status_code, found.headers["content-length"], found.content) == (200, str(len(WEIGHTS)), b"")
        assert found.headers["docker-content-digest"] == digest
    for missing in (oid_of(b"never sent"), "sha256:short", "nonsense", "md5:0", "sha512:" + "0" * 128, "uploads"):
        assert native.blob("HEAD", missing).status_code == 404
        assert refusal(native.blob("GET", missing)) == (404, "not_found_error")


def test_a_blob_answers_to_those_who_see_a_model_that_has_it(
    native: NativeRepository, ada: Person, bob: Person, registry: Registered
) -> None:
    assert native.publish("1.0.0", {"model.bin": WEIGHTS}).status_code == 201
    digest = oid_of(WEIGHTS)
    for method in ("HEAD", "GET"):
        assert native.blob(method, digest).status_code == 200
        assert NativeRepository(bob, native.name).blob(method, digest).status_code == 404
        assert NativeRepository(registry.anonymous, native.name).blob(method, digest).status_code == 404
    ada.patch(f"{path_of(native.name)}/visibility", json={"is_public": True})
    for person in (bob, registry.anonymous):
        assert NativeRepository(person, native.name).blob("GET", digest).content == WEIGHTS
    hidden = Repository(ada, f"{ada.name}/hidden").push_blob(b"a secret")
    assert NativeRepository(bob, native.name).blob("HEAD", hidden).status_code == 404


def test_what_the_organisation_holds_for_no_model_is_told_to_who_may_publish(ada: Person, bob: Person) -> None:
    [oid] = ada.upload(f"{ada.name}/tiny", b"held, and nothing more")
    assert ada.post(f"/org/{ada.name}/members", {"username": bob.name, "role": "reader"}).status_code == 201
    mine, his = (NativeRepository(person, f"{ada.name}/tiny") for person in (ada, bob))
    assert (mine.blob("HEAD", oid).status_code, mine.blob("GET", oid).status_code) == (200, 404)
    assert (his.blob("HEAD", oid).status_code, his.blob("GET", oid).status_code) == (404, 404)


# --- who is asked what


def test_a_credential_comes_unasked(native: NativeRepository, ada: Person) -> None:
    password = base64.b64encode(f"__token__:{ada.token}".encode()).decode()
    headers = {"Authorization": f"Basic {password}"}
    assert ada.client.post(f"{ORIGIN}{native.path}/blobs/uploads/", headers=headers).status_code == 202
    refused = ada.client.post(f"{ORIGIN}{native.path}/blobs/uploads/")
    assert refusal(refused) == (401, "authentication_error")
    assert refused.headers["www-authenticate"].startswith("Bearer realm=")
    assert "service=" not in refused.headers["www-authenticate"]


@pytest.mark.parametrize("slug", ["org", "orgs", "user", "users", "models", "config"])
def test_fixed_words_are_no_organisations(ada: Person, slug: str) -> None:
    for path in (f"{slug}/x/tags/list", f"{slug}/blobs/{oid_of(b'')}"):
        answered = ada.get(f"/{path}")
        assert refusal(answered) == (404, "not_found_error")
        assert "There is nothing at this address" in answered.json()["detail"]


def test_a_slash_too_many_is_nothing(native: NativeRepository) -> None:
    for path in ("tags/list/", "manifests/latest/"):
        assert native.get(path).status_code == 404
    assert native.request("HEAD", f"{API}/{native.person.name}/blobs/{oid_of(b'')}/").status_code == 404


def test_what_is_not_there_is_said_natively(native: NativeRepository) -> None:
    assert refusal(native.get("manifests/1.0.0")) == (404, "not_found_error")
    refused = native.patch("manifests/1.0.0")
    assert refusal(refused) == (405, "invalid_request_error")
    assert refused.headers["allow"] == "DELETE, GET, HEAD, PUT"
    assert native.get("tags/list").json() == {"name": native.name, "tags": []}


@pytest.mark.parametrize("path", ["%ff/tiny/manifests/1.0.0", "ada/tiny/manifests/%ff", "ada/tiny/tags/list?last=%ff"])
def test_an_address_that_is_no_text_is_refused_as_any_other(ada: Person, path: str) -> None:
    assert ada.request("GET", f"{ORIGIN}{API}/{path}").status_code in (404, 422)


@pytest.mark.parametrize("org", ["%ff", "%00", "No.Slug"])
def test_what_no_organisation_is_called_has_no_blobs(ada: Person, org: str) -> None:
    for method in ("HEAD", "GET"):
        assert ada.request(method, f"{ORIGIN}{API}/{org}/blobs/{oid_of(WEIGHTS)}").status_code == 404
