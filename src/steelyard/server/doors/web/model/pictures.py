"""Boxes in columns and arrows between them, as SVG made here: text goes in, markup comes out.

Owns the geometry; colours are the style sheet's (`.picture`, `.picture-box`, `.picture-arrow` and what they are called
besides). Boxes with an address are links; whoever shows a picture shows a list of the same beside it. Texts may be
anything: they are one line, of bounded width, and nothing in them moves or covers anything outside their box.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

_WIDTH, _HEIGHT = 190, 62
_ACROSS, _DOWN = 116, 18  # between boxes
_MARGIN = 10
_LETTERS, _SMALL_LETTERS, _LABEL_LETTERS = 19, 24, 14
_MOST_MARKS = 2  # accents on one letter
_LINE_DOWN = 21  # from the line of a label above its arrow to the one below


@dataclass(frozen=True, slots=True)
class Box:
    """`column` counts from left to right, from any number on. `kind` is a class of the style sheet; `title` is all of
    the text; a `url` that leads out of here says so (`is_outside`)."""

    column: int
    above: str
    name: str
    below: str
    title: str
    kind: str
    url: str | None = None
    is_outside: bool = False


@dataclass(frozen=True, slots=True)
class Arrow:
    """From one box to another, by their places in the list of boxes; with at most two lines of `label`."""

    start: int
    end: int
    label: Sequence[str]
    kind: str


def picture(boxes: Sequence[Box], arrows: Sequence[Arrow], *, title: str) -> Markup:
    """The picture, `<svg>` and all: safe to put into a page as it is. It has its own size, so it may have to scroll."""
    at, width, height = _places(boxes, arrows)
    drawn = [_arrow(arrow, at) for arrow in arrows]
    labels = [label for arrow in arrows for label in _labels(arrow, boxes, at)]
    inside = Markup("").join([*drawn, *(_box(box, at[place]) for place, box in enumerate(boxes)), *labels])
    return Markup(
        '<svg class="picture" role="group" aria-label="{}" width="{}" height="{}" viewBox="0 0 {} {}">'
        '<defs><clipPath id="picture-box"><rect width="{}" height="{}" rx="8"/></clipPath>'
        '<marker id="picture-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path class="picture-tip" d="M0 0L8 4L0 8z"/></marker></defs>{}</svg>'
    ).format(title, width, height, width, height, _WIDTH, _HEIGHT, inside)


# --- where things are

_At = tuple[float, float]


def _places(boxes: Sequence[Box], arrows: Sequence[Arrow]) -> tuple[list[_At], int, int]:
    """The upper left corner of each box, and the size of the whole."""
    columns = _columns(boxes, arrows)
    tallest = max(len(column) for column in columns.values())
    height = 2 * _MARGIN + tallest * (_HEIGHT + _DOWN) - _DOWN
    at: dict[int, _At] = {}
    for number, places in enumerate(columns.values()):
        top = (height - len(places) * (_HEIGHT + _DOWN) + _DOWN) / 2
        for row, place in enumerate(places):
            at[place] = (_MARGIN + number * (_WIDTH + _ACROSS), top + row * (_HEIGHT + _DOWN))
    width = 2 * _MARGIN + len(columns) * (_WIDTH + _ACROSS) - _ACROSS
    return [at[place] for place in range(len(boxes))], width, height


def _columns(boxes: Sequence[Box], arrows: Sequence[Arrow]) -> Mapping[int, list[int]]:
    """The places in each column from left to right. Outwards from the first box, each column follows the order of what
    it hangs on, so that few arrows cross."""
    columns: dict[int, list[int]] = {column: [] for column in sorted({box.column for box in boxes})}
    for place, box in enumerate(boxes):
        columns[box.column].append(place)
    beside: dict[int, list[int]] = {}
    for arrow in arrows:
        beside.setdefault(arrow.start, []).append(arrow.end)
        beside.setdefault(arrow.end, []).append(arrow.start)
    heights: dict[int, float] = {}
    middle = boxes[0].column
    for column in sorted(columns, key=lambda column: abs(column - middle)):
        columns[column].sort(key=lambda place: _height_of(beside.get(place, ()), heights))
        size = len(columns[column])
        heights.update({place: (row + 0.5) / size for row, place in enumerate(columns[column])})
    return columns


def _height_of(beside: Iterable[int], heights: Mapping[int, float]) -> float:
    known = [heights[place] for place in beside if place in heights]
    return sum(known) / len(known) if known else 1.0


# --- what is drawn


def _box(box: Box, at: _At) -> Markup:
    texts = Markup("").join(
        [
            _text("picture-above", 18, _cut(box.above, _SMALL_LETTERS)),
            _text("picture-name", 35, _cut(box.name, _LETTERS)),
            _text("picture-below", 52, _cut(box.below, _SMALL_LETTERS)),
        ]
    )
    frame = Markup('<rect class="picture-frame" width="{}" height="{}" rx="8"/>').format(_WIDTH, _HEIGHT)
    inside = Markup('<title>{}</title>{}<g clip-path="url(#picture-box)">{}</g>').format(
        _plain(box.title), frame, texts
    )
    place = Markup('class="picture-box {}" transform="translate({:.1f} {:.1f})"').format(box.kind, *at)
    if box.url is None:
        return Markup("<g {}>{}</g>").format(place, inside)
    outside = Markup(' rel="noopener noreferrer nofollow"') if box.is_outside else Markup("")
    return Markup('<a href="{}"{} aria-label="{}" {}>{}</a>').format(box.url, outside, _plain(box.title), place, inside)


def _text(kind: str, y: int, text: str) -> Markup:
    return Markup('<text class="{}" x="12" y="{}">{}</text>').format(kind, y, text) if text else Markup("")


def _curve(arrow: Arrow, at: Sequence[_At]) -> tuple[_At, _At, _At, _At]:
    """From the right side of one box to the left side of the other, also where that is a way back."""
    x1, y1 = at[arrow.start][0] + _WIDTH, at[arrow.start][1] + _HEIGHT / 2
    x2, y2 = at[arrow.end][0] - 2, at[arrow.end][1] + _HEIGHT / 2
    reach = max(56.0, (x2 - x1) / 2)
    return (x1, y1), (x1 + reach, y1), (x2 - reach, y2), (x2, y2)


def _arrow(arrow: Arrow, at: Sequence[_At]) -> Markup:
    points = [number for point in _curve(arrow, at) for number in point]
    way = "M{:.1f} {:.1f}C{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}".format(*points)
    return Markup('<path class="picture-arrow {}" d="{}" marker-end="url(#picture-tip)"/>').format(arrow.kind, way)


def _labels(arrow: Arrow, boxes: Sequence[Box], at: Sequence[_At]) -> Iterator[Markup]:
    """Beside the box that is farther out: there arrows are apart."""
    middle = boxes[0].column
    is_start_out = abs(boxes[arrow.start].column - middle) > abs(boxes[arrow.end].column - middle)
    (x1, y1), *_, (x2, y2) = _curve(arrow, at)
    x, y, anchor = (x1 + 6, y1, "start") if is_start_out else (x2 - 10, y2, "end")
    for number, line in enumerate(arrow.label[:2]):
        yield Markup('<text class="picture-label" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
            x, y - 7 + number * _LINE_DOWN, anchor, _cut(line, _LABEL_LETTERS)
        )


# --- texts


def _plain(text: str) -> str:
    """Text in which nothing is hidden, as `pages.visible` writes it, and which is no taller than a line."""
    return "".join(_letters(text))


def _letters(text: str) -> Iterator[str]:
    marks = 0
    for character in text:
        kind = unicodedata.category(character)
        marks = marks + 1 if kind in ("Mn", "Me") else 0
        if kind in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"):
            yield f"[U+{ord(character):04X}]"
        elif marks <= _MOST_MARKS:
            yield character


def _cut(text: str, most: int) -> str:
    """As much of a text as has room, wide letters counted twice."""
    taken, width = "", 0
    for letters in _letters(text):
        width += sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in letters)
        if width > most:
            return taken.rstrip()[: most - 1] + "…"
        taken += letters
    return taken
