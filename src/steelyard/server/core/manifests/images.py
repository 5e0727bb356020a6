"""The twin of a version: an image of its files, for runtimes that mount images and nothing else (OCI image-spec).

Each file is a layer, an uncompressed tar of it alone as `core/files/archive.py` lays it out, so that no bytes are kept
for the twin: a tar is made when it is sent. Only its digest has to be known before, and to know it all of it must be
hashed, once: that is a job. What is kept then leads to these very tars for ever, so that their layout never changes.

A file stays a layer however many there are. Kernels stack 500 layers, and containerd mounts hundreds; Docker, and
podman to its release 4, some 125. To group files for these would be to send a file's neighbours again when it alone
changed, and to hash them again: whoever runs them on a version of so many files mounts a folder that he pulled.

The config names amd64, since tools want some platform: the manifest is right under the tag, and runtimes take such a
one whatever platform it names (ctr was tried). Not all do: containerd's CRI, to its release 1.7, unpacks an image only
on machines of its kind.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from steelyard.server.core import jobs
from steelyard.server.core.blobs import HeldBlob
from steelyard.server.core.files.archive import Archive, ArchiveFile, plan_archive
from steelyard.server.core.files.reading import open_key
from steelyard.server.core.files.trees import File, TreeCache
from steelyard.server.core.jobs import Lease, Stopped
from steelyard.server.core.manifests.holdings import find_all
from steelyard.server.core.manifests.making import (
    annotations_of,
    as_json,
    check_size,
    created_at,
    descriptor_of,
    digest_of,
    find_kept,
    keep,
    new_manifest,
)
from steelyard.server.core.manifests.rows import Form, NamedBlob, NewManifest
from steelyard.server.core.models import Found
from steelyard.server.db.engine import Database, in_batches
from steelyard.server.db.tables import Manifest, ManifestBlob, Model, Org, Version
from steelyard.server.errors import StorageFailed
from steelyard.server.storage import BlobStore

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
_PIECE_BYTES = 2**20
_UNKNOWN = f"sha256:{64 * '0'}"


@dataclass(frozen=True, slots=True)
class Layer:
    """A file of a version and its bytes; the layer is a tar of it."""

    path: str
    blob: HeldBlob

    @property
    def tar(self) -> Archive:
        return plan_tar(self.blob, self.path)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A twin to be made, of these layers. `digests` are those of tars that are known: by blob and path."""

    found: Found
    version: Version
    layers: Sequence[Layer]
    digests: Mapping[tuple[int, str], str]


def plan_tar(blob: HeldBlob, path: str) -> Archive:
    """The tar of one file, which a twin's digest names: how long it is, and its bytes from anywhere."""
    return plan_archive([ArchiveFile(path, blob.size_bytes, blob.oid, blob.key)])


def find_image(session: Session, version: Version) -> Manifest | None:
    """The manifest of a version's twin, once it is made. Its content is loaded."""
    return find_kept(session, version, Form.IMAGE)


def check_image(session: Session, trees: TreeCache, found: Found, version: Version) -> None:
    """Raises `NotFound` where the version has too many files for a twin, before anything is hashed for it."""
    layers = [Layer(file.path, HeldBlob(0, file.oid, file.size_bytes, "")) for file in _files(session, trees, version)]
    plan_image(found, version, layers, {(0, layer.path): _UNKNOWN for layer in layers})


def make_image(
    database: Database, store: BlobStore, trees: TreeCache, lease: Lease, is_stopping: Callable[[], bool]
) -> None:
    """Do the job: hash the tars of a version's files, and keep the twin's manifest. Raises `StorageFailed`, and
    `Stopped`.

    It does no harm that two may be at it: both find the same digests, and the second one finds the manifest there.
    """
    with database.read() as session:
        wanted = _find_wanted(session, trees, lease.subject)
    new = None if wanted is None else _make(store, wanted, is_stopping)
    with database.write() as session:
        jobs.finish(session, lease)
        if wanted is not None and new is not None and _is_there(session, wanted.version):
            keep(session, wanted.found, wanted.version, Form.IMAGE, new)


def _make(store: BlobStore, wanted: _Wanted, is_stopping: Callable[[], bool]) -> NewManifest:
    digests = dict(wanted.digests)
    for layer in wanted.layers:
        key = (layer.blob.id, layer.path)
        if key not in digests:
            digests[key] = hash_tar(store, layer, is_stopping)
    return plan_image(wanted.found, wanted.version, wanted.layers, digests)


