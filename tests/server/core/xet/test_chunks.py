"""Files that come in chunks: verified, kept once, served whole, and made known to none but their organisation."""

import hashlib
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from sqlalchemy import delete, select

from steelyard.server.core.arrivals.uploads import Room
from steelyard.server.core.xet import chunks, recipes, shards
from steelyard.server.core.xet.chunks import find_dedup
from steelyard.server.db.tables import Blob, Org, OrgXorb, Recipe, Xorb, utc_now
from steelyard.server.errors import BadRequest, Invalid, RangeNotSatisfiable, TooLarge
from steelyard.server.storage.chunked import is_chunked
from steelyard.server.xet import hashes
from steelyard.server.xet.chunking import split
from steelyard.server.xet.shards import FileInfo
from steelyard.server.xet.xorbs import unpack
from tests.conftest import MakeRegistered
from tests.house import Person, Registered
from tests.house.chunked import Packed, Part, Sender, content_of, shard_of, some_raws, told
from tests.house.people import oid_of

FIRST, SECOND = Packed(some_raws(1, 12)), Packed(some_raws(2, 7))
FILE = (Part(FIRST), Part(SECOND, 2, 6), Part(FIRST, 3, 5))


@pytest.fixture
def ada(registered: Registered) -> Person:
    return registered.user("ada")


@pytest.fixture
def sender(registered: Registered, ada: Person) -> Sender:
    """Who sends chunks to ada's organisation."""
    return Sender(registered, ada.name)


def publish(person: Person, ref: str, **files: str) -> None:
    """Make a version of files that the organisation holds."""
    model, version = ref.split(":")
    org, name = model.split("/")
    answer = person.post(f"/org/{org}/models/{name}/versions", {"version": version, "artifacts": files})
    assert answer.status_code == 201, answer.text


# --- a file in chunks is a file


def test_a_file_that_came_in_chunks_is_served_whole(sender: Sender, ada: Person) -> None:
    oid = sender.make(*FILE)
    content = content_of(FILE)
    assert oid == oid_of(content)
    publish(ada, "ada/tiny:1.0.0", model=oid)
    path = "/org/ada/models/tiny/1.0.0/files/model"
    answer = ada.get(path)
    assert (answer.content, answer.history) == (content, [])  # on no store by a link: it has no such object
    assert ada.get(path, headers={"Range": "bytes=99999-200000"}).content == content[99_999:200_001]
    assert ada.get(path, headers={"Range": "bytes=1-2,70000-70009"}).status_code == 206


def test_its_bytes_are_kept_as_they_were_sent_and_no_second_time(sender: Sender) -> None:
    sender.make(*FILE)
    assert sorted(sender.stored().values()) == sorted([len(FIRST.body), len(SECOND.body)])
    with sender.registry.database.read() as session:
        assert is_chunked(session.scalars(select(Blob.key)).one())


def test_a_second_version_adds_what_is_new(sender: Sender) -> None:
    content = Random(3).randbytes(3_000_000)
    changed = content[:1_500_000] + b"seven.." + content[1_500_000:]
    sender.make_of(content)
    before = sum(sender.stored().values())
    raws, known = tuple(split([changed])), Packed(tuple(split([content])))
    new = Packed(tuple(raw for raw in raws if raw not in known.raws))
    oid = sender.make(
        *(Part(where, at := where.raws.index(raw), at + 1) for raw in raws for where in pick(raw, known, new))
    )
    assert oid == oid_of(changed)
    assert sum(sender.stored().values()) - before < 300_000


def pick(raw: bytes, known: Packed, new: Packed) -> tuple[Packed]:
    return (known,) if raw in known.raws else (new,)


def test_a_xorb_is_kept_once_and_new_to_each_organisation(sender: Sender, registered: Registered) -> None:
    bob = Sender(registered, registered.user("bob").name)
    assert [sender.send(FIRST), sender.send(FIRST), bob.send(FIRST), bob.send(FIRST)] == [True, False, True, False]
    assert list(sender.stored().values()) == [len(FIRST.body)]
    assert [name for name in sender.registry.store.scan() if name.kind == "stage"] == []


def test_chunks_under_another_hash_are_refused_and_not_kept(sender: Sender) -> None:
    with pytest.raises(BadRequest, match=FIRST.name):
        sender.send(FIRST, as_hash=SECOND.hash)
    assert sender.xorbs() == {}
    assert list(sender.registry.store.scan()) == []


def test_a_file_that_is_here_whole_is_not_kept_in_chunks_too(sender: Sender, ada: Person) -> None:
    content = content_of(FILE)
    ada.publish("ada/tiny:1.0.0", {"model": content})
    sender.make(*FILE)
    with sender.registry.database.read() as session:
        assert not is_chunked(session.scalars(select(Blob.key).where(Blob.oid == oid_of(content))).one())
    assert ada.get("/org/ada/models/tiny/1.0.0/files/model").content == content


