"""Tars from anybody: what is in good ones, however they were packed, and why bad ones are refused."""

import bz2
import gzip
import io
import sys
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.server.core.jobs import Stopped
from steelyard.server.core.manifests import tars
from steelyard.server.core.manifests.tars import read_members
from steelyard.server.errors import Invalid

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FILES = {"a.bin": b"a" * 600, "folder/b.bin": b"", "folder/" + "long" * 60 + "/é.json": b"{}", "x" * 250: bytes(70_000)}
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "gzip-in-members": lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:]),
    "zstd": zstd.compress,
    "zstd-in-frames": lambda data: zstd.compress(data[:700]) + zstd.compress(data[700:]),
}


class Bytes:
    """Bytes as a store gives them."""

    path: Path | None = None

    def __init__(self, data: bytes) -> None:
        self.data, self.size_bytes = data, len(data)

    def read(self, start: int, length: int) -> bytes:
        return self.data[start : start + length]

    def read_now(self, start: int, length: int) -> bytes | None:
        return self.read(start, length)

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def read(data: bytes) -> dict[str, bytes]:
    return {member.path: b"".join(member.pieces) for member in read_members(Bytes(data))}


def info(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.size, made.linkname = kind, size, link
    return made


def tar(*members: tarfile.TarInfo, form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of these, each with as many zeros as its header says."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as out:
        for member in members:
            out.addfile(member, io.BytesIO(bytes(member.size)) if member.isreg() else None)
    return packed.getvalue()


def tar_of(files: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as out:
        out.addfile(info("./", tarfile.DIRTYPE))
        out.addfile(info("folder/", tarfile.DIRTYPE))
        for path, data in files.items():
            out.addfile(info("./" + path, size=len(data)), io.BytesIO(data))
    return packed.getvalue()


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT], ids=["pax", "gnu"])
@pytest.mark.parametrize("packed", PACKED)
def test_the_files_of_a_tar(packed: str, form: int) -> None:
    assert read(PACKED[packed](tar_of(FILES, form))) == FILES


def test_what_nobody_reads_is_passed_by() -> None:
    assert [member.path for member in read_members(Bytes(tar_of(FILES)))] == list(FILES)


def test_an_empty_tar_has_no_files() -> None:
    assert read(tar()) == read(b"") == {}


def test_a_tar_may_end_without_saying_so() -> None:
    whole = tar(info("a", size=3), form=tarfile.USTAR_FORMAT)
    assert read(whole[:1024]) == {"a": bytes(3)}


def pax(**headers: str) -> bytes:
    member = info("a", size=3)
    member.pax_headers = {key.replace("_", "."): value for key, value in headers.items()}
    return tar(member)


def global_pax(**headers: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT, pax_headers=headers) as out:
        out.addfile(info("a"))
    return packed.getvalue()


def broken_pax(record: bytes) -> bytes:
    header = info("h", tarfile.XHDTYPE, size=len(record)).tobuf(tarfile.USTAR_FORMAT)
    return header + record.ljust(512, b"\0") + tar(info("a"))


def long_name(size: int) -> bytes:
    return info("././@LongLink", tarfile.GNUTYPE_LONGNAME, size=size).tobuf(tarfile.GNU_FORMAT) + bytes(2**20)


BAD = {
    "symbolic-link": (tar(info("a", tarfile.SYMTYPE, link="/etc/passwd")), "'a' is a symbolic link"),
    "hard-link": (tar(info("a"), info("b", tarfile.LNKTYPE, link="a")), "'b' is a hard link"),
    "device": (tar(info("a", tarfile.CHRTYPE)), "a device"),
    "disk": (tar(info("a", tarfile.BLKTYPE)), "a device"),
    "pipe": (tar(info("a", tarfile.FIFOTYPE)), "a pipe"),
    "unknown": (tar(info("a", b"Z")), "of an unknown kind"),
    "sparse": (pax(GNU_sparse_major="1"), "sparse"),
    "no-tar": (b"x" * 5_000, "one of its headers is broken"),
    "short": (b"x" * 100, "one of its headers is broken"),
    "wrong-checksum": (b"b" + tar(info("a"))[1:], "one of its headers is broken"),
    "cut-off": (tar(info("a", size=5_000))[:3_000], "cut off"),
    "cut-off-gzip": (gzip.compress(tar_of(FILES))[:-200], "broken or cut off"),
    "broken-gzip": (b"\x1f\x8b" + b"x" * 500, "broken or cut off"),
    "broken-zstd": (b"\x28\xb5\x2f\xfd" + b"x" * 500, "broken or cut off"),
    "cut-off-zstd": (zstd.compress(tar_of(FILES))[:-200], "broken or cut off"),
    "bzip2": (bz2.compress(tar_of(FILES) * 20), "one of its headers is broken"),
    "global-path": (global_pax(path="b"), "of all files at once"),
    "long-header": (pax(comment="x" * 100_000), "longer than any path needs"),
    "endless-name": (long_name(2**33 - 1), "longer than any path needs"),
    "many-headers": (
        b"".join(info("h", tarfile.XHDTYPE, size=0).tobuf(tarfile.USTAR_FORMAT) for _ in range(100)) + tar(info("a")),
        "longer than any path needs",
    ),
    "header-without-member": (broken_pax(b"12 path=abc\n")[:1024], "cut off"),
    "record-without-length": (broken_pax(b"x path=abc\n"), "extended header of it is broken"),
    "record-too-long": (broken_pax(b"99 path=abc\n"), "extended header of it is broken"),
    "record-of-nothing": (broken_pax(b"0 path=abc\n"), "extended header of it is broken"),
    "size-of-no-number": (broken_pax(b"10 size=x\n"), "extended header of it is broken"),
    "folder-with-bytes": (info("a/", tarfile.DIRTYPE, size=5).tobuf() + bytes(1024), "bytes of its own"),
    "bomb": (zstd.compress(tar(info("a", size=2**28)), 1), "times as large"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tars_are_refused_with_the_reason(name: str) -> None:
    data, words = BAD[name]
    with pytest.raises(Invalid, match=words):
        read(data)


def test_memory_does_not_grow_with_what_is_in_it() -> None:
    data = gzip.compress(tar(info("a", size=2**26)), 1)
    tracemalloc.start()
    try:
        for member in read_members(Bytes(data)):
            assert sum(map(len, member.pieces)) == 2**26
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


@given(data=st.binary(max_size=3_000), start=st.sampled_from([b"", b"\x1f\x8b\x08\x00", b"\x28\xb5\x2f\xfd"]))
def test_any_bytes_are_read_or_refused(data: bytes, start: bytes) -> None:
    try:
        read(start + data)
    except Invalid as error:
        assert error.detail


@given(at=st.integers(0, 4_000), byte=st.integers(0, 255), cut=st.integers(0, 5_000))
def test_a_tar_with_one_wrong_byte_is_read_or_refused(at: int, byte: int, cut: int) -> None:
    data = bytearray(tar(info("a" * 300, size=10), info("b", size=600), form=tarfile.GNU_FORMAT))
    data[at % len(data)] = byte
    try:
        read(bytes(data[: cut or None]))
    except Invalid as error:
        assert error.detail


def test_a_path_that_is_no_unicode_comes_as_it_is_for_who_checks_it() -> None:
    named = tar(info("a\udcff"), form=tarfile.GNU_FORMAT)
    [path] = read(named)
    assert path == "a\udcff"


def test_the_bound_on_what_bytes_become_is_above_what_gzip_can_do() -> None:
    zeros = gzip.compress(tar(info("a", size=2**27)), 9)
    assert len(zeros) * tars._MOST_TIMES + tars._ALWAYS_BYTES > 2**27
    assert read(zeros)["a"].count(0) == 2**27


# --- what is made to keep a reader busy


def folders(count: int, before: bytes = b"") -> bytes:
    """Headers without one file, in few bytes."""
    return zstd.compress((before + info("d/", tarfile.DIRTYPE).tobuf(tarfile.USTAR_FORMAT)) * count, 1)


def test_folders_are_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tars, "_MOST_MEMBERS", 1_000)
    assert read(folders(1_000)) == {}
    with pytest.raises(Invalid, match="more than 1000 files and folders"):
        read(folders(1_001))


def test_layers_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tars, "_MOST_MEMBERS", 1_000)
    watch = tars.Watch()
    assert list(read_members(tars.Watched(Bytes(folders(600)), watch))) == []
    with pytest.raises(Invalid, match="more than 1000 files and folders"):
        list(read_members(tars.Watched(Bytes(folders(600)), watch)))


def test_what_is_no_files_content_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tars, "_MOST_HEADER_BYTES_IN_ALL", 2**20)
    name = b"d" * 60_000
    long = info("././@LongLink", tarfile.GNUTYPE_LONGNAME, size=len(name)).tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(Invalid, match="longer than any path needs"):
        read(folders(20, long + name.ljust(-(-len(name) // 512) * 512, b"\0")))


def test_an_extended_header_has_few_records() -> None:
    records = b"5 a=\n"
    for count, are_many in ((100, False), (101, True), (13_000, True)):
        body = records * count
        header = info("h", tarfile.XHDTYPE, size=len(body)).tobuf(tarfile.USTAR_FORMAT)
        packed = header + body.ljust(-(-len(body) // 512) * 512, b"\0") + tar(info("a"))
        if are_many:
            with pytest.raises(Invalid, match="more than 100 records"):
                read(packed)
        else:
            assert read(packed) == {"a": b""}


def test_reading_headers_without_files_can_be_stopped() -> None:
    asked = 0

    def is_stopping() -> bool:
        nonlocal asked
        asked += 1
        return asked > 10

    with pytest.raises(Stopped):
        list(read_members(tars.Watched(Bytes(folders(10_000)), tars.Watch(is_stopping))))
    assert asked == 11
