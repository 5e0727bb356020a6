"""Shards on their way in: from what a client says of its files to blobs that its organisation holds.

Nothing that a shard says is believed. Its runs of chunks are looked up among xorbs that the organisation has, its
hashes are computed anew, and the SHA-256 that a file will be known by is taken of the bytes themselves.
"""

import hashlib
import secrets
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import cycle

from sqlalchemy import select
from sqlalchemy.orm import Session

from steelyard.server.core import blobs
from steelyard.server.core.arrivals.uploads import Room, Wanted, check_room
from steelyard.server.core.files.reading import is_whole
from steelyard.server.core.xet import chunking, chunks, recipes
from steelyard.server.core.xet.claims import CheckedFile, check_shard
from steelyard.server.core.xet.layouts import RecipeBook
from steelyard.server.db.engine import Database, in_batches
from steelyard.server.db.tables import Blob, Org, Recipe, Xorb
from steelyard.server.errors import Invalid, StorageFailed, Unavailable
from steelyard.server.names import Oid
from steelyard.server.storage import BlobStore
from steelyard.server.storage.chunked import ChunkedBlob
from steelyard.server.xet import hashes
from steelyard.server.xet.shards import Shard

Tell = Callable[[int, int], None]
"""Is told how many bytes of how many are verified."""

_PIECE_BYTES = 4 * 2**20
_UNPACKED_AT_ONCE = 2


def keep_shard(
    database: Database,
    store: BlobStore,
    org: Org,
    shard: Shard,
    room: Room,
    tell: Tell,
    *,
    is_stopping: Callable[[], bool] = lambda: False,
) -> None:
    """Verify a shard and keep its files: blobs that the organisation holds from then on. Blocks for as long as it takes
    to read every new file once, and tells of it. All may be done again after a failure.

    Raises `Invalid` with a reason for the user, `TooLarge`, `StorageFailed`, and `Unavailable` soon after `is_stopping`
    says so.
    """

    def go_on() -> None:
        if is_stopping():
            raise Unavailable("This server stops. Send it again in a moment: what was verified so far is kept.")

    go_on()
    files = check_shard(database, org, shard, room, go_on)
    total = sum(file.size_bytes for file in files)
    verified = 0
    for file in files:

        def tell_of_file(count: int, before: int = verified) -> None:
            go_on()
            tell(before + count, total)

        tell_of_file(0)
        oid = _prove(database, store, org, file, tell_of_file)
        _keep_file(database, store, org, file, oid, room)
        verified += file.size_bytes
    tell(verified, total)


# --- the bytes themselves


def _prove(database: Database, store: BlobStore, org: Org, file: CheckedFile, tell: Callable[[int], None]) -> Oid:
    """What the file's bytes are, by our own reading. A file of this hash that was read before is read no more: equal
    chunks are equal bytes."""
    oid = _find_proven(database, store, org, file) or _read_whole(database, store, file, tell)
    if file.sha256_hex is not None and file.sha256_hex != oid.hex:
        raise Invalid(
            f"The bytes of the file {hashes.to_text(file.file_hash)} hash to {oid}, not to sha256:{file.sha256_hex} as "
            "was claimed. Nothing was kept of it."
        )
    return oid


def _find_proven(database: Database, store: BlobStore, org: Org, file: CheckedFile) -> Oid | None:
    """What was proven for the same organisation: how long it takes shall tell nothing of what others have."""
    with database.read() as session:
        query = select(Blob.oid, Blob.key, Blob.size_bytes).join(Recipe, Recipe.blob_id == Blob.id)
        named = (Recipe.org_id == org.id, Recipe.file_hash == hashes.to_text(file.file_hash))
        row = session.execute(query.where(*named).limit(1)).first()
    return Oid(row.oid) if row is not None and is_whole(store, row.key, row.size_bytes) else None


def _read_whole(database: Database, store: BlobStore, file: CheckedFile, tell: Callable[[int], None]) -> Oid:
    digest = hashlib.sha256()
    hashed_bytes = 0
    with ExitStack() as opened:
        book = RecipeBook(database)
        readers = [opened.enter_context(ChunkedBlob(store, book, file.layout)) for _ in range(_UNPACKED_AT_ONCE)]
        pieces = opened.enter_context(closing(_read_in_turns(readers)))
        try:
            for piece in pieces:
                digest.update(piece)
                hashed_bytes += len(piece)
                tell(hashed_bytes)
        except StorageFailed:
            _note_lost(database, readers[0])
            raise
    return Oid(f"sha256:{digest.hexdigest()}")


def _read_in_turns(readers: Sequence[ChunkedBlob]) -> Generator[bytes, None, None]:
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


def _keep_file(database: Database, store: BlobStore, org: Org, file: CheckedFile, oid: Oid, room: Room) -> None:
    """One short transaction: the organisation holds these bytes, made so. What it held before stays as it was: whole
    bytes are chunked where they lie, else it would have them twice."""
    lost_key = _find_lost(database, store, oid)
    if lost_key is not None:  # what stands over the lost bytes cannot bring them back
        with ChunkedBlob(store, RecipeBook(database), file.layout) as blob:
            _note_lost(database, blob)
    key = f"{oid.hex}.x{secrets.token_hex(4)[1:]}"
    with database.write() as session:
        if not chunks.touch(session, org.id, file.xorb_ids):
            raise Invalid("Chunks that this builds on went while it was verified. Push again.")
        is_new = oid not in blobs.find_held(session, org.id, [oid])
        if is_new:
            check_room(session, org, [Wanted(oid, file.size_bytes)], replace(room, free_bytes=None))
        if lost_key is not None and _stands_over(session, oid, file):
            raise Invalid("Some of these chunks lie in the file itself, whose bytes were lost. Push again.")
        kept_key = blobs.link(session, org.id, oid, file.size_bytes, key, lost_key=lost_key)
        blob_id = session.scalars(select(Blob.id).where(Blob.oid == oid)).one()
        if kept_key == key:
            recipes.add_recipe(session, None, blob_id, file.file_hash, file.layout)
        if (is_new or kept_key == key) and not recipes.has_recipe(session, org.id, blob_id):
            recipes.add_recipe(session, org.id, blob_id, file.file_hash, file.layout)
        if file.first is not None:
            chunks.add_dedup(session, file.layout.terms[0].xorb_id, [file.first])
        chunking.enqueue(session, [blob_id])


def _stands_over(session: Session, oid: Oid, file: CheckedFile) -> bool:
    over = select(Xorb.id).join(Blob, Blob.id == Xorb.blob_id).where(Blob.oid == oid)
    return any(session.scalars(over.where(Xorb.id.in_(some))).first() for some in in_batches(file.xorb_ids))


def _find_lost(database: Database, store: BlobStore, oid: Oid) -> str | None:
    """The physical name of these bytes, where the store has no such bytes any more."""
    with database.read() as session:
        row = session.execute(select(Blob.key, Blob.size_bytes).where(Blob.oid == oid)).one_or_none()
    return None if row is None or is_whole(store, row.key, row.size_bytes) else row.key
