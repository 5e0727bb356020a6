"""Publishing a small model from a browser, as its owner does who has no client at hand."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import FilePayload, Page, expect

from tests.browser.conftest import OpenScreen
from tests.browser.screens import Screen, Way, in_each_way_of_working
from tests.browser.world import README, png, weights
from tests.house import Person, Registered

CARD = README.replace("images/quay.png", "https://example.org/quay.png")  # a picture of elsewhere is not asked for
FILES = {"README.md": CARD.encode(), "model.safetensors": weights(2), "config.json": b'{"layers": 2}'}


@pytest.fixture
def owner(registry: Registered, request: pytest.FixtureRequest) -> Person:
    """Who owns an organisation of this test's own."""
    return registry.user(re.sub(r"[^a-z]+", "-", request.node.name.lower()).strip("-")[-60:])


def payloads(files: dict[str, bytes]) -> list[FilePayload]:
    return [{"name": name, "mimeType": "application/octet-stream", "buffer": data} for name, data in files.items()]


def fill(window: Screen, owner: Person, files: dict[str, bytes], *, version: str = "1.0.0") -> Page:
    page = window.open(f"/{owner.name}")
    window.follow("Upload", inside=page.get_by_role("navigation", name="This organisation"))
    page.get_by_label("Model name").fill("tiny")
    page.get_by_label("Version", exact=True).fill(version)
    page.get_by_label("Files", exact=True).set_input_files(payloads(files))
    return page


@in_each_way_of_working
def test_several_files(screen: OpenScreen, owner: Person, way: Way) -> None:
    window = screen(token=owner.token, **way)
    page = fill(window, owner, FILES)
    expect(page.get_by_role("status").filter(has_text="3 files")).to_be_visible()
    page.get_by_label("Summary").fill("Weighed <by> hand")
    window.check_fits()
    window.press("Upload and publish")
    window.expect_notice(f"{owner.name}/tiny:1.0.0 is published.")
    expect(page.get_by_role("heading", name="Harbour sentiment")).to_be_visible()
    expect(page.get_by_text("Weighed <by> hand")).to_be_visible()
    expect(page.get_by_role("region", name="About").get_by_role("link", name="apache-2.0")).to_be_visible()
    for path, data in FILES.items():
        assert owner.get(f"/org/{owner.name}/models/tiny/1.0.0/files/{path}").content == data


@in_each_way_of_working
def test_a_folder(screen: OpenScreen, owner: Person, tmp_path: Path, way: Way) -> None:
    """With the folders in it, without its own name, and without what no model needs; the next version is suggested."""
    assert owner.publish(f"{owner.name}/tiny:1.0.0").status_code == 201
    for path, data in {**FILES, "images/quay.png": png(), ".git/config": b"[core]"}.items():
        file = tmp_path / "my model" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    window = screen(token=owner.token, **way)
    page = window.open(f"/{owner.name}/-/upload")
    page.get_by_label("Model name").fill("tiny")
    expect(page.get_by_label("Version", exact=True)).to_have_value("1.0.1")
    page.get_by_label("Or a folder").set_input_files(tmp_path / "my model")
    window.press("Upload and publish")
    window.expect_notice(f"{owner.name}/tiny:1.0.1 is published.")
    listed = owner.get(f"/org/{owner.name}/models/tiny/1.0.1").json()["artifacts"]
    assert sorted(listed) == ["README.md", "config.json", "images/quay.png", "model.safetensors"]


@in_each_way_of_working
def test_the_same_version_again(screen: OpenScreen, owner: Person, way: Way) -> None:
    """Other bytes are refused, and what was published stays whole."""
    window = screen(token=owner.token, **way)
    fill(window, owner, FILES)
    page = window.press("Upload and publish")
    window.expect_notice(f"{owner.name}/tiny:1.0.0 is published.")
    window.expected = (409,)
    fill(window, owner, {**FILES, "config.json": b'{"layers": 3}'})
    window.press("Upload and publish")
    window.expect_refusal(409, "1.0.0")
    window.check_fits()
    window.open(f"/{owner.name}/tiny/blob/1.0.0/config.json")
    expect(page.get_by_role("region", name="Text of this file")).to_contain_text('{"layers": 2}')
    for path, data in FILES.items():
        assert owner.get(f"/org/{owner.name}/models/tiny/1.0.0/files/{path}").content == data


@pytest.mark.parametrize("name", ["con.txt", "trailing ", ".."])
def test_hostile_names(screen: OpenScreen, owner: Person, name: str) -> None:
    """Nothing is published, not even the files beside it."""
    window = screen(token=owner.token)
    page = fill(window, owner, {**FILES, name: b"x"})
    window.expected = (422,)
    window.press("Upload and publish")
    window.expect_refusal(422, "Nothing was published")
    window.check_fits()
    assert page.title() != "owned"
    assert owner.get(f"/org/{owner.name}/models/tiny/1.0.0").status_code == 404


@in_each_way_of_working
def test_what_is_missing(screen: OpenScreen, owner: Person, way: Way) -> None:
    """A script says so before anything is sent; without one, the server does."""
    window = screen(token=owner.token, **way)
    page = fill(window, owner, {})
    window.press("Upload and publish")
    expect(page.get_by_role("alert")).to_have_text("Choose a file or a folder first.")
    plain = screen(token=owner.token, **way, scripts=False)
    plain.expected = (422,)
    fill(plain, owner, {})
    plain.press("Upload and publish")
    plain.expect_refusal(422, "choose one at least")
    fill(plain, owner, FILES, version="one")
    plain.press("Upload and publish")
    plain.expect_refusal(422, "version")
    fill(plain, owner, FILES)
    plain.press("Upload and publish")
    plain.expect_notice(f"{owner.name}/tiny:1.0.0 is published.")
