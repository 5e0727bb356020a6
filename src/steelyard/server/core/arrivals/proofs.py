"""How an upload ends: its bytes hash to the OID that was announced and the organisation holds them, or none stays.

Bytes first, then one short transaction. A proof is a job that two servers may be at for a moment: one that was silent
for so long that it lost its lease, and the one that has it now. Each step bears that:

- both read the same sealed bytes, so both find the same digest;
- the second commit of the same bytes to the same key changes nothing;
- the first link removes the upload's row, and the second one finds it gone;
- to fail an upload or to begin it anew would undo what the other did, so only who holds the lease may.
"""

import math
import time

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from steelyard.server.core import blobs, jobs
from steelyard.server.core.arrivals.uploads import LINK_WITHIN_SECONDS, check_parts, get_upload, parts_done
from steelyard.server.core.files.reading import is_whole
from steelyard.server.core.jobs import Lease, LeaseLost
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Job, Upload, UploadPart
from steelyard.server.errors import Conflict, Fault, Invalid, NotFound
from steelyard.server.names import Oid
from steelyard.server.storage import BlobStore

_GONE = "The bytes of this upload are gone. Ask for it again and send them anew."


def keep_streamed(database: Database, store: BlobStore, upload: Upload, stage_id: str, found_sha256: str) -> None:
    """End an upload whose bytes came in one stream and were hashed on the way. Raises `Invalid` on a mismatch."""
    if found_sha256 != Oid(upload.oid).hex:
        store.discard(stage_id)
        raise _mismatch(upload, found_sha256)
    key, began = blobs.new_key(Oid(upload.oid)), time.monotonic()
    store.commit(stage_id, key)
    _link(database, store, upload, key, until=began + LINK_WITHIN_SECONDS)


def start_proving(session: Session, upload_id: str) -> Upload:
    """All parts are here: mark the upload, name the place its bytes go to, and have it proven.

    Raises `Conflict` when parts are missing, and `Invalid` when the upload has failed already.
    """
    upload = get_upload(session, upload_id)
    if upload.state == "failed":
        raise failed(upload)
    if upload.handle is None:  # else the store knows, and `straight.check_arrived` has asked it
        check_parts(upload, parts_done(session, upload_id))
    if upload.state != "proving":
        upload.state, upload.key = "proving", blobs.new_key(Oid(upload.oid))
    jobs.enqueue(session, jobs.PROVE, upload_id)
    return upload


def enqueue_left(session: Session) -> None:
    """Have all proven that an earlier release had marked, which kept no jobs."""
    kept = exists().where(Job.kind == jobs.PROVE, Job.subject == Upload.id)
    for upload_id in session.scalars(select(Upload.id).where(Upload.state == "proving", ~kept)).all():
        jobs.enqueue(session, jobs.PROVE, upload_id)


def failed(upload: Upload) -> Invalid:
    """What an upload whose bytes were wrong answers from then on."""
    return Invalid(upload.failure or "The upload failed. Send the file again.")


def prove(database: Database, store: BlobStore, lease: Lease) -> None:
    """Hash the whole, compare, and link. Raises `Invalid` on a mismatch; the upload is then failed and its bytes gone.

    May be run again after a crash at any point: the place the bytes go to was written down before. Raises `LeaseLost`
    where another server has the job by now and it is for that one to end it.
    """
    upload = _find_proving(database, lease)
    if upload is None or upload.key is None:
        return
    try:
        if not _is_stored(store, upload.key):
            _join(store, upload)
            _check(database, store, upload, lease)
            store.commit(upload.id, upload.key)
    except NotFound as error:
        if not _is_stored(store, upload.key):  # who had the lease before may have committed it this moment
            _reset(database, upload.id, lease)
            raise Conflict(_GONE) from error
    _link(database, store, upload, upload.key, lease)


