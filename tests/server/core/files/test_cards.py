"""Model cards: what their writers mean, whatever they wrote; and nothing that takes the server down."""

import time

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
    ],
)
def test_a_value_that_cannot_be_kept_is_left_out(front: str) -> None:
    card = read_card(f"---\n{front}\npretty_name: Tiny\n---\n".encode())
    assert (card.description.license, card.description.tags, card.metrics) == (None, None, None)
    assert card.description.pretty_name == "Tiny"


def test_a_flat_map_of_metrics_is_measurements() -> None:
    card = read_card(b"---\nmetrics: {accuracy: 0.91, epochs: 3, note: good}\n---\n")
    assert card.metrics == {"accuracy": 0.91, "epochs": 3, "note": "good"}


def test_lists_are_cut_to_what_a_version_takes() -> None:
    assert len(described("tags: [" + ", ".join(f"t{n}" for n in range(500)) + "]\nlibrary_name: x").tags or []) == 200


@pytest.mark.parametrize(
    ("front", "why"),
    [
        ("license: [mit", "line 3: "),
        ("a: &x 1\nb: *x", "aliases"),
        ("[" * 100_000, "nested deeper"),
        ("- a list", "keys and values"),
        ("x: " + "1" * 5_000, "digits"),
        ("d: 2020-99-99", "month"),
        ("{[1]: 2}: 3", "unhashable"),
        ("!!python/object:os.system {}", "constructor"),
        ("x" * 300_000, "characters"),
    ],
)
def test_a_card_that_cannot_be_read_is_refused_with_the_reason(front: str, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        described(front)
    assert why in str(find_fault(f"---\n{front}\n---\n".encode()))


def test_the_largest_card_is_read_in_no_time() -> None:
    front = "\n".join(f"key{number}: [a, b, {{c: d}}]" for number in range(7_500))
    began = time.monotonic()
    described(front)
    read_card(b"---\n" + b"x" * (4 * MOST_README_BYTES))
    assert time.monotonic() - began < 3


_words = st.sampled_from(
    ["license", "tags", "metrics", ": ", "- ", "\n", "  ", "[", "]", "{", "}", "&a", "*a", "!!", "|"]
)


@given(st.text() | st.lists(_words | st.text(max_size=3)).map("".join))
def test_whatever_is_written_is_read_or_refused(front: str) -> None:
    try:
        card = described(front)
    except Invalid as error:
        assert "cannot be read" in error.detail
    else:
        assert isinstance(card, Description)
