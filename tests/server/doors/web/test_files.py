"""The files of a model as pages: folders, bytes by a session, who sees them, and where links of the Hub's lead."""

import time

import pytest

from tests.conftest import MakeRegistered
from tests.house import Person, Registered
from tests.house.people import oid_of
from tests.server.doors.web.conftest import Visit
from tests.server.doors.web.shelves import FILES, PNG, Shelf
from tests.server.doors.web.visiting import Page, Visitor

# --- folders


def test_a_folder_lists_folders_and_then_files(browser: Visitor, shelf: Shelf) -> None:
    page = browser.get(f"{shelf.url}/tree/1.0.0")
    assert page.status == 200
    assert page.texts("table.files tbody th") == [
        *("nested/", "näher/"),
        *("README.md", "config.json", "model.safetensors", "pixel.png"),
    ]
    assert page.texts("table.files tbody td:last-child")[:2] == ["3 files", "1 file"]
    oid = page.all("table.files .files-oid")[1]
    assert oid.text() == oid.attributes["title"] == oid_of(FILES["config.json"])
    assert f"{len(FILES)} files in all" in page.text()


def test_one_walks_down_and_up_again(browser: Visitor, shelf: Shelf) -> None:
    page = browser.get(f"{shelf.url}/tree/1.0.0")
    page = browser.get(page.links("table.files a")[0])
    assert page.texts("table.files tbody th") == ["deeper/", "100%25.txt", "one.txt"]
    page = browser.get(page.links("table.files a")[0])
    assert page.texts("nav.files-crumbs a") == [shelf.ref.partition("/")[2], "nested"]
    assert page.text("nav.files-crumbs strong") == "deeper"
    page = browser.get(page.links("table.files a")[0])
    assert page.text("pre.files-lines") == "deep"
    page = browser.get(page.links("nav.files-crumbs a")[1])
    assert page.path == f"{shelf.url}/tree/1.0.0/nested"


def test_every_link_of_a_folder_leads_somewhere(browser: Visitor, shelf: Shelf) -> None:
    for folder in ("", "/nested", "/n%C3%A4her"):
        for link in browser.get(f"{shelf.url}/tree/latest{folder}").links("table.files a, nav.files-crumbs a"):
            assert browser.get(link, follow=False).status == 200, link


def test_a_path_of_the_other_kind_leads_to_its_page(browser: Visitor, shelf: Shelf) -> None:
    assert browser.get(f"{shelf.url}/tree/1.0.0/config.json").path == f"{shelf.url}/blob/1.0.0/config.json"
    assert browser.get(f"{shelf.url}/blob/1.0.0/nested/").path == f"{shelf.url}/tree/1.0.0/nested"
    assert browser.get(f"{shelf.url}/tree/1.0.0/").status == 200


def test_many_files_come_page_by_page(browser: Visitor, ada: Person) -> None:
    shelf = Shelf(ada, {f"{number:04}.txt": b"x" for number in range(450)} | {"zz/last.txt": b"x"})
    names, url = [], f"{shelf.url}/tree/1.0.0"
    for number in (1, 2, 3):
        page = browser.get(url)
        assert f"Page {number} of 3" in page.text("nav.pager")
        names += page.texts("table.files tbody th")
        url = (page.links("nav.pager a[rel=next]") or [""])[0]
    assert url == ""
    assert names == ["zz/", *(f"{number:04}.txt" for number in range(450))]
    beyond = browser.get(f"{shelf.url}/tree/1.0.0?page=9")
    assert beyond.links("nav.pager a[rel=prev]") == [f"{shelf.url}/tree/1.0.0?page=3"]
    assert browser.get(f"{shelf.url}/tree/1.0.0?page=0").status == 422


def test_another_version_is_chosen_at_the_same_path(browser: Visitor, shelf: Shelf) -> None:
    shelf.publish("1.1.0", {"nested/one.txt": b"new\n"})
    page = browser.get(f"{shelf.url}/blob/1.0.0/nested/one.txt")
    assert page.texts("#files-ref option") == ["1.1.0", "1.0.0", "main"]
    fields = page.fields(f"{shelf.url}/tree")
    assert fields == {"path": "nested/one.txt", "ref": "1.0.0"}

    def choose(ref: str, path: str) -> Page:
        return browser.get(f"{shelf.url}/tree", params={"ref": ref, "path": path})

    assert choose("1.1.0", "nested/one.txt").text("pre.files-lines") == "new"
    assert choose("1.1.0", "nested").path == f"{shelf.url}/tree/1.1.0/nested"
    assert choose("1.1.0", "config.json").path == f"{shelf.url}/tree/1.1.0", "as near as there is something"
    assert choose("9.9.9", "").status == 404


