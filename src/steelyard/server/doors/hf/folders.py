"""Folders, which the registry has none of: what lies where is read off the paths of files."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from steelyard.server.core.files.trees import File
from steelyard.server.errors import EntryNotFound


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder; `oid` has the form of Git's name for one and changes with anything below it."""

    path: str
    oid: str


Entry = File | Folder


def list_entries(files: Mapping[str, File], folder: str, *, recursive: bool) -> list[Entry]:
    """What lies in a folder, in the order of paths; with `recursive`, also below. Raises `EntryNotFound`."""
    inside = f"{folder}/" if folder else ""
    below: dict[str, Entry] = {path: file for path, file in files.items() if path.startswith(inside)}
    if folder and not below:
        raise EntryNotFound(f"There is no folder '{folder[:200]}' in this revision.")
    below |= {path: found for path, found in find_folders(files).items() if path.startswith(inside)}
    return [below[path] for path in sorted(below) if recursive or "/" not in path.removeprefix(inside)]


def find_folders(files: Mapping[str, File]) -> dict[str, Folder]:
    """Every folder that has a file, at whatever depth, by path."""
    digests: dict[str, Any] = defaultdict(lambda: hashlib.sha1(usedforsecurity=False))
    for path in sorted(files):
        line = f"{files[path].oid} {path}\n".encode()
        for parent in parents(path):
            digests[parent].update(line)
    return {path: Folder(path, digest.hexdigest()) for path, digest in digests.items()}


def parents(path: str) -> Iterator[str]:
    """The folders that a path lies in, the nearest first."""
    while path := path.rpartition("/")[0]:
        yield path
