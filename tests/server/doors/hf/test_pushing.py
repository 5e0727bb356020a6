"""Pushing with the real client of the Hub: files of every kind, in commits that say what they did."""

import os
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, RepoFile
from huggingface_hub.errors import (
    BadRequestError,
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.house import Person, RunningServer, start_server
from tests.house.people import oid_of
from tests.server.doors.hf.hub import HubUser

# Of the client's own call to its HTTP library.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

TWELVE_MB = 12 * 2**20


@pytest.fixture
def repo(ada: Person, hub: HubUser) -> str:
    """A new model of ada's, with nothing in it."""
    return hub.api.create_repo(f"{ada.name}/tiny").repo_id


def push(hub: HubUser, repo: str, path: str, data: bytes, **kwargs: object) -> str:
    """Upload one file; answers the commit."""
    pushed = hub.api.upload_file(path_or_fileobj=data, path_in_repo=path, repo_id=repo, **kwargs)  # type: ignore[call-overload]
    return str(pushed.oid)


def file_at(hub: HubUser, repo: str, path: str, **kwargs: object) -> RepoFile:
    [found] = hub.api.get_paths_info(repo, path, **kwargs)  # type: ignore[arg-type]
    assert isinstance(found, RepoFile)
    return found


def commits(hub: HubUser, repo: str, revision: str = "main") -> list[str]:
    return [commit.title for commit in hub.api.list_repo_commits(repo, revision=revision)]


# --- files


def test_a_small_text_comes_inside_the_commit_and_has_the_name_that_git_gives_it(hub: HubUser, repo: str) -> None:
    push(hub, repo, "folder/hello.txt", b"hello\n")
    found = file_at(hub, repo, "folder/hello.txt")
    assert (found.size, found.blob_id, found.lfs) == (6, "ce013625030ba8dba906f756967f9e9ca394464a", None)
    assert hub.fetch(repo, "folder/hello.txt").read_bytes() == b"hello\n"


def test_what_others_do_with_the_same_text_shows_nowhere(
    hub: HubUser, ada: Person, bob: Person, others_hub: HubUser
) -> None:
    text = b"a text that two people have\n"
    ada.publish(f"{ada.name}/own:1.0.0", {"hello.txt": text})
    before = file_at(hub, f"{ada.name}/own", "hello.txt")
    theirs = others_hub.api.create_repo(f"{bob.name}/theirs").repo_id
    push(others_hub, theirs, "hello.txt", text)
    assert file_at(others_hub, theirs, "hello.txt").lfs is None
    after = file_at(hub, f"{ada.name}/own", "hello.txt")
    assert after.lfs is not None
    assert (after.blob_id, after.lfs) == (before.blob_id, before.lfs)


def test_a_large_file_goes_by_lfs_and_comes_back_whole(hub: HubUser, repo: str, tmp_path: Path) -> None:
    weights = tmp_path / "model.bin"
    weights.write_bytes(os.urandom(TWELVE_MB))
    push(hub, repo, "model.bin", str(weights))  # type: ignore[arg-type]
    found = file_at(hub, repo, "model.bin")
    assert found.lfs is not None
    assert (found.lfs.size, "sha256:" + found.lfs.sha256) == (TWELVE_MB, oid_of(weights.read_bytes()))
    assert hub.fetch(repo, "model.bin").read_bytes() == weights.read_bytes()


def test_a_larger_file_goes_in_parts(tmp_path: Path) -> None:
    running = start_server(
        tmp_path / "data", part_size_bytes=str(2**20), store_direct="false", free_disk_floor_bytes="0"
    )
    try:
        hub = HubUser(running.url, running.token, tmp_path / "cache")
        repo, data = hub.api.create_repo("admin/large").repo_id, os.urandom(5 * 2**20 + 7)
        push(hub, repo, "model.bin", data)
        assert hub.fetch(repo, "model.bin").read_bytes() == data
        assert running.log.count("/parts/") == 6
    finally:
        running.stop()


def test_a_small_file_that_is_no_text_goes_by_lfs(hub: HubUser, repo: str) -> None:
    push(hub, repo, "tensor.npy", b"\x93NUMPY\0" + bytes(100))
    push(hub, repo, "latin.txt", "façade".encode("latin-1") * 10)
    assert file_at(hub, repo, "tensor.npy").lfs is not None
    assert file_at(hub, repo, "latin.txt").lfs is not None


def test_a_text_whose_sample_ends_within_a_character_is_a_text(hub: HubUser, repo: str) -> None:
    push(hub, repo, "umlauts.txt", ("x" + "ü" * 400).encode())
    assert file_at(hub, repo, "umlauts.txt").lfs is None


def test_an_empty_file_is_kept(hub: HubUser, repo: str) -> None:
    push(hub, repo, "empty", b"")
    assert hub.fetch(repo, "empty").read_bytes() == b""


def test_a_folder_goes_in_one_call_and_comes_back_the_same(hub: HubUser, repo: str, tmp_path: Path) -> None:
    files = {"config.json": b"{}", "deep/er/a b.txt": "Größe".encode(), "w.bin": os.urandom(70_000), "empty": b""}
    for path, data in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    hub.api.upload_folder(repo_id=repo, folder_path=tmp_path, commit_message="All of it")
    assert hub.snapshot(repo) == files
    assert commits(hub, repo)[0] == "All of it"


def test_many_small_files_in_one_commit_are_kept_in_batches(hub: HubUser, repo: str) -> None:
    files = {f"texts/{number}.txt": f"{number}\n".encode() * number for number in range(1, 801)}
    operations = [CommitOperationAdd(path, data) for path, data in files.items()]
    hub.api.create_commit(repo, operations, commit_message="Many")
    assert hub.snapshot(repo) == files


def test_the_same_file_again_makes_no_commit(hub: HubUser, repo: str) -> None:
    for path, data in {"a.txt": b"text", "b.bin": bytes(3000)}.items():
        first = push(hub, repo, path, data)
        assert push(hub, repo, path, data) == first
    assert len(commits(hub, repo)) == 3


def test_a_client_that_does_not_look_and_sends_the_same_again_makes_no_commit(
    ada: Person, hub: HubUser, repo: str
) -> None:
    push(hub, repo, "a.txt", b"text")
    line = '{"key":"file","value":{"path":"a.txt","content":"dGV4dA==","encoding":"base64"}}'
    before = commits(hub, repo)
    answered = commit_lines(ada, hub, repo, '{"key":"header","value":{"summary":"again"}}', line)
    assert (answered["success"], commits(hub, repo)) == (True, before)


def commit_lines(person: Person, hub: HubUser, repo: str, *lines: str, status: int = 200) -> dict[str, object]:
    """A commit as it goes over the wire."""
    url = f"{hub.endpoint}/api/models/{repo}/commit/main"
    headers = {"Content-Type": "application/x-ndjson"}
    answered = person.request("POST", url, content="\n".join(lines), headers=headers)
    assert answered.status_code == status, answered.text
    return dict(answered.json())


# --- what a commit does besides


def test_files_and_folders_are_deleted(hub: HubUser, repo: str) -> None:
    hub.api.create_commit(
        repo, [CommitOperationAdd(path, b"x") for path in ("a", "dir/b", "dir/c", "directory/d")], commit_message="Add"
    )
    hub.api.delete_file("a", repo)
    hub.api.delete_folder("dir", repo)
    assert hub.api.list_repo_files(repo) == ["directory/d"]


def test_deleting_what_is_not_there_says_so(hub: HubUser, repo: str) -> None:
    with pytest.raises(EntryNotFoundError, match="A file with this name doesn't exist"):
        hub.api.delete_file("nothing.txt", repo)


def test_deleting_and_adding_happen_in_their_order(hub: HubUser, repo: str) -> None:
    push(hub, repo, "dir/old", b"old")
    hub.api.create_commit(
        repo, [CommitOperationDelete("dir/"), CommitOperationAdd("dir/new", b"new")], commit_message="Replace"
    )
    assert hub.snapshot(repo) == {"dir/new": b"new"}


def test_files_are_copied_within_a_model(hub: HubUser, repo: str) -> None:
    push(hub, repo, "a.txt", b"text")
    push(hub, repo, "a.bin", bytes(2000))
    copies = [CommitOperationCopy("a.txt", "b.txt"), CommitOperationCopy("a.bin", "b.bin")]
    hub.api.create_commit(repo, copies, commit_message="Copy")
    assert hub.snapshot(repo)["b.txt"] == b"text"
    assert hub.snapshot(repo)["b.bin"] == bytes(2000)


def test_a_commit_says_who_what_and_where(ada: Person, hub: HubUser, repo: str) -> None:
    made = hub.api.create_commit(
        repo, [CommitOperationAdd("a", b"a")], commit_message="Title", commit_description="And more"
    )
    assert made.repo_url.repo_id == repo
    latest = hub.api.list_repo_commits(repo)[0]
    assert (latest.commit_id, latest.title, latest.message) == (made.oid, "Title", "And more")
    assert latest.authors == [ada.name]


def test_a_commit_on_a_parent_that_is_not_the_head_is_refused(hub: HubUser, repo: str) -> None:
    first = push(hub, repo, "a", b"1")
    push(hub, repo, "a", b"2", parent_commit=first)
    with pytest.raises(HfHubHTTPError, match="has moved") as refused:
        push(hub, repo, "a", b"3", parent_commit=first)
    assert refused.value.response.status_code == 412


def test_a_branch_is_pushed_to_as_git_spells_it_in_full(hub: HubUser, repo: str) -> None:
    [main] = hub.api.list_repo_refs(repo).branches
    assert main.ref == "refs/heads/main"
    commit = push(hub, repo, "a.txt", b"a", revision=main.ref)
    assert hub.api.model_info(repo).sha == commit == hub.api.model_info(repo, revision="refs/heads/main").sha
    assert hub.snapshot(repo, main.ref) == {"a.txt": b"a"}


def test_what_was_published_is_what_a_push_builds_on(ada: Person, hub: HubUser) -> None:
    assert ada.publish(f"{ada.name}/native:1.0.0", {"a.bin": b"native"}).status_code == 201
    push(hub, f"{ada.name}/native", "b.txt", b"hub")
    assert hub.snapshot(f"{ada.name}/native") == {"a.bin": b"native", "b.txt": b"hub"}
    assert hub.snapshot(f"{ada.name}/native", "1.0.0") == {"a.bin": b"native"}


# --- what is refused


def test_bytes_that_were_never_sent_cannot_be_committed(ada: Person, hub: HubUser, repo: str) -> None:
    line = f'{{"key":"lfsFile","value":{{"path":"w.bin","algo":"sha256","oid":"{"0" * 64}","size":5}}}}'
    answered = commit_lines(ada, hub, repo, '{"key":"header","value":{"summary":"x"}}', line, status=400)
    assert "does not hold the bytes of w.bin" in str(answered["error"])
    assert "by LFS or Xet: run the upload again" in str(answered["error"])


def test_bytes_of_another_organisation_cannot_be_committed(ada: Person, hub: HubUser, repo: str, bob: Person) -> None:
    [oid] = bob.upload(f"{bob.name}/his", b"the secret of bob")
    line = f'{{"key":"lfsFile","value":{{"path":"w.bin","oid":"{oid.removeprefix("sha256:")}"}}}}'
    commit_lines(ada, hub, repo, '{"key":"header","value":{"summary":"x"}}', line, status=400)


@pytest.mark.parametrize("path", ["../up", "a//b", "CON", "trailing.", "back\\slash"])
def test_a_path_that_some_file_system_cannot_have_is_refused(ada: Person, hub: HubUser, repo: str, path: str) -> None:
    escaped = path.replace("\\", "\\\\")
    line = f'{{"key":"file","value":{{"path":"{escaped}","content":""}}}}'
    answered = commit_lines(ada, hub, repo, '{"key":"header","value":{"summary":"x"}}', line, status=400)
    assert "is not an artifact path" in str(answered["error"])


def test_pull_requests_are_refused_in_words(hub: HubUser, repo: str) -> None:
    with pytest.raises(BadRequestError, match="Pull requests are not offered here"):
        push(hub, repo, "a", b"a", create_pr=True)


def test_a_branch_that_is_not_there_is_not_made_by_a_push(hub: HubUser, repo: str) -> None:
    with pytest.raises(RevisionNotFoundError):
        push(hub, repo, "a", b"a", revision="other")


def test_who_only_reads_does_not_push(ada: Person, hub: HubUser, repo: str, bob: Person, others_hub: HubUser) -> None:
    with pytest.raises(RepositoryNotFoundError):
        push(others_hub, repo, "a", b"a")
    added = ada.post(f"/org/{ada.name}/members", {"username": bob.name, "role": "reader"})
    assert added.status_code == 201
    with pytest.raises(HfHubHTTPError, match="You may not publish here"):
        push(others_hub, repo, "a", b"a")


def test_a_wrong_token_is_a_model_that_is_not_there(server: RunningServer, repo: str, tmp_path: Path) -> None:
    with pytest.raises(RepositoryNotFoundError):
        push(HubUser(server.url, "hf_wrong", tmp_path), repo, "a", b"a")


def test_a_model_that_is_not_there_is_not_made_by_a_push(ada: Person, hub: HubUser) -> None:
    with pytest.raises(RepositoryNotFoundError):
        push(hub, f"{ada.name}/nothing", "a", b"a")


def test_a_model_card_that_cannot_be_read_is_refused_before_it_is_sent(hub: HubUser, repo: str) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        push(hub, repo, "README.md", b"---\nlicense: [mit\n---\n")
    assert len(commits(hub, repo)) == 1
