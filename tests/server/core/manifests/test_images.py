"""The twin of a version: which tars it is made of, that they are hashed once, and that it never changes."""

import io
import json
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import select

from steelyard.server.core import jobs
from steelyard.server.core.jobs import Stopped
from steelyard.server.core.manifests import images, making, rows
from steelyard.server.core.manifests.holdings import find_holding
from steelyard.server.core.manifests.making import digest_of
from steelyard.server.core.manifests.rows import Form
from steelyard.server.db.tables import Job
from steelyard.server.errors import NotFound, StorageFailed
from steelyard.server.names import Digest
from tests.house.chunked import Packed, Part, Sender, content_of, some_raws
from tests.house.people import oid_of
from tests.server.core.manifests.counting import CountingStore
from tests.server.core.manifests.shelf import FILES, SAID, Shelf, golden

MIB = 2**20
DEEP = {
    "a/b/c/model.bin": b"deep",
    "p" * 150 + "/" + "n" * 120: b"fits no header of old",
    "模型/🤗.txt": b"other planes",
    "empty": b"",
    "block": b"b" * 512,
}


def layers_of(content: bytes) -> list[tuple[str, int]]:
    """`(digest, size)` of a manifest's layers."""
    return [(layer["digest"], layer["size"]) for layer in json.loads(content)["layers"]]


def jobs_left(shelf: Shelf) -> list[str]:
    with shelf.registry.database.read() as session:
        return list(session.scalars(select(Job.subject).where(Job.kind == jobs.IMAGE)))


# --- the bytes


def test_the_bytes_that_were_given_out_once_are_made_again(shelf: Shelf) -> None:
    found, version = shelf.publish("ada/Tiny:1.2.3-rc.1+build.5", **SAID)
    manifest = shelf.image(found, version)
    assert manifest.content == golden("image.json")
    assert shelf.config_of(version, manifest) == golden("image-config.json")
    assert manifest.digest == digest_of(manifest.content)
    assert shelf.rows() == (1, [("image", "1.2.3-rc.1_build.5")])
    assert jobs_left(shelf) == []


