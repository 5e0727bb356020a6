"""Whose an identity is, and what becomes of it: on either database."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from steelyard.server.core import identities, sessions, tokens
from steelyard.server.core.access import Actor
from steelyard.server.core.identities import Introduction
from steelyard.server.db.tables import BrowserSession, Identity, Token, User, utc_now
from steelyard.server.doors.calls import ANONYMOUS
from steelyard.server.errors import AlreadyExists, Conflict, Forbidden, NotFound, Unauthenticated
from tests.conftest import MakeRegistered
from tests.house import Registered
from tests.house.postgres import postgres_url

ISSUER = "https://id.example.org"
GRACE = Introduction(ISSUER, "grace", "Grace", "grace@example.org", is_email_verified=True)
DAY_SECONDS = 86400


@pytest.fixture(params=["sqlite", "postgres"])
def registered(request: pytest.FixtureRequest, make_registered: MakeRegistered) -> Registered:
    return make_registered(database=postgres_url() if request.param == "postgres" else None)


@pytest.fixture
def session(registered: Registered) -> Iterator[Session]:
    """One transaction, for all that a test does."""
    with registered.client.app.state.registry.database.write() as session:  # type: ignore[attr-defined]
        yield session


@pytest.fixture
def ada(registered: Registered) -> str:
    """The secret of a token of hers, made before the transaction begins."""
    token = registered.user("ada").token
    assert token
    return token


def actor_of(session: Session, secret: str) -> Actor:
    return tokens.authenticate(session, secret)


def admit(session: Session, shown: Introduction) -> Identity:
    return identities.get_or_create_identity(session, ANONYMOUS, shown, creates_users=True)


def begin(session: Session, identity: Identity) -> sessions.SignedIn:
    return sessions.begin_by_identity(
        session, ANONYMOUS, identity, name="Example ID", agent="", lasts_seconds=DAY_SECONDS
    )


def test_a_stranger_becomes_a_user_once_and_only_where_that_is_wished(ada: str, session: Session) -> None:
    with pytest.raises(Forbidden):
        identities.get_or_create_identity(session, ANONYMOUS, GRACE, creates_users=False)
    made = admit(session, GRACE)
    user = session.get_one(User, made.user_id)
    assert (user.username, user.email_address, user.is_admin) == ("grace", "grace@example.org", False)
    assert session.scalars(select(Token).where(Token.user_id == user.id)).all() == []  # no secret lies about
    again = identities.get_or_create_identity(session, ANONYMOUS, GRACE, creates_users=False)
    assert again.id == made.id


@pytest.mark.parametrize(
    "other",
    [replace(GRACE, subject="Grace"), replace(GRACE, subject="grace "), replace(GRACE, issuer=ISSUER + "/")],
    ids=["case", "space", "issuer"],
)
def test_who_is_called_nearly_so_is_somebody_else(ada: str, session: Session, other: Introduction) -> None:
    assert admit(session, GRACE).user_id != admit(session, other).user_id


def test_neither_name_nor_address_leads_to_somebody_who_is_here(ada: str, session: Session) -> None:
    own = actor_of(session, ada)
    made = admit(session, Introduction(ISSUER, "1", "ada", "ada@example.com", is_email_verified=True))
    assert made.user_id != own.user_id
    assert session.get_one(User, made.user_id).username == "ada-2"


def test_names_of_organisations_are_taken_too(registered: Registered) -> None:
    registered.org("acme")
    with registered.client.app.state.registry.database.write() as session:  # type: ignore[attr-defined]
        made = admit(session, replace(GRACE, username="acme"))
        assert session.get_one(User, made.user_id).username == "acme-2"


def test_when_all_numbers_are_taken_the_name_is_made_at_random(ada: str, session: Session) -> None:
    names = [
        session.get_one(User, admit(session, replace(GRACE, subject=str(number))).user_id).username
        for number in range(11)
    ]
    assert names[:3] == ["grace", "grace-2", "grace-3"] and names[8] == "grace-9"
    assert all(name.startswith("grace-") and len(name) == len("grace-") + 8 for name in names[9:])
    assert len(set(names)) == 11


def test_linking_is_for_one_and_says_so_twice_alike(ada: str, session: Session) -> None:
    own = actor_of(session, ada)
    first = identities.link(session, own, GRACE)
    assert identities.link(session, own, GRACE).id == first.id
    assert [row.id for row in identities.list_own_identities(session, own)] == [first.id]
    other = admit(session, replace(GRACE, subject="other"))
    signed_in = begin(session, other).actor
    with pytest.raises(Forbidden, match="expires"):
        identities.link(session, signed_in, GRACE)
    lasting = tokens.issue(session, session.get_one(User, other.user_id), name="lasting")
    with pytest.raises(AlreadyExists):
        identities.link(session, actor_of(session, lasting.secret), GRACE)


def test_nobody_has_more_than_twenty(ada: str, session: Session) -> None:
    own = actor_of(session, ada)
    for number in range(20):
        identities.link(session, own, replace(GRACE, subject=str(number)))
    with pytest.raises(Conflict):
        identities.link(session, own, GRACE)


@pytest.mark.parametrize(
    "less",
    [{"read_only": True}, {"narrowed_to_org_id": 1}, {"expires_at": utc_now() + timedelta(days=1)}, {"user_id": None}],
    ids=lambda less: next(iter(less)),
)
def test_a_credential_that_may_do_less_links_nothing_and_leaves_the_last(
    ada: str, session: Session, less: dict[str, object]
) -> None:
    own = actor_of(session, ada)
    first = identities.link(session, own, GRACE)
    weaker = replace(own, **less)  # type: ignore[arg-type]
    with pytest.raises(Forbidden):
        identities.link(session, weaker, replace(GRACE, subject="another"))
    with pytest.raises((Forbidden, NotFound)):
        identities.delete_own_identity(session, weaker, first.uuid)
    with pytest.raises((Forbidden, Unauthenticated)):
        identities.link(session, ANONYMOUS, GRACE)


def test_unlinking_ends_the_sessions_that_were_begun_by_it_and_no_others(ada: str, session: Session) -> None:
    own = actor_of(session, ada)
    lost, kept = (identities.link(session, own, replace(GRACE, subject=name)) for name in ("lost", "kept"))
    by_lost, by_kept = begin(session, lost), begin(session, kept)
    by_token = sessions.begin(session, ANONYMOUS, ada, agent="", lasts_seconds=DAY_SECONDS)
    assert by_token
    identities.delete_own_identity(session, by_kept.actor, lost.uuid)  # not the last: whoever is in may
    alive = [sessions.find(session, one.new_secret or "")[0] is not None for one in (by_lost, by_kept, by_token)]
    assert alive == [False, True, True]
    with pytest.raises(NotFound):
        identities.delete_own_identity(session, own, lost.uuid)
    with pytest.raises(Forbidden, match="expires"):
        identities.delete_own_identity(session, by_kept.actor, kept.uuid)
    identities.delete_own_identity(session, own, kept.uuid)
    assert identities.list_own_identities(session, own) == []


def test_an_identity_of_somebody_elses_is_not_there(ada: str, session: Session) -> None:
    other = admit(session, GRACE)
    with pytest.raises(NotFound):
        identities.delete_own_identity(session, actor_of(session, ada), other.uuid)


# --- sessions


def test_a_session_takes_its_own_token_with_it_and_no_other(ada: str, session: Session) -> None:
    own = actor_of(session, ada)
    begun = begin(session, identities.link(session, own, GRACE))
    by_token = sessions.begin(session, ANONYMOUS, ada, agent="", lasts_seconds=DAY_SECONDS)
    assert by_token and begun.actor.expires_at
    assert begun.actor.expires_at - utc_now() <= timedelta(seconds=DAY_SECONDS)
    assert sessions.end_all(session, own) == 2
    with pytest.raises(Unauthenticated):
        tokens.actor_of_token(session, begun.actor.token_uuid or "")
    assert tokens.actor_of_token(session, own.token_uuid or "").name == "ada"


def test_tokens_of_sessions_that_are_over_are_listed_no_more(ada: str, session: Session) -> None:
    own = actor_of(session, ada)
    identity = identities.link(session, own, GRACE)
    begun = begin(session, identity)
    assert len(tokens.list_own_tokens(session, own)) == 2
    past = utc_now() - timedelta(seconds=1)
    row = session.scalars(select(BrowserSession).where(BrowserSession.uuid == begun.session_uuid)).one()
    row.expires_at = session.get_one(Token, row.token_id).expires_at = past
    session.flush()
    sessions.forget_ended(session)
    assert [token.name for token, _ in tokens.list_own_tokens(session, own)] == ["first token"]


def test_who_is_disabled_begins_nothing(ada: str, session: Session) -> None:
    identity = admit(session, GRACE)
    session.get_one(User, identity.user_id).disabled_at = utc_now()
    with pytest.raises(Forbidden, match="disabled"):
        begin(session, identity)
