"""A database as large as asked for, written past the API: publishing 100,000 versions would take hours."""

import hashlib
from pathlib import Path

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from steelyard.server.core.publish import artifacts_hash
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Blob, Model, ModelFacet, Org, OrgBlob, Standing, Tree, TreeBlob, Version
from steelyard.server.names import Version as SemVer

_BATCH = 1_000
_TAGS = ("nlp", "vision", "audio", "tabular")


def fill(database: Database, slug: str, *, models: int, versions_each: int) -> None:
    """Give an organisation `models` models (`m00000` …) of so many versions, each of one small file."""
    with database.write() as session:
        org_id = session.scalars(select(Org.id).where(Org.slug == slug)).one()
        oid, blob_id = _blob(session, org_id)
        for first in range(0, models, _BATCH):
            _models(session, org_id, range(first, min(first + _BATCH, models)), versions_each, oid, blob_id)


def _blob(session: Session, org_id: int) -> tuple[str, int]:
    digest = hashlib.sha256(b"filling").hexdigest()
    blob = Blob(oid=f"sha256:{digest}", size_bytes=7, key=f"{digest}.00000000")
    session.add(blob)
    session.flush()
    session.add(OrgBlob(org_id=org_id, blob_id=blob.id))
    return blob.oid, blob.id


def _models(session: Session, org_id: int, numbers: range, versions_each: int, oid: str, blob_id: int) -> None:
    rows = [
        {"org_id": org_id, "name": f"m{n:05}", "name_key": f"m{n:05}", "search_text": f"m{n:05}\nmodel {n}"}
        for n in numbers
    ]
    ids = list(session.scalars(insert(Model).returning(Model.id, sort_by_parameter_order=True), rows))
    for model_id in ids:
        _versions(session, model_id, versions_each, oid, blob_id)


def _versions(session: Session, model_id: int, count: int, oid: str, blob_id: int) -> None:
    trees = [{"files": [["model.safetensors", oid, 7]], "file_count": 1, "size_bytes": 7} for _ in range(count)]
    tree_ids = list(session.scalars(insert(Tree).returning(Tree.id, sort_by_parameter_order=True), trees))
    session.execute(insert(TreeBlob), [{"tree_id": tree_id, "blob_id": blob_id} for tree_id in tree_ids])
    rows = [_version(model_id, tree_id, SemVer(1, minor, 0), oid) for minor, tree_id in enumerate(tree_ids)]
    ids = list(session.scalars(insert(Version).returning(Version.id, sort_by_parameter_order=True), rows))
    session.execute(update(Model).where(Model.id == model_id).values(latest_version_id=ids[-1]))
    tag = {"model_id": model_id, "kind": "tags", "value": _TAGS[model_id % len(_TAGS)]}
    session.execute(insert(ModelFacet), [tag, {"model_id": model_id, "kind": "framework", "value": "safetensors"}])


def _version(model_id: int, tree_id: int, number: SemVer, oid: str) -> dict[str, object]:
    return {
        "model_id": model_id,
        "version": str(number),
        "precedence": number.precedence,
        "standing": Standing.STABLE,
        "tree_id": tree_id,
        "artifacts_hash": artifacts_hash({"model.safetensors": oid}),
        "content_sha256": bytes(32),
        "size_bytes": 7,
        "framework": "safetensors",
        "summary": f"model {model_id}",
        "tags": [_TAGS[model_id % len(_TAGS)]],
        "origin": {},
        "parents": [],
    }


def main() -> None:
    """`python -m bench.filling DATA_DIR MODELS VERSIONS_EACH`: fill the organisation `bench` of a data directory."""
    import sys

    folder, models, versions_each = sys.argv[1:]
    database = Database(f"sqlite:///{Path(folder).absolute() / 'steelyard.sqlite3'}")
    fill(database, "bench", models=int(models), versions_each=int(versions_each))


if __name__ == "__main__":
    main()
