"""Many models and versions, written straight into the tables: rows as the registry writes them, without the pushes."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from typing import Any

from sqlalchemy import Table as SqlTable
from sqlalchemy import func, insert, select, text, update

from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Blob, Model, ModelFacet, Org, OrgBlob, Standing, Table, Tree, TreeBlob, Version
from steelyard.server.names import Version as SemVer

_AT_ONCE = 10_000
_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def fill(database: Database, slug: str, *, models: int, versions: int) -> None:
    """Give an organisation so many models named `crowd-<n>`, each with so many versions `1.<n>.0`."""
    with database.write(patient=True) as session:
        org_id = session.scalars(select(Org.id).where(Org.slug == slug)).one()
        for table, rows in _rows(org_id, models, versions):
            while some := list(islice(rows, _AT_ONCE)):
                session.execute(insert(_table(table)), some)
        if not database.is_sqlite:
            session.execute(text("ANALYZE"))
        latest = select(Version.id).where(Version.model_id == Model.id).order_by(Version.id.desc()).limit(1)
        session.execute(update(Model).values(latest_version_id=latest.scalar_subquery()))
        if not database.is_sqlite:
            for table in (Model, Blob, Tree, Version):
                session.execute(select(func.setval(f"{table.__tablename__}_id_seq", func.max(_table(table).c.id))))


def _table(table: type[Table]) -> SqlTable:
    made = table.__table__
    assert isinstance(made, SqlTable)
    return made


def _rows(org_id: int, models: int, versions: int) -> Iterator[tuple[type[Table], Iterator[dict[str, Any]]]]:
    """The versions of a model share their bytes, as many do."""
    total = models * versions
    yield Model, (_model(org_id, n) for n in range(models))
    yield Blob, (_blob(n) for n in range(models))
    yield OrgBlob, ({"org_id": org_id, "blob_id": n + 1} for n in range(models))
    yield Tree, (_tree(n, n // versions) for n in range(total))
    yield TreeBlob, ({"blob_id": n // versions + 1, "tree_id": n + 1} for n in range(total))
    yield Version, (_version(n, n // versions + 1, n % versions) for n in range(total))
    yield ModelFacet, ({"model_id": n + 1, "kind": "framework", "value": "safetensors"} for n in range(models))


def _model(org_id: int, n: int) -> dict[str, Any]:
    name = f"crowd-{n}"
    return {"id": n + 1, "org_id": org_id, "name": name, "name_key": name, "search_text": name}


def _blob(n: int) -> dict[str, Any]:
    digits = f"{n:064x}"
    return {"id": n + 1, "oid": f"sha256:{digits}", "size_bytes": 1, "key": f"{digits}.00000000"}


def _tree(n: int, blob: int) -> dict[str, Any]:
    files = [["model.safetensors", f"sha256:{blob:064x}", 1]]
    return {"id": n + 1, "files": files, "file_count": 1, "size_bytes": 1}


@cache
def _number(minor: int) -> dict[str, Any]:
    number = SemVer.parse(f"1.{minor}.0")
    return {"version": str(number), "precedence": number.precedence}


def _version(n: int, model_id: int, minor: int) -> dict[str, Any]:
    return {
        "id": n + 1,
        "uuid": f"{n:036x}",
        "model_id": model_id,
        **_number(minor),
        "standing": Standing.STABLE,
        "tree_id": n + 1,
        "artifacts_hash": f"sha256:{n:064x}",
        "content_sha256": bytes(32),
        "size_bytes": 1,
        "framework": "safetensors",
        "origin": {},
        "parents": [],
        "created_at": _LONG_AGO,
        "updated_at": _LONG_AGO,
    }
