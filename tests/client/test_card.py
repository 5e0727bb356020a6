"""Metadata from `model.yaml` and from the front matter of `README.md`."""

from pathlib import Path

import pytest

from steelyard.client.card import MAX_CARD_BYTES, read_card
from steelyard.client.errors import InvalidCard
from steelyard.client.progress import Progress
from steelyard.client.push import Push, publish_body
from steelyard.client.references import Reference

HUB_CARD = """---
license: apache-2.0
language: [en, no]
tags:
- sentence-similarity
- 2024
pipeline_tag: sentence-similarity
library_name: sentence-transformers
base_model: acme/base
datasets: [acme/pairs]
metrics: [accuracy]
model-index:
- name: x
widget: &w {text: hello}
---
# Title
"""


def card_of(folder: Path, **files: str) -> dict[str, object]:
    for name, text in files.items():
        (folder / {"model": "model.yaml", "readme": "README.md"}[name]).write_text(text, encoding="utf-8")
    return dict(read_card(folder).metadata)


def test_a_hub_card_says_what_it_says_there(tmp_path: Path) -> None:
    assert card_of(tmp_path, readme=HUB_CARD) == {
        "license": "apache-2.0",
        "language": ["en", "no"],
        "tags": ["sentence-similarity", "2024", "sentence-transformers"],
        "task": "sentence-similarity",
        "task_categories": ["sentence-similarity"],
        "base_model": "acme/base",
        "dataset_refs": ["acme/pairs"],
    }


def test_norwegian_is_a_language_and_true_is_a_boolean(tmp_path: Path) -> None:
    assert card_of(tmp_path, model="language: no\nsummary: on\nlicense: true\n") == {
        "language": ["no"], "summary": "on", "license": "true"
    }  # fmt: skip


def test_model_yaml_wins_whole_over_the_readme(tmp_path: Path) -> None:
    assert card_of(tmp_path, model="summary: mine\n", readme=HUB_CARD) == {"summary": "mine"}


def test_metrics_and_origin_are_taken_as_they_are(tmp_path: Path) -> None:
    text = "metrics: {accuracy: 0.9, steps: 10, note: fine}\norigin: {run_id: 7, day: 2026-01-02}\n"
    assert card_of(tmp_path, model=text) == {
        "metrics": {"accuracy": 0.9, "steps": 10, "note": "fine"},
        "origin": {"run_id": 7, "day": "2026-01-02"},
    }


def test_an_unknown_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text("licence: mit\nsummary: x\n")
    assert read_card(tmp_path).unknown_keys == ("licence",)


@pytest.mark.parametrize(
    "text", ["", "# only text\n", "---\nno end", "----\nx: 1\n---\n", "---\n---\n", "text\n---\na: 1\n---\n"]
)
def test_a_readme_without_front_matter_says_nothing(tmp_path: Path, text: str) -> None:
    assert card_of(tmp_path, readme=text) == {}


def test_front_matter_is_read_with_windows_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(b"\xef\xbb\xbf---\r\nlicense: mit\r\n---\r\nx")
    assert read_card(tmp_path).metadata == {"license": "mit"}


BOMB = "a: &a [x]\nb: &b [*a, *a]\nc: &c [*b, *b]\ntags: *c\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "aliases"),
        ("tags: " + "[" * 100 + "]" * 100, "nested"),
        ("[" * 50_000, "nested"),
        ("a: [", "line"),
        ("- a\n- b\n", "keys and values"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
        ("tags: {a: 1}", "`tags`"),
        ("summary: {a: 1}", "`summary`"),
        ("metrics: {a: .nan}", "`metrics`"),
        ("metrics: [accuracy]", "`metrics`"),
        ("metrics: {a: {b: 1}}", "`metrics`"),
        ("summary: " + "9" * 5000, "cannot be read"),
        ("x: " + "y" * MAX_CARD_BYTES, "larger"),
    ],
)
def test_a_model_yaml_that_cannot_be_used_is_refused_with_the_reason(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "model.yaml").write_text(text)
    with pytest.raises(InvalidCard, match=says):
        read_card(tmp_path)


def test_a_model_yaml_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidCard, match="UTF-8"):
        read_card(tmp_path)


def test_what_is_given_wins_over_the_card_and_metrics_merge(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text(
        "license: mit\ntags: [a]\nmetrics: {x: 1, y: 2}\norigin: {source: card, run_id: r}\n"
    )
    push = Push(
        tmp_path, Reference.parse("acme/tiny:1.0.0"), metadata={"license": "bsd", "metrics": {"y": 3}},
        origin={"source": "training_run"}, use_git=False, aliases=["prod"], is_public=True,
    )  # fmt: skip
    body = publish_body(push, read_card(tmp_path), Progress())
    assert (body["license"], body["tags"], body["metrics"]) == ("bsd", ["a"], {"x": 1, "y": 3})
    assert (body["origin"]["source"], body["origin"]["run_id"]) == ("training_run", "r")
    assert (body["aliases"], body["is_public"]) == (["prod"], True)
