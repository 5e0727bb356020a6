"""Comparing versions, their time line, and their metrics over time (contract section 4, row 6, and what is ours)."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from steelyard.server.core import comparing, timeline
from steelyard.server.core.comparing import difference
from steelyard.server.core.files.reading import read_header_of
from steelyard.server.core.files.tensors import Header
from steelyard.server.doors.turns import COMPARISONS_AT_ONCE
from tests.house import Person
from tests.house.people import oid_of
from tests.server.core.files.weight_files import gguf_header, gguf_tensor, safetensors, safetensors_of
from tests.server.doors.native.models import ModelAt, faults, refusal


def compare(model: ModelAt, *versions: str, **query: Any) -> dict[str, Any]:
    answered = model.get("/compare", params={"versions": list(versions), **query})
    assert answered.status_code == 200, answered.text
    return dict(answered.json())


def changes(items: list[dict[str, Any]], key: str = "path") -> dict[str, list[str | None]]:
    """What became of each thing in the versions after the first."""
    return {item[key]: [cell["change"] for cell in item["versions"]] for item in items}


# --- what is asked for


def test_a_comparison_has_only_what_was_asked_for(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", "1.1.0")
    plain = {"name", "metric_keys", "versions"}
    assert set(compare(tiny, "1.0.0", "1.1.0")) == plain
    assert set(compare(tiny, "1.0.0", "1.1.0", include=["files"])) == plain | {"files"}
    everything = compare(tiny, "1.0.0", "1.1.0", include=["metadata", "files", "tensors"])
    assert set(everything) == plain | {"metadata", "files", "tensors"}
    assert {key: everything[key] for key in plain} == compare(tiny, "1.0.0", "1.1.0")


@pytest.mark.parametrize(
    ("query", "where"),
    [({"include": "bytes"}, "include"), ({"files_page": 0}, "files_page"), ({"limit": 1001}, "limit")],
)
def test_what_cannot_be_asked_for(tiny: ModelAt, query: dict[str, Any], where: str) -> None:
    tiny.publish("1.0.0")
    answered = tiny.get("/compare", params={"versions": ["1.0.0", "1.0.0"], **query})
    assert any(where in place for place in faults(answered))


# --- what is said


def test_what_is_said_of_any_is_told_of_all(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", license="mit", tags=["a", "b"], framework="safetensors", aliases=["old"])
    tiny.publish("2.0.0", license="mit", tags=["b"], framework="safetensors", base_model="somebody/else")
    rows = {row["key"]: row for row in compare(tiny, "1.0.0", "2.0.0", include="metadata")["metadata"]}
    assert rows["license"] == {"key": "license", "values": ["mit", "mit"], "differs": False}
    assert rows["tags"] == {"key": "tags", "values": [["a", "b"], ["b"]], "differs": True}
    assert rows["base_model"]["values"] == [None, "somebody/else"]
    assert rows["aliases"]["values"] == [["old"], None]
    assert rows["created_at"]["values"][0] == tiny.get("/1.0.0").json()["created_at"]
    assert not {"task", "architecture", "summary", "dataset_refs", "yank_reason"} & set(rows)


def test_parents_that_a_reader_may_not_see_are_not_compared(tiny: ModelAt, bob: Person) -> None:
    ModelAt(tiny.person, f"{tiny.org}/secret").publish("1.0.0")
    tiny.publish("1.0.0", "1.1.0", base_model=f"{tiny.org}/secret")
    tiny.make_public()
    seen = {row["key"] for row in compare(tiny.seen_by(bob), "1.0.0", "1.1.0", include="metadata")["metadata"]}
    assert "base_model" not in seen
    assert "base_model" in {row["key"] for row in compare(tiny, "1.0.0", "1.1.0", include="metadata")["metadata"]}


# --- files

ONE = {"a.txt": b"a", "b.txt": b"b", "sub/c.txt": b"c"}
TWO = {"a.txt": b"a", "b.txt": b"B!", "d.txt": b"d"}
THREE = {"b.txt": b"b", "d.txt": b"d"}


@pytest.fixture
def changed(tiny: ModelAt) -> ModelAt:
    """Three versions with other files."""
    for number, files in (("1.0.0", ONE), ("2.0.0", TWO), ("3.0.0", THREE)):
        tiny.publish(number, files=files)
    return tiny


def test_files_that_came_went_and_changed(changed: ModelAt) -> None:
    files = compare(changed, "1.0.0", "2.0.0", "3.0.0", include="files")["files"]
    assert files["counts"] == [
        {"version": "2.0.0", "added": 1, "removed": 1, "changed": 1, "unchanged": 1},
        {"version": "3.0.0", "added": 1, "removed": 2, "changed": 0, "unchanged": 1},
    ]
    assert changes(files["items"]) == {
        "a.txt": [None, "unchanged", "removed"],
        "b.txt": [None, "changed", "unchanged"],
        "d.txt": [None, "added", "added"],
        "sub/c.txt": [None, "removed", "removed"],
    }
    [_, b, d, _] = files["items"]
    assert b["versions"][1] == {"oid": oid_of(b"B!"), "size": 2, "change": "changed"}
    assert d["versions"][0] == {"oid": None, "size": None, "change": None}


def test_files_that_are_the_same_are_told_on_demand(changed: ModelAt) -> None:
    tags = {"versions": ["2.0.0", "2.0.0"], "include": "files"}
    assert changed.get("/compare", params=tags).json()["files"]["items"] == []
    told = changed.get("/compare", params={**tags, "unchanged": True}).json()["files"]
    assert changes(told["items"]) == {path: [None, "unchanged"] for path in TWO}
    assert told["counts"] == [{"version": "2.0.0", "added": 0, "removed": 0, "changed": 0, "unchanged": 3}]


def test_what_is_in_neither_has_not_changed(changed: ModelAt) -> None:
    files = compare(changed, "3.0.0", "3.0.0", "2.0.0", include="files")["files"]
    assert changes(files["items"]) == {"a.txt": [None, None, "added"], "b.txt": [None, "unchanged", "changed"]}


def test_pages_of_files_are_the_list_and_counts_are_of_all(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", files={f"{n:03}.bin": b"old" for n in range(25)})
    tiny.publish("2.0.0", files={f"{n:03}.bin": b"new" for n in range(25)})
    pages = [compare(tiny, "1.0.0", "2.0.0", include="files", limit=10, files_page=n)["files"] for n in (1, 2, 3, 4)]
    assert [item["path"] for page in pages for item in page["items"]] == [f"{n:03}.bin" for n in range(25)]
    assert {(page["total"], page["counts"][0]["changed"]) for page in pages} == {(25, 25)}


# --- tensors


def gguf(**shapes: list[int]) -> bytes:
    """A GGUF file with these tensors."""
    head = gguf_header(len(shapes), 0) + b"".join(gguf_tensor(name, shape) for name, shape in shapes.items())
    return head + bytes(4096)


def tensors_of(model: ModelAt, *versions: str, **query: Any) -> dict[str, Any]:
    return dict(compare(model, *versions, include="tensors", **query)["tensors"])


def test_tensors_that_came_went_and_changed(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", files={"model.safetensors": safetensors({"kept": [2, 3], "cut": [4], "grown": [8]})})
    tiny.publish("2.0.0", files={"model.safetensors": safetensors({"kept": [2, 3], "new": [], "grown": [8, 2]})})
    told = tensors_of(tiny, "1.0.0", "2.0.0")
    assert told["counts"] == [{"version": "2.0.0", "added": 1, "removed": 1, "changed": 1, "unchanged": 1}]
    assert changes(told["items"], "name") == {
        "cut": [None, "removed"],
        "grown": [None, "changed"],
        "new": [None, "added"],
    }
    grown = next(item for item in told["items"] if item["name"] == "grown")
    assert grown["versions"] == [
        {"dtype": "F32", "shape": [8], "change": None},
        {"dtype": "F32", "shape": [8, 2], "change": "changed"},
    ]
    assert changes(tensors_of(tiny, "1.0.0", "2.0.0", unchanged=True)["items"], "name")["kept"] == [None, "unchanged"]


def test_another_type_is_a_change(tiny: ModelAt) -> None:
    content = safetensors({"w": [8]})
    tiny.publish("1.0.0", files={"model.safetensors": content})
    tiny.publish("2.0.0", files={"model.safetensors": content.replace(b"F32", b"I32")})
    [item] = tensors_of(tiny, "1.0.0", "2.0.0")["items"]
    assert [cell["dtype"] for cell in item["versions"]] == ["F32", "I32"]


def test_gguf_is_compared_as_well(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", files={"tiny-Q4.gguf": gguf(w=[32, 2], b=[2])})
    tiny.publish("2.0.0", files={"tiny-Q8.gguf": gguf(w=[32, 4], b=[2])})
    told = tensors_of(tiny, "1.0.0", "2.0.0")
    assert changes(told["items"], "name") == {"w": [None, "changed"]}
    assert told["items"][0]["file"] == "tiny-Q4.gguf", "one set in each: it is the same, whatever it is called"


def test_shards_are_one_set_however_many(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", files={"m.safetensors": safetensors({"a": [1], "b": [2], "c": [3]})})
    halves = {"m-00001-of-00002.safetensors": {"a": [1]}, "m-00002-of-00002.safetensors": {"b": [2], "c": [3, 1]}}
    tiny.publish("2.0.0", files={path: safetensors(shapes) for path, shapes in halves.items()})
    told = tensors_of(tiny, "1.0.0", "2.0.0")
    assert changes(told["items"], "name") == {"c": [None, "changed"]}
    assert told["counts"][0]["unchanged"] == 2


def test_several_sets_are_told_apart_by_their_names(tiny: ModelAt) -> None:
    both = {"q4.gguf": gguf(w=[32]), "q8.gguf": gguf(w=[64])}
    tiny.publish("1.0.0", files={"q4.gguf": gguf(w=[32])})
    tiny.publish("2.0.0", files=both)
    [item] = tensors_of(tiny, "1.0.0", "2.0.0")["items"]
    assert (item["file"], item["name"], item["versions"][1]["change"]) == ("q8.gguf", "w", "added")


def test_weights_that_cannot_be_read_are_left_out_and_told(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", files={"a.safetensors": safetensors({"w": [1]}), "b.safetensors": safetensors({"w": [1]})})
    broken = safetensors_of(b'{"w": {"dtype": "F32"}}')
    tiny.publish("2.0.0", files={"a.safetensors": broken, "b.safetensors": safetensors({"w": [2]})})
    told = tensors_of(tiny, "1.0.0", "2.0.0")
    [unread] = told["unread"]
    assert (unread["version"], unread["file"]) == ("2.0.0", "a.safetensors")
    assert "shape" in unread["why"]
    assert [(item["file"], item["name"]) for item in told["items"]] == [("b.safetensors", "w")]


def test_weights_that_cannot_be_read_are_asked_for_once(tiny: ModelAt, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def read(*args: Any) -> Header:
        asked.append(args)
        return read_header_of(*args)

    monkeypatch.setattr(comparing, "read_header_of", read)
    for version in ("1.0.0", "1.1.0"):
        tiny.publish(version, files={f"{number}.safetensors": b"no header" for number in range(20)})
    assert len(tensors_of(tiny, "1.0.0", "1.1.0")["unread"]) == 40
    assert len(asked) == 1
    monkeypatch.setattr(comparing, "MOST_NAMED_FILES", 39)
    answered = tiny.get("/compare", params={"versions": ["1.0.0", "1.1.0"], "include": "tensors"})
    assert (answered.status_code, "name 40 files" in answered.text) == (422, True)


def test_without_weights_there_are_no_tensors(changed: ModelAt) -> None:
    told = tensors_of(changed, "1.0.0", "2.0.0")
    assert (told["items"], told["unread"], told["total"]) == ([], [], 0)


def test_few_are_compared_at_once(tiny: ModelAt, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.publish("1.0.0", "1.1.0")
    at_work, most = [0], [0]

    def compare_slowly(*args: Any) -> Any:
        at_work[0] += 1
        most[0] = max(most[0], at_work[0])
        time.sleep(0.05)
        at_work[0] -= 1
        return comparing.put_side_by_side([{}, {}], args[-1])

    monkeypatch.setattr(comparing, "compare_files", compare_slowly)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: compare(tiny, "1.0.0", "1.1.0", include="files"), range(8)))
    assert most[0] == COMPARISONS_AT_ONCE


def test_only_so_much_is_read(tiny: ModelAt, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.publish("1.0.0", files={f"{n}.gguf": gguf(**{f"w{n}": [1]}) for n in range(3)})
    assert tensors_of(tiny, "1.0.0", "1.0.0", unchanged=True)["total"] == 3
    monkeypatch.setattr(comparing, "MOST_TENSORS", 2)
    told = tensors_of(tiny, "1.0.0", "1.0.0", unchanged=True)
    assert told["unread"] and told["total"] < 3
    monkeypatch.setattr(comparing, "MOST_WEIGHT_FILES", 2)
    query = {"versions": ["1.0.0", "1.0.0"], "include": "tensors"}
    assert "3 files of weights" in tiny.get("/compare", params=query).json()["detail"]


@pytest.mark.parametrize(
    ("first", "other", "above"),
    [
        (1, 3, 2), (0.5, 0.25, -0.25), (1, "x", None), ("x", 1, None), (None, 1, None), (1, None, None), (2, 2.0, 0),
        (10**308, -(10**308), -2 * 10**308),
    ],
)  # fmt: skip
def test_how_far_a_value_lies_above_the_first(first: Any, other: Any, above: Any) -> None:
    assert difference(first, other) == above


def test_a_difference_that_no_float_can_say_is_said_all_the_same() -> None:
    assert f"{difference(-1e308, 1e308):.3g}" == "2.00e+308"


# --- the time line


def line_of(model: ModelAt, **query: Any) -> dict[str, Any]:
    answered = model.get("/versions/timeline", params=query)
    assert answered.status_code == 200, answered.text
    return dict(answered.json())


def test_versions_stand_in_the_order_of_precedence_whatever_was_yanked(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", "2.0.0", "1.10.0", "1.9.0", "2.0.0-rc.1", "2.0.0-rc.10", "2.0.0-rc.2")
    tiny.put("/1.10.0/yank", {"reason": "leaks <b>data</b>"})
    line = line_of(tiny)
    assert [entry["version"] for entry in line["versions"]] == [
        "2.0.0", "2.0.0-rc.10", "2.0.0-rc.2", "2.0.0-rc.1", "1.10.0", "1.9.0", "1.0.0",
    ]  # fmt: skip
    assert [entry["standing"] for entry in line["versions"]] == [
        "stable", "pre-release", "pre-release", "pre-release", "yanked", "stable", "stable",
    ]  # fmt: skip
    yanked = line["versions"][4]["yanked"]
    assert (line["latest"], yanked["reason"]) == ("2.0.0", "leaks <b>data</b>")
    assert {entry["published_by"] for entry in line["versions"]} == {tiny.person.name}


def test_moves_of_aliases_stand_where_they_came_from_and_went_to(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", "1.1.0")
    tiny.set_alias("production", "1.0.0")
    tiny.set_alias("production", "1.1.0")
    tiny.set_alias("staging", "1.1.0")
    assert tiny.delete("/1.1.0/aliases/staging").status_code == 204
    new, old = line_of(tiny)["versions"]
    assert (new["aliases"], old["aliases"]) == (["production"], [])
    told = [(move["alias"], move["from"], move["to"], move["by"]) for move in new["moves"]]
    who = tiny.person.name
    assert told == [
        ("staging", "1.1.0", None, who), ("staging", None, "1.1.0", who), ("production", "1.0.0", "1.1.0", who),
    ]  # fmt: skip
    assert [(move["from"], move["to"]) for move in old["moves"]] == [("1.0.0", "1.1.0"), (None, "1.0.0")]
    assert new["moves"][0]["at"] >= new["moves"][1]["at"]


def test_of_many_moves_the_newest_are_told(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", "1.1.0", "1.2.0")
    tiny.set_alias("once", "1.2.0")
    tiny.set_alias("nightly", "1.1.0")
    for turn in range(timeline.MOST_MOVES):
        tiny.set_alias("nightly", ("1.0.0", "1.1.0")[turn % 2])
    first, new, old = line_of(tiny)["versions"]
    assert [(len(entry["moves"]), entry["has_more_moves"]) for entry in (new, old)] == [(20, True), (20, False)]
    assert (new["moves"][0]["to"], new["moves"][-1]["from"]) == ("1.1.0", "1.1.0"), "all but the first"
    assert [move["alias"] for move in first["moves"]] == ["once"], "a busy alias hides no other"


def test_outsiders_are_not_told_who_did_it(tiny: ModelAt, bob: Person) -> None:
    tiny.publish("1.0.0", aliases=["production"])
    tiny.make_public()
    [entry] = line_of(tiny.seen_by(bob))["versions"]
    assert entry["published_by"] is None
    assert [(move["alias"], move["by"]) for move in entry["moves"]] == [("production", None)]


def test_pages_of_the_line(tiny: ModelAt) -> None:
    tiny.publish(*(f"1.{minor}.0" for minor in range(7)))
    pages = [line_of(tiny, page=page, limit=3) for page in (1, 2, 3, 4)]
    found = [entry["version"] for page in pages for entry in page["versions"]]
    assert found == [f"1.{minor}.0" for minor in reversed(range(7))]
    assert [(page["total"], page["total_pages"], page["has_next"]) for page in pages] == [
        (7, 3, True), (7, 3, True), (7, 3, False), (7, 3, False),
    ]  # fmt: skip
    assert {page["latest"] for page in pages} == {"1.6.0"}


def test_build_metadata_orders_by_time(tiny: ModelAt) -> None:
    tiny.publish("1.0.0+b", "1.0.0+a")
    assert [entry["version"] for entry in line_of(tiny)["versions"]] == ["1.0.0+a", "1.0.0+b"]
    assert line_of(tiny)["latest"] == "1.0.0+a"


# --- metrics over time


def metrics_of(model: ModelAt, **query: Any) -> dict[str, Any]:
    answered: httpx2.Response = model.get("/versions/metric-history", params=query)
    assert answered.status_code == 200, answered.text
    return dict(answered.json())


def test_metrics_along_the_versions_that_have_any(tiny: ModelAt) -> None:
    tiny.publish("1.10.0", metrics={"accuracy": 0.9, "note": "better"})
    tiny.publish("1.9.0", metrics={"accuracy": 0.8})
    tiny.publish("1.11.0")
    tiny.publish("2.0.0-rc.1", metrics={"loss": 1e308})
    told = metrics_of(tiny)
    assert told["versions"] == ["1.9.0", "1.10.0", "2.0.0-rc.1"]
    assert [(series["key"], series["values"]) for series in told["metrics"]] == [
        ("accuracy", [0.8, 0.9, None]), ("loss", [None, None, 1e308]), ("note", [None, "better", None]),
    ]  # fmt: skip
    assert (told["total"], told["is_cut"]) == (3, False)


def test_pages_of_metrics(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", metrics={f"m{n}": n for n in range(5)})
    pages = [metrics_of(tiny, page=page, limit=2) for page in (1, 2, 3)]
    assert [series["key"] for page in pages for series in page["metrics"]] == [f"m{n}" for n in range(5)]


def test_of_many_versions_and_values_the_highest_are_told(tiny: ModelAt, monkeypatch: pytest.MonkeyPatch) -> None:
    for minor in range(12):
        tiny.publish(f"1.{minor}.0", metrics={"a": minor, "b": minor})
    monkeypatch.setattr(timeline, "MOST_VERSIONS", 11)
    told = metrics_of(tiny)
    assert (told["versions"][0], told["versions"][-1], told["is_cut"]) == ("1.1.0", "1.11.0", True)
    monkeypatch.setattr(timeline, "_MOST_VALUES", 20)
    told = metrics_of(tiny)
    assert (told["versions"][0], told["is_cut"]) == ("1.2.0", True)


def test_nothing_of_a_hidden_model_is_told(tiny: ModelAt, bob: Person) -> None:
    tiny.publish("1.0.0")
    seen = tiny.seen_by(bob)
    compared = "/compare?versions=1.0.0&versions=1.0.0&include=tensors"
    for path in ("/versions/timeline", "/versions/metric-history", compared):
        assert refusal(seen.get(path)) == (404, "not_found_error")
