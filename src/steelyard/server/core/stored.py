"""What the store has to hold by the rows, object by object: whole blobs, and xorbs that have bytes of their own.

What is made of chunks is none of them: it is its xorbs.
"""

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.orm import Session

from steelyard.server.db.engine import Database, in_batches
from steelyard.server.db.tables import Blob, Recipe, RecipeXorb, Xorb
from steelyard.server.xet.hashes import to_text
from steelyard.server.xet.xorbs import MalformedXorb, XorbReader

_ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object of the store. Its bytes hash to the `oid` of a blob, or are the chunks that make a `xorb_hash`."""

    id: int
    key: str
    size_bytes: int
    oid: str | None = None
    xorb_hash: str | None = None

    @property
    def name(self) -> str:
        """What people are told: an OID, or `xorb:` and a hash."""
        return self.oid or f"xorb:{self.xorb_hash}"


class Reading:
    """The bytes of an object as somebody reads them, in order: are they what the row says?"""

    def __init__(self, row: StoredObject) -> None:
        self._row = row
        self._digest = hashlib.sha256()
        self._xorb = None if row.xorb_hash is None else XorbReader()
        self._is_malformed = False

    @property
    def sha256_hex(self) -> str:
        """The digest of what was read so far."""
        return self._digest.hexdigest()

    def feed(self, piece: bytes) -> None:
        """The next bytes."""
        self._digest.update(piece)
        if self._xorb is not None and not self._is_malformed:
            try:
                self._xorb.feed(piece)
            except MalformedXorb:
                self._is_malformed = True

    def is_sound(self) -> bool:
        """To be asked at the end."""
        if self._xorb is None:
            return f"sha256:{self.sha256_hex}" == self._row.oid
        return not self._is_malformed and _is_whole(self._xorb, self._row)


def _is_whole(xorb: XorbReader, row: StoredObject) -> bool:
    try:
        size_bytes = xorb.finish()
    except MalformedXorb:
        return False
    return size_bytes == row.size_bytes and to_text(xorb.hash()) == row.xorb_hash


def list_objects(session: Session) -> list[StoredObject]:
    """All of them."""
    return [*_some_blobs(session), *_some_xorbs(session)]


def list_by_pages(database: Database) -> Iterator[list[StoredObject]]:
    """The same, in short looks: for who takes his time with each of them."""
    for some in (_some_blobs, _some_xorbs):
        after_id = 0
        while True:
            with database.read() as session:
                page = some(session, after_id, _ROWS_AT_ONCE)
            if not page:
                break
            yield page
            after_id = page[-1].id


def list_suspects(session: Session, blob_ids: Collection[int]) -> list[StoredObject]:
    """The xorbs of these blobs; and those that no file lies in, so that reading all files does not read them."""
    used = (RecipeXorb.xorb_id == Xorb.id, Recipe.id == RecipeXorb.recipe_id)
    suspects = {xorb.id: xorb for xorb in _xorbs(session, ~exists().where(*used, Recipe.org_id.is_(None)))}
    for some in in_batches(blob_ids):
        needed = exists().where(*used, Recipe.blob_id.in_(some))
        suspects |= {xorb.id: xorb for xorb in _xorbs(session, needed)}
    return list(suspects.values())


def find_current(session: Session, xorbs: Collection[StoredObject]) -> set[StoredObject]:
    """Those of these xorbs that lie under the same keys still."""
    current: set[StoredObject] = set()
    for some in in_batches(xorbs):
        current.update(_xorbs(session, Xorb.key.in_([xorb.key for xorb in some])))
    return current & set(xorbs)


def _some_blobs(session: Session, after_id: int = 0, most: int | None = None) -> list[StoredObject]:
    query = select(Blob.id, Blob.key, Blob.size_bytes, Blob.oid).where(Blob.id > after_id, Blob.key.not_like("%.x%"))
    rows = session.execute(query.order_by(Blob.id).limit(most))
    return [StoredObject(row.id, row.key, row.size_bytes, oid=row.oid) for row in rows]


def _some_xorbs(session: Session, after_id: int = 0, most: int | None = None) -> list[StoredObject]:
    return _xorbs(session, Xorb.id > after_id, most)


def _xorbs(session: Session, condition: ColumnElement[bool], most: int | None = None) -> list[StoredObject]:
    query = select(Xorb.id, Xorb.key, Xorb.size_bytes, Xorb.hash).where(condition, Xorb.key.is_not(None))
    rows = session.execute(query.order_by(Xorb.id).limit(most))
    return [StoredObject(row.id, row.key, row.size_bytes, xorb_hash=row.hash) for row in rows if row.key]
