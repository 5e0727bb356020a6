"""Lost bytes come back by any way that has them, also where files of others stand over them."""

import random

import pytest

from steelyard.server.core import blobs
from steelyard.server.core.xet.chunks import find_dedup
from steelyard.server.errors import Invalid, StorageFailed
from steelyard.server.jobs.check import check
from steelyard.server.jobs.repair import repair
from steelyard.server.xet import hashes
from steelyard.server.xet.chunking import split
from tests.house.chunked import Packed, Part, Sender, told
from tests.house.people import Person, oid_of
from tests.server.jobs.conftest import Yard
from tests.server.jobs.test_chunked import cut

RAWS = tuple(split([random.Random(8).randbytes(1_500_000)]))
CONTENT = b"".join(RAWS)
LONGER = (*RAWS, random.Random(9).randbytes(30_000))
FIRST, SECOND = Packed(RAWS[:6]), Packed(RAWS[6:])
PATH = "/org/bob/models/tiny/1.0.0/files/model"


class Client:
    """What a stock client does: it asks for chunks, builds on what it is told of, and sends the rest in one xorb. What
    it was told it forgets when the generation of its organisation moves."""

    def __init__(self, sender: Sender) -> None:
        self.sender = sender
        self._known: list[Packed] = []
        self._generation = -1

    def push(self, raws: tuple[bytes, ...]) -> str:
        if self._generation != self.sender.org.xet_generation:
            self._known, self._generation = [], self.sender.org.xet_generation
        self._known += self._told_of(raws)
        new = Packed(tuple(raw for raw in raws if self._find(raw) is None))
        if new.raws:
            self.sender.send(new)
            self._known.append(new)
        parts = [part for raw in raws if (part := self._find(raw)) is not None]
        oid = oid_of(b"".join(raws))
        self.sender.say(told(parts, sha256=oid.removeprefix("sha256:")))
        return oid

    def push_until_taken(self, raws: tuple[bytes, ...]) -> str:
        """As people do who are told to push again."""
        for _ in range(3):
            try:
                return self.push(raws)
            except (Invalid, StorageFailed):
                continue
        return self.push(raws)

    def _told_of(self, raws: tuple[bytes, ...]) -> list[Packed]:
        by_hash = {hashes.chunk_hash(raw): raw for raw in raws}
        found: list[Packed] = []
        for raw in raws:
            for _, chunks in find_dedup(self.sender.registry.database, self.sender.org.id, hashes.chunk_hash(raw)):
                found += [Packed(tuple(by_hash[chunk.hash] for chunk in chunks))]
        return found

    def _find(self, raw: bytes) -> Part | None:
        return next((Part(x, at, at + 1) for x in self._known for at, one in enumerate(x.raws) if one == raw), None)


@pytest.fixture
def ada(yard: Yard) -> Sender:
    """Ada, who sent the file in two xorbs."""
    sender = Sender(yard.registered, "ada")
    sender.make(Part(FIRST), Part(SECOND))
    return sender


@pytest.fixture
def bob(yard: Yard, ada: Sender) -> Person:
    """Bob, who sent it whole: his chunks stand over what ada's lie in."""
    person = yard.registered.user("bob")
    assert person.publish("bob/tiny:1.0.0", {"model": CONTENT}).status_code == 201
    cut(yard)
    return person


@pytest.fixture
def bobs(yard: Yard, bob: Person) -> Sender:
    return Sender(yard.registered, "bob")


def lose(yard: Yard, sender: Sender, xorb: Packed) -> None:
    yard.store.delete(sender.xorbs()[xorb.name] or "")
    with yard.database.read() as session:
        key = blobs.find_keys(session, [oid_of(CONTENT)])[oid_of(CONTENT)]
    lost = yard.store.open(key)
    assert lost is not None
    with lost, pytest.raises(StorageFailed):
        lost.read(0, len(CONTENT))


def mend(yard: Yard) -> None:
    repair(yard.database, yard.store, check(yard.database, yard.store), grace_seconds=0)


def is_sound(yard: Yard) -> bool:
    """Whether every file is there; what no file is made of any more may be lost, or left behind."""
    findings = check(yard.database, yard.store).findings
    return all(each.kind == "unreferenced" or (each.xorb and not each.needed_by) for each in findings)


@pytest.mark.parametrize("is_repaired", [False, True])
@pytest.mark.parametrize("way", ["whole", "in chunks"])
def test_a_file_that_lies_in_chunks_of_another_comes_back(
    yard: Yard, ada: Sender, bob: Person, bobs: Sender, way: str, is_repaired: bool
) -> None:
    lose(yard, ada, SECOND)
    if is_repaired:
        mend(yard)
    if way == "whole":
        bob.upload("bob/tiny", CONTENT)
    else:
        Client(bobs).push_until_taken(RAWS)
    assert bob.get(PATH).content == CONTENT
    assert is_sound(yard)


@pytest.mark.parametrize("way", ["whole", "in chunks"])
def test_a_file_that_is_built_over_such_a_one_comes_back(
    yard: Yard, ada: Sender, bob: Person, bobs: Sender, way: str
) -> None:
    oid = Client(bobs).push(LONGER)
    body = {"version": "2.0.0", "artifacts": {"model": oid}}
    assert bob.post("/org/bob/models/tiny/versions", body).status_code == 201
    lose(yard, ada, SECOND)
    mend(yard)
    if way == "whole":
        bob.upload("bob/tiny", b"".join(LONGER))
    else:
        Client(bobs).push_until_taken(LONGER)
    assert bob.get(PATH.replace("1.0.0", "2.0.0")).content == b"".join(LONGER)


def test_a_file_is_never_made_of_itself(yard: Yard, ada: Sender, bob: Person, bobs: Sender) -> None:
    """Bob's own chunks stand over the file that has lost some: they cannot bring it back."""
    lose(yard, ada, SECOND)
    [name] = {name for name, key in bobs.xorbs().items() if key is None}
    own = Packed(RAWS)
    assert own.name == name
    rest = Packed(RAWS[4:])
    bobs.send(rest)
    with pytest.raises(Invalid, match="Push again"):
        bobs.say(told([Part(own, 0, 4), Part(rest)]))
    assert Client(bobs).push_until_taken(RAWS) == oid_of(CONTENT)
    assert bob.get(PATH).content == CONTENT


def test_a_file_cut_where_it_lies_is_never_made_of_what_is_left_of_it(yard: Yard) -> None:
    yard.ada.publish("ada/tiny:1.0.0", {"model": CONTENT})
    cut(yard)
    sender = Sender(yard.registered, "ada")
    [file] = yard.files_of(CONTENT)
    file.chmod(0o600)
    file.write_bytes(CONTENT[: len(CONTENT) // 2])
    Client(sender).push_until_taken(RAWS)
    assert yard.ada.get("/org/ada/models/tiny/1.0.0/files/model").content == CONTENT
    assert is_sound(yard)
