"""Bytes on their way in: sessions that survive restarts, part by part, and the proof before anything is linked.

An upload ends in one of two ways: its bytes hash to the OID that was announced and the organisation holds them, or
nothing of it stays. Bytes first, then one short transaction.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from steelyard.server.core import blobs
from steelyard.server.core.access import Actor
from steelyard.server.core.blobs import HeldBlob
from steelyard.server.db.engine import Database, in_batches
from steelyard.server.db.tables import Org, Upload, UploadPart, utc_now
from steelyard.server.errors import Conflict, Fault, Invalid, NotFound, TooLarge
from steelyard.server.names import Oid
from steelyard.server.settings import Settings
from steelyard.server.storage import BlobStore

MAX_PARTS = 10_000  # what S3 allows; the part size grows for larger files
RETRY_SECONDS = 2
UNDER_WAY_SECONDS = 3600  # an upload untouched for so long no longer keeps room from others


@dataclass(frozen=True, slots=True)
class Wanted:
    """Bytes that a client would like to send."""

    oid: Oid
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Offer:
    """The answer to one `Wanted`: `upload` is None when the organisation holds the bytes already."""

    wanted: Wanted
    upload: Upload | None
    parts_done: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Room:
    """How much may come in: the limits in force and what is free on the store's disk (None: cannot be known)."""

    settings: Settings
    free_bytes: int | None


def find_damaged(session: Session, store: BlobStore, org: Org, wanted: Sequence[Wanted]) -> set[str]:
    """OIDs that the organisation holds by its rows, while the store has no such bytes, or not so many of them."""
    held = blobs.find_held(session, org.id, {item.oid for item in wanted})
    return {oid for oid, blob in held.items() if not _is_whole(store, blob.key, blob.size_bytes)}


def begin_uploads(
    session: Session, actor: Actor, org: Org, wanted: Sequence[Wanted], room: Room, damaged: Collection[str] = ()
) -> list[Offer]:
    """Open, or find again, an upload for each of these that the organisation does not hold, or that are `damaged`.

    Raises `TooLarge`.
    """
    held = blobs.find_held(session, org.id, {item.oid for item in wanted} - set(damaged))
    faults = _wrong_sizes(wanted, held)
    if faults:
        raise Invalid("Some sizes are not those of the bytes with these digests.", faults=faults)
    blobs.touch(session, org.id, [blob.id for blob in held.values()])
    missing = {item.oid: item for item in wanted if item.oid not in held}
    _check_room(session, org, list(missing.values()), room)
    offers = _offers(session, actor, org, missing, room.settings)
    return [offers.get(item.oid) or Offer(item, None) for item in wanted]


def _wrong_sizes(wanted: Sequence[Wanted], held: dict[str, HeldBlob]) -> tuple[Fault, ...]:
    """Bytes have one size: the one that is on record, or else the first that was announced."""
    sizes = {blob.oid: blob.size_bytes for blob in held.values()}
    found = ((index, item, sizes.setdefault(item.oid, item.size_bytes)) for index, item in enumerate(wanted))
    return tuple(
        Fault(("body", "objects", index, "size"), f"these bytes are {size_bytes} long", "size_mismatch")
        for index, item, size_bytes in found
        if size_bytes != item.size_bytes
    )


def _check_room(session: Session, org: Org, missing: Sequence[Wanted], room: Room) -> None:
    settings, incoming = room.settings, sum(item.size_bytes for item in missing)
    largest = max((item.size_bytes for item in missing), default=0)
    if settings.max_file_bytes and largest > settings.max_file_bytes:
        raise TooLarge(
            f"A file of {largest} bytes is larger than this server takes (max_file_bytes = {settings.max_file_bytes})."
        )
    if settings.quota_org_bytes and incoming:
        held = blobs.held_bytes(session, org.id) + _under_way_bytes(session, org, missing)
        if held + incoming > settings.quota_org_bytes:
            raise TooLarge(
                f"'{org.slug}' holds {held} bytes and {incoming} more would pass its quota "
                f"(quota_org_bytes = {settings.quota_org_bytes}). Delete versions or ask the operator."
            )
    if incoming and room.free_bytes is not None and room.free_bytes - incoming < settings.free_disk_floor_bytes:
        raise TooLarge(
            f"{incoming} more bytes would leave less than the disk's floor free "
            f"(free_disk_floor_bytes = {settings.free_disk_floor_bytes}). The operator must make room."
        )


