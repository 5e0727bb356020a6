"""Is every byte there that a row promises, and does it hash to its name?"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from steelyard.server.core import blobs
from steelyard.server.core.blobs import HeldBlob
from steelyard.server.db.engine import Database
from steelyard.server.storage import BlobStore, StoredBlob

_PIECE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: bytes `missing`, `corrupt`, of the wrong `size`, or a file that is `unreferenced`."""

    kind: Literal["missing", "corrupt", "size", "unreferenced"]
    name: str
    size_bytes: int


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
    """Read and hash every blob of the registry. The server may run meanwhile: what comes or goes is no finding."""
    files = [name for name in store.scan() if name.kind == "blob"]
    with database.read() as session:
        rows = list(blobs.list_blobs(session))
    wrong = [(row, finding) for row in rows for finding in _check_blob(store, row)]
    with database.read() as session:
        known = blobs.known_keys(session)
    findings = [finding for row, finding in wrong if row.key in known]
    findings += [
        Finding("unreferenced", file.name, file.size_bytes)
        for file in files
        if file.name not in known and _is_there(store, file.name)
    ]
    return Checked(len(rows), sum(row.size_bytes for row in rows), tuple(findings))


def _check_blob(store: BlobStore, row: HeldBlob) -> Iterator[Finding]:
    blob = store.open(row.key)
    if blob is None:
        yield Finding("missing", row.oid, row.size_bytes)
        return
    with blob:
        if blob.size_bytes != row.size_bytes:
            yield Finding("size", row.oid, blob.size_bytes)
        elif _sha256(blob) != row.oid.removeprefix("sha256:"):
            yield Finding("corrupt", row.oid, row.size_bytes)


def _is_there(store: BlobStore, key: str) -> bool:
    blob = store.open(key)
    if blob is not None:
        blob.close()
    return blob is not None


def _sha256(blob: StoredBlob) -> str:
    digest = hashlib.sha256()
    for start in range(0, blob.size_bytes, _PIECE_BYTES):
        digest.update(blob.read(start, _PIECE_BYTES))
    return digest.hexdigest()
