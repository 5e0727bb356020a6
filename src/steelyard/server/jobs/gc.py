"""Clean-up that loses nothing: bytes that no version or upload needs go, after a grace, while everything else runs.

What is needed is decided in short transactions, by rows, one writer at a time on every database. A physical name is
never used twice, so that bytes whose row is gone can be deleted at leisure, by several collectors at once, and an
upload of the same digest that comes meanwhile brings bytes of its own. Clocks say only how long a grace lasts.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy.orm import Session

from steelyard.server.core import blobs
from steelyard.server.core.arrivals import streams, uploads
from steelyard.server.core.arrivals.uploads import Unfinished
from steelyard.server.core.xet import unneeded
from steelyard.server.core.xet.chunks import CLIENTS_REMEMBER_SECONDS
from steelyard.server.db.engine import Database, in_batches
from steelyard.server.db.tables import utc_now
from steelyard.server.storage import BlobStore, StoredName

T = TypeVar("T")
log = logging.getLogger(__name__)
ORPHAN_SECONDS = 4 * uploads.LINK_WITHIN_SECONDS  # a file is written before its row; nobody makes the row so late
_FEW = 100
_DELETES_AT_ONCE = 8  # a remote store is waited for, not worked for


@dataclass(frozen=True, slots=True)
class Collected:
    """What a clean-up let go, or would: `(oid, size_bytes)` of proven bytes, what the store held without a row,
    unfinished uploads, how many deletions another collector had left undone, and `(hash, size_bytes)` of xorbs."""

    blobs: tuple[tuple[str, int], ...]
    orphans: tuple[StoredName, ...]
    uploads: tuple[Unfinished, ...]
    leftovers: int = 0
    strangers: int = 0
    """Old blobs without a row that were left alone, since most of the store is such: `Orphans`."""
    xorbs: tuple[tuple[str, int], ...] = ()

    @property
    def freed_bytes(self) -> int:
        """Bytes in the store, together, as far as they are known."""
        return sum(size for _, size in (*self.blobs, *self.xorbs)) + sum(name.size_bytes for name in self.orphans)


Stopping = Callable[[], bool]


def _never() -> bool:
    return False


class Stopped(Exception):
    """A clean-up ended before it was done, since its server ends."""


@dataclass(frozen=True, slots=True)
class Orphans:
    """What the store holds and no row stands for; and how many blobs it holds in all.

    Servers that die leave few. Where most of the store is unknown to the database, that is another registry's, or as it
    was long ago: a restored one, say. Then blobs are `strangers`, and no clean-up takes them unless it is told to.
    """

    names: tuple[StoredName, ...]
    blobs: int

    @property
    def strangers(self) -> int:
        """How many blobs are not to be taken for left-overs."""
        unknown = sum(name.kind == "blob" for name in self.names)
        return unknown if unknown > _FEW and unknown > self.blobs / 2 else 0

    def left(self, *, even_most: bool) -> list[StoredName]:
        """Those that may go."""
        return [name for name in self.names if name.kind == "stage" or even_most or not self.strangers]


def collect(
    database: Database,
    store: BlobStore,
    *,
    grace_seconds: int,
    upload_ttl_seconds: int,
    xorb_grace_seconds: int = CLIENTS_REMEMBER_SECONDS,
    even_most: bool = False,
    is_stopping: Stopping = _never,
) -> Collected:
    """One clean-up. Safe to run beside pushes, deletes and other collectors, and to be killed at any moment.

    `even_most` takes strangers, too. Raises `Stopped` soon after `is_stopping` says so; the next one does the rest.
    """
    leftovers = len(delete_garbage(database, store, is_stopping))
    expired = _expire(database, store, _ago(upload_ttl_seconds), is_stopping)
    freed, xorbs = _let_go_all(database, _ago(grace_seconds), _ago(xorb_grace_seconds), is_stopping)
    delete_garbage(database, store, is_stopping)
    found = find_orphans(database, store, grace_seconds, is_stopping)
    orphans = remove_orphans(database, store, found.left(even_most=even_most), is_stopping)
    strangers = 0 if even_most else found.strangers
    collected = Collected(tuple(freed), tuple(orphans), tuple(expired), leftovers, strangers, tuple(xorbs))
    if strangers:
        log.warning("clean-up: %d of %d blobs are unknown to the database and were left alone", strangers, found.blobs)
    done = (len(freed), len(xorbs), len(orphans), len(expired))
    log.info("clean-up: %d blobs, %d xorbs, %d orphans, %d uploads", *done)
    return collected


def preview(
    database: Database,
    store: BlobStore,
    *,
    grace_seconds: int,
    upload_ttl_seconds: int,
    xorb_grace_seconds: int = CLIENTS_REMEMBER_SECONDS,
    even_most: bool = False,
) -> Collected:
    """What `collect` would do now."""
    with database.read(patient=True) as session:
        freed, xorbs = unneeded.list_collectable(session, _ago(grace_seconds), _ago(xorb_grace_seconds))
        untouched = _ago(upload_ttl_seconds)
        expired = [*uploads.list_expired(session, untouched), *streams.list_expired(session, untouched)]
        leftovers = len(blobs.list_garbage(session))
    found = find_orphans(database, store, grace_seconds)
    orphans, strangers = found.left(even_most=even_most), 0 if even_most else found.strangers
    return Collected(tuple(freed), tuple(orphans), tuple(expired), leftovers, strangers, tuple(xorbs))


def _ago(seconds: float) -> datetime:
    return utc_now() - timedelta(seconds=seconds)


def _expire(database: Database, store: BlobStore, untouched_since: datetime, is_stopping: Stopping) -> list[Unfinished]:
    """A few at a time: others write between the transactions."""
    gone: list[Unfinished] = []
    for kind in (uploads, streams):
        with database.read() as session:
            listed = {upload.id: upload for upload in kind.list_expired(session, untouched_since)}
        for some in _few(listed, is_stopping):
            with _short(database) as session:
                expired = kind.expire(session, some, untouched_since)
            _at_once(store.discard, expired)
            gone += [listed[stage_id] for stage_id in expired]
    return gone


def _let_go_all(
    database: Database, until: datetime, xorbs_until: datetime, is_stopping: Stopping
) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Blobs, then the xorbs that only these needed, then the blobs that only these stood over, and so on."""
    freed, xorbs, went = list[tuple[str, int]](), list[tuple[str, int]](), True
    while went:
        freed += _let_go(database, until, is_stopping)
        some, went = _let_go_xorbs(database, xorbs_until, is_stopping)
        xorbs += some
    return freed, xorbs


