"""Understanding a model: its card, how to get it, how it came about, and what is in its files."""

import re

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenScreen
from tests.browser.screens import Screen, Way, in_each_way_of_reading, in_each_way_of_working
from tests.browser.world import World, weights

MODEL = "/hanse/sentiment"


def tab(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="This model").get_by_role("link", name=name).click()


def rows(table: Locator) -> list[list[str]]:
    return [row.locator("th, td").all_inner_texts() for row in table.get_by_role("row").all()[1:]]


def assert_loaded(picture: Locator) -> None:
    expect(picture).to_be_visible()
    expect(picture).to_have_js_property("complete", True)
    assert picture.evaluate("it => it.naturalWidth") == 160


@in_each_way_of_reading
def test_the_card(screen: OpenScreen, world: World, way: Way) -> None:
    window = screen(token=world.carol.token, **way)
    page = window.open(MODEL)
    expect(page.get_by_role("heading", level=1)).to_have_text("hanse / sentiment")
    card = page.get_by_role("region", name="Model card")
    expect(card.get_by_role("heading", name="How it was trained")).to_be_visible()
    expect(card.get_by_role("cell", name="0.91")).to_be_visible()
    card.get_by_role("heading", name="How it was trained").scroll_into_view_if_needed()  # pictures wait to be near
    assert_loaded(card.get_by_role("img", name="the quay"))
    about = page.get_by_role("region", name="About")
    expect(about).to_contain_text("text-classification")
    expect(page.get_by_role("region", name="Aliases").get_by_role("listitem")).to_contain_text(["2.1.0"])
    window.follow("the configuration", inside=card)
    expect(page).to_have_url(re.compile(r"/hanse/sentiment/blob/[^/]+/config\.json$"))
    page.go_back()
    window.follow("apache-2.0", inside=about)
    expect(page).to_have_url(re.compile(r"/\?license=apache-2\.0$"))
    expect(page.get_by_role("link", name="hanse/sentiment")).to_be_visible()


@in_each_way_of_reading
def test_how_to_get_it(screen: OpenScreen, world: World, way: Way) -> None:
    """Each way has this server and this version in it, and is opened by a click."""
    window = screen(token=world.carol.token, **way)
    page = window.open(f"{MODEL}/v/1.0.0")
    use = page.get_by_role("region", name="Use this model")
    expect(use.get_by_text("steelyard pull hanse/sentiment:1.0.0")).to_be_visible()
    expect(use.get_by_text(f"steelyard login {window.url}")).to_be_visible()
    for name in ("Python", "hf", "curl"):
        way_in = use.get_by_role("group").filter(has=page.locator("summary", has_text=re.compile(f"^{name}$")))
        expect(way_in.locator("pre").first).not_to_be_visible()
        way_in.locator("summary").click()
        expect(way_in.locator("pre").last).to_be_visible()
        expect(way_in).to_contain_text(window.url)
        expect(way_in).to_contain_text("1.0.0")
    window.check_fits()


@in_each_way_of_working
def test_copying_a_command(screen: OpenScreen, world: World, way: Way) -> None:
    window = screen(token=world.carol.token, **way)
    window.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=window.url)
    page = window.open(f"{MODEL}/v/1.0.0")
    button = page.get_by_role("button", name="Copy: get the files", exact=True)
    button.click()
    expect(button).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == "steelyard pull hanse/sentiment:1.0.0"
    window.check_fits()


@in_each_way_of_reading
def test_downloads_over_time(screen: OpenScreen, world: World, way: Way) -> None:
    """The chart says the same as its table."""
    world.wait_for_downloads()
    window = screen(token=world.carol.token, **way)
    page = window.open(MODEL)
    downloads = page.get_by_role("region", name="Downloads", exact=True)
    expect(downloads.get_by_role("img")).to_be_visible()
    downloads.get_by_text("As a table").click()
    table = downloads.get_by_role("table")
    expect(table).to_be_visible()
    assert [number for _, number in rows(table)] == ["3"]
    window.follow("90 days", inside=downloads)
    expect(page).to_have_url(re.compile(r"days=90$"))
    expect(downloads.get_by_role("link", name="90 days")).to_have_attribute("aria-current", "true")


@in_each_way_of_reading
def test_versions_side_by_side(screen: OpenScreen, world: World, way: Way) -> None:
    window = screen(token=world.carol.token, **way)
    page = window.open(MODEL)
    tab(page, "Versions")
    versions = page.locator("ol.line > li")
    expect(versions).to_have_count(7)
    numbers = [text.strip() for text in versions.get_by_role("heading").all_inner_texts()]
    assert numbers == ["2.1.0", "2.0.1", "2.0.0", "2.0.0-rc.1", "1.2.0", "1.1.0", "1.0.0"]
    expect(versions.nth(1)).to_contain_text("The scales were not set to zero.")
    expect(versions.nth(0).get_by_role("list", name="Moves of aliases")).to_contain_text("came here from 2.0.0")
    check_the_chart(page, "accuracy")
    for version in ("1.0.0", "2.0.0", "2.1.0"):
        page.get_by_label(f"Choose {version} to compare", exact=True).check()
    page.get_by_role("button", name="Compare chosen versions").first.click()
    expect(page.get_by_role("heading", name="Versions side by side")).to_be_visible()
    compare_three(window)


