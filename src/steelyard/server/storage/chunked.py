"""Blobs that are made of chunks: a store in front of another one, which has the xorbs that they are made of.

A *chunked key*, `<64 hex of its SHA-256>.x<7 hex>`, is the name of a blob of which the store behind has no object: its
bytes are what its layout makes of runs of xorbs. A xorb has an object of its own, the serialised chunks, or stands for
a run of a whole blob's bytes, which are then read where they lie. Who knows layouts is `Recipes`; nothing is written
here but through the store behind.
"""

import re
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from steelyard.server.errors import StorageFailed
from steelyard.server.storage import BlobStore, DirectTransfers, Proof, StageWriter, StoredBlob, StoredName
from steelyard.server.xet.xorbs import Chunk, MalformedXorb, plain_header, unpack

_CHUNKED_KEY = re.compile(r"[0-9a-f]{64}\.x[0-9a-f]{7}")
_AHEAD_BYTES = 4 * 2**20
"""Unpacked at once for who reads on where he stopped: one look into the store, and some dozens of chunks."""
_OPEN_AT_ONCE = 4  # xorbs of one blob; a file that was changed goes to and fro between a few

_LOST = "The store does not have some of the chunks of this file. The operator runs `steelyard admin check`."
_WRONG = "Some of the chunks of this file are not what was recorded. The operator runs `steelyard admin check`."


def is_chunked(key: str) -> bool:
    """Whether a blob's key names a layout, and nothing in a store of bytes."""
    return _CHUNKED_KEY.fullmatch(key) is not None


class Term(NamedTuple):
    """Chunks `start` to `end` of a xorb, which are `raw_bytes` of a blob."""

    xorb_id: int
    start: int
    end: int
    raw_bytes: int


class Layout:
    """What a blob is made of: its terms one after the other."""

    def __init__(self, terms: Sequence[Term]) -> None:
        self.terms = tuple(terms)
        self.offsets = tuple(accumulate((term.raw_bytes for term in terms), initial=0))
        """Where each term begins in the blob, and at the end where that ends."""

    @property
    def size_bytes(self) -> int:
        return self.offsets[-1]


@dataclass(frozen=True, slots=True, eq=False)
class XorbPlace:
    """Where a xorb's bytes are: the object `key`, serialised; or, `is_raw`, as they are in a blob from an offset on."""

    key: str
    is_raw: bool
    offset_bytes: int
    raw_offsets: Sequence[int]
    """Where each chunk begins unpacked, and at the end how long all of them are."""
    stored_offsets: Sequence[int]
    """The same of the serialised form."""
    blob_bytes: int = 0
    """How long the blob is that it stands for a run of."""

    @property
    def object_bytes(self) -> int:
        """How long the object behind has to be, at least, to be read."""
        return self.offset_bytes + (self.raw_offsets[-1] if self.is_raw else self.stored_offsets[-1])


def place_xorb(
    key: str, chunks: Sequence[Chunk], *, is_raw: bool = False, offset_bytes: int = 0, blob_bytes: int = 0
) -> XorbPlace:
    """A xorb of these chunks. Many places are kept at a time: as arrays they take up a tenth of what tuples would."""
    raw = array("I", accumulate((chunk.raw_bytes for chunk in chunks), initial=0))
    stored = array("I", accumulate((chunk.stored_bytes for chunk in chunks), initial=0))
    return XorbPlace(key, is_raw, offset_bytes, raw, stored, blob_bytes)


def is_complete(blob: StoredBlob | None, size_bytes: int) -> bool:
    """Whether the store has so many bytes, and all chunks of what is made of chunks: a look, and not into them."""
    if blob is None or blob.size_bytes < size_bytes:
        return False
    return not (isinstance(blob, ChunkedBlob) and blob.list_lost())


def has_xorb(place: XorbPlace, blob: StoredBlob | None) -> bool:
    """Whether a xorb's bytes are there. What stands over a blob that has lost some is lost with it, wherever it lies:
    only who sends it again makes that blob whole, and cannot do so out of itself."""
    return is_complete(blob, max(place.object_bytes, place.blob_bytes))


class Recipes(Protocol):
    """Who knows what chunked blobs are made of. Called from any thread, and may block."""

    def find_layout(self, key: str) -> Layout | None:
        """What the blob of that chunked key is made of; None where there is no such blob."""
        ...

    def find_xorb(self, xorb_id: int, *, anew: bool = False) -> XorbPlace | None:
        """Where a xorb is; with `anew`, whatever was answered before. None where none is known (any more)."""
        ...


