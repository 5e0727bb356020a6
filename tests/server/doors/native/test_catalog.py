"""All models in one list: what whoever asks may see, in which order, and what the counts of the facets count."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.house import Person, Registered
from tests.house.registries import open_registered
from tests.server.doors.native.models import ModelAt, faults, refusal

HALL: dict[str, dict[str, Any]] = {
    "east/bert": {"license": "mit", "tags": ["nlp", "en"], "framework": "pytorch", "summary": "An encoder"},
    "east/whisper": {"license": "mit", "tags": ["audio", "en"], "framework": "onnx", "task_categories": ["asr"]},
    "east/hidden": {"license": "secret-license", "tags": ["secret-tag", "nlp"], "summary": "An encoder, too"},
    "west/llama": {"license": "llama3", "tags": ["nlp"], "framework": "gguf"},
    "west/vit": {"license": "apache-2.0", "tags": ["vision"], "framework": "pytorch"},
    "west/hidden": {"license": "mit", "tags": ["nlp", "west-only"], "framework": "pytorch"},
}


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registered]:
    """Two organisations with models of which those named `hidden` are private; `eva` is of the east alone."""
    with open_registered(data=tmp_path_factory.mktemp("hall") / "data", anonymous_public=True) as registered:
        registered.user("eva")
        owners = {"east": registered.org("east", eva="reader"), "west": registered.org("west")}
        for size, (ref, fields) in enumerate(HALL.items(), 1):
            model = ModelAt(owners[ref.partition("/")[0]], ref)
            model.publish("1.0.0", files={"a.bin": b"x" * size}, **fields)
            if not ref.endswith("/hidden"):
                model.make_public()
        yield registered


@pytest.fixture(scope="module")
def eva(hall: Registered) -> Person:
    """A reader of the east."""
    made = hall.admin.post("/users/eva/api-keys", {"name": "tests"})
    return Person(hall.client, "eva", made.json()["key"])


def _list(person: Person, **query: Any) -> dict[str, Any]:
    listed = person.get("/models", params=query)
    assert listed.status_code == 200, listed.text
    return dict(listed.json())


def _names(person: Person, **query: Any) -> list[str]:
    return [model["name"] for model in _list(person, **query)["models"]]


def _facets(person: Person, **query: Any) -> dict[str, Any]:
    counted = person.get("/models/facets", params=query)
    assert counted.status_code == 200, counted.text
    return dict(counted.json())


def _counts(facets: dict[str, Any], kind: str) -> dict[str, int]:
    return {facet["value"]: facet["count"] for facet in facets[kind]["values"]}


PUBLIC = {"east/bert", "east/whisper", "west/llama", "west/vit"}


def test_everybody_is_shown_his_own_and_what_is_public(hall: Registered, eva: Person) -> None:
    assert set(_names(eva)) == PUBLIC | {"east/hidden"}
    assert set(_names(hall.anonymous)) == PUBLIC
    assert set(_names(hall.user("nobody-in-particular"))) == PUBLIC
    assert _list(eva)["total"] == 5


def test_nothing_of_a_hidden_model_is_counted_or_found(hall: Registered, eva: Person) -> None:
    for person, hidden in ((eva, "west-only"), (hall.anonymous, "secret-tag"), (hall.anonymous, "west-only")):
        facets = _facets(person)
        assert hidden not in _counts(facets, "tags")
        assert _names(person, tags=hidden) == []
        assert _counts(_facets(person, tags=hidden), "tags")[hidden] == 0
    assert _counts(_facets(hall.anonymous), "licenses") == {"mit": 2, "apache-2.0": 1, "llama3": 1}
    assert _counts(_facets(eva), "tags") == {"nlp": 3, "en": 2, "audio": 1, "secret-tag": 1, "vision": 1}
    assert set(_names(hall.anonymous, search="encoder")) == {"east/bert"}


def test_the_counts_of_a_kind_are_of_what_passes_the_other_kinds(eva: Person) -> None:
    facets = _facets(eva, license="mit", tags="nlp")
    assert (facets["total"], facets["filtered_total"]) == (5, 1)
    assert _counts(facets, "licenses") == {"llama3": 1, "mit": 1, "secret-license": 1}  # of what has the tag
    assert _counts(facets, "tags") == {"en": 2, "audio": 1, "nlp": 1}  # of what has the licence
    assert _counts(facets, "frameworks") == {"pytorch": 1}  # of what has both


@pytest.mark.parametrize("kind", ["license", "tags", "framework", "size_category", "task_categories"])
@pytest.mark.parametrize("search", [None, "e"])
def test_a_count_is_what_choosing_the_value_would_list(eva: Person, kind: str, search: str | None) -> None:
    for rest in ({}, {"tags": ["nlp", "vision"]}, {"tags": "en", "license": ["mit", "llama3"]}):
        query = {**rest, **({"search": search} if search else {})}
        key = {"license": "licenses", "framework": "frameworks", "size_category": "size_categories"}.get(kind, kind)
        for value, count in _counts(_facets(eva, **query), key).items():
            assert _list(eva, **{**query, kind: value})["total"] == count, (query, value)


def test_the_commonest_values_come_first_and_what_is_chosen_is_always_there(eva: Person) -> None:
    tags = _facets(eva, limit=1)["tags"]
    assert tags == {"values": [{"value": "nlp", "count": 3}], "others": 4}
    tags = _facets(eva, limit=1, tags=["vision", "nothing-has-this"])["tags"]
    assert tags == {
        "values": [
            {"value": "nlp", "count": 3},
            {"value": "vision", "count": 1},
            {"value": "nothing-has-this", "count": 0},
        ],
        "others": 3,
    }


def test_one_organisation_alone(hall: Registered, eva: Person) -> None:
    assert set(_names(eva, org="west")) == {"west/llama", "west/vit"}
    facets = _facets(eva, org="west")
    assert (facets["total"], _counts(facets, "tags")) == (2, {"nlp": 1, "vision": 1})
    closed = hall.org("closed")
    ModelAt(closed, "closed/only").publish("1.0.0")
    for path in ("/models", "/models/facets"):
        hidden, missing = (eva.get(path, params={"org": slug}) for slug in ("closed", "nowhere"))
        assert refusal(hidden) == refusal(missing) == (404, "not_found_error")
        assert hidden.json()["detail"].replace("closed", "nowhere") == missing.json()["detail"]
        assert list(faults(eva.get(path, params={"org": "No Slug"}))) == ["query.org"]


def test_sorting(hall: Registered, eva: Person) -> None:
    visible = [ref for ref in HALL if ref != "west/hidden"]  # as they were published, each larger than the one before
    for sort_by in ("created_at", "file_size_bytes"):
        assert _names(eva, sort_by=sort_by, sort_dir="asc") == visible
        assert _names(eva, sort_by=sort_by) == visible[::-1]
    by_name = sorted(visible, key=lambda ref: ref.partition("/")[2])
    assert _names(eva, sort_by="name", sort_dir="asc") == by_name


def test_sorting_by_downloads_adds_up_all_versions(hall: Registered) -> None:
    owner = hall.org("taken")
    for name, versions in (("never", ["1.0.0"]), ("once", ["1.0.0"]), ("twice", ["1.0.0", "2.0.0"])):
        model = ModelAt(owner, f"taken/{name}")
        model.publish(*versions, files={"a.bin": b"x"})
        for version in versions if name != "never" else ():
            assert model.get(f"/{version}/files/a.bin").status_code == 200
    registry = hall.client.app.state.registry  # type: ignore[attr-defined]
    registry.usage.write_down(registry.database)
    rows = _list(owner, org="taken", sort_by="downloads")["models"]
    assert [(row["name"], row["total_downloads"]) for row in rows] == [
        ("taken/twice", 2), ("taken/once", 1), ("taken/never", 0),
    ]  # fmt: skip
    assert rows[0]["download_count"] == 1, "of the latest version alone"


def test_the_pages_together_are_the_list(eva: Person) -> None:
    whole = _names(eva, sort_by="name")
    pages = [_list(eva, sort_by="name", limit=2, page=page) for page in (1, 2, 3, 4)]
    assert [row["name"] for page in pages for row in page["models"]] == whole
    assert [(page["has_previous"], page["has_next"]) for page in pages] == [
        (False, True), (True, True), (True, False), (True, False),
    ]  # fmt: skip
    assert {(page["total"], page["total_pages"]) for page in pages} == {(5, 3)}


def test_a_row_says_what_a_reader_wants_to_know(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", "1.1.0", files={"a.bin": b"four"}, aliases=["newest"])
    row = _list(tiny.person, name=tiny.ref)["models"][0]
    assert (row["version"], row["aliases"], row["version_count"]) == ("1.1.0", ["newest"], 2)
    assert (row["file_size_bytes"], row["parameter_count"], row["total_downloads"]) == (4, None, 0)


@pytest.mark.parametrize(("shape", "parameters"), [("2,3", 6), ("4611686018427387904,4", None)])
def test_parameters_are_those_of_the_headers_where_anybody_can_count_so_far(
    tiny: ModelAt, shape: str, parameters: int | None
) -> None:
    header = b'{"w":{"dtype":"F32","shape":[%b],"data_offsets":[0,24]}}' % shape.encode()
    tiny.publish("1.0.0", files={"model.safetensors": len(header).to_bytes(8, "little") + header + bytes(24)})
    assert _list(tiny.person, name=tiny.ref)["models"][0]["parameter_count"] == parameters


def test_a_model_without_a_latest_is_neither_listed_nor_counted(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", tags=["of-the-yanked"])
    tiny.put("/1.0.0/yank", {"reason": "wrong"})
    assert _names(tiny.person, name=tiny.ref) == []
    assert "of-the-yanked" not in _counts(_facets(tiny.person), "tags")


@pytest.mark.parametrize("value", ["<script>", "100%", "_", "a\\b", "'; --", "ü", "\u202e", "x" * 200])
def test_odd_values_are_values(tiny: ModelAt, value: str) -> None:
    tiny.publish("1.0.0", tags=[value])
    assert _names(tiny.person, tags=value, name=tiny.ref) == [tiny.ref]
    assert _counts(_facets(tiny.person, name=tiny.ref), "tags") == {value: 1}
