"""Charts: whatever the numbers, what is drawn has a place, and whatever the names, they stay text."""

import itertools
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from steelyard.server.doors.web.model.charts import Mark, Point, figure, line_chart

numbers = st.floats(allow_nan=False, allow_infinity=False)
marks: st.SearchStrategy[Mark] = st.sampled_from(["dot", "diamond", "cross"])


def chart(*values: float | None, **options: bool) -> str:
    points = [Point(str(number), value) for number, value in enumerate(values)]
    return str(line_chart(points, title="accuracy", **options))


def coordinates(svg: str) -> list[float]:
    """Every number that says where something is."""
    places = re.findall(r' (?:x|y|x1|x2|y1|y2|cx|cy|d)="([^"]*)"', svg)
    return [float(text) for place in places for text in re.findall(r"[-+]?[\d.]+(?:e[-+]?\d+)?|nan|inf", place)]


def ticks(svg: str) -> list[str]:
    """What stands on the vertical axis."""
    return [node.text() for node in LexborHTMLParser(svg).css("text") if node.attributes["x"] == "58.0"]


def heights(svg: str) -> list[float]:
    """How far below the top each point is."""
    return [float(node.attributes["cy"] or "nan") for node in LexborHTMLParser(svg).css("circle")]


@pytest.mark.parametrize("from_zero", [False, True])
@given(points=st.lists(st.builds(Point, st.text(max_size=20), st.none() | numbers, marks), max_size=12))
def test_whatever_is_drawn_lies_in_the_picture(points: list[Point], from_zero: bool) -> None:
    svg = str(line_chart(points, title="x", from_zero=from_zero))
    if not any(point.value is not None for point in points):
        assert svg == ""
        return
    lines = LexborHTMLParser(svg).css("line, circle")
    for node in lines:
        for name, most in (("x1", 360), ("x2", 360), ("cx", 360), ("y1", 200), ("y2", 200), ("cy", 200)):
            if name in node.attributes:
                assert 0 <= float(node.attributes[name] or "nan") <= most
    assert all(math.isfinite(number) and -20 <= number <= 360 for number in coordinates(svg))
    assert not re.search(r"(nan|inf)", re.sub(r"<title>.*?</title>|>[^<]*<|aria-label=\"[^\"]*\"", "", svg))


@pytest.mark.parametrize(
    "values",
    [
        (1.0,),
        (0.0,),
        (5, 5),
        (1e308, -1e308),
        (1.79e308, -1.79e308),
        (0.0, 5e-324),
        (1.0, 1.0000000000000002),
        (10**308, 1),
    ],
)
def test_numbers_at_the_edges_have_a_chart_with_ticks(values: tuple[float, ...]) -> None:
    svg = chart(*values)
    assert len(LexborHTMLParser(svg).css("circle")) == len(values)
    assert ticks(svg)
    assert all(math.isfinite(float(text)) for text in ticks(svg))


def test_one_point_stands_in_the_middle_and_equal_ones_on_a_level_line() -> None:
    [dot] = LexborHTMLParser(chart(3.0)).css("circle")
    assert (dot.attributes["cx"], dot.attributes["cy"]) == ("206.0", "92.0")
    assert heights(chart(3.0, 3.0, 3.0)) == [92.0] * 3


def test_the_highest_value_is_at_the_top_and_the_lowest_at_the_bottom() -> None:
    assert heights(chart(1, 3, 2)) == [172.0, 12.0, 92.0]
    assert heights(chart(1, 4, 2, from_zero=True)) == [132.0, 12.0, 92.0]
    assert heights(chart(-1e308, 1e308, 0)) == [172.0, 12.0, 92.0]


def test_ticks_are_round_and_whole_where_the_values_are() -> None:
    assert ticks(chart(0.1, 0.3)) == ["0.1", "0.15", "0.2", "0.25", "0.3"]
    assert ticks(chart(0, 1, 2, from_zero=True)) == ["0", "1", "2"]
    assert ticks(chart(0, 0, from_zero=True)) == ["0", "1"]
    assert ticks(chart(1e308, -1e308)) == ["-1e+308", "-5e+307", "0", "5e+307", "1e+308"]


