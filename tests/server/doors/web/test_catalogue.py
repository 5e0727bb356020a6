"""The catalogue as somebody without a script uses it: what he is shown, by which links, and what addresses say."""

from typing import Any

import pytest

from tests.conftest import MakeRegistered
from tests.house import Person, Registered
from tests.server.doors.native.models import ModelAt
from tests.server.doors.web.conftest import Visit
from tests.server.doors.web.visiting import Page, Visitor

HALL: dict[str, dict[str, Any]] = {
    "hall/bert": {"license": "mit", "tags": ["nlp", "en"], "framework": "pytorch", "summary": "An encoder"},
    "hall/whisper": {"license": "mit", "tags": ["audio", "en"], "framework": "onnx", "task": "speech"},
    "hall/llama": {"license": "llama3", "tags": ["nlp"], "framework": "gguf", "aliases": ["production"]},
    "hall/secret": {"license": "of-the-secret", "tags": ["nlp"], "framework": "pytorch", "summary": "An encoder"},
}


@pytest.fixture(scope="module")
def owner(registered: Registered) -> Person:
    """Of an organisation with three public models, and a private one."""
    owner = registered.org("hall")
    for size, (ref, fields) in enumerate(HALL.items(), 1):
        model = ModelAt(owner, ref)
        model.publish("1.0.0", files={"a.bin": b"x" * size}, **fields)
        if ref != "hall/secret":
            model.make_public()
    return owner


@pytest.fixture
def stranger(owner: Person, visit: Visit, ada: Person) -> Visitor:
    """Somebody who is not of that organisation."""
    return visit(ada)


def _models(page: Page) -> list[str]:
    assert page.status == 200, page.response.text
    return [link.removeprefix("/") for link in page.links(".models h3 a")]


def _filters(page: Page) -> dict[str, str]:
    """Value -> count, of all kinds."""
    return {
        " ".join(node.css(".wrap")[0].text().split()).removeprefix("✓ "): node.css(".number")[0].text().split()[0]
        for node in page.all(".facet-value")
    }


def _link_of(page: Page, value: str) -> str:
    """Where the filter of this value leads."""
    for node in page.all(".facet-value"):
        if node.css(".wrap")[0].text().strip().removeprefix("✓ ") == value:
            return node.attributes["href"] or ""
    raise AssertionError(f"no filter {value}: {_filters(page)}")


# --- who sees what


def test_everybody_is_shown_what_he_may_see_and_no_more(stranger: Visitor, owner: Person, visit: Visit) -> None:
    page = stranger.get("/hall")
    assert set(_models(page)) == {"hall/bert", "hall/whisper", "hall/llama"}
    assert page.text("#found") == "3 models"
    assert "of-the-secret" not in page.response.text
    page = visit(owner).get("/hall")
    assert set(_models(page)) == set(HALL)
    assert page.text("#found") == "4 models"


def test_of_other_peoples_private_models_nothing_is_found_or_counted(stranger: Visitor) -> None:
    for query in ("search=secret", "license=of-the-secret"):
        page = stranger.get(f"/hall?{query}")
        assert _models(page) == []
        assert "Nothing found" in page.text("#results")
    assert _filters(stranger.get("/hall"))["pytorch"] == "1"
    assert _filters(stranger.get("/hall?search=encoder"))["mit"] == "1"


def test_an_organisation_that_shows_nothing_is_not_there(registered: Registered, browser: Visitor) -> None:
    closed = registered.org("closed")
    ModelAt(closed, "closed/only").publish("1.0.0")
    hidden, missing = browser.get("/closed"), browser.get("/nowhere")
    assert (hidden.status, missing.status) == (404, 404)
    assert hidden.text("main p:nth-of-type(2)").replace("closed", "nowhere") == missing.text("main p:nth-of-type(2)")


@pytest.mark.parametrize("path", ["/No%20Slug", "/..%2f", "/%00", "/-", "/a--b", "/%ff"])
def test_what_is_no_organisations_name_is_not_there(browser: Visitor, path: str) -> None:
    assert browser.get(path).status == 404


def test_without_a_session_one_sees_what_is_public_where_that_is_open(make_registered: MakeRegistered) -> None:
    registered = make_registered(anonymous_public=True)
    person = registered.user("paul")
    for name in ("shown", "hidden"):
        ModelAt(person, f"paul/{name}").publish("1.0.0", tags=[f"tag-of-{name}"])
    ModelAt(person, "paul/shown").make_public()
    page = Visitor(registered).get("/")
    assert _models(page) == ["paul/shown"]
    assert "hidden" not in page.response.text
    assert page.links("nav a") == ["/-/login?next=%2F"]


# --- finding


