"""What can be mended of what a check found, without a person and without losing anything. Servers may run meanwhile.

Wrong bytes are set aside, so that they are served no more and the next push of the right ones heals every version that
needs them, of chunks too. Bytes that lie there under another name get their row. What nothing needs goes as in any
clean-up.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from steelyard.server.core import soundness
from steelyard.server.core.blobs import HeldBlob
from steelyard.server.core.soundness import Unrecorded
from steelyard.server.core.xet import chunks
from steelyard.server.db.engine import Database
from steelyard.server.jobs.check import Checked, Finding, examine, examine_xorb
from steelyard.server.jobs.gc import delete_garbage, find_orphans, remove_orphans
from steelyard.server.storage import BlobStore
from steelyard.server.storage.chunked import is_chunked


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done about `name`, an OID or what the store calls it."""

    what: Literal["set aside", "found again", "recorded", "wanted again", "deleted"]
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was done, and what is still lost: that only a person can bring back."""

    steps: tuple[Step, ...]
    left: tuple[Finding, ...]


def repair(database: Database, store: BlobStore, checked: Checked, *, grace_seconds: int) -> Repaired:
    """Mend what a check found. Safe beside pushes, deletes, collectors and other repairs: what has changed since the
    check is left as it is. One that was killed is run again."""
    copies = _Copies(store, checked)
    lost = [found for found in checked.findings if found.kind != "unreferenced"]
    steps = [step for found in lost for step in _set_aside(store, found)]
    mended = [(found, _mend(database, copies, found)) for found in lost]
    steps += [step for _, step in mended if step]
    steps += _clean_up(database, store, grace_seconds)
    return Repaired(tuple(steps), tuple(found for found, step in mended if step is None))


class _Copies:
    """Files that no row stands for, by the digest that they are named after."""

    def __init__(self, store: BlobStore, checked: Checked) -> None:
        self._store = store
        self._keys: dict[str, list[str]] = defaultdict(list)
        for found in checked.findings:
            if found.kind == "unreferenced":
                self._keys["sha256:" + found.name.partition(".")[0]].append(found.name)

    def find(self, oid: str, size_bytes: int) -> Iterator[str]:
        """The keys of those that hold these bytes indeed."""
        for key in self._keys.get(oid, ()):
            if examine(self._store, HeldBlob(0, oid, size_bytes, key)) is None:
                yield key


def _set_aside(store: BlobStore, found: Finding) -> Iterator[Step]:
    """Look again before, since a disk may read wrong once; and leave what hashes to its name, whatever a row says."""
    if found.xorb is not None and found.kind == "corrupt" and examine_xorb(store, found.xorb) is not None:
        store.set_aside(found.xorb.key)
        yield Step("set aside", found.xorb.key, "its bytes are not the chunks that its name says")
    if found.row is None or is_chunked(found.row.key) or found.kind not in ("corrupt", "size"):
        return
    again = examine(store, replace(found.row, size_bytes=found.size_bytes))
    if again is not None and again.kind == "corrupt":
        store.set_aside(found.row.key)
        yield Step("set aside", found.row.key, "its bytes are not what its name says")


def _mend(database: Database, copies: _Copies, found: Finding) -> Step | None:
    if found.xorb is not None:
        return _want_again(database, found)
    if found.kind == "unrecorded":
        return _record(database, copies, found)
    return _find_again(database, copies, found) if found.row else None


def _want_again(database: Database, found: Finding) -> Step | None:
    """Let no client believe any more that a xorb is here: who sends a file that needs it then sends it too."""
    if found.xorb is None or found.kind == "unreadable":
        return None
    with database.write() as session:
        chunks.note_lost(session, [found.xorb.id])
    return Step("wanted again", found.name, "it is lost, and clients are told so")


def _find_again(database: Database, copies: _Copies, found: Finding) -> Step | None:
    """The bytes of a row under another name, left by an upload that never got its row or by an older backup."""
    row = found.row
    if row is None or found.kind == "unreadable":
        return None
    for key in copies.find(row.oid, row.size_bytes):
        with database.write() as session:
            if soundness.move(session, row.oid, row.key, key):
                return Step("found again", row.oid, f"its bytes lay there as {key}")
    return None


def _record(database: Database, copies: _Copies, found: Finding) -> Step | None:
    unrecorded = Unrecorded(found.tree_id or 0, found.name, found.size_bytes)
    for key in (None, *copies.find(found.name, found.size_bytes)):
        with database.write() as session:
            if soundness.record(session, unrecorded, key):
                return Step("recorded", found.name, "a version names it, and no row kept it for the version")
    return None


def _clean_up(database: Database, store: BlobStore, grace_seconds: int) -> Iterator[Step]:
    for key in delete_garbage(database, store):
        yield Step("deleted", key, "a clean-up had let go of it and was stopped")
    orphans = find_orphans(database, store, grace_seconds).left(even_most=False)
    for name in remove_orphans(database, store, orphans):
        yield Step("deleted", name.name, "no row stands for it, and its grace is over")
