"""Tickets: signed by us, for one thing, until a moment; with keys that may be changed."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.server.core.tickets import Ticket, TicketOffice, open_ticket_office
from steelyard.server.db.engine import Database
from steelyard.server.db.migrate import migrate
from steelyard.server.db.tables import SigningKey
from steelyard.server.errors import Forbidden

SOON = int(time.time()) + 3_600
TICKET = Ticket("part", "upload", "token", SOON, "sha256:" + "0" * 64, 5, 1)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(f"sqlite:///{tmp_path / 'tickets.sqlite3'}")
    migrate(database)
    return database


def _office(database: Database) -> TicketOffice:
    with database.write() as session:
        return open_ticket_office(session)


def test_a_ticket_is_read_back_as_it_was_signed(database: Database) -> None:
    office = _office(database)
    assert office.read(office.sign(TICKET), "part", "upload", part=1) == TICKET


def test_a_ticket_outlives_the_process(database: Database) -> None:
    assert _office(database).read(_office(database).sign(TICKET), "part", "upload", part=1) == TICKET


def test_each_registry_has_a_key_of_its_own(database: Database, tmp_path: Path) -> None:
    other = Database(f"sqlite:///{tmp_path / 'other.sqlite3'}")
    migrate(other)
    with pytest.raises(Forbidden, match="not valid"):
        _office(other).read(_office(database).sign(TICKET), "part", "upload", part=1)


def test_a_new_key_signs_and_the_old_one_still_verifies(database: Database) -> None:
    old = _office(database)
    signed_before = old.sign(TICKET)
    with database.write() as session:
        session.add(SigningKey(secret=b"n" * 32))
    new = _office(database)
    assert new.read(signed_before, "part", "upload", part=1) == TICKET
    with pytest.raises(Forbidden, match="not valid"):
        old.read(new.sign(TICKET), "part", "upload", part=1)


@pytest.mark.parametrize(
    ("purpose", "subject", "part"),
    [("upload", "upload", 1), ("part", "other", 1), ("part", "upload", 2), ("part", "upload", None)],
)
def test_a_ticket_opens_one_thing(database: Database, purpose: str, subject: str, part: int | None) -> None:
    office = _office(database)
    with pytest.raises(Forbidden, match="something else"):
        office.read(office.sign(TICKET), purpose, subject, part=part)  # type: ignore[arg-type]


def test_a_ticket_ends(database: Database) -> None:
    office = _office(database)
    with pytest.raises(Forbidden, match="expired"):
        office.read(office.sign(Ticket("upload", "u", None, int(time.time()))), "upload", "u")


@given(text=st.text())
def test_no_text_but_ours_is_a_ticket(text: str) -> None:
    with pytest.raises(Forbidden, match="not valid"):
        TicketOffice([b"k" * 32]).read(text, "upload", "u")
