"""Folders, which the registry has none of: what lies in one is read off the paths of a version's files."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from steelyard.server.core.files.trees import File

Kind = Literal["file", "folder", "nothing"]
_AFTER_SLASH = "0"  # the character after `/`


@dataclass(slots=True)
class Subfolder:
    """A folder within another, with all that lies in it at whatever depth."""

    name: str
    file_count: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Folder:
    """What lies in a folder: folders and then files, each in the order of their names, and how much it is at any
    depth."""

    folders: Sequence[Subfolder] = field(default_factory=list)
    files: Sequence[File] = field(default_factory=list)
    file_count: int = 0
    size_bytes: int = 0


def kind_of(files: Mapping[str, File], path: str) -> Kind:
    """What is at a path. The root is a folder, if there is nothing in it."""
    if path in files:
        return "file"
    return "folder" if not path or _within(files, path) else "nothing"


def list_folder(files: Mapping[str, File], path: str) -> Folder:
    """What lies in the folder, `""` the root; nothing where there is none. `files` are in the order of paths."""
    start = len(path) + 1 if path else 0
    within = _within(files, path)
    folders: dict[str, Subfolder] = {}
    here = []
    for file in within:
        name, slash, _ = file.path[start:].partition("/")
        if not slash:
            here.append(file)
            continue
        folder = folders.get(name) or folders.setdefault(name, Subfolder(name))
        folder.file_count += 1
        folder.size_bytes += file.size_bytes
    sorted_folders = sorted(folders.values(), key=lambda folder: folder.name)
    return Folder(sorted_folders, here, len(within), sum(file.size_bytes for file in within))


def _within(files: Mapping[str, File], path: str) -> Sequence[File]:
    if not path:
        return list(files.values())
    paths = list(files)
    first, end = bisect_left(paths, f"{path}/"), bisect_left(paths, f"{path}{_AFTER_SLASH}")
    return [files[each] for each in paths[first:end]]
