"""Names: what section 1 of the contract allows parses, all else is refused with InvalidName and nothing worse.

`data/npm_ranges.json` is what npm's own `semver` package (7.8.6, loose and includePrerelease off) says about ranges of
our grammar: for each range a string with `1` for every version of `versions` that `new Range(range).test(version)`
lets pass and `.` for the others, and the texts for which `validRange` is null. Commas were handed to npm as spaces.
The ranges are every operator before every kind of whole and partial version, and sets, hyphen ranges and alternatives
written by hand.
"""

import json
import string
import time
import unicodedata
from collections.abc import Callable
from functools import cmp_to_key
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from steelyard.server.names import (
    Alias,
    ArtifactPath,
    InvalidName,
    ModelName,
    Oid,
    OrgSlug,
    RefName,
    Version,
    VersionRange,
    check_artifact_paths,
    is_range,
)

NPM: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "npm_ranges.json").read_text(encoding="utf-8"))
EVERY_PARSE: list[Callable[[str], object]] = [
    OrgSlug.parse,
    ModelName.parse,
    Version.parse,
    VersionRange.parse,
    Alias.parse,
    ArtifactPath.parse,
    Oid.parse,
    RefName.parse,
]


def words(text: str) -> list[str]:
    return text.split()


# Texts that are made from the grammars

lower_groups = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8)
letter_groups = st.text(string.ascii_letters + string.digits, min_size=1, max_size=8)
numbers = st.one_of(st.integers(0, 12), st.integers(0, 10**30)).map(str)
identifier_texts = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=5)
prerelease_identifiers = st.one_of(
    st.sampled_from(["0", "1", "2", "10", "99999999999999999999", "alpha", "alpha-", "beta", "-", "1a", "A"]),
    identifier_texts.filter(lambda text: not text.isdigit() or text == "0" or text[0] != "0"),
)


def dotted(identifiers: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(identifiers, min_size=1, max_size=4).map(".".join)


def alternate(groups: list[str], joints: list[str]) -> str:
    return groups[0] + "".join(joint + group for joint, group in zip(joints, groups[1:], strict=True))


@st.composite
def version_texts(draw: st.DrawFn) -> str:
    text = f"{draw(numbers)}.{draw(numbers)}.{draw(numbers)}"
    if draw(st.booleans()):
        text += "-" + draw(dotted(prerelease_identifiers))
    if draw(st.booleans()):
        text += "+" + draw(dotted(identifier_texts))
    assume(len(text) <= 120 and not text.endswith("-image"))
    return text


@st.composite
def partial_texts(draw: st.DrawFn) -> str:
    parts = draw(st.lists(numbers, max_size=2)) + draw(st.lists(st.sampled_from("xX*"), min_size=1, max_size=3))
    return ".".join(parts[: draw(st.integers(1, 3))])


@st.composite
def simple_texts(draw: st.DrawFn) -> str:
    sign = draw(st.sampled_from(["", "=", "<", "<=", ">", ">=", "^", "~"]))
    space = " " if sign and draw(st.booleans()) else ""
    return sign + space + draw(partial_texts() | version_texts())


@st.composite
def range_texts(draw: st.DrawFn) -> str:
    bounds = partial_texts() | version_texts()
    hyphens = st.tuples(bounds, bounds).map(" - ".join)
    sets = st.lists(simple_texts(), min_size=1, max_size=3).map(draw(st.sampled_from([" ", ",", ", "])).join)
    text = draw(st.sampled_from(["||", " || "])).join(draw(st.lists(sets | hyphens, min_size=1, max_size=3)))
    assume(len(text) <= 128)
    return text


@st.composite
def mutated(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> str:
    text = draw(texts)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(text)))
        text = text[:place] + draw(st.sampled_from(HOSTILE)) + text[place + draw(st.integers(0, 2)) :]
    return text


