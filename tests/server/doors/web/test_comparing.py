"""Versions side by side, on a page: what is said of them, metrics, files, tensors; and the form to choose them."""

from typing import Any

import pytest

from tests.house import Person
from tests.house.people import oid_of
from tests.server.core.files.weight_files import gguf_header, gguf_tensor, safetensors, safetensors_of
from tests.server.doors.native.models import ModelAt
from tests.server.doors.web.conftest import Visit
from tests.server.doors.web.visiting import Page, Visitor

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
MINUS = "\N{MINUS SIGN}"


@pytest.fixture
def tiny(ada: Person) -> ModelAt:
    """A model of ada's that is not there before something is published."""
    return ModelAt(ada, f"{ada.name}/tiny")


def compare(browser: Visitor, model: ModelAt, *versions: str, **query: Any) -> Page:
    page = browser.get(f"/{model.ref}/compare", params={"versions": list(versions), **query})
    assert page.status == 200, page.response.text
    return page


def table(page: Page, label: str) -> dict[str, list[str]]:
    """The rows of a table by what stands at their head, with what stands in their cells."""
    rows = page.all(f'[aria-label="{label}"] tbody tr')
    return {said(row.css("th")[0]): [said(cell) for cell in row.css("td")] for row in rows}


def said(node: Any) -> str:
    return " ".join(node.text(separator=" ").split())


# --- choosing


def test_without_a_choice_there_is_a_form(browser: Visitor, tiny: ModelAt) -> None:
    tiny.publish("1.0.0", "1.1.0")
    page = browser.get(f"/{tiny.ref}/compare")
    assert page.status == 200
    assert page.all("[role=alert]") == []
    form = page.form(f"/{tiny.ref}/compare")
    assert [field.attributes["value"] for field in form.css("input[name=versions]")] == [""] * 5
    assert [option.attributes["value"] for option in form.css("datalist option")] == ["1.1.0", "1.0.0"]
    assert len(form.css("label[for]")) == 5


@pytest.mark.parametrize(
    ("versions", "problem"),
    [
        (["1.0.0"], "Choose at least 2 versions."),
        (["1.0.0", " ", ""], "Choose at least 2 versions."),
        (["1.0.0"] * 6, "At most 5 versions are compared at once; these are 6."),
        (["1.0.0", "9.9.9"], "has no version 9.9.9"),
        (["1.0.0", "no-such-alias"], "has no alias"),
        (["1.0.0", HOSTILE], "is no version, alias or range"),
        (["1.0.0", "x" * 5_000], "is no version, alias or range"),
    ],
)
def test_a_choice_that_cannot_be_compared(browser: Visitor, tiny: ModelAt, versions: list[str], problem: str) -> None:
    tiny.publish("1.0.0")
    page = browser.get(f"/{tiny.ref}/compare", params={"versions": versions})
    assert page.status == 422
    assert problem in page.text("[role=alert]")
    assert page.all("main script, main img") == []
    kept = [field.attributes["value"] for field in page.form(f"/{tiny.ref}/compare").css("input[name=versions]")]
    assert kept[0] == "1.0.0" and len(kept) == 5


def test_what_was_not_found_is_said_of_each(browser: Visitor, tiny: ModelAt) -> None:
    tiny.publish("1.0.0")
    page = browser.get(f"/{tiny.ref}/compare", params={"versions": ["8.0.0", "9.0.0"]})
    assert len(page.all("[role=alert] p")) == 2


def test_aliases_and_ranges_lead_to_numbers(browser: Visitor, tiny: ModelAt) -> None:
    tiny.publish("1.0.0", aliases=["production"])
    tiny.publish("1.1.0", "2.0.0")
    page = compare(browser, tiny, "production", "^1.0", "latest")
    assert page.texts('[aria-label="Files of the versions"] thead a') == ["1.0.0", "1.1.0", "2.0.0"]


# --- side by side


