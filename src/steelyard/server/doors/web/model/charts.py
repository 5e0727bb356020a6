"""Charts as SVG made here: a line through points, with axes, and a title on each point. Text goes in, markup comes out.

Owns the geometry; colours are the style sheet's (`.chart`, `.chart-line`, `.chart-mark`, `.chart-grid`, `.chart-text`).
Numbers may be anything finite: nothing of a chart is ever NaN or infinite, however near together or far apart they are.
Whoever shows a chart shows a table of the same points beside it: to a screen reader the chart is one picture.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from itertools import groupby
from typing import Literal

from markupsafe import Markup

Mark = Literal["dot", "diamond", "cross"]
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 12, 28
_MOST_MARKS = 60  # of more points only the line is drawn, and those that no line leads to
_LABEL_WIDTH = 124  # from one label to the next, of which the first stands wholly to the right of its place
_LABEL_CHARACTERS = 12
_TICK_CHARACTERS = 9
_SIX_DIGITS = Context(prec=6)


@dataclass(frozen=True, slots=True)
class Point:
    """One point, in the order of the horizontal axis; without a value, the line is broken there.

    `label` names it on the axis (a version, a day); `mark` is its shape, so that kinds are told by more than colour.
    """

    label: str
    value: float | None
    mark: Mark = "dot"


def line_chart(
    points: Sequence[Point], *, title: str, from_zero: bool = False, width: int = 360, height: int = 200
) -> Markup:
    """The chart of some points, `<svg>` and all: safe to put into a page as it is.

    `title` says what is counted; with `from_zero` the vertical axis begins at 0. It scales to the width of where it
    stands: `width` and `height`, in units of its text's 12, say only its shape. Without any value it is empty: "".
    """
    values = [float(point.value) for point in points if point.value is not None]
    if not values:
        return Markup("")
    scale = _scale_of(values, from_zero=from_zero)
    frame = _Frame(len(points), scale, width, height)
    inside = Markup("").join([*_grid(frame), *_labels(frame, points), *_lines(frame, points), *_marks(frame, points)])
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        width, height, _told(title, points, values), inside
    )


def figure(value: float | Decimal) -> str:
    """A number in few characters, as charts and tables show it: six digits at the most, whole numbers whole."""
    if -(10**15) < value < 10**15 and value == int(value):
        return f"{int(value):,}"
    return f"{value:.6g}" if isinstance(value, float) else f"{_SIX_DIGITS.create_decimal(value).normalize():g}"


def _told(title: str, points: Sequence[Point], values: Sequence[float]) -> str:
    """What a screen reader says of the picture."""
    if len(values) == 1:
        return f"{title}: {figure(values[0])}"
    first, last = points[0].label, points[-1].label
    return (
        f"{title}: {len(values)} points from {first} to {last}, "
        f"between {figure(min(values))} and {figure(max(values))}, the last {figure(values[-1])}"
    )


# --- the vertical axis


@dataclass(frozen=True, slots=True)
class _Scale:
    """What the vertical axis reaches from and to, and where it is labelled."""

    low: float
    high: float
    ticks: Sequence[float]

    def share(self, value: float) -> float:
        """How far up a value is: 0 at the bottom, 1 at the top. Of halves, since a difference may be too large."""
        largest = max(abs(self.low), abs(self.high))
        low, high = self.low / largest, self.high / largest
        return (value / largest - low) / (high - low)


def _scale_of(values: Sequence[float], *, from_zero: bool) -> _Scale:
    low, high = (min(*values, 0.0), max(*values, 0.0)) if from_zero else (min(values), max(values))
    if low / 2 == high / 2:  # one value, or some that nothing lies between
        low, high = (0.0, 1.0) if from_zero else _around(low)
    is_whole = all(value.is_integer() for value in values)
    return _Scale(low, high, _ticks(low, high, least_step=1.0 if is_whole else 0.0))


def _around(value: float) -> tuple[float, float]:
    """Something below and something above, so that a level line lies in the middle."""
    if abs(value) < 1e-300:
        return -1.0, 1.0
    low, high = sorted((value * 0.9, value * (1.1 if abs(value) < 1e308 else 1.0)))
    return low, high


def _ticks(low: float, high: float, *, least_step: float) -> list[float]:
    """One to six round numbers between them; the two themselves where there are none."""
    rough = high / 5 - low / 5
    if rough < 1e-300:
        return [low, high]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((power * factor for factor in (1, 2, 5) if rough <= power * factor), min(power * 10, 1e308))
    step = max(step, least_step)
    first = math.ceil(low / step)
    found = [float(f"{(first + index) * step:.15g}") for index in range(8)]
    return [tick for tick in dict.fromkeys(found) if low <= tick <= high] or [low, high]


def _tick_texts(ticks: Sequence[float]) -> list[str]:
    """As few digits as are exact, or else as many as there is room for."""
    fitting = [f"{tick:.0e}" for tick in ticks]
    for digits in range(3, 17):
        texts = [f"{tick:.{digits}g}" for tick in ticks]
        if max(map(len, texts)) <= _TICK_CHARACTERS:
            fitting = texts
            if all(math.isclose(float(text), tick) for text, tick in zip(texts, ticks, strict=True)):
                break
    return fitting


# --- where things are


@dataclass(frozen=True, slots=True)
class _Frame:
    """From a point's place and value to coordinates."""

    count: int
    scale: _Scale
    width: int
    height: int

    def x(self, index: int) -> float:
        """One point alone stands in the middle."""
        inner = self.width - _LEFT - _RIGHT
        return _LEFT + inner * (index / (self.count - 1) if self.count > 1 else 0.5)

    def y(self, value: float) -> float:
        inner = self.height - _TOP - _BOTTOM
        return _TOP + inner * (1 - self.scale.share(value))


