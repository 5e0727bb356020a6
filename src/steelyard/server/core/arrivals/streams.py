"""Bytes whose digest is told at their end, on their way into a repository (OCI distribution-spec 1.1, "Pushing blobs").

A session is a row and a staged upload, so that it survives restarts and goes on at any server. What the row counts is
what was closed in the store before, and each step bears that another one is taken at the same time:

- the first bytes go to a staged upload that nobody else knows, and are hashed on the way; the row then takes it over,
  from one sender: another one finds that it has come too late;
- before more bytes are written behind the first, the row forgets what these hash to: the whole is read at its end;
- the end of it writes down where the bytes go. From then on the row takes no more, and whoever ends it again ends it
  the same way; who finds no row any more looks whether the repository has the bytes.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from uuid import uuid4

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from steelyard.server.core import blobs
from steelyard.server.core.access import Actor
from steelyard.server.core.arrivals import proofs, uploads
from steelyard.server.core.arrivals.uploads import Room, Unfinished, Wanted
from steelyard.server.core.blobs import HeldBlob
from steelyard.server.core.files.reading import open_key
from steelyard.server.core.manifests import holdings
from steelyard.server.core.models import create_model, find_model
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Blob, BlobUpload, Org, utc_now
from steelyard.server.errors import Fault, Invalid, NotFound, RangeNotSatisfiable, TooLarge
from steelyard.server.names import Digest, ModelName, Oid
from steelyard.server.settings import Settings
from steelyard.server.storage import BlobStore, StageWriter

_ID = re.compile(r"[0-9a-f]{32}")
_NO_OID = Oid("sha256:" + "0" * 64)
_READ_BYTES = 2**20
_LOOK_AGAIN_BYTES = 64 * 2**20  # of a stream whose length nobody told, between looks at what there is room for
_NO_HEADERS: Mapping[str, str] = {}
_GONE = "There is no such upload: it is finished, was thrown away, or is somebody else's. Begin a new one."
_ARRIVING = "Bytes of this upload still arrive. Ask for its state, and go on when they are here."
_LOST = "The bytes of this upload are gone. Begin a new one and send them again."


class OutOfOrder(RangeNotSatisfiable):
    """These are not the bytes that come next."""


class WrongDigest(Invalid):
    """The bytes are not those of the digest. Nothing is kept."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an upload goes, and who brings it: the repository need not be there yet."""

    actor: Actor
    org: Org
    name: ModelName


# --- sessions


def begin(session: Session, to: Destination, settings: Settings, *, wants_sha512: bool = False) -> BlobUpload:
    """A new session. Raises `TooLarge` where the organisation has too many."""
    if settings.max_open_uploads:
        count = session.scalar(select(func.count()).where(BlobUpload.org_id == to.org.id)) or 0
        if count >= settings.max_open_uploads:
            raise TooLarge(
                f"'{to.org.slug}' has {count} unfinished uploads, and may have no more "
                f"(max_open_uploads = {settings.max_open_uploads}). Finish some; others go after a while by themselves."
            )
    upload = BlobUpload(
        id=uuid4().hex,
        org_id=to.org.id,
        name_key=to.name.key,
        principal=to.actor.principal,
        stage_id=uuid4().hex,
        received_bytes=0,
        wants_sha512=wants_sha512,
    )
    session.add(upload)
    return upload


def find_upload(session: Session, to: Destination, upload_id: str) -> BlobUpload | None:
    """The caller's session for this repository."""
    upload = session.get(BlobUpload, upload_id) if _ID.fullmatch(upload_id) else None
    if upload is None:
        return None
    bound_to = (upload.org_id, upload.name_key, upload.principal)
    return upload if bound_to == (to.org.id, to.name.key, to.actor.principal) else None


def get_upload(session: Session, to: Destination, upload_id: str) -> BlobUpload:
    """The same; raises `NotFound`."""
    upload = find_upload(session, to, upload_id)
    if upload is None:
        raise NotFound(_GONE)
    return upload


def cancel(database: Database, store: BlobStore, upload: BlobUpload) -> None:
    """End a session and forget what it brought."""
    with database.write(beside=True) as session:
        session.execute(delete(BlobUpload).where(BlobUpload.id == upload.id))
    store.discard(upload.stage_id)


def told_range(received_bytes: int) -> str:
    """How much is here, as `Range` has it. Of nothing that says as much as of one byte, as every server does."""
    return f"0-{max(0, received_bytes - 1)}"


