"""Cutting whole blobs into chunks, one after the other, by whichever server leased it."""

import logging
from collections.abc import Callable

from steelyard.server.core import jobs
from steelyard.server.core.jobs import Lease
from steelyard.server.core.xet import cutting
from steelyard.server.db.engine import Database
from steelyard.server.errors import RegistryError
from steelyard.server.jobs.leasing import Leases
from steelyard.server.storage import BlobStore

log = logging.getLogger(__name__)


def run_due(database: Database, store: BlobStore, leases: Leases, is_stopping: Callable[[], bool]) -> int:
    """Do what is due, until the server is about to stop. Answers how many were done.

    One at a time: it is bound by the processor, and nobody waits for it. One that fails is put off.
    """
    done = 0
    while not is_stopping() and (claimed := leases.claim(jobs.CHUNK, 1)):
        for lease in claimed:
            try:
                done += _do(database, store, leases, lease, is_stopping)
            except RegistryError as error:
                log.warning("a file could not be cut into chunks, and will be tried again: %s", error.detail)
    return done


def _do(database: Database, store: BlobStore, leases: Leases, lease: Lease, is_stopping: Callable[[], bool]) -> bool:
    with leases.working_on(lease):
        try:
            cutting.chunk_blob(database, store, lease, is_stopping)
        except cutting.Stopped:
            leases.hand_back([lease])
            return False
    return True


def forget_due(database: Database) -> None:
    """Have none done: chunks are not wanted here."""
    with database.read() as session:
        if not jobs.has_due(session, jobs.CHUNK):
            return
    with database.write() as session:
        jobs.forget(session, jobs.CHUNK)
