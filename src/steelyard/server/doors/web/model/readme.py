"""Model cards as people read them: Markdown (CommonMark, tables, ~~strikethrough~~, tasks) made into harmless HTML.

A card is a stranger's text. What it may become is a short list of tags; it loads nothing from elsewhere, and leads
elsewhere only by links; and however it is written, showing it takes a fraction of a second, since what would take
longer is cut off before it is read.
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from markupsafe import Markup

from steelyard.server.core.files.cards import text_of
from steelyard.server.doors.web.model.links import PREFIX, SCHEMES, CardPlace, Links
from steelyard.server.doors.web.model.markup import BLOCKS, HEADINGS, PHRASES, TABLE, Tags

if TYPE_CHECKING:  # loaded with the first card that is shown
    import nh3
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

# What parsing takes at the most, measured with this library, in units of about a microsecond: for a line, and for each
# character that may begin or end something. A bracket that nothing closes is the dearest of them.
_MOST_COST = 300_000
_LINE_COST, _SIGN_COST, _SLICE = 45, 12, 1_000
_SIGNS = re.compile(r"[\[\]!*_~`<>&|\\(:]")
_TEXTS = ("text", "text_special", "code_inline", "image")
_KEPT_BYTES = 16 * 2**20
# Characters that are not seen, and those that turn a line around.
_UNSEEN = [*range(9), 11, 12, *range(14, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_SEEN = dict.fromkeys(_UNSEEN)


@dataclass(frozen=True, slots=True)
class Card:
    """A card to be put into a page as it is. Of one that `is_cut` the end is left out."""

    html: Markup
    is_cut: bool


def render_card(readme: bytes, place: CardPlace) -> Card:
    """The card that a README is, without its front matter."""
    text = text_of(readme).translate(_SEEN)
    kept = _affordable(text)
    html = _Writing(place).write(_parser().parse(kept))
    return Card(Markup(_cleaner().clean(html)), len(kept) < len(text))  # noqa: S704 - this is what it was cleaned for


class Cards:
    """The cards shown lately, by the key of their bytes and by where they are shown: neither ever means another."""

    def __init__(self, most_bytes: int = _KEPT_BYTES) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._kept: OrderedDict[tuple[str, CardPlace], Card] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, key: str, place: CardPlace) -> Card | None:
        """The card, if it was kept."""
        with self._lock:
            card = self._kept.get((key, place))
            if card is not None:
                self._kept.move_to_end((key, place))
            return card

    def keep(self, key: str, place: CardPlace, card: Card) -> None:
        """Keep it, in the place of those that nobody asked for lately."""
        with self._lock:
            if (key, place) not in self._kept:
                self._kept[key, place] = card
                self._bytes += _size_of(card)
            while self._bytes > self._most_bytes:
                self._bytes -= _size_of(self._kept.popitem(last=False)[1])


def _size_of(card: Card) -> int:
    return 4 * len(card.html) + 500


def _affordable(text: str) -> str:
    """As much of a text as may be parsed. A row of a table may get as many cells as another one above it has."""
    cost, at, columns = 0, 0, 0
    for line in text.splitlines(keepends=True):
        columns = max(columns, line.count("|")) if line.strip() else 0
        cost += _LINE_COST + columns * _SIGN_COST
        for start in range(0, len(line), _SLICE):
            some = line[start : start + _SLICE]
            cost += len(_SIGNS.findall(some)) * _SIGN_COST + len(some)
            if cost > _MOST_COST:
                return text[:at]
            at += len(some)
    return text


# --- from Markdown to HTML


@cache
def _parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


class _Writing:
    """One card on its way to HTML that is well-formed, its addresses led to where they are."""

    def __init__(self, place: CardPlace) -> None:
        self._links = Links(place)
        self._tags = Tags(self._links)
        self._heading_end = ""

    def write(self, tokens: "Sequence[Token]") -> str:
        parser = _parser()
        ready = list(self._blocks(tokens))
        return str(parser.renderer.render(ready, parser.options, {})) + self._tags.close()

    def _blocks(self, tokens: "Sequence[Token]") -> "Iterator[Token]":
        """The tokens of blocks; between them, what closes the tags that were forgotten."""
        for place, token in enumerate(tokens):
            if closing := self._closing_before(token):
                yield _html(closing)
            if token.type == "html_block":
                yield _html(self._tags.block(token.content, token.level))
            elif token.type == "inline":
                self._write_phrases(token, in_cell=tokens[place - 1].tag in ("td", "th"))
                yield _with_task(token) if _begins_item(tokens, place) else token
            elif token.type == "heading_open":
                yield _html(self._open_heading(int(token.tag[1]), tokens[place + 1]))
            else:
                yield self._block(token)

    def _closing_before(self, token: "Token") -> str:
        closing = self._tags.close_above(token.level) if token.nesting <= 0 else ""
        is_block = token.nesting >= 0 and token.type not in ("html_block", "inline")
        return closing + (self._tags.begin_block(token.level) if is_block else "")

    def _open_heading(self, rank: int, inline: "Token") -> str:
        """What has nothing to say is no heading."""
        if not inline.content.strip():
            self._heading_end = "</p>"
            return "<p>"
        opening, self._heading_end = self._links.open_heading(rank, self._links.name_of(_text_of(inline)))
        return opening

    def _block(self, token: "Token") -> "Token":
        if token.type == "heading_close":
            return _html(self._heading_end)
        if token.type in ("table_open", "table_close"):
            return _html(TABLE[token.type == "table_close"])
        if token.tag in ("td", "th") and "style" in token.attrs:
            token.attrs = {"align": str(token.attrs["style"]).rpartition(":")[2]}
        return token

    def _write_phrases(self, token: "Token", *, in_cell: bool) -> None:
        """Put the children of an inline token in order."""
        children, tags = token.children or [], Tags(self._links)
        written: list[Token] = []
        for place, child in enumerate(children):
            if child.nesting < 0 and (closing := tags.close_above(child.level)):
                written.append(_html(closing))
            if child.type == "html_inline":
                written.append(_html(tags.inline(child.content, child.level, with_blocks=in_cell)))
            elif child.type == "link_open":
                url = str(child.attrs.get("href", ""))
                is_empty = children[place + 1].type == "link_close"
                written += [_html(tags.open_link(url, child.level + 1)), *([_text(url)] if is_empty else [])]
            elif child.type == "image":
                written.append(_html(self._image(child, in_link=tags.in_link)))
            elif child.type != "link_close" and not tags.drops:
                written.append(child)
        token.children = [*written, _html(tags.close())]

    def _image(self, token: "Token", *, in_link: bool) -> str:
        return self._links.image(str(token.attrs.get("src", "")), _text_of(token), {}, in_link=in_link)


def _html(html: str) -> "Token":
    return _token("html_inline", html)


def _text(text: str) -> "Token":
    return _token("text", text)


def _token(kind: str, content: str) -> "Token":
    from markdown_it.token import Token

    return Token(kind, "", 0, content=content)


def _text_of(inline: "Token") -> str:
    """The words of a heading or of an image, bare."""
    words = {"softbreak": " ", "hardbreak": " "}
    children = inline.children or []
    return "".join(words.get(child.type, child.content if child.type in _TEXTS else "") for child in children)


def _begins_item(tokens: "Sequence[Token]", place: int) -> bool:
    return place >= 2 and tokens[place - 1].type == "paragraph_open" and tokens[place - 2].type == "list_item_open"


def _with_task(inline: "Token") -> "Token":
    """`[x]` at the beginning of an item is a task that is done."""
    first = inline.children[0] if inline.children else None
    sign = {"[ ] ": "☐ ", "[x] ": "☑ ", "[X] ": "☑ "}.get(first.content[:4]) if first and first.type == "text" else None
    if first and sign:
        first.content = sign + first.content[4:]
    return inline


# --- the sanitiser


@cache
def _cleaner() -> "nh3.Cleaner":
    """Knows nothing of what was done before it: these tags and attributes are all that any page shows of a card."""
    import nh3

    aligned = {"align": {"left", "center", "right"}}
    scrolled = {"class": {"scroll"}, "tabindex": {"0"}, "role": {"group"}, "aria-label": {"Table"}}
    named = {tag: {"id"} for tag in HEADINGS}
    cells = {"td": {"colspan", "rowspan"}, "th": {"colspan", "rowspan"}}
    return nh3.Cleaner(
        tags=set(PHRASES | BLOCKS),
        attributes={
            **named,
            **cells,
            "a": {"href", "id"},
            "details": {"open"},
            "img": {"alt", "height", "src", "width"},
            "ol": {"start"},
        },
        tag_attribute_values={
            **dict.fromkeys(BLOCKS, aligned),
            "div": {**aligned, **scrolled},
            "img": {**aligned, "loading": {"lazy"}},
        },
        set_tag_attribute_values={"pre": {"tabindex": "0"}},
        attribute_filter=_filter,
        url_schemes=set(SCHEMES),
        link_rel="nofollow noopener noreferrer",
    )


_OWN_BYTES = re.compile(r"/[a-z0-9-]+/[A-Za-z0-9._-]+/raw/[^?#]+\?inline")


def _filter(tag: str, attribute: str, value: str) -> str | None:
    if attribute == "id":
        return value if value.startswith(PREFIX) else None
    if (tag, attribute) == ("img", "src"):
        return value if _OWN_BYTES.fullmatch(value) else None
    return value