HOSTILE = ["", "\0", "\n", " ", "\ud800", *words(". .. - _ + / \\ x v 0 ٣ \uff11 é || >= <")]
anything = st.text(st.characters(), max_size=200) | st.text(string.printable, max_size=60)
near_misses = mutated(
    version_texts() | range_texts() | dotted(letter_groups) | st.just("sha256:" + "a" * 64) | st.just("a/b.c/d")
)


@given(st.sampled_from(EVERY_PARSE), anything | near_misses)
@example(Version.parse, "9" * 10_000)
@example(VersionRange.parse, "^" + "9" * 10_000)
def test_no_text_raises_anything_but_invalid_name(parse: Callable[[str], object], text: str) -> None:
    try:
        name = parse(text)
    except InvalidName as refusal:
        assert str(refusal).isprintable()
    else:
        assert str(name) == text


@given(anything | near_misses)
def test_is_range_answers_for_any_text(text: str) -> None:
    assert is_range(text) in (True, False)


@pytest.mark.parametrize("parse", EVERY_PARSE)
@pytest.mark.parametrize(
    "text", ["a" * 200_000, "1." * 200_000, "a-" * 200_000, " " * 200_000, "0" * 200_000, "a/" * 999]
)
def test_long_texts_are_refused_at_once(parse: Callable[[str], object], text: str) -> None:
    start = time.perf_counter()
    with pytest.raises(InvalidName) as refusal:
        parse(text)
    assert time.perf_counter() - start < 0.5
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (OrgSlug.parse, "acme"),
        (ModelName.parse, "tiny"),
        (Version.parse, "1.2.3"),
        (VersionRange.parse, "^1.2"),
        (Alias.parse, "production"),
        (ArtifactPath.parse, "a/b"),
        (Oid.parse, "sha256:" + "0" * 64),
    ],
)
@pytest.mark.parametrize("ending", ["\n", "\0", "\r", "\x85", "\ud800"])
def test_a_line_end_or_control_character_at_the_end_is_not_overlooked(
    parse: Callable[[str], object], text: str, ending: str
) -> None:
    assert str(parse(text)) == text
    with pytest.raises(InvalidName):
        parse(text + ending)


# Organisations, models, OIDs


@given(st.lists(lower_groups, min_size=1, max_size=7).map("-".join))
def test_lower_case_groups_joined_by_hyphens_are_a_slug(text: str) -> None:
    assume(text not in RESERVED_SLUGS and len(text) <= 64)
    assert OrgSlug.parse(text) == text


@pytest.mark.parametrize(
    "text", ["", "-", "-acme", "acme-", "ac--me", "Acme", "ac_me", "ac.me", "ac me", "akmé", "٣", "a/b", "a" * 65]
)
def test_other_texts_are_no_slug(text: str) -> None:
    with pytest.raises(InvalidName, match="is not an organisation slug: use groups of a-z and 0-9"):
        OrgSlug.parse(text)


RESERVED_SLUGS = words(
    "org orgs user users auth oauth api v1 v2 token cas health ready config login logout static docs admin metrics"
    " settings datasets spaces models kernels collections"
)


@pytest.mark.parametrize("text", RESERVED_SLUGS)
def test_reserved_slugs_are_refused(text: str) -> None:
    with pytest.raises(InvalidName, match="reserved"):
        OrgSlug.parse(text)


def test_a_slug_may_have_64_characters() -> None:
    assert OrgSlug.parse("a" * 64) == "a" * 64


@given(st.data())
def test_groups_joined_by_one_separator_are_a_model_name(data: st.DataObject) -> None:
    groups = data.draw(st.lists(letter_groups, min_size=1, max_size=8))
    joints = st.lists(st.sampled_from([".", "-", "_", "__"]), min_size=len(groups) - 1, max_size=len(groups) - 1)
    text = alternate(groups, data.draw(joints))
    assume(len(text) <= 96 and not text.lower().endswith(".git") and text.lower() not in ("facets", "activity"))
    name = ModelName.parse(text)
    assert name == text
    assert name.key == text.lower()


