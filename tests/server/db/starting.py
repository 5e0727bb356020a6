"""Opening a registry in a process of its own, at the same moment as others do."""

import multiprocessing
from multiprocessing.managers import SyncManager
from pathlib import Path
from threading import Barrier
from typing import Any

from steelyard.server.app import open_registry
from steelyard.server.core.accounts import create_first_admin
from steelyard.server.settings import Settings

Place = tuple[Path, str]  # the data directory, and the URL of the database


def open_together(places: list[Place], barrier: Barrier) -> list[str]:
    """Open each registry when all others do; answers what this process was: `first`, `later`, or its fault."""
    return [_open_one(place, barrier) for place in places]


def _open_one(place: Place, barrier: Barrier) -> str:
    barrier.wait(timeout=60)
    try:
        chosen: dict[str, Any] = {"data": place[0], "database": place[1]}
        registry = open_registry(Settings(**chosen))
        with registry.database.write() as session:
            made = create_first_admin(session, None)
        registry.close()
    except Exception as error:
        return repr(error)
    return "first" if made else "later"


def start_all(places: list[Place], processes: int) -> list[list[str]]:
    """What each of so many processes was, place by place."""
    spawning = multiprocessing.get_context("spawn")  # as `serve` is: with nothing inherited
    with SyncManager(ctx=spawning) as manager, spawning.Pool(processes) as pool:
        barrier = manager.Barrier(processes)
        said = pool.starmap(open_together, [(places, barrier)] * processes, chunksize=1)
    return [list(row) for row in zip(*said, strict=True)]