def test_filters_are_links_that_add_and_take_away(stranger: Visitor) -> None:
    page = stranger.get("/hall")
    assert _filters(page) == {
        "gguf": "1", "onnx": "1", "pytorch": "1", "mit": "2", "llama3": "1", "tiny": "3", "en": "2", "nlp": "2",
        "audio": "1",
    }  # fmt: skip
    page = stranger.get(_link_of(page, "mit"))
    assert page.path == "/hall?license=mit"
    assert set(_models(page)) == {"hall/bert", "hall/whisper"}
    assert _filters(page)["llama3"] == "1", "what the other licence would add"
    assert "gguf" not in _filters(page)
    page = stranger.get(_link_of(page, "nlp"))
    assert _models(page) == ["hall/bert"]
    assert page.texts(".facet-value[aria-current] .wrap") == ["✓ mit", "✓ nlp"]
    page = stranger.get(_link_of(page, "llama3"))
    assert set(_models(page)) == {"hall/bert", "hall/llama"}, "any of the licences will do"
    page = stranger.get(_link_of(page, "mit"))
    assert page.path == "/hall?license=llama3&tags=nlp"
    assert _models(page) == ["hall/llama"]


def test_what_is_chosen_can_be_taken_back(stranger: Visitor) -> None:
    page = stranger.get("/hall?search=a&license=mit&tags=nothing-has-this&sort=name")
    assert page.text("#found") == "0 of 3 models"
    assert _filters(page)["nothing-has-this"] == "0"
    assert page.links(".chips a") == [
        "/hall?license=mit&tags=nothing-has-this&sort=name",
        "/hall?search=a&tags=nothing-has-this&sort=name",
        "/hall?search=a&license=mit&sort=name",
        "/hall?sort=name",
    ]
    for link in page.links(".chips a"):
        assert stranger.get(link).status == 200
    assert page.links("#results .empty a") == ["/hall?sort=name", "/?search=a"]


def test_the_form_keeps_what_is_chosen(stranger: Visitor) -> None:
    page = stranger.get("/hall?license=mit&tags=en&search=bert&sort=largest")
    assert page.fields("/hall") == {"search": "bert", "sort": "largest", "license": "mit", "tags": "en"}
    found = stranger.get("/hall", params={**page.fields("/hall"), "search": "wh"})
    assert _models(found) == ["hall/whisper"]
    assert stranger.get("/hall?search=++BERT+").text("#found") == "1 of 3 models"


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("name", "bert llama whisper"),
        ("newest", "llama whisper bert"),
        ("largest", "llama whisper bert"),
        ("smallest", "bert whisper llama"),
    ],
)
def test_sorting(stranger: Visitor, sort: str, names: str) -> None:
    page = stranger.get(f"/hall?sort={sort}")
    assert _models(page) == [f"hall/{name}" for name in names.split()]
    assert page.text("#sort option[selected]")
    assert f"sort={sort}" in page.links(".facet-value")[0]