def _grid(frame: _Frame) -> Iterable[Markup]:
    ticks = frame.scale.ticks
    for tick, text in zip(ticks, _tick_texts(ticks), strict=True):
        y = frame.y(tick)
        yield Markup('<line class="chart-grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
            _LEFT, frame.width - _RIGHT, y, y
        )
        yield _text(_LEFT - 6, y + 4, "end", text)


def _labels(frame: _Frame, points: Sequence[Point]) -> Iterable[Markup]:
    """The first, the last, and as many between as there is room for."""
    last = len(points) - 1
    room = max(1, (frame.width - _LEFT - _RIGHT) // _LABEL_WIDTH)
    step = max(1, -(-last // room))
    for index in (*range(0, last - step + 1, step), last):
        anchor = "middle" if last == 0 or 0 < index < last else "start" if index == 0 else "end"
        yield _text(frame.x(index), frame.height - 8, anchor, _short(points[index].label))


def _text(x: float, y: float, anchor: str, text: str) -> Markup:
    return Markup('<text class="chart-text" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        x, y, anchor, text
    )


def _short(label: str) -> str:
    return label if len(label) <= _LABEL_CHARACTERS else label[: _LABEL_CHARACTERS - 1] + "…"


# --- what is drawn


def _runs(points: Sequence[Point]) -> list[list[tuple[int, Point, float]]]:
    """The points with a value, in runs that nothing breaks."""
    placed = ((index, point, point.value) for index, point in enumerate(points))
    runs = groupby(placed, key=lambda it: it[2] is None)
    return [[(index, point, float(value or 0)) for index, point, value in run] for broken, run in runs if not broken]


def _lines(frame: _Frame, points: Sequence[Point]) -> Iterable[Markup]:
    for run in _runs(points):
        if len(run) > 1:
            way = "L".join(f"{frame.x(index):.1f} {frame.y(value):.1f}" for index, _, value in run)
            yield Markup('<path class="chart-line" d="M{}"/>').format(way)


def _marks(frame: _Frame, points: Sequence[Point]) -> Iterable[Markup]:
    is_crowded = len(points) > _MOST_MARKS
    for run in _runs(points):
        for index, point, value in run:
            if not is_crowded or len(run) == 1 or point.mark != "dot":
                yield _mark(frame.x(index), frame.y(value), point, value)


def _mark(x: float, y: float, point: Point, value: float) -> Markup:
    shape = _SHAPES[point.mark](x, y)
    said = f"{point.label}: {figure(value)}"
    return Markup('<g class="chart-mark chart-{}"><title>{}</title>{}</g>').format(point.mark, said, shape)


def _dot(x: float, y: float) -> Markup:
    return Markup('<circle cx="{:.1f}" cy="{:.1f}" r="3.5"/>').format(x, y)


def _diamond(x: float, y: float) -> Markup:
    return Markup('<path d="M{:.1f} {:.1f}l4.5 4.5l-4.5 4.5l-4.5 -4.5z"/>').format(x, y - 4.5)


def _cross(x: float, y: float) -> Markup:
    return Markup('<path d="M{:.1f} {:.1f}l8 8m0 -8l-8 8"/>').format(x - 4, y - 4)


_SHAPES: dict[Mark, Callable[[float, float], Markup]] = {"dot": _dot, "diamond": _diamond, "cross": _cross}