def _let_go_xorbs(database: Database, until: datetime, is_stopping: Stopping) -> tuple[list[tuple[str, int]], bool]:
    with database.read(patient=True) as session:
        listed = unneeded.list_unneeded(session, until)
    freed, went = list[tuple[str, int]](), False
    for some in _few(listed, is_stopping):
        with _short(database) as session:
            gone, anything = unneeded.let_go(session, some, until)
        freed, went = freed + gone, went or anything
    return freed, went


def _let_go(database: Database, until: datetime, is_stopping: Stopping) -> list[tuple[str, int]]:
    """A look without a lock, then short transactions that look again."""
    with database.read(patient=True) as session:
        unneeded = blobs.list_unneeded(session, until)
    freed: list[tuple[str, int]] = []
    for some in _few(unneeded, is_stopping):
        with _short(database) as session:
            freed += blobs.let_go(session, some, until)
    return freed


def delete_garbage(database: Database, store: BlobStore, is_stopping: Stopping = _never) -> list[str]:
    """Delete the bytes whose rows are gone; answers their names. A few at a time: what was done before a kill
    need not be done again, and others write between the transactions."""
    with database.read() as session:
        keys = blobs.list_garbage(session)
    for some in _few(keys, is_stopping):
        _at_once(store.delete, some)
        with _short(database) as session:
            blobs.forget_garbage(session, some)
    return keys


def find_orphans(database: Database, store: BlobStore, grace_seconds: int, is_stopping: Stopping = _never) -> Orphans:
    """Left by servers that died between bytes and row. What is young may be on its way to a row. Asks for the rows of
    some names after these were listed, and so misses none."""
    until = time.time() - max(grace_seconds, ORPHAN_SECONDS)
    found, count = list[StoredName](), 0
    for some in _few(store.scan(), is_stopping):
        count += len(_names(some, "blob"))
        old = [name for name in some if name.modified_at <= until]
        with database.read() as session:
            unknown = blobs.find_unknown(session, _names(old, "blob"))
            unknown |= uploads.find_unknown(session, _names(old, "stage"))
        found += [name for name in old if name.name in unknown]
    return Orphans(tuple(found), count)


def remove_orphans(
    database: Database, store: BlobStore, orphans: Collection[StoredName], is_stopping: Stopping = _never
) -> list[StoredName]:
    """Decide in a transaction, beside which nobody makes a row, that they are garbage still; then delete them."""
    removed: list[StoredName] = []
    for some in _few(orphans, is_stopping):
        with _short(database) as session:
            keys = blobs.disown(session, _names(some, "blob"))
            ids = uploads.find_unknown(session, _names(some, "stage"))
        _at_once(store.delete, keys)
        _at_once(store.discard, ids)
        if keys:
            with _short(database) as session:
                blobs.forget_garbage(session, keys)
        removed += [name for name in some if name.name in keys or name.name in ids]
    return removed


@contextmanager
def _short(database: Database) -> Iterator[Session]:
    """A transaction, and then as long a pause: not every database lets writers queue, and others are to get their turn
    in a long clean-up."""
    with database.write() as session:
        began = time.monotonic()
        yield session
    time.sleep(time.monotonic() - began)


def _few(items: Iterable[T], is_stopping: Stopping) -> Iterator[list[T]]:
    """A few at a time, until the server ends."""
    for some in in_batches(items):
        if is_stopping():
            raise Stopped
        yield some


def _names(some: Collection[StoredName], kind: str) -> list[str]:
    return [name.name for name in some if name.kind == kind]


def _at_once(delete: Callable[[str], None], names: Collection[str]) -> None:
    if names:
        with ThreadPoolExecutor(_DELETES_AT_ONCE, thread_name_prefix="deleting") as threads:
            for _ in threads.map(delete, names):
                pass
