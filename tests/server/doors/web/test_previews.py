"""What is shown of a file: texts, images, weights; and that nothing in them runs, misleads or costs much."""

import time
from itertools import count

import pytest

from tests.house.people import oid_of
from tests.server.core.files.weight_files import gguf_array, gguf_header, gguf_pair, gguf_string, safetensors
from tests.server.doors.web.shelves import FILES, GIF, JPEG, PNG, SVG, WEBP, Shelf
from tests.server.doors.web.visiting import Page, Visitor

_numbers = count(1)


def shown(browser: Visitor, shelf: Shelf, content: bytes, path: str) -> Page:
    """The page of a file of its own version."""
    version = f"2.0.{next(_numbers)}"
    shelf.publish(version, {path: content})
    page = browser.get(f"{shelf.url}/blob/{version}/{path}")
    assert page.status == 200
    return page


# --- previews


def test_a_text_has_its_lines_and_all_that_is_known_of_it(browser: Visitor, shelf: Shelf) -> None:
    page = browser.get(f"{shelf.url}/blob/latest/nested/one.txt")
    assert page.texts("pre.files-lines span") == ["grüße"]
    assert page.all("pre.files-lines span")[0].attributes["id"] == "L1"
    assert page.text("dl.facts") == f"Size 8 B OID {oid_of(FILES['nested/one.txt'])}"
    org, name = shelf.ref.split("/")
    address = page.text("main pre[data-copy]")
    assert address.endswith(f"/api/v1/org/{org}/models/{name}/1.0.0/files/nested/one.txt")
    got = shelf.owner.get(address)
    assert got.content == FILES["nested/one.txt"]
    assert not page.all("main img")


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"a\nb", ["a", "b"]),
        (b"a\r\n\r\nb\r\n", ["a", "", "b"]),
        (b"\xef\xbb\xbfwith a mark\n", ["with a mark"]),
        (b"a\tb\n", ["a b"]),
        (b"\n\n", ["", ""]),
        (b"a\x1b[31mred\x07", ["a U+001B [31mred U+0007"]),
        ("user\u202egnp.exe\u2066".encode(), ["user U+202E gnp.exe U+2066"]),
        ("\ud7ff\U0010ffff zero\u200bwidth\u2028".encode(), ["\ud7ff\U0010ffff zero U+200B width U+2028"]),
    ],
)
def test_lines_are_as_they_are_and_what_is_not_seen_is_written_out(
    browser: Visitor, shelf: Shelf, content: bytes, lines: list[str]
) -> None:
    page = shown(browser, shelf, content, "odd.txt")
    assert page.texts("pre.files-lines span[id]") == lines


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("page.html", b"<!doctype html><script>alert(1)</script><img src=x onerror=alert(2)>"),
        ("run.js", b"</code></pre><script>alert(1)</script>"),
        ("picture.svg", SVG),
        ("picture.png", SVG),
        ("twig.j2", b"{{ 7 * 7 }}{% raw %}</span>"),
    ],
)
def test_what_would_run_is_shown_as_the_text_it_is(browser: Visitor, shelf: Shelf, path: str, content: bytes) -> None:
    page = shown(browser, shelf, content, path)
    assert page.all("pre.files-lines")[0].text(deep=True).strip() == content.decode()
    assert not page.all("main script, main img, main svg, main [onerror]")
    inline = browser.get(page.links("a[download]")[0] + "?inline")
    assert inline.response.headers["content-type"] == "application/octet-stream"
    assert inline.response.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize(
    "content",
    [b"text\0with NUL", b"\xff\xfeU\0T\0F\0", b"latin-1: gr\xfc\xdfe", b"PK\3\4\0\0", b"cut \xe2\x82"],
)
def test_what_is_no_text_is_told_and_not_shown(browser: Visitor, shelf: Shelf, content: bytes) -> None:
    page = shown(browser, shelf, content, "readme.txt")
    assert "neither a text nor an image" in page.text("main .empty")
    assert oid_of(content) in page.text("dl.facts")
    assert not page.all("pre.files-lines")


def test_an_empty_file_is_called_so(browser: Visitor, shelf: Shelf) -> None:
    assert shown(browser, shelf, b"", "empty.txt").text("main .empty") == "This file is empty."


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"x" * 10**7, 1),
        ("ü".encode() * 10**6, 1),
        (b"line\n" * 400_000, 10_000),
        (b"\n" * 600_000, 10_000),
        (b"<" * 10**7, 1),
        (b"\x01" * 10**6, 1),
        ("\u202e".encode() * 10**6, 1),
        (b"\x01\n" * 9_999 + b"\x01" * 600_000, 10_000),
    ],
    ids=range(8),
)
def test_a_long_text_is_cut_and_says_so(browser: Visitor, shelf: Shelf, content: bytes, lines: int) -> None:
    shelf.publish("3.0.0", {"long.txt": content})
    began = time.perf_counter()
    page = browser.get(f"{shelf.url}/blob/3.0.0/long.txt")
    assert time.perf_counter() - began < 10  # a twentieth of that in truth
    assert page.response.text.count('<span id="L') == lines
    assert "no more than its beginning is shown" in page.text("main > .warning")
    assert len(page.response.text) < 6 * 2**20


