"""Tags and branches, as the Hub's client makes them; and how a tag that is a version publishes that version."""

from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, RevisionNotFoundError

from tests.house import Person
from tests.house.people import oid_of
from tests.server.doors.hf.hub import HubUser

CARD = b"""---
license: mit
language: no
pipeline_tag: fill-mask
library_name: transformers
tags: [small]
datasets: [acme/words]
base_model: google/bert
metrics: {accuracy: 0.91}
summary: A tiny model
---
# Tiny
"""
FILES = {"README.md": CARD, "config.json": b"{}"}


@pytest.fixture
def repo(ada: Person, hub: HubUser) -> str:
    """A model of ada's, with a card and a file on `main`."""
    repo = hub.api.create_repo(f"{ada.name}/tiny").repo_id
    commit(hub, repo, FILES)
    return repo


def commit(hub: HubUser, repo: str, files: dict[str, bytes], revision: str = "main") -> str:
    operations = [CommitOperationAdd(path, data) for path, data in files.items()]
    return str(hub.api.create_commit(repo, operations, commit_message="Add", revision=revision).oid)


def version(person: Person, repo: str, number: str) -> dict[str, Any]:
    """A version, as the native API tells of it."""
    org, name = repo.split("/")
    found = person.get(f"/org/{org}/models/{name}/{number}")
    assert found.status_code == 200, found.text
    return dict(found.json())


def tags(hub: HubUser, repo: str) -> dict[str, str]:
    return {tag.name: tag.target_commit for tag in hub.api.list_repo_refs(repo).tags}


def branches(hub: HubUser, repo: str) -> dict[str, str]:
    return {branch.name: branch.target_commit for branch in hub.api.list_repo_refs(repo).branches}


# --- tags that are versions


def test_a_tag_that_is_a_version_publishes_it(ada: Person, hub: HubUser, repo: str) -> None:
    head = commit(hub, repo, {"more.txt": b"more"})
    hub.api.create_tag(repo, tag="1.0.0", tag_message="First")
    published = version(ada, repo, "1.0.0")
    assert published["artifacts"] == {path: oid_of(data) for path, data in {**FILES, "more.txt": b"more"}.items()}
    assert published["origin"]["commit"] == head
    assert (published["origin"]["registry"]["via"], published["origin"]["registry"]["published_by"]) == ("hf", ada.name)
    assert tags(hub, repo) == {"1.0.0": head}
    assert version(ada, repo, "latest")["version"] == "1.0.0"


def test_a_version_is_described_by_its_card(ada: Person, hub: HubUser, repo: str) -> None:
    hub.api.create_tag(repo, tag="1.0.0")
    published = version(ada, repo, "1.0.0")
    assert {key: published[key] for key in ("license", "language", "task", "base_model", "summary")} == {
        "license": "mit",
        "language": ["no"],
        "task": "fill-mask",
        "base_model": "google/bert",
        "summary": "A tiny model",
    }
    assert (published["tags"], published["dataset_refs"]) == (["small", "transformers"], ["acme/words"])
    assert (published["task_categories"], published["metrics"]) == (["fill-mask"], {"accuracy": 0.91})


def test_a_v_before_the_number_is_a_name_for_the_same_version(ada: Person, hub: HubUser, repo: str) -> None:
    head = commit(hub, repo, {"a": b"a"})
    hub.api.create_tag(repo, tag="v2.0.0-rc.1")
    assert version(ada, repo, "2.0.0-rc.1")["version"] == "2.0.0-rc.1"
    assert tags(hub, repo) == {"2.0.0-rc.1": head, "v2.0.0-rc.1": head}
    assert hub.snapshot(repo, "v2.0.0-rc.1") == {**FILES, "a": b"a"}


def test_a_v_is_put_before_a_version_that_is_there(ada: Person, hub: HubUser, repo: str) -> None:
    hub.api.create_tag(repo, tag="1.0.0")
    hub.api.create_tag(repo, tag="v1.0.0")
    assert set(tags(hub, repo)) == {"1.0.0", "v1.0.0"}
    with pytest.raises(HfHubHTTPError, match="is published already"):
        hub.api.create_tag(repo, tag="v1.0.0")
    hub.api.delete_tag(repo, tag="v1.0.0")
    assert version(ada, repo, "1.0.0")["version"] == "1.0.0"


def test_an_older_revision_is_published_by_its_commit(ada: Person, hub: HubUser, repo: str) -> None:
    old = branches(hub, repo)["main"]
    commit(hub, repo, {"new": b"new"})
    hub.api.create_tag(repo, tag="1.0.0", revision=old)
    assert set(version(ada, repo, "1.0.0")["artifacts"]) == set(FILES)


def test_a_version_never_moves(hub: HubUser, repo: str) -> None:
    hub.api.create_tag(repo, tag="1.0.0")
    with pytest.raises(HfHubHTTPError, match="is published already") as refused:
        hub.api.create_tag(repo, tag="1.0.0")
    assert refused.value.response.status_code == 409
    commit(hub, repo, {"new": b"new"})
    with pytest.raises(HfHubHTTPError, match="versions never change"):
        hub.api.create_tag(repo, tag="1.0.0")
    hub.api.create_tag(repo, tag="1.0.0", exist_ok=True)
    assert "new" not in hub.snapshot(repo, "1.0.0")


