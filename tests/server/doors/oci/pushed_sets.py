"""What is pushed to a registry to see whether it keeps it: each set is manifests in the order in which they are pushed,
with their blobs, from a plain image to those that some registries refuse."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.server.doors.oci.pushing import (
    EMPTY,
    IMAGE,
    IMAGE_CONFIG,
    INDEX,
    LAYER,
    as_bytes,
    descriptor,
    digest_of,
    image_manifest,
    index_manifest,
)

ARTIFACT = "application/vnd.example.signature.v1"
GZIP_LAYER = f"{LAYER}+gzip"
FOREIGN_LAYER = "application/vnd.oci.image.layer.nondistributable.v1.tar"


@dataclass(frozen=True, slots=True)
class Pushed:
    """A manifest that is pushed by `tag`, or by its digest alone; `subject` is what it refers to."""

    content: bytes
    media_type: str
    tag: str | None = None
    blobs: tuple[bytes, ...] = ()
    subject: str | None = None
    artifact_type: str | None = None
    algorithm: str = "sha256"

    @property
    def digest(self) -> str:
        return digest_of(self.content, self.algorithm)

    @property
    def descriptor(self) -> dict[str, Any]:
        """How an index or a subject names it."""
        return descriptor(self.media_type, self.content, algorithm=self.algorithm)


def image(tag: str | None = None, *, text: str = "", media_type: str = GZIP_LAYER, **fields: Any) -> Pushed:
    """An image of one layer; `text` makes it another one."""
    layer, config = f"layer {text}".encode(), as_bytes({"architecture": "amd64", "os": "linux", "text": text})
    said = image_manifest(descriptor(IMAGE_CONFIG, config), [descriptor(media_type, layer)], **fields)
    return Pushed(as_bytes(said), IMAGE, tag, (config, layer))


def index(tag: str | None, children: list[Pushed], **fields: Any) -> Pushed:
    """An index of these manifests."""
    return Pushed(as_bytes(index_manifest([child.descriptor for child in children], **fields)), INDEX, tag)


def artifact(tag: str | None = None, *, layers: tuple[bytes, ...] = (b"signature",), **fields: Any) -> Pushed:
    """What is no image: an empty config, and a type of its own."""
    listed = [descriptor("text/plain", layer) for layer in layers] or [descriptor(EMPTY, b"{}")]
    said = image_manifest(descriptor(EMPTY, b"{}"), listed, artifactType=ARTIFACT, **fields)
    return Pushed(as_bytes(said), IMAGE, tag, (b"{}", *layers), artifact_type=ARTIFACT)


def _referring(to: Pushed) -> Pushed:
    made = artifact(subject=to.descriptor, annotations={"org.example.of": to.digest})
    return Pushed(made.content, IMAGE, None, made.blobs, to.digest, ARTIFACT)


def _with_index() -> list[Pushed]:
    children = [image(text="amd64"), image(text="arm64")]
    return [*children, index("index", children)]


def _nested() -> list[Pushed]:
    *children, inner = _with_index()
    return [*children, inner, index("nested", [inner])]


def _artifact_index() -> list[Pushed]:
    children = [artifact(layers=(b"one",)), artifact(layers=(b"two",))]
    made = index("artifacts", children, artifactType=ARTIFACT)
    return [*children, made]


def _with_subjects() -> list[Pushed]:
    subject = image("subject")
    return [subject, _referring(subject), *[_referring(_referring(subject))]]


def _index_with_subject() -> list[Pushed]:
    subject, child = image("subject"), artifact()
    made = index(None, [child], subject=subject.descriptor, artifactType=ARTIFACT)
    return [subject, child, Pushed(made.content, INDEX, None, (), subject.digest, ARTIFACT)]


def _missing_subject() -> list[Pushed]:
    return [_referring(image(text="never pushed"))]


def _large() -> list[Pushed]:
    return [image("large", annotations={f"org.example.{place}": "x" * 1_000 for place in range(4_000)})]


def _uncompressed() -> list[Pushed]:
    return [image("uncompressed", media_type=LAYER)]


def _data_field() -> list[Pushed]:
    config, layer = descriptor(EMPTY, b"{}"), descriptor("text/plain", b"data")
    said = image_manifest({**config, "data": "e30="}, [{**layer, "data": "ZGF0YQ=="}], artifactType=ARTIFACT)
    return [Pushed(as_bytes(said), IMAGE, "data", (b"{}", b"data"))]


def _not_distributable() -> list[Pushed]:
    config = as_bytes({"architecture": "amd64", "os": "windows"})
    elsewhere = {**descriptor(FOREIGN_LAYER, b"not ours to give"), "urls": ["https://layers.example/1"]}
    return [
        Pushed(as_bytes(image_manifest(descriptor(IMAGE_CONFIG, config), [elsewhere])), IMAGE, "foreign", (config,))
    ]


def _custom_fields() -> list[Pushed]:
    fields: dict[str, Any] = {"org.example.field": {"deep": [1, None, "ü"]}}
    return [image("custom", **fields)]


def _no_layers() -> list[Pushed]:
    config = as_bytes({"architecture": "amd64", "os": "linux"})
    return [Pushed(as_bytes(image_manifest(descriptor(IMAGE_CONFIG, config), [])), IMAGE, "no-layers", (config,))]


def _sha512() -> list[Pushed]:
    made = image(text="by sha512")
    return [Pushed(made.content, IMAGE, None, made.blobs, algorithm="sha512")]


SETS: Mapping[str, Callable[[], list[Pushed]]] = {
    "image": lambda: [image("image")],
    "image, uncompressed": _uncompressed,
    "image, manifest of 4 MiB": _large,
    "index": _with_index,
    "index, nested": _nested,
    "index, empty": lambda: [index("empty", [])],
    "index, children missing": lambda: [index("sparse", [image(text="elsewhere")])],
    "artifact": lambda: [artifact("artifact")],
    "artifact, index of them": _artifact_index,
    "artifact, no layers": lambda: [artifact("no-layers", layers=())],
    "subject": _with_subjects,
    "subject of an index": _index_with_subject,
    "subject missing": _missing_subject,
    "data field": _data_field,
    "layer not distributable": _not_distributable,
    "custom fields": _custom_fields,
    "image, no layers": _no_layers,
    "image by sha512": _sha512,
}
