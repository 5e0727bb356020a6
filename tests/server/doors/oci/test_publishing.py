"""What is pushed under a version's number and is a model becomes that version; nothing else does, and none changes."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from steelyard.server.core import blobs
from steelyard.server.core.manifests import publishing, rows
from steelyard.server.core.publish import NewVersion
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import Manifest, Model, utc_now
from steelyard.server.names import Tag
from tests.house import Person, Registered
from tests.server.doors.oci.pushing import (
    EMPTY,
    IMAGE_CONFIG,
    LAYER,
    TITLE,
    Repository,
    as_bytes,
    descriptor,
    digest_of,
    error_of,
    files_manifest,
    image_manifest,
    message_of,
)

FILES = {"model.safetensors": b"weights", "folder/config.json": b"{}", "README.md": b"# Tiny"}
MODEL, MODEL_CONFIG = "application/vnd.cncf.model.manifest.v1+json", "application/vnd.cncf.model.config.v1+json"
FILE_PATH = "org.cncf.model.filepath"
KIT = "application/vnd.kitops.modelkit."
NATIVE_CONFIG = "application/vnd.dreadnode.config.v1+json"
DIGEST = "docker-content-digest"


def detail(repo: Repository, version: str) -> dict[str, Any]:
    """What the native API says of a version."""
    org, _, name = repo.name.partition("/")
    answered = repo.person.get(f"/org/{org}/models/{name}/{version}")
    assert answered.status_code == 200, answered.text
    told = answered.json()
    assert isinstance(told, dict)
    return told


def has(repo: Repository, version: str) -> bool:
    org, _, name = repo.name.partition("/")
    return repo.person.get(f"/org/{org}/models/{name}/{version}").status_code == 200


def oids(files: Mapping[str, bytes]) -> dict[str, str]:
    return {path: digest_of(data) for path, data in files.items()}


def tar_of(files: Mapping[str, bytes], *more: tarfile.TarInfo) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as out:
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            out.addfile(member, io.BytesIO(data))
        for member in more:
            out.addfile(member)
    return packed.getvalue()


def kit_of(*tars: bytes, **fields: Any) -> tuple[dict[str, Any], bytes]:
    """A ModelKit whose layers are these, and its Kitfile."""
    config = json.dumps({"manifestVersion": "1.0.0", "package": {"name": "Kit"}, "model": {"path": "m"}}).encode()
    kind = "model.v1.tar+gzip" if all(each.startswith(b"\x1f\x8b") for each in tars) else "model.v1.tar"
    layers = [descriptor(KIT + kind, each) for each in tars]
    return image_manifest(descriptor(KIT + "config.v1+json", config), layers, **fields), config


def push_kit(repo: Repository, reference: str, *tars: bytes, **fields: Any) -> httpx2.Response:
    manifest, config = kit_of(*tars, **fields)
    for data in (config, *tars):
        repo.push_blob(data)
    return repo.push_manifest(manifest, reference)


# --- raw layers


@pytest.mark.parametrize(
    ("tag", "number"), [("1.2.3", "1.2.3"), ("2.0.0-rc.1", "2.0.0-rc.1"), ("1.0.0_cu12", "1.0.0+cu12")]
)
def test_files_of_oras_are_a_version(repo: Repository, tag: str, number: str) -> None:
    annotations = {"org.opencontainers.image.description": "Small.", "org.opencontainers.image.licenses": "MIT"}
    pushed = repo.push_files(tag, FILES, annotations=annotations)
    assert pushed.status_code == 201, pushed.text
    told = detail(repo, number.replace("+", "%2B"))
    assert (told["version"], told["artifacts"]) == (number, oids(FILES))
    assert (told["summary"], told["license"], told["framework"]) == ("Small.", "MIT", "safetensors")
    assert told["origin"]["source"] == "oci"
    assert told["origin"]["manifest"] == pushed.headers[DIGEST]
    assert told["origin"]["registry"]["via"] == "oci"
    assert told["origin"]["registry"]["published_by"] == repo.person.name


def test_a_modelpack_artifact_is_a_version(repo: Repository) -> None:
    config = {
        "descriptor": {"title": "Tiny Model", "licenses": ["MIT"], "sourceURL": "https://example.com"},
        "config": {"architecture": "llama", "format": "gguf"},
        "modelfs": {"type": "layers", "diffIds": [digest_of(b"weights")]},
    }
    raw = {FILE_PATH: "a/model.gguf", TITLE: "model.gguf"}
    layers = [descriptor("application/vnd.cncf.model.weight.v1.raw", b"weights", **raw)]
    manifest = image_manifest(descriptor(MODEL_CONFIG, as_bytes(config)), layers, artifactType=MODEL)
    for data in (as_bytes(config), b"weights"):
        repo.push_blob(data)
    assert repo.push_manifest(manifest, "1.0.0").status_code == 201
    told = detail(repo, "1.0.0")
    assert told["artifacts"] == {"a/model.gguf": digest_of(b"weights")}
    assert (told["pretty_name"], told["license"], told["framework"]) == ("Tiny Model", "MIT", "gguf")
    assert (told["architecture"], told["origin"]["url"]) == ("llama", "https://example.com")


def test_the_manifest_is_answered_as_it_was_pushed(repo: Repository) -> None:
    content = json.dumps(files_manifest(FILES, custom={"b": 1, "a": [1.0, 1e3]}), indent=3).encode() + b"\n"
    for data in (b"{}", *FILES.values()):
        repo.push_blob(data)
    pushed = repo.push_manifest(content, "1.0.0")
    assert pushed.status_code == 201, pushed.text
    for reference in ("1.0.0", "latest", digest_of(content)):
        answered = repo.get(f"manifests/{reference}")
        assert answered.content == content
        assert answered.headers[DIGEST] == digest_of(content) == pushed.headers[DIGEST]


def test_a_layer_by_its_sha512(repo: Repository) -> None:
    repo.push_blob(b"{}")
    repo.push_blob(b"by sha512", "sha512")
    layer = descriptor(LAYER, b"by sha512", algorithm="sha512", **{TITLE: "model.bin"})
    manifest = image_manifest(descriptor(EMPTY, b"{}"), [layer])
    assert repo.push_manifest(manifest, "1.0.0").status_code == 201
    assert detail(repo, "1.0.0")["artifacts"] == {"model.bin": digest_of(b"by sha512")}


def test_a_number_with_a_v_is_a_tag_and_a_version(repo: Repository) -> None:
    assert repo.push_files("v1.2.3", FILES).status_code == 201
    assert detail(repo, "1.2.3")["artifacts"] == oids(FILES)
    assert repo.get("manifests/v1.2.3").content == repo.get("manifests/1.2.3").content


def test_the_same_again_changes_nothing(repo: Repository) -> None:
    first = repo.push_files("1.0.0", FILES)
    before = detail(repo, "1.0.0")
    again = repo.push_files("1.0.0", FILES)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.headers[DIGEST] == again.headers[DIGEST]
    assert detail(repo, "1.0.0") == before


@pytest.mark.parametrize(
    "other",
    [{"files": {**FILES, "README.md": b"# Other"}}, {"files": FILES, "annotations": {"a": "b"}}],
    ids=["other-files", "other-annotations"],
)
def test_other_content_is_denied(repo: Repository, other: dict[str, Any]) -> None:
    first = repo.push_files("1.0.0", FILES)
    refused = repo.push_files("1.0.0", **other)
    assert error_of(refused) == (403, "DENIED")
    assert "1.0.0 is published with another manifest" in message_of(refused)
    assert repo.get("manifests/1.0.0").headers[DIGEST] == first.headers[DIGEST]


def test_what_another_door_published_is_not_replaced(repo: Repository) -> None:
    repo.person.publish(f"{repo.name}:1.0.0", {"a.bin": b"other"})
    refused = repo.push_files("1.0.0", FILES)
    assert error_of(refused) == (403, "DENIED")
    assert "is published with another manifest" in message_of(refused)
    assert detail(repo, "1.0.0")["artifacts"] == oids({"a.bin": b"other"})


def test_what_we_made_can_be_pushed_as_another_version(repo: Repository) -> None:
    """As `skopeo copy` does, which asks for each blob by HEAD and sends none that is here."""
    repo.person.publish(f"{repo.name}:1.0.0", FILES, summary="Small.")
    made = repo.get("manifests/1.0.0")
    assert made.status_code == 200
    for named in (made.json()["config"], *made.json()["layers"]):
        assert repo.head(f"blobs/{named['digest']}").status_code == 200
    assert repo.push_manifest(made.content, "1.0.0").status_code == 201
    pushed = repo.push_manifest(made.content, "1.0.1")
    assert pushed.status_code == 201, pushed.text
    assert detail(repo, "1.0.1")["artifacts"] == oids(FILES)
    assert repo.get("manifests/1.0.1").content == made.content


def test_the_number_of_a_deleted_version_is_spent(repo: Repository) -> None:
    repo.push_files("1.0.0", FILES)
    assert repo.delete("manifests/1.0.0").status_code == 202
    refused = repo.push_files("1.0.0", FILES)
    assert error_of(refused) == (403, "DENIED")
    assert "its number is spent" in message_of(refused)


@pytest.mark.parametrize(
    ("path", "words"), [("../up", "'..'"), ("/etc/passwd", "must be relative"), ("a\\b", "backslashes")]
)
def test_a_path_that_no_file_may_have_is_named(repo: Repository, path: str, words: str) -> None:
    refused = repo.push_files("1.0.0", {path: b"x", "good": b"y"})
    assert error_of(refused) == (400, "MANIFEST_INVALID")
    assert words in message_of(refused)
    assert repr(path) in message_of(refused)
    assert not has(repo, "1.0.0")


def test_bytes_that_the_repository_does_not_hold_are_named(repo: Repository, bob: Person) -> None:
    elsewhere = Repository(bob, f"{bob.name}/tiny")
    elsewhere.push_blob(b"of bob's")
    repo.push_blob(b"{}")
    refused = repo.push_manifest(files_manifest({"a.bin": b"of bob's"}), "1.0.0")
    assert error_of(refused) == (404, "MANIFEST_BLOB_UNKNOWN")
    assert digest_of(b"of bob's") in message_of(refused)


def test_a_size_that_is_not_that_of_the_bytes(repo: Repository) -> None:
    for data in (b"{}", b"abc"):
        repo.push_blob(data)
    layer = {**descriptor(LAYER, b"abc", **{TITLE: "a"}), "size": 4}
    refused = repo.push_manifest(image_manifest(descriptor(EMPTY, b"{}"), [layer]), "1.0.0")
    assert error_of(refused) == (400, "MANIFEST_INVALID")
    assert "3 bytes long, and not 4" in message_of(refused)


@pytest.mark.parametrize("config", [b"[]", b"{", b'{"a": 1, "a": 2}'], ids=["list", "broken", "twice"])
def test_a_config_that_is_no_object(repo: Repository, config: bytes) -> None:
    for data in (config, b"abc"):
        repo.push_blob(data)
    manifest = image_manifest(descriptor(MODEL_CONFIG, config), [descriptor(LAYER, b"abc", **{TITLE: "a"})])
    refused = repo.push_manifest(manifest, "1.0.0")
    assert error_of(refused) == (400, "MANIFEST_INVALID")
    assert digest_of(config) in message_of(refused)


def test_what_is_no_model_keeps_its_tag_and_is_no_version(repo: Repository) -> None:
    for data in (b"{}", b"layer"):
        repo.push_blob(data)
    manifest = image_manifest(descriptor(IMAGE_CONFIG, b"{}"), [descriptor(LAYER, b"layer", **{TITLE: "a"})])
    assert repo.push_manifest(manifest, "1.0.0").status_code == 201
    assert repo.get("manifests/1.0.0").content == as_bytes(manifest)
    assert not has(repo, "1.0.0")


def test_who_may_not_publish_pushes_nothing(repo: Repository, bob: Person) -> None:
    repo.push_files("1.0.0", FILES)
    refused = repo.by(bob).push_manifest(files_manifest(FILES), "1.0.1")
    assert refused.status_code in (403, 404)
    assert not has(repo, "1.0.1")


# --- tars


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_the_tars_of_a_kit_are_unpacked(repo: Repository, pack: Callable[[bytes], bytes]) -> None:
    tars = [pack(tar_of({"./m/model.onnx": b"weights", "m/data.json": b"{}"})), pack(tar_of({"docs/README.md": b"#"}))]
    pushed = push_kit(repo, "1.0.0", *tars)
    assert pushed.status_code == 201, pushed.text
    told = detail(repo, "1.0.0")
    assert told["artifacts"] == oids({"m/model.onnx": b"weights", "m/data.json": b"{}", "docs/README.md": b"#"})
    assert (told["pretty_name"], told["framework"]) == ("Kit", "onnx")
    assert told["origin"]["created_with"]["tool"] == "kitops"
    assert told["origin"]["registry"] | {"at": ""} == {"published_by": repo.person.name, "via": "oci", "at": ""}
    assert repo.get("manifests/1.0.0").content == as_bytes(kit_of(*tars)[0])
    for each in tars:
        assert repo.get(f"blobs/{digest_of(each)}").content == each


def test_raw_layers_and_folders_of_one_artifact(repo: Repository) -> None:
    folder = gzip.compress(tar_of({"checkpoints/a.bin": b"a", "checkpoints/b.bin": b"b"}))
    unpacked = {TITLE: "checkpoints", "io.deis.oras.content.unpack": "true"}
    layers = [descriptor(LAYER, b"raw", **{TITLE: "raw.tar"}), descriptor(LAYER + "+gzip", folder, **unpacked)]
    for data in (b"{}", b"raw", folder):
        repo.push_blob(data)
    assert repo.push_manifest(image_manifest(descriptor(EMPTY, b"{}"), layers), "v1.0.0").status_code == 201
    assert detail(repo, "1.0.0")["artifacts"] == oids(
        {"raw.tar": b"raw", "checkpoints/a.bin": b"a", "checkpoints/b.bin": b"b"}
    )
    assert repo.get("manifests/v1.0.0").content == repo.get("manifests/1.0.0").content


def link_to(target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo("link")
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


BAD = {
    "up": (tar_of({"../up": b"x"}), "'..'"),
    "absolute": (tar_of({"/etc/passwd": b"x"}), "must be relative"),
    "link": (tar_of({"a": b"x"}, link_to("/etc/passwd")), "symbolic link"),
    "twice": (tar_of({"a": b"x", "A": b"y"}), "differs from 'a' only in case"),
    "no-tar": (b"this is no tar", "no whole tar"),
    "empty": (tar_of({}), "no files"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_tar_is_told_at_once_and_kept_in_the_trail(repo: Repository, name: str) -> None:
    data, words = BAD[name]
    refused = push_kit(repo, "1.0.0", data)
    assert error_of(refused) == (400, "MANIFEST_INVALID")
    assert words in message_of(refused)
    assert not has(repo, "1.0.0")
    [event] = failures_of(repo)
    assert event["target"] == f"{repo.name}:1.0.0"
    assert words in event["details"]["reason"]


def failures_of(repo: Repository) -> list[dict[str, Any]]:
    org = repo.name.partition("/")[0]
    answered = repo.person.get(f"/org/{org}/audit?action=unpack.failed")
    assert answered.status_code == 200, answered.text
    return list(answered.json()["events"])


def test_a_failed_number_takes_other_content(repo: Repository) -> None:
    assert push_kit(repo, "1.0.0", BAD["up"][0]).status_code == 400
    assert push_kit(repo, "1.0.0", BAD["up"][0]).status_code == 400
    assert len(failures_of(repo)) == 2
    assert push_kit(repo, "1.0.0", tar_of({"m": b"good"})).status_code == 201
    assert detail(repo, "1.0.0")["artifacts"] == oids({"m": b"good"})
    assert error_of(push_kit(repo, "1.0.0", tar_of({"m": b"other"}))) == (403, "DENIED")


def test_a_file_that_is_larger_than_any_may_be(repo: Repository) -> None:
    refused = push_kit(repo, "1.0.0", gzip.compress(tar_of({"m": bytes(2**21 + 1)})))
    assert error_of(refused) == (413, "SIZE_INVALID")
    assert "max_file_bytes" in message_of(refused)
    assert not has(repo, "1.0.0")


# --- the native API's dialect


def native_of(repo: Repository, number: str, config: Mapping[str, Any], **noted: str) -> tuple[dict[str, Any], bytes]:
    said = {"io.dreadnode.type": "model", "io.dreadnode.name": repo.name, "io.dreadnode.version": number} | noted
    content = as_bytes(config)
    return image_manifest(descriptor(NATIVE_CONFIG, content), [], annotations=said), content


def push_native(repo: Repository, number: str, config: Mapping[str, Any], **noted: str) -> httpx2.Response:
    manifest, content = native_of(repo, number, config, **noted)
    repo.push_blob(content)
    return repo.push_manifest(manifest, number.replace("+", "_"))


def wish(repo: Repository, **fields: Any) -> dict[str, Any]:
    """The config of a publish of one file that the organisation holds."""
    repo.person.upload(repo.name, b"weights")
    unset = dict.fromkeys(("task", "architecture", "base_model", "dataset_refs", "bump", "is_public"))
    return {**unset, "artifacts": {"model.gguf": digest_of(b"weights")}, **fields}


@pytest.mark.parametrize("number", ["1.0.0", "1.0.0+cu12"])
def test_a_config_is_a_publish(repo: Repository, number: str) -> None:
    fields = {"summary": "Small.", "metrics": {"acc": 0.5}, "tags": ["x"], "aliases": ["prod"], "more": 1}
    pushed = push_native(repo, number, wish(repo, origin={"run_id": "7"}, **fields))
    assert pushed.status_code == 201, pushed.text
    told = detail(repo, number.replace("+", "%2B"))
    assert told["artifacts"] == oids({"model.gguf": b"weights"})
    assert (told["summary"], told["metrics"], told["tags"], told["aliases"]) == (
        "Small.",
        {"acc": 0.5},
        ["x"],
        ["prod"],
    )
    assert (told["origin"]["run_id"], told["origin"]["registry"]["via"]) == ("7", "oci")
    again = push_native(repo, number, wish(repo, origin={"run_id": "7"}, **fields))
    assert (again.status_code, again.headers[DIGEST]) == (201, pushed.headers[DIGEST])
    assert error_of(push_native(repo, number, wish(repo, summary="Other."))) == (403, "DENIED")


@pytest.mark.parametrize(
    ("noted", "words"),
    [
        ({"io.dreadnode.type": "dataset"}, "io.dreadnode.type"),
        ({"io.dreadnode.name": "other/model"}, "io.dreadnode.name"),
        ({"io.dreadnode.version": "2.0.0"}, "io.dreadnode.version"),
    ],
    ids=["type", "name", "version"],
)
def test_annotations_that_are_about_something_else(repo: Repository, noted: dict[str, str], words: str) -> None:
    refused = push_native(repo, "1.0.0", wish(repo), **noted)
    assert error_of(refused) == (400, "MANIFEST_INVALID")
    assert words in message_of(refused)
    assert not has(repo, "1.0.0")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"artifacts": {}}, "artifacts"),
        ({"artifacts": None}, "artifacts"),
        ({"artifacts": {"../up": digest_of(b"weights")}}, "'..'"),
        ({"artifacts": {"a": "sha256:1"}}, "is not an OID"),
        ({"artifacts": {"a": digest_of(b"nobody sent this")}}, digest_of(b"nobody sent this")),
        ({"metrics": {"a": {}}}, "config.metrics"),
        ({"version": "1.0.1"}, "version 1.0.1"),
        ({"bump": "major"}, "bump"),
        ({"tags": "x"}, "config.tags"),
    ],
    ids=["none", "null", "path", "oid", "not-held", "metric", "version", "bump", "tags"],
)
def test_what_is_wrong_with_a_config_is_named(repo: Repository, fields: dict[str, Any], words: str) -> None:
    refused = push_native(repo, "1.0.0", wish(repo, **fields))
    assert error_of(refused) == (400, "MANIFEST_INVALID")
    assert words in message_of(refused)
    assert not has(repo, "1.0.0")


def test_a_config_that_only_the_organisation_holds(repo: Repository, ada: Person) -> None:
    manifest, content = native_of(repo, "1.0.0", wish(repo))
    ada.upload(repo.name, content)
    assert repo.push_manifest(manifest, "1.0.0").status_code == 201
    assert repo.get("manifests/1.0.0").content == as_bytes(manifest)


def test_each_push_is_published_once_in_the_trail(registry: Registered, repo: Repository) -> None:
    for _ in range(2):
        repo.push_files("1.0.0", FILES)
    org = repo.name.partition("/")[0]
    events = repo.person.get(f"/org/{org}/audit?action=version.publish").json()["events"]
    assert [(event["target"], event["details"]["via"]) for event in events] == [(f"{repo.name}:1.0.0", "oci")]
    assert hashlib.sha256(repo.get("manifests/1.0.0").content).hexdigest()


def test_in_the_dialect_of_the_api_each_is_answered_its_own_manifest(repo: Repository) -> None:
    manifest, content = native_of(repo, "1.0.0", wish(repo))
    repo.push_blob(content)
    at_api = f"/api/v1/{repo.name}/manifests"
    headers = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
    for _ in range(2):
        put = repo.put(f"{at_api}/1.0.0", content=as_bytes(manifest), headers=headers)
        assert put.status_code == 201, put.text
    for reference in ("1.0.0", "latest", digest_of(as_bytes(manifest))):
        assert repo.get(f"{at_api}/{reference}").content == as_bytes(manifest)
    for_tools = repo.get("manifests/1.0.0").json()
    assert [layer["digest"] for layer in for_tools["layers"]] == [digest_of(b"weights")]
    other, content = native_of(repo, "1.0.0", wish(repo, summary="Other."))
    repo.push_blob(content)
    refused = repo.put(f"{at_api}/1.0.0", content=as_bytes(other), headers=headers)
    assert (refused.status_code, refused.json()["type"]) == (409, "already_exists_error")


# --- what happens meanwhile, and what is in the way


def test_bytes_that_are_cleaned_up_meanwhile_are_not_anothers(
    registry: Registered, repo: Repository, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their row's id may be given to the next bytes that come, be they of another organisation."""
    repo.push_files("1.0.0", {"a.bin": b"hello"})
    config = as_bytes({"descriptor": {"title": "x"}, "config": {}, "modelfs": {"type": "layers", "diffIds": []}})
    repo.push_blob(config)
    database, read_config = database_of(registry), publishing.read_config

    def slow(*args: Any) -> dict[str, Any]:
        said = read_config(*args)
        with database.write() as session:
            blobs.let_go(session, blobs.list_unneeded(session, utc_now()), utc_now())
        Repository(bob, f"{bob.name}/secret").push_blob(b"of bob's alone")
        return said

    monkeypatch.setattr(publishing, "read_config", slow)
    raw = descriptor("application/vnd.cncf.model.weight.v1.raw", b"hello", **{TITLE: "a.bin"})
    refused = repo.push_manifest(image_manifest(descriptor(MODEL_CONFIG, config), [raw], artifactType=MODEL), "2.0.0")
    assert error_of(refused) == (404, "MANIFEST_BLOB_UNKNOWN")
    assert digest_of(config) in message_of(refused)
    assert repo.get("blobs/" + digest_of(b"of bob's alone")).status_code == 404
    assert not has(repo, "2.0.0")


