"""Regular files, as the Hub calls small texts whose bytes come inside a commit: what is one, how its bytes are kept.

They are hashed here, by SHA-256 as all bytes are, and by Git's SHA-1, which is what the Hub's clients know them by.
"""

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from steelyard.server.core import blobs
from steelyard.server.core.arrivals import uploads
from steelyard.server.core.arrivals.uploads import LINK_WITHIN_SECONDS, Room, Wanted
from steelyard.server.core.files.reading import is_whole
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Blob, Org, OrgBlob
from steelyard.server.errors import Conflict
from steelyard.server.names import Oid
from steelyard.server.storage import BlobStore

MOST_REGULAR_BYTES = 2**20
_MOST_CUT_BYTES = 3  # of a character's UTF-8, where a sample ends in the middle of it


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a regular file, and both names of them."""

    data: bytes
    oid: Oid
    git_sha1: str


def is_regular(size_bytes: int, sample: bytes) -> bool:
    """Whether a file with this beginning shall come inside a commit: small, and text as far as one can see."""
    if size_bytes > MOST_REGULAR_BYTES or b"\0" in sample:
        return False
    try:
        sample.decode()
    except UnicodeDecodeError as error:
        is_cut = error.reason == "unexpected end of data" and len(sample) - error.start <= _MOST_CUT_BYTES
        return is_cut and len(sample) < size_bytes
    return True


def content_of(data: bytes) -> Content:
    """Hashes both ways."""
    git = hashlib.sha1(b"blob %d\0" % len(data), usedforsecurity=False)
    git.update(data)
    return Content(data, Oid("sha256:" + hashlib.sha256(data).hexdigest()), git.hexdigest())


def keep(database: Database, store: BlobStore, org: Org, contents: Sequence[Content], room: Room) -> None:
    """Have the organisation hold these bytes. Raises `TooLarge`. Whoever calls has asked whether the caller may.

    Bytes first, then one short transaction, as every upload ends: see `proofs`.
    """
    by_oid = {content.oid: content for content in contents}
    with database.read() as session:
        held = blobs.find_held(session, org.id, by_oid)
    damaged = uploads.find_damaged(store, held.values())
    missing = [content for oid, content in by_oid.items() if oid not in held or oid in damaged]
    with database.read() as session:
        uploads.check_room(session, org, [Wanted(content.oid, len(content.data)) for content in missing], room)
        known = blobs.find_keys(session, {content.oid for content in missing})
    began = time.monotonic()
    with ThreadPoolExecutor(uploads.LOOKS_AT_ONCE, thread_name_prefix="keeping") as threads:
        keys = list(threads.map(partial(_store, store), missing))
        lost = list(threads.map(partial(_find_lost, store, known), missing))
    with database.write() as session:
        if time.monotonic() > began + LINK_WITHIN_SECONDS:
            raise Conflict("The server stood still while it kept these bytes. Send them again.")
        kept = [
            blobs.link(session, org.id, content.oid, len(content.data), key, lost_key=lost_key)
            for content, key, lost_key in zip(missing, keys, lost, strict=True)
        ]
        blobs.touch(session, org.id, [blob.id for blob in held.values()])
        _note(session, org.id, by_oid.values())
    for key in set(keys) - set(kept):
        store.delete(key)


def _store(store: BlobStore, content: Content) -> str:
    """The bytes under a key that no row has yet."""
    stage_id, key = uuid4().hex, blobs.new_key(content.oid)
    try:
        with store.stage(stage_id, 0) as writer:
            writer.write([content.data])
            writer.close()
        store.commit(stage_id, key)
    except BaseException:
        store.discard(stage_id)
        raise
    return key


def _find_lost(store: BlobStore, known: Mapping[str, str], content: Content) -> str | None:
    """The key by which the registry knows these bytes, where the store has no such bytes any more."""
    key = known.get(content.oid)
    return None if key is None or is_whole(store, key, len(content.data)) else key


def _note(session: Session, org_id: int, contents: Iterable[Content]) -> None:
    """Write down what Git calls the bytes, of those that came by another way before, too."""
    for content in contents:
        blob_id = select(Blob.id).where(Blob.oid == content.oid).scalar_subquery()
        where = (OrgBlob.org_id == org_id, OrgBlob.blob_id == blob_id, OrgBlob.git_sha1.is_(None))
        session.execute(
            update(OrgBlob).where(*where).values(git_sha1=content.git_sha1),
            execution_options={"synchronize_session": False},
        )