def test_a_version_is_not_deleted_by_its_tag(ada: Person, hub: HubUser, repo: str) -> None:
    hub.api.create_tag(repo, tag="1.0.0")
    with pytest.raises(HfHubHTTPError, match="is a published version"):
        hub.api.delete_tag(repo, tag="1.0.0")
    assert version(ada, repo, "1.0.0")["version"] == "1.0.0"


def test_a_card_that_cannot_be_read_keeps_a_version_from_being_published(ada: Person, hub: HubUser) -> None:
    ada.publish(f"{ada.name}/odd:1.0.0", {"README.md": b"---\nlicense: [mit\n---\n"})
    with pytest.raises(BadRequestError, match=r"The metadata at the top of README.md cannot be read: line 3"):
        hub.api.create_tag(f"{ada.name}/odd", tag="1.0.1")


def test_a_model_without_files_has_nothing_to_publish(ada: Person, hub: HubUser) -> None:
    empty = hub.api.create_repo(f"{ada.name}/empty").repo_id
    with pytest.raises(BadRequestError, match="there is nothing to publish"):
        hub.api.create_tag(empty, tag="1.0.0")


def test_a_published_version_is_there_for_everybody_and_the_draft_is_not(
    hub: HubUser, repo: str, anonymous_hub: HubUser
) -> None:
    hub.api.create_tag(repo, tag="1.0.0")
    commit(hub, repo, {"draft": b"draft"})
    hub.api.update_repo_settings(repo, visibility="public")
    assert anonymous_hub.snapshot(repo) == FILES
    assert set(hub.snapshot(repo)) == {*FILES, "draft"}


# --- tags that are names


def test_another_tag_is_a_name_and_goes_again(ada: Person, hub: HubUser, repo: str) -> None:
    head = commit(hub, repo, {"a": b"a"})
    hub.api.create_tag(repo, tag="experiment/1")
    assert tags(hub, repo) == {"experiment/1": head}
    assert hub.snapshot(repo, "experiment/1") == {**FILES, "a": b"a"}
    assert ada.get(f"/org/{ada.name}/models/tiny/versions").json()["versions"] == []
    hub.api.delete_tag(repo, tag="experiment/1")
    assert tags(hub, repo) == {}


def test_a_tag_that_is_there_is_a_conflict_that_clients_may_ignore(hub: HubUser, repo: str) -> None:
    hub.api.create_tag(repo, tag="mine")
    with pytest.raises(HfHubHTTPError) as refused:
        hub.api.create_tag(repo, tag="mine")
    assert refused.value.response.status_code == 409
    hub.api.create_tag(repo, tag="mine", exist_ok=True)


def test_a_tag_that_is_not_there_cannot_be_deleted(hub: HubUser, repo: str) -> None:
    with pytest.raises(RevisionNotFoundError):
        hub.api.delete_tag(repo, tag="nothing")


def test_a_tag_of_what_is_not_there_is_refused(hub: HubUser, repo: str) -> None:
    with pytest.raises(RevisionNotFoundError):
        hub.api.create_tag(repo, tag="1.0.0", revision="nothing")


# --- branches


def test_a_branch_goes_its_own_way(hub: HubUser, repo: str) -> None:
    main = branches(hub, repo)["main"]
    hub.api.create_branch(repo, branch="dev/x")
    commit(hub, repo, {"only-here": b"x"}, "dev/x")
    assert branches(hub, repo)["main"] == main
    assert hub.snapshot(repo, "dev/x") == {**FILES, "only-here": b"x"}
    assert hub.snapshot(repo) == FILES
    hub.api.delete_branch(repo, branch="dev/x")
    assert set(branches(hub, repo)) == {"main"}


def test_a_branch_begins_where_one_says(hub: HubUser, repo: str) -> None:
    old = branches(hub, repo)["main"]
    commit(hub, repo, {"new": b"new"})
    hub.api.create_branch(repo, branch="back", revision=old)
    assert branches(hub, repo)["back"] == old


def test_a_branch_that_is_there_is_a_conflict_that_clients_may_ignore(hub: HubUser, repo: str) -> None:
    hub.api.create_branch(repo, branch="dev")
    with pytest.raises(HfHubHTTPError) as refused:
        hub.api.create_branch(repo, branch="dev")
    assert refused.value.response.status_code == 409
    hub.api.create_branch(repo, branch="dev", exist_ok=True)


def test_main_stays(hub: HubUser, repo: str) -> None:
    with pytest.raises(HfHubHTTPError, match="cannot be deleted"):
        hub.api.delete_branch(repo, branch="main")


def test_a_squash_leaves_the_files_and_no_history(hub: HubUser, repo: str) -> None:
    commit(hub, repo, {"a": b"a"})
    hub.api.super_squash_history(repo, commit_message="All in one")
    assert [each.title for each in hub.api.list_repo_commits(repo)] == ["All in one"]
    assert hub.snapshot(repo) == {**FILES, "a": b"a"}


def test_a_version_outlives_a_squash(ada: Person, hub: HubUser, repo: str) -> None:
    hub.api.create_tag(repo, tag="1.0.0")
    commit(hub, repo, {"a": b"a"})
    hub.api.super_squash_history(repo)
    assert hub.snapshot(repo, "1.0.0") == FILES
    assert set(version(ada, repo, "1.0.0")["artifacts"]) == set(FILES)