def check_floor(settings: Settings, free_bytes: int | None) -> None:
    """Raise `TooLarge` when the disk is down to its floor: what was granted before may have filled it."""
    if free_bytes is not None and free_bytes < settings.free_disk_floor_bytes:
        raise TooLarge(
            "The disk is down to its floor and takes no more bytes "
            f"(free_disk_floor_bytes = {settings.free_disk_floor_bytes}). The operator must make room; then go on."
        )


def _under_way_bytes(session: Session, org: Org, but: Sequence[Wanted]) -> int:
    """What other uploads to the organisation were promised room lately, and have not brought yet."""
    lately = utc_now() - timedelta(seconds=UNDER_WAY_SECONDS)
    promised = select(func.coalesce(func.sum(Upload.size_bytes), 0)).where(
        Upload.org_id == org.id,
        Upload.touched_at >= lately,
        Upload.state != "failed",
        Upload.oid.not_in([item.oid for item in but]),
    )
    return int(session.scalar(promised) or 0)


def _offers(
    session: Session, actor: Actor, org: Org, missing: Mapping[Oid, Wanted], settings: Settings
) -> dict[Oid, Offer]:
    """An open upload for each: one that this caller began before, with its parts, or a new one."""
    begun = _find_begun(session, actor, org, missing)
    _check_count(session, org, len(missing) - len(begun), settings)
    parts = _parts_of(session, [upload.id for upload in begun.values()])
    new = {oid: _new_upload(actor, org, item, settings) for oid, item in missing.items() if oid not in begun}
    session.add_all(new.values())
    session.flush()
    uploads = begun | new
    return {oid: Offer(item, uploads[oid], tuple(parts.get(uploads[oid].id, ()))) for oid, item in missing.items()}


def _check_count(session: Session, org: Org, more: int, settings: Settings) -> None:
    if not more or not settings.max_open_uploads:
        return
    count = session.scalar(select(func.count()).select_from(Upload).where(Upload.org_id == org.id)) or 0
    if count + more > settings.max_open_uploads:
        raise TooLarge(
            f"'{org.slug}' has {count} unfinished uploads, and {more} more would pass the limit "
            f"(max_open_uploads = {settings.max_open_uploads}). Finish some; others go after a while by themselves."
        )


def _find_begun(session: Session, actor: Actor, org: Org, missing: Mapping[Oid, Wanted]) -> dict[Oid, Upload]:
    begun: dict[Oid, Upload] = {}
    for some in in_batches(missing):
        query = select(Upload).where(Upload.org_id == org.id, Upload.principal == actor.principal, Upload.oid.in_(some))
        for upload in session.scalars(query.where(Upload.state != "failed").order_by(Upload.created_at)):
            oid = Oid(upload.oid)
            if upload.size_bytes == missing[oid].size_bytes:
                upload.touched_at = utc_now()
                begun[oid] = upload
    return begun


def _new_upload(actor: Actor, org: Org, item: Wanted, settings: Settings) -> Upload:
    return Upload(
        id=uuid4().hex,
        org_id=org.id,
        principal=actor.principal,
        oid=item.oid,
        size_bytes=item.size_bytes,
        part_size_bytes=max(settings.part_size_bytes, math.ceil(item.size_bytes / MAX_PARTS)),
    )


def _parts_of(session: Session, upload_ids: Sequence[str]) -> dict[str, list[int]]:
    parts: dict[str, list[int]] = {}
    for some in in_batches(upload_ids):
        query = select(UploadPart.upload_id, UploadPart.number).where(UploadPart.upload_id.in_(some))
        for upload_id, number in session.execute(query.order_by(UploadPart.number)):
            parts.setdefault(upload_id, []).append(number)
    return parts