class ChunkedStore:
    """The store behind, and chunked blobs: these are opened here, and what else is done to them does nothing. None can
    be committed, and clients cannot be sent to `direct` for one."""

    def __init__(self, store: BlobStore, recipes: Recipes) -> None:
        self._store, self._recipes = store, recipes
        self.direct: DirectTransfers | None = store.direct

    def stage(self, upload_id: str, offset_bytes: int) -> StageWriter:
        """As the store's."""
        return self._store.stage(upload_id, offset_bytes)

    def prove(self, upload_id: str) -> Proof:
        """As the store's."""
        return self._store.prove(upload_id)

    def commit(self, upload_id: str, key: str) -> None:
        """As the store's: of whole blobs and of xorbs."""
        self._store.commit(upload_id, key)

    def discard(self, upload_id: str) -> None:
        """As the store's."""
        self._store.discard(upload_id)

    def scan(self) -> Iterator[StoredName]:
        """As the store's."""
        return self._store.scan()

    def free_bytes(self) -> int | None:
        """As the store's."""
        return self._store.free_bytes()

    def open(self, key: str) -> StoredBlob | None:
        """As the store's, of chunked keys too."""
        if not is_chunked(key):
            return self._store.open(key)
        layout = self._recipes.find_layout(key)
        return None if layout is None else self.open_layout(layout)

    def open_layout(self, layout: Layout) -> "ChunkedBlob":
        """The bytes of a layout, whether a blob has it or not."""
        return ChunkedBlob(self, self._recipes, layout)

    def open_xorb(self, xorb_id: int) -> StoredBlob:
        """The serialised form of a xorb. Raises `StorageFailed` where it is lost."""
        place = self._recipes.find_xorb(xorb_id)
        blob = None if place is None else self.open(place.key)
        if place is None or blob is None:
            raise StorageFailed(_LOST)
        return SerialisedXorb(blob, place) if place.is_raw else blob

    def delete(self, key: str) -> None:
        """As the store's. Of a chunked blob nothing is there: its xorbs go when nothing needs them."""
        if not is_chunked(key):
            self._store.delete(key)

    def set_aside(self, key: str) -> None:
        """As the store's. Wrong bytes of a chunked blob are those of a xorb, and set aside under its key."""
        if not is_chunked(key):
            self._store.set_aside(key)


class _Window(NamedTuple):
    """Bytes of a blob that were unpacked, and where they begin in it."""

    start: int
    content: bytes

    @property
    def end(self) -> int:
        return self.start + len(self.content)


