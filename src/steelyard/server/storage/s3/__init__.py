"""Bytes in a bucket of any S3-compatible store. Owns what is made when; `layout` has the names.

A blob appears by one conditional request, whole, when the store has its bytes; no name is used twice. The store has to
honour `If-None-Match: *` where an object is written: by that an upload is the same thing for every server.
"""

import contextlib
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace

from steelyard.server.errors import Conflict, NotFound
from steelyard.server.storage import NOTHING_STAGED, SEALED, Proof, StoredName, check_upload_id
from steelyard.server.storage.s3.bucket import Bucket, Place
from steelyard.server.storage.s3.copying import CopyLimits, make_object
from steelyard.server.storage.s3.direct import S3Direct
from steelyard.server.storage.s3.layout import Layout, read_url
from steelyard.server.storage.s3.reading import S3Blob, read_in_order
from steelyard.server.storage.s3.refusals import Gone, Unmet
from steelyard.server.storage.s3.staging import Manifest, Staging
from steelyard.server.storage.s3.writing import S3StageWriter

__all__ = ["CopyLimits", "Place", "S3Store", "read_url"]

_WELL_SECONDS = 1.0  # for so long a store that answered counts as one that does
_MOST_PROVEN = 64


class S3Store:
    """A `BlobStore` in a bucket that is there. `direct` False keeps clients away from the store."""

    def __init__(
        self, place: Place, prefix: str = "", *, direct: bool = True, limits: CopyLimits | None = None
    ) -> None:
        self._bucket = Bucket(place)
        self._layout = Layout(prefix)
        self._staging = Staging(self._bucket, self._layout)
        self._limits = limits or CopyLimits()
        self._proven = _Proven()
        self._well_until = 0.0
        self.direct = S3Direct(self._bucket, self._layout) if direct else None

    def stage(self, upload_id: str, offset_bytes: int) -> S3StageWriter:
        writer = S3StageWriter(self._bucket, lambda at: self._layout.new_run(upload_id, at), offset_bytes)
        if self._staging.is_sealed(upload_id):
            raise Conflict(SEALED)
        return writer

    def prove(self, upload_id: str) -> Proof:
        manifest = self._staging.seal(upload_id)
        if manifest is None:
            raise NotFound(NOTHING_STAGED)
        digest = hashlib.sha256()
        try:
            for piece in read_in_order(self._bucket, manifest.spans):
                digest.update(piece)
        except (Gone, Unmet) as lost:  # committed or discarded meanwhile, or taken away by a rule of the bucket
            self._staging.clear(upload_id)
            raise NotFound(NOTHING_STAGED) from lost
        self._proven.put(upload_id, manifest)
        return Proof(digest.hexdigest(), manifest.size_bytes)

    def commit(self, upload_id: str, key: str) -> None:
        name = self._layout.blob(key)
        manifest = self._proven.take(check_upload_id(upload_id))
        if self._bucket.find(name) is None:
            self._make_blob(upload_id, manifest or self._staging.find(upload_id), name)
        self._staging.clear(upload_id)

    def _make_blob(self, upload_id: str, manifest: Manifest | None, name: str) -> None:
        """Another server may do the same at this moment: what counts is that the blob is there."""
        if manifest is None:
            raise NotFound(NOTHING_STAGED)
        try:
            make_object(self._bucket, manifest, name, self._limits)
        except (Gone, Unmet) as fault:
            if self._bucket.find(name) is None:
                raise NotFound(NOTHING_STAGED) from fault

    def discard(self, upload_id: str) -> None:
        self._staging.clear(upload_id)
        self._proven.take(upload_id)

    def open(self, key: str) -> S3Blob | None:
        found = self._bucket.find(self._layout.blob(key))
        if found is None:
            self.free_bytes()  # no blob is one thing, no store another
            return None
        return S3Blob(self._bucket, found)

    def delete(self, key: str) -> None:
        name = self._layout.blob(key)
        self._bucket.delete(name)
        for upload in self._bucket.list_unfinished(name):  # a commit that was cut off
            self._bucket.abort(upload.key, upload.handle)

    def set_aside(self, key: str) -> None:
        found = self._bucket.find(self._layout.blob(key))
        if found is not None:
            with contextlib.suppress(Unmet):  # an earlier call got so far
                make_object(self._bucket, Manifest.of([(0, found)]), self._layout.aside(key), self._limits)
        self.delete(key)

    def scan(self) -> Iterator[StoredName]:
        ahead_seconds = self._bucket.clock_ahead_seconds()
        for name in self._scan():
            yield replace(name, modified_at=name.modified_at - ahead_seconds)

    def _scan(self) -> Iterator[StoredName]:
        """By the store's clock."""
        for each in self._bucket.list(self._layout.blobs):
            if key := self._layout.key_of(each.key):
                yield StoredName("blob", key, each.size_bytes, each.modified_at)
        yield from self._scan_cut_off()
        yield from self._scan_staged()

    def _scan_cut_off(self) -> Iterator[StoredName]:
        """Blobs that a commit began to make in parts and did not end."""
        for upload in self._bucket.list_unfinished(self._layout.blobs):
            key = self._layout.key_of(upload.key)
            if key and self._bucket.find(upload.key) is None:
                yield StoredName("blob", key, 0, upload.begun_at)

    def _scan_staged(self) -> Iterator[StoredName]:
        staged: dict[str, tuple[int, float]] = {}
        found = [(each.key, each.size_bytes, each.modified_at) for each in self._bucket.list(self._layout.staged)]
        found += [(each.key, 0, each.begun_at) for each in self._bucket.list_unfinished(self._layout.staged)]
        for name, size_bytes, modified_at in found:
            upload_id = self._layout.upload_id_of(name)
            if upload_id is None:
                continue
            known_bytes, known_at = staged.get(upload_id, (0, 0.0))
            is_run = name != self._layout.sealed(upload_id)
            staged[upload_id] = (known_bytes + size_bytes * is_run, max(known_at, modified_at))
        for upload_id, (size_bytes, modified_at) in staged.items():
            yield StoredName("stage", upload_id, size_bytes, modified_at)

    def free_bytes(self) -> None:
        """None: a bucket has no end. That it answers is asked once a second at most."""
        if time.monotonic() >= self._well_until:
            self._bucket.check(self._layout.blobs)
            self._well_until = time.monotonic() + _WELL_SECONDS


class _Proven:
    """What this process has proven and not committed: exactly that is committed, whatever a lax store did to the
    manifest. What falls out is read from the store again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._manifests: OrderedDict[str, Manifest] = OrderedDict()

    def put(self, upload_id: str, manifest: Manifest) -> None:
        with self._lock:
            self._manifests[upload_id] = manifest
            while len(self._manifests) > _MOST_PROVEN:
                self._manifests.popitem(last=False)

    def take(self, upload_id: str) -> Manifest | None:
        with self._lock:
            return self._manifests.pop(upload_id, None)