@pytest.mark.parametrize(
    "text",
    ["", ".", "a.", ".a", "-a", "a-", "_a", "a_", "a..b", "a--b", "a___b", "a._b", "a-_b", "a b", "a/b", "é", "a" * 97],
)
def test_other_texts_are_no_model_name(text: str) -> None:
    with pytest.raises(InvalidName, match="is not a model name: use groups of letters"):
        ModelName.parse(text)


@pytest.mark.parametrize("text", ["tiny.git", "tiny.GIT", "facets", "Facets", "activity", "ACTIVITY"])
def test_reserved_model_names_are_refused_in_any_case(text: str) -> None:
    with pytest.raises(InvalidName):
        ModelName.parse(text)


@pytest.mark.parametrize("text", ["git", "tiny-git", "tiny.gitx", "facets2", "latest", "Llama-3.1_8B__it", "a" * 96])
def test_model_names_that_only_look_reserved_are_fine(text: str) -> None:
    assert ModelName.parse(text) == text


def test_an_oid_knows_its_hex() -> None:
    assert Oid.parse("sha256:" + "0123456789abcdef" * 4).hex == "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "text", ["", "a" * 64, "sha256:" + "A" * 64, "sha256:" + "a" * 63, "sha256:" + "a" * 65, "md5:" + "a" * 64]
)
def test_other_texts_are_no_oid(text: str) -> None:
    with pytest.raises(InvalidName, match="64 lower-case hex digits"):
        Oid.parse(text)


# Versions


@given(version_texts())
def test_a_version_prints_as_it_was_written(text: str) -> None:
    assert str(Version.parse(text)) == text


def test_a_version_has_its_parts() -> None:
    version = Version.parse("1.22.333-rc.1.x-y+cu12.007")
    assert version.release == (version.major, version.minor, version.patch) == (1, 22, 333)
    assert version.prerelease == ("rc", "1", "x-y")
    assert version.build == ("cu12", "007")
    assert version.is_prerelease
    assert not Version.parse("1.0.0+rc-1").is_prerelease


@pytest.mark.parametrize(
    "text",
    words(
        "1 1.2 1.2.3.4 v1.2.3 V1.2.3 =1.2.3 01.2.3 1.02.3 1.2.03 -1.2.3 1.2.x 1.2.3-é 1.2.٣ 1.2.1٣ 1.2.3-1٣ \uff11.2.3"
    )
    + words("1.2.3- 1.2.3-a..b 1.2.3-.a 1.2.3-01 1.2.3-a.00 1.2.3+ 1.2.3+a..b 1.2.3+a+b 1.2.3-a_b")
    + words("1.2.3-image 1.2.3+x-image 1.2.3-rc-image")
    + ["", " 1.2.3", "1.2.3 ", "1.2.3\n", "1.2.3-" + "a" * 115],
)
def test_other_texts_are_no_version(text: str) -> None:
    with pytest.raises(InvalidName):
        Version.parse(text)


@pytest.mark.parametrize(
    "text", ["1.2.3-0", "1.2.3-0a", "1.2.3-00a", "1.2.3--", "1.2.3+01", "1.2.3-images", "1.2.3-" + "a" * 114]
)
def test_unusual_versions_are_fine(text: str) -> None:
    assert str(Version.parse(text)) == text


def test_equality_is_that_of_the_text_and_order_that_of_precedence() -> None:
    one, other = Version.parse("1.0.0+a"), Version.parse("1.0.0+b")
    assert one != other
    assert one <= other <= one
    assert not one < other
    assert not one > other
    assert one.precedence == other.precedence
    assert Version.parse("1.0.0+a") == one
    assert len({one, other, Version.parse("1.0.0+a")}) == 2


