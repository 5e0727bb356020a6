"""`python -m bench.sizing`: how much a database grows by a version and by a file, on SQLite and on PostgreSQL.

Versions are published by the API; only the bytes of their files are made up, as rows, since nobody reads them here.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sqlalchemy import insert, select, text
from tests.house import Person
from tests.house.postgres import postgres
from tests.house.registries import open_registered

from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Blob, Org, OrgBlob

_VERSIONS, _FILES = 100, 200


def main() -> None:
    """Print a table for each database."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sizing.sqlite3"
        for name, url in (("SQLite", f"sqlite:///{file}"), ("PostgreSQL", postgres().fresh())):
            print(f"{name}: bytes of database, tables and indexes")
            for what, size in measure(url, Path(folder) / name):
                print(f"  {size:>7,.0f}  {what}")


def measure(url: str, data: Path) -> Iterator[tuple[str, float]]:
    """What each of them adds, in bytes."""
    database = Database(url)
    with open_registered(data=data, database=url, store="memory:", limits="off") as registered:
        owner = registered.org("sizing")
        grown = _Grown(database)
        one = _make_files(database, 1)
        version = grown.by(lambda: _publish(owner, "one", [one] * _VERSIONS * 10)) / (_VERSIONS * 10)
        yield "a version of one file, which it shares with others", version
        same = _make_files(database, _FILES)
        entry = grown.by(lambda: _publish(owner, "same", [same] * _VERSIONS)) / _VERSIONS
        yield "a file more in a version, which others have, too", (entry - version) / _FILES
        new = [_make_files(database, _FILES, first=_FILES * (n + 1)) for n in range(_VERSIONS)]
        made = grown.last / (_VERSIONS * _FILES)
        fresh = grown.by(lambda: _publish(owner, "new", new)) / _VERSIONS
        yield "a file more in a version, whose bytes are new", (fresh - version) / _FILES + made
    database.close()


class _Grown:
    """How much a database grows."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._before = self._size()

    def by(self, work: Callable[[], None]) -> int:
        """By a piece of work; what came before it counts no more."""
        self._before = self._size()
        work()
        return self.last

    @property
    def last(self) -> int:
        """Since the last piece of work, or its beginning."""
        now = self._size()
        grown, self._before = now - self._before, now
        return grown

    def _size(self) -> int:
        with self._database.read() as session:
            if self._database.is_sqlite:
                pages, size = (session.scalar(text(f"PRAGMA {name}")) for name in ("page_count", "page_size"))
                return int(pages or 0) * int(size or 0)
            return int(session.scalar(text("SELECT pg_database_size(current_database())")) or 0)


def _make_files(database: Database, count: int, first: int = 0) -> dict[str, str]:
    """Rows of so many blobs that the organisation holds; path -> OID."""
    names = (f"{first}+{n} of {count}" for n in range(count))
    oids = [f"sha256:{hashlib.sha256(name.encode()).hexdigest()}" for name in names]
    rows = [{"oid": oid, "size_bytes": 7, "key": f"{oid.partition(':')[2]}.00000000"} for oid in oids]
    with database.write() as session:
        org_id = session.scalars(select(Org.id).where(Org.slug == "sizing")).one()
        ids: Sequence[int] = session.scalars(insert(Blob).returning(Blob.id), rows).all()
        session.execute(insert(OrgBlob), [{"org_id": org_id, "blob_id": blob_id} for blob_id in ids])
    return {f"part-{n:05}.bin": oid for n, oid in enumerate(oids)}


def _publish(owner: Person, name: str, contents: Sequence[dict[str, str]]) -> None:
    for minor, artifacts in enumerate(contents):
        body = {
            "version": f"1.{minor}.0",
            "artifacts": artifacts,
            "summary": "a model of some kind",
            "tags": ["a", "b"],
        }
        done = owner.post(f"/org/sizing/models/{name}/versions", body)
        assert done.status_code == 201, done.text


if __name__ == "__main__":
    main()
