"""Regular files, as the Hub calls small texts whose bytes come inside a commit: what is one, how its bytes are kept.

They are hashed here, by SHA-256 as all bytes are, and by Git's SHA-1, which is what the Hub's clients know them by.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from steelyard.server.core.arrivals import unannounced
from steelyard.server.core.arrivals.unannounced import Arrival
from steelyard.server.core.arrivals.uploads import Room
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Blob, Org, OrgBlob
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
    """Have the organisation hold these bytes. Raises `TooLarge`. Whoever calls has asked whether the caller may."""
    arrivals = [Arrival(content.oid, len(content.data), partial(_store, store, content)) for content in contents]
    by_oid = {content.oid: content for content in contents}
    unannounced.keep(database, store, org, arrivals, room, lambda session: _note(session, org.id, by_oid.values()))


def _store(store: BlobStore, content: Content, key: str) -> None:
    """The bytes under this key."""
    stage_id = uuid4().hex
    try:
        with store.stage(stage_id, 0) as writer:
            writer.write([content.data])
            writer.close()
        store.commit(stage_id, key)
    except BaseException:
        store.discard(stage_id)
        raise


def _note(session: Session, org_id: int, contents: Iterable[Content]) -> None:
    """Write down what Git calls the bytes, of those that came by another way before, too."""
    for content in contents:
        blob_id = select(Blob.id).where(Blob.oid == content.oid).scalar_subquery()
        where = (OrgBlob.org_id == org_id, OrgBlob.blob_id == blob_id, OrgBlob.git_sha1.is_(None))
        session.execute(
            update(OrgBlob).where(*where).values(git_sha1=content.git_sha1),
            execution_options={"synchronize_session": False},
        )