def test_the_same_file_again_is_not_read_again(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    sender.make(*FILE)
    monkeypatch.setattr("steelyard.server.core.xet.shards._read_whole", None)
    assert sender.say(told(FILE))[-1] == (len(content_of(FILE)), len(content_of(FILE)))


def test_chunks_that_go_while_a_file_is_verified_are_wanted_again(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clean-up without grace may be faster than any push."""
    sender.send(FIRST)
    read_whole = shards._read_whole

    def read_too_late(*args: Any) -> Any:
        with sender.registry.database.write() as session:
            session.execute(delete(Xorb))
        return read_whole(*args)

    monkeypatch.setattr("steelyard.server.core.xet.shards._read_whole", read_too_late)
    with pytest.raises(Invalid, match="Push again"):
        sender.say(told([Part(FIRST)]))


def test_how_far_a_verification_is_is_told(sender: Sender) -> None:
    sender.send(FIRST)
    heard = sender.say(told([Part(FIRST)]), told([Part(FIRST, 0, 4)]))
    total = len(content_of([Part(FIRST), Part(FIRST, 0, 4)]))
    assert heard[0] == (0, total)
    assert heard[-1] == (total, total)
    assert heard == sorted(heard)


def test_the_tar_of_a_version_has_its_bytes(sender: Sender, ada: Person) -> None:
    publish(ada, "ada/tiny:1.0.0", model=sender.make(*FILE))
    link = ada.post("/org/ada/models/tiny/1.0.0/download").json()["url"]
    assert content_of(FILE) in ada.client.get(link).content


# --- what a shard says is not believed


def another_range_hash(file: FileInfo) -> FileInfo:
    return file._replace(terms=[file.terms[0]._replace(range_hash=bytes(32)), *file.terms[1:]])


def no_range_hash(file: FileInfo) -> FileInfo:
    return file._replace(terms=[file.terms[0]._replace(range_hash=None), *file.terms[1:]])


def another_length(file: FileInfo) -> FileInfo:
    return file._replace(terms=[*file.terms[:-1], file.terms[-1]._replace(raw_bytes=1)])


def chunks_past_the_end(file: FileInfo) -> FileInfo:
    return file._replace(terms=[*file.terms[:-1], file.terms[-1]._replace(end=13)])


def another_file_hash(file: FileInfo) -> FileInfo:
    return file._replace(file_hash=bytes(32))


def terms_in_another_order(file: FileInfo) -> FileInfo:
    return file._replace(terms=file.terms[::-1])


def the_sha256_of_another_file(file: FileInfo) -> FileInfo:
    return file._replace(sha256=hashlib.sha256(b"another").hexdigest())


@pytest.mark.parametrize(
    ("forge", "reason"),
    [
        (another_range_hash, "verification hash"),
        (no_range_hash, "verification hash"),
        (another_length, "another length"),
        (chunks_past_the_end, "does not have"),
        (another_file_hash, "another hash"),
        (terms_in_another_order, "another hash"),
        (the_sha256_of_another_file, "as was claimed"),
    ],
)
def test_a_forged_shard_is_refused_with_a_reason_and_nothing_of_it_kept(
    sender: Sender, forge: Callable[[FileInfo], FileInfo], reason: str
) -> None:
    sender.send(FIRST), sender.send(SECOND)
    with pytest.raises(Invalid, match=reason):
        sender.say(forge(told(FILE, sha256=hashlib.sha256(content_of(FILE)).hexdigest())))
    with sender.registry.database.read() as session:
        assert session.scalars(select(Blob.oid)).all() == []
        assert session.scalars(select(Recipe.file_hash)).all() == []


def test_a_xorb_told_with_other_chunks_is_refused(sender: Sender) -> None:
    sender.send(FIRST)
    shard = shard_of(told([Part(FIRST)]), xorbs=[Packed(FIRST.raws[:-1])])
    with pytest.raises(Invalid, match="other chunks"):
        sender.say_shard(shard._replace(xorbs=[shard.xorbs[0]._replace(hash=FIRST.hash)]))


def test_nobody_builds_on_chunks_of_another_organisation(sender: Sender, registered: Registered) -> None:
    """Who knows their hashes, and has not their bytes, gets neither them nor word of them."""
    sender.make(*FILE)
    bob = Sender(registered, registered.user("bob").name)
    generation = bob.org.xet_generation
    with pytest.raises(Invalid, match="'bob' does not have"):
        bob.say(told(FILE))
    assert bob.org.xet_generation == generation + 1
    assert find_dedup(bob.registry.database, bob.org.id, FIRST.chunks[0].hash) == []
    with bob.registry.database.read() as session:
        assert chunks.find_xorb(session, bob.org.id, FIRST.hash) is None


# --- what may be built on


def test_who_has_a_files_first_chunk_is_told_of_all_that_follows(sender: Sender) -> None:
    sender.make(*FILE)
    found = find_dedup(sender.registry.database, sender.org.id, FIRST.chunks[0].hash)
    assert found == [(FIRST.hash, FIRST.chunks), (SECOND.hash, SECOND.chunks)]


def test_chunks_that_clients_ask_for_by_themselves_are_found(sender: Sender) -> None:
    asked_for = next(raw for raw in small_raws() if hashes.is_asked_for(hashes.chunk_hash(raw)))
    xorb = Packed((FIRST.raws[0], asked_for, FIRST.raws[1]))
    sender.send(xorb)
    database, org_id = sender.registry.database, sender.org.id
    assert [name for name, _ in find_dedup(database, org_id, hashes.chunk_hash(asked_for))] == [xorb.hash]
    assert find_dedup(database, org_id, xorb.chunks[0].hash) == []


def small_raws() -> list[bytes]:
    return [number.to_bytes(4) for number in range(20_000)]


def test_an_answer_is_bounded(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "_ANSWERED_CHUNKS", 15)
    sender.make(*FILE)
    found = find_dedup(sender.registry.database, sender.org.id, FIRST.chunks[0].hash)
    assert [name for name, _ in found] == [FIRST.hash]


def test_an_answer_begins_the_grace_of_what_it_tells_anew(sender: Sender) -> None:
    sender.make(*FILE)
    sender.age(days=30)
    find_dedup(sender.registry.database, sender.org.id, FIRST.chunks[0].hash)
    with sender.registry.database.read() as session:
        ages = [utc_now() - at for at in session.scalars(select(OrgXorb.touched_at))]
    assert [age.days for age in ages] == [0, 0]


# --- room


def test_chunks_count_to_the_quota_until_a_file_is_made_of_them(make_registered: MakeRegistered) -> None:
    size = len(content_of([Part(FIRST)]))
    registered = make_registered(quota_org_bytes=size + len(SECOND.body) - 1)
    sender = Sender(registered, registered.user("ada").name)
    room = Room(sender.registry.settings, None)
    sender.send(FIRST)
    with sender.registry.database.read() as session:
        chunks.check_room(session, sender.org, size - len(FIRST.body), room)
    sender.say(told([Part(FIRST)]))
    with sender.registry.database.read() as session, pytest.raises(TooLarge, match="quota_org_bytes"):
        chunks.check_room(session, sender.org, len(SECOND.body), room)


def test_a_file_larger_than_the_quota_is_refused_however_little_was_sent(make_registered: MakeRegistered) -> None:
    registered = make_registered(quota_org_bytes=2 * len(content_of([Part(FIRST)])))
    sender = Sender(registered, registered.user("ada").name)
    sender.send(FIRST)
    with pytest.raises(TooLarge, match="quota_org_bytes"):
        sender.say(told([Part(FIRST)] * 3))


def test_a_file_larger_than_the_largest_is_refused(make_registered: MakeRegistered) -> None:
    registered = make_registered(max_file_bytes=1000)
    sender = Sender(registered, registered.user("ada").name)
    sender.send(FIRST)
    with pytest.raises(TooLarge, match="max_file_bytes"):
        sender.say(told([Part(FIRST)]))


def test_a_full_disk_takes_no_chunks(sender: Sender) -> None:
    settings = sender.registry.settings.model_copy(update={"free_disk_floor_bytes": 1000})
    with sender.registry.database.read() as session, pytest.raises(TooLarge, match="floor"):
        chunks.check_room(session, sender.org, 11, Room(settings, 1010))


# --- what a client fetches


def test_any_range_can_be_made_of_what_is_planned_for_it(sender: Sender) -> None:
    sender.make(*FILE)
    content, random = content_of(FILE), Random(8)
    spans = [(0, len(content)), (0, 1), (len(content) - 1, len(content))]
    spans += [sorted(random.sample(range(len(content) + 1), 2)) for _ in range(100)]  # type: ignore[misc]
    for start, end in spans:
        assert assembled(sender, start, end) == content[start:end]


def assembled(sender: Sender, start: int, end: int) -> bytes:
    """What a client makes of a plan: each fetch unpacked, and of these each term."""
    registry = sender.registry
    with registry.database.read() as session:
        recipe = recipes.find_recipe(session, sender.org.id, told(FILE).file_hash)
        assert recipe is not None
        plan = recipes.plan_reconstruction(session, recipe, start, end)
    fetched: dict[tuple[str, int], bytes] = {}
    for fetch in plan.fetches:
        xorb_hash = hashes.from_text(fetch.xorb_hash)
        with chunks.open_xorb(registry.database, registry.store, xorb_hash) as xorb:
            stored = xorb.read(fetch.first_byte, fetch.end_byte - fetch.first_byte)
        fetched |= {(fetch.xorb_hash, fetch.start + at): bytes(raw) for at, raw in enumerate(unpack(stored))}
    made = b"".join(fetched[term.xorb_hash, at] for term in plan.terms for at in range(term.start, term.end))
    assert sum(term.raw_bytes for term in plan.terms) == len(made)
    return made[plan.offset_bytes :][: end - start]


def test_a_plan_fetches_no_chunk_that_the_file_does_not_have(sender: Sender) -> None:
    sender.make(Part(FIRST, 1, 3), Part(FIRST, 3, 4), Part(FIRST, 6, 8))
    with sender.registry.database.read() as session:
        recipe = session.scalars(select(Recipe).where(Recipe.org_id == sender.org.id)).one()
        fetches = recipes.plan_reconstruction(session, recipe).fetches
        sizes = [chunk.stored_bytes for chunk in FIRST.chunks]
        assert [(fetch.start, fetch.end) for fetch in fetches] == [(1, 4), (6, 8)]
        assert fetches[0].end_byte - fetches[0].first_byte == sum(sizes[1:4])
        with pytest.raises(RangeNotSatisfiable):
            recipes.plan_reconstruction(session, recipe, sum(len(raw) for raw in FIRST.raws), None)


def test_a_file_is_of_the_models_whose_versions_have_it(sender: Sender, ada: Person) -> None:
    publish(ada, "ada/tiny:1.0.0", model=sender.make(*FILE))
    ada.publish("ada/other:1.0.0")
    with sender.registry.database.read() as session:
        recipe = session.scalars(select(Recipe).where(Recipe.org_id == sender.org.id)).one()
        assert [
            recipes.is_of_model(session, recipe, model, drafts=drafts) for model in (1, 2) for drafts in (False, True)
        ] == [
            True,
            True,
            False,
            False,
        ]


# --- what the store has lost


def lose(sender: Sender, xorb: Packed) -> None:
    key = sender.xorbs()[xorb.name]
    assert key
    sender.registry.store.delete(key)


def test_a_lost_xorb_is_healed_by_who_sends_it_again(sender: Sender, ada: Person) -> None:
    publish(ada, "ada/tiny:1.0.0", model=sender.make(*FILE))
    lose(sender, FIRST)
    assert ada.get("/org/ada/models/tiny/1.0.0/files/model").status_code == 502
    sender.send(FIRST)
    assert ada.get("/org/ada/models/tiny/1.0.0/files/model").content == content_of(FILE)


def test_who_builds_on_a_lost_xorb_is_told_to_send_it_again(sender: Sender) -> None:
    sender.make(*FILE)
    lose(sender, FIRST)
    generation = sender.org.xet_generation
    with pytest.raises(Invalid, match="Push again"):
        sender.say(told(FILE))
    assert sender.org.xet_generation == generation + 1
    assert find_dedup(sender.registry.database, sender.org.id, FIRST.chunks[0].hash) == []
    assert sender.make(*FILE) == oid_of(content_of(FILE))


def test_a_file_of_lost_chunks_comes_back_when_it_is_sent_whole(sender: Sender, ada: Person) -> None:
    publish(ada, "ada/tiny:1.0.0", model=sender.make(*FILE))
    lose(sender, SECOND)
    ada.upload("ada/tiny", content_of(FILE))
    assert ada.get("/org/ada/models/tiny/1.0.0/files/model").content == content_of(FILE)
    with sender.registry.database.read() as session:
        assert session.scalars(select(Recipe)).all() == []


def test_a_lost_file_comes_back_when_it_is_sent_in_chunks(sender: Sender, ada: Person) -> None:
    ada.publish("ada/tiny:1.0.0", {"model": content_of(FILE)})
    [key] = sender.stored()
    sender.registry.store.delete(key)
    sender.make(*FILE)
    assert ada.get("/org/ada/models/tiny/1.0.0/files/model").content == content_of(FILE)


def test_the_rows_say_what_the_chunks_are(sender: Sender) -> None:
    sender.send(FIRST)
    with sender.registry.database.read() as session:
        xorb, org = session.scalars(select(Xorb)).one(), session.scalars(select(Org).where(Org.slug == "ada")).one()
        assert (xorb.size_bytes, xorb.raw_bytes) == (len(FIRST.body), len(b"".join(FIRST.raws)))
        assert chunks.find_xorb(session, org.id, FIRST.hash) is xorb
