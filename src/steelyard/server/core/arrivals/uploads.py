"""Bytes on their way in: sessions that survive restarts, part by part. `proofs` has how they end."""

import math
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from steelyard.server.core import blobs
from steelyard.server.core.access import Actor
from steelyard.server.core.blobs import HeldBlob
from steelyard.server.core.files.reading import is_whole
from steelyard.server.db.engine import in_batches
from steelyard.server.db.tables import BlobUpload, Org, Upload, UploadPart, utc_now
from steelyard.server.errors import Conflict, Fault, Invalid, NotFound, TooLarge
from steelyard.server.names import Oid
from steelyard.server.settings import Settings
from steelyard.server.storage import BlobStore

MAX_PARTS = 10_000  # what S3 allows; the part size grows for larger files
LEAST_STORE_PART_BYTES = 5 * 2**20  # of every part but the last, where the store joins them
STRAIGHT_ABOVE_BYTES = 2**20  # smaller files cost the store's round trips more than the server's
RETRY_SECONDS = 2
LOOKS_AT_ONCE = 16  # at a remote store, which is waited for and not worked for
UNDER_WAY_SECONDS = 3600  # an upload untouched for so long no longer keeps room from others
LINK_WITHIN_SECONDS = 900  # bytes that get their row later than this may be taken for garbage by then


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
    parts_done: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Manner:
    """How a client can send: parts `straight` to the store, by links that are bound to `checksums` of theirs."""

    straight: bool = False
    checksums: bool = False


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An upload that somebody began and did not end, as clean-up tells of it."""

    id: str
    org: str
    oid: str
    size_bytes: int
    touched_at: datetime


@dataclass(frozen=True, slots=True)
class Room:
    """How much may come in: the limits in force and what is free on the store's disk (None: cannot be known)."""

    settings: Settings
    free_bytes: int | None


_THROUGH_US = Manner()


def find_damaged(store: BlobStore, held: Collection[HeldBlob]) -> set[str]:
    """OIDs that the organisation holds by its rows, while the store has no such bytes, or not so many of them."""
    with ThreadPoolExecutor(LOOKS_AT_ONCE, thread_name_prefix="looking") as threads:
        # Listed in here: what is not begun when one look fails is given up, and not waited for.
        whole = list(threads.map(lambda blob: is_whole(store, blob.key, blob.size_bytes), held))
    return {blob.oid for blob, is_there in zip(held, whole, strict=True) if not is_there}


def begin_uploads(
    session: Session,
    actor: Actor,
    org: Org,
    wanted: Sequence[Wanted],
    room: Room,
    damaged: Collection[str] = (),
    manner: Manner = _THROUGH_US,
) -> list[Offer]:
    """Open, or find again, an upload for each of these that the organisation does not hold, or that are `damaged`.

    `straight.open_sessions` does the store's part of it. Raises `TooLarge`.
    """
    held = blobs.find_held(session, org.id, {item.oid for item in wanted} - set(damaged))
    faults = _wrong_sizes(wanted, held)
    if faults:
        raise Invalid("Some sizes are not those of the bytes with these digests.", faults=faults)
    blobs.touch(session, org.id, [blob.id for blob in held.values()])
    missing = {item.oid: item for item in wanted if item.oid not in held}
    check_room(session, org, list(missing.values()), room)
    offers = _offers(session, actor, org, missing, room.settings, manner)
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


def check_room(
    session: Session, org: Org, missing: Sequence[Wanted], room: Room, *, but_upload_id: str | None = None
) -> None:
    """Raise `TooLarge` where these bytes would pass what a file, the organisation or the disk may have. They may be
    those of a container tool's upload, which is then not counted beside them."""
    settings, incoming = room.settings, sum(item.size_bytes for item in missing)
    largest = max((item.size_bytes for item in missing), default=0)
    if settings.max_file_bytes and largest > settings.max_file_bytes:
        raise TooLarge(
            f"A file of {largest} bytes is larger than this server takes (max_file_bytes = {settings.max_file_bytes})."
        )
    check_quota(session, org, incoming, settings, but=missing, but_upload_id=but_upload_id)
    if incoming and room.free_bytes is not None and room.free_bytes - incoming < settings.free_disk_floor_bytes:
        raise TooLarge(
            f"{incoming} more bytes would leave less than the disk's floor free "
            f"(free_disk_floor_bytes = {settings.free_disk_floor_bytes}). The operator must make room."
        )


