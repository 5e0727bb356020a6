"""Manifests of versions that came by other doors: what is in them, that they are kept, and that they never change."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from steelyard.server.core.files.trees import File
from steelyard.server.core.manifests import making, rows
from steelyard.server.core.manifests.making import digest_of, find_kept, kind_of, make_artifact, make_native
from steelyard.server.core.manifests.rows import Form, NewManifest
from steelyard.server.core.models import Found
from steelyard.server.db.tables import Model, Org, Version
from steelyard.server.errors import NotFound
from steelyard.server.names import Digest
from tests.house.people import oid_of
from tests.house.registries import open_registered
from tests.server.core.manifests.shelf import FILES, SAID, WHEN, Shelf, golden

FOUND = Found(Model(name="Tiny"), Org(slug="acme"))
FILE = File("model.bin", oid_of(b"weights"), 7)
LAYER_KEYS = {
    "org.opencontainers.image.title",
    "org.cncf.model.filepath",
    "org.cncf.model.file.metadata+json",
    "org.cncf.model.file.mediatype.untested",
}
DESCRIPTOR_KEYS = {
    "createdAt", "authors", "family", "name", "docURL", "sourceURL", "datasetsURL", "version", "revision", "vendor",
    "licenses", "title", "description",
}  # fmt: skip


def bare(**said: Any) -> Version:
    """A version that no database has."""
    return Version(**{"version": "1.0.0", "framework": "gguf", "created_at": WHEN, "origin": {}, "parents": [], **said})


def config_in(new: NewManifest) -> dict[str, Any]:
    """The config of a manifest that is not kept yet."""
    [blob] = new.blobs
    assert blob.content is not None
    config: dict[str, Any] = json.loads(blob.content)
    return config


# --- the bytes


def test_the_bytes_that_were_given_out_once_are_made_again(shelf: Shelf) -> None:
    found, version = shelf.publish("ada/Tiny:1.2.3-rc.1+build.5", **SAID)
    for name, manifest in (("modelpack", shelf.artifact(found, version)), ("native", shelf.native(found, version))):
        assert manifest.content == golden(f"{name}.json")
        assert shelf.config_of(version, manifest) == golden(f"{name}-config.json")
        assert manifest.digest == digest_of(manifest.content)
        assert manifest.size_bytes == len(manifest.content)


def test_a_layer_is_a_file_and_its_digest_the_oid(shelf: Shelf) -> None:
    found, version = shelf.publish("ada/Tiny:1.0.0")
    manifest = shelf.artifact(found, version)
    said = json.loads(manifest.content)
    assert (manifest.media_type, manifest.artifact_type) == (said["mediaType"], said["artifactType"])
    assert manifest.made
    assert [layer["annotations"]["org.cncf.model.filepath"] for layer in said["layers"]] == sorted(FILES)
    for layer, path in zip(said["layers"], sorted(FILES), strict=True):
        notes = layer["annotations"]
        assert (layer["digest"], layer["size"]) == (oid_of(FILES[path]), len(FILES[path]))
        assert set(notes) == LAYER_KEYS
        assert notes["org.opencontainers.image.title"] == path
        assert json.loads(notes["org.cncf.model.file.metadata+json"])["name"] == path.rpartition("/")[2]
    config = json.loads(shelf.config_of(version, manifest))
    assert config["modelfs"] == {"type": "layers", "diffIds": [layer["digest"] for layer in said["layers"]]}


def test_what_is_not_known_is_not_said() -> None:
    config = config_in(make_artifact(FOUND, bare(), [FILE]))
    assert config["descriptor"] == {
        "createdAt": "2026-03-04T05:06:07Z",
        "vendor": "acme",
        "name": "acme/Tiny",
        "version": "1.0.0",
    }
    assert config["config"] == {"format": "gguf"}


def test_the_config_has_no_field_that_model_pack_does_not_know() -> None:
    """Its schema takes no others."""
    config = json.loads(golden("modelpack-config.json"))
    assert set(config) == {"descriptor", "config", "modelfs"}
    assert set(config["descriptor"]) <= DESCRIPTOR_KEYS
    assert set(config["config"]) <= {"architecture", "format", "paramSize", "precision", "quantization", "capabilities"}


@pytest.mark.parametrize(
    "origin",
    [{"url": 7, "git": [], "revision": None}, {"git": {"repo": {}, "commit": ""}}, {"url": "", "git": "x"}],
    ids=["numbers", "objects", "words"],
)
def test_an_origin_that_says_nothing_of_use_is_left_out(origin: dict[str, Any]) -> None:
    new = make_artifact(FOUND, bare(origin=origin), [FILE])
    assert not {"sourceURL", "docURL", "revision"} & set(config_in(new)["descriptor"])
    assert not any(key.endswith(("url", "source", "revision")) for key in new.annotations or {})


def test_text_that_is_no_unicode_is_escaped_and_comes_back() -> None:
    new = make_artifact(FOUND, bare(origin={"url": "\ud800\\ü"}), [FILE])
    assert config_in(new)["descriptor"]["docURL"] == "\ud800\\ü"


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (None, None), (0, None), (40, None), (50, "0.1k"), (999, "1k"), (1_000, "1k"), (1_049_999, "1m"),
        (1_050_000, "1.1m"), (350_000_000, "350m"), (6_738_415_616, "6.7b"), (10**12, "1t"), (2**63 - 1, "9223.4q"),
    ],
)  # fmt: skip
def test_a_count_of_parameters_is_short(count: int | None, said: str | None) -> None:
    assert config_in(make_artifact(FOUND, bare(parameter_count=count), [FILE]))["config"].get("paramSize") == said


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("model-00001-of-00002.safetensors", "weight"),
        ("onnx/model.onnx_data", "weight"),
        ("pytorch_model.BIN", "weight"),
        ("config.json", "weight.config"),
        ("tokenizer.model", "weight.config"),
        ("merges.txt", "weight.config"),
        (".gitattributes", "weight.config"),
        ("bin", "weight.config"),
        ("md/strange", "weight.config"),
        ("README.md", "doc"),
        ("docs/LICENSE", "doc"),
        ("license.txt", "doc"),
        ("LICENSE-MIT", "doc"),
        ("NOTICE", "doc"),
        ("assets/curve.png", "doc"),
        ("modeling_tiny.py", "code"),
        ("run.sh", "code"),
        ("Dockerfile", "code"),
        ("data/train.parquet", "dataset"),
        ("eval.jsonl", "dataset"),
    ],
)
def test_a_files_kind_goes_by_its_name(path: str, kind: str) -> None:
    assert kind_of(path) == kind
    new = make_artifact(FOUND, bare(), [replace(FILE, path=path)])
    assert json.loads(new.content)["layers"][0]["mediaType"] == f"application/vnd.cncf.model.{kind}.v1.raw"


def test_the_same_bytes_twice_are_two_layers_of_one_digest(shelf: Shelf) -> None:
    found, version = shelf.publish("ada/Tiny:1.0.0", {"a.bin": b"same", "b.bin": b"same"})
    layers = json.loads(shelf.artifact(found, version).content)["layers"]
    assert [layer["digest"] for layer in layers] == [oid_of(b"same")] * 2
    assert [layer["annotations"]["org.cncf.model.filepath"] for layer in layers] == ["a.bin", "b.bin"]


# --- the native API's own


def test_the_native_one_has_the_fields_of_a_publish_and_no_layers(shelf: Shelf) -> None:
    found, version = shelf.publish("ada/Tiny:1.0.0", **SAID)
    manifest = shelf.native(found, version)
    said, config = json.loads(manifest.content), json.loads(shelf.config_of(version, manifest))
    assert said["layers"] == []
    assert said["config"]["mediaType"] == "application/vnd.dreadnode.config.v1+json" == manifest.artifact_type
    assert said["annotations"] == {
        "io.dreadnode.type": "model",
        "io.dreadnode.name": "ada/Tiny",
        "io.dreadnode.version": "1.0.0",
    }
    assert config["artifacts"] == {path: oid_of(data) for path, data in FILES.items()}
    unset = {"task", "base_model", "task_categories", "dataset_refs"}
    assert {key for key, value in config.items() if value is None} == unset
    assert {key: config[key] for key in SAID if key != "origin"} == {k: v for k, v in SAID.items() if k != "origin"}


def test_metrics_are_those_of_the_first_ask(shelf: Shelf) -> None:
    found, version = shelf.publish("ada/Tiny:1.0.0", metrics={"loss": 2})
    first = shelf.native(found, version)
    assert shelf.ada.put("/org/ada/models/Tiny/1.0.0/metrics", {"loss": 1}).status_code == 200
    assert shelf.native(*shelf.find("ada/Tiny:1.0.0")).content == first.content
    assert json.loads(shelf.config_of(version, first))["metrics"] == {"loss": 2}


# --- who may know what


def test_nothing_tells_who_published_or_what_a_reader_may_not_see(shelf: Shelf) -> None:
    zoe = shelf.registered.org("acme")
    assert zoe.publish("acme/secret:1.0.0").status_code == 201
    shelf.ada = zoe
    found, version = shelf.publish(
        "acme/open:1.0.0",
        is_public=True,
        base_model="acme/secret",
        origin={"derived_from": [{"name": "acme/secret", "version": "1.0.0", "relation": "finetune"}]},
    )
    assert version.parents
    for manifest in (shelf.artifact(found, version), shelf.native(found, version)):
        told = manifest.content + shelf.config_of(version, manifest)
        for hidden in (b"secret", zoe.name.encode(), b"@example.com", b"derived"):
            assert hidden not in told


def test_a_base_model_that_is_none_of_ours_is_told() -> None:
    assert config_in(make_native(FOUND, bare(base_model="meta/llama"), [FILE]))["base_model"] == "meta/llama"


# --- kept


def never(*_: object) -> NewManifest:
    raise AssertionError("it is kept already")


def test_what_was_given_out_stays_whatever_would_be_made_now(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    found, version = shelf.publish("ada/Tiny:1.0.0+cpu")
    artifact, native = shelf.artifact(found, version), shelf.native(found, version)
    monkeypatch.setattr(making, "make_artifact", never)
    monkeypatch.setattr(making, "make_native", never)
    assert shelf.artifact(found, version).content == artifact.content
    assert shelf.native(found, version).content == native.content
    assert shelf.rows() == (2, [("artifact", "1.0.0_cpu"), ("config", "1.0.0_cpu")])


def test_what_was_given_out_stays_over_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_registered(data=tmp_path / "data") as registered:
        shelf = Shelf(registered)
        first = shelf.artifact(*shelf.publish("ada/Tiny:1.0.0"))
    monkeypatch.setattr(making, "make_artifact", never)
    with open_registered(data=tmp_path / "data") as registered:
        again = Shelf(registered, shelf.ada)
        assert again.artifact(*again.find("ada/Tiny:1.0.0")).content == first.content


def test_two_who_ask_first_at_once_are_told_the_same(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where each would have made another one, as servers of two releases do."""
    found, version = shelf.publish("ada/Tiny:1.0.0")
    both_looked, make = threading.Barrier(2), making.make_artifact

    def make_another(*args: Any) -> NewManifest:
        content = make(*args).content.replace(b"ada/Tiny", f"thread {both_looked.wait(10)}".encode())
        return NewManifest(Digest(digest_of(content)), making.MANIFEST_TYPE, content, made=True)

    monkeypatch.setattr(making, "make_artifact", make_another)
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda _: shelf.artifact(found, version), range(2))
    assert first.content == second.content
    assert shelf.rows() == (1, [("artifact", "1.0.0")])


