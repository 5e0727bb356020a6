"""The files of versions and commits, read once: they never change, so that they are kept in memory, within bounds."""

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from steelyard.server.db.tables import Commit, Tree, Version
from steelyard.server.watching import UNWATCHED, Watch

MOST_BYTES_KEPT = 128 * 2**20
_BYTES_PER_FILE = 600  # of the objects that hold a file, beside its path


@dataclass(frozen=True, slots=True)
class File:
    """One artifact of a version."""

    path: str
    oid: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a version or commit by path, in the order of paths; and path -> OID and path -> size as JSON."""

    files: Mapping[str, File]
    oids_json: bytes
    sizes_json: bytes

    @property
    def bytes_kept(self) -> int:
        """About what it takes in memory."""
        return len(self.files) * _BYTES_PER_FILE + 2 * len(self.oids_json) + len(self.sizes_json)


class TreeCache:
    """The listings asked for lately. Kept by a version's UUID, which no other version ever gets, or by a commit's sha,
    which says what it holds.

    It answers what they hold, never who may see it. Safe to use from any thread.
    """

    def __init__(self, most_bytes: int = MOST_BYTES_KEPT, *, watch: Watch = UNWATCHED) -> None:
        self._most_bytes, self._watch = most_bytes, watch
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Listing] = OrderedDict()
        self._bytes = 0

    def get(self, session: Session, of: Version | Commit) -> Listing:
        """What a version or a commit holds."""
        name = of.uuid if isinstance(of, Version) else of.sha
        kept = self._find(name)
        self._watch.count("tree_cache_misses" if kept is None else "tree_cache_hits")
        if kept is not None:
            return kept
        listing = _listing([File(*row) for row in session.get_one(Tree, of.tree_id).files])
        self._keep(name, listing)
        return listing

    @property
    def bytes_kept(self) -> int:
        """About what all of them take in memory."""
        return self._bytes

    def _find(self, name: str) -> Listing | None:
        with self._lock:
            kept = self._kept.get(name)
            if kept is not None:
                self._kept.move_to_end(name)
            return kept

    def _keep(self, name: str, listing: Listing) -> None:
        with self._lock:
            if name not in self._kept and listing.bytes_kept <= self._most_bytes:
                self._kept[name] = listing
                self._bytes += listing.bytes_kept
            while self._bytes > self._most_bytes:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= dropped.bytes_kept


def _listing(files: list[File]) -> Listing:
    return Listing(
        {file.path: file for file in files},
        json.dumps({file.path: file.oid for file in files}, ensure_ascii=False).encode(),
        json.dumps({file.path: file.size_bytes for file in files}, ensure_ascii=False).encode(),
    )