def check_the_chart(page: Page, metric: str) -> None:
    """It has a name, and a table that says the same."""
    figure = page.get_by_role("figure").filter(has=page.get_by_role("heading", name=metric))
    expect(figure.get_by_role("img")).to_be_visible()
    figure.get_by_text("As a table").click()
    assert [row[1] for row in rows(figure.get_by_role("table"))] == [
        *("0.91", "0.52", "0.88", "0.87", "0.83", "0.84", "0.81")
    ]


def compare_three(window: Screen) -> None:
    page = window.page
    metrics = page.get_by_role("region", name="Metrics of the versions")
    shown = {row[0].split()[0]: row[1:] for row in rows(metrics)}
    order = [text.strip() for text in metrics.get_by_role("columnheader").all_inner_texts()[1:]]
    assert sorted(order) == ["1.0.0", "2.0.0", "2.1.0"]
    told = {version: text.split()[0] for version, text in zip(order, shown["accuracy"], strict=True)}
    assert told == {"1.0.0": "0.81", "2.0.0": "0.88", "2.1.0": "0.91"}
    files = page.get_by_role("region", name="Files of the versions")
    assert [row[0].strip() for row in rows(files)] == ["config.json", "model.safetensors"]
    window.check_fits()
    window.follow("Compare tensors")
    tensors = page.get_by_role("region", name="Tensors of the versions")
    expect(tensors.get_by_role("row", name=re.compile(r"encoder\.layer\.6\.query\.weight"))).to_contain_text("[8, 8]")
    window.check_fits()


@in_each_way_of_reading
def test_files(screen: OpenScreen, world: World, way: Way) -> None:
    window = screen(token=world.carol.token, **way)
    page = window.open(f"{MODEL}/v/1.0.0")
    tab(page, "Files")
    where = page.get_by_role("navigation", name="Where this is")
    listed = page.get_by_role("region", name="Files")
    expect(listed.get_by_role("link")).to_have_text(
        ["images/", "README.md", "config.json", "model.safetensors", "tokenizer.json"]
    )
    window.follow("images/", inside=listed)
    window.follow("quay.png", inside=listed)
    assert_loaded(page.get_by_role("img", name="The image quay.png"))
    window.follow("sentiment", inside=where)
    window.follow("config.json", inside=listed)
    expect(page.get_by_role("region", name="Text of this file")).to_contain_text('{"layers": 1, "hidden_size": 8}')
    page.get_by_label("Files of").select_option("2.0.0")
    window.press("Show")
    expect(page.get_by_role("region", name="Text of this file")).to_contain_text('{"layers": 5, "hidden_size": 8}')
    window.check_fits()


@in_each_way_of_reading
def test_downloading(screen: OpenScreen, world: World, way: Way) -> None:
    """The bytes are those that were published, whatever they are."""
    window = screen(token=world.carol.token, **way)
    for path, data in {"adapter.safetensors": weights(1), "config.json": b"{}"}.items():
        page = window.open(f"/hanse/tuned/blob/1.0.0/{path}")
        with page.expect_download() as download:
            window.follow("Download")
        assert download.value.path().read_bytes() == data
        assert download.value.suggested_filename == path


@in_each_way_of_reading
def test_the_header_of_weights(screen: OpenScreen, world: World, way: Way) -> None:
    """Of 151 tensors a hundred are on a page; those that have a word in their names are found."""
    window = screen(token=world.carol.token, **way)
    page = window.open("/hanse/base/blob/1.0.0/model.safetensors")
    expect(page.get_by_text("151 tensors")).to_be_visible()
    tensors = page.get_by_role("region", name="Tensors", exact=True)
    expect(tensors.get_by_role("row")).to_have_count(1 + 100)
    window.follow("Next", inside=page.get_by_role("navigation", name="Pages of tensors"))
    expect(tensors.get_by_role("row")).to_have_count(1 + 51)
    page.get_by_label("Name has").fill("layer.49.")
    page.get_by_label("Name has").press("Enter")
    expect(page.get_by_role("status").filter(has_text="layer.49.")).to_contain_text("3 of 151")
    assert [row[0].strip() for row in rows(tensors)] == [
        f"encoder.layer.49.{part}.weight" for part in ("query", "key", "value")
    ]
    expect(page.get_by_role("region", name="Metadata")).to_contain_text("format")
    window.check_fits()


@in_each_way_of_reading
def test_lineage(screen: OpenScreen, world: World, way: Way) -> None:
    window = screen(token=world.carol.token, **way)
    page = window.open("/hanse/tuned")
    tab(page, "Lineage")
    made_from = page.get_by_role("region", name="Made from", exact=True)
    expect(made_from).to_contain_text("hanse/base:1.0.0")
    expect(page.get_by_role("region", name="Made from it")).to_contain_text("hanse/tuned-gguf:1.0.0")
    expect(page.get_by_text(re.compile(r"^Shares 9\d(\.\d)? % of its bytes with"))).to_contain_text("hanse/base:1.0.0")
    window.check_fits()
    if way["width"] == "phone":  # too narrow for the picture; the list says the same
        expect(page.get_by_role("region", name="Picture of the lineage")).to_be_hidden()
        window.follow("hanse/base:1.0.0", inside=made_from)
        expect(page).to_have_url(re.compile(r"/hanse/base/v/1\.0\.0$"))
        return
    picture = page.get_by_role("region", name="Picture of the lineage")
    window.follow("hanse/base:1.0.0", inside=picture, exact=False)
    expect(page).to_have_url(re.compile(r"/hanse/base/v/1\.0\.0$"))
    page.go_back()
    picture.get_by_role("link", name="hanse/tuned-gguf:1.0.0").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/hanse/tuned-gguf/v/1\.0\.0$"))
