"""Which whole blobs are to be cut into chunks, so that Xet's clients are offered them too. `cutting` does the work."""

from collections.abc import Collection

from sqlalchemy import ColumnElement, and_, exists, select
from sqlalchemy.orm import Session

from steelyard.server.core import jobs
from steelyard.server.db.engine import in_batches
from steelyard.server.db.tables import Blob, OrgBlob, Recipe, TreeBlob

LEAST_BYTES = 2**20
"""Smaller blobs stay as they are: a client has them in one request."""


def enqueue(session: Session, blob_ids: Collection[int]) -> None:
    """Have those of these blobs chunked that some organisation has only whole."""
    for some in in_batches(blob_ids):
        wanting = session.scalars(select(Blob.id).where(Blob.id.in_(some), _is_wanting()))
        jobs.enqueue_all(session, jobs.CHUNK, [str(blob_id) for blob_id in wanting])


def enqueue_left(session: Session) -> None:
    """Have all chunked that came while no client was offered them, and that some tree needs."""
    needed = exists().where(TreeBlob.blob_id == Blob.id)
    wanting = session.scalars(select(Blob.id).where(_is_wanting(), needed)).all()
    for some in in_batches(wanting):
        jobs.enqueue_all(session, jobs.CHUNK, [str(blob_id) for blob_id in some])


def list_wanting(session: Session, blob_id: int) -> list[int]:
    """The organisations that hold a blob, and have no chunks of it."""
    return list(session.scalars(select(OrgBlob.org_id).where(OrgBlob.blob_id == blob_id, ~_HAS_IT)))


_HAS_IT = exists().where(Recipe.blob_id == OrgBlob.blob_id, Recipe.org_id == OrgBlob.org_id)


def _is_wanting() -> ColumnElement[bool]:
    return and_(Blob.size_bytes >= LEAST_BYTES, exists().where(OrgBlob.blob_id == Blob.id, ~_HAS_IT))
