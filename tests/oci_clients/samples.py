"""What is pushed: the same files as a container image and as an artifact, each an OCI image layout (image-spec 1.1)."""

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Files = Mapping[str, bytes]
Json = dict[str, Any]

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
TITLE = "org.opencontainers.image.title"
NAME = "sample"  # what the tools that keep images of their own call it


def digest_of(data: bytes) -> str:
    """`sha256:<hex>` of some bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Layout:
    """An image layout with one manifest in it, tagged `sample`; `archive` is the same as one file."""

    folder: Path
    manifest: bytes
    files: Files

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)

    @property
    def archive(self) -> Path:
        return self.folder.with_suffix(".tar")

    def blobs(self) -> dict[str, bytes]:
        """The bytes that the manifest names, by their digests."""
        document = json.loads(self.manifest)
        named = [document["config"]["digest"], *(layer["digest"] for layer in document["layers"])]
        return {digest: self._path(digest).read_bytes() for digest in named}

    def _path(self, digest: str) -> Path:
        return self.folder / "blobs" / digest.replace(":", "/")


@dataclass(frozen=True)
class Sample:
    """Some files in a folder, and what carries them."""

    folder: Path
    files: Files
    image: Layout
    artifact: Layout

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.files.values()))


def make_sample(place: Path, seed: str) -> Sample:
    """A small model, other bytes for each seed; what gzip cannot make much smaller."""
    weights = random.Random(seed).randbytes(300_000)
    files = {"weights.bin": weights, "config.json": json.dumps({"seed": seed}).encode(), "README.md": b"# Sample\n"}
    folder = place / "files"
    folder.mkdir(parents=True)
    for path, data in files.items():
        (folder / path).write_bytes(data)
    return Sample(folder, files, make_image(place / "image", files), make_artifact(place / "artifact", files))


def make_image(folder: Path, files: Files) -> Layout:
    """A container image from scratch, of one layer."""
    tar = tar_of(files)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(tar)]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "tests"}],
    }
    layer = gzip.compress(tar, mtime=0)
    return write_layout(folder, files, (CONFIG, json.dumps(config).encode()), [(LAYER, layer, {})])


def make_artifact(folder: Path, files: Files, **more: Any) -> Layout:
    """Files as `oras push` sends them: a layer for each, which has its name; `more` goes into the manifest."""
    layers = [("application/octet-stream", data, {"annotations": {TITLE: path}}) for path, data in files.items()]
    return write_layout(folder, files, (EMPTY, b"{}"), layers, **more)


def write_layout(
    folder: Path, files: Files, config: tuple[str, bytes], layers: Iterable[tuple[str, bytes, Json]], **more: Any
) -> Layout:
    """Write the layout, and the archive beside it."""
    descriptors = [{**_keep(folder, media_type, data), **extra} for media_type, data, extra in layers]
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _keep(folder, *config),
        "layers": descriptors,
        **more,
    }
    manifest = json.dumps(document, indent=1).encode()
    names = {"org.opencontainers.image.ref.name": NAME, "io.containerd.image.name": f"{NAME}:{NAME}"}
    index = {"schemaVersion": 2, "manifests": [{**_keep(folder, MANIFEST, manifest), "annotations": names}]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    made = Layout(folder, manifest, files)
    with tarfile.open(made.archive, "w") as archive:
        archive.add(folder, ".")
    return made


def tar_of(files: Files) -> bytes:
    """The files as a tar, the same one each time."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return made.getvalue()


def files_in(tar: bytes) -> Files:
    """The files of a tar, packed or not."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        members = [member for member in opened if member.isfile()]
        return {_path_of(member): opened.extractfile(member).read() for member in members}  # type: ignore[union-attr]


def files_under(folder: Path) -> Files:
    """The files that lie in a folder."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _path_of(member: tarfile.TarInfo) -> str:
    return member.name.removeprefix("./").removeprefix("/")


def _keep(folder: Path, media_type: str, data: bytes) -> Json:
    path = folder / "blobs" / digest_of(data).replace(":", "/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}