def database_of(registry: Registered) -> Database:
    database = registry.client.app.state.registry.database  # type: ignore[attr-defined]
    assert isinstance(database, Database)
    return database


@pytest.mark.parametrize("of_what", ["files", "tars"])
def test_an_alias_is_no_spelling_of_another_number(repo: Repository, of_what: str) -> None:
    repo.push_files("1.0.0", FILES)
    org = repo.name.partition("/")[0]
    made = repo.person.post(f"/org/{org}/models/tiny/1.0.0/aliases", {"alias": "v9.9.9"})
    assert made.status_code == 200, made.text
    other = {"other.bin": b"other"}
    refused = repo.push_files("v9.9.9", other) if of_what == "files" else push_kit(repo, "v9.9.9", tar_of(other))
    assert error_of(refused) == (403, "DENIED")
    assert "'v9.9.9' is an alias of" in message_of(refused)
    assert not has(repo, "9.9.9")
    assert repo.get("manifests/v9.9.9").content == repo.get("manifests/1.0.0").content


def test_a_tag_of_something_else_is_not_moved_by_a_number(repo: Repository) -> None:
    for data in (b"{}", b"layer"):
        repo.push_blob(data)
    image = image_manifest(descriptor(IMAGE_CONFIG, b"{}"), [descriptor(LAYER, b"layer")])
    assert repo.push_manifest(image, "v9.9.9").status_code == 201
    refused = repo.push_files("v9.9.9", FILES)
    assert error_of(refused) == (403, "DENIED")
    assert digest_of(as_bytes(image)) in message_of(refused)
    assert not has(repo, "9.9.9")
    assert repo.get("manifests/v9.9.9").content == as_bytes(image)