def check_next(upload: BlobUpload, offset_bytes: int, headers: Mapping[str, str] = _NO_HEADERS) -> None:
    """Raise `OutOfOrder`, with these headers and others, unless an upload goes on there."""
    if upload.key is not None or upload.received_bytes != offset_bytes:
        raise OutOfOrder(
            f"This upload goes on with byte {upload.received_bytes}. Ask for its state, and send what comes next.",
            headers={**headers, "Range": told_range(upload.received_bytes)},
        )


# --- bytes


@dataclass(slots=True)
class Run:
    """Bytes that come in one request, from `offset_bytes` on: `write` and the hashes are fed side by side."""

    upload: BlobUpload
    stage_id: str
    writer: StageWriter
    hashes: "tuple[hashlib._Hash, ...]" = ()
    size_bytes: int = field(default=0, init=False)

    @property
    def offset_bytes(self) -> int:
        """Where they begin."""
        return self.upload.received_bytes

    @property
    def is_first(self) -> bool:
        """Whether they have a staged upload of their own."""
        return self.stage_id != self.upload.stage_id

    def write(self, pieces: Sequence[bytes]) -> None:
        """Into the store, and counted."""
        self.writer.write(pieces)
        self.size_bytes += sum(map(len, pieces))

    @property
    def feeds(self) -> "list[Callable[[Sequence[bytes]], None]]":
        """What hashes, each by itself."""
        return [partial(_feed, each) for each in self.hashes]

    def find_hash(self, name: str) -> str | None:
        """What they hash to in hex, where they are hashed by this."""
        return next((each.hexdigest() for each in self.hashes if each.name == name), None)


def _feed(digest: "hashlib._Hash", pieces: Sequence[bytes]) -> None:
    for piece in pieces:
        digest.update(piece)


def begin_run(database: Database, store: BlobStore, upload: BlobUpload, *, by_sha512: bool = False) -> Run:
    """Open the store for the bytes that come next. Raises `OutOfOrder` or `NotFound`, as the row is by now."""
    if upload.received_bytes == 0:
        names = ("sha256", "sha512") if by_sha512 or upload.wants_sha512 else ("sha256",)
        stage_id = uuid4().hex
        return Run(upload, stage_id, store.stage(stage_id, 0), tuple(map(hashlib.new, names)))
    with database.write(beside=True) as session:
        row = _get_row(session, upload.id)
        check_next(row, upload.received_bytes)
        row.sha256 = row.sha512 = None
        row.touched_at = utc_now()
    return Run(upload, upload.stage_id, store.stage(upload.stage_id, upload.received_bytes))


def note_run(database: Database, store: BlobStore, run: Run) -> BlobUpload:
    """Count the bytes of a run whose writer was closed; answers the row as it is then. Raises `OutOfOrder` where
    somebody else was faster."""
    try:
        with database.write(beside=True) as session:
            row = _count(session, run)
    except (OutOfOrder, NotFound):
        abandon(store, run)
        raise
    if run.is_first and run.upload.sha256 is not None:  # no bytes at all came before
        store.discard(run.upload.stage_id)
    return row


def _count(session: Session, run: Run) -> BlobUpload:
    row = _get_row(session, run.upload.id)
    check_next(row, run.offset_bytes)
    if row.stage_id != run.upload.stage_id:
        raise OutOfOrder(_ARRIVING, headers={"Range": told_range(row.received_bytes)})
    row.stage_id, row.received_bytes = run.stage_id, run.offset_bytes + run.size_bytes
    row.sha256, row.sha512 = run.find_hash("sha256"), run.find_hash("sha512")
    row.touched_at = utc_now()
    return row


def abandon(store: BlobStore, run: Run) -> None:
    """Forget a run that does not count."""
    if run.is_first:
        store.discard(run.stage_id)


def check_room(
    database: Database, store: BlobStore, settings: Settings, upload: BlobUpload, more_bytes: int, *, staged: bool
) -> None:
    """Raise `TooLarge` where so many more bytes would pass what a file, the organisation or the disk may have; those
    that are `staged` lie on the disk already."""
    free_bytes, size_bytes = store.free_bytes(), upload.received_bytes + more_bytes
    uploads.check_floor(settings, free_bytes)
    on_disk_bytes = size_bytes if staged else upload.received_bytes
    room = Room(settings, None if free_bytes is None else free_bytes + on_disk_bytes)
    with database.read() as session:
        org = session.get_one(Org, upload.org_id)
        uploads.check_room(session, org, [Wanted(_NO_OID, size_bytes)], room, but_upload_id=upload.id)


