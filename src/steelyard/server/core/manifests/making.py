"""Versions as artifacts of container tools: manifests that are made when somebody first asks, and kept to the byte.

A version that came by another door is shown as a ModelPack artifact (CNCF model-spec, `spec.md`, `config.md` and
`annotations.md`): a raw layer a file, whose digest is the file's OID, so that its blobs are the bytes that are here
already. To the native API's own clients it is a manifest without layers, whose config tells the files.

A manifest is the same for whoever may see the model. So nothing is in it that some of these may not know: not who
published, nor what the version was made from.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from steelyard.server.core.files.trees import File, TreeCache
from steelyard.server.core.lineage.origins import base_model_for
from steelyard.server.core.manifests import rows
from steelyard.server.core.manifests.rows import Form, NamedBlob, NewManifest
from steelyard.server.core.models import Found
from steelyard.server.core.publish import Description
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Manifest, Version
from steelyard.server.errors import NotFound
from steelyard.server.names import Digest
from steelyard.server.names import Version as SemVer

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
MODEL_TYPE = "application/vnd.cncf.model.manifest.v1+json"
MODEL_CONFIG_TYPE = "application/vnd.cncf.model.config.v1+json"
NATIVE_CONFIG_TYPE = "application/vnd.dreadnode.config.v1+json"
TITLE, FILE_PATH = "org.opencontainers.image.title", "org.cncf.model.filepath"
FILE_METADATA, UNTESTED = "org.cncf.model.file.metadata+json", "org.cncf.model.file.mediatype.untested"

MOST_MANIFEST_BYTES = 4 * 2**20
"""What every registry takes and every tool reads (OCI distribution-spec 1.1, "Pushing Manifests")."""

Make = Callable[[Session], NewManifest]


def find_or_make(database: Database, trees: TreeCache, found: Found, version: Version) -> Manifest:
    """What a version's tag leads to: the manifest that was pushed for it, or a ModelPack one. Its content is loaded.

    Raises `NotFound` where the version has too many files for one, and where it was deleted meanwhile.
    """

    def make(session: Session) -> NewManifest:
        return make_artifact(found, version, trees.get(session, version).files.values())

    return _find_or_keep(database, found, version, Form.ARTIFACT, make)


def find_or_make_config(database: Database, trees: TreeCache, found: Found, version: Version) -> Manifest:
    """The manifest of a version in the native API's own dialect; as `find_or_make`."""

    def make(session: Session) -> NewManifest:
        return make_native(found, version, trees.get(session, version).files.values())

    return _find_or_keep(database, found, version, Form.CONFIG, make)


def find_kept(session: Session, version: Version, form: Form) -> Manifest | None:
    """What was pushed or made for a version in this form. Its content is loaded."""
    kept = rows.find_tagged(session, version.model_id, form, tag_of(version))
    return _load(kept) if kept else None


def keep(session: Session, found: Found, version: Version, form: Form, new: NewManifest) -> Manifest:
    """Keep what was made for a version, unless somebody did so meanwhile: what was given out once stays. Raises
    `NotFound` where the version is gone."""
    check_there(session, found, version)
    kept = find_kept(session, version, form)
    if kept is None:
        kept = _load(rows.keep_manifest(session, version.model_id, new))
        rows.set_tag(session, version.model_id, form, tag_of(version), kept)
    return kept


def check_there(session: Session, found: Found, version: Version) -> None:
    """Raises `NotFound` where a version that was there a moment ago is gone."""
    if session.scalar(select(Version.id).where(Version.uuid == version.uuid)) is None:
        raise NotFound(f"{found.full_name}:{version.version} was deleted this moment.")


def tag_of(version: Version) -> str:
    """A version's number as a tag."""
    return SemVer.parse(version.version).tag


def _find_or_keep(database: Database, found: Found, version: Version, form: Form, make: Make) -> Manifest:
    with database.read() as session:
        kept = find_kept(session, version, form)
        if kept is not None:
            return kept
        new = make(session)
    with database.write() as session:
        return keep(session, found, version, form, new)


def _load(manifest: Manifest) -> Manifest:
    """With its content, which would not be there any more once the session has ended."""
    assert manifest.content is not None
    return manifest


# --- the ModelPack manifest


