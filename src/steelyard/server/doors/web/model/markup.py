"""HTML that people write into their cards: tags that are known here, each closed where it belongs, the rest left out.

What comes out is well-formed, so that whatever parses it next does work in proportion to its length: in HTML that is
not, each paragraph may have to open a thousand forgotten tags again. That it is harmless is not for this module to
say, but for the sanitiser behind it.
"""

import re
from collections.abc import Iterator, Mapping
from html import escape, unescape
from itertools import islice
from typing import Protocol


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PHRASES = _words(
    "a abbr b bdi br cite code del dfn em i img ins kbd mark q s samp small strike strong sub sup tt u var wbr"
)
BLOCKS = _words(
    "blockquote caption dd details div dl dt figcaption figure h1 h2 h3 h4 h5 h6 hr li ol p pre summary table tbody td "
    "tfoot th thead tr ul"
)
EMPTY = _words("br hr img wbr")
HEADINGS = _words("h1 h2 h3 h4 h5 h6")
TABLE = '<div class="scroll" tabindex="0" role="group" aria-label="Table"><table>', "</table></div>"
_DROPPED = _words(
    "audio canvas embed frameset head iframe math noembed noframes noscript object plaintext script select style svg "
    "template textarea title video xmp"
)
_MOST_OPEN = 30
_MOST_ATTRIBUTES = 20
_CELLS, _ROWS, _PAIRS = _words("td th"), _words("tbody tfoot thead"), _words("dd dt")
_SKELETON = _ROWS | _words("table tr")  # of a table: nothing else stands there, what does is put before the table
# The only elements in which a tag stands, and those that end when it opens; of a table all do.
_HOMES: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(_CELLS, _SKELETON),
    **dict.fromkeys(_ROWS | _words("caption"), _words("table")),
    **dict.fromkeys(_PAIRS, _words("dl")),
    "tr": _ROWS | _words("table"),
    "li": _words("ol ul"),
    "summary": _words("details"),
    "figcaption": _words("figure"),
}
_ENDED: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(_PAIRS, _PAIRS | _words("div p")),
    "li": _words("div li p"),
    "summary": _words("p"),
    "figcaption": _words("p"),
}
_OF_PHRASES = HEADINGS | _words("p")  # in these there are no blocks

_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9-]{0,20})([^<>]{0,2000})>")
_ATTRIBUTE = re.compile(r"""([A-Za-z][A-Za-z-]{0,30})(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'=<>`]+)))?""")
_DECLARED = re.compile(r"<[!?][^<>]*>")


class Shown(Protocol):
    """What tags with an address, and headings, become: whoever knows where the card is shown says so."""

    def open_link(self, url: str, name: str = "") -> str: ...

    def image(self, url: str, alt: str, sizes: Mapping[str, str], *, in_link: bool) -> str: ...

    def open_heading(self, rank: int, name: str) -> tuple[str, str]: ...


