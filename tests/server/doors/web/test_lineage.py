"""The page of a version's lineage: a picture with links, the same as a list; nothing that its reader may not see."""

import json
import re

import pytest

from steelyard.server.doors.web.model.lineage import percent
from tests.house import Person
from tests.server.doors.web.conftest import Visit
from tests.server.doors.web.visiting import Page, Visitor

HOSTILE = '"><script>alert(1)</script>\u202e\x07' + "Z" + "\u0301" * 50


def weights_of(person: Person) -> bytes:
    """7 kB that nobody else has."""
    return person.name.ljust(7).encode() * 1_000


@pytest.fixture
def tuned(ada: Person) -> str:
    """`<ada>/tuned`, made from `<ada>/base:1.2.0`, with a child; all of them public."""
    org, weights = ada.name, weights_of(ada)
    ada.publish(f"{org}/base:1.2.0", {"w.bin": weights, "a": b"1"}, is_public=True)
    derived = [{"name": f"{org}/base", "version": "1.2.0", "relation": "finetune"}]
    origin = {"derived_from": derived, "source": "huggingface", "repo": "meta/llama", "url": "https://example.com/meta"}
    ada.publish(f"{org}/tuned:1.0.0", {"w.bin": weights, "a": b"2"}, is_public=True, origin=origin)
    ada.publish(f"{org}/small:0.1.0", {"q.gguf": b"q"}, is_public=True, base_model=f"{org}/tuned:1.0.0")
    ada.publish(f"{org}/copy:1.0.0", {"w.bin": weights, "a": b"4"}, is_public=True)
    return f"/{org}/tuned"


def test_the_picture_has_a_link_for_each_model_and_says_how_they_are_tied(browser: Visitor, tuned: str) -> None:
    page = browser.get(f"{tuned}/lineage/latest")
    org = tuned.split("/")[1]
    assert page.status == 200
    assert page.links("svg.picture a") == [
        f"/{org}/tuned/v/1.0.0", "https://example.com/meta", f"/{org}/base/v/1.2.0", f"/{org}/small/v/0.1.0",
        f"/{org}/copy/v/1.0.0",
    ]  # fmt: skip
    assert page.texts("svg .picture-label") == [
        "huggingface",
        "finetune",
        "shares 99.9 %",
        "base model",
        "shares 99.9 %",
    ]
    assert [node.attributes["aria-label"] for node in page.all("svg.picture a")][2] == f"{org}/base:1.2.0"
    for link in page.links("svg.picture a"):
        assert link.startswith("https:") or browser.get(link).status == 200


def test_the_list_says_the_same_without_the_picture(browser: Visitor, tuned: str) -> None:
    page = browser.get(f"{tuned}/lineage/1.0.0")
    org = tuned.split("/")[1]
    assert page.texts(".lineage-list li") == [
        "meta/llama elsewhere · source (huggingface)",
        f"{org}/base:1.2.0 · derived from (finetune)",
        f"{org}/small:0.1.0 · base model",
    ]
    below = browser.get(f"/{org}/base/lineage/latest")
    assert below.texts(".lineage-list > ul > li > ul > li") == [f"{org}/small:0.1.0 · base model"]


def test_shared_bytes_are_a_sentence_and_a_table(browser: Visitor, tuned: str) -> None:
    page = browser.get(f"{tuned}/lineage/latest")
    org = tuned.split("/")[1]
    assert f"Shares 99.9 % of its bytes with {org}/copy:1.0.0" in page.text()
    assert page.texts("table tbody tr")[:2] == [
        f"{org}/copy:1.0.0 99.9 % 7 kB",
        f"{org}/base:1.2.0 99.9 % 7 kB",
    ]


def test_the_twin_is_the_same_in_json(browser: Visitor, ada: Person, tuned: str) -> None:
    page = browser.get(f"{tuned}/lineage/latest")
    [twin] = page.links('link[rel="alternate"]')
    told = ada.client.get(twin, headers={"Authorization": f"Bearer {ada.token}"}).json()
    assert [node["name"] for node in told["nodes"]] == [
        "/".join(tuned.split("/")[1:]),
        *(n["name"] for n in told["nodes"][1:]),
    ]
    assert len(page.all("svg .picture-box")) == len(told["nodes"]) + 1, "and one that has the same bytes"


def test_a_version_that_stands_alone_has_no_picture_and_says_what_to_do(browser: Visitor, ada: Person) -> None:
    ada.publish(f"{ada.name}/alone:1.0.0")
    page = browser.get(f"/{ada.name}/alone/lineage/latest")
    assert page.all("svg.picture") == []
    assert "--derived-from" in page.text()
    assert page.texts(".origin th")[-3:] == ["published by", "published via", "published at"]


def test_strangers_see_nothing_of_what_is_hidden(visit: Visit, ada: Person, bob: Person) -> None:
    org = ada.name
    for name, fields in (
        ("secret-base", {}),
        ("open", {"base_model": f"{org}/secret-base", "is_public": True}),
        ("secret-tip", {"base_model": f"{org}/open"}),
    ):
        ada.publish(f"{org}/{name}:1.0.0", {"w.bin": weights_of(ada)}, **fields)
    mine, his = visit(ada).get(f"/{org}/open/lineage/latest"), visit(bob).get(f"/{org}/open/lineage/latest")
    assert len(mine.all("svg.picture a")) == 3
    assert his.status == 200
    assert "secret" not in his.response.text
    assert his.all("svg.picture") == []
    assert visit(bob).get(f"/{org}/secret-base/lineage/latest").status == 404


