"""Lists of models: what they are filtered by, and how they are sorted and paged (contract section 4, rows 1 and 2)."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.house import Person, Registered
from tests.house.people import oid_of
from tests.server.doors.native.models import ModelAt

# Eight models that differ in everything; they are only read.
SHELF: dict[str, dict[str, Any]] = {
    "bert": {"summary": "Small encoder", "tags": ["nlp", "en"], "license": "mit", "framework": "pytorch"},
    "Bert-Large": {"summary": "A LARGE encoder", "tags": ["nlp"], "license": "apache-2.0"},
    "whisper": {"task_categories": ["asr", "translation"], "license": "mit", "size_category": "large"},
    "llama": {"summary": "100% open_weights", "framework": "gguf", "license": "mit", "size_category": "huge"},
    "llama-2": {"summary": "1000 openXweights", "framework": "gguf"},
    "vit": {"tags": ["vision", "en"], "task_categories": ["classification"], "summary": "Größe, straße"},
    "back-slash": {"summary": "a back\\slash and a 'quote'"},
    "only-rc": {"version": "2.0.0-rc.1", "summary": "not stable"},
}


@pytest.fixture(scope="module")
def shelf(registry: Registered) -> Person:
    """The owner of the eight models, and of one that was yanked whole."""
    owner = registry.org("shelf")
    for size, (name, fields) in enumerate(SHELF.items(), 1):
        version = fields.get("version", "1.0.0")
        described = {key: value for key, value in fields.items() if key != "version"}
        ModelAt(owner, f"shelf/{name}").publish(version, files={"weights.onnx": b"x" * size}, **described)
    gone = ModelAt(owner, "shelf/gone")
    gone.publish("1.0.0", summary="encoder", tags=["nlp"])
    gone.put("/1.0.0/yank", {"reason": "wrong"})
    return owner


def _list(person: Person, org: str = "shelf", **query: Any) -> dict[str, Any]:
    listed = person.get(f"/org/{org}/models", params=query)
    assert listed.status_code == 200, listed.text
    return dict(listed.json())


def _names(person: Person, org: str = "shelf", **query: Any) -> list[str]:
    return [model["name"].partition("/")[2] for model in _list(person, org, **query)["models"]]


def test_each_model_is_listed_once_by_its_latest_version(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", "2.0.0", "1.5.0", "3.0.0-rc.1", aliases=["newest"])
    (row,) = _list(tiny.person, tiny.org)["models"]
    assert (row["name"], row["version"], row["version_count"]) == (tiny.ref, "2.0.0", 4)
    assert (row["aliases"], row["origin"]["registry"]["published_by"]) == ([], tiny.person.name)
    assert "artifacts" not in row


def test_a_model_without_a_latest_is_not_listed(shelf: Person) -> None:
    assert "gone" not in _names(shelf)
    assert _list(shelf)["total"] == len(SHELF)


def test_an_empty_list_is_a_page_too(bob: Person) -> None:
    assert _list(bob, bob.name) == {
        "models": [], "page": 1, "limit": 50, "total": 0, "total_pages": 0, "has_next": False, "has_previous": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"name": "bert"}, "bert"),
        ({"name": "BERT-large"}, "Bert-Large"),
        ({"name": "shelf/bert"}, "bert"),
        ({"name": "other/bert"}, ""),
        ({"name": "ber"}, ""),
        ({"search": "encoder"}, "bert Bert-Large"),
        ({"search": "ENCODER"}, "bert Bert-Large"),
        ({"search": "BERT"}, "bert Bert-Large"),
        ({"search": "GRÖSSE"}, "vit"),
        ({"search": "STRASSE"}, "vit"),
        ({"search": "100%"}, "llama"),
        ({"search": "%"}, "llama"),
        ({"search": "open_weights"}, "llama"),
        ({"search": "_"}, "llama"),
        ({"search": "back\\slash"}, "back-slash"),
        ({"search": "'quote'"}, "back-slash"),
        ({"search": "' OR 1=1 --"}, ""),
        ({"license": "mit"}, "bert whisper llama"),
        ({"license": "MIT"}, ""),
        ({"license": ["mit", "apache-2.0"]}, "bert whisper llama Bert-Large"),
        ({"tags": "en"}, "bert vit"),
        ({"tags": ["vision", "nlp"]}, "bert Bert-Large vit"),
        ({"tags": "en", "license": "mit"}, "bert"),
        ({"framework": ["gguf", "pytorch"]}, "bert llama llama-2"),
        ({"task_categories": ["asr", "classification"]}, "whisper vit"),
        ({"size_category": ["large", "huge"]}, "whisper llama"),
        ({"search": "encoder", "tags": "en", "framework": "pytorch"}, "bert"),
        ({"tags": "nothing has this"}, ""),
        ({"search": "not stable"}, "only-rc"),
    ],
    ids=str,
)
def test_filters(shelf: Person, query: dict[str, Any], found: str) -> None:
    names = set(found.split())
    assert set(_names(shelf, **query)) == names
    assert _list(shelf, **query)["total"] == len(names)
    facets = shelf.get("/org/shelf/models/facets", params=query).json()
    assert (facets["total"], facets["filtered_total"]) == (len(SHELF), len(names))


def test_filters_see_only_what_the_latest_version_says(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", tags=["old"], summary="before")
    tiny.publish("2.0.0", tags=["new"], summary="after")
    found = [_names(tiny.person, tiny.org, **query) for query in ({"tags": "old"}, {"search": "before"})]
    assert found == [[], []]
    tiny.put("/2.0.0/yank", {"reason": "back to the old one"})
    found = [_names(tiny.person, tiny.org, **query) for query in ({"tags": "old"}, {"search": "before"})]
    assert found == [["tiny"], ["tiny"]]


def _sizes(rows: Sequence[str]) -> list[int]:
    return [list(SHELF).index(name) for name in rows]


@pytest.mark.parametrize("sort_by", ["created_at", "updated_at", "file_size_bytes"])
def test_sorting_by_what_grew_on_the_shelf(shelf: Person, sort_by: str) -> None:
    assert _names(shelf, sort_by=sort_by, sort_dir="asc") == list(SHELF)
    assert _names(shelf, sort_by=sort_by) == list(SHELF)[::-1]


def test_sorting_by_name_ignores_case(shelf: Person) -> None:
    by_name = sorted(SHELF, key=str.lower)
    assert _names(shelf, sort_by="name", sort_dir="asc") == by_name
    assert _names(shelf, sort_by="name", sort_dir="desc") == by_name[::-1]


def test_the_newest_come_first(shelf: Person) -> None:
    assert _names(shelf) == list(SHELF)[::-1]


@pytest.mark.parametrize(
    ("page", "rows", "has_next", "has_previous"), [(1, 3, True, False), (2, 3, True, True), (3, 2, False, True)]
)
def test_paging(shelf: Person, page: int, rows: int, has_next: bool, has_previous: bool) -> None:
    answered = _list(shelf, page=page, limit=3, sort_by="name", sort_dir="asc")
    assert len(answered["models"]) == rows
    assert (answered["page"], answered["limit"], answered["total"], answered["total_pages"]) == (page, 3, 8, 3)
    assert (answered["has_next"], answered["has_previous"]) == (has_next, has_previous)


def test_the_pages_together_are_the_list(shelf: Person) -> None:
    for sort_by in ("name", "created_at", "file_size_bytes"):
        pages = [name for page in (1, 2, 3) for name in _names(shelf, page=page, limit=3, sort_by=sort_by)]
        assert pages == _names(shelf, sort_by=sort_by)
    assert _names(shelf, page=4, limit=3) == []


def test_facets_tell_what_there_is_to_filter_by(shelf: Person) -> None:
    facets = shelf.get("/org/shelf/models/facets", params={"license": "apache-2.0"}).json()
    assert facets == {
        "total": 8,
        "filtered_total": 1,
        "frameworks": ["gguf", "onnx", "pytorch"],
        "licenses": ["apache-2.0", "mit"],
        "size_categories": facets["size_categories"],
        "tags": ["en", "nlp", "vision"],
        "task_categories": ["asr", "classification", "translation"],
    }
    assert {"large", "huge"} < set(facets["size_categories"])


def test_include_public_adds_the_public_models_of_others(registry: Registered, ada: Person, bob: Person) -> None:
    mine, shown, hidden = (
        ModelAt(*at) for at in ((ada, f"{ada.name}/mine"), (bob, f"{bob.name}/shown"), (bob, f"{bob.name}/hidden"))
    )
    for model in (mine, shown, hidden):
        model.publish("1.0.0", tags=[model.ref.partition("/")[2]])
    shown.make_public()
    assert _names(ada, ada.name) == ["mine"]
    both = {model["name"] for model in _list(ada, ada.name, include_public="true", limit=200)["models"]}
    assert {mine.ref, shown.ref} <= both
    assert hidden.ref not in both
    assert _list(ada, ada.name, include_public="true", tags="shown")["models"][0]["name"] == shown.ref
    facets = ada.get(f"/org/{ada.name}/models/facets", params={"include_public": True}).json()
    assert "shown" in facets["tags"]
    assert "hidden" not in facets["tags"]


def test_an_outsider_is_shown_only_what_is_public(ada: Person, bob: Person) -> None:
    for name in ("shown", "hidden"):
        ModelAt(ada, f"{ada.name}/{name}").publish("1.0.0", tags=[name], license=name)
    assert bob.get(f"/org/{ada.name}/models").status_code == 404
    ModelAt(ada, f"{ada.name}/shown").make_public()
    assert (_names(bob, ada.name), _list(bob, ada.name)["total"]) == (["shown"], 1)
    assert _names(bob, ada.name, search="hidden") == _names(bob, ada.name, tags="hidden") == []
    facets = bob.get(f"/org/{ada.name}/models/facets").json()
    assert (facets["total"], facets["tags"], facets["licenses"]) == (1, ["shown"], ["shown"])


def test_no_body_carries_a_key_full_name(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", files={"a.bin": b"x"})
    bodies = [
        tiny.get(), tiny.get("/versions"), tiny.get("/compare?versions=1.0.0&versions=latest"), tiny.get("/aliases"),
        tiny.person.get(f"/org/{tiny.org}/models"), tiny.set_alias("a", "1.0.0"), tiny.post("/1.0.0/download"),
    ]  # fmt: skip
    assert all("full_name" not in body.text for body in bodies)
    assert {body.json()["name"] for body in bodies if "name" in body.json()} == {tiny.ref}
    assert oid_of(b"x") in bodies[0].text
