"""A registry whose insides a job's test looks at: its database, its store, and somebody who pushes to it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from steelyard.server.context import Registry
from steelyard.server.core import blobs
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import utc_now
from steelyard.server.jobs import gc
from steelyard.server.storage import BlobStore
from tests.conftest import MakeRegistered
from tests.house import Person, Registered
from tests.house.people import oid_of

PART_BYTES = 64 * 1024
DAY = 86_400


@dataclass(frozen=True)
class Yard:
    """A registry in this process, its data directory, and `ada`, who owns an organisation."""

    registered: Registered
    data: Path
    ada: Person

    @property
    def registry(self) -> Registry:
        registry = self.registered.client.app.state.registry  # type: ignore[attr-defined]
        assert isinstance(registry, Registry)
        return registry

    @property
    def database(self) -> Database:
        return self.registry.database

    @property
    def store(self) -> BlobStore:
        return self.registry.store

    def collect(self, *, grace_seconds: int = 0, upload_ttl_seconds: int = DAY) -> gc.Collected:
        return gc.collect(self.database, self.store, grace_seconds=grace_seconds, upload_ttl_seconds=upload_ttl_seconds)

    def preview(self, *, grace_seconds: int = 0, upload_ttl_seconds: int = DAY) -> gc.Collected:
        return gc.preview(self.database, self.store, grace_seconds=grace_seconds, upload_ttl_seconds=upload_ttl_seconds)

    def let_go(self) -> list[tuple[str, int]]:
        """What a collector does, without a grace, before it comes to the files."""
        with self.database.write() as session:
            return blobs.let_go(session, blobs.list_unneeded(session, utc_now()), utc_now())

    @contextmanager
    def sql(self) -> Iterator[sqlite3.Connection]:
        """The database itself, to make a row as old or as broken as a test needs it."""
        with closing(sqlite3.connect(self.data / "steelyard.sqlite3")) as connection, connection:
            yield connection

    def files_of(self, content: bytes) -> list[Path]:
        """The store's files that hold, or held, these bytes."""
        return list((self.data / "store").rglob(f"{oid_of(content).removeprefix('sha256:')}.*"))

    def begin(self, content: bytes) -> tuple[str, dict[str, str]]:
        """`(href to complete, links of the parts)` of an upload in parts."""
        action = self.ada.offer("ada/tiny", content).json()["objects"][0]["actions"]["upload"]
        return action["href"], action["header"]

    def send_parts(self, content: bytes) -> str:
        """Send every part and complete nothing; answers the href to complete."""
        href, links = self.begin(content)
        for number in range(1, -(-len(content) // PART_BYTES) + 1):
            part = content[(number - 1) * PART_BYTES : number * PART_BYTES]
            assert self.ada.client.put(links[str(number)], content=part).status_code == 200
        return href


def upload_id_of(href: str) -> str:
    return href.partition("?")[0].rpartition("/")[2]


@pytest.fixture
def yard(make_registered: MakeRegistered, tmp_path: Path) -> Yard:
    """A registry with small parts."""
    registered = make_registered(data=tmp_path / "yard", part_size_bytes=PART_BYTES)
    return Yard(registered, tmp_path / "yard", registered.user("ada"))