def parts_done(session: Session, upload_id: str) -> tuple[int, ...]:
    """The numbers of the parts that arrived, ascending."""
    return tuple(_parts_of(session, [upload_id]).get(upload_id, ()))


def get_upload(session: Session, upload_id: str) -> Upload:
    """An unfinished upload; raises `NotFound`."""
    upload = session.get(Upload, upload_id)
    if upload is None:
        raise NotFound("There is no such upload: it is finished, has failed or was thrown away. Ask for a new one.")
    return upload


def part_count(upload: Upload) -> int:
    """How many parts make the whole; an empty file has one, empty."""
    return max(1, math.ceil(upload.size_bytes / upload.part_size_bytes))


def part_span(upload: Upload, number: int) -> tuple[int, int]:
    """`(offset_bytes, size_bytes)` of a part, counted from 1. Raises `NotFound` for a number outside."""
    if not 1 <= number <= part_count(upload):
        raise NotFound(f"This upload has the parts 1 to {part_count(upload)}.")
    offset = (number - 1) * upload.part_size_bytes
    return offset, min(upload.part_size_bytes, upload.size_bytes - offset)


def record_part(session: Session, upload_id: str, number: int) -> None:
    """A part is whole and on disk."""
    upload = get_upload(session, upload_id)
    if session.get(UploadPart, (upload_id, number)) is None:
        session.add(UploadPart(upload_id=upload_id, number=number))
    upload.touched_at = utc_now()


def list_pending(session: Session, org_id: int, oids: Sequence[str]) -> set[str]:
    """Those of the OIDs whose bytes are all here and still being proven for the organisation."""
    query = select(Upload.oid).where(Upload.org_id == org_id, Upload.state == "proving")
    return set(session.scalars(query)) & set(oids)


# --- finishing


def keep_streamed(database: Database, store: BlobStore, upload: Upload, stage_id: str, found_sha256: str) -> None:
    """End an upload whose bytes came in one stream and were hashed on the way. Raises `Invalid` on a mismatch."""
    if found_sha256 != Oid(upload.oid).hex:
        store.discard(stage_id)
        raise _mismatch(upload, found_sha256)
    key = blobs.new_key(Oid(upload.oid))
    store.commit(stage_id, key)
    _link(database, store, upload, key)


def start_proving(session: Session, upload_id: str) -> Upload:
    """All parts are here: mark the upload, name the place its bytes go to.

    Raises `Conflict` when parts are missing, and `Invalid` when the upload has failed already.
    """
    upload = get_upload(session, upload_id)
    if upload.state == "failed":
        raise failed(upload)
    missing = sorted(set(range(1, part_count(upload) + 1)) - set(parts_done(session, upload_id)))
    if missing:
        some = ", ".join(map(str, missing[:20])) + ("…" if len(missing) > 20 else "")
        raise Conflict(f"{len(missing)} of {part_count(upload)} parts have not arrived: {some}. Send them first.")
    if upload.state != "proving":
        upload.state, upload.key = "proving", blobs.new_key(Oid(upload.oid))
    return upload


def failed(upload: Upload) -> Invalid:
    """What an upload whose bytes were wrong answers from then on."""
    return Invalid(upload.failure or "The upload failed. Send the file again.")


def prove(database: Database, store: BlobStore, upload: Upload) -> None:
    """Hash the whole, compare, and link. Raises `Invalid` on a mismatch; the upload is then failed and its bytes gone.

    May be run again after a crash at any point: the place the bytes go to was written down before.
    """
    if upload.key is None:
        raise ValueError("an upload is proven after start_proving")
    if not _is_stored(store, upload.key):
        _check(database, store, upload)
    store.commit(upload.id, upload.key)
    _link(database, store, upload, upload.key)


