"""Clean-up that loses nothing: bytes that no version or upload needs go, after a grace, while everything else runs.

What is needed is decided in one transaction, by rows. A physical name is never used twice, so that bytes whose row is
gone can be deleted at leisure, and an upload of the same digest that comes meanwhile brings bytes of its own.
"""

import logging
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from steelyard.server.core import blobs, uploads
from steelyard.server.db.engine import Database, in_batches
from steelyard.server.db.tables import utc_now
from steelyard.server.storage import BlobStore, StoredName

log = logging.getLogger(__name__)
ORPHAN_SECONDS = 3600  # a file is written moments before its row; no transaction lasts so long


@dataclass(frozen=True, slots=True)
class Collected:
    """What a clean-up let go, or would: `(oid, size_bytes)` of proven bytes, `(name, size_bytes)` of files without a
    row, and how many unfinished uploads."""

    blobs: tuple[tuple[str, int], ...]
    orphans: tuple[tuple[str, int], ...]
    uploads: int

    @property
    def freed_bytes(self) -> int:
        """Bytes on disk, together."""
        return sum(size for _, size in (*self.blobs, *self.orphans))


def collect(database: Database, store: BlobStore, *, grace_seconds: int, upload_ttl_seconds: int) -> Collected:
    """One clean-up. Safe to run beside pushes, deletes and other collectors, and to be killed at any moment."""
    until = utc_now() - timedelta(seconds=grace_seconds)
    expired = _expire(database, store, utc_now() - timedelta(seconds=upload_ttl_seconds))
    freed = _let_go(database, until)
    _delete_garbage(database, store)
    orphans = _orphans(database, store, grace_seconds)
    for name in orphans:
        (store.delete if name.kind == "blob" else store.discard)(name.name)
    collected = Collected(tuple(freed), tuple((n.name, n.size_bytes) for n in orphans), expired)
    log.info("clean-up: %d blobs, %d orphans, %d uploads", len(freed), len(orphans), expired)
    return collected


def _expire(database: Database, store: BlobStore, untouched_since: datetime) -> int:
    """A few at a time: others write between the transactions."""
    with database.read() as session:
        ids = uploads.list_expired(session, untouched_since)
    gone = 0
    for some in in_batches(ids):
        with database.write() as session:
            expired = uploads.expire(session, some, untouched_since)
        for upload_id in expired:
            store.discard(upload_id)
        gone += len(expired)
    return gone


def _let_go(database: Database, until: datetime) -> list[tuple[str, int]]:
    """A look without a lock, then short transactions that look again."""
    with database.read() as session:
        unneeded = blobs.list_unneeded(session, until)
    freed: list[tuple[str, int]] = []
    for some in in_batches(unneeded):
        with database.write() as session:
            freed += blobs.let_go(session, some, until)
    return freed


def preview(database: Database, store: BlobStore, *, grace_seconds: int, upload_ttl_seconds: int) -> Collected:
    """What `collect` would do now."""
    with database.read() as session:
        freed = blobs.list_collectable(session, utc_now() - timedelta(seconds=grace_seconds))
        expired = uploads.list_expired(session, utc_now() - timedelta(seconds=upload_ttl_seconds))
    orphans = _orphans(database, store, grace_seconds)
    return Collected(tuple(freed), tuple((n.name, n.size_bytes) for n in orphans), len(expired))


def _delete_garbage(database: Database, store: BlobStore) -> None:
    with database.read() as session:
        keys = blobs.list_garbage(session)
    for key in keys:
        store.delete(key)
    if keys:
        with database.write() as session:
            blobs.forget_garbage(session, keys)


def _orphans(database: Database, store: BlobStore, grace_seconds: int) -> list[StoredName]:
    """Files that no row stands for, left by a server that died between file and row."""
    until = time.time() - max(grace_seconds, ORPHAN_SECONDS)
    old = [name for name in store.scan() if name.modified_at <= until]
    with database.read() as session:
        known = blobs.known_keys(session) | uploads.known_ids(session) | set(blobs.list_garbage(session))
    return [name for name in old if name.name not in known]