def test_it_is_an_image_as_the_specification_has_it(shelf: Shelf) -> None:
    manifest = shelf.image(*shelf.publish("ada/Tiny:1.0.0"))
    said, config = json.loads(manifest.content), json.loads(shelf.config_of(shelf.find("ada/Tiny:1.0.0")[1], manifest))
    assert said["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    assert {layer["mediaType"] for layer in said["layers"]} == {"application/vnd.oci.image.layer.v1.tar"}
    assert (config["os"], config["architecture"]) == ("linux", "amd64")
    assert config["rootfs"] == {"type": "layers", "diff_ids": [digest for digest, _ in layers_of(manifest.content)]}
    assert len(config["history"]) == len(FILES)


@pytest.mark.parametrize("files", [FILES, DEEP], ids=["plain", "odd"])
def test_a_layer_is_a_tar_of_one_file(shelf: Shelf, files: dict[str, bytes], tmp_path: Path) -> None:
    found, version = shelf.publish("ada/Tiny:1.0.0", files)
    layers, folder = layers_of(shelf.image(found, version).content), tmp_path / "extracted"
    assert len(layers) == len(files)
    folder.mkdir()
    for (digest, size), path in zip(layers, sorted(files), strict=True):
        tar = shelf.tar_of(version, digest)
        assert (digest_of(tar), len(tar)) == (digest, size)
        with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as opened:
            [member] = opened.getmembers()
            extracted = opened.extractfile(member)
            assert extracted is not None
            assert (member.name, extracted.read(), member.mode, member.mtime) == (path, files[path], 0o644, 0)
        subprocess.run(["tar", "-x", "-C", str(folder)], input=tar, check=True, env={"LC_ALL": "C.UTF-8"})
    there = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert there == files


def test_the_same_bytes_at_two_paths_are_two_tars(shelf: Shelf) -> None:
    found, version = shelf.publish("ada/Tiny:1.0.0", {"a.bin": b"same", "b.bin": b"same"})
    (first, _), (second, _) = layers_of(shelf.image(found, version).content)
    assert first != second
    assert b"a.bin" in shelf.tar_of(version, first)
    assert b"b.bin" in shelf.tar_of(version, second)


def test_a_file_in_chunks_is_one_too(shelf: Shelf) -> None:
    packed = Packed(some_raws(1, 12))
    parts = (Part(packed), Part(packed, 2, 5))
    oid = Sender(shelf.registered, "ada").make(*parts)
    body = {"version": "1.0.0", "artifacts": {"model": oid}}
    assert shelf.ada.post("/org/ada/models/tiny/versions", body).status_code == 201
    found, version = shelf.find("ada/tiny:1.0.0")
    [(digest, _)] = layers_of(shelf.image(found, version).content)
    with tarfile.open(fileobj=io.BytesIO(shelf.tar_of(version, digest)), mode="r:") as opened:
        extracted = opened.extractfile("model")
        assert extracted is not None
        assert oid_of(extracted.read()) == oid == oid_of(content_of(parts))


# --- hashing


def test_a_tar_is_hashed_once_in_an_organisation(shelf: Shelf) -> None:
    large, small = Random(7).randbytes(3 * MIB + 5), b"{}"
    _, first = shelf.publish("ada/Tiny:1.0.0", {"model.bin": large, "config.json": small})
    _, second = shelf.publish("ada/Tiny:1.0.1", {"model.bin": large, "config.json": b"[1]"})
    found, third = shelf.publish("ada/Other:1.0.0", {"model.bin": large, "renamed.json": small})
    versions, store = (first, second, third), CountingStore(shelf.registry.store)
    for version, read in zip(versions, (len(large) + 2, 3, 2), strict=True):
        store.reads.clear()
        shelf.make_image(version, store)
        assert store.bytes_read == read
    digests = [[digest for digest, _ in layers_of(shelf.image(found, version).content)] for version in versions]
    assert digests[0][1] == digests[1][1] == digests[2][0]
    assert len({digest for some in digests for digest in some}) == 4


def test_what_another_organisation_hashed_is_hashed_again(shelf: Shelf) -> None:
    """How soon a twin is there would tell that others have the same file."""
    shelf.make_image(shelf.publish("ada/Tiny:1.0.0")[1])
    shelf.ada = shelf.registered.user("bob")
    _, version = shelf.publish("bob/Tiny:1.0.0")
    store = CountingStore(shelf.registry.store)
    shelf.make_image(version, store)
    assert store.bytes_read == sum(map(len, FILES.values()))


def test_a_large_file_is_read_in_small_pieces(shelf: Shelf) -> None:
    content = Random(8).randbytes(5 * MIB + 1)
    _, version = shelf.publish("ada/Tiny:1.0.0", {"model.bin": content})
    store = CountingStore(shelf.registry.store)
    shelf.make_image(version, store)
    assert [length for _, length in store.reads] == [MIB] * 5 + [1]


def test_bytes_that_rotted_get_no_digest(shelf: Shelf) -> None:
    _, version = shelf.publish("ada/Tiny:1.0.0")
    with pytest.raises(StorageFailed, match="admin check"):
        shelf.make_image(version, CountingStore(shelf.registry.store, flips=True))
    assert shelf.rows() == (0, [])
    assert jobs_left(shelf) == [version.uuid]


def test_bytes_that_the_store_has_lost_are_told_of(shelf: Shelf) -> None:
    _, version = shelf.publish("ada/Tiny:1.0.0")
    for stored in list(shelf.registry.store.scan()):
        shelf.registry.store.delete(stored.name)
    with pytest.raises(StorageFailed, match="admin check"):
        shelf.make_image(version)
    assert shelf.rows() == (0, [])


def test_who_is_asked_to_stop_stops_between_two_pieces(shelf: Shelf) -> None:
    _, version = shelf.publish("ada/Tiny:1.0.0", {"model.bin": bytes(4 * MIB)})
    store, trees = CountingStore(shelf.registry.store), shelf.registry.trees
    with pytest.raises(Stopped):
        images.make_image(
            shelf.registry.database, store, trees, shelf.lease(version), lambda: store.bytes_read >= 2 * MIB
        )
    assert store.bytes_read == 2 * MIB
    assert jobs_left(shelf) == [version.uuid]


# --- kept


def test_what_was_given_out_stays_and_nothing_is_read_again(shelf: Shelf) -> None:
    found, version = shelf.publish("ada/Tiny:1.0.0")
    first, store = shelf.image(found, version), CountingStore(shelf.registry.store)
    shelf.make_image(version, store)
    again = shelf.find_image(version)
    assert again is not None
    assert again.content == first.content
    assert store.reads == []
    assert jobs_left(shelf) == []


def test_two_who_make_it_at_once_make_one(shelf: Shelf) -> None:
    _, version = shelf.publish("ada/Tiny:1.0.0")
    leases = [shelf.lease(version)]
    with shelf.registry.database.write() as session:
        jobs.forget_leases(session)
    leases.append(shelf.lease(version))

    def make(lease: jobs.Lease) -> None:
        database, store, trees = shelf.registry.database, shelf.registry.store, shelf.registry.trees
        images.make_image(database, store, trees, lease, lambda: False)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(make, leases))
    assert shelf.rows() == (1, [("image", "1.0.0")])
    assert jobs_left(shelf) == []


