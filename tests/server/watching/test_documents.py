"""What the documents, the dashboard and the rules say of metrics is what there is.

`python -m tests.server.watching.test_documents` makes the table in docs/metrics.md anew.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from steelyard.server.storage import BlobStore, DirectTransfers, StageWriter, StoredBlob
from steelyard.server.watching import instruments
from steelyard.server.watching.instruments import INSTRUMENTS, OPEN, Instrument
from tests.house import Registered
from tests.house.scraped import scrape

DOCS = Path(__file__).parents[3] / "docs"
_TABLE = re.compile(r"(<!-- metrics: .* -->\n).*(<!-- /metrics -->)", re.DOTALL)

# --- the table


def metrics_table() -> str:
    """The table of metrics as docs/metrics.md has it."""
    rows = ["| name | kind | labels | what |", "|---|---|---|---|", *map(_row, INSTRUMENTS), ""]
    return "\n".join(rows)


def _row(it: Instrument) -> str:
    labels = "; ".join(f"`{name}`: {_values(values)}" for name, values in it.labels.items())
    return f"| `{it.name}` | {it.kind} | {labels} | {it.says} |"


def _values(values: tuple[str, ...]) -> str:
    return ", ".join(f"`{value}`" for value in values) if values else "as many as there are"


def write_metrics_table() -> None:
    """Put the table into docs/metrics.md."""
    page = DOCS / "metrics.md"
    page.write_text(_TABLE.sub(lambda it: it[1] + metrics_table() + it[2], page.read_text("utf-8")), "utf-8")


def test_the_table_of_metrics_is_that_of_the_code() -> None:
    found = _TABLE.search((DOCS / "metrics.md").read_text("utf-8"))
    assert found
    assert metrics_table() in found[0], "make it anew: python -m tests.server.watching.test_documents"


def test_a_page_has_nothing_that_is_not_in_the_table(registered: Registered) -> None:
    page = scrape(registered.admin)
    known = {name for it in INSTRUMENTS for name in names_of(it)}
    unknown = {sample.name for sample in page.samples} - known
    assert {name for name in unknown if not name.startswith("process_")} == set()
    text = registered.admin.get("/metrics").text
    for it in INSTRUMENTS:
        assert f"# TYPE {it.name} {it.kind}\n" in text
        assert f"# HELP {it.name} {it.says}\n" in text


def test_names_and_help_are_as_prometheus_wants_them() -> None:
    assert len({it.name for it in INSTRUMENTS}) == len(INSTRUMENTS)
    for it in INSTRUMENTS:
        assert re.fullmatch(r"steelyard(_[a-z]+)+", it.name)
        assert it.name.endswith("_total") == (it.kind == "counter")
        assert (
            bool(it.buckets) == (it.kind == "histogram") == it.name.endswith("_duration_seconds") or "wait" in it.name
        )
        assert list(it.buckets) == sorted(set(it.buckets))
        for unit in ("Bytes", "Seconds"):
            assert it.says.startswith(unit) <= (f"_{unit.lower()}" in it.name)
            assert (f"_{unit.lower()}" in it.name) <= (unit.lower() in it.says.lower())
        assert it.says.endswith(".")


def test_the_calls_of_a_store_that_are_listed_are_those_there_are() -> None:
    """A link is signed by the server itself, and `read_now` never waits: no call, so nothing to measure."""
    protocols = (BlobStore, DirectTransfers, StageWriter, StoredBlob)
    calls = {name for it in protocols for name, value in vars(it).items() if callable(value) and name[0] != "_"}
    unmeasured = {"link_blob", "link_part", "read_now"}
    assert set(instruments.STORE_SECONDS.labels["operation"]) == calls - unmeasured
    assert instruments.STORE_FAILURES.labels["operation"] == instruments.STORE_SECONDS.labels["operation"]


# --- expressions of PromQL


def names_of(it: Instrument) -> tuple[str, ...]:
    """The names of the samples of a metric."""
    suffixes = ("_bucket", "_count", "_sum") if it.kind == "histogram" else ("",)
    return tuple(it.name + suffix for suffix in suffixes)


def _labels(it: Instrument, name: str) -> Mapping[str, tuple[str, ...]]:
    found = {**it.labels, "instance": OPEN, "job": OPEN}
    return {**found, "le": OPEN} if name.endswith("_bucket") else found


KNOWN = {name: _labels(it, name) for it in INSTRUMENTS for name in names_of(it)}
PROCESS = ("process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds")
KNOWN |= {name: {"instance": OPEN, "job": OPEN} for name in PROCESS}

_STRING = r'"(?:[^"\\]|\\.)*"'
_SELECTOR = re.compile(rf"\b((?:steelyard|process)_\w+)(?:\{{((?:[^}}\"]|{_STRING})*)\}})?")
_MATCHER = re.compile(rf"\s*(\w+)\s*(=~|!~|!=|=)\s*({_STRING})\s*(?:,|$)")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
_FUNCTIONS = {
    "abs", "and", "avg", "by", "count", "histogram_quantile", "increase", "max", "min", "on", "or", "rate", "sum",
    "topk", "unless", "bool",
}  # fmt: skip


@dataclass(frozen=True)
class Expression:
    """One expression, and where it stands; `shown` are the labels that its legend or its words use."""

    where: str
    text: str
    shown: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.where


def faults_of(expression: Expression) -> Iterator[str]:
    """Every name, label or value in it that does not exist."""
    text = expression.text
    labels: set[str] = set()
    for name, matchers in _SELECTOR.findall(text):
        if name not in KNOWN:
            yield f"there is no {name}"
            continue
        labels |= set(KNOWN[name])
        yield from _wrong_matchers(name, matchers)
    groups = [label.strip() for group in _GROUPING.findall(text) for label in group.split(",")]
    yield from (f"there is no label {label}" for label in groups if label not in labels)
    kept = set(groups) if groups else labels
    yield from (f"the legend has {label}, which is not kept" for label in expression.shown if label not in kept)
    rest = re.sub(r"\[[^\]]*\]", "", _GROUPING.sub("", _SELECTOR.sub("", text)))
    words = set(re.findall(r"[A-Za-z_]\w*", rest)) - _FUNCTIONS
    yield from (f"{word} is nothing" for word in words)
    if any(text.count(a) != text.count(b) for a, b in ("()", "[]", "{}")):
        yield "brackets do not match"
    if not _SELECTOR.search(text):
        yield "it asks for nothing"
    bare = re.sub(_STRING, "", text)
    for name, span in re.findall(r"\b(steelyard_\w+_(?:total|bucket|count|sum))\b(?:\{[^}]*\})?(\[)?", bare):
        if not span:
            yield f"{name} without its rate"


def _wrong_matchers(name: str, matchers: str) -> Iterator[str]:
    if _MATCHER.sub("", matchers).strip():
        yield f"{matchers} cannot be read"
    for label, operator, quoted in _MATCHER.findall(matchers):
        value, values = quoted[1:-1], KNOWN[name].get(label)
        if values is None:
            yield f"{name} has no label {label}"
            continue
        pattern = value if "~" in operator else re.escape(value)
        if values and "$" not in value and not any(re.fullmatch(pattern, it) for it in values):
            yield f"{label} of {name} is never {value}"


# --- the dashboard


@cache
def dashboard() -> dict[str, Any]:
    """As it is imported."""
    found: dict[str, Any] = json.loads((DOCS / "dashboards/steelyard.json").read_text("utf-8"))
    return found


def drawn() -> list[dict[str, Any]]:
    """The panels that show something."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def shown_expressions() -> Iterator[Expression]:
    """What its panels ask."""
    for panel in drawn():
        for target in panel["targets"]:
            legend = tuple(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            yield Expression(f"{panel['title']} {target['refId']}", target["expr"], legend)


@pytest.mark.parametrize("expression", list(shown_expressions()), ids=str)
def test_each_panel_asks_for_what_there_is(expression: Expression) -> None:
    assert list(faults_of(expression)) == []


def test_the_dashboard_shows_every_metric() -> None:
    text = " ".join(expression.text for expression in shown_expressions())
    assert [it.name for it in INSTRUMENTS if it.name not in text] == []


def test_the_dashboard_can_be_imported() -> None:
    board = dashboard()
    assert board["schemaVersion"] >= 39
    assert board["title"] == "Steelyard"
    assert "id" not in board, "Grafana gives it one"
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    for panel in drawn():
        asked = [panel, *panel["targets"]]
        assert {it["datasource"]["uid"] for it in asked} == {"${datasource}"}, panel["title"]
        assert panel["description"]
        assert set(re.findall(r"\$(\w+)", json.dumps(panel["targets"]))) <= {*variables, "__rate_interval"}
    for name in ("instance", "route"):
        metric, label = re.findall(r"label_values\((\w+), (\w+)\)", variables[name]["definition"])[0]
        assert label in KNOWN[metric]


def test_no_panel_lies_on_another() -> None:
    places = [panel["gridPos"] for panel in dashboard()["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above


# --- the rules


@cache
def rules() -> list[dict[str, Any]]:
    """Every alert."""
    groups = yaml.safe_load((DOCS / "dashboards/alerts.yaml").read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def rule_expressions() -> Iterator[Expression]:
    """What they ask, and the labels that their words use."""
    for rule in rules():
        words = " ".join(rule["annotations"].values())
        yield Expression(rule["alert"], rule["expr"], tuple(re.findall(r"\$labels\.(\w+)", words)))


@pytest.mark.parametrize("expression", list(rule_expressions()), ids=str)
def test_each_rule_asks_for_what_there_is(expression: Expression) -> None:
    assert list(faults_of(expression)) == []


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_each_rule_has_what_prometheus_wants(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"Steelyard[A-Za-z]+", rule["alert"])
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"]["summary"].endswith(".")


def test_the_routes_that_rules_name_are_routes(registered: Registered) -> None:
    routes = set(registered.client.get("/openapi.json").json()["paths"])
    named = {route for rule in rules() for route in re.findall(r'route="([^"]*)"', rule["expr"])}
    assert named
    assert named <= routes


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("steelyard_no_such_metric", ()),
        ("sum(rate(steelyard_http_requests_total{org=\"acme\"}[5m]))", ()),
        ("sum(rate(steelyard_http_requests_total{method=\"BREW\"}[5m]))", ()),
        ("sum(rate(steelyard_job_failures_total{reason=~\"no.*\"}[5m])) + whatever", ()),
        ("sum by (user) (rate(steelyard_http_requests_total[5m]))", ()),
        ("sum(rate(steelyard_http_request_duration_seconds[5m]))", ()),
        ("sum(steelyard_http_requests_total)", ()),
        ("sum((rate(steelyard_http_requests_total[5m]))", ()),
        ("sum by (status) (rate(steelyard_http_requests_total[5m]))", ("route",)),
        ("1 + 1", ()),
    ],
)  # fmt: skip
def test_a_wrong_expression_is_found(text: str, shown: tuple[str, ...]) -> None:
    assert list(faults_of(Expression("here", text, shown)))


if __name__ == "__main__":
    write_metrics_table()
