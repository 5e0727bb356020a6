"""What one manifest may cost: how much the database is asked for it, what is read of it, and what room it takes."""

import hashlib

import pytest

from tests.conftest import MakeRegistered
from tests.house import Person, Registered
from tests.server.doors.oci.pushing import (
    EMPTY,
    IMAGE,
    IMAGE_CONFIG,
    INDEX,
    Repository,
    as_bytes,
    descriptor,
    digest_of,
    error_of,
    files_manifest,
    image_manifest,
    index_manifest,
    message_of,
)
from tests.server.doors.oci.test_dialect import NativeRepository
from tests.server.doors.oci.test_discovery import next_of, refer
from tests.server.doors.oci.test_pulling import statements
from tests.server.doors.oci.test_uploading import registry_of

ELSEWHERE = "application/vnd.oci.image.layer.nondistributable.v1.tar"
SUBJECT = digest_of(b"not there")


def elsewhere(count: int) -> list[dict[str, object]]:
    """So many layers that nobody may distribute, and nobody has pushed."""
    names = (hashlib.sha256(str(place).encode()).hexdigest() for place in range(count))
    return [{"mediaType": ELSEWHERE, "digest": f"sha256:{name}", "size": 1} for name in names]


# --- how much is asked of the database


@pytest.mark.only("sqlite")
def test_layers_that_are_not_held_are_looked_up_many_at_a_time(repo: Repository, registry: Registered) -> None:
    config = descriptor(IMAGE_CONFIG, b"{}")
    repo.push_blob(b"{}")
    asked = []
    for count in (1, 900):
        with statements(registry_of(registry).database) as found:
            put = repo.push_manifest(image_manifest(config, elsewhere(count)))
        assert put.status_code == 201, put.text
        asked.append(len(found))
    assert asked[1] - asked[0] <= 6  # 900 are two batches, not 900 questions


def test_one_layer_named_often_is_one_thing_and_must_be_as_long_each_time(repo: Repository) -> None:
    [layer] = elsewhere(1)
    repo.push_blob(b"{}")
    config = descriptor(IMAGE_CONFIG, b"{}")
    assert repo.push_manifest(image_manifest(config, [layer] * 3)).status_code == 201
    wrong = {**config, "size": 3}
    assert error_of(repo.push_manifest(image_manifest(config, [config, wrong]))) == (400, "MANIFEST_INVALID")


@pytest.mark.parametrize("kind", ["image", "index"])
def test_a_manifest_names_ten_thousand_things_and_no_more(repo: Repository, kind: str) -> None:
    repo.push_blob(b"{}")
    if kind == "image":
        refused = repo.push_manifest(image_manifest(descriptor(IMAGE_CONFIG, b"{}"), elsewhere(10_000)))
    else:
        named = [{**each, "mediaType": IMAGE} for each in elsewhere(10_001)]
        refused = repo.push_manifest(index_manifest(named), media_type=INDEX)
    assert error_of(refused) == (400, "MANIFEST_INVALID")
    assert "10000" in message_of(refused)


# --- referrers


@pytest.mark.only("sqlite")
def test_of_referrers_only_those_of_the_page_are_read(repo: Repository, registry: Registered) -> None:
    digests = refer(repo, SUBJECT, 5)
    with statements(registry_of(registry).database) as found:
        page = repo.get(f"referrers/{SUBJECT}?n=1")
    assert [each["digest"] for each in page.json()["manifests"]] == digests[:1]
    assert next_of(page) is not None
    [whole] = [each for each in found if "manifests.annotations" in each]
    assert "manifests.id IN" in whole


def test_a_page_of_referrers_ends_before_it_is_too_long_for_tools(repo: Repository) -> None:
    digests = refer(repo, SUBJECT, 60, annotation="x" * 60_000)
    page = repo.get(f"referrers/{SUBJECT}")
    assert len(page.content) < 4 * 2**20
    path = next_of(page)
    assert path is not None
    listed = [*page.json()["manifests"], *repo.get(path).json()["manifests"]]
    assert [each["digest"] for each in listed] == digests
    assert all(len(each["annotations"]["org.example.place"]) > 60_000 for each in listed)


def test_annotations_that_are_very_long_are_in_the_manifest_alone(repo: Repository) -> None:
    digests = refer(repo, SUBJECT, 5, annotation="x" * 2**20)
    listed = repo.get(f"referrers/{SUBJECT}").json()["manifests"]
    assert [(each["digest"], "annotations" in each) for each in listed] == [(digest, False) for digest in digests]
    kept = repo.get(f"manifests/{digests[0]}").json()
    assert len(kept["annotations"]["org.example.place"]) > 2**20


@pytest.mark.only("sqlite")
@pytest.mark.parametrize("written", ["%00", "a%00b", "%ff"])
def test_a_type_that_no_manifest_can_have_is_not_looked_for(
    repo: Repository, registry: Registered, written: str
) -> None:
    refer(repo, SUBJECT, 1)
    with statements(registry_of(registry).database) as found:
        got = repo.get(f"referrers/{SUBJECT}?artifactType={written}")
    assert (got.status_code, got.json()["manifests"]) == (200, [])
    assert not [each for each in found if "manifests.artifact_type" in each]


