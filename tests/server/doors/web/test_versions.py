"""The time line of a model's versions, and the charts of its metrics."""

import pytest

from steelyard.server.core import timeline
from tests.house import Person
from tests.server.doors.native.models import ModelAt
from tests.server.doors.web.conftest import Visit
from tests.server.doors.web.visiting import Page, Visitor

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


@pytest.fixture
def tiny(ada: Person) -> ModelAt:
    """A model of ada's that is not there before something is published."""
    return ModelAt(ada, f"{ada.name}/tiny")


def shown(browser: Visitor, model: ModelAt, query: str = "") -> Page:
    page = browser.get(f"/{model.ref}/versions{query}")
    assert page.status == 200, page.response.text
    return page


def entry(page: Page, version: str) -> str:
    """What the line says of a version."""
    told = dict(zip(page.texts(".line-body h3"), page.texts(".line-body"), strict=True))
    return told[version]


def test_versions_stand_by_precedence_and_say_how_they_stand(browser: Visitor, tiny: ModelAt) -> None:
    tiny.publish("1.0.0", "1.10.0", "1.9.0", "2.0.0-rc.1")
    tiny.put("/1.9.0/yank", {"reason": "wrong tokenizer"})
    page = shown(browser, tiny)
    assert page.texts(".line-body h3") == ["2.0.0-rc.1", "1.10.0", "1.9.0", "1.0.0"]
    assert [node.attributes["class"] for node in page.all(".line-entry")] == [
        "line-entry line-pre-release", "line-entry line-stable", "line-entry line-yanked", "line-entry line-stable",
    ]  # fmt: skip
    assert "pre-release" in entry(page, "2.0.0-rc.1")
    assert "latest stable" in entry(page, "1.10.0")
    assert "yanked" in entry(page, "1.9.0")
    assert "just now : wrong tokenizer" in entry(page, "1.9.0")
    assert f"by {tiny.person.name}" in entry(page, "1.0.0")


def test_aliases_and_their_moves_stand_along_the_line(browser: Visitor, tiny: ModelAt) -> None:
    tiny.publish("1.0.0", "1.1.0")
    tiny.set_alias("production", "1.0.0")
    tiny.set_alias("production", "1.1.0")
    tiny.set_alias("staging", "1.0.0")
    tiny.delete("/1.0.0/aliases/staging")
    page = shown(browser, tiny)
    who = tiny.person.name
    assert f"production came here from 1.0.0 just now by {who}" in entry(page, "1.1.0")
    old = entry(page, "1.0.0")
    places = [old.index(text) for text in ("staging was removed", "staging was set", "production went on to 1.1.0")]
    assert places == sorted(places), "the newest first"
    assert page.texts(".badge.version")[-1:] == ["alias production"]


def test_outsiders_do_not_see_who(visit: Visit, bob: Person, tiny: ModelAt) -> None:
    tiny.publish("1.0.0", aliases=["production"])
    tiny.make_public()
    text = shown(visit(bob), tiny).text(".line")
    assert "production was set here" in text
    assert f"by {tiny.person.name}" not in text


def test_many_versions_go_by_pages(browser: Visitor, tiny: ModelAt) -> None:
    tiny.publish(*(f"1.{minor}.0" for minor in range(30)))
    first = shown(browser, tiny)
    assert len(first.all(".line-entry")) == 25
    [following] = first.links("a[rel=next]")
    second = browser.get(following)
    assert second.texts(".line-body h3") == [f"1.{minor}.0" for minor in (4, 3, 2, 1, 0)]
    assert browser.get(second.links("a[rel=prev]")[0]).texts(".line-body h3") == first.texts(".line-body h3")
    assert shown(browser, tiny, "?page=99").texts(".line-body h3") == []


def test_chosen_versions_are_compared(browser: Visitor, tiny: ModelAt) -> None:
    tiny.publish("1.0.0", "1.1.0+x.1", "1.2.0")
    form = shown(browser, tiny).form(f"/{tiny.ref}/compare")
    boxes = [(box.attributes["name"], box.attributes["value"]) for box in form.css("input[type=checkbox]")]
    assert boxes == [("versions", "1.2.0"), ("versions", "1.1.0+x.1"), ("versions", "1.0.0")]
    labels = {label.attributes["for"] for label in form.css("label")}
    assert labels == {box.attributes["id"] for box in form.css("input[type=checkbox]")}
    page = browser.get(f"/{tiny.ref}/compare", params={"versions": ["1.2.0", "1.1.0+x.1"]})
    assert page.texts("table.compare thead a")[:2] == ["1.2.0", "1.1.0+x.1"]


