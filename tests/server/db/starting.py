"""Opening a registry in a process of its own, at the same moment as others do."""

import multiprocessing
from multiprocessing.managers import SyncManager
from pathlib import Path
from threading import Barrier
from typing import Any

from steelyard.server.app import open_registry
from steelyard.server.core.accounts import create_first_admin
from steelyard.server.settings import Settings


def open_together(folders: list[Path], barrier: Barrier) -> list[str]:
    """Open each registry when all others do; answers what this process was: `first`, `later`, or its fault."""
    return [_open_one(folder, barrier) for folder in folders]


def _open_one(folder: Path, barrier: Barrier) -> str:
    barrier.wait(timeout=60)
    try:
        chosen: dict[str, Any] = {"data": folder}
        registry = open_registry(Settings(**chosen))
        with registry.database.write() as session:
            made = create_first_admin(session, None)
        registry.database.close()
    except Exception as error:
        return repr(error)
    return "first" if made else "later"


def start_all(folders: list[Path], processes: int) -> list[list[str]]:
    """What each of so many processes was, folder by folder."""
    spawning = multiprocessing.get_context("spawn")  # as `serve` is: with nothing inherited
    with SyncManager(ctx=spawning) as manager, spawning.Pool(processes) as pool:
        barrier = manager.Barrier(processes)
        said = pool.starmap(open_together, [(folders, barrier)] * processes, chunksize=1)
    return [list(row) for row in zip(*said, strict=True)]
