"""Uploads whose digest comes at the end: what two at once make of one, what a crash leaves, and what expires."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from steelyard.server.context import Registry
from steelyard.server.core import orgs, tokens
from steelyard.server.core.access import Action
from steelyard.server.core.arrivals import streams
from steelyard.server.core.arrivals.streams import Destination, OutOfOrder, Run, WrongDigest
from steelyard.server.core.manifests import holdings
from steelyard.server.core.models import find_model
from steelyard.server.db.tables import BlobUpload, utc_now
from steelyard.server.errors import Invalid, NotFound, StorageFailed
from steelyard.server.jobs import gc
from steelyard.server.names import Digest, ModelName
from steelyard.server.storage import BlobStore
from tests.conftest import MakeRegistered
from tests.house import Registered


def digest_of(data: bytes, algorithm: str = "sha256") -> Digest:
    return Digest.parse(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")


@dataclass
class Desk:
    """Where somebody brings bytes for `ada/tiny`."""

    registry: Registry
    to: Destination

    def begin(self, *, wants_sha512: bool = False) -> BlobUpload:
        with self.registry.database.write() as session:
            return streams.begin(session, self.to, self.registry.settings, wants_sha512=wants_sha512)

    def find(self, upload: BlobUpload) -> BlobUpload | None:
        with self.registry.database.read() as session:
            return streams.find_upload(session, self.to, upload.id)

    def now(self, upload: BlobUpload) -> BlobUpload:
        """The row as it is by now."""
        found = self.find(upload)
        assert found is not None
        return found

    def write(self, upload: BlobUpload, data: bytes) -> Run:
        """Bytes that come next, in the store, and not counted yet."""
        run = streams.begin_run(self.registry.database, self.registry.store, upload)
        with run.writer:
            run.write([data])
            for feed in run.feeds:
                feed([data])
        return run

    def note(self, run: Run) -> BlobUpload:
        return streams.note_run(self.registry.database, self.registry.store, run)

    def send(self, upload: BlobUpload, data: bytes) -> BlobUpload:
        return self.note(self.write(upload, data))

    def finish(self, upload: BlobUpload, digest: Digest, store: BlobStore | None = None) -> None:
        registry = self.registry
        streams.finish(registry.database, store or registry.store, registry.settings, self.to, upload, digest)

    def bytes_of(self, digest: Digest) -> bytes | None:
        """What the repository holds by this name."""
        with self.registry.database.read() as session:
            model = find_model(session, self.to.org, self.to.name)
            held = model and holdings.find_all(session, model.id, [digest], drafts=False).get(digest)
        stored = self.registry.store.open(held.key) if held else None
        if stored is None:
            return None
        with stored:
            return stored.read(0, stored.size_bytes)

    def names(self, kind: str) -> list[str]:
        """What the store has, of blobs or of what is staged."""
        return [name.name for name in self.registry.store.scan() if name.kind == kind]


def open_desk(registered: Registered) -> Desk:
    ada = registered.user("ada")
    registry: Registry = registered.client.app.state.registry  # type: ignore[attr-defined]
    with registry.database.read() as session:
        actor = tokens.authenticate(session, ada.token or "")
        org = orgs.get_org_to(session, actor, Action.PUBLISH, "ada")
    return Desk(registry, Destination(actor, org, ModelName.parse("tiny")))


@pytest.fixture
def desk(make_registered: MakeRegistered) -> Desk:
    """A new registry's."""
    return open_desk(make_registered(limits="off"))


# --- two at once


def test_of_two_first_streams_one_counts(desk: Desk) -> None:
    upload = desk.begin()
    one, other = desk.write(upload, b"one" * 10), desk.write(upload, b"other")
    desk.note(other)
    with pytest.raises(OutOfOrder) as refused:
        desk.note(one)
    assert refused.value.headers == {"Range": "0-4"}
    assert desk.names("stage") == [other.stage_id]
    desk.finish(desk.now(upload), digest_of(b"other"))
    assert desk.bytes_of(digest_of(b"other")) == b"other"
    assert (desk.names("stage"), desk.find(upload)) == ([], None)