def test_metrics_are_charts_with_tables(browser: Visitor, tiny: ModelAt) -> None:
    tiny.publish("1.0.0", metrics={"accuracy": 0.5, "data": "v1"})
    tiny.publish("1.1.0", metrics={"accuracy": 0.75})
    tiny.publish("1.2.0-rc.1", metrics={"accuracy": 0.625})
    tiny.put("/1.1.0/yank", {"reason": "wrong"})
    page = shown(browser, tiny)
    assert page.texts("figure h3") == ["accuracy", "data"]
    [chart] = page.all("svg.chart")
    assert [node.text() for node in chart.css("title")] == ["1.0.0: 0.5", "1.1.0: 0.75", "1.2.0-rc.1: 0.625"]
    assert [len(chart.css(kind)) for kind in (".chart-dot", ".chart-diamond", ".chart-cross")] == [1, 1, 1]
    [accuracy, data] = page.all("figure table")
    assert [" ".join(row.text(separator=" ").split()) for row in accuracy.css("tbody tr")] == [
        "1.2.0-rc.1 pre-release 0.625", "1.1.0 yanked 0.75", "1.0.0 0.5",
    ]  # fmt: skip
    assert [" ".join(row.text(separator=" ").split()) for row in data.css("tbody tr")] == ["1.0.0 v1"]


@pytest.mark.parametrize("value", [1e308, -1e308, 5e-324, 0, 10**300])
def test_metrics_at_the_edges(browser: Visitor, tiny: ModelAt, value: float) -> None:
    tiny.publish("1.0.0", metrics={"huge": value})
    tiny.publish("2.0.0", metrics={"huge": -value})
    page = shown(browser, tiny)
    [chart] = page.all("svg.chart")
    assert len(chart.css("circle")) == 2
    assert "nan" not in (chart.html or "").lower() and "inf" not in (chart.html or "").lower()


def test_many_metrics_go_by_pages(browser: Visitor, tiny: ModelAt) -> None:
    tiny.publish("1.0.0", metrics={f"m{number}": number for number in range(8)})
    first = shown(browser, tiny)
    assert first.texts("figure h3") == [f"m{number}" for number in range(6)]
    assert browser.get(first.links("a[rel=next]")[0]).texts("figure h3") == ["m6", "m7"]


def test_words_of_others_stay_words(browser: Visitor, tiny: ModelAt) -> None:
    tiny.publish("1.0.0", metrics={HOSTILE: 1, "\u202emirrored": HOSTILE})
    tiny.put("/1.0.0/yank", {"reason": HOSTILE + "\u202e"})
    page = shown(browser, tiny)
    assert page.all("main script, main img, main [onerror], main [style]") == []
    assert HOSTILE in page.text(".line-yank")
    assert "U+202E" in page.text(".line-yank")
    assert set(page.texts("figure h3")) == {HOSTILE, "U+202E mirrored"}
    assert "\u202e" not in page.text("figure h3")


def test_a_model_without_versions(browser: Visitor, tiny: ModelAt) -> None:
    tiny.publish("1.0.0")
    assert tiny.delete("/1.0.0").status_code == 204
    page = shown(browser, tiny)
    assert "no version yet" in page.text(".empty")
    assert f"steelyard push FOLDER {tiny.ref}:1.0.0" in page.text(".empty")


def test_the_json_twin_has_the_same(browser: Visitor, tiny: ModelAt) -> None:
    tiny.publish("1.0.0", "1.1.0")
    [twin] = shown(browser, tiny).links("link[rel=alternate]")
    told = tiny.person.client.get(twin, headers={"Authorization": f"Bearer {tiny.person.token}"}).json()
    assert [it["version"] for it in told["versions"]] == ["1.1.0", "1.0.0"]


def test_hidden_models_are_not_there(visit: Visit, bob: Person, tiny: ModelAt) -> None:
    tiny.publish("1.0.0")
    for path in ("versions", "compare", "compare?versions=1.0.0&versions=1.0.0&tensors=true"):
        assert visit(bob).get(f"/{tiny.ref}/{path}").status == 404
    assert visit(bob).get(f"/{tiny.org}/a..b/versions").status == 404


def test_a_page_costs_no_more_with_more_moves(browser: Visitor, tiny: ModelAt) -> None:
    tiny.publish("1.0.0", "1.1.0")
    for turn in range(2 * timeline.MOST_MOVES + 4):
        tiny.set_alias("nightly", ("1.0.0", "1.1.0")[turn % 2])
    page = shown(browser, tiny)
    assert len(page.all(".line-moves li")) == 2 * (timeline.MOST_MOVES + 1)
    assert page.texts(".line-moves li.faint") == ["and others before them"] * 2
