"""Answers become frozen dataclasses; what a registry adds is kept, what it gets wrong is named."""

from dataclasses import FrozenInstanceError, asdict
from typing import Any

import pytest

from steelyard.client.decoding import decode, decode_list
from steelyard.client.errors import UnexpectedAnswer
from steelyard.client.types import AliasPage, ApiKey, Comparison, ModelDetail, ModelPage, User

DETAIL: dict[str, Any] = {"id": "1", "name": "acme/tiny", "version": "1.0.0", "created_at": "2026-01-01T00:00:00Z"}


def test_what_is_missing_or_null_has_its_default() -> None:
    detail = decode(ModelDetail, {**DETAIL, "tags": None, "metrics": None, "summary": None, "yanked": None})
    assert (detail.framework, detail.tags, detail.metrics) == ("safetensors", (), {})
    assert (detail.summary, detail.yanked) == (None, None)


def test_what_is_there_is_read_deeply() -> None:
    detail = decode(ModelDetail, {**DETAIL, "tags": ["a"], "yanked": {"reason": "bad", "at": "x"}, "sizes": {"a": 1}})
    assert (detail.tags, detail.yanked and detail.yanked.reason, detail.sizes["a"]) == (("a",), "bad", 1)


def test_unknown_keys_are_left_alone_and_kept_in_raw() -> None:
    assert decode(ModelDetail, {**DETAIL, "future": [1]}).raw["future"] == [1]


def test_an_alias_move_is_read_from_its_own_words() -> None:
    move = {"at": "t", "by": "ann", "from": "1.0.0", "to": None}
    page = decode(AliasPage, {"aliases": [{"alias": "prod", "version": "1.0.0", "history": [move]}]})
    [read] = page.aliases[0].history
    assert (read.from_version, read.to_version, page.next_cursor) == ("1.0.0", None, None)


@pytest.mark.parametrize(
    "change",
    [{"name": 3}, {"version": None}, {"download_count": "many"}, {"download_count": True}, {"is_public": 1},
     {"tags": "a"}, {"tags": [1]}, {"sizes": {"a": "1"}}, {"artifacts": ["a"]}, {"yanked": "yes"}, {"origin": []}],
)  # fmt: skip
def test_a_wrong_type_is_named(change: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedAnswer, match=next(iter(change))):
        decode(ModelDetail, {**DETAIL, **change})


@pytest.mark.parametrize("body", [None, [], "x", 3])
def test_what_is_no_object_is_refused(body: object) -> None:
    with pytest.raises(UnexpectedAnswer):
        decode(User, body)
    with pytest.raises(UnexpectedAnswer):
        decode_list(User, {"a": body})


def test_things_are_frozen_and_go_into_dictionaries() -> None:
    detail = decode(ModelDetail, DETAIL)
    with pytest.raises(FrozenInstanceError):
        detail.name = "other"  # type: ignore[misc]
    assert asdict(detail)["name"] == "acme/tiny"


def test_a_secret_is_not_in_the_repr() -> None:
    assert "s3cr3t" not in repr(decode(ApiKey, {"id": "1", "key": "s3cr3t"}))


def test_pages_and_comparisons_are_read() -> None:
    page = decode(ModelPage, {"models": [DETAIL], "page": 1, "limit": 50, "total": 1, "has_next": False})
    assert page.models[0].name == "acme/tiny"
    version = {"version": "1.0.0", "framework": "gguf", "created_at": "t", "metrics": {"a": 1}}
    comparison = decode(Comparison, {"name": "n", "metric_keys": ["a"], "versions": [version]})
    assert comparison.versions[0].metrics == {"a": 1}
