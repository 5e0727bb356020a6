"""What chunked blobs are made of, as the store of bytes asks for it: layouts by key, and where each xorb lies."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Blob, Recipe, Xorb
from steelyard.server.errors import StorageFailed
from steelyard.server.storage import BlobStore
from steelyard.server.storage.chunked import ChunkedStore, Layout, Term, XorbPlace, place_xorb
from steelyard.server.xet.xorbs import unpack_table

Key = TypeVar("Key", bound=Hashable)
Kept = TypeVar("Kept")

_LAYOUTS_KEPT = 32
_XORBS_KEPT = 128  # each is some thousand numbers


def open_chunked(store: BlobStore, database: Database) -> ChunkedStore:
    """The store, and the chunked blobs that the database knows of."""
    return ChunkedStore(store, RecipeBook(database))


class RecipeBook:
    """Asks the database, and keeps what was asked for lately: a layout never changes while its key is there, and a xorb
    moves only where its bytes were lost. Safe to use from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._layouts = _Kept[str, Layout](_LAYOUTS_KEPT)
        self._xorbs = _Kept[int, XorbPlace](_XORBS_KEPT)

    def find_layout(self, key: str) -> Layout | None:
        """What the blob of that chunked key is made of; None where there is no such blob (any more)."""
        with self._database.read() as session:
            blob_id = session.scalar(select(Blob.id).where(Blob.key == key))
            if blob_id is None:
                return None
            return self._layouts.get(key, lambda: _load_layout(session, blob_id))

    def find_xorb(self, xorb_id: int, *, anew: bool = False) -> XorbPlace | None:
        """Where a xorb lies; None where the registry has none of that number: clean-up may have been faster."""
        if anew:
            self._xorbs.forget(xorb_id)
        try:
            return self._xorbs.get(xorb_id, lambda: self._load_xorb(xorb_id))
        except LookupError:
            return None

    def _load_xorb(self, xorb_id: int) -> XorbPlace:
        with self._database.read() as session:
            xorb = session.get(Xorb, xorb_id)
            if xorb is None:
                raise LookupError(xorb_id)
            return place_of(session, xorb)


def layout_of(recipe: Recipe) -> Layout:
    """A recipe's terms."""
    return Layout([Term(*term) for term in recipe.terms])


def place_of(session: Session, xorb: Xorb) -> XorbPlace:
    """Where a xorb lies: in its own object, or in that of the blob that it stands over."""
    chunks = unpack_table(xorb.chunks)
    if xorb.key is not None:
        return place_xorb(xorb.key, chunks)
    blob = session.get_one(Blob, xorb.blob_id)
    offset_bytes = xorb.blob_offset_bytes
    return place_xorb(blob.key, chunks, is_raw=True, offset_bytes=offset_bytes, blob_bytes=blob.size_bytes)


def _load_layout(session: Session, blob_id: int) -> Layout:
    recipe = session.scalar(select(Recipe).where(Recipe.blob_id == blob_id, Recipe.org_id.is_(None)))
    if recipe is None:
        raise StorageFailed("The registry has no record of how this file is made of chunks.")
    return layout_of(recipe)


class _Kept(Generic[Key, Kept]):
    """The last few of something, by key."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, Kept] = OrderedDict()

    def get(self, key: Key, load: Callable[[], Kept]) -> Kept:
        """What is kept, or what `load` answers. Two who miss the same at once both load it."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        loaded = load()
        with self._lock:
            self._kept[key] = loaded
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return loaded

    def forget(self, key: Key) -> None:
        with self._lock:
            self._kept.pop(key, None)