def plan_image(
    found: Found, version: Version, layers: Sequence[Layer], digests: Mapping[tuple[int, str], str]
) -> NewManifest:
    """The twin of a version: its manifest and its config, and which tars it names. `digests` are those of the tars, by
    the blob's number and the path. Raises `NotFound` where it would be larger than tools read."""
    named = [NamedBlob(digests[layer.blob.id, layer.path], layer.blob.id, layer.path) for layer in layers]
    annotations, created = annotations_of(found, version), created_at(version)
    config = as_json(
        {
            "created": created,
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": annotations},
            "rootfs": {"type": "layers", "diff_ids": [blob.digest for blob in named]},
            "history": [{"created": created, "created_by": layer.path} for layer in layers],
        }
    )
    check_size(found, version, config, len(layers))
    sizes = [layer.tar.size_bytes for layer in layers]
    return new_manifest(
        found,
        version,
        config=descriptor_of(CONFIG_TYPE, config),
        layers=[
            {"mediaType": LAYER_TYPE, "digest": blob.digest, "size": size_bytes}
            for blob, size_bytes in zip(named, sizes, strict=True)
        ],
        annotations=annotations,
        blobs=[NamedBlob(digest_of(config), content=config), *named],
    )


def hash_tar(store: BlobStore, layer: Layer, is_stopping: Callable[[], bool] = lambda: False) -> str:
    """The digest of a layer, by reading all of it once. Raises `StorageFailed` where the store has other bytes than
    those that were proven: a digest of these would lead to nothing once they are repaired."""
    whole, content = hashlib.sha256(), hashlib.sha256()
    tar = layer.tar
    for segment in tar.segments(0, tar.size_bytes):
        if isinstance(segment, bytes):
            whole.update(segment)
            continue
        with open_key(store, segment.file.key) as blob:
            for start in range(0, segment.length, _PIECE_BYTES):
                if is_stopping():
                    raise Stopped
                piece = blob.read(start, min(_PIECE_BYTES, segment.length - start))
                whole.update(piece)
                content.update(piece)
    if f"sha256:{content.hexdigest()}" != layer.blob.oid:
        raise StorageFailed("The store has other bytes than were recorded. The operator runs `steelyard admin check`.")
    return f"sha256:{whole.hexdigest()}"


# --- what the rows say


def _find_wanted(session: Session, trees: TreeCache, uuid: str) -> _Wanted | None:
    """The twin that the job is about; None where it is made already, or the version is gone."""
    query = select(Version, Model, Org).join(Model, Model.id == Version.model_id).join(Org, Org.id == Model.org_id)
    row = session.execute(query.where(Version.uuid == uuid)).first()
    if row is None or find_image(session, row[0]) is not None:
        return None
    version, model, org = row
    files = _files(session, trees, version)
    held = find_all(session, model.id, {file.oid for file in files}, drafts=False)
    if any(file.oid not in held for file in files):
        raise StorageFailed("The registry has no record of some bytes. The operator runs `steelyard admin check`.")
    layers = [Layer(file.path, held[file.oid]) for file in files]
    return _Wanted(Found(model, org), version, layers, _find_digests(session, org.id, layers))


def _files(session: Session, trees: TreeCache, version: Version) -> list[File]:
    return sorted(trees.get(session, version).files.values(), key=lambda file: file.path)


def _find_digests(session: Session, org_id: int, layers: Sequence[Layer]) -> dict[tuple[int, str], str]:
    """Digests of tars that another twin of the organisation has, as of a file that did not change from version to
    version. Not what others have: how soon a twin is there would tell that they do."""
    wanted = {(layer.blob.id, layer.path) for layer in layers}
    query = (
        select(ManifestBlob.blob_id, ManifestBlob.tar_path, ManifestBlob.digest)
        .join(Manifest, Manifest.id == ManifestBlob.manifest_id)
        .join(Model, Model.id == Manifest.model_id)
        .where(Model.org_id == org_id, Manifest.made, ManifestBlob.tar_path.is_not(None))
    )
    found: dict[tuple[int, str], str] = {}
    for some in in_batches({blob_id for blob_id, _ in wanted}):
        for blob_id, path, digest in session.execute(query.where(ManifestBlob.blob_id.in_(some))):
            if blob_id is not None and path is not None and (blob_id, path) in wanted:
                found[blob_id, path] = digest
    return found


def _is_there(session: Session, version: Version) -> bool:
    return session.scalar(select(Version.id).where(Version.uuid == version.uuid)) is not None
