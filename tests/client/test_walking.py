"""Which files of a folder are pushed, and what stops a push before anything is sent."""

import os
from pathlib import Path

import pytest

from steelyard.client.errors import InvalidInput, UnsafeFolder
from steelyard.client.walking import walk
from tests.client.conftest import MakeFolder


def paths(folder: Path) -> list[str]:
    return [found.path for found in walk(folder)]


def test_files_come_sorted_and_what_is_never_meant_for_a_registry_stays_out(make_folder: MakeFolder) -> None:
    skipped = [
        ".git/config",
        "a/.git/HEAD",
        ".DS_Store",
        "__pycache__/x.pyc",
        ".steelyard.json",
        ".cache/huggingface/x",
        ".hg/x",
    ]
    folder = make_folder(dict.fromkeys(["b.bin", "a/c.txt", ".hidden", "a.txt", *skipped], b"x"))
    assert paths(folder) == [".hidden", "a.txt", "a/c.txt", "b.bin"]


def test_an_ignore_file_names_more_to_leave_out(make_folder: MakeFolder) -> None:
    folder = make_folder(
        dict.fromkeys(["keep.bin", "x.log", "a/y.log", "a/keep.txt", "logs/z", "a/logs/w", "b/logs"], b"x")
    )
    (folder / ".steelyardignore").write_text("# comment\n\n*.log\nlogs/\na/k*.txt\n")
    assert paths(folder) == ["b/logs", "keep.bin"]


def test_a_link_that_stays_in_the_folder_is_followed(make_folder: MakeFolder) -> None:
    folder = make_folder({"real/weights.bin": b"w"})
    (folder / "latest").symlink_to("real")
    (folder / "weights.bin").symlink_to("real/weights.bin")
    assert paths(folder) == ["latest/weights.bin", "real/weights.bin", "weights.bin"]


def test_links_that_leave_the_folder_are_refused_by_name(make_folder: MakeFolder, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    folder = make_folder({"fine.bin": b"x", ".git/config": b"[core]"})
    (folder / "absolute").symlink_to(tmp_path / "secret")
    (folder / "relative").symlink_to("../secret")
    (folder / "up").symlink_to("..")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "loop").symlink_to(".")
    (folder / "settings").symlink_to(".git/config")
    with pytest.raises(UnsafeFolder) as caught:
        walk(folder)
    for name in ("absolute", "relative", "up", "dangling", "loop", "settings"):
        assert f"'{name}'" in str(caught.value)
    assert "fine.bin" not in str(caught.value)


def test_a_folder_that_only_begins_like_this_one_is_another(make_folder: MakeFolder) -> None:
    folder = make_folder({"x": b"x"})
    sibling = folder.with_name(folder.name + "-private")
    sibling.mkdir()
    (sibling / "secret").write_text("s")
    (folder / "link").symlink_to(sibling / "secret")
    with pytest.raises(UnsafeFolder, match="link"):
        walk(folder)


def test_what_is_no_file_is_refused_and_not_opened(make_folder: MakeFolder) -> None:
    folder = make_folder({"fine.bin": b"x"})
    os.mkfifo(folder / "model.yaml")
    with pytest.raises(UnsafeFolder, match=r"model\.yaml"):
        walk(folder)


def test_names_that_no_registry_takes_are_refused_before_anything_is_hashed(make_folder: MakeFolder) -> None:
    folder = make_folder({"nul.txt": b"x", "a\\b": b"x", "README.md": b"1", "readme.md": b"2"})
    (folder / os.fsdecode(b"bad-\xff")).write_bytes(b"x")
    with pytest.raises(UnsafeFolder) as caught:
        walk(folder)
    assert all(word in str(caught.value) for word in ("nul.txt", "a\\\\b", "ignore case", "Unicode"))


def test_nothing_to_push_is_said(make_folder: MakeFolder, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no files"):
        walk(make_folder({".git/x": b"x"}))
    with pytest.raises(InvalidInput, match="not a folder"):
        walk(tmp_path / "missing")
