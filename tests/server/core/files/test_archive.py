"""The tar of a version: the same bytes for ever, readable by every tar, and any slice of it without the rest."""

import dataclasses
import hashlib
import io
import itertools
import random
import re
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from steelyard.server.core.files import archive as archive_module
from steelyard.server.core.files.archive import Archive, ArchiveFile, FileSlice, plan_archive

GIB = 1024**3

# One of each: plain, empty, a block exactly, one more; a prefix, the longest prefix and name; what fits neither;
# names outside ASCII, composed and not, beyond the basic plane; and an order in which "." and "/" and case matter.
MIXED = {
    "config.json": b'{"a": 1}\n',
    "empty": b"",
    "block": b"b" * 512,
    "block-and-one": b"c" * 513,
    "n" * 100: b"longest name alone",
    "p" * 155 + "/" + "n" * 100: b"longest prefix and name",
    "d" * 80 + "/" + "f" * 80: b"a prefix",
    "n" * 101: b"name too long",
    "p" * 156 + "/short": b"prefix too long",
    "q/" + "n" * 101: b"no slash at a place that would help",
    "/".join(["deep"] * 200): b"one thousand bytes of path",
    "modèle/poids.bin": b"composed",
    "mode\u0300le/poids.bin": b"decomposed",
    "模型/🤗.safetensors": b"other planes",
    "a/b": b"slash",
    "a.b": b"dot",
    "a-b": b"dash",
    "A/b2": b"capital",
    "with space/and 'quotes'": b"kept as they are",
}
GOLDEN_SHA256 = "0bca7bba7519a2750c6a5ba2bce5b23052ab599d818fb613ebc07e1f70c64298"
GOLDEN_ETAG = '"fedbedff2669198d6099821b7f416c6b82920202aa50eca9e3929f8bba3a4784"'
GOLDEN_LARGE_HEADER_SHA256 = "2c541ff8bc445769c5f949ca331aa8740ca27ed65b57cb639822ba8634a2df0d"


def file_of(path: str, content: bytes) -> ArchiveFile:
    digest = hashlib.sha256(content).hexdigest()
    return ArchiveFile(path, len(content), f"sha256:{digest}", f"{digest}.00000000")


def plan(contents: dict[str, bytes]) -> Archive:
    return plan_archive([file_of(path, content) for path, content in contents.items()])


def bytes_of(archive: Archive, contents: dict[str, bytes], start: int = 0, end: int | None = None) -> bytes:
    segments = archive.segments(start, archive.size_bytes if end is None else end)
    return b"".join(
        segment
        if isinstance(segment, bytes)
        else contents[segment.file.path][segment.start : segment.start + segment.length]
        for segment in segments
    )


def test_the_bytes_are_these_for_ever() -> None:
    """A download begun by one release goes on with another: see the module's docstring before changing a number."""
    archive = plan(MIXED)
    assert hashlib.sha256(bytes_of(archive, MIXED)).hexdigest() == GOLDEN_SHA256
    assert archive.etag == GOLDEN_ETAG


def test_the_header_of_a_file_too_large_for_ustar_is_this_for_ever() -> None:
    archive = plan_archive([ArchiveFile("weights.bin", 8 * GIB, "sha256:" + "0" * 64, "")])
    header = next(archive.segments(0, 4096))
    assert isinstance(header, bytes)
    assert hashlib.sha256(header).hexdigest() == GOLDEN_LARGE_HEADER_SHA256


def test_python_reads_back_what_went_in() -> None:
    with tarfile.open(fileobj=io.BytesIO(bytes_of(plan(MIXED), MIXED)), mode="r:") as tar:
        members = tar.getmembers()
        contents = {member.name: tar.extractfile(member) for member in members}
        assert {name: file.read() for name, file in contents.items() if file} == MIXED
    assert [member.name for member in members] == sorted(MIXED, key=str.encode)
    assert {(m.mode, m.uid, m.gid, m.uname, m.gname, m.mtime, m.type) for m in members} == {
        (0o644, 0, 0, "", "", 0, tarfile.REGTYPE)
    }


def test_the_systems_tar_reads_back_what_went_in(tmp_path: Path) -> None:
    (tmp_path / "version.tar").write_bytes(bytes_of(plan(MIXED), MIXED))
    out = tmp_path / "out"
    out.mkdir()
    done = subprocess.run(
        ["tar", "-xf", tmp_path / "version.tar", "-C", out], check=True, capture_output=True, env={"LC_ALL": "C.UTF-8"}
    )
    assert done.stderr == b""
    assert {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()} == MIXED


def test_an_extended_header_comes_only_where_one_is_needed() -> None:
    content = bytes_of(plan(MIXED), MIXED)
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
        extended = {member.name: set(member.pax_headers) for member in tar if member.pax_headers}
    needed = [path for path in MIXED if not path.isascii() or path.startswith(("n" * 101, "p" * 156, "q/", "deep"))]
    assert extended == {path: {"path"} for path in needed}
    assert content.count(b"././@PaxHeader") == len(needed)