def test_whatever_a_publisher_writes_stays_text(browser: Visitor, ada: Person) -> None:
    origin = {
        "derived_from": [
            {"name": HOSTILE, "version": HOSTILE, "relation": HOSTILE},
            {"name": "javascript:alert(1)//" + "x" * 5_000},
            {"name": "\u05d0\u05d1 \uff21\uff22 " * 40},
        ],
        "source": HOSTILE,
        "repo": HOSTILE,
        "url": "javascript:alert(1)",
        HOSTILE: {HOSTILE: [HOSTILE, {"a": HOSTILE}], "b": None},
        "git": [HOSTILE],
        "created_with": {"tool": HOSTILE, "version": 3},
        "registry": "forged",
    }
    published = ada.publish(f"{ada.name}/hostile:1.0.0", origin=origin, base_model="data:text/html,<b>x</b>")
    assert published.status_code == 201, published.text
    page = browser.get(f"/{ada.name}/hostile/lineage/latest")
    assert page.status == 200
    _check_harmless(page)
    assert len(page.all("svg.picture .picture-box")) == 6
    assert "\u202e" not in page.response.text and "\x07" not in page.response.text


def _check_harmless(page: Page) -> None:
    """No script but ours, no handler, no style, and no link but to pages and the web."""
    assert [(node.attributes.get("src") or "")[:10] for node in page.all("script")] == ["/-/assets/"]
    for node in page.all("*"):
        assert not [name for name in node.attributes if name.startswith("on") or name == "style"], node.html
    for link in page.links():
        assert re.match(r"(/(?!/)|https?://|#)", link), link
    assert page.all("foreignobject") == []


def test_texts_of_the_picture_are_of_bounded_width(browser: Visitor, ada: Person) -> None:
    parents = [{"name": text * 300, "relation": text * 300} for text in ("W", "模", "a b ", "\u0301", "\u200b", "🦀")]
    ada.publish(f"{ada.name}/wide:1.0.0", origin={"derived_from": parents})
    page = browser.get(f"/{ada.name}/wide/lineage/latest")
    assert max(len(node.text()) for node in page.all("svg.picture text")) <= 24
    picture = page.html.css_first("svg.picture")
    assert picture is not None
    assert int(picture.attributes["width"] or 0) < 600


def test_circles_end(browser: Visitor, ada: Person) -> None:
    org = ada.name
    ada.publish(f"{org}/hen:1.0.0")
    ada.publish(f"{org}/egg:1.0.0", origin={"derived_from": [{"name": f"{org}/hen", "version": "2.0.0"}]})
    ada.publish(f"{org}/hen:2.0.0", origin={"derived_from": [{"name": f"{org}/egg", "version": "1.0.0"}]})
    page = browser.get(f"/{org}/hen/lineage/2.0.0")
    assert len(page.all("svg.picture .picture-box")) == 2
    assert page.texts(".lineage-list > ul > li > ul > li") == [f"{org}/hen:2.0.0 · derived from (as told above)"] * 2


@pytest.mark.parametrize(
    ("ref", "status"), [("9.9.9", 404), ("no-alias", 404), ("^1", 200), ("latest", 200), ("%00", 422)]
)
def test_any_way_to_name_a_version_will_do(browser: Visitor, tuned: str, ref: str, status: int) -> None:
    assert browser.get(f"{tuned}/lineage/{ref}").status == status


def test_a_page_of_a_yanked_version_says_so(browser: Visitor, ada: Person, tuned: str) -> None:
    assert ada.put(f"/org/{ada.name}/models/base/1.2.0/yank", {"reason": "wrong"}).status_code == 200
    page = browser.get(f"{tuned}/lineage/latest")
    assert "yanked" in page.text(".lineage-list")
    assert "1.2.0, yanked" in page.texts("svg .picture-below")


def test_json_in_an_origin_is_shown_as_json(browser: Visitor, ada: Person) -> None:
    ada.publish(
        f"{ada.name}/facts:1.0.0", origin={"deep": {"list": [1, {"a": None}], "yes": True}, "git": {"dirty": False}}
    )
    page = browser.get(f"/{ada.name}/facts/lineage/latest")
    rows = dict(zip(page.texts(".origin th"), page.texts(".origin td"), strict=True))
    assert json.loads(rows["deep list"]) == [1, {"a": None}]
    assert (rows["deep yes"], rows["git dirty"]) == ("yes", "no")


@pytest.mark.parametrize(
    ("share", "said"),
    [(1.0, "100 %"), (0.99999, "99.9 %"), (0.97, "97 %"), (0.979, "97 %"), (0.5, "50 %"), (0.0999, "9.9 %"),
     (0.01, "1 %"), (0.991, "99.1 %")],
)  # fmt: skip
def test_a_share_is_never_said_to_be_more_than_it_is(share: float, said: str) -> None:
    assert percent(share) == said
