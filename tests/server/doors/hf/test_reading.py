"""What is published by the native API, read by the real client of the Hub."""

import json
import re
from typing import Any

import httpx2
import pytest
from huggingface_hub import HfFileSystem, RepoFile, RepoFolder
from huggingface_hub.errors import (
    BadRequestError,
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from sqlalchemy import select

from steelyard.server.db.tables import Blob, OrgBlob, Recipe
from tests.conftest import MakeRegistered
from tests.house import Person, Registered
from tests.house.people import oid_of
from tests.server.doors.hf.hub import HubUser, counted
from tests.server.doors.hf.published import FILES, open_to_all, publish, set_alias

# --- the model


def test_a_model_is_told_of_in_full(ada: Person, hub: HubUser) -> None:
    repo = publish(ada, tags=["small"], license="mit", task="fill-mask", base_model="x/y", language=["en"])
    info = hub.api.model_info(repo, files_metadata=True)
    assert (info.id, info.author, info.private, info.gated, info.disabled) == (repo, ada.name, True, False, False)
    assert re.fullmatch("[0-9a-f]{40}", info.sha or "")
    assert (info.pipeline_tag, info.downloads, info.likes) == ("fill-mask", 0, 0)
    assert set(info.tags or []) >= {"small", "license:mit", "base_model:x/y", "en"}
    assert info.card_data is not None
    assert info.card_data.license == "mit"
    siblings = info.siblings or []
    assert {item.rfilename: item.size for item in siblings} == {path: len(data) for path, data in FILES.items()}
    assert all(item.lfs and len(item.lfs.sha256) == 64 for item in siblings)


def test_one_answer_has_what_every_generation_needs(ada: Person, hub: HubUser) -> None:
    repo = publish(ada)
    always = {"_id", "id", "modelId", "author", "sha", "private", "gated", "disabled", "downloads", "likes", "tags"}
    always |= {"createdAt", "lastModified", "xetEnabled"}
    asked = hub.get(f"/api/models/{repo}/revision/main?expand=xetEnabled&expand=sha&securityStatus=True").json()
    assert asked.keys() >= always | {"siblings"}
    assert asked["xetEnabled"] is True
    assert asked["createdAt"].endswith("Z")
    [listed] = hub.get(f"/api/models?author={ada.name}&full=True&cardData=False&direction=-1").json()
    assert listed.keys() >= always | {"siblings"}
    for blobs in ("True", "true", "1"):
        sibling = hub.get(f"/api/models/{repo}?blobs={blobs}").json()["siblings"][0]
        assert sibling["lfs"].keys() == {"sha256", "size", "pointerSize"}


def test_every_name_of_a_version_is_a_revision(ada: Person, hub: HubUser) -> None:
    for version in ("1.0.0", "1.2.0", "2.0.0"):
        repo = publish(ada, version=version, files={"a.txt": version.encode()})
    set_alias(ada, repo, "1.2.0", "staging-eu")
    old = hub.api.model_info(repo, revision="1.2.0").sha
    for name in ("v1.2.0", "staging-eu", "^1.0", ">=1.1 <2", str(old)):
        assert hub.api.model_info(repo, revision=name).sha == old, name
    new = hub.api.model_info(repo, revision="2.0.0").sha
    for latest in ("latest", "main", None):
        assert hub.api.model_info(repo, revision=latest).sha == new != old


def test_what_is_not_there_is_told_apart(ada: Person, hub: HubUser) -> None:
    repo = publish(ada)
    for missing in ("3.0.0", "nothing", "refs/pr/1", "0" * 40, "^3", "ü" * 400, "\x01", "\0"):
        with pytest.raises(RevisionNotFoundError):
            hub.api.model_info(repo, revision=missing)
    for absent in (f"{ada.name}/absent", "nobody/tiny", "tiny", f"{ada.name}/facets"):
        with pytest.raises(RepositoryNotFoundError):
            hub.api.model_info(absent)
    assert hub.api.repo_exists(repo)
    assert not hub.api.repo_exists(repo, repo_type="dataset")
    assert hub.api.revision_exists(repo, "1.0.0")
    assert not hub.api.revision_exists(repo, "1.0.1")
    assert hub.api.file_exists(repo, "README.md")
    assert not hub.api.file_exists(repo, "readme.txt")


def test_a_private_model_is_hidden_and_a_public_one_is_not(
    ada: Person, hub: HubUser, others_hub: HubUser, anonymous_hub: HubUser
) -> None:
    repo = publish(ada)
    for other in (others_hub, anonymous_hub):
        with pytest.raises(RepositoryNotFoundError):
            other.api.model_info(repo)
        with pytest.raises(RepositoryNotFoundError):
            other.api.list_repo_files(repo)
        assert [info.id for info in other.api.list_models(author=ada.name)] == []
    open_to_all(ada, repo)
    for other in (others_hub, anonymous_hub):
        assert other.api.model_info(repo).sha == hub.api.model_info(repo).sha
        assert [info.id for info in other.api.list_models(author=ada.name)] == [repo]


def test_a_wrong_token_is_no_way_around(ada: Person, hub: HubUser, server_url: str) -> None:
    repo = publish(ada)
    stranger = HubUser(server_url, "hf_wrong", hub.home)
    with pytest.raises(RepositoryNotFoundError):
        stranger.api.model_info(repo)
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        stranger.api.whoami()


def test_whoami_tells_a_person_and_his_organisations(registry: Registered, ada: Person, hub: HubUser) -> None:
    registry.org("team" + ada.name, **{ada.name: "contributor"})
    me = hub.api.whoami()
    assert (me["name"], me["type"], me["email"]) == (ada.name, "user", f"{ada.name}@example.com")
    assert [(org["name"], org["roleInOrg"]) for org in me["orgs"]] == [("team" + ada.name, "write")]
    assert me["auth"]["accessToken"]["role"] == "write"
    assert me["auth"]["accessToken"]["displayName"]


def test_auth_check_tells_what_the_caller_may(ada: Person, hub: HubUser, others_hub: HubUser) -> None:
    repo = publish(ada)
    open_to_all(ada, repo)
    hub.api.auth_check(repo, write=True)
    others_hub.api.auth_check(repo)
    with pytest.raises(HfHubHTTPError, match="you are not a member"):
        others_hub.api.auth_check(repo, write=True)


# --- its files


def test_files_are_listed_with_their_folders(ada: Person, hub: HubUser) -> None:
    repo = publish(ada)
    assert sorted(hub.api.list_repo_files(repo)) == sorted(FILES)
    tree = list(hub.api.list_repo_tree(repo, recursive=True))
    assert [item.path for item in tree] == [
        "README.md", "weights", "weights/a.bin", "weights/b", "weights/b/c d.bin"
    ]  # fmt: skip
    top = list(hub.api.list_repo_tree(repo))
    assert [(type(item), item.path) for item in top] == [(RepoFile, "README.md"), (RepoFolder, "weights")]
    inside = list(hub.api.list_repo_tree(repo, "weights/b", expand=True))
    assert [item.path for item in inside] == ["weights/b/c d.bin"]
    assert inside[0].last_commit is not None
    assert inside[0].last_commit.oid == hub.api.model_info(repo).sha
    with pytest.raises(EntryNotFoundError):
        list(hub.api.list_repo_tree(repo, "weights/none"))


def test_a_folder_is_another_when_anything_below_is(ada: Person, hub: HubUser) -> None:
    publish(ada, version="1.0.0")
    publish(ada, version="1.1.0", files={**FILES, "weights/b/c d.bin": b"other"})
    repo = publish(ada, version="1.2.0", files={**FILES, "README.md": b"other"})
    oids = {
        version: [
            item.tree_id for item in hub.api.list_repo_tree(repo, revision=version) if isinstance(item, RepoFolder)
        ]
        for version in ("1.0.0", "1.1.0", "1.2.0")
    }
    assert oids["1.0.0"] == oids["1.2.0"] != oids["1.1.0"]
    assert all(re.fullmatch("[0-9a-f]{40}", oid) for some in oids.values() for oid in some)


def test_the_last_commit_of_a_file_is_the_one_that_changed_it(ada: Person, hub: HubUser) -> None:
    publish(ada, version="1.0.0")
    repo = publish(ada, version="1.1.0", files={**FILES, "README.md": b"other"})
    listed = {item.path: item.last_commit for item in hub.api.list_repo_tree(repo, expand=True)}
    assert {path: commit and commit.oid for path, commit in listed.items()} == {
        "README.md": hub.api.model_info(repo, revision="1.1.0").sha,
        "weights": hub.api.model_info(repo, revision="1.0.0").sha,
    }


def test_paths_are_looked_up_and_missing_ones_left_out(ada: Person, hub: HubUser) -> None:
    repo = publish(ada)
    found = hub.api.get_paths_info(repo, ["weights", "weights/b/c d.bin", "none", "README.md/"], expand=True)
    assert [(type(item), item.path) for item in found] == [
        (RepoFolder, "weights"), (RepoFile, "weights/b/c d.bin"), (RepoFile, "README.md")
    ]  # fmt: skip
    assert all(item.last_commit for item in found)
    assert hub.api.get_paths_info(repo, []) == []


def test_a_repository_is_a_file_system(ada: Person, hub: HubUser) -> None:
    repo = publish(ada)
    files = HfFileSystem(endpoint=hub.endpoint, token=hub.token, skip_instance_cache=True)
    assert files.ls(f"{repo}/weights", detail=False) == [f"{repo}/weights/a.bin", f"{repo}/weights/b"]
    assert files.cat_file(f"{repo}@1.0.0/README.md") == FILES["README.md"]
    with files.open(f"{repo}/weights/b/c d.bin", "rb") as file:
        file.seek(69_999)
        assert file.read() == b"c"


def test_the_header_of_weights_is_read_without_the_weights(ada: Person, hub: HubUser) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    weights = len(header).to_bytes(8, "little") + header + bytes(24)
    repo = publish(ada, files={"model.safetensors": weights, **FILES})
    assert hub.api.get_safetensors_metadata(repo).parameter_count == {"F32": 6}


# --- its names and its history


def test_versions_are_tags_and_main_is_a_branch(ada: Person, hub: HubUser) -> None:
    publish(ada, version="1.0.0", files={"a.txt": b"1"})
    repo = publish(ada, version="1.1.0", files={"a.txt": b"2"})
    refs = hub.api.list_repo_refs(repo, include_pull_requests=True)
    sha = {tag.name: tag.target_commit for tag in refs.tags}
    assert sha.keys() == {"1.0.0", "1.1.0"}
    assert [(branch.name, branch.target_commit) for branch in refs.branches] == [("main", sha["1.1.0"])]
    assert (refs.branches[0].ref, refs.tags[0].ref.partition("/1")[0]) == ("refs/heads/main", "refs/tags")
    assert refs.pull_requests == []


def test_the_history_is_told_newest_first(ada: Person, hub: HubUser) -> None:
    for minor in range(4):
        repo = publish(ada, version=f"1.{minor}.0", files={"a.txt": str(minor).encode()})
    history = hub.api.list_repo_commits(repo)
    shas = [hub.api.model_info(repo, revision=f"1.{minor}.0").sha for minor in (3, 2, 1, 0)]
    assert [commit.commit_id for commit in history] == shas
    assert {author for commit in history for author in commit.authors} == {ada.name}
    assert all("1." in commit.title for commit in history)
    assert [c.commit_id for c in hub.api.list_repo_commits(repo, revision="1.1.0")] == shas[2:]


# --- lists


def test_models_are_searched_filtered_and_sorted(ada: Person, hub: HubUser) -> None:
    described: dict[str, dict[str, Any]] = {
        "bert-small": {"tags": ["nlp", "small"], "license": "mit", "task_categories": ["fill-mask"]},
        "bert-large": {"tags": ["nlp"], "license": "apache-2.0", "summary": "gigantic"},
        "vit": {"tags": ["vision", "small"], "license": "mit"},
    }
    for name, fields in described.items():
        publish(ada, name, files={"a.txt": name.encode()}, **fields)

    def listed(**wanted: object) -> list[str]:
        found = hub.api.list_models(author=ada.name, **wanted)  # type: ignore[arg-type]
        return [info.id.partition("/")[2] for info in found]

    assert listed(sort="created_at") == ["vit", "bert-large", "bert-small"]
    assert set(listed(search="bert")) == {"bert-small", "bert-large"}
    assert listed(search="GIGANTIC") == ["bert-large"]
    assert set(listed(filter="nlp")) == {"bert-small", "bert-large"}
    assert listed(filter=["nlp", "license:mit"]) == ["bert-small"]
    assert listed(pipeline_tag="fill-mask") == ["bert-small"]
    assert listed(filter="none") == listed(search="none-of-these") == []
    assert len(listed(limit=2)) == 2
    assert list(hub.api.list_models(author="nobody-at-all")) == []
    full = next(iter(hub.api.list_models(author=ada.name, search="vit", full=True)))
    assert [item.rfilename for item in full.siblings or []] == ["a.txt"]
    assert full.sha == hub.api.model_info(full.id).sha
    assert [info.id for info in hub.api.list_models(search=f"{ada.name}/vit")] == [f"{ada.name}/vit"]


def test_what_was_taken_most_comes_first(ada: Person, hub: HubUser) -> None:
    for name in ("rare", "often"):
        publish(ada, name, files={"a.txt": name.encode()})
    hub.fetch(f"{ada.name}/often", "a.txt")
    assert counted(hub, f"{ada.name}/often", wait_for=1) == 1
    found = [(info.id.partition("/")[2], info.downloads) for info in hub.api.list_models(author=ada.name)]
    assert found == [("often", 1), ("rare", 0)]


def test_members_list_what_their_organisation_keeps(ada: Person, hub: HubUser, others_hub: HubUser) -> None:
    publish(ada, "small", files={"a": b"a" * 1000})
    publish(ada, "large", files={"b": b"b" * 3000})
    listed = list(hub.api.list_user_repos())
    assert [(repo.id, repo.storage, repo.storage_percent) for repo in listed] == [
        (f"{ada.name}/large", 3000, 75.0), (f"{ada.name}/small", 1000, 25.0)
    ]  # fmt: skip
    assert {(repo.type, repo.visibility) for repo in listed} == {("model", "private")}
    assert [repo.id for repo in hub.api.list_user_repos(ada.name)] == [repo.id for repo in listed]
    with pytest.raises(HfHubHTTPError, match="There is no organisation"):
        list(others_hub.api.list_user_repos(ada.name))


def test_what_cannot_be_a_model_here_is_told_so_by_the_real_client(hub: HubUser, ada: Person) -> None:
    for ask in (hub.api.model_info, hub.snapshot, lambda name: hub.fetch(name, "config.json")):
        with pytest.raises(RepositoryNotFoundError, match="named with its organisation, as ORG/NAME"):
            ask("gpt2")
    for listed in (hub.api.list_datasets(), hub.api.list_spaces()):
        with pytest.raises(HfHubHTTPError, match="there are no other kinds of repositories here"):
            list(listed)
    with pytest.raises(RepositoryNotFoundError, match="there are no other kinds of repositories here"):
        hub.fetch(f"{ada.name}/words", "a.csv", repo_type="dataset")


def test_models_of_what_cannot_be_an_organisation_are_not_found(ada: Person, hub: HubUser) -> None:
    for slug in ("%ff%00", "%00", "A_B", "%ED%A0%80"):
        refused = ada.get(f"{hub.endpoint}/api/organizations/{slug}/settings/repositories")
        assert (refused.status_code, "no such organisation" in refused.json()["error"]) == (404, True), slug


# --- beside


def test_a_card_is_checked_before_it_is_sent(hub: HubUser) -> None:
    def check(content: str) -> httpx2.Response:
        return hub.request("POST", "/api/validate-yaml", json={"content": content, "repoType": "model"})

    good = check("---\nlicense: mit\n---\n")
    assert (good.status_code, good.json()) == (200, {"errors": [], "warnings": []})
    bad = check("---\nlicense: [\n---\n")
    assert bad.status_code == 400
    assert "line" in bad.json()["error"]


def test_what_is_not_offered_is_said_in_words_and_never_with_5xx(ada: Person, hub: HubUser) -> None:
    repo = publish(ada)
    with pytest.raises(HfHubHTTPError, match="404"):
        hub.api.list_liked_repos(ada.name)
    with pytest.raises(RepositoryNotFoundError):
        hub.api.dataset_info(repo)
    for path in ("/api/agent-harnesses", "/api/nothing", "/api/models/a/b/nothing/x", "/api/tasks"):
        refused = hub.get(path)
        assert refused.status_code == 404
        assert refused.json().keys() == {"error"}
        assert refused.headers["x-error-message"]
        assert "x-error-code" not in refused.headers
    assert hub.request("HEAD", "/api/telemetry/transformers/gpt").status_code == 200


def test_a_question_that_makes_no_sense_is_a_bad_request(ada: Person, hub: HubUser) -> None:
    repo = publish(ada)
    for path in (f"/api/models/{repo}?blobs=maybe", "/api/models?limit=0", f"/api/models/{repo}/commits/main?after=x"):
        refused = hub.get(path)
        assert (refused.status_code, refused.json().keys()) == (400, {"error"}), path
    with pytest.raises(BadRequestError):
        hub.api.get_paths_info(repo, ["x"] * 10_001)


def test_a_page_of_models_ends_early_where_they_have_very_many_files(
    make_registered: MakeRegistered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steelyard.server.doors.hf.listing._MOST_FILES", 2)
    ada = make_registered().user("ada")
    for name in ("a", "b", "c"):
        publish(ada, name)
    url, pages = "http://127.0.0.1/api/models?full=True&sort=createdAt&direction=1", []
    while url:
        page = ada.get(url)
        pages.append([item["id"] for item in page.json()])
        url = page.links.get("next", {}).get("url", "")
    assert pages == [["ada/a"], ["ada/b"], ["ada/c"]]


# --- chunks


def test_a_file_that_xet_has_says_so_and_others_do_not(make_registered: MakeRegistered) -> None:
    registered = make_registered()
    ada = registered.user("ada")
    repo = publish(ada, files={"a.bin": b"a", "b.bin": b"b"})
    database = registered.client.app.state.registry.database  # type: ignore[attr-defined]
    with database.write() as session:
        blob_id = session.scalars(select(Blob.id).where(Blob.oid == oid_of(b"a"))).one()
        org_id = session.scalars(select(OrgBlob.org_id).where(OrgBlob.blob_id == blob_id)).one()
        session.add(Recipe(blob_id=blob_id, org_id=org_id, file_hash="ab" * 32, terms=[]))
    tree = ada.get(f"http://127.0.0.1/api/models/{repo}/tree/main").json()
    assert [item.get("xetHash") for item in tree] == ["ab" * 32, None]
    heads = [ada.request("HEAD", f"http://127.0.0.1/{repo}/resolve/main/{name}.bin") for name in "ab"]
    assert heads[0].headers["x-xet-hash"] == "ab" * 32
    sha = heads[0].headers["x-repo-commit"]
    assert heads[0].links["xet-auth"]["url"] == f"http://127.0.0.1/api/models/{repo}/xet-read-token/{sha}"
    assert not {"x-xet-hash", "link"} & heads[1].headers.keys()


def test_who_acts_in_one_organisation_alone_means_that_one(make_registered: MakeRegistered) -> None:
    registered = make_registered()
    owner = registered.org("acme")
    assert owner.post("/org/acme/service-accounts", {"name": "ci", "role": "contributor"}).status_code == 201
    robot = owner.post("/org/acme/service-accounts/ci/api-keys", {}).json()["key"]
    narrowed = owner.post("/user/api-keys", {"name": "narrow", "org": "acme", "access": "read"}).json()["key"]
    said = {}
    for name, token in {"whole": owner.token, "robot": robot, "narrowed": narrowed}.items():
        me = Person(owner.client, name, token).get("http://127.0.0.1/api/whoami-v2").json()
        said[name] = (me["name"], me["fullname"], me["auth"]["accessToken"]["role"])
    assert said == {
        "whole": ("acme-owner", "acme-owner", "write"),
        "robot": ("acme", "service:acme/ci", "write"),
        "narrowed": ("acme", "acme-owner", "read"),
    }
