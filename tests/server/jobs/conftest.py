"""A registry whose insides a job's test looks at: its database, its store, and somebody who pushes to it."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from steelyard.server.context import Registry
from steelyard.server.core import blobs
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import OrgBlob, utc_now
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

    def age(self, *, days: int) -> None:
        """Make it so long ago that organisations were last seen to want their bytes; negative is to come."""
        with self.database.write() as session:
            for held in session.scalars(select(OrgBlob)):
                held.touched_at -= timedelta(days=days)

    def keys_of(self, content: bytes) -> list[str]:
        """The store's names of these bytes, now or before."""
        digest = oid_of(content).removeprefix("sha256:")
        return [found.name for found in self.store.scan() if found.kind == "blob" and found.name.startswith(digest)]

    def files_of(self, content: bytes) -> list[Path]:
        """The local store's files that hold, or held, these bytes."""
        return list((self.data / "store").rglob(f"{oid_of(content).removeprefix('sha256:')}.*"))

    def begin(self, content: bytes) -> tuple[str, dict[str, str]]:
        """`(href to complete, links of the parts)` of an upload in parts."""
        action = self.ada.offer("ada/tiny", content).json()["objects"][0]["actions"]["upload"]
        return action["href"], action["header"]

    def send_parts(self, content: bytes, sent: bytes | None = None) -> str:
        """Send every part, of other bytes where they are given, and complete nothing; answers the href to complete."""
        href, links = self.begin(content)
        sent = sent or content
        for number in range(1, -(-len(content) // PART_BYTES) + 1):
            part = sent[(number - 1) * PART_BYTES : number * PART_BYTES]
            assert self.ada.client.put(links[str(number)], content=part).status_code == 200
        return href


def upload_id_of(href: str) -> str:
    return href.partition("?")[0].rpartition("/")[2]


@pytest.fixture
def yard(make_registered: MakeRegistered, tmp_path: Path) -> Yard:
    """A registry with small parts."""
    registered = make_registered(data=tmp_path / "yard", part_size_bytes=PART_BYTES)
    return Yard(registered, tmp_path / "yard", registered.user("ada"))