def compare_by_semver_section_11(left: str, right: str) -> int:
    """Written straight from the specification, item by item, on the texts."""
    left, right = left.split("+")[0], right.split("+")[0]  # 11.1: build metadata does not figure
    (left_core, _, left_pre), (right_core, _, right_pre) = left.partition("-"), right.partition("-")
    for left_number, right_number in zip(left_core.split("."), right_core.split("."), strict=True):  # 11.2
        if int(left_number) != int(right_number):
            return 1 if int(left_number) > int(right_number) else -1
    if not left_pre or not right_pre:  # 11.3: a pre-release has lower precedence than its release
        return bool(right_pre) - bool(left_pre)
    for one, other in zip(left_pre.split("."), right_pre.split("."), strict=False):
        if one == other:
            continue
        if one.isdigit() and other.isdigit():  # 11.4.1
            return 1 if int(one) > int(other) else -1
        if one.isdigit() or other.isdigit():  # 11.4.3: numeric below alphanumeric
            return 1 if other.isdigit() else -1
        return 1 if one > other else -1  # 11.4.2: ASCII order
    longer = left_pre.count(".") - right_pre.count(".")  # 11.4.4: more fields are higher
    return (longer > 0) - (longer < 0)


small_versions = st.builds(
    lambda release, pre, build: release + pre + build,
    st.sampled_from(["0.0.0", "1.0.0", "1.0.1", "1.1.0", "1.9.0", "1.10.0", "10.0.0", "9.0.0"]),
    st.just("") | dotted(prerelease_identifiers).map("-{}".format),
    st.sampled_from(["", "+a", "+1.2"]),
)


@given(*[small_versions | version_texts()] * 2)
@example("1.0.0-a", "1.0.0-a.0")
@example("1.0.0-a.b", "1.0.0-a-b")
@example("1.0.0-a", "1.0.0-a-")
@example("1.0.0-9", "1.0.0-10")
@example("9.0.0", "10.0.0")
@example("99999999999999999999.0.0", "100000000000000000000.0.0")
def test_byte_order_of_the_precedence_key_is_semver_order(left: str, right: str) -> None:
    one, other = Version.parse(left), Version.parse(right)
    expected = compare_by_semver_section_11(left, right)
    assert (one.precedence > other.precedence) - (one.precedence < other.precedence) == expected
    assert (one > other) - (one < other) == expected
    assert (one >= other, one <= other) == (expected >= 0, expected <= 0)


def test_the_order_given_in_the_semver_specification() -> None:
    ordered = words("1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0")
    backwards = ordered[::-1]
    assert sorted(backwards, key=lambda text: Version.parse(text).precedence) == ordered
    assert sorted(backwards, key=cmp_to_key(compare_by_semver_section_11)) == ordered
    assert [str(version) for version in sorted(map(Version.parse, backwards))] == ordered


@given(st.integers(1, 57), st.sampled_from(["a", "1"]))
def test_a_precedence_key_fits_192_bytes(identifiers: int, identifier: str) -> None:
    assert len(Version.parse("0.0.0-" + ".".join([identifier] * identifiers)).precedence) <= 192


@pytest.mark.parametrize(
    ("text", "part", "bumped"),
    [
        ("1.2.3", "major", "2.0.0"),
        ("1.2.3", "minor", "1.3.0"),
        ("1.2.3", "patch", "1.2.4"),
        ("1.2.3+cu12", "patch", "1.2.4"),
        ("0.0.0", "major", "1.0.0"),
        ("2.0.0-rc.1", "major", "2.0.0"),
        ("2.0.0-rc.1", "minor", "2.0.0"),
        ("2.0.0-rc.1", "patch", "2.0.0"),
        ("2.1.0-rc.1", "major", "3.0.0"),
        ("2.1.0-rc.1", "minor", "2.1.0"),
        ("2.1.1-rc.1", "minor", "2.2.0"),
        ("2.1.1-rc.1", "patch", "2.1.1"),
    ],
)
def test_bump_gives_the_next_release(text: str, part: Literal["major", "minor", "patch"], bumped: str) -> None:
    assert str(Version.parse(text).bump(part)) == bumped