class Guard:
    """Lets no more of a stream through than there is room for."""

    def __init__(self, database: Database, store: BlobStore, settings: Settings, upload: BlobUpload) -> None:
        self._database, self._store, self._settings, self._upload = database, store, settings, upload
        self._size_bytes, self._looked_at_bytes = 0, 0

    def let_through(self, pieces: Sequence[bytes]) -> None:
        """These come next, and are not written yet. Raises `TooLarge`."""
        self._size_bytes += sum(map(len, pieces))
        most_bytes = self._settings.max_file_bytes
        is_too_long = most_bytes and self._upload.received_bytes + self._size_bytes > most_bytes
        if is_too_long or self._size_bytes - self._looked_at_bytes >= _LOOK_AGAIN_BYTES:
            self._looked_at_bytes = self._size_bytes
            check_room(self._database, self._store, self._settings, self._upload, self._size_bytes, staged=True)


# --- the end of it


def finish(
    database: Database, store: BlobStore, settings: Settings, to: Destination, upload: BlobUpload, digest: Digest
) -> None:
    """Have the repository hold these bytes, and make it where it is not there.

    Raises `WrongDigest`, and then the session is over; `TooLarge`; `OutOfOrder` while more bytes arrive; `NotFound`
    where they are lost.
    """
    ending = _claim(database, store, settings, to, upload, digest)
    try:
        store.commit(ending.stage_id, ending.key)
    except NotFound as error:
        _give_up(database, to, ending, digest, error)
        return
    sha512 = _prove_sha512(database, store, ending, digest)
    _link(database, store, to, ending, digest, sha512)


@dataclass(frozen=True, slots=True)
class _Ending:
    """An upload whose row says where its bytes go."""

    upload_id: str
    stage_id: str
    key: str
    size_bytes: int
    sha512: str | None

    @property
    def oid(self) -> Oid:
        return Oid("sha256:" + self.key.partition(".")[0])


def _claim(
    database: Database, store: BlobStore, settings: Settings, to: Destination, upload: BlobUpload, digest: Digest
) -> _Ending:
    """Write down where the bytes go, once it is known what they are."""
    sha256 = upload.sha256
    if upload.key is None and sha256 is None:
        sha256 = _prove(database, store, upload)
    with database.write(beside=True) as session:
        row = _get_row(session, upload.id)
        if row.key is None:
            check_next(row, upload.received_bytes)
            if (row.stage_id, row.sha256) != (upload.stage_id, upload.sha256):
                raise OutOfOrder(_ARRIVING, headers={"Range": told_range(row.received_bytes)})
            wrong = sha256 is None or _is_wrong(digest, sha256, row.sha512)
            if wrong:
                session.delete(row)
            else:
                oid = Oid(f"sha256:{sha256}")
                _check_quota(session, settings, to.org, row, oid)
                row.key, row.touched_at = blobs.new_key(oid), utc_now()
        else:
            wrong, sha256 = _is_wrong(digest, row.key.partition(".")[0], row.sha512), None
    if wrong:
        if sha256 is not None:
            store.discard(upload.stage_id)
        raise _wrong(digest)
    return _Ending(row.id, row.stage_id, row.key or "", row.received_bytes, row.sha512)


def _prove(database: Database, store: BlobStore, upload: BlobUpload) -> str:
    """What the bytes hash to, of an upload that came in several runs. It takes no more from then on."""
    try:
        proof = store.prove(upload.stage_id)
    except NotFound:
        with database.read() as session:
            row = session.get(BlobUpload, upload.id)
        if row is not None and row.key is not None:  # somebody else ends it
            return row.key.partition(".")[0]
        cancel(database, store, upload)
        raise NotFound(_LOST) from None
    if proof.size_bytes != upload.received_bytes:
        cancel(database, store, upload)
        raise Invalid("Some of what was sent broke off, and other bytes came instead. Begin anew and send them again.")
    return proof.sha256_hex


def _check_quota(session: Session, settings: Settings, org: Org, row: BlobUpload, oid: Oid) -> None:
    if oid not in blobs.find_held(session, org.id, [oid]):
        wanted = [Wanted(oid, row.received_bytes)]
        uploads.check_room(session, org, wanted, Room(settings, None), but_upload_id=row.id)


def _is_wrong(digest: Digest, sha256: str, sha512: str | None) -> bool:
    """Whether the bytes are known not to be those of the digest."""
    known = sha256 if digest.algorithm == "sha256" else sha512
    return known is not None and known != digest.hex


def _wrong(digest: Digest) -> WrongDigest:
    message = f"these bytes do not hash to {digest}"
    return WrongDigest(
        f"The bytes do not match their digest: {message}. Nothing was kept; send them again.",
        faults=(Fault(("query", "digest"), message, "digest_mismatch"),),
    )


