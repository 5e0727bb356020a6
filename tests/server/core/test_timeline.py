"""The time line and the metrics along it, on either database, and what they cost a model with thousands of versions."""

import itertools
import time

from sqlalchemy import insert, select

from steelyard.server.core import timeline
from steelyard.server.core.timeline import Entry
from steelyard.server.db.tables import AliasMove, Standing, Version
from steelyard.server.names import Version as SemVer
from tests.server.core.history.lines import Line

PATH = "/org/ada/models/tiny"


def publish(line: Line, *numbers: str) -> None:
    """Versions with a metric each."""
    for place, number in enumerate(numbers):
        assert line.ada.publish(f"ada/tiny:{number}", metrics={"place": place}).status_code == 201


def entries(line: Line, **query: int) -> list[Entry]:
    with line.reading() as (session, found):
        return timeline.list_timeline(session, line.member, found, **{"page": 1, "limit": 50, **query}).entries


def test_the_line_is_in_order_and_tells_of_moves(line: Line) -> None:
    publish(line, "1.0.0", "2.0.0-rc.1", "1.10.0", "1.9.0")
    for version in ("1.0.0", "1.10.0"):
        assert line.ada.post(f"{PATH}/{version}/aliases", {"alias": "production"}).status_code == 200
    assert line.ada.put(f"{PATH}/1.9.0/yank", {"reason": "wrong"}).status_code == 200
    found = entries(line)
    assert [(entry.version, entry.standing, entry.published_by) for entry in found] == [
        ("2.0.0-rc.1", Standing.PRERELEASE, "ada"),
        ("1.10.0", Standing.STABLE, "ada"),
        ("1.9.0", Standing.YANKED, "ada"),
        ("1.0.0", Standing.STABLE, "ada"),
    ]
    assert [[(move.from_version, move.to_version, move.by) for move in entry.moves] for entry in found] == [
        [],
        [("1.0.0", "1.10.0", "ada")],
        [],
        [("1.0.0", "1.10.0", "ada"), (None, "1.0.0", "ada")],
    ]
    assert [entry.aliases for entry in found] == [(), ("production",), (), ()]


def test_a_stranger_is_not_told_who(line: Line) -> None:
    publish(line, "1.0.0")
    assert line.ada.post(f"{PATH}/1.0.0/aliases", {"alias": "production"}).status_code == 200
    with line.reading() as (session, found):
        [entry] = timeline.list_timeline(session, line.stranger, found, page=1, limit=5).entries
    assert (entry.published_by, [move.by for move in entry.moves]) == (None, [None])


def test_metrics_go_from_the_lowest_version_to_the_highest(line: Line) -> None:
    publish(line, "1.0.0", "1.10.0", "1.9.0")
    with line.reading() as (session, found):
        history = timeline.list_metrics(session, found, page=1, limit=5)
    assert [mark.version for mark in history.versions] == ["1.0.0", "1.9.0", "1.10.0"]
    assert [(series.key, series.values) for series in history.series] == [("place", (0, 2, 1))]


# --- a model with thousands of versions

_MANY = 5_000


def fill(line: Line) -> None:
    """Thousands of versions like the first one, and an alias that went along them."""
    publish(line, "0.0.1")
    with line.writing() as (session, found):
        first = session.scalars(select(Version)).one()
        kept = {column.key: getattr(first, column.key) for column in Version.__table__.columns}
        numbers = [SemVer(1, minor, 0) for minor in range(_MANY)]
        session.execute(insert(Version), [
            {**kept, "id": None, "uuid": f"{number}", "version": str(number), "precedence": number.precedence}
            for number in numbers
        ])  # fmt: skip
        session.execute(insert(AliasMove), [
            {"model_id": found.model.id, "alias": "nightly", "by": "ada", "from_version": str(a), "to_version": str(b)}
            for a, b in itertools.pairwise(numbers)
        ])  # fmt: skip


def test_a_page_of_thousands_is_cheap(line: Line) -> None:
    fill(line)
    began = time.monotonic()
    for page in (1, 50, 100):
        found = entries(line, page=page)
        assert len(found) == 50
        assert all(entry.moves for entry in found)
    assert found[-1].version == "1.0.0"
    with line.reading() as (session, model):
        history = timeline.list_metrics(session, model, page=1, limit=5)
    assert (len(history.versions), history.is_cut) == (timeline.MOST_VERSIONS, True)
    assert time.monotonic() - began < 2
