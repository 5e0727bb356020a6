"""Uploads whose bytes go straight from the client to the store: their sessions are the store's own.

Which parts arrived only the store knows, so it is asked, and never inside a transaction.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from steelyard.server.core.arrivals.uploads import (
    LEAST_STORE_PART_BYTES,
    LOOKS_AT_ONCE,
    Manner,
    Offer,
    check_parts,
    goes_straight,
    part_count,
    part_span,
)
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Upload
from steelyard.server.errors import Conflict, NotFound
from steelyard.server.storage import BlobStore, DirectTransfers

_GONE = "The store has thrown this upload away. Ask for it again and send the parts anew."
_SWITCHED_OFF = "Bytes go through this server by now. Ask for the upload again and send the parts anew."


def open_sessions(database: Database, store: BlobStore, offers: Sequence[Offer], manner: Manner) -> list[Offer]:
    """The same offers, with a session of the store's for each that may go straight to it, and the parts it has."""
    direct = store.direct
    if direct is None or not manner.straight:
        return list(offers)
    with ThreadPoolExecutor(LOOKS_AT_ONCE, thread_name_prefix="opening") as threads:
        found = list(threads.map(partial(_look, direct, manner), offers))
    begun = [(offer.upload, handle) for offer, handle in found if offer.upload and handle]
    if begun:
        with database.write(beside=True) as session:
            for upload, handle in begun:
                _note(session, upload, handle, manner)
    return [offer for offer, _ in found]


def _look(direct: DirectTransfers, manner: Manner, offer: Offer) -> tuple[Offer, str | None]:
    """What the store has of an upload; where it has to have a session and has none, a new one's handle."""
    upload = offer.upload
    if upload is None or upload.state != "open":
        return offer, None
    if upload.handle is not None:
        with suppress(NotFound):
            return replace(offer, parts_done=_whole(upload, direct.list_parts(upload.id, upload.handle))), None
    elif offer.parts_done or not _fits(upload, manner):
        return offer, None
    return offer, direct.begin(upload.id, checksums=manner.checksums)


def _fits(upload: Upload, manner: Manner) -> bool:
    """Whether an upload may go straight. One that was begun to go through the server may have parts too small."""
    is_one = part_count(upload) == 1
    return goes_straight(upload.size_bytes, manner) and (is_one or upload.part_size_bytes >= LEAST_STORE_PART_BYTES)


def _note(session: Session, upload: Upload, handle: str, manner: Manner) -> None:
    """Write a session's handle down, unless somebody who asked at the same time was faster: then his is used."""
    before = Upload.handle.is_(None) if upload.handle is None else Upload.handle == upload.handle
    changed = update(Upload).where(Upload.id == upload.id, before).values(handle=handle, checksums=manner.checksums)
    session.execute(changed, execution_options={"synchronize_session": False})
    kept = session.execute(select(Upload.handle, Upload.checksums).where(Upload.id == upload.id)).one_or_none()
    if kept is not None:
        upload.handle, upload.checksums = kept


def get_transfers(store: BlobStore) -> DirectTransfers:
    """The store's side of it; raises `Conflict` where the operator has switched it off since the upload was begun."""
    if store.direct is None:
        raise Conflict(_SWITCHED_OFF)
    return store.direct


def check_arrived(store: BlobStore, upload: Upload) -> None:
    """Raise `Conflict` unless the store has every part, each of its size."""
    try:
        sizes = get_transfers(store).list_parts(upload.id, upload.handle or "")
    except NotFound as error:
        raise Conflict(_GONE) from error
    check_parts(upload, _whole(upload, sizes))


def _whole(upload: Upload, sizes: Mapping[int, int]) -> list[int]:
    """The numbers of the parts that arrived and have the size that they should."""
    count = part_count(upload)
    return sorted(n for n, size in sizes.items() if 1 <= n <= count and size == part_span(upload, n)[1])