def check_quota(
    session: Session,
    org: Org,
    more_bytes: int,
    settings: Settings,
    *,
    but: Sequence[Wanted] = (),
    but_upload_id: str | None = None,
) -> None:
    """Raise `TooLarge` where so many more bytes would pass what the organisation may have. Uploads of these, and this
    one, are not counted beside them."""
    if not settings.quota_org_bytes or not more_bytes:
        return
    held = blobs.held_bytes(session, org.id) + _under_way_bytes(session, org, but, but_upload_id)
    if held + more_bytes > settings.quota_org_bytes:
        raise TooLarge(
            f"'{org.slug}' holds {held} bytes and {more_bytes} more would pass its quota "
            f"(quota_org_bytes = {settings.quota_org_bytes}). Delete versions or ask the operator."
        )


def check_floor(settings: Settings, free_bytes: int | None) -> None:
    """Raise `TooLarge` when the disk is down to its floor: what was granted before may have filled it."""
    if free_bytes is not None and free_bytes < settings.free_disk_floor_bytes:
        raise TooLarge(
            "The disk is down to its floor and takes no more bytes "
            f"(free_disk_floor_bytes = {settings.free_disk_floor_bytes}). The operator must make room; then go on."
        )


def _under_way_bytes(session: Session, org: Org, but: Sequence[Wanted], but_upload_id: str | None) -> int:
    """What other uploads to the organisation were promised room lately, or have taken, and are not held yet."""
    lately = utc_now() - timedelta(seconds=UNDER_WAY_SECONDS)
    promised = select(func.coalesce(func.sum(Upload.size_bytes), 0)).where(
        Upload.org_id == org.id,
        Upload.touched_at >= lately,
        Upload.state != "failed",
        Upload.oid.not_in([item.oid for item in but]),
    )
    taken = select(func.coalesce(func.sum(BlobUpload.received_bytes), 0)).where(
        BlobUpload.org_id == org.id, BlobUpload.touched_at >= lately, BlobUpload.id != (but_upload_id or "")
    )
    return int(session.scalar(promised) or 0) + int(session.scalar(taken) or 0)


def _offers(
    session: Session, actor: Actor, org: Org, missing: Mapping[Oid, Wanted], settings: Settings, manner: Manner
) -> dict[Oid, Offer]:
    """An open upload for each: one that this caller began before, with its parts, or a new one."""
    begun = _find_begun(session, actor, org, missing, manner)
    _check_count(session, org, len(missing) - len(begun), settings)
    parts = _parts_of(session, [upload.id for upload in begun.values()])
    new = {oid: _new_upload(actor, org, item, settings, manner) for oid, item in missing.items() if oid not in begun}
    session.add_all(new.values())
    session.flush()
    uploads = begun | new
    return {oid: Offer(item, uploads[oid], _done(uploads[oid], parts)) for oid, item in missing.items()}


def _done(upload: Upload, parts: Mapping[str, Sequence[int]]) -> Sequence[int]:
    """The parts that arrived, as far as rows tell: those of an open session of the store's only the store knows."""
    return parts.get(upload.id, ()) if upload.state == "open" else range(1, part_count(upload) + 1)


def _check_count(session: Session, org: Org, more: int, settings: Settings) -> None:
    if not more or not settings.max_open_uploads:
        return
    count = session.scalar(select(func.count()).select_from(Upload).where(Upload.org_id == org.id)) or 0
    if count + more > settings.max_open_uploads:
        raise TooLarge(
            f"'{org.slug}' has {count} unfinished uploads, and {more} more would pass the limit "
            f"(max_open_uploads = {settings.max_open_uploads}). Finish some; others go after a while by themselves."
        )


