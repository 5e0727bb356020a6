"""Model cards: what their writers mean, whatever they wrote; and nothing that takes the server down."""

import json
import time
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.server.core.files.cards import MOST_README_BYTES, find_fault, read_card
from steelyard.server.core.publish import Description
from steelyard.server.errors import Invalid


def described(front: str) -> Description:
    return read_card(f"---\n{front}\n---\n# A model\n".encode()).description


def test_a_card_is_read_as_the_hub_means_it() -> None:
    card = described(
        "license: [mit, apache-2.0]\npipeline_tag: fill-mask\nlibrary_name: peft\ndatasets: a/b\nlanguage: no"
    )
    assert (card.license, card.task, card.tags) == ("mit, apache-2.0", "fill-mask", ["peft"])
    assert (card.task_categories, card.dataset_refs, card.language) == (["fill-mask"], ["a/b"], ["no"])
    assert card.framework is None


def test_our_own_names_win() -> None:
    card = described("pipeline_tag: a\ntask: b\ndatasets: [c]\ndataset_refs: [d]\ntask_categories: [e]")
    assert (card.task, card.dataset_refs, card.task_categories) == ("b", ["d"], ["e"])


@pytest.mark.parametrize(
    "readme", [b"", b"# Title\n", b"---\nlicense: mit\n", b"text\n---\nlicense: mit\n---\n", b"\xff\xfe"]
)
def test_a_readme_without_metadata_says_nothing(readme: bytes) -> None:
    assert read_card(readme).description == Description()


def test_a_mark_of_utf_8_and_windows_newlines_do_no_harm() -> None:
    assert read_card(b"\xef\xbb\xbf---\r\nlicense: mit\r\n---\r\n").description.license == "mit"


@pytest.mark.parametrize(
    "front",
    [
        "license: {a: b}",
        f"license: {'x' * 201}",
        'license: "nul\\0"',
        "license: ''",
        "tags: [{a: b}]",
        "metrics: [accuracy, f1]",
        "metrics: {accuracy: .nan}",
        "metrics: {accuracy: {value: 1}}",
        "metrics: {1: 2}",
        f"metrics: {{accuracy: {'9' * 400}}}",
        f"metrics: {{accuracy: {'9' * 5_000}}}",
        "metrics: {accuracy: -2.0e+999, loss: 2.0e+999}",
        "metrics: {took: 1:30}",
        "metrics: {flags: 0x1f}",
    ],
)
def test_a_value_that_cannot_be_kept_is_left_out(front: str) -> None:
    card = read_card(f"---\n{front}\npretty_name: Tiny\n---\n".encode())
    assert (card.description.license, card.description.tags, card.metrics) == (None, None, None)
    assert card.description.pretty_name == "Tiny"


def test_a_flat_map_of_metrics_is_measurements() -> None:
    card = read_card(b"---\nmetrics: {accuracy: 0.91, epochs: 3, note: good}\n---\n")
    assert card.metrics == {"accuracy": 0.91, "epochs": 3, "note": "good"}


@pytest.mark.parametrize(
    "odd",
    [
        "time: 1:30:00",
        "seed: 0x1F",
        "flags: 0b11",
        "loss: .nan",
        "most: -.inf",
        "n: [1]",
        "n: {a: 1}",
        "n: true",
        "1: 2",
    ],
)
def test_a_metric_that_cannot_be_kept_takes_no_other_along(odd: str) -> None:
    card = read_card(f"---\nmetrics:\n  accuracy: 0.91\n  {odd}\n  note: good\n---\n".encode())
    assert card.metrics == {"accuracy": 0.91, "note": "good"}


def test_what_looks_like_a_number_or_a_date_is_kept_as_it_was_written() -> None:
    card = described("license: 010\ntags: [1.10, 0x1f, 12:30:45, 2020-99-99, 1_000]\nsummary: 2024-05-01")
    assert (card.license, card.summary) == ("010", "2024-05-01")
    assert card.tags == ["1.10", "0x1f", "12:30:45", "2020-99-99", "1_000"]