def test_of_two_empty_first_streams_one_counts(desk: Desk) -> None:
    upload = desk.begin()
    one, other = desk.write(upload, b""), desk.write(upload, b"other")
    desk.note(one)
    with pytest.raises(OutOfOrder):
        desk.note(other)
    desk.finish(desk.now(upload), digest_of(b""))
    assert (desk.bytes_of(digest_of(b"")), desk.names("stage")) == (b"", [])


def test_what_was_hashed_is_not_believed_once_more_was_written(desk: Desk) -> None:
    """A second run began, and nobody knows how far it came: the whole is read, and is not what was hashed."""
    upload = desk.send(desk.begin(), b"first")
    desk.write(upload, b", and more that nobody counted")
    assert desk.now(upload).sha256 is None
    with pytest.raises(Invalid, match="broke off"):
        desk.finish(desk.now(upload), digest_of(b"first"))
    assert (desk.names("blob"), desk.names("stage"), desk.find(upload)) == ([], [], None)


def test_a_hash_that_was_forgotten_since_does_not_end_it(desk: Desk) -> None:
    """Whoever ends it looked before somebody began to write behind what was hashed."""
    upload = desk.send(desk.begin(), b"first")
    desk.write(upload, b", and more that nobody counted")
    assert upload.sha256 is not None
    with pytest.raises(OutOfOrder):
        desk.finish(upload, digest_of(b"first"))
    assert (desk.names("blob"), desk.now(upload).key) == ([], None)


def test_a_run_that_was_not_counted_is_written_over(desk: Desk) -> None:
    upload = desk.send(desk.begin(), b"first")
    desk.write(upload, b" secomd")
    desk.send(upload, b" second")
    desk.finish(desk.now(upload), digest_of(b"first second"))
    assert desk.bytes_of(digest_of(b"first second")) == b"first second"


def test_of_two_later_runs_one_counts(desk: Desk) -> None:
    upload = desk.send(desk.begin(), b"first")
    one = desk.write(upload, b" one")
    desk.send(upload, b" two")
    with pytest.raises(OutOfOrder):
        desk.note(one)
    desk.finish(desk.now(upload), digest_of(b"first two"))
    assert desk.bytes_of(digest_of(b"first two")) == b"first two"


def test_whoever_looked_before_more_came_does_not_end_it(desk: Desk) -> None:
    early = desk.send(desk.begin(), b"first")
    late = desk.send(early, b" second")
    with pytest.raises(OutOfOrder):
        desk.finish(early, digest_of(b"first"))
    desk.finish(late, digest_of(b"first second"))
    assert desk.bytes_of(digest_of(b"first second")) == b"first second"


def test_an_ending_upload_takes_no_more(desk: Desk) -> None:
    upload = desk.send(desk.begin(), b"first")
    with pytest.raises(StorageFailed):
        desk.finish(upload, digest_of(b"first"), Failing(desk.registry.store, "commit", after=False))
    with pytest.raises(OutOfOrder):
        streams.begin_run(desk.registry.database, desk.registry.store, upload)
    assert desk.now(upload).received_bytes == len(b"first")


def test_two_who_end_it_at_once_end_it_once(desk: Desk) -> None:
    upload = desk.send(desk.begin(), b"bytes")
    desk.finish(upload, digest_of(b"bytes"), Meanwhile(desk.registry.store, lambda: desk.finish(upload, DIGEST)))
    assert desk.bytes_of(DIGEST) == b"bytes"
    assert len(desk.names("blob")) == 1


def test_two_who_end_it_at_once_where_the_bytes_were_held_already(desk: Desk) -> None:
    desk.finish(desk.send(desk.begin(), b"bytes"), DIGEST)
    upload = desk.send(desk.begin(), b"bytes")
    desk.finish(upload, DIGEST, Meanwhile(desk.registry.store, lambda: desk.finish(upload, DIGEST)))
    assert (desk.bytes_of(DIGEST), len(desk.names("blob")), desk.names("stage")) == (b"bytes", 1, [])


def test_a_cancelled_upload_is_not_kept(desk: Desk) -> None:
    upload = desk.send(desk.begin(), b"bytes")

    def cancel() -> None:
        streams.cancel(desk.registry.database, desk.registry.store, upload)

    with pytest.raises(NotFound):
        desk.finish(upload, DIGEST, Meanwhile(desk.registry.store, cancel))
    assert (desk.bytes_of(DIGEST), desk.names("blob"), desk.names("stage")) == (None, [], [])