def _find_begun(
    session: Session, actor: Actor, org: Org, missing: Mapping[Oid, Wanted], manner: Manner
) -> dict[Oid, Upload]:
    begun: dict[Oid, Upload] = {}
    for some in in_batches(missing):
        query = select(Upload).where(Upload.org_id == org.id, Upload.principal == actor.principal, Upload.oid.in_(some))
        for upload in session.scalars(query.where(Upload.state != "failed").order_by(Upload.created_at)):
            oid = Oid(upload.oid)
            if upload.size_bytes == missing[oid].size_bytes and _goes_on(upload, manner):
                upload.touched_at = utc_now()
                begun[oid] = upload
    return begun


def _goes_on(upload: Upload, manner: Manner) -> bool:
    """Whether this client can send what is missing: parts through us, or links as the store's session wants them."""
    as_begun = Manner(straight=True, checksums=upload.checksums)
    return upload.handle is None or upload.state != "open" or manner == as_begun


def goes_straight(size_bytes: int, manner: Manner) -> bool:
    """Whether a new upload of so many bytes is one that the client sends to the store itself."""
    return manner.straight and size_bytes > STRAIGHT_ABOVE_BYTES


def _new_upload(actor: Actor, org: Org, item: Wanted, settings: Settings, manner: Manner) -> Upload:
    least = LEAST_STORE_PART_BYTES if goes_straight(item.size_bytes, manner) else 0
    return Upload(
        id=uuid4().hex,
        org_id=org.id,
        principal=actor.principal,
        oid=item.oid,
        size_bytes=item.size_bytes,
        part_size_bytes=max(least, settings.part_size_bytes, math.ceil(item.size_bytes / MAX_PARTS)),
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


def check_parts(upload: Upload, arrived: Collection[int]) -> None:
    """Raise `Conflict` naming the parts that have not arrived whole, if there are any."""
    missing = sorted(set(range(1, part_count(upload) + 1)) - set(arrived))
    if missing:
        some = ", ".join(map(str, missing[:20])) + ("…" if len(missing) > 20 else "")
        raise Conflict(f"{len(missing)} of {part_count(upload)} parts have not arrived: {some}. Send them first.")


def record_part(session: Session, upload_id: str, number: int) -> None:
    """A part is whole and on disk. May run beside others: the same part may be noted by two at once."""
    upload = get_upload(session, upload_id)
    if session.get(UploadPart, (upload_id, number)) is None:
        with suppress(IntegrityError), session.begin_nested():
            session.add(UploadPart(upload_id=upload_id, number=number))
    upload.touched_at = utc_now()


def list_pending(session: Session, org_id: int, oids: Sequence[str]) -> set[str]:
    """Those of the OIDs whose bytes are all here and still being proven for the organisation."""
    query = select(Upload.oid).where(Upload.org_id == org_id, Upload.state == "proving")
    return set(session.scalars(query)) & set(oids)


def find_unknown(session: Session, ids: Collection[str]) -> set[str]:
    """Those of these ids that no unfinished upload has: nothing of theirs has to stand in the store."""
    unknown = set(ids)
    for some in in_batches(ids):
        for column in (Upload.id, BlobUpload.stage_id):
            unknown.difference_update(session.scalars(select(column).where(column.in_(some))))
    return unknown


def list_expired(session: Session, untouched_since: datetime) -> list[Unfinished]:
    """Uploads that nobody went on with. What is being proven does not expire."""
    query = select(Upload.id, Org.slug, Upload.oid, Upload.size_bytes, Upload.touched_at).join(Org)
    expired = query.where(Upload.touched_at < untouched_since, Upload.state != "proving")
    return [Unfinished(*row) for row in session.execute(expired)]


def expire(session: Session, ids: Sequence[str], untouched_since: datetime) -> list[str]:
    """Forget those of these uploads that nobody went on with; answers the ids whose staged bytes can go."""
    query = select(Upload.id).where(Upload.id.in_(ids), Upload.touched_at < untouched_since, Upload.state != "proving")
    expired = list(session.scalars(query))
    session.execute(delete(UploadPart).where(UploadPart.upload_id.in_(expired)))
    session.execute(delete(Upload).where(Upload.id.in_(expired)))
    return expired


def count_by_state(session: Session) -> dict[str, int]:
    """How many unfinished uploads there are, by state."""
    counted = select(Upload.state, func.count()).group_by(Upload.state)
    return dict(session.execute(counted).all())
