"""A registry's worth of models that differ as those of people do: by organisation, licence, task, size and tags.

`filling.py` makes the rows; here they get what the catalogue shows, searches and counts.
"""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.orm import Session

from bench.filling import fill
from steelyard.server.core.models import searchable
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Model, ModelFacet, Org, Version

_BEGAN = datetime(2025, 1, 1, tzinfo=UTC)
_BATCH = 1_000
_SEED = 5
_TASKS = (
    "text-generation", "text-classification", "image-classification", "automatic-speech-recognition", "translation",
    "object-detection", "summarization", "fill-mask", "feature-extraction", "text-to-image", "tabular-regression",
)  # fmt: skip
_FRAMEWORKS = ("safetensors", "pytorch", "gguf", "onnx", "sklearn")
_LICENSES = ("apache-2.0", "mit", "llama3", "cc-by-4.0", "proprietary", "gemma", "openrail", "bsd-3-clause")
_SIZES = ("tiny", "small", "medium", "large", "huge")
_WORDS = (
    "bert", "llama", "whisper", "vision", "encoder", "small", "large", "distilled", "chat", "german", "french",
    "medical", "legal", "code", "speech", "table", "quantised", "base", "instruct", "reranker",
)  # fmt: skip
_TAGS = tuple(f"{word}-{other}" for word in _WORDS for other in (*_WORDS, "en", "de", "v1", "v2", "2024", "2025"))


def stock(database: Database, slugs: Sequence[str], *, models: int, versions_each: int) -> None:
    """Give organisations that are there so many models between them, three in four of them public."""
    fill(database, slugs[0], models=models, versions_each=versions_each)
    chance = random.Random(_SEED)
    with database.write(patient=True) as session:
        orgs = session.execute(select(Org.id, Org.slug).where(Org.slug.in_(slugs))).all()
        session.execute(delete(ModelFacet))
        rows = session.execute(select(Model.id, Model.name, Model.latest_version_id)).all()
        for first in range(0, len(rows), _BATCH):
            _dress(session, orgs, rows[first : first + _BATCH], chance)


def _dress(session: Session, orgs: Sequence[Any], rows: Sequence[Any], chance: random.Random) -> None:
    said = {row.id: _description(chance) for row in rows}
    models = [
        {
            "b_id": row.id,
            "org_id": (org := chance.choice(orgs)).id,
            "is_public": chance.random() < 0.75,
            "search_text": searchable(f"{org.slug}/{row.name}\n{said[row.id]['summary']}"),
            "created_at": (at := _BEGAN + timedelta(minutes=chance.randrange(500_000))),
            "updated_at": at + timedelta(minutes=chance.randrange(100_000)),
        }
        for row in rows
    ]
    versions = [{"b_id": row.latest_version_id, **said[row.id]} for row in rows]
    connection = session.connection()
    connection.execute(update(Model).where(Model.id == bindparam("b_id")), models)
    connection.execute(update(Version).where(Version.id == bindparam("b_id")), versions)
    session.execute(insert(ModelFacet), [facet for row in rows for facet in _facets(row.id, said[row.id])])


def _description(chance: random.Random) -> dict[str, Any]:
    """Few tags are on many models, and many on few, as everywhere."""
    tags = {_TAGS[min(int(chance.paretovariate(0.6)) - 1, len(_TAGS) - 1)] for _ in range(6)}
    return {
        "summary": f"A {' '.join(chance.sample(_WORDS, 6))} model, trained for what its name says and measured on it",
        "description": "What it is for, how it was trained, and what it should not be used for. " * 40,
        "task": chance.choice(_TASKS),
        "task_categories": chance.sample(_TASKS, 2),
        "framework": chance.choice(_FRAMEWORKS),
        "license": chance.choice(_LICENSES),
        "size_category": chance.choice(_SIZES),
        "size_bytes": chance.randrange(10**12),
        "download_count": int(chance.paretovariate(0.5)) % 100_000,
        "tags": sorted(tags),
    }


def _facets(model_id: int, said: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for kind in ("framework", "license", "size_category"):
        yield {"model_id": model_id, "kind": kind, "value": said[kind]}
    for kind in ("tags", "task_categories"):
        yield from ({"model_id": model_id, "kind": kind, "value": value} for value in said[kind])
