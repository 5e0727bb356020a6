"""What a running registry is made of. `app.create_app` puts it together; doors and jobs are handed it."""

from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from steelyard.server.core.downloads import Usage
from steelyard.server.core.files.trees import TreeCache
from steelyard.server.core.limits import Limiter
from steelyard.server.core.tickets import TicketOffice
from steelyard.server.db.engine import Database
from steelyard.server.jobs.imaging import Imager
from steelyard.server.jobs.leasing import Leases
from steelyard.server.jobs.proving import Prover
from steelyard.server.jobs.unpacking import Unpacker
from steelyard.server.settings import Settings
from steelyard.server.storage import BlobStore
from steelyard.server.watching.monitor import Monitor

if TYPE_CHECKING:
    from steelyard.server.openid.provider import Provider  # whose libraries need not be installed


@dataclass(frozen=True, slots=True)
class Post:
    """What one of a server's several workers is. Whoever takes the place of one that died has the same post."""

    number: int
    holder_id: str
    """Begins the marks of its leases: 16 characters, unlike those of all other workers of all servers."""
    numbers: Path
    """A folder where the workers of this server keep their metrics."""


@dataclass(frozen=True, slots=True)
class Registry:
    """The parts that every request may need; all are safe to use from any thread."""

    settings: Settings
    monitor: Monitor
    database: Database
    store: BlobStore
    limiter: Limiter
    tickets: TicketOffice
    usage: Usage
    trees: TreeCache
    leases: Leases
    prover: Prover
    imager: Imager
    unpacker: Unpacker
    post: Post | None = None
    """None for a server of one process."""
    provider: "Provider | None" = None
    """Who is asked who people are, where they sign in to the pages by somebody else than us."""
    leaving: Event = field(default_factory=Event)
    """Set when this server is about to stop: it serves on, and tells whoever asks to send no more."""
    stopping: Event = field(default_factory=Event)
    """Set when it stops, and waits only for what is under way: what would take long ends early."""

    def close(self) -> None:
        """Let go of every connection, and send what is left of the traces."""
        self.limiter.close()
        if self.provider is not None:
            self.provider.close()
        self.database.close()
        self.monitor.close()