def test_pages(registered: Registered, visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steelyard.server.doors.web.catalogue.ROWS", 2)
    owner = registered.org("paged")
    for number in range(5):
        ModelAt(owner, f"paged/m{number}").publish("1.0.0", license="mit")
    browser = visit(owner)
    page, seen = browser.get("/paged?license=mit&sort=name"), []
    for number in (1, 2, 3):
        seen += _models(page)
        assert page.text("#found") == f"5 of 5 models, page {number} of 3"
        following = page.links(".pager a[rel=next]")
        page = browser.get(following[0]) if following else page
    assert seen == [f"paged/m{number}" for number in range(5)]
    assert page.path == "/paged?license=mit&sort=name&page=3"
    assert page.links(".pager a[rel=prev]") == ["/paged?license=mit&sort=name&page=2"]
    assert page.links(".facet-value")[0].endswith("&sort=name"), "another choice begins at the first page"
    beyond = browser.get("/paged?page=9")
    assert beyond.links("#results .empty a") == ["/paged?page=3"]


@pytest.mark.parametrize(
    "query", ["page=0", "page=x", "sort=odd", "search=" + "a" * 201, "tags=%00", "page=9999999999"]
)
def test_an_address_that_says_nothing_is_refused_as_a_page(browser: Visitor, query: str) -> None:
    page = browser.get(f"/?{query}")
    assert page.status == 422
    assert "text/html" in page.response.headers["content-type"]


def test_the_same_in_json(stranger: Visitor, owner: Person) -> None:
    page = stranger.get("/hall?license=mit&sort=name&search=e")
    (twin,) = page.links("link[rel=alternate]")
    assert twin in page.text("footer")
    listed = owner.get(twin.removeprefix("/api/v1"))
    assert [row["name"] for row in listed.json()["models"]] == _models(page)


# --- what a model's row says


def test_a_row(stranger: Visitor) -> None:
    (row,) = stranger.get("/hall?search=whisper").texts(".models li")
    assert row == (
        "hall / whisper 1.0.0 public Task speech Licence mit Framework onnx Size 2 B (tiny) "
        "Updated just now Downloads 0"
    )
    (row,) = stranger.get("/hall?search=llama").texts(".models li")
    assert "alias production" in row


def test_parameters_are_told_where_they_are_known(browser: Visitor, ada: Person) -> None:
    header = b'{"w":{"dtype":"F32","shape":[1000,1200],"data_offsets":[0,4800000]}}'
    weights = len(header).to_bytes(8, "little") + header + bytes(4_800_000)
    ModelAt(ada, f"{ada.name}/counted").publish("1.0.0", files={"model.safetensors": weights})
    assert "Parameters 1.2 million" in browser.get(f"/{ada.name}").text(".models li")


HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>\u202e{{ 7*7 }}'


def test_hostile_words_stay_words(browser: Visitor, ada: Person) -> None:
    said: dict[str, Any] = dict.fromkeys(("summary", "license", "framework", "task", "size_category"), HOSTILE)
    model = ModelAt(ada, f"{ada.name}/hostile")
    model.publish("1.0.0", tags=[HOSTILE], task_categories=[HOSTILE], **said)
    page = browser.get(f"/{ada.name}")
    for where in (page, browser.get(_hostile_link(page)), browser.get("/", params={"search": HOSTILE})):
        assert where.status == 200
        assert where.all("img[src=x]") == where.all("main script") == []
        assert not [node for node in where.all("*") if any(name.startswith("on") for name in node.attributes)]
        assert "\u202e" not in where.text()
        assert "{{ 7*7 }}" in where.text()
    assert _models(browser.get(_hostile_link(page))) == [f"{ada.name}/hostile"]


def _hostile_link(page: Page) -> str:
    return next(link for link in page.links(".facet-value") if "tags=" in link)


def test_endless_words_are_cut(browser: Visitor, ada: Person) -> None:
    words = "".join(chr(0x300 + n % 0x60) for n in range(1_999))
    ModelAt(ada, f"{ada.name}/long").publish("1.0.0", summary="a" + words)
    assert len(browser.get(f"/{ada.name}").text(".summary")) <= 400


# --- nothing there


def test_who_has_no_model_is_told_how_to_push_one(browser: Visitor, ada: Person) -> None:
    page = browser.get(f"/{ada.name}")
    commands = " ".join(page.texts("#results pre"))
    server = str(browser.client.base_url).rstrip("/")
    assert f"steelyard login {server}" in commands
    assert f"steelyard push ./my-model {ada.name}/my-model:1.0.0" in commands
    assert "pip install" not in commands  # the package is on no index yet: another's could take the name
    assert page.links("#results .empty a") == ["/-/me#new-token", f"/{ada.name}/-/upload"]


def test_who_may_not_publish_is_not_told_to(registered: Registered, visit: Visit, bob: Person) -> None:
    registered.org("still-empty", **{bob.name: "reader"})
    page = visit(bob).get("/still-empty")
    assert "No models yet" in page.text("#results")
    assert page.all("#results pre") == []


def test_models_without_a_version_are_for_members_to_see(visit: Visit, owner: Person, ada: Person) -> None:
    gone = ModelAt(owner, "hall/gone")
    gone.publish("1.0.0")
    gone.make_public()
    gone.put("/1.0.0/yank", {"reason": "wrong"})
    assert "/hall/gone" in visit(owner).get("/hall").links("main a")
    assert "gone" not in visit(ada).get("/hall").text()


def test_own_organisations_are_at_hand(registered: Registered, visit: Visit, ada: Person) -> None:
    registered.org("workplace", **{ada.name: "contributor"})
    page = visit(ada).get("/")
    assert page.links(".own-orgs a") == [f"/{ada.name}", "/workplace"]
    assert page.texts(".own-orgs a") == [f"{ada.name} owner", "workplace contributor"]


def test_a_values_own_field_reaches_what_is_not_named(registered: Registered, visit: Visit) -> None:
    owner = registered.org("tagged")
    tags = [f"t{number:03}" for number in range(40)]
    ModelAt(owner, "tagged/one").publish("1.0.0", tags=tags, license="mit")
    browser = visit(owner)
    page = browser.get("/tagged?license=mit&sort=name")
    assert len([value for value in _filters(page) if value in tags]) == 24
    form = next(node for node in page.all(".facet form"))
    sent = {field.attributes["name"]: field.attributes.get("value") for field in form.css("input")}
    assert sent == {"license": "mit", "sort": "name", "tags": None}
    page = browser.get("/tagged", params={**sent, "tags": "t039"})
    assert _models(page) == ["tagged/one"]
    assert "✓ t039" in page.texts(".facet-value[aria-current] .wrap")
