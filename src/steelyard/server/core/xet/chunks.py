"""Xorbs: runs of chunks that Xet's clients send, which organisation may build on which of them, and where they lie.

A xorb is named by its content, and kept once however many organisations send it: the first serialisation stays, later
ones are thrown away. Who has not sent it, and holds no bytes that it stands for, is told nothing of it (`OrgXorb`).
"""

import secrets
import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import CursorResult, delete, exists, func, insert, select, update
from sqlalchemy.orm import Session

from steelyard.server.core import blobs
from steelyard.server.core.arrivals.uploads import LINK_WITHIN_SECONDS, Room
from steelyard.server.core.xet.layouts import place_of
from steelyard.server.db.engine import Database, in_batches
from steelyard.server.db.tables import DedupChunk, Org, OrgXorb, Recipe, RecipeXorb, Xorb, utc_now
from steelyard.server.errors import BadRequest, Conflict, NotFound, StorageFailed, TooLarge
from steelyard.server.storage import BlobStore, StoredBlob
from steelyard.server.storage.chunked import SerialisedXorb, has_xorb
from steelyard.server.xet import hashes
from steelyard.server.xet.hashes import Hash
from steelyard.server.xet.xorbs import TABLE_ROW_BYTES, Chunk, pack_table, unpack_table

CLIENTS_REMEMBER_SECONDS = 22 * 86400
"""Clients build on what they sent for three weeks without asking again; a day more is for clocks."""

DEDUP_TTL_SECONDS = 13 * 86400
"""For how long an answered shard may be built on. Clients add a week to it, and so stay within the three."""

NEVER_TOLD = datetime(1970, 1, 1, tzinfo=UTC)
"""When a link was touched of which no client has heard: clean-up owes it no grace."""

_TOUCH_AGAIN_SECONDS = 3600  # who was told so lately is not written down again
_ANSWERED_CHUNKS = 32_768  # 48 bytes each: of a file, some 2 GiB

_Told = tuple[Hash, list[Chunk]]


# --- on their way in


def check_room(session: Session, org: Org, size_bytes: int, room: Room) -> None:
    """Raise `TooLarge` where so many bytes more of a xorb would pass the organisation's quota or the disk's floor.

    To be asked before the body is read. Xorbs that no file is made of yet count as they are stored.
    """
    settings = room.settings
    if settings.quota_org_bytes:
        held = blobs.held_bytes(session, org.id) + _waiting_bytes(session, org.id)
        if held + size_bytes > settings.quota_org_bytes:
            raise TooLarge(
                f"'{org.slug}' holds {held} bytes, with chunks of files to come, and {size_bytes} more would pass its "
                f"quota (quota_org_bytes = {settings.quota_org_bytes}). Delete versions or ask the operator."
            )
    if room.free_bytes is not None and room.free_bytes - size_bytes < settings.free_disk_floor_bytes:
        raise TooLarge(
            f"{size_bytes} more bytes would leave less than the disk's floor free "
            f"(free_disk_floor_bytes = {settings.free_disk_floor_bytes}). The operator must make room."
        )


def _waiting_bytes(session: Session, org_id: int) -> int:
    """With their tables of chunks: those of a xorb of very small ones are longer than itself."""
    sizes = Xorb.size_bytes + func.length(Xorb.chunks)
    total = select(func.coalesce(func.sum(sizes), 0)).join(OrgXorb, OrgXorb.xorb_id == Xorb.id)
    waiting = (OrgXorb.org_id == org_id, Xorb.key.is_not(None), ~exists().where(RecipeXorb.xorb_id == Xorb.id))
    return int(session.scalar(total.where(*waiting)) or 0)


def find_xorb(session: Session, org_id: int, xorb_hash: Hash) -> Xorb | None:
    """The xorb of that name, if the organisation has it."""
    query = select(Xorb).join(OrgXorb, OrgXorb.xorb_id == Xorb.id).where(OrgXorb.org_id == org_id)
    return session.scalar(query.where(Xorb.hash == hashes.to_text(xorb_hash)))


