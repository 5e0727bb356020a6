"""Push, pull and verify against the real server."""

import hashlib
import os
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from steelyard.client import Client, Reference, push
from steelyard.client.errors import (
    AlreadyExists,
    AuthenticationFailed,
    DigestMismatch,
    FileChanged,
    InvalidInput,
    InvalidReference,
    NotFound,
    UnsafeFolder,
    ValidationFailed,
    WouldOverwrite,
)
from steelyard.client.hashing import HashedFile, HashMemory
from steelyard.client.settings import cache_path
from steelyard.client.upload import Uploader
from steelyard.client.walking import walk
from tests.client.conftest import PART_BYTES, MakeFolder
from tests.house import RunningServer

TWICE = os.urandom(20)
FILES = {
    "model.safetensors": os.urandom(3 * PART_BYTES + 12_345),
    "config.json": os.urandom(27),
    "empty.txt": b"",
    "sub/tokenizer (1) ü+%20#?.json": TWICE,
    "sub/copy.json": TWICE,
}


def contents(folder: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name != ".steelyard.json"}


def test_what_is_pushed_is_what_is_pulled(client: Client, model: str, make_folder: MakeFolder, tmp_path: Path) -> None:
    pushed = client.push(make_folder(FILES), f"{model}:1.0.0")
    assert pushed.created
    assert (pushed.files, pushed.size_bytes) == (5, sum(map(len, FILES.values())))
    assert pushed.uploaded_bytes == pushed.size_bytes - len(TWICE)  # equal bytes are sent once
    pulled = client.pull(model, tmp_path / "dest")
    assert contents(tmp_path / "dest") == FILES
    assert (pulled.detail.version, pulled.files, pulled.size_bytes) == ("1.0.0", 5, pushed.size_bytes)
    assert set(pulled.written) == set(FILES)
    assert client.verify(tmp_path / "dest").matches


def test_a_second_push_sends_nothing_and_changes_nothing(client: Client, model: str, make_folder: MakeFolder) -> None:
    folder = make_folder(FILES)
    first = client.push(folder, f"{model}:1.0.0", aliases=["prod"])
    again = client.push(folder, f"{model}:1.0.0", aliases=["other"])
    assert (again.created, again.uploaded_bytes) == (False, 0)
    assert again.detail.id == first.detail.id
    assert again.detail.aliases == ("prod",)
    third = client.push(folder, f"{model}:1.0.1")
    assert (third.created, third.uploaded_bytes) == (True, 0)


