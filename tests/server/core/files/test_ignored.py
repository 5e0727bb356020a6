"""What a `.gitignore` leaves out: what Git would, and nothing that takes long."""

import subprocess
import time
from collections.abc import Collection
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steelyard.server.core.files.ignored import MOST_IGNORE_BYTES, Ignored
from steelyard.server.errors import Invalid


def left_out(text: str, paths: Collection[str]) -> set[str]:
    ignored = Ignored(text)
    return {path for path in paths if ignored.has(path)}


@pytest.fixture(scope="module")
def git(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty repository of Git's."""
    folder = tmp_path_factory.mktemp("git")
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    return folder


def asked(git: Path, text: str, paths: Collection[str]) -> set[str]:
    """What Git itself leaves out of these."""
    (git / ".gitignore").write_bytes(text.encode())
    command = ["git", "-C", str(git), "check-ignore", "--no-index", "--stdin", "-z"]
    done = subprocess.run(command, input="\0".join(paths).encode(), capture_output=True, check=False)
    return set(done.stdout.decode().split("\0")) - {""}


PATHS = [
    "a.bin",
    "b/a.bin",
    "b/c/a.bin",
    "build/x",
    "b/build/x",
    "notes.txt",
    "#x",
    "!x",
    "a b ",
    "x.log",
    "b/keep.log",
]


@pytest.mark.parametrize(
    ("text", "ignored"),
    [
        ("", []),
        ("# *.bin\n\n   \n", []),
        ("*.bin", ["a.bin", "b/a.bin", "b/c/a.bin"]),
        ("/*.bin", ["a.bin"]),
        ("b/*.bin", ["b/a.bin"]),
        ("b/**/a.bin", ["b/a.bin", "b/c/a.bin"]),
        ("**/c", ["b/c/a.bin"]),
        ("build/", ["build/x", "b/build/x"]),
        ("/build", ["build/x"]),
        ("notes.txt/", []),
        ("b/**", ["b/a.bin", "b/c/a.bin", "b/build/x", "b/keep.log"]),
        ("*.log\n!keep.log", ["x.log"]),
        ("b/\n!b/keep.log", ["b/a.bin", "b/c/a.bin", "b/build/x", "b/keep.log"]),
        ("\\#x\n\\!x\na b\\ \n", ["#x", "!x", "a b "]),
        ("\ufeff*.txt   \r\n[ax].[!b]*\r\n", ["notes.txt", "x.log"]),
        ("[^a].log", ["x.log"]),
        ("?.bin\\", []),
    ],
)
def test_each_rule_of_git_is_followed(git: Path, text: str, ignored: list[str]) -> None:
    assert left_out(text, PATHS) == set(ignored) == asked(git, text, PATHS)


CHARACTERS = ["a", "b", "c", "-", "!", "^", "[", "]", "\\", "*", "a]", "*]", "a["]


@pytest.mark.parametrize(
    ("text", "ignored"),
    [
        ("[a\\-c]", ["a", "-", "c"]),
        ("[a-\\c]", ["a", "b", "c"]),
        ("[c-a]", ["c"]),
        ("[a\\*]", ["a", "*"]),
        ("[\\!a]", ["a", "!"]),
        ("[\\^\\]\\\\]", ["^", "]", "\\"]),
        ("[]-]", ["]", "-"]),
        ("[^]\\-a-c]", ["!", "^", "[", "\\", "*"]),
        ("a[", []),
        ("[!]", []),
        ("a\\[", ["a["]),
    ],
)
def test_a_class_of_characters_is_read_as_git_reads_it(git: Path, text: str, ignored: list[str]) -> None:
    assert left_out(text, CHARACTERS) == set(ignored) == asked(git, text, CHARACTERS)


_part = st.lists(
    st.sampled_from(
        ["a", "b", "ab", "*", "?", "[ab]", "[!a]", "[^b]", "[a\\-c]", "[", "\\*", "\\a", ".", " ", "#", "!"]
    ),
    min_size=1,
    max_size=3,
).map("".join)
_pattern = st.builds(
    lambda sign, root, parts, folder: sign + root + "/".join(parts) + folder,
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "", "/", "**/"]),
    st.lists(_part | st.just("**"), min_size=1, max_size=3),
    st.sampled_from(["", "", "/", "/**"]),
)
_names = st.sampled_from(["a", "b", "-", "ab", "a.b", "*", "#a", "!a", "a b", "." * 3 + "a"])
_paths = st.lists(st.lists(_names, min_size=1, max_size=4).map("/".join), min_size=1, max_size=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(patterns=st.lists(_pattern, min_size=1, max_size=4), paths=_paths)
def test_whatever_the_patterns_are_git_says_the_same(git: Path, patterns: list[str], paths: list[str]) -> None:
    text = "\n".join(patterns)
    assert left_out(text, paths) == asked(git, text, paths)


@given(text=st.text() | st.lists(_pattern | st.text(max_size=5)).map("\n".join), path=st.text())
def test_whatever_it_is_it_is_followed_or_refused(text: str, path: str) -> None:
    try:
        assert Ignored(text).has(path) in (True, False)
    except Invalid as error:
        assert "cannot be followed" in error.detail


NAME = "a" * 255
HOSTILE = {
    "stars": ["a*" * 99 + "b"] * 300,
    "stars and questions": ["*" + "?" * 198 + "b"] * 300,
    "classes": ["*" + "[a-z]" * 39 + "b"] * 300,
    "folders": ["a/**/" * 39 + "b"] * 300,
    "very many": [f"*.x{number}" for number in range(1_000)],
}


@pytest.mark.parametrize("patterns", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("path", [NAME, "a/" * 511 + "a", "/".join([NAME] * 4)], ids=["long", "deep", "both"])
def test_hostile_patterns_take_no_time(patterns: list[str], path: str) -> None:
    began = time.monotonic()
    ignored = Ignored("\n".join(patterns))
    try:
        for number in range(1_000):
            ignored.has(f"{number}{path}"[:1_024])
    except Invalid as error:
        assert "take too long" in error.detail
    assert time.monotonic() - began < 5  # one, on a machine that does nothing else


def test_a_thousand_patterns_of_people_take_little(git: Path) -> None:
    patterns = [f"*.x{number}" for number in range(999)] + ["*.bin"]
    paths = [f"model/file{number}.bin" for number in range(256)]
    assert left_out("\n".join(patterns), paths) == set(paths)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a\n" * MOST_IGNORE_BYTES, "more than 65536 characters"),
        ("a\n" * 1_001, "more than 1000 patterns"),
        ("a" * 201, "more than 200 characters"),
    ],
)
def test_what_is_longer_than_anybodys_is_refused(text: str, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        Ignored(text)


def test_a_long_comment_is_nobodys_pattern() -> None:
    assert left_out("# " + "x" * 5_000 + "\n*.bin", PATHS) == {"a.bin", "b/a.bin", "b/c/a.bin"}


def test_a_path_that_is_none_is_not_looked_at() -> None:
    assert not Ignored("*").has("a/" * 500_000)