def _check(database: Database, store: BlobStore, upload: Upload) -> None:
    """Hash what arrived. Wrong bytes fail the upload; bytes that are gone begin it anew."""
    try:
        proof = store.prove(upload.id)
    except NotFound as error:
        _reset(database, upload.id)
        raise Conflict("The bytes of this upload are gone. Ask for it again and send them anew.") from error
    if (proof.sha256_hex, proof.size_bytes) != (Oid(upload.oid).hex, upload.size_bytes):
        _fail(database, store, upload, proof.sha256_hex)


def _is_stored(store: BlobStore, key: str) -> bool:
    stored = store.open(key)
    if stored is not None:
        stored.close()
    return stored is not None


def _mismatch(upload: Upload, found_sha256: str) -> Invalid:
    announced = f"these bytes hash to sha256:{found_sha256}, not to {upload.oid}"
    return Invalid(
        f"The bytes do not match their digest: {announced}. Nothing was kept; send the file again.",
        faults=(Fault(("body",), announced, "digest_mismatch"),),
    )


def _fail(database: Database, store: BlobStore, upload: Upload, found_sha256: str) -> None:
    error = _mismatch(upload, found_sha256)
    with database.write() as session:
        row = get_upload(session, upload.id)
        row.state, row.failure, row.key = "failed", error.detail, None
    store.discard(upload.id)
    raise error


def _reset(database: Database, upload_id: str) -> None:
    """The parts cannot be read: forget them, so that the next attempt sends them again."""
    with database.write() as session:
        row = get_upload(session, upload_id)
        row.state, row.key = "open", None
        session.execute(delete(UploadPart).where(UploadPart.upload_id == upload_id))


def _link(database: Database, store: BlobStore, upload: Upload, key: str) -> None:
    """One short transaction: the organisation holds the bytes, the upload is over.

    If it fails, the bytes stay where they are: the commit may have happened, and clean-up removes what has no row.
    """
    lost_key = _find_lost(database, store, upload)
    with database.write() as session:
        if key == upload.key and session.get(Upload, upload.id) is None:
            return  # the same proof was ended by another call, and what it linked may be collected by now
        kept_key = blobs.link(session, upload.org_id, upload.oid, upload.size_bytes, key, lost_key=lost_key)
        session.execute(delete(UploadPart).where(UploadPart.upload_id == upload.id))
        session.execute(delete(Upload).where(Upload.id == upload.id))
    if kept_key != key:
        store.delete(key)


def _find_lost(database: Database, store: BlobStore, upload: Upload) -> str | None:
    """The physical name of these bytes that the registry knows, where the store has no such bytes any more."""
    with database.read() as session:
        key = blobs.find_keys(session, [upload.oid]).get(upload.oid)
    if key is None:
        return None
    return None if _is_whole(store, key, upload.size_bytes) else key


def _is_whole(store: BlobStore, key: str, size_bytes: int) -> bool:
    with store.open(key) or nullcontext() as blob:
        return blob is not None and blob.size_bytes == size_bytes


def known_ids(session: Session) -> set[str]:
    """The ids of unfinished uploads: what may stand in the store unproven."""
    return set(session.scalars(select(Upload.id)))


def list_expired(session: Session, untouched_since: datetime) -> list[str]:
    """Uploads that nobody went on with. What is being proven does not expire."""
    return list(
        session.scalars(select(Upload.id).where(Upload.touched_at < untouched_since, Upload.state != "proving"))
    )


def expire(session: Session, ids: Sequence[str], untouched_since: datetime) -> list[str]:
    """Forget those of these uploads that nobody went on with; answers the ids whose staged bytes can go."""
    query = select(Upload.id).where(Upload.id.in_(ids), Upload.touched_at < untouched_since, Upload.state != "proving")
    expired = list(session.scalars(query))
    session.execute(delete(UploadPart).where(UploadPart.upload_id.in_(expired)))
    session.execute(delete(Upload).where(Upload.id.in_(expired)))
    return expired
