"""What may be sent and what may be written: the same rules as the server's, and stricter where it is this machine."""

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from steelyard.client.errors import UnsafePath
from steelyard.client.paths import check_writable, is_oid, path_fault, path_faults
from steelyard.client.references import is_version
from steelyard.server.names import ArtifactPath, InvalidName, Version, check_artifact_paths

pieces = st.sampled_from(
    [
        "a",
        "B",
        "..",
        ".",
        "",
        "con",
        "NUL.txt",
        "aux:x",
        "C:x",
        "x ",
        "y.",
        "model.bin",
        "é",
        "e\u0301",
        "İ",
        "\\",
        "\x00",
        "\x7f",
        "a" * 256,
    ]
)
odd_paths = st.one_of(st.text(max_size=40), st.lists(pieces, max_size=4).map("/".join))


@given(odd_paths)
@example("a/../b")
@example("/etc/passwd")
@example("com1")
@example("COM¹.txt")
@example("com0")
@example("con:x")
@example("CONİN$")
@example("a:b")
@example("folder/a:b")
@example("\ud800")
@example("x" * 1025)
def test_a_path_is_sent_exactly_when_the_server_takes_it(path: str) -> None:
    try:
        ArtifactPath.parse(path)
        taken = True
    except InvalidName:
        taken = False
    assert (path_fault(path) is None) == taken


@given(st.lists(odd_paths, max_size=6, unique=True))
@example(["a", "A"])
@example(["a/b", "A"])
@example(["é", "e\u0301"])
def test_a_set_of_paths_is_sent_exactly_when_the_server_takes_it(paths: list[str]) -> None:
    assert bool(path_faults(paths)) == bool(check_artifact_paths(paths))


@given(odd_paths)
def test_a_path_that_may_be_written_stays_in_the_folder(path: str) -> None:
    try:
        check_writable([path])
    except UnsafePath:
        return
    joined = PurePosixPath("/safe", *path.split("/"))
    assert joined.parts[:2] == ("/", "safe") and ".." not in joined.parts and len(joined.parts) > 2
    assert Path("/safe").joinpath(*path.split("/")).is_relative_to("/safe")


@pytest.mark.parametrize(
    "path",
    ["../x", "/x", "a//b", "a\\b", "C:\\x", "nul", "a/.git/config", ".GIT/config", "git~1/x", ".hg/hgrc",
     ".steelyard.json", "a/.steelyard-tmp-1", "x\x1b[2J", ".git./config", ".git /config"],
)  # fmt: skip
def test_nothing_hostile_is_written(path: str) -> None:
    with pytest.raises(UnsafePath):
        check_writable([path])


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(UnsafePath, match=r"(?s)'\.\./x'.*'nul'"):
        check_writable(["../x", "nul", "fine"])


@given(st.text(alphabet="0123456789abcdefABCDEF:sh", max_size=80))
@example("sha256:" + "0" * 64)
@example("sha256:" + "0" * 64 + "\n")
@example("sha256:" + "A" * 64)
def test_an_oid_is_sixty_four_lower_case_digits(text: str) -> None:
    hexdigits = text.removeprefix("sha256:")
    expected = text.startswith("sha256:") and len(hexdigits) == 64 and set(hexdigits) <= set("0123456789abcdef")
    assert is_oid(text) == expected


parts = st.sampled_from(["1", "0", "10", "01", "a", "-", "x-y", "rc", "1a", "", "٣", "+", "."])


@given(st.one_of(st.text(max_size=20), st.lists(parts, min_size=3, max_size=6).map(".".join), st.from_regex(
    r"(0|[1-9]\d{0,3})(\.(0|[1-9]\d{0,3})){2}(-[0-9a-z.-]{1,9})?(\+[0-9a-z.-]{1,9})?", fullmatch=True)))  # fmt: skip
@example("1.0.0-image")
@example("1.0.0\n")
@example("1.0.0-rc.1+build.5")
@example("9" * 118 + ".0.0")
def test_a_version_is_one_exactly_when_the_server_takes_it(text: str) -> None:
    try:
        Version.parse(text)
        taken = True
    except InvalidName:
        taken = False
    assert is_version(text) == taken
