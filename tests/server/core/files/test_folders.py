"""Folders, read off the paths of files."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from steelyard.server.core.files.folders import Subfolder, kind_of, list_folder
from steelyard.server.core.files.trees import File
from steelyard.server.names import check_artifact_paths

# `-` and `.` stand before `/` in the order of characters, `0` right after it.
parts = st.text("a0-.é", min_size=1, max_size=3)
paths = st.lists(st.lists(parts, min_size=1, max_size=3).map("/".join), max_size=12, unique=True)


def files_at(paths: Iterable[str]) -> dict[str, File]:
    """Files in the order of paths, each as large as its path is long."""
    return {path: File(path, f"sha256:{path}", len(path)) for path in sorted(paths)}


@given(paths.filter(lambda paths: not check_artifact_paths(paths)), parts)
def test_a_folder_has_what_its_name_stands_before(paths: list[str], name: str) -> None:
    for folder in ("", name, "a", *(path.rpartition("/")[0] for path in paths)):
        found, inside = list_folder(files_at(paths), folder), f"{folder}/" if folder else ""
        below = sorted(path for path in paths if path.startswith(inside))
        assert [file.path for file in found.files] == [path for path in below if "/" not in path[len(inside) :]]
        names = [path[len(inside) :].split("/")[0] for path in below if "/" in path[len(inside) :]]
        assert [(it.name, it.file_count) for it in found.folders] == [
            (it, names.count(it)) for it in sorted(set(names))
        ]
        assert (found.file_count, found.size_bytes) == (len(below), sum(map(len, below)))
        assert kind_of(files_at(paths), folder) == ("folder" if below or not folder else kind_of_file(paths, folder))


def kind_of_file(paths: list[str], path: str) -> str:
    return "file" if path in paths else "nothing"


def test_folders_tell_how_much_is_in_them() -> None:
    found = list_folder(files_at(["a/b/c", "a/d", "a-/x", "a0/x", "z"]), "")
    assert found.folders == [Subfolder("a", 2, 8), Subfolder("a-", 1, 4), Subfolder("a0", 1, 4)]
    assert [file.path for file in found.files] == ["z"]
    assert [it.name for it in list_folder(files_at(["a/b/c", "a/d", "a-/x", "a0/x"]), "a").folders] == ["b"]


def test_what_lies_below_a_file_is_nothing() -> None:
    files = files_at(["a/b"])
    assert [kind_of(files, path) for path in ("", "a", "a/b", "a/b/c", "a/", "A")] == [
        *("folder", "folder", "file", "nothing", "nothing", "nothing")
    ]
