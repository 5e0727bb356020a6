"""What a few bytes of a shard may ask for: whatever it claims, little is read and held before it is found out."""

import threading
import tracemalloc
from collections.abc import Callable
from random import Random

import pytest
from sqlalchemy import select

from steelyard.server.core.arrivals.uploads import Room
from steelyard.server.core.xet import chunks, claims, shards
from steelyard.server.db.tables import Blob
from steelyard.server.errors import Invalid, TooLarge, Unavailable
from steelyard.server.settings import Settings
from steelyard.server.xet.shards import Shard, XorbInfo
from steelyard.server.xet.xorbs import TABLE_ROW_BYTES
from tests.conftest import MakeRegistered
from tests.house import Registered
from tests.house.chunked import Packed, Part, Sender, content_of, shard_of, some_raws, told

FIRST = Packed(some_raws(31, 12))
TINY = Packed(tuple(number.to_bytes(2) for number in range(600)))


@pytest.fixture
def sender(registered: Registered) -> Sender:
    """Who sends chunks to ada's organisation, and has sent some."""
    sender = Sender(registered, registered.user("ada").name)
    sender.send(FIRST), sender.send(TINY)
    return sender


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither bytes nor chunk tables can be read."""
    monkeypatch.setattr(shards, "_read_whole", None)
    monkeypatch.setattr(claims._Tables, "_load", None)


def held(sender: Sender) -> list[str]:
    with sender.registry.database.read() as session:
        return list(session.scalars(select(Blob.oid)))


def of_settings(sender: Sender, monkeypatch: pytest.MonkeyPatch, **changed: int) -> None:
    """Let the sender meet other limits."""
    check_shard, settings = claims.check_shard, sender.registry.settings.model_copy(update=changed)

    def check(database: object, org: object, shard: object, _: object, go_on: object) -> object:
        return check_shard(database, org, shard, Room(Settings.model_validate(settings), None), go_on)  # type: ignore[arg-type]

    monkeypatch.setattr(shards, "check_shard", check)


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize("limit", ["quota_org_bytes", "max_file_bytes"])
def test_a_file_too_large_is_refused_before_anything_of_it_is_read(
    sender: Sender, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    of_settings(sender, monkeypatch, **{limit: 1000})
    with pytest.raises(TooLarge, match=limit):
        sender.say(told([Part(FIRST)], sha256="0" * 64))


@pytest.mark.usefixtures("unread")
def test_the_files_of_a_shard_count_to_the_quota_together(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [Part(FIRST, at, at + 1) for at in range(12)]
    of_settings(sender, monkeypatch, quota_org_bytes=len(content_of(parts)) - 1)
    with pytest.raises(TooLarge, match="quota_org_bytes"):
        sender.say(*(told([part]) for part in parts))


@pytest.mark.parametrize("names_sha256", [True, False])
def test_a_file_that_is_held_already_needs_no_room(make_registered: MakeRegistered, names_sha256: bool) -> None:
    registered = make_registered(quota_org_bytes=len(content_of([Part(FIRST)])))
    sender = Sender(registered, registered.user("ada").name)
    oid = sender.make(Part(FIRST))
    sender.say(told([Part(FIRST)], sha256=oid.removeprefix("sha256:") if names_sha256 else None))
    with pytest.raises(TooLarge, match="quota_org_bytes"):
        sender.say(told([Part(FIRST, 1, 2)], sha256=oid.removeprefix("sha256:")))


def test_a_file_in_more_pieces_than_clients_make_of_its_length_is_refused(sender: Sender) -> None:
    pieces = [Part(TINY, at, at + 1) for at in range(257)]
    sender.say(told(pieces[:256]))
    with pytest.raises(Invalid, match="257 pieces; this server takes 256"):
        sender.say(told(pieces))
    longer = [Part(FIRST), *pieces]
    assert len(content_of(longer)) > 64 * 2**10
    sender.say(told(longer))


@pytest.mark.usefixtures("unread")
def test_a_few_chunks_cannot_be_named_over_and_over(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_REPEATED_BYTES", 0)
    monkeypatch.setattr(claims, "_REPEATS", 3)
    with pytest.raises(TooLarge, match="repeat the same chunks"):
        sender.say(told([Part(FIRST)] * 4))
    with pytest.raises(TooLarge, match="repeat the same chunks"):
        sender.say(told([Part(FIRST)] * 2), told([Part(FIRST), Part(FIRST, 0, 1)]))


def test_chunks_may_repeat_as_those_of_an_empty_disk_do(sender: Sender) -> None:
    sender.say(told([Part(FIRST, 0, 1)] * 200))
    assert len(held(sender)) == 1


def test_a_xorb_told_with_another_number_of_chunks_is_refused_by_that(sender: Sender, unread: None) -> None:
    nothing_said = XorbInfo(FIRST.hash, 0, memoryview(b""))
    with pytest.raises(Invalid, match="other chunks"):
        sender.say_shard(Shard([], [nothing_said]))


def test_a_shard_that_names_many_chunks_holds_few_of_them(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = Random(3)
    xorbs = [Packed(tuple(chance.randbytes(3) for _ in range(1000))) for _ in range(40)]
    for xorb in xorbs:
        sender.send(xorb)
    tables_bytes = 40 * 1000 * TABLE_ROW_BYTES
    monkeypatch.setattr(claims, "_TABLES_BYTES", tables_bytes // 10)
    shard = shard_of(told([Part(xorb) for xorb in xorbs]), xorbs=xorbs)
    registry, org = sender.registry, sender.org
    room = Room(registry.settings, None)

    def check() -> None:
        claims.check_shard(registry.database, org, shard, room, lambda: None)

    check()  # what is made once for all is made
    assert peak_bytes(check) < tables_bytes


def peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_tables_of_chunks_that_wait_count_to_the_quota(sender: Sender) -> None:
    """A xorb of the smallest chunks is a fifth of what the registry writes down of it."""
    waiting_bytes = len(FIRST.body) + len(TINY.body) + (12 + 600) * TABLE_ROW_BYTES
    with sender.registry.database.read() as session:
        settings = sender.registry.settings.model_copy(update={"quota_org_bytes": waiting_bytes + 9})
        chunks.check_room(session, sender.org, 9, Room(settings, None))
        with pytest.raises(TooLarge, match=f"holds {waiting_bytes} bytes"):
            chunks.check_room(session, sender.org, 10, Room(settings, None))


@pytest.mark.parametrize("stops_at", [1, 2, 4, 6])
def test_a_verification_ends_soon_after_the_server_is_told_to_stop(
    sender: Sender, monkeypatch: pytest.MonkeyPatch, stops_at: int
) -> None:
    monkeypatch.setattr(shards, "_PIECE_BYTES", 10_000)
    threads, asked = threading.active_count(), 0

    def is_stopping() -> bool:
        nonlocal asked
        asked += 1
        return asked >= stops_at

    registry = sender.registry
    room, shard = Room(registry.settings, None), shard_of(told([Part(FIRST)]))
    with pytest.raises(Unavailable, match="stops"):
        shards.keep_shard(
            registry.database, registry.store, sender.org, shard, room, lambda *_: None, is_stopping=is_stopping
        )
    assert (asked, held(sender), threading.active_count()) == (stops_at, [], threads)