def make_artifact(found: Found, version: Version, files: Iterable[File]) -> NewManifest:
    """A version as a ModelPack artifact. Raises `NotFound` where it has too many files for one manifest."""
    created, files = created_at(version), sorted(files, key=lambda file: file.path)
    config = as_json(
        {
            "descriptor": _descriptor(found, version),
            "config": _without_none(
                architecture=version.architecture, format=version.framework, paramSize=_param_size(version)
            ),
            "modelfs": {"type": "layers", "diffIds": [file.oid for file in files]},
        }
    )
    return new_manifest(
        found,
        version,
        artifactType=MODEL_TYPE,
        config=descriptor_of(MODEL_CONFIG_TYPE, config),
        layers=[_layer(file, created) for file in files],
        annotations=annotations_of(found, version),
        blobs=[NamedBlob(digest_of(config), content=config)],
    )


def _descriptor(found: Found, version: Version) -> dict[str, Any]:
    """The general words of ModelPack's config, as far as they are known."""
    source = _source_of(version)
    return _without_none(
        createdAt=created_at(version),
        vendor=found.org.slug,
        name=found.full_name,
        version=version.version,
        title=version.pretty_name,
        description=version.description or version.summary,
        docURL=source.get("url"),
        sourceURL=source.get("source"),
        revision=source.get("revision"),
        licenses=[version.license] if version.license else None,
    )


def _layer(file: File, created: str) -> dict[str, Any]:
    """A file as a layer. Both names are told: oras and CRI-O read the one, ModelPack's tools the other.

    The kind goes by the file's name alone, which the specification calls untested.
    """
    metadata = {
        "name": file.path.rpartition("/")[2],
        "mode": 0o644,
        "uid": 0,
        "gid": 0,
        "size": file.size_bytes,
        "mtime": created,
        "typeflag": ord("0"),
    }
    return {
        "mediaType": f"application/vnd.cncf.model.{kind_of(file.path)}.v1.raw",
        "digest": file.oid,
        "size": file.size_bytes,
        "annotations": {
            TITLE: file.path,
            FILE_PATH: file.path,
            FILE_METADATA: as_json(metadata).decode(),
            UNTESTED: "true",
        },
    }


