"""Manifests in and out, as far as a registry of models does more or other things than the specification tells."""

import json
from typing import Any

import pytest

from steelyard.server.context import Registry
from tests.house import Person, Registered
from tests.server.doors.oci.pushed_sets import artifact, image, index
from tests.server.doors.oci.pushing import (
    IMAGE,
    IMAGE_CONFIG,
    LAYER,
    Repository,
    as_bytes,
    descriptor,
    digest_of,
    error_of,
    image_manifest,
    message_of,
)
from tests.server.doors.oci.requirements import push_set

FILES = {"config.json": b"{}", "model.safetensors": b"weights"}


def taken(person: Person, name: str, number: str, registry: Registry) -> int:
    """How often a version was taken, once all is written down."""
    registry.usage.write_down(registry.database)
    org, model = name.split("/")
    shown = person.get(f"/org/{org}/models/{model}/{number}")
    assert shown.status_code == 200, shown.text
    return int(shown.json()["download_count"])


@pytest.fixture
def published(ada: Person, repo: Repository) -> Repository:
    """A version 1.0.0 that came by the native API."""
    made = ada.publish(f"{repo.name}:1.0.0", FILES)
    assert made.status_code == 201, made.text
    return repo


def test_a_version_is_an_artifact_under_all_its_tags(published: Repository, ada: Person) -> None:
    aliased = ada.post(f"/org/{ada.name}/models/tiny/1.0.0/aliases", {"alias": "prod"})
    assert aliased.status_code == 200, aliased.text
    by_number = published.get("manifests/1.0.0")
    assert by_number.status_code == 200, by_number.text
    for reference in ("latest", "prod", "v1.0.0", by_number.headers["docker-content-digest"]):
        got = published.get(f"manifests/{reference}")
        assert (got.status_code, got.content) == (200, by_number.content), reference
    layers = by_number.json()["layers"]
    assert [published.get(f"blobs/{layer['digest']}").content for layer in layers] == list(FILES.values())


def test_a_versions_number_is_found_whatever_the_case_of_its_model(ada: Person) -> None:
    assert ada.publish(f"{ada.name}/Tiny-Model:1.0.0+cu12", FILES).status_code == 201
    got = Repository(ada, f"{ada.name}/tiny-model").get("manifests/1.0.0_cu12")
    assert (got.status_code, got.json()["artifactType"]) == (200, "application/vnd.cncf.model.manifest.v1+json")


def test_the_twin_is_an_image_under_every_tag_of_its_version(published: Repository) -> None:
    twin = published.get("manifests/1.0.0-image")
    assert (twin.status_code, twin.json()["config"]["mediaType"]) == (200, IMAGE_CONFIG), twin.text
    assert published.get("manifests/latest-image").content == twin.content
    assert published.head("manifests/1.0.0-image").headers["docker-content-digest"] == digest_of(twin.content)


def test_a_twin_may_be_pushed_again_under_another_tag(published: Repository) -> None:
    twin = published.get("manifests/1.0.0-image")
    assert published.push_manifest(twin.content, "1.0.0-image").status_code == 201
    changed = as_bytes({**twin.json(), "annotations": {"org.example.mine": "yes"}})
    put = published.push_manifest(changed, "mine")
    assert put.status_code == 201, put.text
    assert published.get("manifests/mine").content == changed


def test_whoever_has_it_already_is_told_so_and_not_counted(
    published: Repository, ada: Person, registry: Registered
) -> None:
    state: Registry = registry.client.app.state.registry  # type: ignore[attr-defined]
    head = published.head("manifests/1.0.0")
    kept = published.get("manifests/1.0.0", headers={"If-None-Match": head.headers["etag"]})
    assert (kept.status_code, kept.content) == (304, b"")
    assert taken(ada, published.name, "1.0.0", state) == 0
    assert published.get("manifests/1.0.0", headers={"If-None-Match": '"other"'}).status_code == 200
    assert taken(ada, published.name, "1.0.0", state) == 1


def test_a_model_is_public_or_private_with_its_manifests(published: Repository, ada: Person, bob: Person) -> None:
    assert error_of(published.by(bob).get("manifests/1.0.0")) == (404, "NAME_UNKNOWN")
    shown = ada.patch(f"/org/{ada.name}/models/tiny/visibility", {"is_public": True})
    assert shown.status_code == 200, shown.text
    assert published.by(bob).get("manifests/1.0.0").status_code == 200
    assert error_of(published.by(bob).push_manifest(artifact().content, "mine")) == (403, "DENIED")
    assert error_of(published.by(bob).delete("manifests/1.0.0")) == (403, "DENIED")


def test_a_first_push_makes_the_model_private(repo: Repository, ada: Person, bob: Person) -> None:
    assert repo.push_manifest(index("empty", []).content, "empty", index("empty", []).media_type).status_code == 201
    assert repo.get("manifests/empty").status_code == 200
    assert error_of(repo.by(bob).get("manifests/empty")) == (404, "NAME_UNKNOWN")