def test_what_was_pushed_for_a_version_is_what_its_tag_leads_to(shelf: Shelf) -> None:
    found, version = shelf.publish("ada/Tiny:1.0.0")
    pushed = NewManifest(Digest(digest_of(b"{}")), making.MANIFEST_TYPE, b"{}")
    with shelf.registry.database.write() as session:
        kept = rows.keep_manifest(session, version.model_id, pushed)
        rows.set_tag(session, version.model_id, Form.ARTIFACT, "1.0.0", kept)
    assert shelf.artifact(found, version).content == b"{}"
    assert shelf.native(found, version).content != b"{}"


@pytest.mark.parametrize("ask", [Shelf.artifact, Shelf.native])
def test_a_version_that_is_deleted_meanwhile_leaves_nothing(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, ask: Callable[[Shelf, Found, Version], object]
) -> None:
    found, version = shelf.publish("ada/Tiny:1.0.0")
    new_manifest = making.new_manifest

    def delete_meanwhile(*args: Any, **said: Any) -> NewManifest:
        assert shelf.ada.delete("/org/ada/models/Tiny").status_code == 204
        return new_manifest(*args, **said)

    monkeypatch.setattr(making, "new_manifest", delete_meanwhile)
    with pytest.raises(NotFound, match="deleted"):
        ask(shelf, found, version)
    assert shelf.rows() == (0, [])


