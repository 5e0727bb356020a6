"""Files into a folder: whole, never through a link, never over somebody's own work."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from steelyard.client import placing
from steelyard.client.errors import TransferError, UnsafePath, WouldOverwrite
from steelyard.client.hashing import HashMemory
from steelyard.client.parallel import Stop
from steelyard.client.paths import TEMPORARY_PREFIX
from steelyard.client.placing import Destination, Manifest


def oid(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


Files = Mapping[str, bytes]


def version(number: str, files: Files, name: str = "acme/tiny") -> Manifest:
    return Manifest("http://r", name, number, {path: oid(data) for path, data in files.items()})


class Pulled:
    """A folder and a way to pull into it without a registry."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "dest"
        self.source = root / "source"
        self.source.mkdir()
        self.place = Destination(self.folder, HashMemory(None), Stop())

    def pull(self, number: str, files: Files, *, name: str = "acme/tiny", force: bool = False) -> None:
        wanted = version(number, files, name)
        plan = self.place.plan(wanted, force=force)
        contents = {oid(data): data for data in files.values()}
        for path in plan.remove:
            self.place.remove(path)
        for path in plan.write:
            source = self.source / wanted.artifacts[path][7:]
            source.write_bytes(contents[wanted.artifacts[path]])
            self.place.place(path, source, hardlink=False)
        self.folder.mkdir(exist_ok=True)
        wanted.write(self.folder)

    def contents(self) -> dict[str, bytes]:
        found = {str(path.relative_to(self.folder)): path for path in self.folder.rglob("*") if path.is_file()}
        return {name: path.read_bytes() for name, path in found.items() if name != ".steelyard.json"}


@pytest.fixture
def pulled(tmp_path: Path) -> Pulled:
    return Pulled(tmp_path)


def test_the_next_version_replaces_and_removes_what_the_last_one_put_there(pulled: Pulled) -> None:
    pulled.pull("1.0.0", {"a": b"1", "sub/b": b"2", "c": b"3"})
    (pulled.folder / "mine.txt").write_text("mine")
    pulled.pull("2.0.0", {"a": b"new", "c": b"3"})
    assert pulled.contents() == {"a": b"new", "c": b"3", "mine.txt": b"mine"}
    assert not (pulled.folder / "sub").exists()
    found = Manifest.find(pulled.folder)
    assert found is not None and found.version == "2.0.0"


def test_a_file_may_become_a_folder_and_back(pulled: Pulled) -> None:
    pulled.pull("1.0.0", {"a": b"1"})
    pulled.pull("2.0.0", {"a/b": b"2"})
    pulled.pull("3.0.0", {"a": b"3"})
    assert pulled.contents() == {"a": b"3"}


@pytest.mark.parametrize("edit", ["own", "edited"])
def test_a_file_somebody_wrote_is_not_replaced_unless_forced(pulled: Pulled, edit: str) -> None:
    if edit == "edited":
        pulled.pull("1.0.0", {"a": b"1", "b": b"1"})
    pulled.folder.mkdir(exist_ok=True)
    (pulled.folder / "a").write_bytes(b"mine")
    with pytest.raises(WouldOverwrite, match=r"\n  a") as caught:
        pulled.pull("2.0.0", {"a": b"2", "b": b"2"})
    assert caught.value.paths == ("a",)
    assert (pulled.folder / "a").read_bytes() == b"mine"
    pulled.pull("2.0.0", {"a": b"2", "b": b"2"}, force=True)
    assert pulled.contents() == {"a": b"2", "b": b"2"}


def test_an_edited_file_that_is_no_longer_in_the_version_stays(pulled: Pulled) -> None:
    pulled.pull("1.0.0", {"a": b"1", "b": b"1"})
    (pulled.folder / "b").write_bytes(b"mine")
    pulled.pull("2.0.0", {"a": b"2"})
    assert pulled.contents() == {"a": b"2", "b": b"mine"}


def test_a_folder_of_another_model_is_not_taken(pulled: Pulled) -> None:
    pulled.pull("1.0.0", {"a": b"1"})
    with pytest.raises(WouldOverwrite, match=r"acme/tiny:1\.0\.0"):
        pulled.pull("1.0.0", {"b": b"2"}, name="acme/other")


def test_the_right_file_is_left_alone(pulled: Pulled) -> None:
    pulled.folder.mkdir()
    (pulled.folder / "a").write_bytes(b"1")
    inode = (pulled.folder / "a").stat().st_ino
    pulled.pull("1.0.0", {"a": b"1"})
    assert (pulled.folder / "a").stat().st_ino == inode


