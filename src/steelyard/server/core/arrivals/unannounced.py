"""Bytes that nobody announced: they are hashed on their way in, and kept when it is known what they are.

Small texts come so inside the Hub's commits (`regular`), and files from a browser. Bytes first, then one short
transaction, as every upload ends: see `proofs`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from sqlalchemy.orm import Session

from steelyard.server.core import blobs
from steelyard.server.core.arrivals import uploads
from steelyard.server.core.arrivals.uploads import LINK_WITHIN_SECONDS, Room, Wanted
from steelyard.server.core.files.reading import is_whole
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Org
from steelyard.server.errors import Conflict
from steelyard.server.names import Oid
from steelyard.server.storage import BlobStore


@dataclass(frozen=True, slots=True)
class Arrival:
    """Bytes that are here, and known. `put` gives the store's name for them, a key that no row has yet, to them."""

    oid: Oid
    size_bytes: int
    put: Callable[[str], None]


def _nothing_else(_session: Session) -> None:
    return


def keep(
    database: Database,
    store: BlobStore,
    org: Org,
    arrivals: Sequence[Arrival],
    room: Room,
    and_note: Callable[[Session], None] = _nothing_else,
) -> None:
    """Have the organisation hold these bytes, and note something in the same transaction. Raises `TooLarge`. Whoever
    calls has asked whether the caller may. Of what is held already, nothing is put anywhere."""
    by_oid = {arrival.oid: arrival for arrival in arrivals}
    with database.read() as session:
        held = blobs.find_held(session, org.id, by_oid)
    damaged = uploads.find_damaged(store, held.values())
    missing = [arrival for oid, arrival in by_oid.items() if oid not in held or oid in damaged]
    with database.read() as session:
        uploads.check_room(session, org, [Wanted(arrival.oid, arrival.size_bytes) for arrival in missing], room)
        known = blobs.find_keys(session, {arrival.oid for arrival in missing})
    began = time.monotonic()
    with ThreadPoolExecutor(uploads.LOOKS_AT_ONCE, thread_name_prefix="keeping") as threads:
        keys = list(threads.map(_put, missing))
        lost = list(threads.map(partial(_find_lost, store, known), missing))
    with database.write() as session:
        if time.monotonic() > began + LINK_WITHIN_SECONDS:
            raise Conflict("The server stood still while it kept these bytes. Send them again.")
        kept = [
            blobs.link(session, org.id, arrival.oid, arrival.size_bytes, key, lost_key=lost_key)
            for arrival, key, lost_key in zip(missing, keys, lost, strict=True)
        ]
        blobs.touch(session, org.id, [blob.id for blob in held.values()])
        and_note(session)
    for key in set(keys) - set(kept):
        store.delete(key)


def _put(arrival: Arrival) -> str:
    key = blobs.new_key(arrival.oid)
    arrival.put(key)
    return key


def _find_lost(store: BlobStore, known: Mapping[str, str], arrival: Arrival) -> str | None:
    """The key by which the registry knows these bytes, where the store has no such bytes any more."""
    key = known.get(arrival.oid)
    return None if key is None or is_whole(store, key, arrival.size_bytes) else key
