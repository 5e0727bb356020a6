"""A registry whose versions are shown as container tools see them, and what its rows hold of it."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from steelyard.server.context import Registry
from steelyard.server.core import jobs
from steelyard.server.core.files.reading import open_key
from steelyard.server.core.jobs import Lease, new_holder
from steelyard.server.core.manifests import images, making
from steelyard.server.core.manifests.holdings import find_holding
from steelyard.server.core.models import Found
from steelyard.server.db.tables import Manifest, ManifestTag, Model, Org, Version
from steelyard.server.storage import BlobStore
from tests.house import Person, Registered

GOLDEN = Path(__file__).parent / "golden"
WHEN = datetime(2026, 3, 4, 5, 6, 7, 890_123, tzinfo=UTC)
FILES = {
    "README.md": b"# Tiny\n",
    "config.json": b'{"hidden_size": 8}',
    "model.safetensors": bytes(range(256)) * 5,
    "tokenizer/vocab é.json": b'{"a": 0}',
}
SAID: dict[str, Any] = {
    "framework": "safetensors",
    "summary": "A tiny model “for tests”.",
    "description": "# Tiny\n\nMore of it.",
    "architecture": "llama",
    "license": "apache-2.0",
    "pretty_name": "Tiny Model",
    "tags": ["tiny"],
    "language": ["en", "de"],
    "metrics": {"accuracy": 0.5},
    "origin": {
        "source": "training_run",
        "url": "https://example.com/runs/7",
        "git": {"repo": "https://example.com/code.git", "commit": "0123abc"},
    },
}


class Shelf:
    """A registry, and `ada`, who publishes `ada/Tiny` there."""

    def __init__(self, registered: Registered, ada: Person | None = None) -> None:
        self.registered = registered
        self.ada = ada or registered.user("ada")

    @property
    def registry(self) -> Registry:
        registry = self.registered.client.app.state.registry  # type: ignore[attr-defined]
        assert isinstance(registry, Registry)
        return registry

    def publish(self, ref: str, files: Mapping[str, bytes] = FILES, **fields: Any) -> tuple[Found, Version]:
        """Publish a version; it was published at `WHEN`, whatever the time."""
        made = self.ada.publish(ref, files, **fields)
        assert made.status_code == 201, made.text
        with self.registry.database.write() as session:
            version = session.scalars(select(Version).where(Version.uuid == made.json()["id"])).one()
            version.created_at = WHEN
        return self.find(ref)

    def find(self, ref: str) -> tuple[Found, Version]:
        """A version, whoever may see it."""
        name, number = ref.split(":")
        slug, name = name.split("/")
        query = (
            select(Model, Org, Version).join(Org, Org.id == Model.org_id).join(Version, Version.model_id == Model.id)
        )
        with self.registry.database.read() as session:
            where = (Org.slug == slug, Model.name_key == name.lower(), Version.version == number)
            model, org, version = session.execute(query.where(*where)).one()
            return Found(model, org), version

    def artifact(self, found: Found, version: Version) -> Manifest:
        return making.find_or_make(self.registry.database, self.registry.trees, found, version)

    def native(self, found: Found, version: Version) -> Manifest:
        return making.find_or_make_config(self.registry.database, self.registry.trees, found, version)

    def lease(self, version: Version) -> Lease:
        """The job of making a version's twin, for whoever does it here."""
        with self.registry.database.write() as session:
            lease = jobs.take(session, new_holder(60), jobs.IMAGE, version.uuid)
        assert lease is not None
        return lease

    def make_image(self, version: Version, store: BlobStore | None = None) -> None:
        """Do the job, on this store."""
        database, trees = self.registry.database, self.registry.trees
        images.make_image(database, store or self.registry.store, trees, self.lease(version), lambda: False)

    def find_image(self, version: Version) -> Manifest | None:
        with self.registry.database.read() as session:
            return images.find_image(session, version)

    def image(self, _found: Found, version: Version) -> Manifest:
        """A version's twin, made first."""
        self.make_image(version)
        manifest = self.find_image(version)
        assert manifest is not None
        return manifest

    def tar_of(self, version: Version, digest: str) -> bytes:
        """A layer of a twin, as its digest leads to it."""
        with self.registry.database.read() as session:
            holding = find_holding(session, version.model_id, digest, drafts=False)
        assert holding is not None
        assert holding.blob is not None
        assert holding.tar_path is not None
        tar = images.plan_tar(holding.blob, holding.tar_path)
        with open_key(self.registry.store, holding.blob.key) as blob:
            parts = tar.segments(0, tar.size_bytes)
            return b"".join(part if isinstance(part, bytes) else blob.read(part.start, part.length) for part in parts)

    def content_of(self, version: Version, digest: str) -> bytes:
        """Bytes that we made, as a manifest names them."""
        with self.registry.database.read() as session:
            holding = find_holding(session, version.model_id, digest, drafts=False)
        assert holding is not None
        assert holding.content is not None
        return holding.content

    def config_of(self, version: Version, manifest: Manifest) -> bytes:
        """The config that a manifest names, which is as long as it says."""
        said = json.loads(manifest.content)["config"]
        content = self.content_of(version, said["digest"])
        assert (len(content), making.digest_of(content)) == (said["size"], said["digest"])
        return content

    def rows(self) -> tuple[int, list[tuple[str, str]]]:
        """How many manifests are kept, and `(form, name)` of their tags."""
        with self.registry.database.read() as session:
            tags = session.execute(select(ManifestTag.form, ManifestTag.name).order_by(ManifestTag.form)).all()
            return len(session.scalars(select(Manifest.id)).all()), [(form, name) for form, name in tags]


def golden(name: str) -> bytes:
    """Bytes that were given out once."""
    return (GOLDEN / name).read_bytes()