def test_a_failed_number_with_a_v_takes_other_content(repo: Repository) -> None:
    assert push_kit(repo, "v1.0.0", BAD["up"][0]).status_code == 400
    assert push_kit(repo, "v1.0.0", tar_of({"m": b"good"})).status_code == 201
    assert repo.get("manifests/v1.0.0").content == repo.get("manifests/1.0.0").content


def test_what_is_deleted_while_it_is_unpacked_is_no_version(
    registry: Registered, repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_version, database = publishing.new_version, database_of(registry)

    def delete_first(*args: Any) -> NewVersion:
        with database.write() as session:
            manifest, model = session.execute(
                select(Manifest, Model)
                .join(Model, Model.id == Manifest.model_id)
                .where(Manifest.digest == args[3].manifest.digest)
            ).one()
            rows.delete_manifest(session, model.org_id, manifest)
        return new_version(*args)

    monkeypatch.setattr(publishing, "new_version", delete_first)
    push_kit(repo, "3.0.0", tar_of({"deleted": repo.name.encode()}))
    assert not has(repo, "3.0.0")
    assert repo.get("manifests/3.0.0").status_code == 404


def test_a_job_is_about_the_manifests_bytes_and_not_its_row_alone() -> None:
    one, other = (Manifest(id=1, digest=digest_of(data)) for data in (b"one", b"other"))
    assert publishing.job_prefix(one, Tag("1.0.0")) != publishing.job_prefix(other, Tag("1.0.0"))


@pytest.mark.parametrize("of_what", ["files", "tars"])
def test_no_push_gives_a_manifest_to_what_another_door_published(repo: Repository, of_what: str) -> None:
    repo.person.publish(f"{repo.name}:1.0.0", FILES)
    refused = repo.push_files("1.0.0", FILES) if of_what == "files" else push_kit(repo, "1.0.0", tar_of(FILES))
    assert error_of(refused) == (403, "DENIED")
    ours = repo.get("manifests/1.0.0")
    assert ours.json()["artifactType"] == MODEL
    assert repo.push_manifest(ours.content, "1.0.0").status_code == 201
