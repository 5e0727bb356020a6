"""Which manifests are models, where their files are, what they say of themselves: each kind as its tools write it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from steelyard.server.core.manifests.describing import describe, origin_of
from steelyard.server.core.manifests.formats import OCI_INDEX, OCI_MANIFEST, ParsedManifest, parse_manifest
from steelyard.server.core.manifests.recognising import Dialect, lay_out, recognise
from steelyard.server.errors import Invalid

EMPTY = "application/vnd.oci.empty.v1+json"
IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
TITLE, FILE_PATH = "org.opencontainers.image.title", "org.cncf.model.filepath"
MODEL, MODEL_CONFIG = "application/vnd.cncf.model.manifest.v1+json", "application/vnd.cncf.model.config.v1+json"
WEIGHT = "application/vnd.cncf.model.weight.v1."
KIT = "application/vnd.kitops.modelkit."
TAR = "application/vnd.oci.image.layer.v1.tar"
HELM = "application/vnd.cncf.helm.config.v1+json"


def named(media_type: str, data: bytes = b"x", annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    return {"mediaType": media_type, "digest": digest, "size": len(data), "annotations": annotations}


def titled(path: str, media_type: str = TAR, **more: str) -> dict[str, Any]:
    return named(media_type, path.encode(), {TITLE: path, **more})


def manifest(config: str, layers: Sequence[Mapping[str, Any]], **fields: Any) -> ParsedManifest:
    document = {"schemaVersion": 2, "config": named(config, b"{}"), "layers": layers, **fields}
    return parse_manifest(OCI_MANIFEST, json.dumps(document).encode())


def paths(dialect: Dialect, parsed: ParsedManifest, config: Mapping[str, Any] | None = None) -> list[str]:
    return list(lay_out(dialect, parsed, config or {}).raw)


# --- which


@pytest.mark.parametrize(
    ("parsed", "dialect"),
    [
        (manifest(EMPTY, [titled("a.bin")], artifactType="application/vnd.unknown.artifact.v1"), Dialect.FILES),
        (manifest("text/x", [titled("a.bin"), titled("b.bin", "text/plain")]), Dialect.FILES),
        (manifest(EMPTY, [named("text/plain", annotations={FILE_PATH: "a.bin"})]), Dialect.FILES),
        (manifest(MODEL_CONFIG, [named(WEIGHT + "raw", annotations={FILE_PATH: "a.bin"})]), Dialect.MODELPACK),
        (manifest(EMPTY, [named(WEIGHT + "tar")], artifactType=MODEL), Dialect.MODELPACK),
        (manifest(KIT + "config.v1+json", [named(KIT + "model.v1.tar+gzip")]), Dialect.KITOPS),
        (manifest(EMPTY, [named(KIT + "model.v1.tar")], artifactType=KIT + "manifest.v1+json"), Dialect.KITOPS),
        (manifest("application/vnd.dreadnode.config.v1+json", []), Dialect.NATIVE),
        (manifest(IMAGE_CONFIG, [titled("a.bin")]), None),
        (manifest("application/vnd.docker.container.image.v1+json", [titled("a.bin")]), None),
        (manifest(EMPTY, []), None),
        (manifest(EMPTY, [titled("a.bin"), named(TAR)]), None),
        (manifest(HELM, [named("application/vnd.cncf.helm.chart.content.v1.tar+gzip")]), None),
        (manifest(EMPTY, [titled("sbom.json")], subject=named(OCI_MANIFEST)), None),
        (parse_manifest(OCI_INDEX, b'{"schemaVersion": 2, "manifests": []}'), None),
    ],
    ids=[
        "oras",
        "oras-with-config",
        "files-by-the-other-name",
        "modelpack-by-config",
        "modelpack-by-type",
        "kitops-by-config",
        "kitops-by-type",
        "native",
        "image",
        "image-of-docker",
        "no-layers",
        "a-layer-without-name",
        "chart",
        "attached",
        "index",
    ],
)
def test_what_is_a_model(parsed: ParsedManifest, dialect: Dialect | None) -> None:
    assert recognise(parsed) is dialect


# --- where the files are


def test_files_of_oras_are_raw_and_folders_are_tars() -> None:
    folder = titled("checkpoints", TAR + "+gzip", **{"io.deis.oras.content.unpack": "true"})
    parsed = manifest(EMPTY, [titled("./a.bin"), titled("data.tar", TAR), folder])
    layout = lay_out(Dialect.FILES, parsed, {})
    assert list(layout.raw) == ["a.bin", "data.tar"]
    assert [each.digest for each in layout.tars] == [folder["digest"]]


@pytest.mark.parametrize("kind", ["weight", "weight.config", "doc", "code", "dataset"])
def test_layers_of_modelpack(kind: str) -> None:
    raw = f"application/vnd.cncf.model.{kind}.v1."
    both = {FILE_PATH: "a/b.bin", TITLE: "b.bin"}
    tars = [named(raw + ending, ending.encode()) for ending in ("tar", "tar+gzip", "tar+zstd")]
    parsed = manifest(MODEL_CONFIG, [named(raw + "raw", annotations=both), *tars, titled("c.bin", raw + "gguf")])
    layout = lay_out(Dialect.MODELPACK, parsed, {})
    assert list(layout.raw) == ["a/b.bin", "c.bin"]
    assert [each.digest for each in layout.tars] == [each["digest"] for each in tars]


def test_layers_of_kitops_that_only_the_kitfile_names() -> None:
    layers = [
        named(KIT + "model.v1.raw", b"1"),
        named(KIT + "modelpart.v1.raw", b"2"),
        named(KIT + "docs.v1.raw", b"3"),
    ]
    told = [{"path": f"./{name}", "digest": each["digest"]} for name, each in zip(("m", "p", "d"), layers, strict=True)]
    config = {"model": {**told[0], "parts": [told[1]]}, "docs": [told[2], "odd", {"path": 5}], "code": "odd"}
    parsed = manifest(KIT + "config.v1+json", layers)
    assert paths(Dialect.KITOPS, parsed, config) == ["m", "p", "d"]
    with pytest.raises(Invalid, match="has no name"):
        lay_out(Dialect.KITOPS, parsed, {"model": None})


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("../a", "'..'"),
        ("/etc/passwd", "must be relative"),
        ("a/../../b", "'..'"),
        ("C:/a", "drive letter"),
        ("a\\b", "backslashes"),
        ("nul", "device"),
        ("a" * 256, "255 bytes"),
        ("a/", "may be empty"),
    ],
    ids=["up", "absolute", "up-inside", "drive", "backslash", "device", "long", "folder"],
)
@pytest.mark.parametrize("dialect", [Dialect.FILES, Dialect.MODELPACK])
def test_paths_that_no_file_may_have_are_named(dialect: Dialect, path: str, words: str) -> None:
    parsed = manifest(EMPTY, [titled("good.bin", WEIGHT + "raw"), titled(path, WEIGHT + "raw")])
    with pytest.raises(Invalid, match=words) as refused:
        lay_out(dialect, parsed, {})
    assert [fault.loc for fault in refused.value.faults] == [("body", "layers", path)]


@pytest.mark.parametrize(
    ("one", "other"), [("a", "a"), ("a", "A"), ("a", "a/b"), ("é", "e\u0301")], ids=["same", "case", "below", "form"]
)
def test_paths_that_clash(one: str, other: str) -> None:
    with pytest.raises(Invalid, match="This is no version of a model"):
        lay_out(Dialect.FILES, manifest(EMPTY, [titled(one), titled(other)]), {})


def test_a_model_without_layers_has_no_files() -> None:
    with pytest.raises(Invalid, match="no layers"):
        lay_out(Dialect.MODELPACK, manifest(MODEL_CONFIG, []), {})


# --- what they say

NOTED = {
    "org.opencontainers.image.title": "Noted",
    "org.opencontainers.image.description": "Noted words.",
    "org.opencontainers.image.licenses": "MIT",
    "org.opencontainers.image.source": "https://example.com/noted",
    "org.opencontainers.image.revision": "r1",
    "ml.kitops.modelkit.cli-version": "1.9.0",
}


def test_a_modelpack_config() -> None:
    words = "A model.\n\n" + "More of it. " * 50
    config = {
        "descriptor": {
            "title": "Tiny",
            "name": "tiny",
            "description": words,
            "licenses": ["Apache-2.0", "MIT"],
            "sourceURL": "https://example.com/src",
            "revision": "abc",
            "datasetsURL": ["https://example.com/data", 5],
        },
        "config": {"architecture": "transformer", "format": "safetensors", "paramSize": "8b"},
    }
    parsed = manifest(MODEL_CONFIG, [titled("a.bin")], annotations=NOTED)
    said = describe(Dialect.MODELPACK, parsed, config)
    assert said.pretty_name == "Tiny"
    assert said.summary == "A model."
    assert said.description == words
    assert said.license == "Apache-2.0 AND MIT"
    assert (said.architecture, said.framework) == ("transformer", "safetensors")
    assert said.dataset_refs == ["https://example.com/data"]
    origin = origin_of(Dialect.MODELPACK, parsed, config, "sha256:1")
    assert (origin["source"], origin["manifest"]) == ("oci", "sha256:1")
    assert (origin["url"], origin["revision"]) == ("https://example.com/src", "abc")


def test_a_kitfile() -> None:
    config = {
        "manifestVersion": "1.0.0",
        "package": {"name": "Flights", "description": "Of flights.", "license": "MIT", "authors": ["A"]},
        "model": {"name": "m", "framework": "onnx", "license": "BSD-3-Clause", "path": "m.onnx"},
    }
    parsed = manifest(KIT + "config.v1+json", [named(KIT + "model.v1.tar")], annotations=NOTED)
    said = describe(Dialect.KITOPS, parsed, config)
    assert (said.pretty_name, said.summary, said.license, said.framework) == (
        "Flights",
        "Of flights.",
        "BSD-3-Clause",
        "onnx",
    )
    origin = origin_of(Dialect.KITOPS, parsed, config, "sha256:1")
    assert origin["created_with"] == {"tool": "kitops", "version": "1.9.0"}
    assert origin["url"] == "https://example.com/noted"


def test_annotations() -> None:
    parsed = manifest(EMPTY, [titled("a.bin")], annotations=NOTED)
    said = describe(Dialect.FILES, parsed, {})
    assert (said.pretty_name, said.summary, said.license, said.description) == ("Noted", "Noted words.", "MIT", None)
    assert describe(Dialect.MODELPACK, parsed, {}) == said
    assert origin_of(Dialect.FILES, parsed, {}, "sha256:1")["revision"] == "r1"


@pytest.mark.parametrize(
    "odd", [None, 5, [], {}, "x\0y", "z" * 5_000], ids=["null", "5", "list", "object", "nul", "long"]
)
def test_what_nobody_expected_is_let_by_or_cut(odd: Any) -> None:
    keys = ("title", "name", "description", "licenses", "sourceURL", "revision", "datasetsURL", "framework", "license")
    whole = dict.fromkeys(keys, odd)
    for dialect, config in (
        (Dialect.MODELPACK, {"descriptor": whole, "config": {"architecture": odd, "format": odd}}),
        (Dialect.MODELPACK, {"descriptor": odd, "config": odd}),
        (Dialect.KITOPS, {"package": whole, "model": whole}),
        (Dialect.KITOPS, {"package": odd, "model": odd}),
    ):
        parsed = manifest(EMPTY, [])
        said = describe(dialect, parsed, config)
        texts = [said.framework, said.pretty_name, said.license, said.architecture, said.summary, said.description]
        assert not any("\0" in text for text in texts if text)
        assert all(len(text) <= 200 for text in texts[:4] if text)
        assert len(json.dumps(origin_of(dialect, parsed, config, "sha256:1"))) < 2_000