@given(version_texts(), st.sampled_from(["major", "minor", "patch"]))
def test_bump_gives_a_higher_release(text: str, part: Literal["major", "minor", "patch"]) -> None:
    bumped = Version.parse(text).bump(part)
    assert bumped > Version.parse(text)
    assert not bumped.is_prerelease


def test_bump_refuses_to_grow_past_the_longest_version() -> None:
    with pytest.raises(InvalidName, match="at most 120"):
        Version.parse("9" * 116 + ".0.0").bump("major")


# Ranges


@pytest.mark.parametrize(("text", "matches"), NPM["ranges"])
def test_a_range_matches_what_npm_says(text: str, matches: str) -> None:
    versions = VersionRange.parse(text)
    expected = [version for version, match in zip(NPM["versions"], matches, strict=True) if match == "1"]
    assert [version for version in NPM["versions"] if versions.matches(Version.parse(version))] == expected


@pytest.mark.parametrize("text", NPM["invalid"])
def test_what_npm_refuses_is_no_range(text: str) -> None:
    with pytest.raises(InvalidName):
        VersionRange.parse(text)
    assert not is_range(text)


@pytest.mark.parametrize(
    "text",
    words("|| v1 v1.x V1 ^v1 >=v1.2 ~>1 ==1 ^1.x.3 ~x.2 1.2.x-rc.1 1.x+b 1.2+b x.x.x-0 , 1, ,1 1,,2 1٣")
    + words("~1.2.1٣ \uff11")
    + ["", " ", "1 ||", "|| 1", "1 || || 2", "1 - v2", "1 - 2, 3", "> =1", "1\t<2", "1\n"],
)
def test_what_is_outside_our_grammar_is_no_range_though_npm_reads_some_of_it(text: str) -> None:
    with pytest.raises(InvalidName):
        VersionRange.parse(text)
    assert not is_range(text)


@given(range_texts())
def test_ranges_of_the_grammar_parse_and_print_as_written(text: str) -> None:
    assert str(VersionRange.parse(text)) == text


@pytest.mark.parametrize("text", ["1.2.3", "1.2.3-rc.1", "1.2.3+cu12", "1.2.3-image", "0.0.0"])
def test_one_version_is_not_a_range_though_it_parses_as_one(text: str) -> None:
    assert not is_range(text)
    assert str(VersionRange.parse(text)) == text


def test_a_bare_version_as_a_range_matches_its_precedence() -> None:
    assert VersionRange.parse("1.2.3-rc.1+a").matches(Version.parse("1.2.3-rc.1+b"))
    assert not VersionRange.parse("1.2.3-rc.1").matches(Version.parse("1.2.3"))


@pytest.mark.parametrize("text", ["1", "x", "*", "1.2", "1.x", "=1.2.3", " 1.2.3", "1.2.3 || 1.2.4", "1.2.3 - 1.2.3"])
def test_all_else_that_parses_is_a_range(text: str) -> None:
    assert is_range(text)


def test_a_range_may_have_128_characters() -> None:
    assert is_range("^" + "9" * 127)
    assert not is_range("^" + "9" * 128)


def test_numbers_in_ranges_may_overflow_64_bits() -> None:
    versions = VersionRange.parse("~18446744073709551616.1")
    assert versions.matches(Version.parse("18446744073709551616.1.99999999999999999999"))
    assert not versions.matches(Version.parse("18446744073709551617.1.0"))


# Aliases


