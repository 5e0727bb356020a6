"""Which pushed manifests are models, and where their files are: in raw layers, as they are, or inside tars.

Sources: CNCF model-spec (`spec.md`, `annotations.md`); KitOps' ModelKit (`application/vnd.kitops.modelkit.…`); what
oras pushes (layers with a title, folders as tars that say `io.deis.oras.content.unpack`); and the native API's dialect,
whose config has everything. What is none of these is kept as it was pushed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from steelyard.server.core.manifests.formats import Descriptor, Kind, ParsedManifest
from steelyard.server.errors import Fault, Invalid
from steelyard.server.names import check_artifact_paths

MODEL_TYPE = "application/vnd.cncf.model.manifest.v1+json"
MODEL_CONFIG_TYPE = "application/vnd.cncf.model.config.v1+json"
KIT_TYPE = "application/vnd.kitops.modelkit.manifest.v1+json"
KIT_CONFIG_TYPE = "application/vnd.kitops.modelkit.config.v1+json"
NATIVE_CONFIG_TYPE = "application/vnd.dreadnode.config.v1+json"

TITLE, FILE_PATH = "org.opencontainers.image.title", "org.cncf.model.filepath"
UNPACK = "io.deis.oras.content.unpack"

_IMAGE_CONFIGS = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
_TARS = (".tar", ".tar+gzip", ".tar+zstd")
_FOLDER_TYPE, _PACKED = "application/vnd.oci.image.layer.v1.tar+gzip", (".gz", ".tgz")
_MANY = 20


class Dialect(StrEnum):
    """Whose way of writing a model as a manifest."""

    MODELPACK = "modelpack"
    KITOPS = "kitops"
    NATIVE = "native"
    FILES = "files"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a model's files are: `raw` layers by path, and `tars` whose members have paths of their own."""

    raw: Mapping[str, Descriptor]
    tars: tuple[Descriptor, ...] = ()


def recognise(parsed: ParsedManifest) -> Dialect | None:
    """Whose model this is; None for what is none: images, indexes, signatures, and whatever else has no file names."""
    if parsed.kind is not Kind.IMAGE or parsed.config is None or parsed.config.media_type in _IMAGE_CONFIGS:
        return None
    types = (parsed.artifact_type, parsed.config.media_type)
    for dialect, known in (
        (Dialect.NATIVE, (NATIVE_CONFIG_TYPE,)),
        (Dialect.MODELPACK, (MODEL_TYPE, MODEL_CONFIG_TYPE)),
        (Dialect.KITOPS, (KIT_TYPE, KIT_CONFIG_TYPE)),
    ):
        if any(each in known for each in types):
            return dialect
    is_files = parsed.subject is None and parsed.layers and all(_name_of(layer) for layer in parsed.layers)
    return Dialect.FILES if is_files else None


def lay_out(dialect: Dialect, parsed: ParsedManifest, config: Mapping[str, Any]) -> Layout:
    """Where the files are, by the manifest and its config. Raises `Invalid` for a layer without a name, and naming
    every path that a version cannot have."""
    told = _paths_in_kitfile(config) if dialect is Dialect.KITOPS else {}
    tars = tuple(layer for layer in parsed.layers if _is_tar(dialect, layer))
    files = [layer for layer in parsed.layers if not _is_tar(dialect, layer)]
    raw = [(_name_of(layer) or told.get(layer.digest, ""), layer) for layer in files]
    if nameless := next((layer for path, layer in raw if not path), None):
        raise Invalid(
            f"The layer {nameless.digest} has no name: a raw layer of a model needs one in the annotation {FILE_PATH} "
            f"or {TITLE}."
        )
    check_paths(path for path, _ in raw)
    if not parsed.layers:
        raise Invalid("The manifest has no layers, and so the model has no files.")
    return Layout(dict(raw), tars)


def check_paths(paths: Iterable[str]) -> None:
    """Raise `Invalid` for paths that the files of one version cannot have, each named."""
    found = check_artifact_paths(paths)
    if found:
        faults = tuple(Fault(("body", "layers", path), message, "invalid_path") for path, message in found[:_MANY])
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise Invalid(f"This is no version of a model: {found[0][1]}{more}.", faults=faults)


def without_dot(path: str) -> str:
    """The path without the `./` that some write before every path."""
    while path.startswith("./"):
        path = path[2:]
    return path


def _name_of(layer: Descriptor) -> str:
    """Where a layer's file belongs, by itself; "" where it does not say."""
    return without_dot(layer.annotations.get(FILE_PATH) or layer.annotations.get(TITLE) or "")


def _is_tar(dialect: Dialect, layer: Descriptor) -> bool:
    """Whether the layer is a tar of files. Of what oras pushes only the folders are: a tar may be a file, too.

    oras-py says of a folder nothing but its type, which it gives no file that is not said to have it.
    """
    if dialect is Dialect.FILES:
        is_folder = layer.media_type == _FOLDER_TYPE and not _name_of(layer).endswith(_PACKED)
        return layer.annotations.get(UNPACK) == "true" or is_folder
    return layer.media_type.endswith(_TARS)


def _paths_in_kitfile(config: Mapping[str, Any]) -> dict[str, str]:
    """Digest of a layer -> path, as newer Kitfiles tell them."""
    model = _mapping(config.get("model"))
    listed = [model, *_list(model.get("parts"))]
    for part in ("code", "datasets", "docs"):
        listed += _list(config.get(part))
    pairs = ((_mapping(each).get("digest"), _mapping(each).get("path")) for each in listed)
    return {digest: without_dot(path) for digest, path in pairs if isinstance(digest, str) and isinstance(path, str)}


def _mapping(said: Any) -> Mapping[str, Any]:
    return said if isinstance(said, dict) else {}


def _list(said: Any) -> list[Any]:
    return said if isinstance(said, list) else []
