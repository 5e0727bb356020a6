"""Cards of strangers: whatever they write becomes nothing but what is on a short list, in a fraction of a second."""

import re
import time
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser, LexborNode

from steelyard.server.doors.web.model.links import CardPlace
from steelyard.server.doors.web.model.readme import Card, Cards, render_card
from tests.server.doors.web.hostile_cards import COSTLY, HOSTILE


def names_of(text: str) -> set[str]:
    return set(text.split())


PLACE = CardPlace("acme", "tiny", "1.0.0")
TAGS = names_of(
    "a abbr b bdi br cite code del dfn em i img ins kbd mark q s samp small strike strong sub sup tt u var wbr "
    "blockquote caption dd details div dl dt figcaption figure h3 h4 h5 h6 hr li ol p pre summary table tbody td "
    "tfoot th thead tr ul"
)
ATTRIBUTES = names_of(
    "align alt aria-label class colspan height href id loading open rel role rowspan src start tabindex width"
)
CARD_SECONDS = 1.0  # measured: under 0.4 on two shared cores


def rendered(text: str | bytes) -> str:
    return str(render_card(text.encode("utf-8", "replace") if isinstance(text, str) else text, PLACE).html)


def nodes(html: str) -> list[LexborNode]:
    """Every element, as a browser finds them where the page shows a card."""
    page = f"<!doctype html><body><section><div>{html}</div><aside></aside></section>"
    section = LexborHTMLParser(page).css_first("body > section")
    assert section is not None
    frame = [child for child in section.iter() if child.tag != "-text"]
    assert [child.tag for child in frame] == ["div", "aside"], "it broke out of its frame"
    return frame[0].css("*")[1:]


def faults(html: str) -> list[str]:
    """What a card must never have, if it does."""
    return [f"{node.tag}: {fault} in {(node.html or '')[:200]}" for node in nodes(html) for fault in _faults_of(node)]


def _faults_of(node: LexborNode) -> list[str]:
    found = [] if node.tag in TAGS else ["no such tag is allowed"]
    for name, value in node.attributes.items():
        given = value or ""
        if name not in ATTRIBUTES:
            found.append(f"the attribute {name}")
        if name == "id" and not given.startswith("card-"):
            found.append(f"the id {given}")
        if name == "class" and given != "scroll":
            found.append(f"the class {given}")
        if name == "src" and not re.fullmatch(r"/acme/tiny/raw/1\.0\.0/[^?#]+\?inline", given):
            found.append(f"an image from {given}")
        if name == "href" and not _is_harmless(given):
            found.append(f"a link to {given}")
    if node.tag == "a" and (node.attributes.get("rel") or "") != "nofollow noopener noreferrer":
        found.append("no rel")
    return found


def _is_harmless(href: str) -> bool:
    bare = re.sub(r"[\x00-\x20]", "", href)
    ours = ("/acme/tiny/blob/1.0.0/", "/acme/tiny/tree/1.0.0", "#card-")
    return urlsplit(bare).scheme in ("http", "https", "mailto") or bare.startswith(ours)