def test_a_version_that_is_deleted_meanwhile_ends_the_job(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    _, version = shelf.publish("ada/Tiny:1.0.0")
    hash_tar = images.hash_tar

    def delete_meanwhile(*args: object) -> str:
        shelf.ada.delete("/org/ada/models/Tiny")
        return hash_tar(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(images, "hash_tar", delete_meanwhile)
    shelf.make_image(version)
    assert shelf.rows() == (0, [])
    assert jobs_left(shelf) == []
    shelf.make_image(version)
    assert (shelf.rows(), jobs_left(shelf)) == ((0, []), [])


def test_a_deleted_version_takes_its_twin_along_and_its_tars(shelf: Shelf) -> None:
    found, version = shelf.publish("ada/Tiny:1.0.0")
    shelf.publish("ada/Tiny:1.0.1")
    [(digest, _), *_] = layers_of(shelf.image(found, version).content)
    assert shelf.ada.delete("/org/ada/models/Tiny/1.0.0").status_code == 204
    assert shelf.rows() == (0, [])
    with shelf.registry.database.read() as session:
        assert find_holding(session, version.model_id, digest, drafts=True) is None


def test_the_twin_of_what_was_pushed_is_made_as_any(shelf: Shelf) -> None:
    """What its own tag leads to is another thing."""
    found, version = shelf.publish("ada/Tiny:1.0.0")
    pushed = rows.NewManifest(Digest(digest_of(b"{}")), making.MANIFEST_TYPE, b"{}")
    with shelf.registry.database.write() as session:
        rows.set_tag(
            session, version.model_id, Form.ARTIFACT, "1.0.0", rows.keep_manifest(session, version.model_id, pushed)
        )
    assert len(layers_of(shelf.image(found, version).content)) == len(FILES)


def test_more_files_than_a_manifest_holds_are_told_of_before_anything_is_read(shelf: Shelf) -> None:
    shelf.ada.upload("ada/Tiny", b"x")
    body = {"version": "1.0.0", "artifacts": {f"{number}.bin": oid_of(b"x") for number in range(30_000)}}
    assert shelf.ada.post("/org/ada/models/Tiny/versions", body).status_code == 201
    found, version = shelf.find("ada/Tiny:1.0.0")
    with shelf.registry.database.read() as session, pytest.raises(NotFound, match=r"30,000 files"):
        images.check_image(session, shelf.registry.trees, found, version)
