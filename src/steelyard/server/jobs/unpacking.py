"""Unpacking pushed tars into versions, off the request that pushed them, by whichever server leased it."""

from concurrent.futures import Future
from functools import partial

from sqlalchemy.orm import Session

from steelyard.server.core import jobs
from steelyard.server.core.manifests import unpacking
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Manifest
from steelyard.server.jobs.crew import Crew
from steelyard.server.jobs.leasing import Leases
from steelyard.server.names import Version as SemVer
from steelyard.server.settings import Settings
from steelyard.server.storage import BlobStore


class Unpacker:
    """Runs `unpacking.unpack` in threads of its own. What a dying server was unpacking, another one begins anew."""

    def __init__(self, database: Database, store: BlobStore, settings: Settings, leases: Leases) -> None:
        self._database = database
        self._crew = Crew(database, leases, jobs.UNPACK, partial(unpacking.unpack, database, store, settings))

    def start(self, manifest: Manifest, number: SemVer, token_uuid: str) -> "Future[None] | None":
        """Begin to make a version of a manifest that was kept for it, or join whoever does. None where that is another
        server. The future raises what is wrong with it, and it is logged."""
        return self._crew.start(unpacking.subject_of(manifest, number, token_uuid), _anybody)

    def is_pending(self, manifest: Manifest, number: SemVer) -> bool:
        """Whether the version is still to come. Raises `Invalid` where it never will."""
        with self._database.read() as session:
            return unpacking.is_pending(session, manifest, number)

    def run_due(self) -> int:
        """Go on with what nobody is at. Answers how many were begun."""
        return self._crew.run_due()

    def close(self) -> None:
        """Stop early; another server, or this one's next start, begins anew."""
        self._crew.close()


def _anybody(_session: Session) -> None:
    """There is always something to be done, or the work finds that there is not."""
