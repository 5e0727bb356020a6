"""Shards on their way in: from what a client says of its files to blobs that its organisation holds.

Nothing that a shard says is believed. Its runs of chunks are looked up among xorbs that the organisation has, its
hashes are computed anew, and the SHA-256 that a file will be known by is taken of the bytes themselves.
"""

import hashlib
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import cycle
from typing import NoReturn

from sqlalchemy import select

from steelyard.server.core import blobs
from steelyard.server.core.arrivals.uploads import Room, Wanted, check_room
from steelyard.server.core.files.reading import is_whole
from steelyard.server.core.xet import chunking, chunks, recipes
from steelyard.server.core.xet.layouts import RecipeBook
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Blob, Org, Recipe
from steelyard.server.errors import Invalid, StorageFailed, TooLarge
from steelyard.server.names import Oid
from steelyard.server.storage import BlobStore
from steelyard.server.storage.chunked import ChunkedBlob, Layout, Term
from steelyard.server.xet import hashes
from steelyard.server.xet.hashes import Hash
from steelyard.server.xet.shards import FileInfo, Shard, XorbInfo
from steelyard.server.xet.xorbs import Chunk, unpack_table

Tell = Callable[[int, int], None]
"""Is told how many bytes of how many are verified."""

_PIECE_BYTES = 4 * 2**20
_UNPACKED_AT_ONCE = 2


def keep_shard(database: Database, store: BlobStore, org: Org, shard: Shard, room: Room, tell: Tell) -> None:
    """Verify a shard and keep its files: blobs that the organisation holds from then on. Blocks for as long as it takes
    to read every new file once, and tells of it. All may be done again after a failure.

    Raises `Invalid` with a reason for the user, `TooLarge`, `StorageFailed`.
    """
    known = _find_known(database, org, shard)
    for xorb in shard.xorbs:
        _check_xorb(xorb, known[xorb.hash])
    files = [_check_file(file, known) for file in shard.files]
    del known  # of a large file some hundred MB
    total = sum(file.size_bytes for file in files)
    verified = 0
    for file in files:
        _check_size(file, room)
        tell(verified, total)
        oid = _prove(database, store, org, file, lambda count, before=verified: tell(before + count, total))  # type: ignore[misc]
        _keep_file(database, store, org, file, oid, room)
        verified += file.size_bytes
    tell(verified, total)


@dataclass(frozen=True, slots=True)
class _Known:
    """A xorb that the organisation has."""

    id: int
    chunks: Sequence[Chunk]


@dataclass(frozen=True, slots=True)
class _CheckedFile:
    """A file of a shard that fits the xorbs. `sha256_hex` is the client's claim; `first` is its first chunk."""

    file_hash: Hash
    layout: Layout
    sha256_hex: str | None
    first: Hash | None

    @property
    def size_bytes(self) -> int:
        return self.layout.size_bytes

    @property
    def xorb_ids(self) -> list[int]:
        return sorted({term.xorb_id for term in self.layout.terms})


def _find_known(database: Database, org: Org, shard: Shard) -> dict[Hash, _Known]:
    """Every xorb that the shard names. Their grace begins anew, so that none goes while its bytes are being read."""
    named = {xorb.hash for xorb in shard.xorbs} | {term.xorb_hash for file in shard.files for term in file.terms}
    with database.read() as session:
        rows = chunks.find_xorbs(session, org.id, named)
        known = {name: _Known(row.id, unpack_table(row.chunks)) for name, row in rows.items()}
    if len(known) < len(named):
        _refuse_unknown(database, org)
    with database.write() as session:
        is_still_there = chunks.touch(session, org.id, [xorb.id for xorb in known.values()])
    if not is_still_there:
        _refuse_unknown(database, org)
    return known


def _refuse_unknown(database: Database, org: Org) -> NoReturn:
    """A client that was told otherwise would go on so for weeks: it begins with an empty cache the next time."""
    with database.write() as session:
        chunks.empty_caches(session, [org.id])
    raise Invalid(
        f"This builds on chunks that '{org.slug}' does not have, or not any more. Push again: what is missing is then "
        "sent. If this is said once more, remove the folder `xet` of the Hugging Face cache (HF_HOME)."
    )


def _check_xorb(told: XorbInfo, known: _Known) -> None:
    said = [(chunk.hash, chunk.raw_bytes) for chunk in told.chunks]
    if said != [(chunk.hash, chunk.raw_bytes) for chunk in known.chunks]:
        raise Invalid(
            f"The shard tells other chunks of the xorb {hashes.to_text(told.hash)} than those that were sent."
        )


def _check_file(file: FileInfo, known: dict[Hash, _Known]) -> _CheckedFile:
    name = hashes.to_text(file.file_hash)
    terms, all_chunks = [], list[Chunk]()
    for index, term in enumerate(file.terms):
        xorb = known[term.xorb_hash]
        run = xorb.chunks[term.start : term.end]
        if not 0 <= term.start < term.end <= len(xorb.chunks):
            raise Invalid(f"Term {index} of the file {name} names chunks that its xorb does not have.")
        if sum(chunk.raw_bytes for chunk in run) != term.raw_bytes:
            raise Invalid(f"Term {index} of the file {name} has another length than its chunks.")
        if term.range_hash != hashes.range_hash(chunk.hash for chunk in run):
            raise Invalid(f"Term {index} of the file {name} has a wrong verification hash, or none.")
        terms.append(Term(xorb.id, term.start, term.end, term.raw_bytes))
        all_chunks += run
    if hashes.file_hash((chunk.hash, chunk.raw_bytes) for chunk in all_chunks) != file.file_hash:
        raise Invalid(f"The chunks of the file {name} make a file of another hash.")
    return _CheckedFile(file.file_hash, Layout(terms), file.sha256, all_chunks[0].hash if all_chunks else None)


