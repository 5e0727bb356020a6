"""What has arrived of an upload, as runs of bytes, and the manifest that says which of them it is made of.

A run is an object that is written once, but nothing keeps a slow writer from adding one. So an upload is sealed by
writing down which runs, with their ETags, it is made of; what comes later counts for nothing.
"""

import heapq
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Self

from steelyard.server.errors import Conflict, StorageFailed
from steelyard.server.storage import BEING_WRITTEN
from steelyard.server.storage.s3.bucket import Bucket, StoredObject
from steelyard.server.storage.s3.layout import Layout, offset_of
from steelyard.server.storage.s3.refusals import Unmet

_LAX = (
    "The store writes over what is there although it is told not to (If-None-Match), and so could change bytes after "
    "they were proven. Use a store that honours conditional writes."
)


@dataclass(frozen=True, slots=True)
class Span:
    """`length` bytes of the whole, from `start` bytes into an object on; zeros where `source` is None."""

    source: StoredObject | None
    start: int
    length: int

    @property
    def is_object(self) -> bool:
        """Whether it is all of its object."""
        return self.source is not None and self.length == self.source.size_bytes

    def cut(self, start: int, length: int) -> "Span":
        return Span(self.source, self.start + start, length)

    def pieces(self, most_bytes: int) -> Iterator["Span"]:
        """The same in pieces of one size, the last one smaller."""
        for start in range(0, self.length, most_bytes):
            yield self.cut(start, min(most_bytes, self.length - start))

    def read(self, bucket: Bucket) -> bytes:
        return bucket.read(self.source, self.start, self.length) if self.source else bytes(self.length)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an upload is made of, from its first byte to its last."""

    spans: tuple[Span, ...]

    @property
    def size_bytes(self) -> int:
        return sum(span.length for span in self.spans)

    @classmethod
    def of(cls, runs: Sequence[tuple[int, StoredObject]]) -> Self:
        """Of runs and their offsets, the oldest first: where they overlap, the later ones count."""
        return cls(tuple(_paint(runs)))

    def to_json(self, folder: str) -> bytes:
        return json.dumps({"spans": [_row_of(span, folder) for span in self.spans]}).encode()

    @classmethod
    def from_json(cls, document: bytes, folder: str) -> Self:
        return cls(tuple(_span_of(row, folder) for row in json.loads(document)["spans"]))


_Row = list[str | int | None]


def _row_of(span: Span, folder: str) -> _Row:
    if span.source is None:
        return [None, None, 0, span.start, span.length]
    return [span.source.key.removeprefix(folder), span.source.etag, span.source.size_bytes, span.start, span.length]


def _span_of(row: Sequence[str | int], folder: str) -> Span:
    name, etag, size_bytes, start, length = row
    source = StoredObject(f"{folder}{name}", int(size_bytes), str(etag), 0.0) if name else None
    return Span(source, int(start), int(length))


def _paint(runs: Sequence[tuple[int, StoredObject]]) -> Iterator[Span]:
    for top, cells in groupby(_cells(runs), key=lambda cell: cell[0]):
        edges = [edge for _, left, right in cells for edge in (left, right)]
        length = edges[-1] - edges[0]
        yield Span(None, 0, length) if top is None else Span(runs[top][1], edges[0] - runs[top][0], length)


def _cells(runs: Sequence[tuple[int, StoredObject]]) -> Iterator[tuple[int | None, int, int]]:
    """From edge to edge of the runs: the number of the latest that lies between, None where none does."""
    starts = sorted((at, number) for number, (at, run) in enumerate(runs) if run.size_bytes)
    ends = [at + run.size_bytes for at, run in runs]
    arriving, here = iter([*starts, (-1, -1)]), list[int]()
    at, number = next(arriving)
    for left, right in pairwise(sorted({0, *(at for at, _ in starts), *(ends[number] for _, number in starts)})):
        while at == left:
            heapq.heappush(here, -number)
            at, number = next(arriving)
        while here and ends[-here[0]] <= left:
            heapq.heappop(here)
        yield (-here[0] if here else None), left, right


class Staging:
    """The staged uploads of a store."""

    def __init__(self, bucket: Bucket, layout: Layout) -> None:
        self._bucket = bucket
        self._layout = layout
        self._is_strict = False
        """Whether the store was seen to refuse what it has to refuse."""

    def is_sealed(self, upload_id: str) -> bool:
        return self._bucket.find(self._layout.sealed(upload_id)) is not None

    def find(self, upload_id: str) -> Manifest | None:
        """What the upload is made of: as it was sealed, or else as it is now. None where there is none."""
        return self._look(upload_id)[0]

    def _look(self, upload_id: str) -> tuple[Manifest | None, bool]:
        """The same, and whether it is sealed."""
        folder = self._layout.upload(upload_id)
        objects = {each.key: each for each in self._bucket.list(folder)}
        if sealed := objects.get(self._layout.sealed(upload_id)):
            return Manifest.from_json(self._bucket.read(sealed, 0, sealed.size_bytes), folder), True
        runs = [(*found, run) for run in objects.values() if (found := offset_of(run.key))]
        runs.sort(key=lambda placed: (placed[2].modified_at, placed[1]))
        return Manifest.of([(offset, run) for offset, _, run in runs]) if runs else None, False

    def seal(self, upload_id: str) -> Manifest | None:
        """From now on the upload is this, whoever asks. None where there is none."""
        manifest, is_sealed = self._look(upload_id)
        if manifest is None or is_sealed:
            return manifest
        name, document = self._layout.sealed(upload_id), manifest.to_json(self._layout.upload(upload_id))
        if not self._is_new(name, document):
            return self._find_sealed(upload_id)
        if not self._is_strict and self._is_new(name, document):
            self._bucket.delete(name)
            raise StorageFailed(_LAX)
        self._is_strict = True
        return manifest

    def _find_sealed(self, upload_id: str) -> Manifest | None:
        """As somebody else has sealed it just now. Where he has failed to, one of us has to try again."""
        manifest, is_sealed = self._look(upload_id)
        if manifest is not None and not is_sealed:
            raise Conflict(BEING_WRITTEN)
        return manifest

    def _is_new(self, name: str, document: bytes) -> bool:
        """Write the manifest, unless there is one."""
        try:
            self._bucket.put(name, document, only_new=True)
        except Unmet:
            return False
        return True

    def clear(self, upload_id: str) -> None:
        """Remove all that has arrived or is arriving."""
        folder = self._layout.upload(upload_id)
        for each in self._bucket.list(folder):
            self._bucket.delete(each.key)
        for upload in self._bucket.list_unfinished(folder):
            self._bucket.abort(upload.key, upload.handle)
