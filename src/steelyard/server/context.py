"""What a running registry is made of. `app.create_app` puts it together; doors and jobs are handed it."""

from dataclasses import dataclass

from steelyard.server.core.downloads import Usage
from steelyard.server.core.limits import Limiter
from steelyard.server.core.tickets import TicketOffice
from steelyard.server.core.trees import TreeCache
from steelyard.server.db.engine import Database
from steelyard.server.jobs.proving import Prover
from steelyard.server.settings import Settings
from steelyard.server.storage import BlobStore


@dataclass(frozen=True, slots=True)
class Registry:
    """The parts that every request may need; all are safe to use from any thread."""

    settings: Settings
    database: Database
    store: BlobStore
    limiter: Limiter
    tickets: TicketOffice
    usage: Usage
    trees: TreeCache
    prover: Prover