# --- room


def test_manifests_count_towards_the_quota(make_registered: MakeRegistered) -> None:
    ada = make_registered(quota_org_bytes=10_000).user("ada")
    repo = Repository(ada, "ada/tiny")
    kept = index_manifest([], annotations={"org.example.long": "x" * 6_000})
    assert repo.push_manifest(kept, "a", INDEX).status_code == 201
    refused = repo.push_manifest(index_manifest([], annotations={"org.example.long": "y" * 6_000}), "b", INDEX)
    assert error_of(refused) == (413, "SIZE_INVALID")
    assert "quota_org_bytes" in message_of(refused)
    assert error_of(repo.get("manifests/b")) == (404, "MANIFEST_UNKNOWN")
    assert repo.push_manifest(kept, "b", INDEX).status_code == 201  # nothing more of it
    assert error_of(repo.patch(repo.begin(), content=bytes(5_000))) == (413, "SIZE_INVALID")
    assert repo.delete(f"manifests/{digest_of(as_bytes(kept))}").status_code == 202
    assert repo.push_manifest(index_manifest([], annotations={"a": "y" * 6_000}), "b", INDEX).status_code == 201


def test_the_manifest_of_a_version_counts_towards_the_quota_too(make_registered: MakeRegistered) -> None:
    ada = make_registered(quota_org_bytes=10_000).user("ada")
    repo = Repository(ada, "ada/tiny")
    refused = repo.push_files("1.0.0", {"a.bin": b"a"}, annotations={"org.example.long": "x" * 10_000})
    assert error_of(refused) == (413, "SIZE_INVALID")
    assert "quota_org_bytes" in message_of(refused)
    assert repo.get("tags/list").json()["tags"] == []


def test_no_manifest_is_kept_when_the_disk_is_down_to_its_floor(make_registered: MakeRegistered) -> None:
    ada = make_registered(free_disk_floor_bytes=2**60).user("ada")
    refused = Repository(ada, "ada/tiny").push_manifest(index_manifest([]), "a", INDEX)
    assert error_of(refused) == (413, "SIZE_INVALID")
    assert "free_disk_floor_bytes" in message_of(refused)


# --- one digest, and references that are none


def test_a_manifest_of_the_native_dialect_is_deleted_by_its_digest(ada: Person) -> None:
    native, repo = NativeRepository(ada, f"{ada.name}/tiny"), Repository(ada, f"{ada.name}/tiny")
    repo.push_blob(b"weights")
    manifest = native.manifest("1.0.0", {"model.bin": b"weights"})
    assert repo.push_manifest(manifest, "1.0.0").status_code == 201
    deleted = repo.delete(f"manifests/{digest_of(as_bytes(manifest))}")
    assert deleted.status_code == 202, deleted.text
    for reference in ("1.0.0", digest_of(as_bytes(manifest))):
        assert error_of(repo.get(f"manifests/{reference}")) == (404, "MANIFEST_UNKNOWN")
    assert ada.get(f"/org/{ada.name}/models/tiny/1.0.0").status_code == 404


def test_a_number_pushed_with_a_sha512_answers_with_it(repo: Repository) -> None:
    repo.push_blob(b"{}")
    repo.push_blob(b"weights")
    content = as_bytes(files_manifest({"a.bin": b"weights"}))
    digest = digest_of(content, "sha512")
    put = repo.put(f"manifests/{digest}?tag=2.0.0", content=content, headers={"Content-Type": IMAGE})
    assert put.status_code == 201, put.text
    assert repo.head("manifests/2.0.0").headers["docker-content-digest"] == digest


@pytest.mark.parametrize("written", ["%ff-image", "%ff", "x%00-image", "%ED%A0%80"])
def test_what_can_be_no_tag_is_not_there_to_be_deleted(repo: Repository, written: str) -> None:
    refer(repo, SUBJECT, 1)
    assert error_of(repo.delete(f"manifests/{written}")) == (404, "MANIFEST_UNKNOWN")


def test_a_config_that_was_made_is_still_found_for_a_manifest_that_names_it(repo: Repository, ada: Person) -> None:
    assert ada.publish(f"{repo.name}:1.0.0", {"model.bin": b"weights"}).status_code == 201
    made = repo.get("manifests/1.0.0").json()
    again = {**made, "annotations": {"org.example.mine": "yes"}}
    assert repo.push_manifest(again, "mine").status_code == 201
    wrong = {**again, "config": {**made["config"], "size": made["config"]["size"] + 1}}
    assert error_of(repo.push_manifest(wrong, "wrong")) == (400, "MANIFEST_INVALID")
    nobody = image_manifest(descriptor(EMPTY, b"nobody has this"), [])
    assert error_of(repo.push_manifest(nobody, "nobody")) == (404, "MANIFEST_BLOB_UNKNOWN")
