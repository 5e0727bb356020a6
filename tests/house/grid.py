"""What the registries of this run stand on: `STEELYARD_TEST_GRID=postgres+s3`, say; `sqlite+disk` when it is unset.

A test that looks into SQLite's file or into folders of the local store is bound to these, and says so:
`@pytest.mark.only("sqlite", "disk")`; one that needs bytes to outlive a process, `@pytest.mark.only("disk", "s3")`. In
another cell it is deselected, and counted as such.
"""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

DATABASES, STORES = ("sqlite", "postgres"), ("disk", "memory", "s3")


@dataclass(frozen=True, slots=True)
class Cell:
    """One database and one store."""

    database: str
    store: str

    def __str__(self) -> str:
        return f"{self.database}+{self.store}"

    def suits(self, *parts: str) -> bool:
        """Whether this cell has one of the databases that are named, if any are, and one of the stores."""
        if unknown := set(parts) - {*DATABASES, *STORES}:
            raise ValueError(f"no cell of the grid has {', '.join(unknown)}")
        ours = {self.database, self.store}
        return all(ours & named for kind in (DATABASES, STORES) if (named := set(parts) & set(kind)))


def _parse(text: str) -> Cell:
    database, _, store = text.partition("+")
    if database not in DATABASES or store not in STORES:
        raise ValueError(f"STEELYARD_TEST_GRID is {text!r}: it is one of {DATABASES}, a plus, and one of {STORES}")
    return Cell(database, store)


CELL = _parse(os.environ.get("STEELYARD_TEST_GRID", "sqlite+disk"))


@cache
def settings_for(data: Path) -> dict[str, str]:
    """The settings by which a registry with this data directory stands where this run's do.

    The same ones for the same directory: one that is opened a second time finds what it had.
    """
    return {**_database(), **_store()}


def _database() -> dict[str, str]:
    if CELL.database == "sqlite":
        return {}
    from tests.house.postgres import postgres_url

    return {"database": postgres_url()}


def _store() -> dict[str, str]:
    if CELL.store == "disk":
        return {}
    if CELL.store == "memory":
        return {"store": "memory:"}
    from tests.house.seaweed import seaweed

    # A client of the tests is not the network's: it cannot follow links that lead to another server.
    return {**seaweed().settings(), "store_direct": "false"}