@pytest.mark.parametrize(("size_bytes", "extended"), [(8 * GIB - 1, False), (8 * GIB, True), (3 * 1024 * GIB, True)])
def test_a_size_that_does_not_fit_ustar_is_extended(size_bytes: int, extended: bool) -> None:
    archive = plan_archive([ArchiveFile("large.bin", size_bytes, "sha256:" + "0" * 64, "")])
    header = next(archive.segments(0, 4096))
    assert isinstance(header, bytes)
    assert len(header) == (3 * 512 if extended else 512)
    read_back = tarfile.TarFile(fileobj=io.BytesIO(header)).next()
    assert read_back is not None
    assert (read_back.name, read_back.size) == ("large.bin", size_bytes)
    assert archive.size_bytes == len(header) + -(-size_bytes // 512) * 512 + 1024


def test_a_large_file_with_a_long_path_has_both_records() -> None:
    path = "n" * 101
    archive = plan_archive([ArchiveFile(path, 9 * GIB, "sha256:" + "0" * 64, "")])
    header = next(archive.segments(0, 4096))
    assert isinstance(header, bytes)
    read_back = tarfile.TarFile(fileobj=io.BytesIO(header)).next()
    assert read_back is not None
    assert (read_back.name, read_back.size) == (path, 9 * GIB)


def test_it_ends_with_two_empty_blocks_and_no_more() -> None:
    contents = {"a": b"x"}
    assert plan(contents).size_bytes == 512 + 512 + 1024
    assert bytes_of(plan(contents), contents)[1024:] == bytes(1024)


def test_the_order_files_are_given_in_does_not_matter() -> None:
    shuffled = list(MIXED.items())
    random.Random(5).shuffle(shuffled)
    assert plan(dict(shuffled)) == plan(MIXED)


def test_files_come_in_the_order_of_their_utf8_paths() -> None:
    paths = ["\uffff", "\U00010000", "a/b", "a.b", "B", "é", "z"]
    assert [file.path for file in plan(dict.fromkeys(paths, b"")).files] == sorted(paths, key=str.encode)


def test_the_etag_tells_paths_sizes_and_contents_apart() -> None:
    base = [file_of("a", b"1"), file_of("b", b"2")]
    changes = [
        base,
        base[:1],
        [dataclasses.replace(base[0], path="c"), base[1]],
        [dataclasses.replace(base[0], oid=base[1].oid), base[1]],
        [dataclasses.replace(base[0], size_bytes=2), base[1]],
        [dataclasses.replace(base[0], path="b"), dataclasses.replace(base[1], path="a")],
    ]
    assert len({plan_archive(files).etag for files in changes}) == len(changes)


def test_where_the_store_has_the_bytes_does_not_change_the_etag() -> None:
    moved = [dataclasses.replace(file_of("a", b"1"), key="elsewhere")]
    assert plan_archive(moved).etag == plan_archive([file_of("a", b"1")]).etag


def test_the_etag_is_strong_and_quoted() -> None:
    assert re.fullmatch('"[0-9a-f]{64}"', plan(MIXED).etag)


paths = st.lists(st.text("aé/🤗", min_size=1, max_size=140), max_size=6, unique=True)
contents_of = paths.flatmap(
    lambda names: st.fixed_dictionaries({name: st.binary(max_size=1100) for name in names})  # any names will do here
)


@settings(max_examples=150, deadline=None)
@given(contents=contents_of, bounds=st.tuples(st.integers(0, 12_000), st.integers(0, 12_000)))
@example(contents=MIXED, bounds=(511, 30_000))
@example(contents={}, bounds=(0, 2000))
def test_any_slice_is_that_slice_of_the_whole(contents: dict[str, bytes], bounds: tuple[int, int]) -> None:
    archive, (start, end) = plan(contents), sorted(bounds)
    whole = bytes_of(archive, contents)
    assert len(whole) == archive.size_bytes
    assert bytes_of(archive, contents, start, end) == whole[start:end]


def test_every_boundary_of_a_mixed_archive_can_be_cut_at() -> None:
    archive = plan(MIXED)
    whole = bytes_of(archive, MIXED)
    edges = sorted({max(0, edge + by) for edge in range(0, archive.size_bytes + 1, 512) for by in (-1, 0, 1)})
    for start, end in itertools.pairwise(edges):
        assert bytes_of(archive, MIXED, start, end) == whole[start:end]


def test_no_segment_is_empty() -> None:
    archive = plan(MIXED)
    for segment in archive.segments(0, archive.size_bytes):
        assert segment if isinstance(segment, bytes) else segment.length > 0


def test_a_late_range_of_a_large_archive_makes_one_header(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [ArchiveFile(f"shards/{n:06}", 1000, f"sha256:{n:064x}", f"{n:064x}.00000000") for n in range(100_000)]
    archive = plan_archive(files)
    made = count_headers(monkeypatch)
    start = archive.offsets[99_990] + 512 + 10
    assert list(archive.segments(start, start + 20)) == [FileSlice(files[99_990], 10, 20)]
    assert made == [files[99_990]]


def count_headers(monkeypatch: pytest.MonkeyPatch) -> Sequence[ArchiveFile]:
    made: list[ArchiveFile] = []
    real = archive_module._headers

    def counting(file: ArchiveFile) -> bytes:
        made.append(file)
        return real(file)

    monkeypatch.setattr(archive_module, "_headers", counting)
    return made
