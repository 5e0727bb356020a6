"""Is every byte there that a row promises, does it hash to its name, and is every row there that a version needs?

What is made of chunks is read as every file is. Xorbs are looked at by themselves where that did not read them, or read
something wrong.
"""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from steelyard.server.core import blobs, soundness, stored
from steelyard.server.core.blobs import HeldBlob
from steelyard.server.core.soundness import Use
from steelyard.server.core.stored import Reading, StoredObject
from steelyard.server.db.engine import Database, in_batches
from steelyard.server.errors import StorageFailed, StorageTimeout
from steelyard.server.storage import BlobStore, StoredBlob
from steelyard.server.storage.chunked import ChunkedBlob

_PIECE_BYTES = 4 * 2**20
_TREES_AT_ONCE = 100  # each may name thousands of files
_READ_AT_ONCE = 4

Kind = Literal["missing", "corrupt", "size", "unreadable", "unrecorded", "unreferenced"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: bytes `missing`, `corrupt`, of the wrong `size`, or `unreadable` for now; bytes that a
    version names and no row keeps, `unrecorded`; or a file that is `unreferenced`. `name` is an OID or `xorb:` and a
    hash, or a key where there is neither, `size_bytes` what the store has; `needed_by` are the files of versions that
    nobody can have."""

    kind: Kind
    name: str
    size_bytes: int
    needed_by: tuple[Use, ...] = ()
    row: HeldBlob | None = None
    tree_id: int | None = None
    xorb: StoredObject | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """How many blobs were read, how many bytes, and what was found wrong."""

    blobs: int
    bytes: int
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        """Nothing is lost: unreferenced files only take room."""
        return all(finding.kind == "unreferenced" for finding in self.findings)


def check(database: Database, store: BlobStore) -> Checked:
    """Read and hash every blob of the registry. Servers may run meanwhile: what comes or goes is no finding."""
    files = _unreferenced(database, store)  # before the rows: a file that gets its row later has it then
    count, size_bytes, wrong = 0, 0, list[Finding]()
    with ThreadPoolExecutor(_READ_AT_ONCE, thread_name_prefix="checking") as threads:
        for rows in blobs.list_by_pages(database):
            count, size_bytes = count + len(rows), size_bytes + sum(row.size_bytes for row in rows)
            wrong += [found for found in threads.map(partial(examine, store), rows) if found]
    with database.read(patient=True) as session:
        still = set(blobs.find_keys(session, [found.name for found in wrong]).values())
        lost = [
            replace(found, needed_by=tuple(soundness.list_uses(session, found.name)))
            for found in wrong
            if found.row and found.row.key in still
        ]
        suspects = stored.list_suspects(session, [found.row.id for found in lost if found.row])
        unknown = blobs.find_unknown(session, [found.name for found in files])
    unreferenced = [found for found in files if found.name in unknown and _is_there(store, found.name)]
    xorbs = _wrong_xorbs(database, store, suspects)
    return Checked(count, size_bytes, (*lost, *xorbs, *_unrecorded(database), *unreferenced))


def examine(store: BlobStore, row: HeldBlob) -> Finding | None:
    """What is wrong with these bytes, as the store has them now."""
    try:
        blob = store.open(row.key)
        if blob is None:
            return Finding("missing", row.oid, row.size_bytes, row=row)
        with blob:
            if blob.size_bytes != row.size_bytes:
                return Finding("size", row.oid, blob.size_bytes, row=row)
            if isinstance(blob, ChunkedBlob) and blob.list_lost():
                return Finding("missing", row.oid, row.size_bytes, row=row)
            sound = _sha256(blob) == row.oid.removeprefix("sha256:")
    except (StorageFailed, StorageTimeout):
        return Finding("unreadable", row.oid, row.size_bytes, row=row)
    return None if sound else Finding("corrupt", row.oid, row.size_bytes, row=row)


def _sha256(blob: StoredBlob) -> str:
    digest = hashlib.sha256()
    for start in range(0, blob.size_bytes, _PIECE_BYTES):
        digest.update(blob.read(start, _PIECE_BYTES))
    return digest.hexdigest()


def _wrong_xorbs(database: Database, store: BlobStore, suspects: list[StoredObject]) -> list[Finding]:
    with ThreadPoolExecutor(_READ_AT_ONCE, thread_name_prefix="checking") as threads:
        wrong = [found for found in threads.map(partial(examine_xorb, store), suspects) if found]
    with database.read() as session:
        current = stored.find_current(session, [found.xorb for found in wrong if found.xorb])
    return [found for found in wrong if found.xorb in current]


def examine_xorb(store: BlobStore, row: StoredObject) -> Finding | None:
    """The same of a xorb."""
    reading = Reading(row)
    try:
        blob = store.open(row.key)
        if blob is None:
            return Finding("missing", row.name, row.size_bytes, xorb=row)
        with blob:
            for start in range(0, blob.size_bytes, _PIECE_BYTES):
                reading.feed(blob.read(start, _PIECE_BYTES))
    except StorageFailed:
        return Finding("unreadable", row.name, row.size_bytes, xorb=row)
    return None if reading.is_sound() else Finding("corrupt", row.name, blob.size_bytes, xorb=row)


def _unreferenced(database: Database, store: BlobStore) -> list[Finding]:
    files = (name for name in store.scan() if name.kind == "blob")
    found: list[Finding] = []
    for some in in_batches(files):
        with database.read() as session:
            unknown = blobs.find_unknown(session, [file.name for file in some])
        found += [Finding("unreferenced", file.name, file.size_bytes) for file in some if file.name in unknown]
    return found


def _is_there(store: BlobStore, key: str) -> bool:
    blob = store.open(key)
    if blob is not None:
        blob.close()
    return blob is not None


def _unrecorded(database: Database) -> Iterator[Finding]:
    after_id = 0
    while True:
        with database.read() as session:
            trees = soundness.list_trees(session, after_id=after_id, most=_TREES_AT_ONCE)
            found = soundness.find_unrecorded(session, trees)
            uses = [tuple(soundness.list_uses(session, each.oid, each.tree_id)) for each in found]
        if not trees:
            return
        after_id = trees[-1]
        for each, needed_by in zip(found, uses, strict=True):
            yield Finding("unrecorded", each.oid, each.size_bytes, needed_by, tree_id=each.tree_id)