def _param_size(version: Version) -> str | None:
    """`6.7b` or `350m`: a count with one digit after the point at most, and a letter for what it is multiplied by."""
    count = version.parameter_count or 0
    scales = (("q", 10**15), ("t", 10**12), ("b", 10**9), ("m", 10**6))
    letter, scale = next(((letter, scale) for letter, scale in scales if count >= scale), ("k", 10**3))
    tenths = (count * 10 + scale // 2) // scale
    if not tenths:
        return None
    return f"{tenths // 10}{f'.{tenths % 10}' if tenths % 10 else ''}{letter}"


# --- what a file is, by its name


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ENDINGS = {
    "weight": _words(
        "safetensors gguf ggml bin pt pth ckpt onnx onnx_data h5 hdf5 keras tflite msgpack pb pdparams npz npy "
        "pkl pickle joblib mlmodel engine plan caffemodel params weights torchscript mar ubj llamafile nemo mnn dlc"
    ),
    "doc": _words("md markdown rst adoc pdf html htm png jpg jpeg gif svg webp bmp ico mp4 cff bib"),
    "code": _words("py pyi ipynb sh bash js mjs ts c cc cpp cu cuh h hpp go rs java kt lua r jl ps1 bat pyx"),
    "dataset": _words("csv tsv parquet arrow feather jsonl ndjson tfrecord"),
}
_KINDS = {ending: kind for kind, endings in _ENDINGS.items() for ending in endings}
_DOCUMENTS = _words("readme license licence notice copying authors changelog citation use_policy acceptable_use_policy")
_CODE = _words("dockerfile makefile")


def kind_of(path: str) -> str:
    """ModelPack's word for a file, which its media type has: `weight`, `weight.config`, `doc`, `code` or `dataset`.

    What is none of the others, as `config.json` and `tokenizer.model`, belongs to the weights.
    """
    name = path.rpartition("/")[2].lower()
    stem, _, ending = name.rpartition(".")
    if (stem or name) in _DOCUMENTS or name.startswith(("license-", "license_")):
        return "doc"
    if name in _CODE:
        return "code"
    return _KINDS.get(ending, "weight.config") if stem else "weight.config"


# --- the native API's own manifest


def make_native(found: Found, version: Version, files: Iterable[File]) -> NewManifest:
    """A version as the native API's clients publish one: no layers, and a config with the fields of a publish.

    Metrics are those of this moment. What may differ from reader to reader is left unset, and so is what a publish says
    of the model and not of the version.
    """
    said = {key: getattr(version, key) for key in Description.__slots__}
    said["base_model"] = base_model_for(version, frozenset(name for name, _ in version.parents))
    config = as_json(
        {
            "version": version.version,
            "artifacts": {file.path: file.oid for file in sorted(files, key=lambda file: file.path)},
            **said,
            "metrics": version.metrics or None,
        }
    )
    return new_manifest(
        found,
        version,
        config=descriptor_of(NATIVE_CONFIG_TYPE, config),
        layers=[],
        annotations={
            "io.dreadnode.type": "model",
            "io.dreadnode.name": found.full_name,
            "io.dreadnode.version": version.version,
        },
        blobs=[NamedBlob(digest_of(config), content=config)],
    )


# --- what all manifests are made of


def new_manifest(
    found: Found,
    version: Version,
    *,
    config: Mapping[str, Any],
    layers: list[dict[str, Any]],
    annotations: Mapping[str, str],
    blobs: list[NamedBlob],
    **more: str,
) -> NewManifest:
    """An image manifest (OCI image-spec, `manifest.md`); `more` are fields of text. Raises `NotFound` where it would be
    larger than tools read."""
    said = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, **more, "config": config, "layers": layers}
    content = as_json({**said, "annotations": annotations})
    check_size(found, version, content, len(layers))
    return NewManifest(
        Digest(digest_of(content)),
        MANIFEST_TYPE,
        content,
        artifact_type=more.get("artifactType", config["mediaType"]),
        annotations=annotations,
        blobs=blobs,
        made=True,
    )


def check_size(found: Found, version: Version, content: bytes, files: int) -> None:
    """Raises `NotFound` where a version has so many files that tools would not read what tells of them."""
    if len(content) > MOST_MANIFEST_BYTES:
        raise NotFound(
            f"{found.full_name}:{version.version} has {files:,} files, too many for a manifest of at most "
            f"{MOST_MANIFEST_BYTES // 2**20} MiB. Fetch it by `steelyard pull`, `hf download` or as one tar."
        )


def annotations_of(found: Found, version: Version) -> dict[str, str]:
    """What is known of a version in the words of the OCI image-spec, `annotations.md`."""
    source = _source_of(version)
    known = {
        "created": created_at(version),
        "title": version.pretty_name or found.full_name,
        "version": version.version,
        "description": version.summary,
        "licenses": version.license,
        "vendor": found.org.slug,
        "url": source.get("url"),
        "source": source.get("source"),
        "revision": source.get("revision"),
    }
    return {f"org.opencontainers.image.{key}": value for key, value in known.items() if value}


def created_at(version: Version) -> str:
    """When a version was published (RFC 3339), to the second."""
    return version.created_at.strftime("%Y-%m-%dT%H:%M:%SZ")


def descriptor_of(media_type: str, content: bytes) -> dict[str, Any]:
    """What a manifest says of some bytes."""
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def digest_of(content: bytes) -> str:
    """`sha256:` and the hex digits."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def as_json(document: Mapping[str, Any]) -> bytes:
    """As short as it gets, in the order of the document. A lone surrogate is written as JSON escapes it."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")


def _source_of(version: Version) -> dict[str, str]:
    """Where a version's origin says that it is from: `url`, `source` (of code) and `revision`."""
    git = version.origin.get("git")
    git = git if isinstance(git, Mapping) else {}
    url = version.origin.get("url")
    said = {
        "url": url,
        "source": git.get("repo") or url,
        "revision": git.get("commit") or version.origin.get("revision"),
    }
    return {key: value for key, value in said.items() if isinstance(value, str) and value}


def _without_none(**said: Any) -> dict[str, Any]:
    return {key: value for key, value in said.items() if value is not None}