def test_a_deleted_version_takes_its_manifests_along(shelf: Shelf) -> None:
    found, version = shelf.publish("ada/Tiny:1.0.0")
    shelf.publish("ada/Tiny:1.0.1")
    shelf.artifact(found, version)
    shelf.native(found, version)
    kept = shelf.artifact(*shelf.find("ada/Tiny:1.0.1"))
    assert shelf.ada.delete("/org/ada/models/Tiny/1.0.0").status_code == 204
    assert shelf.rows() == (1, [("artifact", "1.0.1")])
    with shelf.registry.database.read() as session:
        left = find_kept(session, shelf.find("ada/Tiny:1.0.1")[1], Form.ARTIFACT)
        assert left is not None
        assert left.digest == kept.digest


def test_more_files_than_a_manifest_holds_are_told_of(shelf: Shelf) -> None:
    shelf.ada.upload("ada/Tiny", b"x")
    body = {"version": "1.0.0", "artifacts": {f"folder/{number:060}.bin": oid_of(b"x") for number in range(8_000)}}
    assert shelf.ada.post("/org/ada/models/Tiny/versions", body).status_code == 201
    found, version = shelf.find("ada/Tiny:1.0.0")
    with pytest.raises(NotFound, match=r"8,000 files.*4 MiB.*steelyard pull"):
        shelf.artifact(found, version)
    assert shelf.rows() == (0, [])
    assert len(json.loads(shelf.config_of(version, shelf.native(found, version)))["artifacts"]) == 8_000