def test_whatever_names_a_version_leads_to_its_files(browser: Visitor, shelf: Shelf) -> None:
    org, name = shelf.ref.split("/")
    shelf.owner.post(f"/org/{org}/models/{name}/1.0.0/aliases", {"alias": "prod"})
    shelf.publish("1.1.0", {"new.txt": b"x"})
    expected = {"1.0.0": 6, "v1.0.0": 6, "prod": 6, "latest": 1, "main": 1, "%5E1": 1, "1.0.x": 6}
    for ref, rows in expected.items():
        page = browser.get(f"{shelf.url}/tree/{ref}")
        assert len(page.all("table.files tbody tr")) == rows, ref
        for link in page.links("nav.tabs a"):
            assert " " not in link and "/main" not in link
    for ref in ("1.0.1", "nothing", "%00", "%2E%2E", "^9", "a%2Fb", "%FF"):
        assert browser.get(f"{shelf.url}/tree/{ref}").status == 404, ref


def test_a_yanked_version_stays_visible_and_says_why(browser: Visitor, shelf: Shelf) -> None:
    org, name = shelf.ref.split("/")
    shelf.owner.put(f"/org/{org}/models/{name}/1.0.0/yank", {"reason": "wrong <b>tokenizer</b>"})
    for path in ("tree/1.0.0", "blob/1.0.0/config.json"):
        page = browser.get(f"{shelf.url}/{path}")
        assert page.status == 200
        assert "was yanked: wrong <b>tokenizer</b>" in page.text(".warning")
    assert browser.get(f"{shelf.url}/raw/1.0.0/config.json").response.content == FILES["config.json"]


# --- bytes


def test_bytes_come_as_they_do_elsewhere(browser: Visitor, shelf: Shelf) -> None:
    whole = browser.get(f"{shelf.url}/raw/1.0.0/nested/one.txt").response
    etag = f'"{oid_of(FILES["nested/one.txt"])}"'
    assert (whole.status_code, whole.content, whole.headers["etag"]) == (200, FILES["nested/one.txt"], etag)
    assert whole.headers["content-disposition"] == 'attachment; filename="one.txt"'
    assert whole.headers["content-type"] == "application/octet-stream"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert "Cookie" in whole.headers["vary"]
    assert whole.headers["cache-control"] == "private, no-cache"
    part = browser.get(f"{shelf.url}/raw/1.0.0/nested/one.txt", headers={"Range": "bytes=2-3"}).response
    assert (part.status_code, part.content) == (206, FILES["nested/one.txt"][2:4])
    assert browser.get(f"{shelf.url}/raw/1.0.0/pixel.png?inline", headers={"If-None-Match": "*"}).status == 304
    head = browser.client.head(f"{shelf.url}/raw/1.0.0/pixel.png")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(PNG)))


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("nested/deeper/a%20b.txt", "nested/deeper/a b.txt"),
        ("nested%2Fdeeper%2Fa%20b.txt", "nested/deeper/a b.txt"),
        ("n%C3%A4her/%E6%97%A5%E6%9C%AC%E8%AA%9E.txt", "näher/日本語.txt"),
        ("nested/100%2525.txt", "nested/100%25.txt"),
    ],
)
def test_odd_paths_are_found(browser: Visitor, shelf: Shelf, asked: str, path: str) -> None:
    assert browser.get(f"{shelf.url}/raw/1.0.0/{asked}").response.content == FILES[path]
    page = browser.get(f"{shelf.url}/blob/1.0.0/{asked}")
    assert browser.get(page.links("a[download]")[0]).response.content == FILES[path]


@pytest.mark.parametrize(
    "asked",
    [
        "nothing",
        "%2E%2E/config.json",
        "nested/%2E%2E/config.json",
        "..%2F..%2Fetc%2Fpasswd",
        "%2Fetc%2Fpasswd",
        "config.json%00",
        "%FF",
        "CONFIG.JSON",
        "nested/100%25.txt",
        "<script>",
    ],
)
def test_what_is_not_there_is_not_found(browser: Visitor, shelf: Shelf, asked: str) -> None:
    for kind in ("tree", "blob", "raw"):
        page = browser.get(f"{shelf.url}/{kind}/1.0.0/{asked}")
        assert page.status == 404, kind
        assert not page.all("main script")


def test_a_download_counts_and_a_look_does_not(browser: Visitor, shelf: Shelf) -> None:
    browser.get(f"{shelf.url}/blob/1.0.0/config.json")
    browser.get(f"{shelf.url}/raw/1.0.0/pixel.png?inline")
    time.sleep(2.5)
    assert shelf.downloads() == 0
    browser.get(f"{shelf.url}/raw/1.0.0/config.json")
    deadline = time.monotonic() + 10
    while shelf.downloads() == 0 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert shelf.downloads() == 1


def test_programs_still_get_what_they_ask_the_hub_for(browser: Visitor, shelf: Shelf) -> None:
    for kind in ("raw", "resolve"):
        path = f"{shelf.url}/{kind}/main/config.json"
        got = browser.client.get(path, headers={"Authorization": f"Bearer {shelf.owner.token}"})
        assert (got.content, "x-repo-commit" in got.headers) == (FILES["config.json"], True)
        wrong = browser.client.get(path, headers={"Authorization": "Bearer hf_wrong"})
        assert (wrong.status_code, wrong.headers["content-type"]) == (401, "application/json")
        assert browser.get(path).response.content == FILES["config.json"]


# --- who sees what


