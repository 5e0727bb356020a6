"""The commit a folder lies in, without anybody's credentials."""

import subprocess
from pathlib import Path

import pytest

from steelyard.client.provenance import git_origin, public_remote


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def work_tree(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "train.py").write_text("x = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "weights.bin").write_bytes(b"w")
    return tmp_path


def test_a_clean_work_tree_is_named_by_commit_and_remote(work_tree: Path) -> None:
    git(work_tree, "remote", "add", "origin", "https://alice:ghp_secret@example.com/acme/code.git?x=1#y")
    found = git_origin(work_tree / "out")
    assert found is not None
    assert (len(found["commit"]), found["dirty"]) == (40, False)
    assert found["repo"] == "https://example.com/acme/code.git"


def test_a_change_of_a_tracked_file_makes_it_dirty(work_tree: Path) -> None:
    (work_tree / "train.py").write_text("x = 2\n")
    found = git_origin(work_tree / "out")
    assert found is not None and found["dirty"] is True and "repo" not in found


def test_a_file_system_monitor_of_the_repository_is_not_started(work_tree: Path) -> None:
    trap = work_tree / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {work_tree}/sprung\n")
    trap.chmod(0o755)
    git(work_tree, "config", "core.fsmonitor", str(trap))
    assert git_origin(work_tree) is not None
    assert not (work_tree / "sprung").exists()


def test_a_folder_outside_of_git_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_origin(tmp_path) is None


def test_a_machine_without_git_has_no_commit(work_tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert git_origin(work_tree) is None


@pytest.mark.parametrize(
    ("remote", "shown"),
    [
        ("https://user:token@host/path.git", "https://host/path.git"),
        ("https://token@host:8443/path", "https://host:8443/path"),
        ("ssh://git@host:22/path", "ssh://host:22/path"),
        ("git@github.com:acme/code.git", "github.com:acme/code.git"),
        ("/home/alice/private", None),
        ("file:///home/alice/private", None),
        ("C:/Users/alice", None),
        ("../elsewhere", None),
        ("https://[broken", None),
    ],
)
def test_a_remote_is_shown_without_secrets_and_without_paths_of_this_machine(remote: str, shown: str | None) -> None:
    assert public_remote(remote) == shown
