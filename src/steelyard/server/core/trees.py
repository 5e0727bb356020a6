"""The files of versions, read once: they never change, so that what was read is kept in memory, within bounds."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from steelyard.server.db.tables import Tree, Version

MOST_FILES_KEPT = 250_000  # about 100 MB of paths and digests when full


@dataclass(frozen=True, slots=True)
class File:
    """One artifact of a version."""

    path: str
    oid: str
    size_bytes: int


Files = Mapping[str, File]


class TreeCache:
    """Path -> file of the versions asked for lately. Kept by the version's UUID, which no other version ever gets.

    It answers what a version holds, never who may see it. Safe to use from any thread.
    """

    def __init__(self, most_files: int = MOST_FILES_KEPT) -> None:
        self._most_files = most_files
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Files] = OrderedDict()
        self._count = 0

    def get(self, session: Session, version: Version) -> Files:
        """The files of a version, by path, in the order of paths."""
        with self._lock:
            kept = self._kept.get(version.uuid)
            if kept is not None:
                self._kept.move_to_end(version.uuid)
                return kept
        read = {row[0]: File(*row) for row in session.get_one(Tree, version.tree_id).files}
        self._keep(version.uuid, read)
        return read

    def _keep(self, uuid: str, files: Files) -> None:
        if len(files) > self._most_files:
            return
        with self._lock:
            if uuid not in self._kept:
                self._kept[uuid] = files
                self._count += len(files)
            while self._count > self._most_files:
                _, dropped = self._kept.popitem(last=False)
                self._count -= len(dropped)