class ChunkedBlob:
    """An open blob over a layout. Holds what it unpacked last, and the xorbs open that it read from."""

    path = None

    def __init__(self, store: BlobStore, recipes: Recipes, layout: Layout) -> None:
        self._recipes, self._layout = recipes, layout
        self._opened = _Opened(store)
        self._lock = threading.Lock()
        self._window = _Window(0, b"")
        self._read_to = -1

    @property
    def size_bytes(self) -> int:
        return self._layout.size_bytes

    def read(self, start: int, length: int) -> bytes:
        end = min(start + length, self.size_bytes)
        pieces: list[bytes] = []
        with self._lock:
            ahead_bytes = _AHEAD_BYTES if start == self._read_to else 0
            while start < end:
                window = self._window_at(start, max(end, start + ahead_bytes))
                pieces.append(window.content[start - window.start : end - window.start])
                start = min(end, window.end)
            self._read_to = max(end, 0)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read_now(self, start: int, length: int) -> bytes | None:
        """Out of what was unpacked last."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            window, end = self._window, min(start + length, self.size_bytes)
            is_there = window.start <= start and end <= window.end
            return window.content[start - window.start : end - window.start] if is_there else None
        finally:
            self._lock.release()

    def list_lost(self) -> list[int]:
        """The numbers of xorbs that the store has not, or not whole: a look at each, and not into it."""
        numbers = dict.fromkeys(term.xorb_id for term in self._layout.terms)
        with self._lock:
            return [xorb_id for xorb_id in numbers if self._find(xorb_id, has_xorb) is None]

    def close(self) -> None:
        with self._lock:
            self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _window_at(self, start: int, wanted: int) -> _Window:
        """Bytes from `start` on, some of them before perhaps, and as far as `wanted` where one term goes so far."""
        if not self._window.start <= start < self._window.end:
            index = bisect_right(self._layout.offsets, start) - 1
            self._window = self._unpack(self._layout.terms[index], self._layout.offsets[index], start, wanted)
        return self._window

    def _unpack(self, term: Term, offset: int, start: int, wanted: int) -> _Window:
        """Of the chunks of a term that begins at `offset` in the blob, those with the bytes `start` to `wanted`."""
        found = self._find(term.xorb_id, _has_run)
        if found is None:
            raise StorageFailed(_LOST)
        place, blob = found
        shift = place.raw_offsets[term.start] - offset  # from a place in the blob to one in the unpacked xorb
        first = bisect_right(place.raw_offsets, start + shift) - 1
        last = min(term.end, bisect_left(place.raw_offsets, wanted + shift))
        try:
            content = _read_chunks(place, blob, first, last)
        except StorageFailed:
            moved = self._find_moved(term.xorb_id, place)
            if moved is None:
                raise
            content = _read_chunks(*moved, first, last)
        if len(content) != place.raw_offsets[last] - place.raw_offsets[first]:
            raise StorageFailed(_WRONG)
        return _Window(place.raw_offsets[first] - shift, content)

    def _find_moved(self, xorb_id: int, failed: XorbPlace) -> tuple[XorbPlace, StoredBlob] | None:
        """Where a xorb lies that could not be read where it lay; None if that is still there."""
        place = self._recipes.find_xorb(xorb_id, anew=True)
        if place is None or place.key == failed.key:
            return None
        blob = self._opened.find(place.key)
        return None if blob is None else (place, blob)

    def _find(
        self, xorb_id: int, has: Callable[[XorbPlace, StoredBlob | None], bool]
    ) -> tuple[XorbPlace, StoredBlob] | None:
        """A xorb and what has its bytes. Where that is not there, they may have come anew under another name."""
        for anew in (False, True):
            place = self._recipes.find_xorb(xorb_id, anew=anew)
            blob = None if place is None else self._opened.find(place.key)
            if place is not None and blob is not None and has(place, blob):
                return place, blob
        return None


def _has_run(place: XorbPlace, blob: StoredBlob | None) -> bool:
    """Whether the xorb's own bytes can be there, however long the rest is."""
    return blob is not None and blob.size_bytes >= place.object_bytes


def _read_chunks(place: XorbPlace, blob: StoredBlob, first: int, last: int) -> bytes:
    if place.is_raw:
        start, end = place.raw_offsets[first], place.raw_offsets[last]
        return blob.read(place.offset_bytes + start, end - start)
    start, end = place.stored_offsets[first], place.stored_offsets[last]
    stored = blob.read(start, end - start)
    try:
        return b"".join(unpack(stored))
    except MalformedXorb as error:
        raise StorageFailed(_WRONG) from error


class _Opened:
    """Blobs behind that were opened, the last few of them. For one thread at a time."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._blobs: OrderedDict[str, StoredBlob] = OrderedDict()

    def find(self, key: str) -> StoredBlob | None:
        blob = self._blobs.pop(key, None) or self._store.open(key)
        if blob is not None:
            self._blobs[key] = blob
        if len(self._blobs) > _OPEN_AT_ONCE:
            self._blobs.popitem(last=False)[1].close()
        return blob

    def close(self) -> None:
        while self._blobs:
            self._blobs.popitem()[1].close()


class SerialisedXorb:
    """A xorb over a run of a whole blob's bytes, as clients fetch it: a header before each chunk as it is."""

    path = None

    def __init__(self, blob: StoredBlob, place: XorbPlace) -> None:
        self._blob, self._place = blob, place
        self.close = blob.close

    @property
    def size_bytes(self) -> int:
        return self._place.stored_offsets[-1]

    def read(self, start: int, length: int) -> bytes:
        end = min(start + length, self.size_bytes)
        if not 0 <= start < end:
            return b""
        first = bisect_right(self._place.stored_offsets, start) - 1
        last = bisect_left(self._place.stored_offsets, end)
        before = self._place.stored_offsets[first]
        return b"".join(self._serialise(first, last))[start - before : end - before]

    def _serialise(self, first: int, last: int) -> Iterator[bytes | memoryview]:
        """Chunks `first` to `last`."""
        offsets = self._place.raw_offsets[first : last + 1]
        raw = memoryview(_read_chunks(self._place, self._blob, first, last))
        if len(raw) != offsets[-1] - offsets[0]:
            raise StorageFailed(_WRONG)
        for start, end in pairwise(offsets):
            yield plain_header(end - start)
            yield raw[start - offsets[0] : end - offsets[0]]

    def read_now(self, start: int, length: int) -> None:
        """None: what has the bytes may have to wait for them."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