DIGEST = digest_of(b"bytes")


class Wrapped:
    """A store that does as another one."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class Meanwhile(Wrapped):
    """Somebody does something between the row of an ending and its commit."""

    def __init__(self, store: BlobStore, meanwhile: Callable[[], None]) -> None:
        super().__init__(store)
        self._meanwhile = meanwhile

    def commit(self, upload_id: str, key: str) -> None:
        self._meanwhile()
        self._store.commit(upload_id, key)


class Failing(Wrapped):
    """A store at which a server dies: before or after it did as it was told."""

    def __init__(self, store: BlobStore, what: str, *, after: bool) -> None:
        super().__init__(store)
        self._what, self._after = what, after

    def __getattr__(self, name: str) -> Any:
        done = getattr(self._store, name)
        return self._dying(done) if name == self._what else done

    def _dying(self, done: Callable[..., Any]) -> Callable[..., Any]:
        def die(*args: Any) -> None:
            if self._after:
                done(*args)
            raise StorageFailed("It died here.")

        return die


# --- crashes


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("what", "parts"), [("prove", 2), ("commit", 1), ("commit", 2), ("delete", 1)])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_an_end_that_broke_off_is_made_good(desk: Desk, what: str, parts: int, after: bool, algorithm: str) -> None:
    digest, data = digest_of(b"bytes", algorithm), b"bytes"
    if what == "delete":  # of our copy of what is held already
        desk.finish(desk.send(desk.begin(), data), DIGEST)
    upload = desk.begin()
    for part in (data,) if parts == 1 else (data[:2], data[2:]):
        upload = desk.send(upload, part)
    with pytest.raises(StorageFailed):
        desk.finish(upload, digest, Failing(desk.registry.store, what, after=after))
    again = desk.find(upload)
    if again is not None:
        desk.finish(again, digest)
    assert (desk.bytes_of(digest), desk.names("stage"), desk.find(upload)) == (b"bytes", [], None)


@pytest.mark.parametrize("parts", [1, 2])
def test_wrong_bytes_are_not_kept_by_either_digest(desk: Desk, parts: int) -> None:
    for algorithm in ("sha256", "sha512"):
        upload = desk.begin()
        for part in (b"wrong",) if parts == 1 else (b"wr", b"ong"):
            upload = desk.send(upload, part)
        with pytest.raises(WrongDigest):
            desk.finish(upload, digest_of(b"bytes", algorithm))
        assert (desk.names("blob"), desk.names("stage"), desk.find(upload)) == ([], [], None)


def test_another_digest_does_not_undo_an_end_that_broke_off(desk: Desk) -> None:
    upload = desk.send(desk.begin(), b"bytes")
    with pytest.raises(StorageFailed):
        desk.finish(upload, DIGEST, Failing(desk.registry.store, "commit", after=True))
    with pytest.raises(WrongDigest):
        desk.finish(desk.now(upload), digest_of(b"other"))
    desk.finish(desk.now(upload), DIGEST)
    assert desk.bytes_of(DIGEST) == b"bytes"


def test_bytes_that_the_store_has_lost_end_the_upload(desk: Desk) -> None:
    for parts in ((b"bytes",), (b"by", b"tes")):
        upload = desk.begin()
        for part in parts:
            upload = desk.send(upload, part)
        desk.registry.store.discard(upload.stage_id)
        with pytest.raises(NotFound, match="gone"):
            desk.finish(upload, DIGEST)
        assert (desk.find(upload), desk.bytes_of(DIGEST)) == (None, None)


def test_bytes_that_were_lost_come_back_with_the_next_who_brings_them(desk: Desk) -> None:
    desk.finish(desk.send(desk.begin(), b"bytes"), DIGEST)
    [key] = desk.names("blob")
    desk.registry.store.delete(key)
    desk.finish(desk.send(desk.begin(), b"bytes"), DIGEST)
    assert desk.bytes_of(DIGEST) == b"bytes"


# --- what nobody goes on with


def expire_all(desk: Desk, seconds: int = -1) -> list[str]:
    """Have all go that nobody touched for so long; answers the ids of staged bytes."""
    until = utc_now() - timedelta(seconds=seconds)
    with desk.registry.database.write() as session:
        listed = [each.id for each in streams.list_expired(session, until)]
        return streams.expire(session, listed, until)


def test_what_nobody_went_on_with_expires(desk: Desk) -> None:
    upload = desk.send(desk.begin(), b"bytes")
    with desk.registry.database.read() as session:
        [listed] = streams.list_expired(session, utc_now() + timedelta(seconds=1))
    assert (listed.id, listed.org, listed.size_bytes) == (upload.stage_id, "ada", 5)
    assert expire_all(desk, 60) == []
    assert expire_all(desk) == [upload.stage_id]
    assert desk.find(upload) is None


def test_who_sends_to_an_expired_upload_leaves_nothing(desk: Desk) -> None:
    upload = desk.begin()
    run = desk.write(upload, b"bytes")
    expire_all(desk)
    with pytest.raises(NotFound):
        desk.note(run)
    assert desk.names("stage") == []


def test_an_upload_that_expires_while_it_ends_is_not_linked(desk: Desk) -> None:
    upload = desk.send(desk.begin(), b"bytes")
    with pytest.raises(NotFound):
        desk.finish(upload, DIGEST, Meanwhile(desk.registry.store, lambda: assert_one(expire_all(desk))))
    assert desk.bytes_of(DIGEST) is None


def assert_one(found: Sequence[str]) -> None:
    assert len(found) == 1


def test_clean_up_takes_expired_sessions_with_their_bytes_and_no_others(desk: Desk) -> None:
    upload = desk.send(desk.begin(), b"bytes")
    database, store = desk.registry.database, desk.registry.store
    gc.collect(database, store, grace_seconds=0, upload_ttl_seconds=3600)
    assert desk.names("stage") == [upload.stage_id]
    collected = gc.collect(database, store, grace_seconds=0, upload_ttl_seconds=-1)
    assert [each.id for each in collected.uploads] == [upload.stage_id]
    assert (desk.names("stage"), desk.find(upload)) == ([], None)


def test_an_upload_is_bound_to_whoever_began_it(desk: Desk) -> None:
    upload = desk.begin()
    other = Desk(desk.registry, Destination(desk.to.actor, desk.to.org, ModelName.parse("other")))
    assert other.find(upload) is None
    assert desk.find(upload) is not None


# --- any order of things


class Uploading(RuleBasedStateMachine):
    """One session, and several who send to it, each unaware of the others."""

    desk: Desk

    def __init__(self) -> None:
        super().__init__()
        self.upload = self.desk.begin()
        self.counted = b""
        self.seen = [self.upload]
        self.runs: list[tuple[Run, bytes]] = []

    @rule(data=st.binary(max_size=6), at=st.integers(0, 9))
    def write(self, data: bytes, at: int) -> None:
        """Somebody writes, as the session was when he looked."""
        try:
            self.runs.append((self.desk.write(self.seen[at % len(self.seen)], data), data))
        except OutOfOrder:
            return

    @precondition(lambda self: self.runs)
    @rule(at=st.integers(0, 9))
    def note(self, at: int) -> None:
        """Somebody's bytes are counted, or refused."""
        run, data = self.runs.pop(at % len(self.runs))
        try:
            row = self.desk.note(run)
        except OutOfOrder:
            return
        self.counted += data
        assert row.received_bytes == len(self.counted)
        self.seen.append(row)

    @invariant()
    def the_row_says_what_counts(self) -> None:
        row = self.desk.now(self.upload)
        assert row.received_bytes == len(self.counted)
        assert row.sha256 in (None, hashlib.sha256(self.counted).hexdigest())

    def teardown(self) -> None:
        """Whoever ends it has those bytes, or none at all; with nobody in between, he has them."""
        digest, upload = digest_of(self.counted), self.desk.now(self.upload)
        if upload.received_bytes == 0 and upload.sha256 is None:
            streams.cancel(self.desk.registry.database, self.desk.registry.store, upload)
            return
        try:
            self.desk.finish(upload, digest)
        except Invalid:  # others have written behind what counts, or over it, and the whole was read
            assert upload.sha256 is None
            return
        assert self.desk.bytes_of(digest) == self.counted


def test_however_many_send_nobody_gets_wrong_bytes(desk: Desk) -> None:
    machine = type("Uploading", (Uploading,), {"desk": desk})
    run_state_machine_as_test(machine, settings=hypothesis_settings(max_examples=30, stateful_step_count=15))