@pytest.mark.parametrize("card", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_card_is_harmless(card: str) -> None:
    html = rendered(card)
    assert faults(html) == []
    assert faults(rendered(f"> - {card}")) == []
    assert faults(rendered(f"text {card} text")) == []


_PIECES = [
    *HOSTILE.values(),
    *(
        "<",
        ">",
        '"',
        "'",
        "&",
        "`",
        "*",
        "_",
        "[",
        "](",
        ")",
        "!",
        "\\",
        "\n",
        "\n\n",
        "- ",
        "> ",
        "|",
        "|-|\n",
        "# ",
        "    ",
    ),
    *(
        "<a href=",
        "<img src=",
        "<div ",
        "</div>",
        "<p>",
        "</p>",
        "<td>",
        "<!--",
        "-->",
        "<svg>",
        "</svg>",
        "javascript:",
    ),
    *(
        "https://evil.example",
        "//evil.example",
        "data:text/html,",
        "&#x3c;",
        "&lt;",
        "&colon;",
        "\t",
        "\0",
        "\u202e",
        "x",
    ),
]


@settings(max_examples=300)
@example("<a href='x'\n<img src=y>")
@given(st.lists(st.sampled_from(_PIECES) | st.text(max_size=8), max_size=30).map("".join))
def test_whatever_is_written_is_harmless(card: str) -> None:
    assert faults(rendered(card)) == []


@given(st.binary(max_size=300))
def test_bytes_that_are_no_text_are_harmless(card: bytes) -> None:
    assert faults(rendered(card)) == []


# --- at what cost


@pytest.mark.parametrize("card", COSTLY.values(), ids=COSTLY)
def test_a_card_takes_little_time_and_room(card: str) -> None:
    began = time.process_time()
    html = rendered(card)
    assert time.process_time() - began < CARD_SECONDS
    assert len(html) < 4 * 2**20


def test_a_long_card_says_that_its_end_is_missing() -> None:
    assert not render_card(b"word " * 20_000, PLACE).is_cut
    card = render_card(b"# Begin\n\n" + b"- *a* [b](c)\n" * 50_000, PLACE)
    assert card.is_cut and "Begin" in card.html


# --- what people expect


def test_markdown_is_what_the_hub_makes_of_it() -> None:
    html = rendered(
        "---\nlicense: mit\n---\n# Tiny *model*\n\n~~old~~\n\n- [x] done\n- [ ] to do\n\n"
        "| a | b |\n|:-:|---|\n| 1 | 2 |\n\n<details><summary>More</summary>\n\n**inside**\n\n</details>\n\n"
        "<p align=center><img src=logo.png width=200px></p>"
    )
    tree = LexborHTMLParser(html)
    assert "license" not in html
    assert [node.text() for node in tree.css("h3#card-tiny-model em, s, details strong")] == ["model", "old", "inside"]
    assert [node.text() for node in tree.css("li")] == ["☑ done", "☐ to do"]
    assert [node.attributes.get("align") for node in tree.css("th")] == ["center", None]
    image = tree.css_first("p[align=center] img")
    assert image is not None and image.attributes["src"] == "/acme/tiny/raw/1.0.0/logo.png?inline"
    assert image.attributes["width"] == "200"


@pytest.mark.parametrize(
    ("written", "leads_to"),
    [
        ("docs/a.md", "/acme/tiny/blob/1.0.0/docs/a.md"),
        ("./docs/../b c.txt?raw=1#L3", "/acme/tiny/blob/1.0.0/b%20c.txt#L3"),
        ("/LICENSE", "/acme/tiny/blob/1.0.0/LICENSE"),
        ("onnx/", "/acme/tiny/tree/1.0.0/onnx"),
        ("#Usage", "#card-Usage"),
        ("https://example.com/a?b=c", "https://example.com/a?b=c"),
        ("//example.com/x", "https://example.com/x"),
        ("mailto:ada@example.com", "mailto:ada@example.com"),
        ("../../etc/passwd", None),
        ("ftp://example.com/x", None),
    ],
)
def test_where_a_link_leads(written: str, leads_to: str | None) -> None:
    for card in (f"[x](<{written}>)", f'<a href="{written}">x</a>'):
        link = LexborHTMLParser(rendered(card)).css_first("a")
        assert (link and link.attributes.get("href")) == leads_to


def test_images_of_elsewhere_are_links_and_those_of_links_are_words() -> None:
    html = rendered("![a](https://e.example/x.png) [![badge](https://e.example/b.svg)](https://ci.example) ![c](d.svg)")
    tree = LexborHTMLParser(html)
    assert tree.css("img") == []
    assert [(node.text(), node.attributes["href"]) for node in tree.css("a")] == [
        ("a", "https://e.example/x.png"),
        ("badge", "https://ci.example"),
        ("c", "/acme/tiny/blob/1.0.0/d.svg"),
    ]


def test_headings_leave_no_rank_out_and_no_name_is_given_twice() -> None:
    html = rendered("#### Deep\n\n# A\n\n### A\n\n<h1 id=a>B</h1>\n\n#\n")
    found = [(node.tag, node.attributes.get("id")) for node in LexborHTMLParser(html).css("h1,h2,h3,h4,h5,h6")]
    assert found == [("h3", "card-deep"), ("h3", "card-a"), ("h4", "card-a-1"), ("h3", None)]


def test_letters_that_turn_a_line_around_are_left_out() -> None:
    assert rendered("a\u202eb\u2066c\x07d") == "<p>abcd</p>\n"


def test_cards_are_kept_within_bounds() -> None:
    kept, card = Cards(most_bytes=2_000), Card(render_card(b"x" * 100, PLACE).html, is_cut=False)
    for key in "abc":
        kept.keep(key, PLACE, card)
    assert [kept.find(key, PLACE) for key in "abc"] == [None, card, card]
    assert kept.find("c", CardPlace("acme", "tiny", "latest")) is None, "its links would lead elsewhere"