def test_nothing_is_written_through_a_link(pulled: Pulled, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    pulled.folder.mkdir()
    (pulled.folder / "sub").symlink_to(outside)
    with pytest.raises(WouldOverwrite):
        pulled.pull("1.0.0", {"sub/a": b"1"})
    with pytest.raises(UnsafePath):
        pulled.pull("1.0.0", {"sub/a": b"1"}, force=True)
    assert list(outside.iterdir()) == []


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(pulled: Pulled, tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"victim")
    pulled.folder.mkdir()
    (pulled.folder / "a").symlink_to(tmp_path / "victim")
    with pytest.raises(WouldOverwrite):
        pulled.pull("1.0.0", {"a": b"1"})
    pulled.pull("1.0.0", {"a": b"1"}, force=True)
    assert (tmp_path / "victim").read_bytes() == b"victim"
    assert not (pulled.folder / "a").is_symlink()


def test_a_folder_in_the_place_of_a_file_is_never_replaced(pulled: Pulled) -> None:
    (pulled.folder / "a" / "deep").mkdir(parents=True)
    with pytest.raises(WouldOverwrite):
        pulled.pull("1.0.0", {"a": b"1"}, force=True)


def test_a_file_in_the_place_of_the_folder_stops_the_pull_early(pulled: Pulled) -> None:
    pulled.folder.write_text("a file")
    with pytest.raises(WouldOverwrite, match="not a folder"):
        pulled.pull("1.0.0", {"a": b"1"})


def test_a_folder_that_cannot_be_made_is_said_before_anything_is_fetched(
    pulled: Pulled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(TransferError, match="permission denied"):
        pulled.place.plan(version("1.0.0", {"a": b"1"}), force=False)


def test_a_manifest_that_lies_is_not_believed(pulled: Pulled, tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"victim")
    pulled.folder.mkdir()
    Manifest("http://r", "acme/tiny", "1.0.0", {"../victim": oid(b"victim")}).write(pulled.folder)
    assert Manifest.find(pulled.folder) is None
    pulled.pull("2.0.0", {"a": b"1"})
    assert (tmp_path / "victim").exists()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"registry":1,"name":2,"version":3,"artifacts":{}}', "[" * 99999, '{"artifacts": {"a": "b"}}'],
)
def test_a_damaged_manifest_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / ".steelyard.json").write_text(text)
    assert Manifest.find(tmp_path) is None


def test_a_manifest_that_is_a_link_is_not_read(tmp_path: Path) -> None:
    version("1.0.0", {"a": b"1"}).write(tmp_path)
    (tmp_path / ".steelyard.json").rename(tmp_path / "elsewhere")
    (tmp_path / ".steelyard.json").symlink_to("elsewhere")
    assert Manifest.find(tmp_path) is None


def test_half_written_files_of_a_killed_pull_are_swept(pulled: Pulled) -> None:
    (pulled.folder / "sub").mkdir(parents=True)
    (pulled.folder / "sub" / f"{TEMPORARY_PREFIX}dead").write_bytes(b"half")
    (pulled.folder / "sub" / "mine").write_bytes(b"mine")
    pulled.place.sweep(["sub/a"])
    assert [path.name for path in (pulled.folder / "sub").iterdir()] == ["mine"]


def test_a_copy_is_a_file_of_its_own_and_a_link_is_not(pulled: Pulled, tmp_path: Path) -> None:
    source = tmp_path / "blob"
    source.write_bytes(os.urandom(3_000_000))
    assert not pulled.place.place("copy", source, hardlink=False)
    assert pulled.place.place("link", source, hardlink=True)
    assert (pulled.folder / "copy").read_bytes() == source.read_bytes()
    assert (pulled.folder / "copy").stat().st_ino != source.stat().st_ino == (pulled.folder / "link").stat().st_ino


def test_a_full_disk_leaves_no_half_file(pulled: Pulled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "blob"
    source.write_bytes(b"x" * 1000)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "copy_file_range", full)
    with pytest.raises(TransferError, match="No space left"):
        pulled.place.place("a", source, hardlink=False)
    assert list(pulled.folder.iterdir()) == []


def test_a_copy_falls_back_where_the_kernel_cannot(
    pulled: Pulled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "blob"
    source.write_bytes(os.urandom(3_000_000))

    def cannot(*_: object) -> int:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "copy_file_range", cannot)
    pulled.place.place("a", source, hardlink=False)
    assert (pulled.folder / "a").read_bytes() == source.read_bytes()


def test_what_was_prepared_is_only_renamed(pulled: Pulled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "bytes"
    source.write_bytes(b"x" * 5000)
    pulled.place.prepare("sub/new", source)
    pulled.place.sweep(["sub/new"])  # takes what a killed pull left, not that
    monkeypatch.setattr(placing, "_copy", lambda *_: pytest.fail("copied"))
    assert not pulled.place.place("sub/new", source, hardlink=False)
    assert (pulled.folder / "sub/new").read_bytes() == source.read_bytes()
    assert (pulled.folder / "sub/new").stat().st_ino != source.stat().st_ino


def test_what_was_prepared_and_not_placed_goes(pulled: Pulled, tmp_path: Path) -> None:
    source = tmp_path / "bytes"
    source.write_bytes(b"x")
    pulled.pull("1.0.0", {"old": b"o"})
    before = sorted(pulled.folder.iterdir())
    pulled.place.prepare("new", source)
    assert len(list(pulled.folder.iterdir())) == len(before) + 1
    pulled.place.close()
    assert sorted(pulled.folder.iterdir()) == before