def test_the_card_can_be_read_as_one(browser: Visitor, shelf: Shelf) -> None:
    page = browser.get(f"{shelf.url}/blob/1.0.0/README.md")
    assert page.texts("pre.files-lines span")[-1] == "# Tiny"
    assert f"{shelf.url}/v/1.0.0" in page.links("main .actions a")
    assert len(browser.get(f"{shelf.url}/blob/1.0.0/config.json").links("main .panel .actions a")) == 1


@pytest.mark.parametrize(
    ("content", "media_type"), [(PNG, "image/png"), (GIF, "image/gif"), (JPEG, "image/jpeg"), (WEBP, "image/webp")]
)
def test_an_image_is_shown_as_what_its_bytes_are(
    browser: Visitor, shelf: Shelf, content: bytes, media_type: str
) -> None:
    page = shown(browser, shelf, content, "picture")
    [image] = page.all("main img")
    assert image.attributes["alt"] == "The image picture"
    got = browser.get(str(image.attributes["src"]), headers={"Accept": "image/*"}).response
    assert (got.status_code, got.content) == (200, content)
    told = got.headers
    assert (told["content-type"], told["content-disposition"]) == (media_type, "inline")
    assert told["x-content-type-options"] == "nosniff"
    assert told["content-security-policy"] == "sandbox; default-src 'none'"
    assert told["cross-origin-resource-policy"] == "same-origin"


def test_an_image_that_is_too_large_is_only_told_of(browser: Visitor, shelf: Shelf) -> None:
    page = shown(browser, shelf, PNG + bytes(16 * 1024**2), "huge.png")
    assert "larger than the 16 MiB" in page.text("main .empty")
    got = browser.get(page.links("a[download]")[0] + "?inline=1", headers={"Range": "bytes=0-3"}).response
    assert got.headers["content-type"] == "application/octet-stream"


# --- weights


def test_weights_tell_of_their_tensors_and_metadata(browser: Visitor, shelf: Shelf) -> None:
    page = browser.get(f"{shelf.url}/blob/1.0.0/model.safetensors")
    assert "150 tensors with 900 numbers" in page.text()
    assert page.texts("main table")[0].startswith("Name Type Shape Size layers.0.weight F32 2 × 3 24 B")  # noqa: RUF001
    assert page.texts("main table")[1] == "Key Type Value format string pt"
    second = browser.get(page.links("nav.pager a[rel=next]")[0])
    assert len(page.all("main table")[0].css("tbody tr")) == 100
    assert len(second.all("main table")[0].css("tbody tr")) == 50
    found = browser.get(f"{shelf.url}/blob/1.0.0/model.safetensors", params={"q": "LAYERS.14"})
    assert "11 of 150 have" in found.text()
    assert found.fields(f"{shelf.url}/blob/1.0.0/model.safetensors") == {"q": "LAYERS.14"}
    none = browser.get(f"{shelf.url}/blob/1.0.0/model.safetensors", params={"q": "<script>"})
    assert "0 of 150 have “<script>”" in none.text()


def test_the_json_twin_of_weights_has_the_same_tensors(browser: Visitor, shelf: Shelf) -> None:
    page = browser.get(f"{shelf.url}/blob/1.0.0/model.safetensors", params={"page": "2", "q": "weight"})
    [twin] = page.links("link[type='application/json']")
    told = shelf.owner.get(str(browser.client.base_url) + twin).json()
    names = [row.css_first("th").text() for row in page.all("main table")[0].css("tbody tr")]  # type: ignore[union-attr]
    assert [tensor["name"] for tensor in told["tensors"]] == names


def test_hostile_weights_stay_harmless(browser: Visitor, shelf: Shelf) -> None:
    hostile = safetensors({"<img src=x onerror=alert(1)>\u202e": [1]}, {"<script>": "</td><script>" + "\x01" * 3000})
    page = shown(browser, shelf, hostile, "a.safetensors")
    assert "<img src=x onerror=alert(1)> U+202E" in page.text("main table th.mono")
    assert not page.all("main img, main script")
    tokens = gguf_array(8, [gguf_string("<b>" + "\u202e" * 60)] * 60)
    pairs = [gguf_pair(f"{number}" + "\x01" * 900, 9, tokens) for number in range(100)]
    page = shown(browser, shelf, gguf_header(0, 100) + b"".join(pairs), "b.gguf")
    assert "the first 20 of 60" in page.text("table.files-metadata")
    assert len(page.response.text) < 6 * 2**20


def test_a_long_value_is_folded_away(browser: Visitor, shelf: Shelf) -> None:
    page = shown(browser, shelf, safetensors({}, {"template": "word " * 1000, "short": "x"}), "a.safetensors")
    assert page.texts("table.files-metadata summary") == ["Show the first 4,000 of 5,000 bytes"]
    assert page.text("table.files-metadata details .files-value") == ("word " * 800).strip()


def test_broken_weights_are_told_of(browser: Visitor, shelf: Shelf) -> None:
    page = shown(browser, shelf, b"not weights", "bad.safetensors")
    assert "'bad.safetensors' cannot be read" in page.text("main .empty")
    assert page.links("a[download]")
