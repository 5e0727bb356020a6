"""Repositories as a whole: made, shown, hidden and deleted with the real client of the Hub; and by the bodies of older
ones, which say the same in other words."""

from typing import Any

import httpx2
import pytest
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, RepositoryNotFoundError

from tests.house import Person
from tests.server.doors.hf.hub import HubUser


def call(person: Person, hub: HubUser, method: str, path: str, **body: Any) -> httpx2.Response:
    """A call as it goes over the wire."""
    return person.request(method, f"{hub.endpoint}/api{path}", json=body)


# --- making


def test_a_new_repository_is_a_private_model_with_one_commit(hub: HubUser, ada: Person) -> None:
    made = hub.api.create_repo(f"{ada.name}/Tiny")
    assert (str(made), made.repo_id) == (f"{hub.endpoint}/{ada.name}/Tiny", f"{ada.name}/Tiny")
    info = hub.api.model_info(made.repo_id)
    assert (info.private, info.siblings, len(info.sha or "")) == (True, [], 40)
    assert hub.api.list_repo_files(made.repo_id) == []


def test_a_bare_name_is_in_the_callers_own_organisation(hub: HubUser, ada: Person) -> None:
    assert hub.api.create_repo("tiny").repo_id == f"{ada.name}/tiny"
    hub.api.delete_repo("tiny")
    assert not hub.api.repo_exists(f"{ada.name}/tiny")


def test_a_repository_that_is_there_is_a_conflict_that_clients_may_ignore(hub: HubUser, ada: Person) -> None:
    hub.api.create_repo(f"{ada.name}/tiny")
    with pytest.raises(HfHubHTTPError) as refused:
        hub.api.create_repo(f"{ada.name}/TINY")
    assert refused.value.response.status_code == 409
    assert hub.api.create_repo(f"{ada.name}/TINY", exist_ok=True).repo_id == f"{ada.name}/tiny"


def test_a_public_repository_is_one_that_was_asked_for(hub: HubUser, ada: Person, anonymous_hub: HubUser) -> None:
    hub.api.create_repo(f"{ada.name}/open", visibility="public")
    assert anonymous_hub.api.model_info(f"{ada.name}/open").private is False


@pytest.mark.parametrize("said", [{"private": False}, {"private": None}, {"private": True}, {}])
def test_what_old_clients_say_by_default_makes_nothing_public(
    hub: HubUser, ada: Person, said: dict[str, Any], anonymous_hub: HubUser
) -> None:
    made = call(ada, hub, "POST", "/repos/create", name="old", organization=ada.name, type="model", **said)
    assert made.status_code == 200, made.text
    assert not anonymous_hub.api.repo_exists(f"{ada.name}/old")


def test_nobody_makes_a_repository_for_others(ada: Person, others_hub: HubUser) -> None:
    with pytest.raises(HfHubHTTPError):
        others_hub.api.create_repo(f"{ada.name}/tiny")


@pytest.mark.parametrize("kind", ["dataset", "kernel"])
def test_other_kinds_of_repositories_are_refused_in_words(hub: HubUser, ada: Person, kind: str) -> None:
    with pytest.raises(BadRequestError, match="This server keeps models"):
        hub.api.create_repo(f"{ada.name}/data", repo_type=kind)


def test_a_name_that_no_model_can_have_is_refused(hub: HubUser, ada: Person) -> None:
    with pytest.raises(BadRequestError, match="is reserved and cannot name a model"):
        hub.api.create_repo(f"{ada.name}/facets")


# --- settings


def test_an_owner_shows_and_hides_a_model(hub: HubUser, ada: Person, anonymous_hub: HubUser) -> None:
    repo = hub.api.create_repo(f"{ada.name}/tiny").repo_id
    hub.api.update_repo_settings(repo, visibility="public")
    assert anonymous_hub.api.repo_exists(repo)
    hub.api.update_repo_settings(repo, visibility="private")
    assert not anonymous_hub.api.repo_exists(repo)


def test_older_clients_say_private_and_read_the_answer(hub: HubUser, ada: Person) -> None:
    repo = hub.api.create_repo(f"{ada.name}/tiny").repo_id
    for private in (False, True):
        answered = call(ada, hub, "PUT", f"/models/{repo}/settings", private=private)
        assert (answered.status_code, answered.json()["private"]) == (200, private)
        assert hub.api.model_info(repo).private is private


def test_only_an_owner_changes_who_sees_a_model(ada: Person, hub: HubUser, bob: Person, others_hub: HubUser) -> None:
    repo = hub.api.create_repo(f"{ada.name}/tiny").repo_id
    assert ada.post(f"/org/{ada.name}/members", {"username": bob.name, "role": "contributor"}).status_code == 201
    with pytest.raises(HfHubHTTPError, match="You may not change visibility here"):
        others_hub.api.update_repo_settings(repo, visibility="public")
    assert hub.api.model_info(repo).private


def test_gated_models_are_refused_in_words(hub: HubUser, ada: Person) -> None:
    repo = hub.api.create_repo(f"{ada.name}/tiny").repo_id
    with pytest.raises(BadRequestError, match="Gated models are not offered here"):
        hub.api.update_repo_settings(repo, gated="auto")
    hub.api.update_repo_settings(repo, gated=False)


# --- the end


def test_a_deleted_repository_is_gone_with_all_that_was_in_it(hub: HubUser, ada: Person) -> None:
    repo = hub.api.create_repo(f"{ada.name}/tiny").repo_id
    hub.api.upload_file(path_or_fileobj=b"a", path_in_repo="a", repo_id=repo)
    hub.api.create_tag(repo, tag="1.0.0")
    hub.api.create_branch(repo, branch="dev")
    hub.api.delete_repo(repo)
    assert not hub.api.repo_exists(repo)
    with pytest.raises(RepositoryNotFoundError):
        hub.api.delete_repo(repo)
    hub.api.delete_repo(repo, missing_ok=True)


def test_only_an_owner_deletes_a_repository(ada: Person, hub: HubUser, bob: Person, others_hub: HubUser) -> None:
    repo = hub.api.create_repo(f"{ada.name}/tiny").repo_id
    assert ada.post(f"/org/{ada.name}/members", {"username": bob.name, "role": "contributor"}).status_code == 201
    with pytest.raises(HfHubHTTPError, match="You may not delete here"):
        others_hub.api.delete_repo(repo)


# --- what is not offered


def test_what_is_not_offered_is_refused_in_words(hub: HubUser, ada: Person) -> None:
    repo = hub.api.create_repo(f"{ada.name}/tiny").repo_id
    with pytest.raises(BadRequestError, match="Models are not renamed or moved here"):
        hub.api.move_repo(repo, f"{ada.name}/other")
    with pytest.raises(BadRequestError, match="There are no discussions and no pull requests here"):
        hub.api.create_discussion(repo, "Hello")
    with pytest.raises(BadRequestError, match="Models are not copied"):
        hub.api.duplicate_repo(repo, f"{ada.name}/other")
    with pytest.raises(RepositoryNotFoundError, match="This server keeps models"):
        hub.api.dataset_info(f"{ada.name}/data")
    with pytest.raises(RepositoryNotFoundError, match="This server keeps models"):
        hub.api.upload_file(path_or_fileobj=b"", path_in_repo="a", repo_id=f"{ada.name}/data", repo_type="dataset")
    assert list(hub.api.get_repo_discussions(repo)) == []