@pytest.mark.parametrize(
    "text",
    words("production Production a 7b x86 image Xx my.alias_2-b latest2 maine v1 v1.2 v1.x v1.2.3 V2")
    + words("1.0.0.0 01.2.3 1.2.3-01 1_0 1.0.0_ 1.2.x-rc")
    + ["a" * 39, "a" * 41, "a" * 50],
)
def test_words_are_aliases(text: str) -> None:
    assert Alias.parse(text) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [(text, "use 1 to 50") for text in ["", "-a", ".a", "_a", "a b", "a/b", "a+b", "^1", "*", "é", "a" * 51]]
    + [(text, "reads as a version;") for text in ["1.2.3", "1.2.3-rc.1", "1.2.3_cu12", "1.2.3-rc_a.b", "0.0.0"]]
    + [(text, "reads as a version range") for text in ["1", "1.2", "1.x", "x", "X", "1.2.x", "x.x", "0", "1.X.x"]]
    + [(text, "40 hex digits") for text in ["a" * 40, "0123456789ABCDEFabcd" * 2]]
    + [(text, "container images") for text in ["1.2.3-image", "prod-image"]]
    + [
        (form(word), "reserved")
        for word in words("latest main versions compare visibility aliases blobs files yank download metrics tags")
        for form in (str.lower, str.upper)
    ],
)
def test_what_means_something_else_is_no_alias(text: str, reason: str) -> None:
    with pytest.raises(InvalidName, match=reason):
        Alias.parse(text)


@given(version_texts() | range_texts(), st.booleans())
def test_no_version_and_no_range_is_an_alias(text: str, as_container_tag: bool) -> None:
    with pytest.raises(InvalidName):
        Alias.parse(text.replace("+", "_") if as_container_tag else text)


# Branches and tags


@pytest.mark.parametrize(
    "text", [*words("dev feature/x v1 v1.2 release-1.0.0 a@b é 試 x.y mains HEADs 1.0.0.0 refs"), "a" * 200]
)
def test_what_git_takes_names_a_branch_or_tag(text: str) -> None:
    assert RefName.parse(text) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (text, "use 1 to 200")
        for text in words("a..b a~ a^ a:b a? a* a[ a\\b /a a/ a//b .a a/.b a. -a @ a@{b a.lock a.lock/b")
    ]
    + [(text, "use 1 to 200") for text in ["", "a b", "a\tb", "a\0", "\ud800", "\u2003", "a" * 201]]
    + [(text, "reserved") for text in words("main Main latest HEAD head refs/pr/1 refs/heads/x")]
    + [(text, "reads as a version,") for text in words("1.2.3 v1.2.3 1.2.3-rc.1 v1.2.3+cu12")]
    + [(text, "reads as a range") for text in words("1 1.2 1.x x 0 =1.2.3")]
    + [(text, "40 hex digits") for text in ["a" * 40, "0123456789ABCDEFabcd" * 2]],
)
def test_what_git_does_not_take_or_means_something_else_names_none(text: str, reason: str) -> None:
    with pytest.raises(InvalidName, match=reason):
        RefName.parse(text)


# Artifact paths

path_parts = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/\\."), min_size=2, max_size=9)
DEVICES = words("con prn aux nul com1 com9 lpt1 lpt9 com¹ com² com³ lpt¹ conin$ conout$")


@given(st.lists(path_parts, min_size=1, max_size=4).map("/".join))
def test_plain_parts_make_a_path(text: str) -> None:
    parts = text.split("/")
    assume(not any(part.endswith(" ") or part[1] == ":" for part in parts))
    assume(not any(part.lower().startswith(device) for part in parts for device in DEVICES))
    assert ArtifactPath.parse(text) == text


