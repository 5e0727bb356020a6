"""Sessions of browsers: how their secrets change, what survives a lost answer, and what ends them.

Time passes by moving what is noted of a session into the past: nobody sleeps.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from steelyard.server.core import sessions, tokens
from steelyard.server.core.access import Actor
from steelyard.server.core.sessions import SignedIn
from steelyard.server.db.engine import Database
from steelyard.server.db.tables import AuditEvent, BrowserSession
from steelyard.server.errors import Forbidden, NotFound, Unauthenticated
from tests.conftest import MakeRegistered
from tests.house import Person, Registered
from tests.house.postgres import postgres_url

on_both = pytest.mark.parametrize("door", ["sqlite", "postgres"], indirect=True)
HOUR, DAY = 3_600, 86_400
_MOMENTS = ("created_at", "rotated_at", "used_at", "expires_at", "former_until")
CALLER = Actor(principal="anonymous", name="anonymous", address="192.0.2.7", request_id="a-request")


@dataclass
class Door:
    """What pages do with sessions, at one registry."""

    registered: Registered

    @property
    def database(self) -> Database:
        database = self.registered.client.app.state.registry.database  # type: ignore[attr-defined]
        assert isinstance(database, Database)
        return database

    def begin(self, token: str, *, agent: str = "a browser", lasts_seconds: int = 30 * DAY) -> SignedIn | None:
        with self.database.write() as session:
            return sessions.begin(session, CALLER, token, agent=agent, lasts_seconds=lasts_seconds)

    def sign_in(self, person: Person, **kwargs: Any) -> tuple[str, str]:
        """The secret of a new session, and its id."""
        begun = self.begin(person.token or "", **kwargs)
        assert begun is not None and begun.new_secret is not None
        return begun.new_secret, begun.session_uuid

    def come(self, secret: str) -> SignedIn | None:
        """A request with this cookie, as the door of the pages has it."""
        with self.database.read() as session:
            known, is_due = sessions.find(session, secret)
        if not is_due:
            return known
        with self.database.write() as session:
            return sessions.keep_up(session, secret)

    def is_in(self, secret: str) -> bool:
        return self.come(secret) is not None

    def changed(self, secret: str) -> str:
        """Come with a secret that is due to change; the next one."""
        known = self.come(secret)
        assert known is not None and known.new_secret is not None
        return known.new_secret

    def is_written(self, secret: str) -> bool:
        """Whether a request would write anything."""
        with self.database.read() as session:
            return sessions.find(session, secret)[1]

    def pass_by(self, seconds: float) -> None:
        """Let so much time pass for every session."""
        with self.database.write() as session:
            for row in session.scalars(select(BrowserSession)):
                for name in _MOMENTS:
                    if (moment := getattr(row, name)) is not None:
                        setattr(row, name, moment - timedelta(seconds=seconds))

    def actor(self, person: Person) -> Actor:
        with self.database.read() as session:
            return tokens.authenticate(session, person.token or "")

    def events(self) -> list[AuditEvent]:
        with self.database.read() as session:
            told = select(AuditEvent).where(AuditEvent.action.like("session.%")).order_by(AuditEvent.id)
            return list(session.scalars(told))


@pytest.fixture
def door(request: pytest.FixtureRequest, make_registered: MakeRegistered) -> Door:
    """A registry on SQLite, and where locks and rows matter on PostgreSQL, too."""
    on_postgres = getattr(request, "param", "sqlite") == "postgres"
    return Door(make_registered(database=postgres_url() if on_postgres else None, limits="off"))


@pytest.fixture
def ada(door: Door) -> Person:
    """Somebody."""
    return door.registered.user("ada")


# --- beginning


@on_both
def test_a_token_begins_a_session_of_its_holder(door: Door, ada: Person) -> None:
    secret, uuid = door.sign_in(ada)
    known = door.come(secret)
    assert known is not None
    assert (known.actor.name, known.session_uuid, known.new_secret) == ("ada", uuid, None)
    assert secret != ada.token


@pytest.mark.parametrize("token", ["", "nothing", "syd_" + "x" * 43, "\ud800"])
def test_what_is_no_token_begins_none(door: Door, token: str) -> None:
    assert door.begin(token) is None
    assert door.events() == []


def test_the_secret_opens_pages_and_no_token_does(door: Door, ada: Person) -> None:
    secret, _ = door.sign_in(ada)
    with door.database.read() as session, pytest.raises(Unauthenticated):
        tokens.authenticate(session, secret)
    assert not door.is_in(ada.token or "")


def test_only_digests_are_kept(door: Door, ada: Person) -> None:
    secret, _ = door.sign_in(ada)
    door.pass_by(HOUR)
    second = door.changed(secret)
    with door.database.read() as session:
        (row,) = session.scalars(select(BrowserSession)).all()
    told = " ".join(str(getattr(row, column.key)) for column in BrowserSession.__table__.columns)
    assert secret not in told and second not in told


def test_service_accounts_are_sent_away(door: Door, ada: Person) -> None:
    ada.post("/org/ada/service-accounts", {"name": "ci", "role": "owner"})
    key = ada.post("/org/ada/service-accounts/ci/api-keys", {}).json()["key"]
    with pytest.raises(Forbidden, match="Service accounts"):
        door.begin(key)


def test_a_session_can_do_no_more_than_its_token(door: Door, ada: Person) -> None:
    made = ada.post("/user/api-keys", {"name": "n", "access": "read", "org": "ada"}).json()
    secret, _ = door.sign_in(Person(ada.client, "ada", made["key"]))
    known = door.come(secret)
    assert known is not None
    assert known.actor.read_only
    assert known.actor.narrowed_to_org_id is not None


# --- the secret changes


def test_pages_that_are_read_write_nothing(door: Door, ada: Person) -> None:
    secret, _ = door.sign_in(ada)
    assert not door.is_written(secret)
    door.pass_by(200)
    assert not door.is_written(secret)
    door.pass_by(200)
    assert door.is_written(secret)
    assert door.is_in(secret)
    assert not door.is_written(secret)


@on_both
def test_the_secret_changes_each_hour(door: Door, ada: Person) -> None:
    first, uuid = door.sign_in(ada)
    door.pass_by(HOUR - 10)
    known = door.come(first)
    assert known is not None and known.new_secret is None
    door.pass_by(11)
    second = door.changed(first)
    door.pass_by(HOUR + 1)
    third = door.changed(second)
    assert len({first, second, third}) == 3
    known = door.come(third)
    assert known is not None and (known.session_uuid, known.new_secret) == (uuid, None)


@on_both
def test_requests_that_overlap_a_change_are_let_through(door: Door, ada: Person) -> None:
    first, _ = door.sign_in(ada)
    door.pass_by(HOUR)
    second = door.changed(first)
    late = door.come(first)
    assert late is not None and late.new_secret is None  # one change for all of them
    assert door.is_in(second)
    assert door.is_in(first)  # sent before the new one arrived
    door.pass_by(59)
    assert door.is_in(first)
    assert door.is_in(second)


@on_both
def test_a_lost_answer_costs_nothing(door: Door, ada: Person) -> None:
    first, uuid = door.sign_in(ada)
    door.pass_by(HOUR)
    lost = door.changed(first)
    door.pass_by(DAY)
    second = door.changed(first)
    known = door.come(second)
    assert known is not None and known.session_uuid == uuid
    assert not door.is_in(lost)
    assert door.is_in(second)


@on_both
def test_a_stale_copy_ends_the_session(door: Door, ada: Person) -> None:
    first, uuid = door.sign_in(ada)
    door.pass_by(HOUR)
    second = door.changed(first)
    assert door.is_in(second)
    door.pass_by(61)
    assert not door.is_in(first)
    assert not door.is_in(second)
    last = door.events()[-1]
    assert (last.action, last.target, last.details["why"]) == ("session.end", f"ada/{uuid}", "an old secret was shown")


def test_secrets_of_long_ago_are_nobodys(door: Door, ada: Person) -> None:
    first, _ = door.sign_in(ada)
    second = first
    for _ in range(3):
        door.pass_by(HOUR)
        second = door.changed(second)
    assert not door.is_in(first)
    assert door.is_in(second)


def test_a_copy_of_one_session_leaves_the_others_alone(door: Door, ada: Person) -> None:
    first, _ = door.sign_in(ada)
    other, _ = door.sign_in(ada)
    door.pass_by(HOUR)
    door.is_in(door.changed(first))
    door.pass_by(61)
    assert not door.is_in(first)
    assert door.is_in(other)


# --- how it ends


def test_it_ends_with_its_time(door: Door, ada: Person) -> None:
    secret, _ = door.sign_in(ada, lasts_seconds=DAY)
    door.pass_by(DAY - 60)
    assert door.is_in(secret)
    current = door.come(secret)
    assert current is not None
    door.pass_by(61)
    for one in (secret, current.new_secret or secret):
        assert not door.is_in(one)


def test_using_it_makes_it_no_longer(door: Door, ada: Person) -> None:
    secret, _ = door.sign_in(ada, lasts_seconds=3 * HOUR)
    for _ in range(2):
        door.pass_by(HOUR)
        secret = door.changed(secret)
    door.pass_by(HOUR)
    assert not door.is_in(secret)


def test_it_lasts_no_longer_than_its_token(door: Door, ada: Person) -> None:
    ends_at = datetime.now(UTC) + timedelta(hours=1)
    made = ada.post("/user/api-keys", {"name": "brief", "expires_at": ends_at.isoformat()}).json()
    door.sign_in(Person(ada.client, "ada", made["key"]))
    (row,) = ada.get("/user/sessions").json()["sessions"]
    assert abs((datetime.fromisoformat(row["expires_at"]) - ends_at).total_seconds()) < 1


def test_it_dies_with_its_token_and_no_other(door: Door, ada: Person) -> None:
    made = ada.post("/user/api-keys", {"name": "browser"}).json()
    secret, _ = door.sign_in(Person(ada.client, "ada", made["key"]))
    other, _ = door.sign_in(ada)
    assert ada.delete(f"/user/api-keys/{made['id']}").status_code == 204
    assert not door.is_in(secret)
    door.pass_by(2 * HOUR)  # also where it would be due to change
    assert not door.is_in(secret)
    assert door.is_in(other)


def test_it_sleeps_while_its_user_is_disabled(door: Door, ada: Person) -> None:
    secret, _ = door.sign_in(ada)
    door.registered.admin.patch("/users/ada", {"disabled": True})
    assert not door.is_in(secret)
    assert door.begin(ada.token or "") is None
    door.registered.admin.patch("/users/ada", {"disabled": False})
    assert door.is_in(secret)


def test_roles_are_those_of_now(door: Door, ada: Person) -> None:
    secret, _ = door.sign_in(ada)
    owner = door.registered.org("acme", ada="owner")
    before = door.come(secret)
    owner.delete("/org/acme/members/ada")
    after = door.come(secret)
    assert before is not None and after is not None
    assert len(before.actor.roles) == len(after.actor.roles) + 1 == 2


def test_signing_out_of_one_browser(door: Door, ada: Person) -> None:
    bob = door.registered.user("bob")
    secret, uuid = door.sign_in(ada)
    other, _ = door.sign_in(ada)
    with door.database.write() as session, pytest.raises(NotFound):
        sessions.end(session, door.actor(bob), uuid)
    with door.database.write() as session:
        sessions.end(session, door.actor(ada), uuid)
    assert not door.is_in(secret)
    assert door.is_in(other)
    with door.database.write() as session, pytest.raises(NotFound):
        sessions.end(session, door.actor(ada), uuid)


@on_both
def test_signing_out_everywhere(door: Door, ada: Person) -> None:
    bob = door.registered.user("bob")
    mine = [door.sign_in(ada)[0] for _ in range(3)]
    theirs, _ = door.sign_in(bob)
    with door.database.write() as session:
        assert sessions.end_all(session, door.actor(ada)) == 3
    assert not any(door.is_in(secret) for secret in mine)
    assert door.is_in(theirs)


@on_both
def test_narrowed_tokens_reach_their_own_sessions_alone(door: Door, ada: Person) -> None:
    made = ada.post("/user/api-keys", {"name": "n", "org": "ada"}).json()
    narrow = Person(ada.client, "ada", made["key"])
    wide, uuid = door.sign_in(ada)
    own, _ = door.sign_in(narrow)
    actor = door.actor(narrow)
    with door.database.write() as session:
        assert len(sessions.list_own(session, actor)) == 1
        with pytest.raises(NotFound):
            sessions.end(session, actor, uuid)
        assert sessions.end_all(session, actor) == 1
    assert door.is_in(wide)
    assert not door.is_in(own)


def test_a_token_that_only_reads_ends_its_own_and_nothing_else(door: Door, ada: Person) -> None:
    made = ada.post("/user/api-keys", {"name": "r", "access": "read"}).json()
    reading = Person(ada.client, "ada", made["key"])
    _, other = door.sign_in(ada)
    _, own = door.sign_in(reading)
    actor = door.actor(reading)
    with door.database.write() as session:
        for attempt in (other, "00000000-0000-0000-0000-000000000000"):
            with pytest.raises(Forbidden):
                sessions.end(session, actor, attempt)
        with pytest.raises(Forbidden):
            sessions.end_all(session, actor)
        sessions.end(session, actor, own)
    assert [row["id"] for row in ada.get("/user/sessions").json()["sessions"]] == [other]


# --- what is told, and kept


def test_sessions_are_listed_while_they_last(door: Door, ada: Person) -> None:
    door.sign_in(ada, agent="x" * 1_000, lasts_seconds=HOUR)
    door.pass_by(HOUR)
    _, uuid = door.sign_in(ada, agent="Firefox")
    listed = ada.get("/user/sessions").json()["sessions"]
    assert [(row["id"], row["agent"]) for row in listed] == [(uuid, "Firefox")]


def test_a_long_name_of_a_browser_is_cut(door: Door, ada: Person) -> None:
    door.sign_in(ada, agent="x" * 1_000)
    (row,) = ada.get("/user/sessions").json()["sessions"]
    assert row["agent"] == "x" * 200


@on_both
def test_those_that_are_over_are_forgotten_when_another_begins(door: Door, ada: Person) -> None:
    for _ in range(3):
        door.sign_in(ada, lasts_seconds=HOUR)
    door.pass_by(HOUR)
    door.sign_in(ada)
    with door.database.read() as session:
        assert len(session.scalars(select(BrowserSession)).all()) == 1


def test_the_trail_says_who_from_where(door: Door, ada: Person) -> None:
    _, uuid = door.sign_in(ada, agent="Firefox")
    with door.database.write() as session:
        sessions.end(session, door.actor(ada), uuid)
    begun, ended = door.events()
    assert (begun.action, begun.actor, begun.target) == ("session.begin", "ada", f"ada/{uuid}")
    assert (begun.address, begun.request_id, begun.details["agent"]) == ("192.0.2.7", "a-request", "Firefox")
    assert (ended.action, ended.actor, ended.target) == ("session.end", "ada", f"ada/{uuid}")
    told = ada.get("/org/ada/audit", params={"target": f"ada/{uuid}"}).json()["events"]
    assert [event["action"] for event in told] == ["session.end", "session.begin"]
