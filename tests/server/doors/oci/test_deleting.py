"""Deleting by container tools: what goes, what stays, and who may."""

import pytest

from tests.house import Person, Registered
from tests.server.doors.oci.pushed_sets import image
from tests.server.doors.oci.pushing import Repository, digest_of, error_of, message_of
from tests.server.doors.oci.requirements import push_set

FILES = {"model.safetensors": b"weights"}


@pytest.fixture
def published(ada: Person, repo: Repository) -> Repository:
    """The versions 1.0.0 and 2.0.0 of the same files."""
    for number in ("1.0.0", "2.0.0"):
        assert ada.publish(f"{repo.name}:{number}", FILES).status_code == 201
    return repo


@pytest.fixture
def colleague(ada: Person, registry: Registered, published: Repository) -> Repository:
    """The same repository, as a contributor of its organisation has it."""
    person = registry.user(f"{ada.name}-colleague")
    added = ada.post(f"/org/{ada.name}/members", {"username": person.name, "role": "contributor"})
    assert added.status_code in (200, 201), added.text
    return published.by(person)


def has(person: Person, number: str) -> bool:
    """Whether the version is there for the native API."""
    return person.get(f"/org/{person.name}/models/tiny/{number}").status_code == 200


def test_a_version_is_deleted_by_its_tag(published: Repository, ada: Person) -> None:
    digest = published.get("manifests/1.0.0").headers["docker-content-digest"]
    assert published.delete("manifests/1.0.0").status_code == 202
    assert not has(ada, "1.0.0")
    for reference in ("1.0.0", "v1.0.0", digest, "1.0.0-image"):
        assert error_of(published.get(f"manifests/{reference}")) == (404, "MANIFEST_UNKNOWN"), reference
    assert published.get(f"blobs/{digest_of(FILES['model.safetensors'])}").status_code == 200  # the other has it, too


def test_a_version_is_deleted_by_its_digest_as_skopeo_does_it(published: Repository, ada: Person) -> None:
    digest = published.get("manifests/1.0.0").headers["docker-content-digest"]
    assert published.delete(f"manifests/{digest}").status_code == 202
    assert (has(ada, "1.0.0"), has(ada, "2.0.0")) == (False, True)
    assert error_of(published.get(f"manifests/{digest}")) == (404, "MANIFEST_UNKNOWN")


@pytest.mark.parametrize("by_digest", [True, False], ids=["by digest", "by tag"])
def test_a_version_stays_while_an_alias_holds_it(published: Repository, ada: Person, by_digest: bool) -> None:
    digest = published.get("manifests/1.0.0").headers["docker-content-digest"]
    assert ada.post(f"/org/{ada.name}/models/tiny/1.0.0/aliases", {"alias": "prod"}).status_code == 200
    refused = published.delete(f"manifests/{digest if by_digest else '1.0.0'}")
    assert error_of(refused) == (403, "DENIED")
    assert "prod" in message_of(refused)
    assert has(ada, "1.0.0")
    assert published.delete("manifests/prod").status_code == 202
    assert error_of(published.get("manifests/prod")) == (404, "MANIFEST_UNKNOWN")
    assert has(ada, "1.0.0")


def test_contributors_delete_tags_and_owners_versions(published: Repository, colleague: Repository) -> None:
    push_set(colleague, [image("cache")])
    assert error_of(colleague.delete("manifests/1.0.0")) == (403, "DENIED")
    assert error_of(colleague.delete(f"manifests/{image().digest}")) == (403, "DENIED")
    assert colleague.delete("manifests/cache").status_code == 202
    assert published.delete(f"manifests/{image().digest}").status_code == 202


@pytest.mark.parametrize("tag", ["latest", "1.0.0-image"])
def test_what_goes_with_a_version_is_not_deleted_alone(published: Repository, tag: str) -> None:
    digest = published.get(f"manifests/{tag}").headers["docker-content-digest"]
    assert error_of(published.delete(f"manifests/{tag}")) == (403, "DENIED")
    assert published.get(f"manifests/{tag}").headers["docker-content-digest"] == digest


def test_a_number_that_was_deleted_is_not_given_again(published: Repository) -> None:
    assert published.delete("manifests/1.0.0").status_code == 202
    made = image()
    for blob in made.blobs:
        published.push_blob(blob)
    assert error_of(published.push_manifest(made.content, "1.0.0")) == (403, "DENIED")
    assert error_of(published.push_files("1.0.0", FILES)) == (403, "DENIED")


def test_a_version_that_was_pushed_with_a_v_goes_with_both_its_tags(repo: Repository) -> None:
    put = repo.push_files("v3.0.0", {"a.bin": b"a"})
    assert put.status_code == 201, put.text
    assert repo.get("manifests/v3.0.0").content == repo.get("manifests/3.0.0").content
    assert repo.delete("manifests/v3.0.0").status_code == 202
    for tag in ("v3.0.0", "3.0.0"):
        assert error_of(repo.get(f"manifests/{tag}")) == (404, "MANIFEST_UNKNOWN")
    assert repo.get("tags/list").json()["tags"] == []


def test_what_cannot_be_a_reference_is_not_there(published: Repository) -> None:
    assert error_of(published.delete("manifests/sha256:baddigeststring")) == (400, "DIGEST_INVALID")
    assert error_of(published.delete("manifests/.hidden")) == (404, "MANIFEST_UNKNOWN")