@pytest.mark.parametrize(
    "text",
    words("config.json .gitattributes ...a a..b a/.b/c ключ/模型.bin ab:c t/w:0 - ~ a+b%2F")
    + words("console conx.txt com com0 com10 lpt nul-1 a.con icon x/auxiliary")
    + [" a", "a b", "a" * 255, "é" * 127 + "a", "/".join(["a" * 255] * 4)],
)
def test_unusual_paths_are_fine(text: str) -> None:
    assert ArtifactPath.parse(text) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [(text, "relative") for text in ["/", "/a", "//", "C:/a", "c:a", "z:"]]
    + [("", "empty")]
    + [(text, "no part") for text in ["a/", "a//b", ".", "..", "./a", "../a", "a/..", "a/./b", "a/../b"]]
    + [(text, "dot or space") for text in ["a.", "a ", "a./b", "a /b", "a/b.", "...", " ", "a/ /b"]]
    + [(text, "control") for text in ["a\\b", "\\", "a\0", "a\nb", "a\x7f", "a\x85b", "\x1f"]]
    + [(text, "255 bytes") for text in ["a" * 256, "é" * 128, "b/" + "a" * 256 + "/b"]]
    + [("/".join(["a" * 204] * 5) + "b", "1,024 bytes"), ("\ud800", "surrogate"), ("a/\udfff.bin", "surrogate")]
    + [(form(name), "device") for name in DEVICES for form in (str, str.upper, "{}.txt".format, "{} .a.b".format)]
    + [("a/nul", "device"), ("nul/a", "device"), ("a/Nul.tar.gz/b", "device"), ("con:x", "device")],
)
def test_paths_that_some_file_system_cannot_hold_are_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidName, match=reason):
        ArtifactPath.parse(text)


def test_a_path_may_have_1024_bytes() -> None:
    text = "/".join(["a" * 204] * 5)
    assert len(ArtifactPath.parse(text)) == 1024


@pytest.mark.parametrize(("one", "other"), [("É", "e\u0301"), ("STRASSE", "straße"), ("Å", "\u212b"), ("A/b", "a/B")])
def test_paths_that_differ_in_case_or_unicode_form_have_one_key(one: str, other: str) -> None:
    assert ArtifactPath.parse(one).key == ArtifactPath.parse(other).key


def test_a_path_key_is_composed_and_folded() -> None:
    assert ArtifactPath.parse("E\u0301/ẞ").key == "é/ss"


def test_every_fault_of_a_list_of_paths_is_named_in_order() -> None:
    paths = ["ok/a", "bad\\", "OK", "Ok/A", "ok/a", "con", "ok/a/b", "ok.txt", "okay/b", "é", "E\u0301"]
    faults = check_artifact_paths(paths)
    assert [path for path, _ in faults] == ["ok/a", "bad\\", "Ok/A", "ok/a", "con", "ok/a/b", "E\u0301"]
    messages = dict(faults)
    assert "lies below 'OK'" in messages["ok/a/b"]
    assert "differs from 'ok/a' only in case" in messages["Ok/A"]
    assert messages["ok/a"] == "'ok/a' is listed twice"
    assert "device" in messages["con"]
    assert check_artifact_paths(["a/b", "a/c", "a.b", "ab", "a-b/c"]) == []


@given(
    st.lists(
        st.lists(st.sampled_from(["a", "B", "b", "a-", "a.b", "é", "e\u0301"]), min_size=1, max_size=3).map("/".join),
        max_size=9,
    )
)
def test_a_path_is_named_exactly_when_it_equals_an_earlier_one_or_lies_below_one(paths: list[str]) -> None:
    keys = [unicodedata.normalize("NFC", path).casefold() for path in paths]
    named = [
        path
        for place, path in enumerate(paths)
        if keys[place] in keys[:place] or any(keys[place].startswith(other + "/") for other in keys)
    ]
    assert [path for path, _ in check_artifact_paths(paths)] == named


def test_a_hundred_thousand_deep_paths_are_checked_quickly() -> None:
    paths = ["d/" * 60 + f"{number}.bin" for number in range(100_000)]
    paths.append(paths[0].upper())
    paths.append("D/d")
    start = time.perf_counter()
    faults = check_artifact_paths(paths)
    assert time.perf_counter() - start < 8
    assert len(faults) == 100_001