def _check_size(file: _CheckedFile, room: Room) -> None:
    most = room.settings.max_file_bytes
    if most and file.size_bytes > most:
        raise TooLarge(f"A file of {file.size_bytes} bytes is larger than this server takes (max_file_bytes = {most}).")


# --- the bytes themselves


def _prove(database: Database, store: BlobStore, org: Org, file: _CheckedFile, tell: Callable[[int], None]) -> Oid:
    """What the file's bytes are, by our own reading. A file of this hash that was read before is read no more: equal
    chunks are equal bytes."""
    oid = _find_proven(database, store, org, file) or _read_whole(database, store, file, tell)
    if file.sha256_hex is not None and file.sha256_hex != oid.hex:
        raise Invalid(
            f"The bytes of the file {hashes.to_text(file.file_hash)} hash to {oid}, not to sha256:{file.sha256_hex} as "
            "was claimed. Nothing was kept of it."
        )
    return oid


def _find_proven(database: Database, store: BlobStore, org: Org, file: _CheckedFile) -> Oid | None:
    """What was proven for the same organisation: how long it takes shall tell nothing of what others have."""
    with database.read() as session:
        query = select(Blob.oid, Blob.key, Blob.size_bytes).join(Recipe, Recipe.blob_id == Blob.id)
        named = (Recipe.org_id == org.id, Recipe.file_hash == hashes.to_text(file.file_hash))
        row = session.execute(query.where(*named).limit(1)).first()
    return Oid(row.oid) if row is not None and is_whole(store, row.key, row.size_bytes) else None


def _read_whole(database: Database, store: BlobStore, file: _CheckedFile, tell: Callable[[int], None]) -> Oid:
    digest = hashlib.sha256()
    hashed_bytes = 0
    with ExitStack() as opened:
        book = RecipeBook(database)
        readers = [opened.enter_context(ChunkedBlob(store, book, file.layout)) for _ in range(_UNPACKED_AT_ONCE)]
        try:
            for piece in _read_in_turns(readers):
                digest.update(piece)
                hashed_bytes += len(piece)
                tell(hashed_bytes)
        except StorageFailed:
            _note_lost(database, readers[0])
            raise
    return Oid(f"sha256:{digest.hexdigest()}")


def _read_in_turns(readers: Sequence[ChunkedBlob]) -> Iterator[bytes]:
    """All of a file, by several readers of it: pieces are unpacked side by side while the one before is hashed."""
    coming: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(len(readers), thread_name_prefix="unpacking") as threads:
        for start, reader in zip(range(0, readers[0].size_bytes, _PIECE_BYTES), cycle(readers), strict=False):
            coming.append(threads.submit(reader.read, start, _PIECE_BYTES))
            if len(coming) > len(readers):
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def _note_lost(database: Database, blob: ChunkedBlob) -> None:
    """Where bytes are lost, and the store does not only fail, they have to be sent anew."""
    lost = blob.list_lost()
    if lost:
        with database.write() as session:
            chunks.note_lost(session, lost)
        raise Invalid("The store has lost some of the chunks that this builds on. Push again: they are then sent anew.")


def _keep_file(database: Database, store: BlobStore, org: Org, file: _CheckedFile, oid: Oid, room: Room) -> None:
    """One short transaction: the organisation holds these bytes, made so. What it held before stays as it was: whole
    bytes are chunked where they lie, else it would have them twice."""
    lost_key = _find_lost(database, store, oid)
    key = f"{oid.hex}.x{secrets.token_hex(4)[1:]}"
    with database.write() as session:
        if not chunks.touch(session, org.id, file.xorb_ids):
            raise Invalid("Chunks that this builds on went while it was verified. Push again.")
        is_new = oid not in blobs.find_held(session, org.id, [oid])
        if is_new:
            check_room(session, org, [Wanted(oid, file.size_bytes)], replace(room, free_bytes=None))
        kept_key = blobs.link(session, org.id, oid, file.size_bytes, key, lost_key=lost_key)
        blob_id = session.scalars(select(Blob.id).where(Blob.oid == oid)).one()
        if kept_key == key:
            recipes.add_recipe(session, None, blob_id, file.file_hash, file.layout)
        if (is_new or kept_key == key) and not recipes.has_recipe(session, org.id, blob_id):
            recipes.add_recipe(session, org.id, blob_id, file.file_hash, file.layout)
        if file.first is not None:
            chunks.add_dedup(session, file.layout.terms[0].xorb_id, [file.first])
        chunking.enqueue(session, [blob_id])


def _find_lost(database: Database, store: BlobStore, oid: Oid) -> str | None:
    """The physical name of these bytes, where the store has no such bytes any more."""
    with database.read() as session:
        row = session.execute(select(Blob.key, Blob.size_bytes).where(Blob.oid == oid)).one_or_none()
    return None if row is None or is_whole(store, row.key, row.size_bytes) else row.key