class KnownXorb(NamedTuple):
    """A xorb that an organisation has, without its table of chunks, which may be long."""

    id: int
    chunk_count: int
    raw_bytes: int


def find_known(session: Session, org_id: int, wanted: Collection[Hash]) -> dict[Hash, KnownXorb]:
    """Those of these that the organisation has."""
    found: dict[Hash, KnownXorb] = {}
    query = select(Xorb.hash, Xorb.id, func.length(Xorb.chunks), Xorb.raw_bytes)
    query = query.join(OrgXorb, OrgXorb.xorb_id == Xorb.id).where(OrgXorb.org_id == org_id)
    for some in in_batches(wanted):
        rows = session.execute(query.where(Xorb.hash.in_(map(hashes.to_text, some))))
        found.update(
            (hashes.from_text(text), KnownXorb(id_, size // TABLE_ROW_BYTES, raw)) for text, id_, size, raw in rows
        )
    return found


def keep_xorb(
    database: Database, store: BlobStore, org_id: int, xorb_hash: Hash, chunks: Sequence[Chunk], stage_id: str
) -> bool:
    """End the upload of a xorb whose bytes lie staged, without a footer, and were proven chunk by chunk on the way.

    Answers whether it is new to this organisation. Raises `BadRequest` where its chunks have another hash; then, and
    where the registry has the xorb already, nothing stays staged.
    """
    found_hash = hashes.xorb_hash((chunk.hash, chunk.raw_bytes) for chunk in chunks)
    if found_hash != xorb_hash:
        store.discard(stage_id)
        raise BadRequest(f"These chunks are the xorb {hashes.to_text(found_hash)}, not {hashes.to_text(xorb_hash)}.")
    xorb = Xorb(
        hash=hashes.to_text(xorb_hash),
        size_bytes=sum(chunk.stored_bytes for chunk in chunks),
        raw_bytes=sum(chunk.raw_bytes for chunk in chunks),
        chunks=pack_table(chunks),
        blob_offset_bytes=0,
    )
    lost_id, is_known = _look(database, store, xorb.hash)
    if is_known:
        with database.write() as session:
            is_new = _grant_known(session, org_id, xorb.hash)
        if is_new is not None:
            store.discard(stage_id)
            return is_new
    return _commit(database, store, org_id, xorb, stage_id, lost_id)


def _look(database: Database, store: BlobStore, text: str) -> tuple[int | None, bool]:
    """The number of the xorb of that name if the store has lost its bytes; and whether there is one that is whole."""
    with database.read() as session:
        xorb = session.scalar(select(Xorb).where(Xorb.hash == text))
        place = None if xorb is None else place_of(session, xorb)
    if xorb is None or place is None:
        return None, False
    with store.open(place.key) or nullcontext() as blob:
        is_whole = has_xorb(place, blob)
    return (None, True) if is_whole else (xorb.id, False)


def _grant_known(session: Session, org_id: int, text: str) -> bool | None:
    """Note that the organisation has the xorb, and answer whether that is new; None where it went since the look."""
    xorb_id = session.scalar(select(Xorb.id).where(Xorb.hash == text))
    return None if xorb_id is None else grant(session, org_id, [xorb_id], utc_now()) > 0


def _commit(database: Database, store: BlobStore, org_id: int, xorb: Xorb, stage_id: str, lost_id: int | None) -> bool:
    """Bytes first, then their row: as in `proofs`, not so late that clean-up may have taken them for garbage."""
    key, until = f"{xorb.hash}.{secrets.token_hex(4)}", time.monotonic() + LINK_WITHIN_SECONDS
    store.commit(stage_id, key)
    with database.write() as session:
        if time.monotonic() > until:
            raise Conflict("The server stood still while it kept these bytes. Send them again.")
        kept = session.scalar(select(Xorb).where(Xorb.hash == xorb.hash))
        if kept is None:
            kept = xorb
            session.add(kept)
        if kept is xorb or kept.id == lost_id:
            _move(kept, xorb, key)
        session.flush()
        _index(session, kept.id, xorb.chunks)
        is_new = grant(session, org_id, [kept.id], utc_now()) > 0
    if kept.key != key:
        store.delete(key)
    return is_new


def _move(kept: Xorb, sent: Xorb, key: str) -> None:
    """The xorb's bytes are these from now on. Another serialisation of the same chunks may be longer or shorter."""
    kept.key, kept.blob_id, kept.blob_offset_bytes = key, None, 0
    kept.size_bytes, kept.chunks = sent.size_bytes, sent.chunks


def grant(session: Session, org_id: int, xorb_ids: Collection[int], touched_at: datetime) -> int:
    """Note that the organisation has these xorbs, touched then or, where it was told of one later, as they were.
    Answers how many are new to it."""
    count = 0
    for some in in_batches(sorted(set(xorb_ids))):
        links = (OrgXorb.org_id == org_id, OrgXorb.xorb_id.in_(some))
        known = set(session.scalars(select(OrgXorb.xorb_id).where(*links)))
        later = update(OrgXorb).where(*links, OrgXorb.touched_at < touched_at).values(touched_at=touched_at)
        session.execute(later, execution_options={"synchronize_session": False})
        rows = [{"org_id": org_id, "xorb_id": each, "touched_at": touched_at} for each in some if each not in known]
        if rows:
            session.execute(insert(OrgXorb), rows)
        count += len(rows)
    return count


def touch(session: Session, org_id: int, xorb_ids: Collection[int]) -> bool:
    """Begin the grace of these anew: somebody was just told that he may build on them, or does. False where the
    organisation has not all of them any more."""
    touched = 0
    for some in in_batches(xorb_ids):
        links = update(OrgXorb).where(OrgXorb.org_id == org_id, OrgXorb.xorb_id.in_(some)).values(touched_at=utc_now())
        done: CursorResult[tuple[()]] = session.execute(  # type: ignore[assignment]
            links, execution_options={"synchronize_session": False}
        )
        touched += done.rowcount
    return touched == len(xorb_ids)


def note_lost(session: Session, xorb_ids: Collection[int]) -> None:
    """The store has lost the bytes of these: nobody builds on them any more, and who sends them again brings them back.

    Clients begin with empty caches, else they would not send them.
    """
    for some in in_batches(xorb_ids):
        holders = select(OrgXorb.org_id).where(OrgXorb.xorb_id.in_(some)).distinct()
        empty_caches(session, set(session.scalars(holders)))
        session.execute(delete(OrgXorb).where(OrgXorb.xorb_id.in_(some)))
        session.execute(delete(DedupChunk).where(DedupChunk.xorb_id.in_(some)))


def empty_caches(session: Session, org_ids: Collection[int]) -> None:
    """Let the clients of these organisations forget what they believe to be here: they keep it by an address, and get
    another one the next time that they ask."""
    for some in in_batches(org_ids):
        raised = update(Org).where(Org.id.in_(some)).values(xet_generation=Org.xet_generation + 1)
        session.execute(raised, execution_options={"synchronize_session": False})


# --- what clients may build on


def _index(session: Session, xorb_id: int, table: bytes) -> None:
    """Let clients find the xorb by those of its chunks that they ask for by themselves."""
    add_dedup(session, xorb_id, (chunk.hash for chunk in unpack_table(table) if hashes.is_asked_for(chunk.hash)))


def add_dedup(session: Session, xorb_id: int, chunk_hashes: Iterable[Hash]) -> None:
    """Let clients find the xorb by these chunks of its."""
    texts = {hashes.to_text(each) for each in chunk_hashes}
    for some in in_batches(sorted(texts)):
        links = (DedupChunk.xorb_id == xorb_id, DedupChunk.chunk_hash.in_(some))
        known = set(session.scalars(select(DedupChunk.chunk_hash).where(*links)))
        rows = [{"chunk_hash": text, "xorb_id": xorb_id} for text in some if text not in known]
        if rows:
            session.execute(insert(DedupChunk), rows)


def find_dedup(database: Database, org_id: int, chunk_hash: Hash) -> list[tuple[Hash, list[Chunk]]]:
    """Xorbs of the organisation's to build on for who has this chunk, as `xet.shards.write_dedup_shard` takes them: one
    that has it, and what follows it in a file of theirs. Empty where there is none. Begins their grace anew.
    """
    with database.read() as session:
        found = _find_dedup(session, org_id, hashes.to_text(chunk_hash))
        stale = _list_stale(session, org_id, list(found))
    if stale:
        with database.write() as session:
            if not touch(session, org_id, stale):
                return []  # clean-up was faster
    return list(found.values())


def _find_dedup(session: Session, org_id: int, text: str) -> dict[int, _Told]:
    """What follows is told at once: a client asks for one chunk in a thousand, and not every xorb has one of these."""
    query = select(DedupChunk.xorb_id).join(OrgXorb, OrgXorb.xorb_id == DedupChunk.xorb_id)
    query = query.where(DedupChunk.chunk_hash == text, OrgXorb.org_id == org_id)
    # One that a file is made of, before one that nothing needs: that file may go on with more that the client has.
    last = select(func.max(Recipe.id)).join(RecipeXorb, RecipeXorb.recipe_id == Recipe.id)
    last = last.where(RecipeXorb.xorb_id == DedupChunk.xorb_id, Recipe.org_id == org_id)
    recipe_id = last.correlate(DedupChunk).scalar_subquery()
    row = session.execute(query.add_columns(recipe_id).order_by(func.coalesce(recipe_id, 0).desc()).limit(1)).first()
    if row is None:
        return {}
    following = [row[0], *(_following(session, row[1], row[0]) if row[1] is not None else ())]
    return _load_some(session, org_id, list(dict.fromkeys(following)))


def _following(session: Session, recipe_id: int, xorb_id: int) -> list[int]:
    recipe = session.get_one(Recipe, recipe_id)
    numbers = [number for number, *_ in recipe.terms]
    return numbers[numbers.index(xorb_id) :]


def _load_some(session: Session, org_id: int, xorb_ids: list[int]) -> dict[int, _Told]:
    """Those of these that the organisation has, in their order, up to a number of chunks; the first one in any case."""
    found: dict[int, _Told] = {}
    count = 0
    for xorb_id in xorb_ids:
        query = select(Xorb.hash, Xorb.chunks).join(OrgXorb, OrgXorb.xorb_id == Xorb.id)
        row = session.execute(query.where(Xorb.id == xorb_id, OrgXorb.org_id == org_id)).one_or_none()
        chunks = [] if row is None else unpack_table(row.chunks)
        count += len(chunks)
        if found and count > _ANSWERED_CHUNKS:
            break
        if row is not None:
            found[xorb_id] = hashes.from_text(row.hash), chunks
    return found


def _list_stale(session: Session, org_id: int, xorb_ids: list[int]) -> list[int]:
    lately = utc_now() - timedelta(seconds=_TOUCH_AGAIN_SECONDS)
    links = (OrgXorb.org_id == org_id, OrgXorb.xorb_id.in_(xorb_ids), OrgXorb.touched_at < lately)
    return list(session.scalars(select(OrgXorb.xorb_id).where(*links)))


# --- on their way out


def find_key(session: Session, xorb_hash: Hash) -> str | None:
    """The physical name of the object that a xorb has to itself; None where it has none, or is not there. Asks nobody
    whether he may read it."""
    return session.scalar(select(Xorb.key).where(Xorb.hash == hashes.to_text(xorb_hash)))


def open_xorb(database: Database, store: BlobStore, xorb_hash: Hash) -> StoredBlob:
    """The stored form of a xorb, to send ranges of; made on the fly where it stands for a whole blob's bytes.

    For callers who have shown that they may read these bytes: nothing is asked here. Raises `NotFound`.
    """
    with database.read() as session:
        xorb = session.scalar(select(Xorb).where(Xorb.hash == hashes.to_text(xorb_hash)))
        if xorb is None:
            raise NotFound("There are no such chunks any more. Ask for the file again.")
        place = None if xorb.key is not None else place_of(session, xorb)
    blob = store.open(xorb.key or (place.key if place else ""))
    if blob is None:
        raise StorageFailed("The store does not have these chunks. The operator runs `steelyard admin check`.")
    return blob if place is None else SerialisedXorb(blob, place)