def test_nobody_pushes_where_he_may_not(repo: Repository, bob: Person, registry: Registered) -> None:
    made = index("empty", [])
    by_bob = repo.by(bob).push_manifest(made.content, "empty", made.media_type)
    assert error_of(by_bob) in ((404, "NAME_UNKNOWN"), (403, "DENIED"))
    by_nobody = repo.by(registry.anonymous).push_manifest(made.content, "empty", made.media_type)
    assert error_of(by_nobody) == (401, "UNAUTHORIZED")
    assert repo.get("tags/list").json()["tags"] == []


@pytest.mark.parametrize("tag", ["1.0.0", "v1.0.0", "latest", "1.0.0-image", "latest-image"])
def test_an_image_does_not_take_the_place_of_a_version(published: Repository, tag: str) -> None:
    made = image()
    for blob in made.blobs:
        published.push_blob(blob)
    before = published.get("manifests/1.0.0").content
    put = published.push_manifest(made.content, tag)
    assert error_of(put) == (403, "DENIED")
    assert published.get("manifests/1.0.0").content == before
    assert published.get(f"manifests/{made.digest}").status_code == 404  # nothing of it is kept


def test_an_image_under_a_number_is_kept_as_pushed_and_the_number_taken(repo: Repository, ada: Person) -> None:
    push_set(repo, [image("1.0.0")])
    assert repo.get("manifests/1.0.0").content == image().content
    assert ada.publish(f"{repo.name}:1.0.0", FILES).status_code == 409
    assert repo.get("manifests/1.0.0").content == image().content


def test_signatures_are_kept_as_pushed(published: Repository) -> None:
    subject = published.get("manifests/1.0.0")
    tag = subject.headers["docker-content-digest"].replace(":", "-") + ".sig"
    made = artifact(tag, subject=descriptor(IMAGE, subject.content))
    for blob in made.blobs:
        published.push_blob(blob)
    assert published.push_manifest(made.content, tag).status_code == 201
    assert published.get(f"manifests/{tag}").content == made.content
    [told] = published.get(f"referrers/{digest_of(subject.content)}").json()["manifests"]
    assert told["digest"] == made.digest


def test_pushing_a_versions_manifest_to_a_name_sets_an_alias(published: Repository, ada: Person) -> None:
    content = published.get("manifests/1.0.0").content
    assert published.push_manifest(content, "prod").status_code == 201
    listed = ada.get(f"/org/{ada.name}/models/tiny/aliases").json()
    assert "prod" in json.dumps(listed)
    assert ada.get(f"/org/{ada.name}/models/tiny/prod").json()["version"] == "1.0.0"


def test_a_type_with_parameters_or_none_is_understood(repo: Repository) -> None:
    made = image()
    for blob in made.blobs:
        repo.push_blob(blob)
    for tag, headers in (("with", {"Content-Type": f"{IMAGE}; charset=utf-8"}), ("without", {})):
        assert repo.put(f"manifests/{tag}", content=made.content, headers=headers).status_code == 201
        assert repo.get(f"manifests/{tag}").headers["content-type"] == IMAGE


def test_a_layer_of_another_length_is_refused(repo: Repository) -> None:
    for blob in (b"{}", b"layer"):
        repo.push_blob(blob)
    layer: dict[str, Any] = {**descriptor(LAYER, b"layer"), "size": 6}
    put = repo.push_manifest(image_manifest(descriptor(IMAGE_CONFIG, b"{}"), [layer]), "one")
    assert error_of(put) == (400, "MANIFEST_INVALID")
    assert digest_of(b"layer") in message_of(put)


def test_the_same_bytes_as_another_type_are_refused(repo: Repository) -> None:
    content = b'{"schemaVersion": 2, "manifests": []}'
    docker_list = "application/vnd.docker.distribution.manifest.list.v2+json"
    assert repo.push_manifest(content, "one", docker_list).status_code == 201
    put = repo.push_manifest(content, "two", "application/vnd.oci.image.index.v1+json")
    assert error_of(put) == (400, "MANIFEST_INVALID")
    assert repo.get("manifests/one").headers["content-type"] == docker_list


def test_one_push_takes_all_its_tags_or_none(published: Repository) -> None:
    made = image()
    for blob in made.blobs:
        published.push_blob(blob)
    put = published.push_manifest(made.content, f"{made.digest}?tag=mine&tag=1.0.0")
    assert error_of(put) == (403, "DENIED")
    assert error_of(published.get("manifests/mine")) == (404, "MANIFEST_UNKNOWN")
    too_many = "&".join(f"tag=t{place}" for place in range(51))
    assert error_of(published.push_manifest(made.content, f"{made.digest}?{too_many}")) == (400, "MANIFEST_INVALID")


def test_the_native_dialect_takes_nothing_but_models(ada: Person, repo: Repository) -> None:
    put = repo.put(f"/api/v1/{repo.name}/manifests/1.0.0", content=index(None, []).content)
    assert put.status_code == 422, put.text
    assert "container tools push" in put.json()["detail"].lower()
