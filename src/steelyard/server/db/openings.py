"""How a transaction begins: what it is for and how long that may take. Each database reads it its own way."""

from dataclasses import dataclass
from time import monotonic

from sqlalchemy import Connection

OPENING = "steelyard_opening"


@dataclass(frozen=True, slots=True)
class Opening:
    """A transaction that reads, or `writes`; `beside` other such writers, where the database can tell them apart.

    It has to be open by `deadline` (of the monotonic clock). The statements of a `patient` one may take their time.
    """

    deadline: float
    writes: bool = False
    beside: bool = False
    patient: bool = False

    @property
    def seconds_left(self) -> float:
        """How long the opening may take from now on."""
        return max(self.deadline - monotonic(), 0.0)


def opening_of(connection: Connection) -> Opening | None:
    """What the transaction that begins on this connection is for; None for one that is not the registry's own."""
    opening: Opening | None = connection.get_execution_options().get(OPENING)
    return opening
