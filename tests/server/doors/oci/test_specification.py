"""Each row of what the specification demands is tried; the rows are in `requirements`, to be read there."""

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.house import Person, Registered
from tests.server.doors.oci.pushing import Repository
from tests.server.doors.oci.requirements import ROWS, Place, Row, page

PAGE = Path(__file__).parents[4] / "docs/oci-conformance.md"


def _name(row: Row) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", f"{row.section} {row.must}").strip("-")


@pytest.fixture
def place(ada: Person, bob: Person, registry: Registered, repo: Repository) -> Place:
    return Place(repo, Repository(ada, f"{ada.name}/other"), repo.by(bob), repo.by(registry.anonymous))


@pytest.mark.parametrize("row", ROWS, ids=_name)
def test_is_met(row: Row, place: Place) -> None:
    row.check(place)


def test_no_row_is_there_twice() -> None:
    assert [name for name, count in Counter(map(_name, ROWS)).items() if count > 1] == []


def test_the_page_is_what_the_rows_say() -> None:
    told = PAGE.read_text(encoding="utf-8")
    assert told == page(), "run: python -m tests.server.doors.oci.requirements > docs/oci-conformance.md"
