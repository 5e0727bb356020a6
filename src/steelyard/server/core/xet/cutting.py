"""Whole blobs offered to Xet's clients: cut into chunks once, and described by xorbs that stand over their bytes.

Nothing is stored twice: such a xorb is serialised when it is sent. It is a job, done at least once: what a second one
finds done it leaves as it is.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from sqlalchemy import select
from sqlalchemy.orm import Session

from steelyard.server.core import jobs
from steelyard.server.core.jobs import Lease
from steelyard.server.core.xet import chunking, chunks, recipes
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Blob, Xorb
from steelyard.server.errors import StorageFailed
from steelyard.server.storage import BlobStore, StoredBlob
from steelyard.server.storage.chunked import Layout, Term
from steelyard.server.xet import hashes
from steelyard.server.xet.chunking import split
from steelyard.server.xet.hashes import Hash
from steelyard.server.xet.xorbs import HEADER_BYTES, Chunk, pack_table

MOST_CHUNKS = 1024
MOST_XORB_BYTES = 64 * 2**20
_PIECE_BYTES = 2**20


class Stopped(Exception):
    """The server is about to end: whoever leases the job next begins anew."""


@dataclass(frozen=True, slots=True)
class _Run:
    """Chunks of a blob that become a xorb."""

    hash: Hash
    offset_bytes: int
    chunks: Sequence[Chunk]

    @property
    def raw_bytes(self) -> int:
        return sum(chunk.raw_bytes for chunk in self.chunks)


def chunk_blob(database: Database, store: BlobStore, lease: Lease, is_stopping: Callable[[], bool]) -> None:
    """Do the job: read the blob once, and keep how it is made of chunks for all who have it only whole. Raises
    `StorageFailed`, and `Stopped`."""
    blob_id = int(lease.subject)
    with database.read() as session:
        blob = session.get(Blob, blob_id)
        is_wanted = bool(chunking.list_wanting(session, blob_id))
    stored = store.open(blob.key) if blob is not None and is_wanted else None
    if blob is None or stored is None:  # lost bytes are cut when they come again
        with database.write() as session:
            jobs.finish(session, lease)
        return
    with stored:
        cut = list(_cut(stored, blob.size_bytes, is_stopping))
    file_hash = hashes.file_hash((chunk.hash, chunk.raw_bytes) for chunk in cut)
    is_kept = False
    while not is_kept:
        runs = list(_runs(database, blob_id, cut))
        with database.write() as session:
            is_there = session.scalar(select(Blob.key).where(Blob.id == blob_id)) == blob.key
            is_kept = not is_there or _keep(session, blob_id, file_hash, runs)
            if is_kept:
                jobs.finish(session, lease)


def _cut(stored: StoredBlob, size_bytes: int, is_stopping: Callable[[], bool]) -> Iterator[Chunk]:
    """The chunks of a blob, as long as each is with a header before it."""
    if stored.size_bytes != size_bytes:
        raise StorageFailed("The store holds another number of bytes of this file than was recorded.")
    for raw in split(_pieces(stored, is_stopping)):
        yield Chunk(hashes.chunk_hash(raw), len(raw), len(raw) + HEADER_BYTES)


def _pieces(stored: StoredBlob, is_stopping: Callable[[], bool]) -> Iterator[bytes]:
    for start in range(0, stored.size_bytes, _PIECE_BYTES):
        if is_stopping():
            raise Stopped
        piece = stored.read(start, _PIECE_BYTES)
        if len(piece) != min(_PIECE_BYTES, stored.size_bytes - start):
            raise StorageFailed("The store gave fewer bytes of this file than it holds.")
        yield piece


def _runs(database: Database, blob_id: int, cut: Sequence[Chunk]) -> Iterator[_Run]:
    """The xorbs to be. One that stands over another blob would keep that blob's bytes for this one: then it is made
    shorter, and so another one."""
    offsets = list(accumulate((chunk.raw_bytes for chunk in cut), initial=0))
    start = 0
    while start < len(cut):
        end = _run_end(cut, start)
        with database.read() as session:
            while end - start > 1 and _is_anothers(session, blob_id, _hash_of(cut[start:end])):
                end -= 1
        yield _Run(_hash_of(cut[start:end]), offsets[start], cut[start:end])
        start = end


def _run_end(cut: Sequence[Chunk], start: int) -> int:
    end, stored_bytes = start, 0
    while end < min(len(cut), start + MOST_CHUNKS):
        stored_bytes += cut[end].stored_bytes
        if stored_bytes > MOST_XORB_BYTES:
            break
        end += 1
    return end


def _hash_of(run: Sequence[Chunk]) -> Hash:
    return hashes.xorb_hash((chunk.hash, chunk.raw_bytes) for chunk in run)


def _is_anothers(session: Session, blob_id: int, xorb_hash: Hash) -> bool:
    over_another = Xorb.blob_id.is_not(None) & (Xorb.blob_id != blob_id)
    return session.scalar(select(Xorb.id).where(Xorb.hash == hashes.to_text(xorb_hash), over_another)) is not None


def _keep(session: Session, blob_id: int, file_hash: Hash, runs: Sequence[_Run]) -> bool:
    """False where a run has become another blob's since it was looked for."""
    if any(len(run.chunks) > 1 and _is_anothers(session, blob_id, run.hash) for run in runs):
        return False
    orgs = chunking.list_wanting(session, blob_id)
    terms = []
    for run in runs if orgs else ():
        xorb_id = _find_or_add(session, blob_id, run)
        terms.append(Term(xorb_id, 0, len(run.chunks), run.raw_bytes))
        is_first = run is runs[0]
        asked_for = (chunk.hash for chunk in run.chunks if hashes.is_asked_for(chunk.hash))
        chunks.add_dedup(session, xorb_id, [*asked_for, *([run.chunks[0].hash] if is_first else [])])
    for org_id in orgs:
        recipes.add_recipe(session, org_id, blob_id, file_hash, Layout(terms))
        chunks.grant(session, org_id, [term.xorb_id for term in terms], chunks.NEVER_TOLD)
    return True


def _find_or_add(session: Session, blob_id: int, run: _Run) -> int:
    """Whoever sent a xorb of the same chunks, it is that one: one of a single chunk cannot be made shorter, either."""
    text = hashes.to_text(run.hash)
    known = session.scalar(select(Xorb.id).where(Xorb.hash == text))
    if known is not None:
        return known
    xorb = Xorb(
        hash=text,
        blob_id=blob_id,
        blob_offset_bytes=run.offset_bytes,
        size_bytes=sum(chunk.stored_bytes for chunk in run.chunks),
        raw_bytes=run.raw_bytes,
        chunks=pack_table(run.chunks),
    )
    session.add(xorb)
    session.flush()
    return xorb.id