def _prove_sha512(database: Database, store: BlobStore, ending: _Ending, digest: Digest) -> str | None:
    """What the bytes hash to by SHA-512, where that is known or was asked for. Wrong ones go, and the session."""
    if digest.algorithm != "sha512" or ending.sha512 is not None:
        return ending.sha512
    with open_key(store, ending.key) as stored:
        hashed = hashlib.sha512()
        for start in range(0, stored.size_bytes, _READ_BYTES):
            hashed.update(stored.read(start, _READ_BYTES))
    if hashed.hexdigest() == digest.hex:
        return digest.hex
    with database.write(beside=True) as session:
        is_ours = _end(session, ending)
    if is_ours:  # nobody has linked the key, nor will: whoever does removes the row with it
        store.delete(ending.key)
    raise _wrong(digest)


def _link(
    database: Database, store: BlobStore, to: Destination, ending: _Ending, digest: Digest, sha512: str | None
) -> None:
    """One short transaction: the repository holds the bytes, the upload is over. Its row kept the key from clean-up."""
    lost_key = proofs.find_lost(database, store, ending.oid, ending.size_bytes)
    with database.write() as session:
        if not _end(session, ending):
            check_ended(session, to, digest)
            return
        kept_key = blobs.link(session, to.org.id, ending.oid, ending.size_bytes, ending.key, lost_key=lost_key)
        _note(session, to, ending.oid, sha512)
    if kept_key != ending.key:
        store.delete(ending.key)


def _give_up(database: Database, to: Destination, ending: _Ending, digest: Digest, lost: NotFound) -> None:
    """Neither what was staged nor what became of it is there. That is well where somebody else has ended it, and had
    such bytes already."""
    with database.write(beside=True) as session:
        is_ours = _end(session, ending)
        if not is_ours:
            check_ended(session, to, digest)
    if is_ours:
        raise NotFound(_LOST) from lost


def _end(session: Session, ending: _Ending) -> bool:
    """Take the row away. False where somebody else has."""
    row = session.get(BlobUpload, ending.upload_id, with_for_update=True)
    if row is not None:
        session.delete(row)
        session.flush()
    return row is not None


def _note(session: Session, to: Destination, oid: str, sha512: str | None) -> None:
    """The repository has bytes that its organisation holds; it is made where it is not there."""
    model = find_model(session, to.org, to.name, lock=True)
    model = model or create_model(session, to.actor, to.org, to.name, is_public=False)
    blob_id = session.scalars(select(Blob.id).where(Blob.oid == oid)).one()
    holdings.link(session, model.id, blob_id)
    if sha512 is not None:
        holdings.note_digest(session, blob_id, f"sha512:{sha512}")


def check_ended(session: Session, to: Destination, digest: Digest) -> None:
    """An upload that is no more ended well if the repository holds the bytes. Raises `NotFound`."""
    model = find_model(session, to.org, to.name)
    if model is None or not holdings.find_all(session, model.id, [digest], drafts=True):
        raise NotFound(_GONE)


def mount(session: Session, settings: Settings, to: Destination, held: HeldBlob) -> bool:
    """Have the repository hold bytes that the caller may have: whoever calls has seen to that. False where they have
    gone meanwhile. Raises `TooLarge`."""
    oid = Oid(held.oid)
    if blobs.find_keys(session, [oid]).get(oid) != held.key:
        return False
    if oid not in blobs.find_held(session, to.org.id, [oid]):
        uploads.check_room(session, to.org, [Wanted(oid, held.size_bytes)], Room(settings, None))
    blobs.link(session, to.org.id, oid, held.size_bytes, held.key)
    _note(session, to, oid, None)
    return True


def _get_row(session: Session, upload_id: str) -> BlobUpload:
    row = session.get(BlobUpload, upload_id, with_for_update=True)
    if row is None:
        raise NotFound(_GONE)
    return row


# --- what nobody went on with


def list_expired(session: Session, untouched_since: datetime) -> list[Unfinished]:
    """Sessions that nobody went on with, each by the id of its staged bytes."""
    query = select(
        BlobUpload.stage_id, Org.slug, BlobUpload.name_key, BlobUpload.received_bytes, BlobUpload.touched_at
    ).join(Org, Org.id == BlobUpload.org_id)
    return [Unfinished(*row) for row in session.execute(query.where(BlobUpload.touched_at < untouched_since))]


def expire(session: Session, stage_ids: Sequence[str], untouched_since: datetime) -> list[str]:
    """Forget those of these sessions that nobody went on with; answers the ids whose staged bytes can go."""
    where = (BlobUpload.stage_id.in_(stage_ids), BlobUpload.touched_at < untouched_since)
    expired = list(session.scalars(select(BlobUpload.stage_id).where(*where)))
    session.execute(delete(BlobUpload).where(BlobUpload.stage_id.in_(expired)))
    return expired
