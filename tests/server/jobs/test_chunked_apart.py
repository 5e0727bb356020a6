"""Two organisations with the same file: the bytes are kept once, and neither learns of the other."""

import pytest

from steelyard.server.core import blobs
from steelyard.server.core.xet import recipes
from steelyard.server.core.xet.recipes import Plan
from steelyard.server.jobs.check import check
from steelyard.server.xet.chunking import split
from tests.house.chunked import Packed, Part, Sender, content_of, some_raws, told
from tests.house.people import Person
from tests.server.jobs.conftest import Yard
from tests.server.jobs.test_chunked import MONTH, clean, cut, dedup_of, publish, unpublish

SHARED = tuple(split(some_raws(5, 60, 30_000)))
"""Cut as clients and we do."""
MORE = Packed((*some_raws(6, 4), *SHARED))
"""Of ada's: four chunks that nobody else has before the file."""
ADAS, BOBS = (Part(MORE, 4),), (Part(Packed(SHARED)),)
CONTENT = content_of(ADAS)


@pytest.fixture
def sender(yard: Yard) -> Sender:
    """Ada, who has published the file from chunks of hers."""
    ada = Sender(yard.registered, "ada")
    publish(yard, ada.make(*ADAS))
    return ada


@pytest.fixture
def bob(yard: Yard) -> Person:
    return yard.registered.user("bob")


@pytest.fixture
def bobs(yard: Yard, bob: Person) -> Sender:
    """Bob, who has published the same file from chunks of his."""
    sender = Sender(yard.registered, "bob")
    body = {"version": "1.0.0", "artifacts": {"model": sender.make(*BOBS)}}
    assert bob.post("/org/bob/models/tiny/versions", body).status_code == 201
    return sender


def plan_for(sender: Sender) -> Plan | None:
    """How the organisation's clients are told to make the file."""
    with sender.registry.database.read() as session:
        recipe = recipes.find_recipe(session, sender.org.id, told(ADAS).file_hash)
        return None if recipe is None else recipes.plan_reconstruction(session, recipe)


def name_of(sender: Sender, oid: str) -> str | None:
    with sender.registry.database.read() as session:
        return blobs.find_hub_forms(session, sender.org.id, [oid])[oid].xet_hash


def xorbs_of(plan: Plan | None) -> list[tuple[str, int, int]]:
    return [] if plan is None else [(term.xorb_hash, term.start, term.end) for term in plan.terms]


def test_each_is_told_of_chunks_of_its_own(yard: Yard, sender: Sender, bobs: Sender) -> None:
    assert xorbs_of(plan_for(sender)) == [(MORE.name, 4, len(MORE.raws))]
    assert xorbs_of(plan_for(bobs)) == [(Packed(SHARED).name, 0, len(SHARED))]
    assert clean(yard, xorb_grace_seconds=0).xorbs == (), "each needs its own"


def test_the_file_outlives_whoever_sent_it_first(yard: Yard, sender: Sender, bob: Person, bobs: Sender) -> None:
    unpublish(yard)
    sender.age(days=MONTH)
    clean(yard)
    assert plan_for(sender) is None
    assert dedup_of(bobs, CONTENT) != []
    assert bob.get("/org/bob/models/tiny/1.0.0/files/model").content == CONTENT
    assert check(yard.database, yard.store).is_sound


def test_who_sent_it_whole_is_offered_chunks_that_are_cut_here(yard: Yard, sender: Sender, bob: Person) -> None:
    bob.publish("bob/tiny:1.0.0", {"model": CONTENT})
    bobs = Sender(yard.registered, "bob")
    before = sender.stored()
    cut(yard)
    plan = plan_for(bobs)
    assert plan is not None and MORE.name not in {name for name, *_ in xorbs_of(plan)}
    assert sum(term.raw_bytes for term in plan.terms) == len(CONTENT)
    assert dedup_of(bobs, CONTENT) != []
    assert sender.stored() == before, "nothing is kept twice"
    unpublish(yard)
    sender.age(days=MONTH)
    clean(yard)
    assert bob.get("/org/bob/models/tiny/1.0.0/files/model").content == CONTENT


def test_nobody_is_offered_chunks_because_of_another(yard: Yard, sender: Sender, bob: Person) -> None:
    small = (Part(MORE, 0, 4),)
    oid = sender.make(*small)
    bob.publish("bob/tiny:1.0.0", {"model": content_of(small)})
    cut(yard)
    assert name_of(Sender(yard.registered, "bob"), oid) is None
    assert name_of(sender, oid) is not None


def test_the_same_file_is_read_again_for_another(yard: Yard, sender: Sender, bob: Person) -> None:
    """How long a push takes would tell what others have."""
    bobs = Sender(yard.registered, "bob")
    bobs.send(Packed(SHARED))
    assert bobs.say(told(BOBS))[1:-1] != []
    assert bobs.say(told(BOBS))[1:-1] == []