class Tags:
    """Somebody's tags, as far as they are open. `level` is how deep in the Markdown around them they stand."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown
        self._open: list[tuple[str, str, int]] = []  # the name, how it is closed, and its level
        self._dropping = ""

    def block(self, html: str, level: int) -> str:
        """A block of HTML, in which the tags of phrases do not outlast it."""
        written = [self._text(it) if isinstance(it, str) else self._tag(it, level) for it in _pieces(html)]
        self._dropping = ""
        return "".join([*written, self._close_phrases()])

    def begin_block(self, level: int) -> str:
        """Close what no block stands in, since one of Markdown's own, or another, begins."""
        closed = self._close_phrases()
        while self._open and self._open[-1][0] in _OF_PHRASES | _SKELETON and self._open[-1][2] >= level:
            closed += self._close_to(len(self._open) - 1)
        return closed

    def inline(self, tag: str, level: int, *, with_blocks: bool) -> str:
        """One tag among text; blocks only where those may stand."""
        found = _TAG.fullmatch(tag)
        if found is None or (found[2].lower() in BLOCKS and not with_blocks):
            return ""
        return self._tag(found, level)

    def open_link(self, url: str, level: int) -> str:
        """A link of Markdown's own; there is none in a link."""
        if self.in_link or len(self._open) >= _MOST_OPEN:
            return ""
        self._open.append(("a", "</a>", level))
        return self._shown.open_link(url)

    @property
    def drops(self) -> bool:
        """Whether what follows is no text: it stands in a script, or the like."""
        return bool(self._dropping)

    @property
    def in_link(self) -> bool:
        """Whether a link is open."""
        return any(name == "a" for name, _, _ in self._open)

    def close_above(self, level: int) -> str:
        """Close what was opened deeper than this, since the Markdown around it ends."""
        count = next((place for place, (_, _, its) in enumerate(self._open) if its > level), len(self._open))
        return self._close_to(count)

    def close(self) -> str:
        """Close all."""
        self._dropping = ""
        return self._close_to(0)

    def _text(self, piece: str) -> str:
        return "" if self._dropping else piece.replace("<", "&lt;")

    def _tag(self, found: re.Match[str], level: int) -> str:
        name = found[2].lower()
        if self._dropping:
            self._dropping = "" if found[1] and name == self._dropping else self._dropping
            return ""
        if name in _DROPPED:
            self._dropping = "" if found[1] or found[3].endswith("/") else name
            return ""
        if name == "center":
            name, found = "div", _TAG.match("</div>" if found[1] else '<div align="center">') or found
        if name not in PHRASES and name not in BLOCKS:
            return ""
        return self._end(name, level) if found[1] else self._begin(name, found[3], level)

    def _begin(self, name: str, source: str, level: int) -> str:
        before = self._make_room(name, level)
        if before is None:
            return ""
        given = _attributes(source)
        if name == "img":
            return before + self._image(given)
        if name in EMPTY:
            return f"{before}<{name}>"
        if len(self._open) >= _MOST_OPEN or (name == "a" and self.in_link):
            return before
        opening, closing = self._opening(name, given)
        self._open.append((name, closing, level))
        return before + opening

    def _make_room(self, name: str, level: int) -> str | None:
        """End what ends where this begins; None where it cannot stand."""
        if name in _HOMES:
            home = self._find_home(name, level)
            return None if home is None else self._close_to(home + 1)
        blocks = [each for each, _, _ in self._open if each not in PHRASES]
        if blocks and blocks[-1] in _SKELETON:
            return None
        return self.begin_block(level) if name in BLOCKS else ""

    def _find_home(self, name: str, level: int) -> int | None:
        for place in range(len(self._open) - 1, -1, -1):
            each, _, its = self._open[place]
            if its < level:
                return None
            if each in _HOMES[name]:
                return place
            if name in _ENDED and each not in _ENDED[name] | PHRASES:
                return None
        return None

    def _end(self, name: str, level: int) -> str:
        before = self._close_phrases() if name in BLOCKS else ""
        for place in range(len(self._open) - 1, -1, -1):
            each, _, its = self._open[place]
            if its < level:
                break
            if each == name:
                return before + self._close_to(place)
        return before

    def _close_phrases(self) -> str:
        count = len(self._open)
        while count and self._open[count - 1][0] in PHRASES:
            count -= 1
        return self._close_to(count)

    def _close_to(self, count: int) -> str:
        closed = "".join(closing for _, closing, _ in reversed(self._open[count:]))
        del self._open[count:]
        return closed

    def _opening(self, name: str, given: Mapping[str, str]) -> tuple[str, str]:
        """How a tag is opened, and closed."""
        if name == "a":
            return self._shown.open_link(given.get("href", ""), given.get("id") or given.get("name", "")), "</a>"
        if name == "table":
            return TABLE
        kept = _written(_kept(name, given))
        if name in HEADINGS:
            opening, closing = self._shown.open_heading(int(name[1]), given.get("id", ""))
            return opening.removesuffix(">") + kept + ">", closing
        return f"<{name}{kept}>", f"</{name}>"

    def _image(self, given: Mapping[str, str]) -> str:
        sizes = {key: given[key].removesuffix("px") for key in ("width", "height") if key in given}
        sizes = {key: value for key, value in sizes.items() if re.fullmatch(r"[0-9]{1,4}%?", value)}
        return self._shown.image(
            given.get("src", ""), given.get("alt", ""), sizes | _kept("img", given), in_link=self.in_link
        )


def _pieces(html: str) -> Iterator[str | re.Match[str]]:
    """Texts and tags, in their order, without comments and declarations."""
    at, html = 0, _DECLARED.sub("", _without_comments(html))
    for found in _TAG.finditer(html):
        yield html[at : found.start()]
        yield found
        at = found.end()
    yield html[at:]


def _without_comments(html: str) -> str:
    kept, at = [], 0
    while (start := html.find("<!--", at)) >= 0:
        kept.append(html[at:start])
        end = html.find("-->", start + 4)
        if end < 0:
            return "".join(kept)
        at = end + 3
    return "".join([*kept, html[at:]])


def _attributes(source: str) -> dict[str, str]:
    """The first of each name, as HTML has it."""
    found: dict[str, str] = {}
    for each in islice(_ATTRIBUTE.finditer(source), _MOST_ATTRIBUTES):
        found.setdefault(each[1].lower(), unescape(each[2] or each[3] or each[4] or ""))
    return found


def _kept(name: str, given: Mapping[str, str]) -> dict[str, str]:
    """The attributes that a tag keeps as they are, where they say something that is known."""
    kept = {}
    if name in BLOCKS | {"img"} and given.get("align", "").lower() in ("left", "center", "right"):
        kept["align"] = given["align"].lower()
    if name in _CELLS:
        kept |= {key: given[key] for key in ("colspan", "rowspan") if re.fullmatch(r"[1-9][0-9]?", given.get(key, ""))}
    if name == "ol" and re.fullmatch(r"[0-9]{1,9}", given.get("start", "")):
        kept["start"] = given["start"]
    if name == "details" and "open" in given:
        kept["open"] = ""
    return kept


def _written(attributes: Mapping[str, str]) -> str:
    return "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