PLACES = ["tree/{}", "tree/{}/nested", "blob/{}/config.json", "raw/{}/config.json", "raw/{}/pixel.png?inline"]
PLACES += ["resolve/{}/config.json", "blob/{}/model.safetensors", "commit/{}", "tree?ref={}", "commits/{}"]


def test_nobody_else_sees_files_of_a_private_model(
    registered: Registered, visit: Visit, shelf: Shelf, bob: Person
) -> None:
    for place in PLACES:
        path = f"/{place.format('1.0.0')}"
        assert visit(shelf.owner).get(shelf.url + path).status == 200, place
        hidden = visit(bob).get(shelf.url + path)
        if place.startswith(("raw", "resolve")):
            assert visit(bob).client.head(shelf.url + path).status_code == 404, place
        missing = visit(bob).get(f"/{shelf.owner.name}/absent" + path)
        assert (hidden.status, missing.status) == (404, 404), place
        assert hidden.text("main p").replace(shelf.ref, "") == missing.text("main p").replace(
            f"{shelf.owner.name}/absent", ""
        )
        assert Visitor(registered).get(shelf.url + path).path.startswith("/-/login"), place


def test_a_public_model_is_for_everybody_who_is_signed_in(visit: Visit, shelf: Shelf, bob: Person) -> None:
    shelf.make_public()
    for place in PLACES:
        assert visit(bob).get(f"{shelf.url}/{place.format('1.0.0')}").status == 200, place


def test_where_the_operator_opened_them_public_models_need_no_session(make_registered: MakeRegistered) -> None:
    registered = make_registered(anonymous_public=True)
    shelf = Shelf(registered.user("ada"))
    browser = Visitor(registered)
    assert browser.get(f"{shelf.url}/tree/1.0.0").status == 404
    shelf.make_public()
    page = browser.get(f"{shelf.url}/blob/1.0.0/pixel.png")
    got = browser.get(str(page.all("main img")[0].attributes["src"]))
    assert (got.response.content, got.response.headers["content-type"]) == (PNG, "image/png")
    assert browser.get(page.links("a[download]")[0]).response.content == PNG


def test_drafts_are_for_members(visit: Visit, shelf: Shelf, bob: Person) -> None:
    shelf.make_public()
    sha = shelf.commit("draft.txt", b"not yet\n")
    mine, his = visit(shelf.owner), visit(bob)
    for ref in ("main", sha):
        page = mine.get(f"{shelf.url}/blob/{ref}/draft.txt")
        assert page.text("pre.files-lines") == "not yet"
        assert f"a draft, commit {sha[:12]}" in page.text(".warning")
        assert mine.get(f"{shelf.url}/raw/{ref}/draft.txt").response.content == b"not yet\n"
        address = page.text("main pre[data-copy]")
        assert shelf.owner.get(address).content == b"not yet\n"
        for kind in ("blob", "raw", "tree"):
            assert his.get(f"{shelf.url}/{kind}/{ref}/draft.txt").status == 404, (kind, ref)
    assert his.get(f"{shelf.url}/tree/{sha}").status == 404
    assert his.get(f"{shelf.url}/commit/{sha}").status == 404
    assert "draft.txt" not in his.get(f"{shelf.url}/tree/main").text()
    assert "draft" not in his.get(f"{shelf.url}/tree/1.0.0").text()
    twin = mine.get(f"{shelf.url}/tree/main").links("link[type='application/json']")[0]
    assert shelf.owner.get(str(mine.client.base_url) + twin).status_code == 200


def test_a_branch_may_have_a_folder_in_its_name(browser: Visitor, shelf: Shelf) -> None:
    created = shelf.owner.client.post(
        f"/api/models/{shelf.ref}/branch/feature%2Fx",
        json={},
        headers={"Authorization": f"Bearer {shelf.owner.token}"},
    )
    assert created.status_code == 200, created.text
    shelf.commit("sub/draft.txt", b"not yet\n", branch="feature%2Fx")
    page = browser.get(f"{shelf.url}/tree?ref=feature/x")
    assert "sub/" in page.texts("table.files tbody th")
    for link in page.links("table.files a, nav.files-crumbs a"):
        assert browser.get(link, follow=False).status == 200, link


# --- links that the Hub's clients print


def test_links_of_the_hub_lead_to_the_page_that_fits(browser: Visitor, shelf: Shelf) -> None:
    refs = shelf.owner.client.get(
        f"/api/models/{shelf.ref}/refs", headers={"Authorization": f"Bearer {shelf.owner.token}"}
    ).json()
    published = refs["branches"][0]["targetCommit"]
    draft = shelf.commit("draft.txt", b"not yet\n")
    expected = {
        f"/commit/{published}": "/tree/1.0.0",
        f"/commit/{draft}": f"/tree/{draft}",
        "/commits/main": "/versions",
        "/discussions": "",
        "/discussions/1": "",
    }
    for asked, leads_to in expected.items():
        page = browser.get(shelf.url + asked, follow=False)
        assert (page.status, page.response.headers["location"]) == (303, shelf.url + leads_to)
    assert browser.get(f"{shelf.url}/blob/main/draft.txt").status == 200
    assert browser.get(f"{shelf.url}/tree/main").status == 200