@pytest.mark.parametrize("number", [f"0x{'f' * 5_000}", f"0{'7' * 6_000}", ":".join(["1"] * 3_000), "9" * 5_000])
def test_a_number_of_any_length_and_base_is_only_a_text_that_is_too_long(number: str) -> None:
    for said in (number, f"!!int {number}", f"!!float {number}", f"!!timestamp {number}"):
        assert described(f"license: {said}\npretty_name: Tiny") == Description(pretty_name="Tiny")


def test_lists_are_cut_to_what_a_version_takes() -> None:
    assert len(described("tags: [" + ", ".join(f"t{n}" for n in range(500)) + "]\nlibrary_name: x").tags or []) == 200


@pytest.mark.parametrize(
    ("front", "why"),
    [
        ("license: [mit", "line 3: "),
        ("a: &x 1\nb: *x", "aliases"),
        ("[" * 100_000, "nested deeper"),
        ("- a list", "keys and values"),
        ("x: !!bool maybe", "not what its tag"),
        ("{[1]: 2}: 3", "unhashable"),
        ("!!python/object:os.system {}", "constructor"),
        ("x" * 300_000, "characters"),
    ],
)
def test_a_card_that_cannot_be_read_is_refused_with_the_reason(front: str, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        described(front)
    assert why in str(find_fault(f"---\n{front}\n---\n".encode()))


_SAME_HASH = "\n".join(f"{number * (2**61 - 1)}: x" for number in range(1, 9_500))  # to Python, as integers
_SPELLINGS = {
    "keys": "\n".join(f"key{number}: [a, b, {{c: d}}]" for number in range(7_500)),
    "base 60": "license: " + ":".join(["1"] * 120_000),
    "base 60, asked for": "license: !!int " + ":".join(["1"] * 120_000),
    "base 60, with a point": "license: !!float " + ":".join(["1"] * 120_000) + ".5",
    "keys of one hash": _SAME_HASH,
}


@pytest.mark.parametrize("front", _SPELLINGS.values(), ids=_SPELLINGS)
def test_the_largest_card_is_read_in_no_time(front: str) -> None:
    began = time.monotonic()
    described(front)
    assert time.monotonic() - began < 3


def test_a_readme_without_an_end_is_read_in_no_time() -> None:
    began = time.monotonic()
    read_card(b"---\n" + b"x" * (4 * MOST_README_BYTES))
    assert time.monotonic() - began < 1


_words = st.sampled_from(
    [
        *("license", "tags", "metrics", ": ", "- ", "\n", "  ", "[", "]", "{", "}", "&a", "*a", "!!", "|", "? ", "<<"),
        *(
            "0x",
            "0b",
            "07",
            ":1",
            ":59",
            "1e9",
            "-.inf",
            ".nan",
            "_",
            "=",
            "~",
            "true",
            "2020-1-1",
            "T1:1:1Z",
            "'",
            '"',
        ),
    ]
)
_tags = st.sampled_from(
    [
        f"!!{tag} "
        for tag in ("int", "float", "bool", "timestamp", "binary", "set", "omap", "pairs", "merge", "value", "str")
    ]
)


def check_that_it_is_read_or_refused(front: str) -> None:
    try:
        card = read_card(f"---\n{front}\n---\n".encode("utf-8", "surrogatepass"))
    except Invalid as error:
        assert "cannot be read" in error.detail
    else:
        json.dumps([asdict(card.description), card.metrics], allow_nan=False, ensure_ascii=False).encode()
        assert sum(map(len, card.description.tags or [])) <= 200 * 200


@given(st.text() | st.lists(_words | _tags | st.text(max_size=3)).map("".join))
def test_whatever_is_written_is_read_or_refused(front: str) -> None:
    check_that_it_is_read_or_refused(front)


@given(
    key=st.sampled_from(["license", "tags", "metrics", "task", "datasets", "library_name"]),
    tag=_tags | st.just(""),
    value=st.lists(_words | st.characters(), max_size=6).map("".join),
)
def test_whatever_a_value_is_it_is_read_or_refused(key: str, tag: str, value: str) -> None:
    check_that_it_is_read_or_refused(f"{key}: {tag}{value}")
