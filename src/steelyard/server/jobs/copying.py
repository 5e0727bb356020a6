"""A registry to another database and another store: passes over the bytes while the source serves, then all rows.

Each blob is hashed where it is read and again where it was written, each xorb proven chunk by chunk in between. They
keep their names, so that what is in the target under its name needs no second look and a copy that was killed goes on.
The rows come last and in one transaction, while nobody writes to the source: before it the target is no registry, after
it the whole one.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from uuid import uuid4

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from steelyard.server.core import stored
from steelyard.server.core.stored import Reading, StoredObject
from steelyard.server.db import carrying
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import SigningKey, Upload
from steelyard.server.errors import Conflict, StorageFailed
from steelyard.server.storage import BlobStore

_PIECE_BYTES = 4 * 2**20
_BLOBS_AT_ONCE = 4
_PASSES = 3  # while the source serves; what comes after these the last one takes

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a registry is, or shall be."""

    database: Database
    store: BlobStore


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass over the bytes found: how many there are, what it copied of them, and what the source has lost."""

    blobs: int = 0
    bytes: int = 0
    copied: int = 0
    copied_bytes: int = 0
    lost: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Moved:
    """A whole copy: its rows by table, its bytes, and how many unfinished uploads stayed behind."""

    rows: Mapping[str, int]
    bytes: Pass
    uploads: int


def copy_ahead(source: Place, target: Place, tell: Tell) -> Pass:
    """Copy bytes while the source serves and is written to, until a pass finds next to nothing new.

    Raises `Conflict` where the target is neither empty nor an unfinished copy of this source.
    """
    mark = _mark_of(source.database)
    if not carrying.is_marked(target.database, mark):
        if any(True for _ in target.store.scan()):
            raise Conflict("The target store holds something already. Name an empty one, or a prefix of its own.")
        carrying.make_marked(target.database, mark)
    _discard_halves(target.store)
    done = Pass()
    for _ in range(_PASSES):
        found = _copy_bytes(stored.list_by_pages(source.database), source.store, target.store, tell)
        done = _after(done, found)
        if not found.copied:
            break
    return done


def finish(source: Place, target: Place, ahead: Pass, tell: Tell) -> Moved:
    """The last pass: what came since, and then the rows, while nobody writes to the source. Readers are not held up."""
    mark = _mark_of(source.database)
    with source.database.write(patient=True) as quiet:
        last = _copy_bytes([stored.list_objects(quiet)], source.store, target.store, tell)
        uploads = quiet.scalar(select(func.count()).select_from(Upload)) or 0
        tell("rows")
        with target.database.write(patient=True) as session:
            rows = carrying.carry(quiet, session, mark)
            _compare(session, target.store, last)
    return Moved(rows, _after(ahead, last), uploads)


def _mark_of(database: Database) -> str:
    """What tells one registry from another: the first key that it signed with."""
    with database.read() as session:
        secret = session.scalar(select(SigningKey.secret).order_by(SigningKey.id).limit(1))
    return hashlib.sha256(secret or b"").hexdigest()[:16]


def _discard_halves(store: BlobStore) -> None:
    """What a copy that was killed had not proven, or was about to give its name."""
    for name in list(store.scan()):
        if name.kind == "stage":
            store.discard(name.name)
        elif not name.size_bytes and not _is_there(store, name.name):  # so an S3 store shows what is half joined
            store.delete(name.name)


def _is_there(store: BlobStore, key: str) -> bool:
    with store.open(key) or nullcontext() as blob:
        return blob is not None


def _copy_bytes(pages: Iterable[list[StoredObject]], source: BlobStore, target: BlobStore, tell: Tell) -> Pass:
    there = _sizes_of(target)
    done = Pass()
    with ThreadPoolExecutor(_BLOBS_AT_ONCE, thread_name_prefix="copying") as threads:
        for rows in pages:
            missing = [row for row in rows if there.get(row.key) != row.size_bytes]
            copied = list(zip(missing, threads.map(partial(copy_object, source, target), missing), strict=True))
            done = _sum(done, _pass_of(rows, copied))
            tell(f"{done.blobs} blobs looked at, {done.copied} copied ({done.copied_bytes} bytes)")
    return done


def _sizes_of(store: BlobStore) -> dict[str, int]:
    """What a target has, by name. Each was proven before it got its name."""
    return {name.name: name.size_bytes for name in store.scan() if name.kind == "blob"}


def _pass_of(rows: list[StoredObject], copied: list[tuple[StoredObject, bool]]) -> Pass:
    sound = [row for row, is_sound in copied if is_sound]
    return Pass(
        len(rows),
        sum(row.size_bytes for row in rows),
        len(sound),
        sum(row.size_bytes for row in sound),
        tuple(row.name for row, is_sound in copied if not is_sound),
    )


def _sum(one: Pass, more: Pass) -> Pass:
    return Pass(
        one.blobs + more.blobs,
        one.bytes + more.bytes,
        one.copied + more.copied,
        one.copied_bytes + more.copied_bytes,
        one.lost + more.lost,
    )


def _after(earlier: Pass, later: Pass) -> Pass:
    """What two passes over the same blobs did."""
    copied, copied_bytes = earlier.copied + later.copied, earlier.copied_bytes + later.copied_bytes
    return replace(later, copied=copied, copied_bytes=copied_bytes)


def copy_object(source: BlobStore, target: BlobStore, row: StoredObject) -> bool:
    """Copy an object under its own name; False where the source has lost it. Raises `StorageFailed` where the target
    gives back other bytes than it was sent."""
    blob, stage_id, reading = source.open(row.key), uuid4().hex, Reading(row)
    if blob is None:
        return False
    with blob, target.stage(stage_id, 0) as writer:
        for start in range(0, blob.size_bytes, _PIECE_BYTES):
            piece = blob.read(start, _PIECE_BYTES)
            reading.feed(piece)
            writer.write([piece])
    if not reading.is_sound():
        target.discard(stage_id)
        return False
    if target.prove(stage_id).sha256_hex != reading.sha256_hex:
        target.discard(stage_id)
        raise StorageFailed(f"The target store gives back other bytes than it was sent ({row.name}).")
    target.commit(stage_id, row.key)
    return True


def _compare(session: Session, store: BlobStore, last: Pass) -> None:
    """Before the copy is a registry: has the store, by its own account, all that the rows promise?"""
    there = _sizes_of(store)
    wrong = [row.name for row in stored.list_objects(session) if there.get(row.key) != row.size_bytes]
    if set(wrong) - set(last.lost):
        raise StorageFailed(f"The target store does not have all that it was sent: {', '.join(wrong[:3])}.")
