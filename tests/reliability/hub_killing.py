"""Killing a server at a chosen moment of a push by the Hub's own client, and finding out where the kill hit.

A moment is found by what anybody can see (a line of the log, an open file, a name in the store, a row) and held open by
another process that has the database's lock.
"""

import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

from tests.house import RunningServer
from tests.reliability.killing import connect, copy_database, wait_until
from tests.reliability.sockets import open_files

PHASES = ("xorb", "shard", "commit", "token")


@dataclass(frozen=True)
class Traces:
    """What pushes have left in the database."""

    xorbs: int
    touched_at: str
    oids: frozenset[str]
    commits: int


def read_traces(database: sqlite3.Connection) -> Traces:
    """What is recorded now."""
    xorbs, touched_at = database.execute("SELECT count(*), coalesce(max(touched_at), '') FROM org_xorbs").fetchone()
    oids = database.execute("SELECT oid FROM blobs JOIN org_blobs ON blob_id = blobs.id").fetchall()
    commits = database.execute("SELECT count(*) FROM commits").fetchone()
    return Traces(xorbs, touched_at, frozenset(row[0] for row in oids), commits[0])


def examine_traces(data: Path) -> Traces:
    """What a killed server left. Reads a copy of the database, so that the next server has to recover the original."""
    with tempfile.TemporaryDirectory() as folder, closing(copy_database(data, Path(folder))) as database:
        return read_traces(database)


def phase_of(before: Traces, left: Traces, oids: set[str], new_names: set[str]) -> str:
    """Where the kill hit, by what was left: `token` is before any byte arrived, `answer` after the commit was kept."""
    if left.commits > before.commits:
        return "answer"
    if oids <= left.oids:
        return "commit"
    if left.xorbs > before.xorbs:
        return "shard"
    return "xorb" if new_names else "token"


def names_in_store(data: Path) -> set[str]:
    """Every file of the store, what is staged included."""
    return {path.name for path in (data / "store").rglob("*") if path.is_file()}


class HubKiller:
    """Kills a server once while this is open, in one of the ways that fit the phase of a push of these OIDs by Xet."""

    def __init__(self, server: RunningServer, oids: set[str], phase: str, turn: int, random: Random) -> None:
        self._server, self._oids, self._random = server, oids, random
        self._way = _WAYS[phase][turn % len(_WAYS[phase])]
        self._opened = ExitStack()
        self._database = self._opened.enter_context(closing(connect(server.data, "ro")))
        self._before = read_traces(self._database)
        self._names = names_in_store(server.data)
        self._log_length = len(server.log)
        self._waiting = threading.Thread(target=self._wait_and_kill)

    def __enter__(self) -> Self:
        self._waiting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The server is dead when this ends, in any case."""
        self._waiting.join()
        self._opened.close()

    def _wait_and_kill(self) -> None:
        try:
            self._way(self)
        finally:
            self._server.kill()

    # --- ways

    def once_told_where(self) -> None:
        """While the client cuts its files, and knows where to send them."""
        wait_until(lambda: "/xet-write-token/" in self._server.log[self._log_length :])

    def in_the_body(self) -> None:
        """While a xorb arrives."""
        wait_until(lambda: any("/staged/" in path for path in open_files(self._server)))
        time.sleep(self._random.uniform(0, 0.02))

    def between_xorb_and_row(self) -> None:
        """When the xorb has its final name and the row that says so is not written yet."""
        wait_until(lambda: any("/staged/" in path for path in open_files(self._server)))
        self._shut_gate()
        wait_until(lambda: any("." in name for name in names_in_store(self._server.data) - self._names))

    def before_the_proof(self) -> None:
        """While the shard waits for the database, before its files are read."""
        wait_until(lambda: self._now().xorbs > self._before.xorbs)
        self._wait_at_gate()

    def after_the_proof(self) -> None:
        """While the shard waits for the database, or just before: its files are being read, or were."""
        wait_until(lambda: self._now().xorbs > self._before.xorbs)
        since = self._now().touched_at
        wait_until(lambda: self._now().touched_at > since)
        self._wait_at_gate()

    def before_the_commit(self) -> None:
        """While the commit waits for the database."""
        wait_until(lambda: self._oids <= self._now().oids)
        self._wait_at_gate()

    def about_the_commit(self) -> None:
        """Some milliseconds after the files have come."""
        wait_until(lambda: self._oids <= self._now().oids)
        time.sleep(self._random.uniform(0, 0.05))

    def _now(self) -> Traces:
        return read_traces(self._database)

    def _shut_gate(self) -> None:
        self._opened.enter_context(closing(connect(self._server.data, "rw"))).execute("BEGIN IMMEDIATE")

    def _wait_at_gate(self) -> None:
        self._shut_gate()
        time.sleep(self._random.uniform(0.1, 0.3))


_WAYS: dict[str, tuple[Callable[[HubKiller], None], ...]] = {
    "token": (HubKiller.once_told_where,),
    "xorb": (HubKiller.between_xorb_and_row, HubKiller.in_the_body),
    "shard": (HubKiller.after_the_proof, HubKiller.before_the_proof),
    "commit": (HubKiller.before_the_commit, HubKiller.about_the_commit),
}
