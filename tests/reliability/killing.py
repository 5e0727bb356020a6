"""Killing a server at a chosen moment of a push, and finding out from what it left where the kill hit.

No switch in the product helps. A moment is found by what anybody can see (a request not answered, a row, a file) or is
held open by what can really happen: another process that holds the database's write lock for a moment.
"""

import contextlib
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

import httpx2

from tests.house import RunningServer
from tests.reliability.pushing import Kind, Pusher, Release, Step
from tests.reliability.sockets import open_files

PHASES = ("begin", "part", "completion", "hashing", "link", "publish")
_STEP_OF: dict[str, Kind] = {
    "begin": "begin",
    "part": "part",
    "completion": "completion",
    "hashing": "completion",
    "link": "completion",
    "publish": "publish",
}
_WATCH_SECONDS = 10.0

Way = Callable[["Killer", Step], None]


class Killer:
    """Kills a server once, during the nth step of a kind, in one of the ways that fit the phase."""

    def __init__(self, server: RunningServer, phase: str, turn: int, random: Random) -> None:
        self.server = server
        self.random = random
        self._kind = _STEP_OF[phase]
        self._way: Way = _WAYS[phase][turn % len(_WAYS[phase])]
        self._nth = random.randrange({"part": 10, "completion": 2}.get(self._kind, 1))
        if self._way is Killer.in_the_body:
            self._nth = random.randrange(2, 10)  # of one part of several: the first two bodies are whole files
        if phase == "link" and turn % 3 == 2:  # a body that came whole is linked, too
            self._kind, self._nth = "part", 0
        self._waiting: threading.Thread | None = None
        self._cut_body = False
        self.gate: sqlite3.Connection | None = None

    def before(self, step: Step) -> None:
        """To be told of every step before it is sent."""
        if step.kind == self._kind:
            self._nth -= 1
            if self._nth == -1:
                self._way(self, step)

    def body_of(self, data: bytes) -> bytes | Iterator[bytes]:
        """The body of a step, and the kill in its middle where that is the way."""
        return self._cut(data) if self._cut_body else data

    def _cut(self, data: bytes) -> Iterator[bytes]:
        middle = self.random.randrange(len(data))
        yield data[:middle]
        wait_until(lambda: any("/staged/" in path for path in open_files(self.server)))
        time.sleep(self.random.uniform(0, 0.005))
        self.server.kill()
        yield data[middle:]

    def finish(self) -> None:
        """The push is over, one way or the other: so is the server."""
        if self._waiting is not None:
            self._waiting.join()
        self.server.kill()
        if self.gate is not None:
            self.gate.close()

    # --- ways

    def soon(self, _step: Step) -> None:
        """Some milliseconds after the request was sent."""
        self._start(lambda: time.sleep(self.random.uniform(0, 0.012)))

    def in_the_body(self, _step: Step) -> None:
        """When some of the body is sent."""
        self._cut_body = True

    def at_the_gate(self, _step: Step) -> None:
        """While the request waits for the database."""
        self._shut_gate()
        self._start(lambda: time.sleep(self.random.uniform(0.02, 0.06)))

    def while_proving(self, step: Step) -> None:
        """When the upload is marked as complete, or a moment after."""
        watched = closing(connect(self.server.data, "ro"))

        def watch() -> None:
            with watched as database:
                wait_until(lambda: _is_proving(database, step.oid))
            time.sleep(self.random.uniform(0, 0.002))

        self._start(watch)

    def between_file_and_row(self, step: Step) -> None:
        """When the bytes have their final name and the row that says so is not written yet."""
        if step.kind == "part":
            self._shut_gate()
        watched = closing(connect(self.server.data, "ro"))

        def watch() -> None:
            with watched as database:
                if step.kind == "completion":
                    wait_until(lambda: _is_proving(database, step.oid))
                    self._shut_gate()
                wait_until(lambda: bool(_keys_on_disk(self.server.data, step.oid)))

        self._start(watch)

    def _shut_gate(self) -> None:
        self.gate = connect(self.server.data, "rw")
        self.gate.execute("BEGIN IMMEDIATE")

    def _start(self, wait: Callable[[], None]) -> None:
        def run() -> None:
            wait()
            self.server.kill()

        self._waiting = threading.Thread(target=run)
        self._waiting.start()


_WAYS: dict[str, tuple[Way, ...]] = {
    "begin": (Killer.soon, Killer.at_the_gate),
    "part": (Killer.in_the_body, Killer.soon, Killer.at_the_gate),
    "completion": (Killer.at_the_gate,),
    "hashing": (Killer.while_proving,),
    "link": (Killer.between_file_and_row,),
    "publish": (Killer.soon, Killer.at_the_gate),
}