def test_a_missing_value_breaks_the_line() -> None:
    whole, broken = LexborHTMLParser(chart(1, 2, 3, 4)), LexborHTMLParser(chart(1, 2, None, 4))
    assert (len(whole.css(".chart-line")), len(broken.css(".chart-line"))) == (1, 1)
    assert len(broken.css("circle")) == 3


def test_kinds_are_told_by_their_shape() -> None:
    points = [Point("1.0.0", 1.0), Point("2.0.0-rc.1", 2.0, "diamond"), Point("1.1.0", 3.0, "cross")]
    svg = LexborHTMLParser(str(line_chart(points, title="x")))
    assert [node.attributes["class"] for node in svg.css("g")] == [
        "chart-mark chart-dot", "chart-mark chart-diamond", "chart-mark chart-cross",
    ]  # fmt: skip
    assert [node.text() for node in svg.css("g.chart-cross title")] == ["1.1.0: 3"]


def test_a_crowd_of_points_is_a_line_with_few_labels() -> None:
    points = [Point(f"day {number}", float(number % 7)) for number in range(365)]
    points[100] = Point("day 100", None)
    points[102] = Point("day 102", None)
    svg = LexborHTMLParser(str(line_chart(points, title="downloads")))
    assert len(svg.css("circle")) == 1, "only the one that no line leads to"
    labels = [node.text() for node in svg.css("text") if node.attributes["y"] == "192.0"]
    assert labels[0] == "day 0" and labels[-1] == "day 364"
    assert len(labels) <= 5


def test_names_stay_text() -> None:
    hostile = '"><script>alert(1)</script><svg onload=x>'
    svg = str(line_chart([Point(hostile, 1.0), Point("\u202e" + hostile, 2.0)], title=hostile))
    parsed = LexborHTMLParser(svg)
    assert parsed.css("script") == []
    assert len(parsed.css("svg")) == 1
    names = {name for node in parsed.css("svg, svg *") for name in node.attributes}
    assert not {name for name in names if name.startswith("on") or name == "style"}
    assert [(node.attributes["aria-label"] or "")[: len(hostile)] for node in parsed.css("svg")] == [hostile]


def test_a_screen_reader_is_told_what_there_is_to_see() -> None:
    [svg] = LexborHTMLParser(chart(0.5, 0.9, 0.7)).css("svg")
    assert svg.attributes["role"] == "img"
    assert svg.attributes["aria-label"] == "accuracy: 3 points from 0 to 2, between 0.5 and 0.9, the last 0.7"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.93, "0.93"), (0.1 + 0.2, "0.3"), (1234567, "1,234,567"), (-5.0, "-5"), (10**308, "1e+308"), (1e-7, "1e-07"),
        (2**53 + 0.0, "9.0072e+15"), (-0.5, "-0.5"), (1e308, "1e+308"),
    ],
)  # fmt: skip
def test_numbers_in_few_characters(value: float, shown: str) -> None:
    assert figure(value) == shown


@pytest.mark.parametrize("width", [360, 640])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 13, 60, 365])
def test_labels_do_not_overlap(count: int, width: int) -> None:
    points = [Point("2026-11-23-long", float(number)) for number in range(count)]
    svg = LexborHTMLParser(str(line_chart(points, title="x", width=width)))
    spans: list[tuple[float, float]] = []
    for node in svg.css("text"):
        if node.attributes["y"] == "192.0":
            x, wide = float(node.attributes["x"] or 0), 12 * 6.7  # of 12 units, digits are some 6.7 wide
            start = x - {"start": 0.0, "middle": wide / 2, "end": wide}[node.attributes["text-anchor"] or ""]
            spans.append((start, start + wide))
    assert len(spans) >= min(count, 2)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    assert spans[0][0] >= 0
    assert spans[-1][1] <= width
