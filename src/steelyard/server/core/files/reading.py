"""Reading the bytes of a version: files as sources to send, and the headers of weights."""

from collections.abc import Sequence
from contextlib import nullcontext

from sqlalchemy.orm import Session

from steelyard.server.core import blobs
from steelyard.server.core.blobs import HeldBlob
from steelyard.server.core.files.archive import Archive, ArchiveFile, plan_archive
from steelyard.server.core.files.heads import WeightFile
from steelyard.server.core.files.tensors import ALL, Header, Wanted, read_header
from steelyard.server.core.files.trees import File, TreeCache
from steelyard.server.core.files.weights import count_parameters
from steelyard.server.db.tables import Version
from steelyard.server.errors import StorageFailed
from steelyard.server.storage import BlobStore, StoredBlob
from steelyard.server.storage.chunked import is_complete

MOST_WEIGHT_FILES = 1_000  # of more than these the headers are not read: the size then tells the category


def get_key(session: Session, file: File) -> str:
    """The physical name of an artifact's bytes."""
    key = blobs.find_keys(session, [file.oid]).get(file.oid)
    if key is None:
        raise StorageFailed("The registry has no record of these bytes. The operator runs `steelyard admin check`.")
    return key


def open_key(store: BlobStore, key: str) -> StoredBlob:
    """The bytes of that name, open; raises `StorageFailed` when the store has lost them."""
    blob = store.open(key)
    if blob is None:
        raise StorageFailed("The store does not have these bytes. The operator runs `steelyard admin check`.")
    return blob


def is_whole(store: BlobStore, key: str, size_bytes: int) -> bool:
    """Whether the store has the bytes of that name, so many of them; of what is made of chunks, all of these."""
    with store.open(key) or nullcontext() as blob:
        return blob is not None and blob.size_bytes == size_bytes and is_complete(blob, size_bytes)


def plan_version(session: Session, trees: TreeCache, version: Version) -> Archive:
    """The tar of a whole version: its files at their own paths."""
    files = list(trees.get(session, version).files.values())
    keys = blobs.find_keys(session, {file.oid for file in files})
    if any(file.oid not in keys for file in files):
        raise StorageFailed("The registry has no record of some bytes. The operator runs `steelyard admin check`.")
    return plan_archive([ArchiveFile(f.path, f.size_bytes, f.oid, keys[f.oid]) for f in files])


def count_parameters_of(store: BlobStore, weights: Sequence[tuple[str, HeldBlob]]) -> int | None:
    """How many parameters the headers of these files tell of; None where they do not, or are too many to read."""
    if not 0 < len(weights) <= MOST_WEIGHT_FILES:
        return None
    return count_parameters([_weight_file(store, path, held.key, held.size_bytes) for path, held in weights])


def read_header_of(store: BlobStore, file: File, key: str, wanted: Wanted = ALL) -> Header:
    """The tensors and the metadata that the header of a file of weights tells of, as `tensors.read_header` has them."""
    return read_header(_weight_file(store, file.path, key, file.size_bytes), wanted)


def _weight_file(store: BlobStore, path: str, key: str, size_bytes: int) -> WeightFile:
    def read(start: int, length: int) -> bytes:
        with open_key(store, key) as blob:
            return blob.read(start, length)

    return WeightFile(path, size_bytes, read)