def test_what_is_said_of_them(browser: Visitor, tiny: ModelAt) -> None:
    tiny.publish("1.0.0", license="mit", tags=["a", "b"])
    tiny.publish("1.1.0", license="mit", tags=["a"], summary="Better", dataset_refs=["squad", {"name": "x"}])
    page = compare(browser, tiny, "1.0.0", "1.1.0")
    rows = table(page, "What is said of the versions")
    assert rows["license"] == ["mit", "mit"]
    assert rows["tags (differs)"] == ["a, b", "a"]
    assert rows["summary (differs)"] == ["none", "Better"]
    assert rows["datasets (differs)"] == ["none", 'squad, {"name": "x"}']
    assert "task" not in " ".join(rows)
    differing = [said(row.css("th")[0]) for row in page.all("tr.differs")]
    assert differing[0] == "published (differs)"


def test_metrics_and_how_far_they_lie_apart(browser: Visitor, tiny: ModelAt) -> None:
    tiny.publish("1.0.0", metrics={"accuracy": 0.5, "steps": 1000, "note": "a", "huge": -1e308, "level": 3})
    tiny.publish("2.0.0", metrics={"accuracy": 0.53, "steps": 500, "note": "b", "huge": 1e308, "level": 3, "new": 1})
    page = compare(browser, tiny, "1.0.0", "2.0.0")
    assert table(page, "Metrics of the versions") == {
        "accuracy (differs)": ["0.5", "0.53 +0.03"],
        "huge (differs)": ["-1e+308", "1e+308 +2e+308"],
        "level": ["3", "3"],
        "new (differs)": ["none", "1"],
        "note (differs)": ["a", "b"],
        "steps (differs)": ["1,000", f"500 {MINUS}500"],
    }


def test_files(browser: Visitor, tiny: ModelAt) -> None:
    tiny.publish("1.0.0", files={"a": b"a", "b": b"bb", "kept": b"k"})
    tiny.publish("1.1.0", files={"b": b"BBB", "c d": b"c", "kept": b"k"})
    page = compare(browser, tiny, "1.0.0", "1.1.0")
    assert table(page, "How many files differ") == {"1.1.0": ["1", "1", "1", "1"]}
    rows = table(page, "Files of the versions")
    assert list(rows) == ["a", "b", "c d"]
    assert [row[1].partition("1.1.0")[0] for row in rows.values()] == [
        f"{MINUS} removed", "≠ changed 3 B : b in ", "+ added 1 B : c d in ",
    ]  # fmt: skip
    assert oid_of(b"BBB")[7:19] in rows["b"][1]
    assert rows["c d"][0] == "not there"
    assert f"/{tiny.ref}/blob/1.1.0/c%20d" in page.links()
    [also] = [link for link in page.links() if "unchanged=true" in link]
    assert list(table(browser.get(also), "Files of the versions")) == ["a", "b", "c d", "kept"]


def test_many_files_go_by_pages(browser: Visitor, tiny: ModelAt) -> None:
    for version, content in (("1.0.0", b"old"), ("1.1.0", b"new")):
        tiny.publish(version, files={f"{number:03}": content for number in range(150)})
    first = compare(browser, tiny, "1.0.0", "1.1.0")
    assert list(table(first, "Files of the versions")) == [f"{number:03}" for number in range(100)]
    second = browser.get(first.links("a[rel=next]")[0])
    assert list(table(second, "Files of the versions")) == [f"{number:03}" for number in range(100, 150)]
    assert table(second, "How many files differ") == {"1.1.0": ["0", "0", "150", "0"]}


# --- tensors


def test_tensors_when_they_are_asked_for(browser: Visitor, tiny: ModelAt) -> None:
    tiny.publish("1.0.0", files={"model.safetensors": safetensors({"w": [2, 3], "gone": [1], "kept": [4]})})
    tiny.publish("1.1.0", files={"model.safetensors": safetensors({"w": [3, 3], "new": [], "kept": [4]})})
    page = compare(browser, tiny, "1.0.0", "1.1.0")
    assert page.all('[aria-label="Tensors of the versions"]') == []
    [link] = [link for link in page.links() if "tensors=true" in link]
    page = browser.get(link)
    assert table(page, "How many tensors differ") == {"1.1.0": ["1", "1", "1", "1"]}
    assert table(page, "Tensors of the versions") == {
        "gone": ["model.safetensors", "F32 [1]", f"{MINUS} removed"],
        "new": ["model.safetensors", "not there", "+ added F32 []"],
        "w": ["model.safetensors", "F32 [2, 3]", "≠ changed F32 [3, 3]"],
    }


