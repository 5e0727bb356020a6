"""Making the twins of versions, off the request that asked for one, by whichever server leased it."""

from concurrent.futures import Future
from functools import partial

from steelyard.server.core import jobs
from steelyard.server.core.files.trees import TreeCache
from steelyard.server.core.manifests import images
from steelyard.server.core.manifests.making import check_there
from steelyard.server.core.models import Found
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Manifest, Version
from steelyard.server.jobs.crew import Crew
from steelyard.server.jobs.leasing import Leases
from steelyard.server.storage import BlobStore


class Imager:
    """Runs `images.make_image` in threads of its own. What a dying server was making, another one makes."""

    def __init__(self, database: Database, store: BlobStore, trees: TreeCache, leases: Leases) -> None:
        self._database, self._trees = database, trees
        self._crew = Crew(database, leases, jobs.IMAGE, partial(images.make_image, database, store, trees))

    def find(self, found: Found, version: Version) -> Manifest | None:
        """The manifest of a version's twin, once it is made. Raises `NotFound` where the version is gone."""
        with self._database.read() as session:
            kept = images.find_image(session, version)
            if kept is None:
                check_there(session, found, version)
            return kept

    def start(self, found: Found, version: Version) -> "Future[None] | None":
        """Begin to make a twin, or join whoever does. None where that is another server.

        The future raises what the work raises, and it is logged. Raises `NotFound` where the version has too many files
        for a twin, and where it is gone.
        """
        with self._database.read() as session:
            images.check_image(session, self._trees, found, version)
        return self._crew.start(version.uuid, lambda session: check_there(session, found, version))

    def run_due(self) -> int:
        """Go on with twins that nobody is at. Answers how many were begun."""
        return self._crew.run_due()

    def close(self) -> None:
        """Stop early; another server, or this one's next start, begins anew."""
        self._crew.close()