def _find_proving(database: Database, lease: Lease) -> Upload | None:
    """The upload that the job is about; None, and the job done, where the upload has ended. Raises what it ended in."""
    with database.read() as session:
        upload = session.get(Upload, lease.subject)
    if upload is not None and upload.state == "proving":
        return upload
    with database.write() as session:
        jobs.finish(session, lease)
    if upload is None:
        return None
    raise failed(upload) if upload.state == "failed" else Conflict(_GONE)


def _join(store: BlobStore, upload: Upload) -> None:
    """Close the store's session of an upload that went straight to it: no link writes there from now on."""
    if upload.handle is not None:
        if store.direct is None:
            raise NotFound("The store's sessions were switched off.")
        store.direct.join(upload.id, upload.handle)


def _check(database: Database, store: BlobStore, upload: Upload, lease: Lease) -> None:
    """Hash what arrived. Wrong bytes fail the upload; what somebody else has taken over is not committed."""
    proof = store.prove(upload.id)
    if (proof.sha256_hex, proof.size_bytes) != (Oid(upload.oid).hex, upload.size_bytes):
        _fail(database, store, upload, lease, proof.sha256_hex)
    with database.read() as session:
        if not jobs.is_held(session, lease):
            raise LeaseLost


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


def _fail(database: Database, store: BlobStore, upload: Upload, lease: Lease, found_sha256: str) -> None:
    error = _mismatch(upload, found_sha256)
    with database.write() as session:
        row = _end_job(session, upload.id, lease)
        row.state, row.failure, row.key = "failed", error.detail, None
    store.discard(upload.id)
    raise error


def _reset(database: Database, upload_id: str, lease: Lease) -> None:
    """The parts cannot be read: forget them, so that the next attempt sends them again."""
    with database.write() as session:
        row = _end_job(session, upload_id, lease)
        row.state, row.key, row.handle = "open", None, None
        session.execute(delete(UploadPart).where(UploadPart.upload_id == upload_id))


def _end_job(session: Session, upload_id: str, lease: Lease) -> Upload:
    """The upload whose job ends in this transaction. Raises `LeaseLost`, and `NotFound` where it has ended well."""
    if not jobs.finish(session, lease):
        raise LeaseLost
    return get_upload(session, upload_id)


def _link(
    database: Database, store: BlobStore, upload: Upload, key: str, lease: Lease | None = None, until: float = math.inf
) -> None:
    """One short transaction: the organisation holds the bytes, the upload is over. A key that no row had before is
    linked `until` a moment of the monotonic clock: clean-up takes what has no row for much longer.

    If it fails, the bytes stay where they are: the commit may have happened, and clean-up removes what has no row.
    """
    lost_key = find_lost(database, store, upload.oid, upload.size_bytes)
    with database.write() as session:
        if time.monotonic() > until:
            raise Conflict("The server stood still while it kept these bytes. Send the file again.")
        if lease is not None and not _ends_here(session, upload.id, key, lease):
            return
        kept_key = blobs.link(session, upload.org_id, upload.oid, upload.size_bytes, key, lost_key=lost_key)
        session.execute(delete(UploadPart).where(UploadPart.upload_id == upload.id))
        session.execute(delete(Upload).where(Upload.id == upload.id))
    if kept_key != key:
        store.delete(key)


def _ends_here(session: Session, upload_id: str, key: str, lease: Lease) -> bool:
    """Whether it is for this proof to link the bytes. Not where another one did, and what it linked may be collected
    by now. Raises `LeaseLost` where the upload was begun anew: no row stands for the key any more."""
    jobs.finish(session, lease)
    row = session.get(Upload, upload_id)
    if row is not None and row.key != key:
        raise LeaseLost
    return row is not None


def find_lost(database: Database, store: BlobStore, oid: str, size_bytes: int) -> str | None:
    """The physical name of these bytes that the registry knows, where the store has no such bytes any more."""
    with database.read() as session:
        key = blobs.find_keys(session, [oid]).get(oid)
    if key is None:
        return None
    return None if is_whole(store, key, size_bytes) else key