def test_tensors_of_gguf(browser: Visitor, tiny: ModelAt) -> None:
    for version, shape in (("1.0.0", [32, 2]), ("1.1.0", [32, 3])):
        tiny.publish(version, files={"m.gguf": gguf_header(1, 0) + gguf_tensor("w", shape) + bytes(4096)})
    page = compare(browser, tiny, "1.0.0", "1.1.0", tensors="true")
    assert table(page, "Tensors of the versions") == {"w": ["m.gguf", "F32 [32, 2]", "≠ changed F32 [32, 3]"]}


def test_weights_that_cannot_be_read(browser: Visitor, tiny: ModelAt) -> None:
    tiny.publish("1.0.0", files={"model.safetensors": safetensors({"w": [1]})})
    tiny.publish("1.1.0", files={"model.safetensors": safetensors_of(b"{nonsense")})
    page = compare(browser, tiny, "1.0.0", "1.1.0", tensors="true")
    assert "model.safetensors in 1.1.0" in page.text(".warning li")


def test_versions_without_weights(browser: Visitor, tiny: ModelAt) -> None:
    tiny.publish("1.0.0", "1.1.0", files={"a.txt": b"a"})
    page = compare(browser, tiny, "1.0.0", "1.1.0", tensors="true")
    assert "None of them has safetensors or GGUF files." in page.text()
    assert "No file differs." in page.text()
    assert "None of them has metrics." in page.text()


# --- what others wrote


def test_words_of_others_stay_words(browser: Visitor, tiny: ModelAt) -> None:
    weights = {"model.safetensors": safetensors({HOSTILE + "\u202e": [1]}), f"{HOSTILE[:8]}.txt".replace('"', ""): b"x"}
    tiny.publish(
        "1.0.0", files={"a": b"a"}, metrics={HOSTILE: HOSTILE}, summary=HOSTILE, tags=[HOSTILE, "\u202emirrored"]
    )
    tiny.publish("1.1.0", files=weights, metrics={HOSTILE: 1}, license=HOSTILE)
    tiny.put("/1.1.0/yank", {"reason": HOSTILE})
    page = compare(browser, tiny, "1.0.0", "1.1.0", tensors="true")
    assert page.all("main script, main img, main [onerror], main [style]") == []
    assert f"{HOSTILE} U+202E" in table(page, "Tensors of the versions")
    assert table(page, "What is said of the versions")["tags (differs)"][0] == f"{HOSTILE}, U+202E mirrored"
    assert f"{HOSTILE} (differs)" in table(page, "Metrics of the versions")


def test_outsiders_see_no_hidden_parents(visit: Visit, bob: Person, tiny: ModelAt) -> None:
    ModelAt(tiny.person, f"{tiny.org}/secret").publish("1.0.0")
    tiny.publish("1.0.0", "1.1.0", base_model=f"{tiny.org}/secret")
    tiny.make_public()
    assert "secret" not in compare(visit(bob), tiny, "1.0.0", "1.1.0").text()


def test_the_json_twin_has_the_same(browser: Visitor, tiny: ModelAt) -> None:
    tiny.publish("1.0.0", "1.1.0+x", metrics={"a": 1})
    for query, keys in (({}, set()), ({"tensors": "true", "unchanged": "true"}, {"tensors"})):
        [twin] = compare(browser, tiny, "1.0.0", "1.1.0+x", **query).links("link[rel=alternate]")
        told = tiny.person.client.get(twin, headers={"Authorization": f"Bearer {tiny.person.token}"}).json()
        assert set(told) == {"name", "metric_keys", "versions", "metadata", "files"} | keys
        assert [version["version"] for version in told["versions"]] == ["1.0.0", "1.1.0+x"]
