"""Which whole blobs are to be cut into chunks, so that Xet's clients are offered them too. `cutting` does the work."""

from collections.abc import Collection

from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from steelyard.server.core import jobs
from steelyard.server.db.engine import in_batches
from steelyard.server.db.tables import Blob, OrgBlob, OrgXorb, Recipe, RecipeXorb, TreeBlob

Named = int | InstrumentedAttribute[int]
"""A row's number, or the column that has it."""
LEAST_BYTES = 2**20
"""Smaller blobs stay as they are: a client has them in one request."""


def enqueue(session: Session, blob_ids: Collection[int]) -> None:
    """Have those of these blobs chunked that are not; or shared with organisations that have them only since then."""
    for some in in_batches(blob_ids):
        wanting = session.scalars(select(Blob.id).where(Blob.id.in_(some), or_(_is_uncut(), _is_unshared())))
        jobs.enqueue_all(session, jobs.CHUNK, [str(blob_id) for blob_id in wanting])


def enqueue_left(session: Session) -> None:
    """Have all chunked that came while no client was offered them, and that some tree needs."""
    needed = exists().where(TreeBlob.blob_id == Blob.id)
    wanting = session.scalars(select(Blob.id).where(_is_uncut(), needed)).all()
    for some in in_batches(wanting):
        jobs.enqueue_all(session, jobs.CHUNK, [str(blob_id) for blob_id in some])


def _is_uncut() -> ColumnElement[bool]:
    return and_(_is_large(), Blob.key.not_like("%.x%"), ~exists().where(Recipe.blob_id == Blob.id))


def _is_large() -> ColumnElement[bool]:
    return Blob.size_bytes >= LEAST_BYTES


def has_chunks_of(blob_id: Named, org_id: Named) -> ColumnElement[bool]:
    """Whether the organisation has one of the xorbs that the blob is made of: else its bytes are whole ones to it."""
    where = (RecipeXorb.blob_id == blob_id, OrgXorb.xorb_id == RecipeXorb.xorb_id, OrgXorb.org_id == org_id)
    return exists().where(*where).correlate_except(RecipeXorb, OrgXorb)


def _is_unshared() -> ColumnElement[bool]:
    """Whether an organisation holds the blob and has none of its xorbs."""
    has_one = has_chunks_of(Blob.id, OrgBlob.org_id)
    holder = select(OrgBlob.org_id).where(OrgBlob.blob_id == Blob.id, ~has_one).correlate(Blob).exists()
    return and_(_is_large(), exists().where(Recipe.blob_id == Blob.id), holder)