def test_a_version_with_other_files_is_refused_before_anything_is_sent(
    client: Client, model: str, make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.push(make_folder({"a.bin": b"1"}), f"{model}:1.0.0")
    monkeypatch.setattr(push, "Uploader", lambda *_, **__: pytest.fail("sent"))
    with pytest.raises(AlreadyExists, match=r"a\.bin.*another number"):
        client.push(make_folder({"a.bin": b"2"}), f"{model}:1.0.0")


def test_a_version_with_other_metadata_is_refused_by_the_server(
    client: Client, model: str, make_folder: MakeFolder
) -> None:
    folder = make_folder({"a.bin": b"1"})
    client.push(folder, f"{model}:1.0.0", metadata={"license": "mit"})
    with pytest.raises(AlreadyExists):
        client.push(folder, f"{model}:1.0.0", metadata={"license": "bsd"})


def test_a_bump_takes_the_next_number(client: Client, model: str, make_folder: MakeFolder) -> None:
    folder = make_folder({"a.bin": b"1"})
    client.push(folder, f"{model}:1.2.3")
    assert client.push(folder, model, bump="minor").detail.version == "1.3.0"
    assert client.push(folder, Reference.parse(model), bump="major").detail.version == "2.0.0"


@pytest.mark.parametrize(
    ("reference", "bump"), [("{}", None), ("{}:latest", None), ("{}:^1", None), ("{}:1.0.0", "minor"), ("{}", "huge")]
)
def test_a_push_needs_either_a_version_or_a_bump(
    client: Client, model: str, make_folder: MakeFolder, reference: str, bump: str | None
) -> None:
    with pytest.raises(InvalidReference):
        client.push(make_folder({"a": b"1"}), reference.format(model), bump=bump)


def test_metadata_comes_from_the_folder_and_the_origin_says_how(
    client: Client, model: str, make_folder: MakeFolder
) -> None:
    card = b"---\nlicense: mit\npipeline_tag: text-classification\nlanguage: [no]\n---\n# Tiny\n"
    folder = make_folder({"README.md": card, "model.safetensors": b"w"})
    detail = client.push(
        folder, f"{model}:1.0.0", metadata={"summary": "small"}, origin={"run_id": "r1"}, is_public=True
    ).detail
    assert (detail.license, detail.task, detail.language, detail.summary) == (
        "mit",
        "text-classification",
        ("no",),
        "small",
    )
    assert (detail.origin["source"], detail.origin["run_id"], detail.is_public) == ("upload", "r1", True)
    assert detail.origin["created_with"]["tool"] == "steelyard"
    assert detail.origin["registry"]["published_by"] == "admin"
    assert detail.raw["framework"] == "safetensors"


def test_the_commit_is_noted_without_credentials(client: Client, model: str, make_folder: MakeFolder) -> None:
    folder = make_folder({"w.bin": b"w"})
    for command in (
        "init -q", "add .", "-c user.name=t -c user.email=t@example.com commit -qm x",
        "remote add origin https://bob:hunter2@example.com/acme/code.git",
    ):  # fmt: skip
        subprocess.run(["git", *command.split()], cwd=folder, check=True)
    origin = client.push(folder, f"{model}:1.0.0").detail.origin
    assert origin["git"]["repo"] == "https://example.com/acme/code.git"
    assert origin["git"]["dirty"] is False
    assert "hunter2" not in str(origin)


def test_a_folder_with_a_link_out_of_it_is_not_pushed(client: Client, model: str, make_folder: MakeFolder) -> None:
    folder = make_folder({"a.bin": b"1"})
    (folder / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(UnsafeFolder, match="passwd"):
        client.push(folder, f"{model}:1.0.0")
    with pytest.raises(NotFound):
        client.get_model_latest(model)


@pytest.mark.parametrize("name", ["small.bin", "large.bin"])
def test_a_file_that_changes_after_it_was_hashed_is_named(
    client: Client, model: str, make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    data = os.urandom(100 if name == "small.bin" else 2 * PART_BYTES + 1)
    folder = make_folder({name: data, "other.bin": b"x"})
    real = Uploader.upload

    def change_first(self: Uploader, files: list[HashedFile]) -> None:
        (folder / name).write_bytes(data[::-1])
        real(self, files)

    monkeypatch.setattr(Uploader, "upload", change_first)
    with pytest.raises(FileChanged, match=name):
        client.push(folder, f"{model}:1.0.0")
    with pytest.raises(NotFound):
        client.get_model_latest(model)
    monkeypatch.undo()
    assert client.push(folder, f"{model}:1.0.0").created


def test_a_file_that_shrinks_while_it_is_sent_is_named(
    client: Client, model: str, make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder({"w.bin": os.urandom(PART_BYTES // 2)})
    real = Uploader.upload

    def shrink_first(self: Uploader, files: list[HashedFile]) -> None:
        os.truncate(folder / "w.bin", 1000)
        real(self, files)

    monkeypatch.setattr(Uploader, "upload", shrink_first)
    with pytest.raises(FileChanged, match=r"w\.bin"):
        client.push(folder, f"{model}:1.0.0")


def test_a_held_file_that_changed_since_it_was_hashed_stops_the_publish(
    client: Client, model: str, make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder({"w.bin": b"old", "v.bin": b"v"})
    client.push(folder, f"{model}:1.0.0")
    real = Uploader.upload

    def change_after(self: Uploader, files: list[HashedFile]) -> None:
        real(self, files)
        (folder / "w.bin").write_bytes(b"new")

    monkeypatch.setattr(Uploader, "upload", change_after)
    with pytest.raises(FileChanged, match=r"w\.bin"):
        client.push(folder, f"{model}:1.0.1")
    assert client.list_model_versions(model).versions == ("1.0.0",)


def test_bytes_damaged_on_the_way_are_refused_by_the_server(
    client: Client, model: str, make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steelyard.client.upload._pieces", lambda file, offset, length: iter([b"\0" * length]))
    with pytest.raises(DigestMismatch, match=r"w\.bin"):
        client.push(make_folder({"w.bin": os.urandom(1000)}), f"{model}:1.0.0")


def test_many_small_files_go_in_batches(
    client: Client, model: str, make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steelyard.client.upload.BATCH_OBJECTS", 20)
    files = {f"d{number % 7}/f{number}": f"{model} {number}".encode() for number in range(50)}
    client.push(make_folder(files), f"{model}:1.0.0")
    client.pull(model, tmp_path / "dest")
    assert contents(tmp_path / "dest") == files


def test_two_pushes_of_the_same_files_at_once_both_succeed(
    live: RunningServer, model: str, make_folder: MakeFolder, tmp_path: Path
) -> None:
    folder = make_folder({"w.bin": os.urandom(6 * PART_BYTES)})
    created: list[bool] = []

    def one(number: int) -> None:
        with Client(live.url, live.token, cache_dir=tmp_path / f"cache{number}") as mine:
            created.append(mine.push(folder, f"{model}:1.0.0").created)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(created) == [False, False, True]


def test_a_wrong_token_is_said_before_anything_is_hashed(
    live: RunningServer, model: str, make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "hash_files", lambda *_, **__: pytest.fail("hashed"))
    with Client(live.url, "wrong-token") as stranger, pytest.raises(AuthenticationFailed):
        stranger.push(make_folder({"a": b"1"}), f"{model}:1.0.0")


def test_metadata_the_server_refuses_names_each_fault(client: Client, model: str, make_folder: MakeFolder) -> None:
    with pytest.raises(ValidationFailed) as caught:
        client.push(make_folder({"a": b"1"}), f"{model}:1.0.0", metadata={"licence": "mit", "tags": "x"})
    assert {fault["loc"][-1] for fault in caught.value.errors} == {"licence", "tags"}


# --- pulling


def test_a_reference_may_be_a_range_or_an_alias(
    client: Client, model: str, make_folder: MakeFolder, tmp_path: Path
) -> None:
    for version in ("1.0.0", "1.5.0", "2.0.0"):
        client.push(make_folder({"v": version.encode()}), f"{model}:{version}")
    client.set_model_alias(model, "1.0.0", "prod")
    for reference, version in (
        ("", "2.0.0"),
        (":latest", "2.0.0"),
        (":^1.2", "1.5.0"),
        ("@prod", "1.0.0"),
        (":1.x || 3", "1.5.0"),
    ):
        assert client.pull(model + reference, tmp_path / "dest").detail.version == version
        assert (tmp_path / "dest" / "v").read_bytes() == version.encode()


def test_the_default_destination_is_the_name(
    client: Client, model: str, make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.push(make_folder({"a": b"1"}), f"{model}:1.0.0")
    monkeypatch.chdir(tmp_path)
    assert client.pull(model).destination == model.split("/")[1]
    assert (tmp_path / model.split("/")[1] / "a").read_bytes() == b"1"


def test_versions_share_the_cache_and_a_second_pull_downloads_nothing(
    client: Client, model: str, make_folder: MakeFolder, tmp_path: Path
) -> None:
    weights = os.urandom(500_000)
    client.push(make_folder({"w": weights, "v": b"1"}), f"{model}:1.0.0")
    client.push(make_folder({"w": weights, "v": b"2"}), f"{model}:2.0.0")
    assert client.pull(f"{model}:1.0.0", tmp_path / "one").downloaded_bytes == 500_001
    assert client.pull(f"{model}:2.0.0", tmp_path / "two").downloaded_bytes == 1
    assert client.pull(f"{model}:2.0.0", tmp_path / "three").downloaded_bytes == 0
    again = client.pull(f"{model}:2.0.0", tmp_path / "three")
    assert (again.written, again.downloaded_bytes) == ((), 0)


def test_editing_a_pulled_file_changes_no_other(
    client: Client, model: str, make_folder: MakeFolder, tmp_path: Path
) -> None:
    weights = os.urandom(300_000)
    client.push(make_folder({"w": weights}), f"{model}:1.0.0")
    client.pull(model, tmp_path / "one")
    client.pull(model, tmp_path / "two")
    with (tmp_path / "one" / "w").open("r+b") as file:
        file.write(b"edited in place")
    assert (tmp_path / "two" / "w").read_bytes() == weights
    client.pull(model, tmp_path / "three")
    assert (tmp_path / "three" / "w").read_bytes() == weights


def test_hard_links_are_read_only_and_damage_is_found_and_mended(
    client: Client, model: str, make_folder: MakeFolder, tmp_path: Path
) -> None:
    weights = os.urandom(300_000)
    client.push(make_folder({"w": weights}), f"{model}:1.0.0")
    client.pull(model, tmp_path / "one", hardlink=True)
    linked = tmp_path / "one" / "w"
    assert stat.S_IMODE(linked.stat().st_mode) == 0o444
    blob = tmp_path / "cache" / "blobs" / hashlib.sha256(weights).hexdigest()[:2] / hashlib.sha256(weights).hexdigest()
    assert linked.stat().st_ino == blob.stat().st_ino
    linked.chmod(0o644)
    linked.write_bytes(b"by force")  # which also writes into the cache
    assert client.pull(model, tmp_path / "two").downloaded_bytes == 300_000
    assert (tmp_path / "two" / "w").read_bytes() == weights
    assert not client.verify(tmp_path / "one").matches


def test_a_pull_does_not_replace_what_somebody_wrote(
    client: Client, model: str, make_folder: MakeFolder, tmp_path: Path
) -> None:
    client.push(make_folder({"a": b"1", "b": b"1"}), f"{model}:1.0.0")
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest" / "a").write_bytes(b"mine")
    with pytest.raises(WouldOverwrite, match="\n  a"):
        client.pull(model, tmp_path / "dest")
    assert contents(tmp_path / "dest") == {"a": b"mine"}
    client.pull(model, tmp_path / "dest", force=True)
    assert contents(tmp_path / "dest") == {"a": b"1", "b": b"1"}


def test_two_pulls_at_once_share_the_work(
    live: RunningServer, client: Client, model: str, make_folder: MakeFolder, tmp_path: Path
) -> None:
    files = {f"w{number}": os.urandom(400_000) for number in range(4)}
    client.push(make_folder(files), f"{model}:1.0.0")
    downloaded: list[int] = []

    def one(number: int) -> None:
        with Client(live.url, live.token, cache_dir=tmp_path / "shared") as mine:
            downloaded.append(mine.pull(model, tmp_path / f"dest{number % 3}").downloaded_bytes)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(downloaded), sum(downloaded)) == (6, 1_600_000)
    for number in range(3):
        assert contents(tmp_path / f"dest{number}") == files


def test_a_pulled_folder_can_be_pushed_again(
    client: Client, model: str, make_folder: MakeFolder, tmp_path: Path
) -> None:
    client.push(make_folder({"a": b"1"}), f"{model}:1.0.0")
    client.pull(model, tmp_path / "dest")
    assert client.push(tmp_path / "dest", f"{model}:1.0.1").detail.artifacts.keys() == {"a"}


# --- verifying


def test_verify_names_what_is_missing_changed_and_extra(
    client: Client, model: str, make_folder: MakeFolder, tmp_path: Path
) -> None:
    folder = make_folder(FILES)
    client.push(folder, f"{model}:1.0.0")
    assert client.verify(folder, f"{model}:1.0.0").matches
    (folder / "config.json").write_bytes(b'{"architectures": ["Tino"]}')
    (folder / "empty.txt").unlink()
    (folder / "new.txt").write_bytes(b"n")
    (folder / "sub" / "copy.json").unlink()
    (folder / "sub" / "copy.json").symlink_to("/etc/passwd")
    result = client.verify(folder, f"{model}:^1")
    assert not result.matches
    assert (result.missing, result.extra) == (("empty.txt",), ("new.txt",))
    assert result.changed == ("config.json", "sub/copy.json")
    assert (result.name, result.version, result.files) == (model, "1.0.0", 5)


def test_verify_reads_the_bytes_and_believes_no_time_stamp(client: Client, model: str, make_folder: MakeFolder) -> None:
    data = os.urandom(2 << 20)
    folder = make_folder({"w.bin": data})
    client.push(folder, f"{model}:1.0.0")
    (folder / "w.bin").write_bytes(data[::-1])
    [found] = walk(folder)
    memory = HashMemory(cache_path() / "hashes.sqlite")
    memory.remember(found.source, found.marks, hashlib.sha256(data).hexdigest())
    memory.close()
    assert client.verify(folder, f"{model}:1.0.0").changed == ("w.bin",)


def test_verify_without_a_reference_needs_a_pulled_folder(
    client: Client, live: RunningServer, model: str, make_folder: MakeFolder, tmp_path: Path
) -> None:
    folder = make_folder({"a": b"1"})
    with pytest.raises(InvalidInput, match="steelyard verify"):
        client.verify(folder)
    client.push(folder, f"{model}:1.0.0")
    client.push(make_folder({"a": b"2"}), f"{model}:2.0.0")
    client.pull(f"{model}:1.0.0", tmp_path / "dest")
    assert client.verify(tmp_path / "dest").version == "1.0.0"
    elsewhere = Client(live.url.replace("127.0.0.1", "localhost"), live.token)
    with pytest.raises(InvalidInput, match="--url"):
        elsewhere.verify(tmp_path / "dest")
