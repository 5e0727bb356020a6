"""A registry that takes its time, and one whose links run out: the client waits, and asks again."""

import time
from collections.abc import Iterator

import pytest

from steelyard.client import Client, Progress
from steelyard.client.errors import Conflict, DigestMismatch, Forbidden
from tests.client.conftest import MakeFolder
from tests.client.fakes import FakeRegistry, Reply, Seen, error_reply, json_reply, oid_of

ROUTE = "/api/v1/org/acme/models/tiny"
WEIGHTS = b"0123456789"
DETAIL = {"id": "1", "name": "acme/tiny", "version": "1.0.0", "created_at": "t"}


class Talk(Progress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def pusher(fake: FakeRegistry) -> Iterator[Client]:
    with Client(fake.url, "the-token", timeout_seconds=2) as made:
        yield made


def offer_parts(fake: FakeRegistry, *, generation: int = 1, done: tuple[int, ...] = ()) -> Reply:
    """Three parts of four bytes; the links of each generation differ."""
    urls = {str(number): f"{fake.url}/part/{number}/{generation}" for number in (1, 2, 3)}
    upload = {"href": f"{fake.url}/done/{generation}", "header": {"chunk_size": "4", **urls}}
    return json_reply(
        {"objects": [{"oid": oid_of(WEIGHTS), "size": 10, "parts_done": list(done), "actions": {"upload": upload}}]}
    )


def take_parts(fake: FakeRegistry, generation: int = 1) -> dict[int, bytes]:
    """Serve the links of a generation; answers what arrives by part."""
    arrived: dict[int, bytes] = {}

    def keep(seen: Seen) -> Reply:
        arrived[int(seen.path.split("/")[2])] = seen.body
        return Reply(200)

    for number in (1, 2, 3):
        fake.on("PUT", f"/part/{number}/{generation}", keep)
    fake.on("POST", f"/done/{generation}", json_reply({"oid": oid_of(WEIGHTS), "size": 10}))
    return arrived


def push(pusher: Client, make_folder: MakeFolder, talk: Progress | None = None) -> bool:
    return pusher.push(make_folder({"w.bin": WEIGHTS}), "acme/tiny:1.0.0", use_git=False, progress=talk).created


def test_parts_cover_the_file_and_only_missing_ones_are_sent(
    fake: FakeRegistry, pusher: Client, make_folder: MakeFolder
) -> None:
    fake.on("POST", f"{ROUTE}/blobs/batch", offer_parts(fake, done=(2, 99)))
    fake.on("POST", f"{ROUTE}/versions", json_reply(DETAIL, 201))
    arrived = take_parts(fake)
    assert push(pusher, make_folder)
    assert arrived == {1: b"0123", 3: b"89"}
    assert len(fake.asked("POST", "/done/1")) == 1


def test_proving_is_waited_for_by_its_location(fake: FakeRegistry, pusher: Client, make_folder: MakeFolder) -> None:
    fake.on("POST", f"{ROUTE}/blobs/batch", offer_parts(fake, done=(1, 2, 3)))
    fake.on("POST", "/done/1", json_reply({}, 202, Location="/proof?ticket=x", **{"Retry-After": "0"}))
    fake.in_turn("GET", "/proof", json_reply({}, 202, Location="/proof", **{"Retry-After": "0"}), json_reply({}))
    fake.on("POST", f"{ROUTE}/versions", json_reply(DETAIL, 201))
    assert push(pusher, make_folder)
    assert len(fake.asked("GET", "/proof")) == 2


def test_a_proof_that_fails_is_a_wrong_digest(fake: FakeRegistry, pusher: Client, make_folder: MakeFolder) -> None:
    fake.on("POST", f"{ROUTE}/blobs/batch", offer_parts(fake, done=(1, 2, 3)))
    fake.on("POST", "/done/1", json_reply({}, 202, Location="/proof", **{"Retry-After": "0"}))
    fake.on("GET", "/proof", error_reply(422, "validation_error", "other bytes"))
    with pytest.raises(DigestMismatch, match=r"w\.bin"):
        push(pusher, make_folder)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_links_that_ran_out_are_asked_for_again(
    fake: FakeRegistry, pusher: Client, make_folder: MakeFolder, status: int
) -> None:
    fake.in_turn("POST", f"{ROUTE}/blobs/batch", offer_parts(fake), offer_parts(fake, generation=2, done=(1,)))
    for number in (1, 2, 3):
        fake.on("PUT", f"/part/{number}/1", error_reply(status, "forbidden_error", "the ticket ran out"))
    fake.on("POST", f"{ROUTE}/versions", json_reply(DETAIL, 201))
    arrived = take_parts(fake, 2)
    assert push(pusher, make_folder)
    assert arrived == {2: b"4567", 3: b"89"}
    assert len(fake.asked("POST", f"{ROUTE}/blobs/batch")) == 2


def test_a_session_that_was_lost_is_sent_again_whole(
    fake: FakeRegistry, pusher: Client, make_folder: MakeFolder
) -> None:
    fake.in_turn("POST", f"{ROUTE}/blobs/batch", offer_parts(fake, done=(1, 2)), offer_parts(fake, generation=2))
    take_parts(fake, 1)
    fake.on("POST", "/done/1", error_reply(404, "not_found_error", "there is no such upload"))
    arrived = take_parts(fake, 2)
    fake.on("POST", f"{ROUTE}/versions", json_reply(DETAIL, 201))
    assert push(pusher, make_folder)
    assert arrived == {1: b"0123", 2: b"4567", 3: b"89"}


def test_an_upload_that_somebody_else_finished_needs_nothing_more(
    fake: FakeRegistry, pusher: Client, make_folder: MakeFolder
) -> None:
    held = json_reply({"objects": [{"oid": oid_of(WEIGHTS), "size": 10}]})
    fake.in_turn("POST", f"{ROUTE}/blobs/batch", offer_parts(fake), held)
    for number in (1, 2, 3):
        fake.on("PUT", f"/part/{number}/1", error_reply(404, "not_found_error", "there is no such upload"))
    fake.on("POST", f"{ROUTE}/versions", json_reply(DETAIL, 201))
    assert push(pusher, make_folder)


def test_links_that_never_work_are_given_up(fake: FakeRegistry, pusher: Client, make_folder: MakeFolder) -> None:
    fake.on("POST", f"{ROUTE}/blobs/batch", offer_parts(fake))
    for number in (1, 2, 3):
        fake.on("PUT", f"/part/{number}/1", error_reply(403, "forbidden_error", "no"))
    with pytest.raises(Forbidden):
        push(pusher, make_folder)
    assert len(fake.asked("POST", f"{ROUTE}/blobs/batch")) <= 22


def test_publishing_waits_while_bytes_are_proven_and_says_so(
    fake: FakeRegistry, pusher: Client, make_folder: MakeFolder
) -> None:
    fake.on("POST", f"{ROUTE}/blobs/batch", json_reply({"objects": [{"oid": oid_of(WEIGHTS), "size": 10}]}))
    waiting = error_reply(409, "conflict_error", "still proving", **{"Retry-After": "0"})
    fake.in_turn("POST", f"{ROUTE}/versions", waiting, waiting, json_reply(DETAIL, 201))
    talk, begun = Talk(), time.monotonic()
    assert push(pusher, make_folder, talk)
    assert [line for line in talk.said if "still proving" in line] == talk.said[-1:]
    assert time.monotonic() - begun < 5


def test_a_conflict_that_waiting_does_not_mend_is_raised(
    fake: FakeRegistry, pusher: Client, make_folder: MakeFolder
) -> None:
    fake.on("POST", f"{ROUTE}/blobs/batch", json_reply({"objects": [{"oid": oid_of(WEIGHTS), "size": 10}]}))
    fake.on("POST", f"{ROUTE}/versions", error_reply(409, "conflict_error", "the alias is protected"))
    with pytest.raises(Conflict, match="protected"):
        push(pusher, make_folder)
    assert len(fake.asked("POST", f"{ROUTE}/versions")) == 1


def test_a_bump_is_sent_again_under_the_same_key(fake: FakeRegistry, pusher: Client, make_folder: MakeFolder) -> None:
    fake.on("POST", f"{ROUTE}/blobs/batch", json_reply({"objects": [{"oid": oid_of(WEIGHTS), "size": 10}]}))
    fake.in_turn("POST", f"{ROUTE}/versions", Reply(502), Reply(200, b"{}", cut_after=1), json_reply(DETAIL, 201))
    folder = make_folder({"w.bin": WEIGHTS})
    pusher.push(folder, "acme/tiny", bump="minor", use_git=False)
    keys = {seen.headers["Idempotency-Key"] for seen in fake.asked("POST", f"{ROUTE}/versions")}
    assert len(fake.asked("POST", f"{ROUTE}/versions")) == 3 and len(keys) == 1 and None not in keys
    pusher.push(folder, "acme/tiny", bump="minor", use_git=False)
    assert fake.seen[-1].headers["Idempotency-Key"] not in keys
