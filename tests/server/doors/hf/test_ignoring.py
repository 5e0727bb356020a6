"""Files that a `.gitignore` leaves out of a push of the real client: by the one that comes along, or the branch's."""

import os
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationCopy
from huggingface_hub.errors import BadRequestError

from tests.house import Person
from tests.server.doors.hf.hub import HubUser

# Of the client's own call to its HTTP library.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def repo(ada: Person, hub: HubUser) -> str:
    """A new model of ada's, with nothing in it."""
    return hub.api.create_repo(f"{ada.name}/tiny").repo_id


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with some files that are nobody's business."""
    for path in (".env", "config.json", "runs/1/log.txt", "runs/keep.md", "optimizer.bin", "model.bin"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(os.urandom(100) if path.endswith(".bin") else path.encode())
    return tmp_path


RULES = ".env\noptimizer.*\nruns/*\n!runs/keep.md\n"
LEFT = {"config.json", "model.bin", "runs/keep.md"}


def test_what_comes_along_says_what_is_left_out(hub: HubUser, repo: str, folder: Path) -> None:
    (folder / ".gitignore").write_text(RULES)
    hub.api.upload_folder(repo_id=repo, folder_path=folder)
    assert set(hub.snapshot(repo)) == {*LEFT, ".gitignore"}


def test_else_the_branchs_own_does(hub: HubUser, repo: str, folder: Path) -> None:
    hub.api.upload_file(path_or_fileobj=RULES.encode(), path_in_repo=".gitignore", repo_id=repo)
    hub.api.upload_folder(repo_id=repo, folder_path=folder)
    assert set(hub.snapshot(repo)) == {*LEFT, ".gitignore"}
    hub.api.create_branch(repo, branch="all")
    hub.api.delete_file(".gitignore", repo, revision="all")
    hub.api.upload_folder(repo_id=repo, folder_path=folder, revision="all")
    assert {".env", "optimizer.bin"} <= set(hub.snapshot(repo, "all"))


def test_what_the_branch_has_already_is_not_left_out(hub: HubUser, repo: str) -> None:
    for data in (b"old", b"new"):
        hub.api.upload_file(path_or_fileobj=data, path_in_repo="notes.txt", repo_id=repo)
        hub.api.upload_file(path_or_fileobj=b"*.txt\n", path_in_repo=".gitignore", repo_id=repo)
    assert hub.snapshot(repo) == {"notes.txt": b"new", ".gitignore": b"*.txt\n"}


def test_one_that_cannot_be_followed_stops_the_push(hub: HubUser, repo: str, folder: Path) -> None:
    (folder / ".gitignore").write_text("x" * 201)
    with pytest.raises(BadRequestError, match="a pattern has more than 200 characters"):
        hub.api.upload_folder(repo_id=repo, folder_path=folder)
    assert hub.snapshot(repo) == {}


def test_a_branch_whose_own_is_too_long_is_mended_by_a_shorter_one(hub: HubUser, repo: str) -> None:
    hub.api.upload_file(path_or_fileobj=b"#" * 70_000, path_in_repo="long", repo_id=repo)
    hub.api.create_commit(repo, [CommitOperationCopy("long", ".gitignore")], commit_message="Too long")
    with pytest.raises(BadRequestError, match="more than 65536 characters"):
        hub.api.upload_file(path_or_fileobj=b"a", path_in_repo="a", repo_id=repo)
    hub.api.upload_file(path_or_fileobj=b"*.log\n", path_in_repo=".gitignore", repo_id=repo)
    hub.api.upload_file(path_or_fileobj=b"a", path_in_repo="a", repo_id=repo)