def kill_during(server: RunningServer, pusher: Pusher, release: Release, phase: str, turn: int, random: Random) -> None:
    """Push, and kill the server on the way; each turn of a phase takes another way. It may be missed: `phase_of`."""
    killer = Killer(server, phase, turn, random)
    pusher.before, pusher.body_of = killer.before, killer.body_of
    try:
        with contextlib.suppress(httpx2.TransportError):
            pusher.push(release)
    finally:
        killer.finish()
    assert server.process.returncode == -9


# --- what was left


@dataclass(frozen=True)
class _Upload:
    state: str
    key: str | None
    part_bytes: int
    parts: frozenset[int]


@dataclass(frozen=True)
class Remains:
    """What a database has durable word of: the OIDs that organisations hold, and the unfinished uploads by OID."""

    held: frozenset[str]
    uploads: Mapping[str, _Upload]

    def owed_bytes(self, release: Release) -> int:
        """How many bytes of a release would have to be sent yet."""
        sizes = {oid: len(release.files[path]) for path, oid in release.artifacts.items()}
        return sum(_owed(self.uploads.get(oid), size) for oid, size in sizes.items() if oid not in self.held)

    def has(self, step: Step) -> bool:
        """Whether an acknowledged part is recorded, or all of its bytes are."""
        upload = self.uploads.get(step.oid)
        return step.oid in self.held or (upload is not None and step.part in upload.parts)


def read_remains(database: sqlite3.Connection) -> Remains:
    """What is recorded now."""
    held = {row[0] for row in database.execute("SELECT oid FROM blobs JOIN org_blobs ON blob_id = blobs.id")}
    return Remains(frozenset(held), dict(_read_uploads(database)))


def examine(data: Path) -> Remains:
    """What a killed server left. Reads a copy of the database, so that the next server has to recover the original."""
    with tempfile.TemporaryDirectory() as folder, closing(copy_database(data, Path(folder))) as database:
        return read_remains(database)


def phase_of(data: Path, remains: Remains, step: Step | None) -> str:
    """The phase in which the kill hit, by the step that was not answered and by what was left."""
    if step is None:
        return "between"
    if step.kind in ("begin", "publish"):
        return step.kind
    if step.oid in remains.held:
        return "answer"
    if step.kind == "part":
        return "link" if step.part == 0 and _keys_on_disk(data, step.oid) else "part"
    upload = remains.uploads[step.oid]
    if upload.state == "open":
        return "completion"
    return "link" if upload.key in _keys_on_disk(data, step.oid) else "hashing"


def _owed(upload: _Upload | None, size: int) -> int:
    if upload is None or size <= upload.part_bytes:
        return size
    starts = range(0, size, upload.part_bytes)
    return sum(min(upload.part_bytes, size - start) for n, start in enumerate(starts, 1) if n not in upload.parts)


def copy_database(data: Path, folder: Path) -> sqlite3.Connection:
    """The database as it is on the disk, in another folder."""
    for name in ("steelyard.sqlite3", "steelyard.sqlite3-wal"):
        if (data / name).exists():
            shutil.copy(data / name, folder / name)
    return sqlite3.connect(folder / "steelyard.sqlite3")


def _read_uploads(database: sqlite3.Connection) -> Iterator[tuple[str, _Upload]]:
    for upload_id, oid, state, key, part_bytes in database.execute(
        "SELECT id, oid, state, key, part_size_bytes FROM uploads WHERE state != 'failed'"
    ).fetchall():
        parts = database.execute("SELECT number FROM upload_parts WHERE upload_id = ?", (upload_id,))
        yield oid, _Upload(state, key, part_bytes, frozenset(row[0] for row in parts))


def connect(data: Path, mode: str) -> sqlite3.Connection:
    """The server's database beside the server: `ro` to look, `rw` to hold its lock."""
    uri = f"file:{data / 'steelyard.sqlite3'}?mode={mode}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=5)


def _is_proving(database: sqlite3.Connection, oid: str) -> bool:
    row = database.execute("SELECT state FROM uploads WHERE oid = ?", (oid,)).fetchone()
    return row is None or row[0] == "proving"


def _keys_on_disk(data: Path, oid: str) -> set[str]:
    digits = oid.removeprefix("sha256:")
    return {path.name for path in (data / "store/blobs/sha256" / digits[:2] / digits[2:4]).glob(f"{digits}.*")}


def wait_until(happened: Callable[[], bool]) -> None:
    """Look all the time, for some seconds at most."""
    deadline = time.monotonic() + _WATCH_SECONDS
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.0001)
