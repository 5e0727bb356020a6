"""What is answered with stored bytes, how it leaves, and that nothing stays open: message by message, in process."""

import asyncio
import hashlib
import os
import re
import tarfile
import threading
import time
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import Message

from steelyard.server.core.files.archive import ArchiveFile, plan_archive
from steelyard.server.doors import sending
from steelyard.server.doors.ranges import parse_range
from steelyard.server.doors.sending import (
    OCTETS,
    PIECE_AT_HAND_BYTES,
    PIECE_BYTES,
    ArchiveSource,
    BlobSource,
    ByteSource,
    attachment,
)
from steelyard.server.errors import PreconditionFailed, RangeNotSatisfiable, StorageFailed
from steelyard.server.storage import BlobStore
from steelyard.server.storage.local import LocalStore
from steelyard.server.storage.memory import MemoryStore
from tests.server.doors.stored import (
    CONTENT,
    ETAG,
    FILES,
    SMALL,
    SpySource,
    archive_source,
    blob_source,
    put,
    response_of,
    tar_of,
)


@dataclass
class Exchange:
    """What an application sent, and how the client behaves: it may leave after some messages."""

    messages: list[Message] = field(default_factory=list)
    leaves_after: int | None = None
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await asyncio.sleep(0)
        self.messages.append(message)
        if len(self.messages) == self.leaves_after:
            self.gone.set()

    @property
    def status(self) -> int:
        status = self.messages[0]["status"]
        assert isinstance(status, int)
        return status

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def body(self) -> bytes:
        assert self.messages[0]["type"] == "http.response.start"
        more = [message.get("more_body", False) for message in self.messages[1:]]
        assert more == [True] * (len(more) - 1) + [False]
        return b"".join(message["body"] for message in self.messages[1:])


def scope_of(method: str, headers: dict[str, str], *, pathsend: bool = False) -> Message:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "method": method,
        "path": "/",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
        "extensions": {"http.response.pathsend": {}} if pathsend else {},
    }


def ask(
    source: ByteSource,
    headers: dict[str, str] | None = None,
    *,
    method: str = "GET",
    pathsend: bool = False,
    leaves_after: int | None = None,
) -> Exchange:
    async def run() -> Exchange:
        exchange = Exchange(leaves_after=leaves_after)
        scope = scope_of(method, headers or {}, pathsend=pathsend)
        await response_of(source)(scope, exchange.receive, exchange.send)
        return exchange

    return asyncio.run(run())


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def local(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


@pytest.fixture(params=["memory", "local"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    return MemoryStore() if request.param == "memory" else LocalStore(tmp_path)


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of a blob is in memory."""
    monkeypatch.setattr(BlobSource, "read_now", lambda *args: None)


# What is answered


@pytest.mark.parametrize("content", [CONTENT, SMALL, b""])
def test_the_whole_is_answered_with_all_its_headers(store: BlobStore, content: bytes) -> None:
    answer = ask(blob_source(store, content))
    assert answer.status == 200
    assert answer.body == content
    assert answer.headers == {
        "accept-ranges": "bytes",
        "content-disposition": 'attachment; filename="model.bin"',
        "content-length": str(len(content)),
        "content-security-policy": "sandbox; default-src 'none'",
        "content-type": OCTETS,
        "etag": ETAG,
        "x-content-type-options": "nosniff",
    }


@pytest.mark.parametrize("content", [CONTENT, SMALL, b""])
def test_head_has_the_headers_of_get_and_no_body(store: BlobStore, content: bytes) -> None:
    head = ask(blob_source(store, content), method="HEAD", pathsend=True)
    assert head.headers == ask(blob_source(store, content)).headers
    assert (head.status, head.body) == (200, b"")


def test_a_range_counts_for_get_alone(store: BlobStore) -> None:
    answer = ask(blob_source(store, SMALL), {"Range": "bytes=0-9"}, method="HEAD")
    assert (answer.status, answer.headers["content-length"]) == (200, str(len(SMALL)))


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-", 100, len(CONTENT)),
        ("bytes=-100", len(CONTENT) - 100, len(CONTENT)),
        (f"bytes=7-{PIECE_BYTES + 6}", 7, PIECE_BYTES + 7),
        (f"bytes=7-{PIECE_BYTES + 7}", 7, PIECE_BYTES + 8),
    ],
)
def test_one_range_is_answered_as_it_is(store: BlobStore, header: str, start: int, end: int) -> None:
    answer = ask(blob_source(store, CONTENT), {"Range": header}, pathsend=True)
    assert answer.status == 206
    assert answer.body == CONTENT[start:end]
    assert answer.headers["content-length"] == str(end - start)
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(CONTENT)}"
    assert answer.headers["content-type"] == OCTETS


def parts_of(answer: Exchange) -> list[tuple[str, bytes]]:
    """Content-Range and content of each part of a multipart body."""
    kind, _, boundary = answer.headers["content-type"].partition("; boundary=")
    assert kind == "multipart/byteranges"
    assert answer.headers["content-length"] == str(len(answer.body))
    between = answer.body.split(f"\r\n--{boundary}".encode())
    assert (between[0], between[-1]) == (b"", b"--\r\n")
    heads_and_contents = [part.partition(b"\r\n\r\n") for part in between[1:-1]]
    return [
        (re.findall(r"Content-Range: (.*)", head.decode())[0].strip(), content)
        for head, _, content in heads_and_contents
    ]


@pytest.mark.parametrize("last", [3000, len(CONTENT) - 1])
def test_several_ranges_are_answered_as_parts(store: BlobStore, last: int) -> None:
    answer = ask(blob_source(store, CONTENT), {"Range": f"bytes=0-9,1000-{last}"}, pathsend=True)
    assert answer.status == 206
    assert "content-range" not in answer.headers
    assert parts_of(answer) == [
        (f"bytes 0-9/{len(CONTENT)}", CONTENT[:10]),
        (f"bytes 1000-{last}/{len(CONTENT)}", CONTENT[1000 : last + 1]),
    ]


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        ({"If-None-Match": ETAG}, 304),
        ({"If-None-Match": f'"other", W/{ETAG}'}, 304),
        ({"If-None-Match": '"other"'}, 206),
        ({"If-Match": ETAG}, 206),
        ({"If-Match": ETAG, "If-None-Match": ETAG}, 304),
        ({"If-Range": ETAG}, 206),
        ({"If-Range": '"other"'}, 200),
        ({"If-Range": "Wed, 21 Oct 2015 07:28:00 GMT"}, 200),
        ({"If-Modified-Since": "Wed, 21 Oct 2065 07:28:00 GMT"}, 206),
    ],
)
def test_conditions_decide_what_is_answered(store: BlobStore, conditions: dict[str, str], status: int) -> None:
    answer = ask(blob_source(store, SMALL), {"Range": "bytes=1-2", **conditions})
    assert answer.status == status
    assert answer.body == {200: SMALL, 206: SMALL[1:3], 304: b""}[status]


def test_not_modified_says_what_may_be_cached_and_nothing_of_a_body(store: BlobStore) -> None:
    async def run() -> Exchange:
        exchange = Exchange()
        response = response_of(blob_source(store, SMALL), headers={"Cache-Control": "private", "Vary": "Authorization"})
        await response(scope_of("GET", {"If-None-Match": ETAG}), exchange.receive, exchange.send)
        return exchange

    answer = asyncio.run(run())
    assert {name: answer.headers.get(name) for name in ("etag", "cache-control", "vary")} == {
        "etag": ETAG,
        "cache-control": "private",
        "vary": "Authorization",
    }
    assert not {"content-length", "content-type", "content-disposition"} & answer.headers.keys()


def test_conditions_in_several_lines_count_together(store: BlobStore) -> None:
    exchange = Exchange()
    scope = scope_of("GET", {})
    scope["headers"] = [(b"if-none-match", b'"other"'), (b"if-none-match", ETAG.encode())]
    asyncio.run(response_of(blob_source(store, SMALL))(scope, exchange.receive, exchange.send))
    assert exchange.status == 304


def test_a_failed_match_and_a_range_outside_are_for_the_door_to_answer(store: BlobStore) -> None:
    with pytest.raises(PreconditionFailed):
        ask(blob_source(store, SMALL), {"If-Match": '"other"'})
    with pytest.raises(RangeNotSatisfiable) as refused:
        ask(blob_source(store, SMALL), {"Range": "bytes=5000-"})
    assert refused.value.headers == {"Content-Range": "bytes */5000"}


def test_the_callers_headers_are_kept_and_may_be_added_to(store: BlobStore) -> None:
    response = response_of(blob_source(store, SMALL), headers={"Cache-Control": "no-store"}, content_type="text/plain")
    response.headers["Content-Location"] = "/here"
    exchange = Exchange()
    asyncio.run(response(scope_of("GET", {}), exchange.receive, exchange.send))
    assert exchange.headers["cache-control"] == "no-store"
    assert exchange.headers["content-location"] == "/here"
    assert exchange.headers["content-type"] == "text/plain"


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("model.bin", 'attachment; filename="model.bin"'),
        ("a b.tar", 'attachment; filename="a b.tar"'),
        ('x"; y="', "attachment; filename=\"x_; y=_\"; filename*=UTF-8''x%22%3B%20y%3D%22"),
        ("back\\slash", "attachment; filename=\"back_slash\"; filename*=UTF-8''back%5Cslash"),
        ("100%41", "attachment; filename=\"100_41\"; filename*=UTF-8''100%2541"),
        ("modèle", "attachment; filename=\"mod_le\"; filename*=UTF-8''mod%C3%A8le"),
        ("a\r\nSet-Cookie: x", "attachment; filename=\"a__Set-Cookie: x\"; filename*=UTF-8''a%0D%0ASet-Cookie%3A%20x"),
    ],
)
def test_a_file_name_can_say_nothing_but_a_file_name(filename: str, expected: str) -> None:
    assert attachment(filename) == expected


def test_the_tar_of_a_version_is_answered_and_gone_on_with(store: BlobStore) -> None:
    whole = ask(archive_source(store, FILES), pathsend=True)
    assert whole.headers["content-length"] == str(len(whole.body))
    with tarfile.open(fileobj=BytesIO(whole.body), mode="r:") as tar:
        assert {member.name: tar.extractfile(member).read() for member in tar} == FILES  # type: ignore[union-attr]
    rest = ask(archive_source(store, FILES), {"Range": "bytes=300000-", "If-Range": whole.headers["etag"]})
    assert rest.status == 206
    assert rest.body == whole.body[300_000:]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=st.lists(st.tuples(st.integers(0, 900), st.integers(0, 900)).map(sorted), min_size=1, max_size=4)
    .map(sorted)
    .map(lambda pairs: "bytes=" + ",".join(f"{first}-{last}" for first, last in pairs)),
    content=st.binary(max_size=800),
    as_archive=st.booleans(),
    piece_bytes=st.integers(1, 900),
)
def test_whatever_is_asked_for_is_a_slice_in_pieces_of_any_size(
    monkeypatch: pytest.MonkeyPatch, header: str, content: bytes, as_archive: bool, piece_bytes: int
) -> None:
    monkeypatch.setattr(sending, "PIECE_BYTES", piece_bytes)
    store = MemoryStore()
    contents = {"a": content, "b": content[:5]}
    source: ByteSource = archive_source(store, contents) if as_archive else blob_source(store, content)
    whole = tar_of(contents) if as_archive else content
    try:
        ranges = parse_range(header, len(whole)) or []
    except RangeNotSatisfiable:
        return
    answer = ask(source, {"Range": header})
    expected = [(part.content_range(len(whole)), whole[part.start : part.end]) for part in ranges]
    sent = parts_of(answer) if len(ranges) > 1 else [(answer.headers["content-range"], answer.body)]
    assert sent == expected
    assert all(len(message["body"]) < 2 * max(piece_bytes, 512) + 200 for message in answer.messages[1:])


# How it leaves


@pytest.mark.usefixtures("cold")
def test_a_whole_file_on_the_disk_leaves_by_the_server_where_it_can(local: LocalStore) -> None:
    source = blob_source(local, CONTENT)
    answer = ask(source, pathsend=True)
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert answer.messages[1:] == [{"type": "http.response.pathsend", "path": str(source.path)}]


@pytest.mark.usefixtures("cold")
def test_a_range_that_is_the_whole_leaves_by_the_server_too(local: LocalStore) -> None:
    answer = ask(blob_source(local, CONTENT), {"Range": "bytes=0-"}, pathsend=True)
    assert answer.status == 206
    assert [message["type"] for message in answer.messages[1:]] == ["http.response.pathsend"]


async def refuse(*args: object) -> bytes:
    raise AssertionError("went to a thread")


def skip_unless_known(source: BlobSource) -> None:
    if source.read_now(0, 1) is None:
        pytest.skip("this system cannot say what is in memory")


@pytest.mark.parametrize("headers", [{}, {"Range": f"bytes=10-{2 * PIECE_BYTES}"}, {"Range": "bytes=0-9,20-"}])
def test_a_long_answer_of_bytes_in_memory_leaves_piece_by_piece_and_needs_no_thread(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    source = blob_source(store, CONTENT)
    skip_unless_known(source)
    monkeypatch.setattr("anyio.to_thread.run_sync", refuse)
    answer = ask(source, headers, pathsend=True)
    assert len(answer.body) == int(answer.headers["content-length"])
    assert answer.body in CONTENT or answer.headers["content-type"].startswith("multipart/byteranges")
    assert max(len(message["body"]) for message in answer.messages[1:]) == PIECE_AT_HAND_BYTES


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=7-"}, {"Range": "bytes=0-9,20-"}])
@pytest.mark.parametrize("in_memory", [1, 2, 3])
def test_from_the_first_piece_on_the_disk_threads_send_what_is_left(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch, in_memory: int, headers: dict[str, str]
) -> None:
    expected = ask(blob_source(store, CONTENT), headers)
    at_hand = blob_source(MemoryStore(), CONTENT).read_now
    asked: list[int] = []

    def read_now(source: BlobSource, start: int, end: int) -> bytes | None:
        asked.append(start)
        return at_hand(start, end) if len(asked) <= in_memory else None

    monkeypatch.setattr(BlobSource, "read_now", read_now)
    answer = ask(blob_source(store, CONTENT), headers, pathsend=True)
    assert len(asked) == in_memory + 1
    boundary = expected.headers["content-type"].rpartition("=")[2].encode()
    ours = answer.headers["content-type"].rpartition("=")[2].encode()
    assert answer.body.replace(ours, b"=") == expected.body.replace(boundary, b"=")


def test_a_file_in_memory_leaves_turns_to_others() -> None:
    """Sending never waits here, and the loop is everybody's all the same."""

    async def run() -> int:
        turns = 0
        done = asyncio.Event()

        async def other() -> None:
            nonlocal turns
            while not done.is_set():
                turns += 1
                await asyncio.sleep(0)

        async def send(message: Message) -> None:
            pass

        watching = asyncio.create_task(other())
        source = blob_source(MemoryStore(), CONTENT * 5)
        await response_of(source)(scope_of("GET", {}), Exchange().receive, send)
        done.set()
        await watching
        return turns

    assert asyncio.run(run()) >= 5 * len(CONTENT) // PIECE_BYTES


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=10-99"}, {"Range": "bytes=0-9,20-29"}])
def test_a_small_answer_of_bytes_in_memory_needs_no_thread(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    source = blob_source(store, SMALL)
    skip_unless_known(source)
    monkeypatch.setattr("anyio.to_thread.run_sync", refuse)
    assert len(ask(source, headers, pathsend=True).messages) == 2


@pytest.mark.usefixtures("cold")
@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=10-99"}])
def test_a_small_answer_of_bytes_on_the_disk_is_read_in_a_thread(store: BlobStore, headers: dict[str, str]) -> None:
    answer = ask(blob_source(store, SMALL), headers)
    assert answer.body == (SMALL[10:100] if headers else SMALL)
    assert len(answer.messages) == 2


def test_many_small_files_leave_in_large_pieces(store: BlobStore) -> None:
    answer = ask(archive_source(store, FILES))
    sizes = [len(message["body"]) for message in answer.messages[1:-2]]
    assert all(PIECE_BYTES <= size < 2 * PIECE_BYTES for size in sizes)


def test_the_next_piece_is_read_while_one_is_sent_and_no_more() -> None:
    spy = SpySource()
    reads_when_sent: list[int] = []

    async def send(message: Message) -> None:
        await asyncio.sleep(0.02)  # a slow client
        if message.get("body"):
            reads_when_sent.append(spy.reads)

    exchange = Exchange()
    asyncio.run(response_of(spy)(scope_of("GET", {}), exchange.receive, send))
    assert len(reads_when_sent) == 10
    assert reads_when_sent[1:] == [3, 4, 5, 6, 7, 8, 9, 10, 10]


def test_the_event_loop_goes_on_while_a_disk_is_slow() -> None:
    asked, answered = threading.Event(), threading.Event()

    def wait_for_the_loop(spy: SpySource) -> None:
        asked.set()
        assert answered.wait(5), "the loop stood still"

    async def run() -> Exchange:
        exchange = Exchange()
        response = response_of(SpySource(during_read=wait_for_the_loop))
        sending_task = asyncio.create_task(response(scope_of("GET", {}), exchange.receive, exchange.send))
        while not asked.is_set():
            await asyncio.sleep(0.001)
        answered.set()
        await sending_task
        return exchange

    assert len(asyncio.run(run()).body) == 10 * PIECE_BYTES


# What is closed, and when


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("content", [CONTENT, SMALL, b""])
@pytest.mark.parametrize("pathsend", [True, False])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Range": "bytes=5-"},
        {"Range": "bytes=0-1,3-"},
        {"Range": "bytes=-0"},
        {"If-Match": '"x"'},
        {"If-None-Match": "*"},
    ],
)
def test_after_any_answer_nothing_is_open(
    local: LocalStore, method: str, content: bytes, pathsend: bool, headers: dict[str, str]
) -> None:
    put(local, content)
    before = open_files()
    try:
        ask(blob_source(local, content), headers, method=method, pathsend=pathsend)
    except (RangeNotSatisfiable, PreconditionFailed):
        assert headers.keys() & {"Range", "If-Match"}
    assert open_files() == before


@pytest.mark.parametrize("leaves_after", [1, 2, 3])
def test_when_the_client_leaves_reading_stops_and_nothing_is_open(local: LocalStore, leaves_after: int) -> None:
    before = open_files()
    for source in (blob_source(local, CONTENT * 4), archive_source(local, {"a": CONTENT * 4})):
        answer = ask(source, leaves_after=leaves_after)
        assert len(answer.messages) <= leaves_after + 1
        assert answer.messages[-1].get("more_body", True) is True
        assert open_files() == before


@pytest.mark.parametrize("read", [1, 2, 4])
def test_a_task_cancelled_in_the_middle_of_a_read_waits_for_it_before_closing(read: int) -> None:
    reading = threading.Event()

    def read_slowly(spy: SpySource) -> None:
        if spy.reads == read:
            reading.set()
            time.sleep(0.1)

    async def run(spy: SpySource) -> None:
        exchange = Exchange()
        task = asyncio.create_task(response_of(spy)(scope_of("GET", {}), exchange.receive, exchange.send))
        while not reading.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    spy = SpySource(during_read=read_slowly)
    asyncio.run(run(spy))
    assert spy.closes == 1  # SpySource.close asserts that nobody reads


def test_a_source_that_fails_at_once_is_for_the_door_to_answer(store: BlobStore) -> None:
    spy, exchange = SpySource(fails_at=0), Exchange()
    with pytest.raises(StorageFailed):
        asyncio.run(response_of(spy)(scope_of("GET", {}), exchange.receive, exchange.send))
    assert exchange.messages == []
    assert spy.closes == 1


@pytest.mark.parametrize("piece", [1, 2, 9])
def test_a_source_that_fails_later_is_never_taken_for_the_end(piece: int) -> None:
    spy, exchange = SpySource(fails_at=piece * PIECE_BYTES), Exchange()
    with pytest.raises(StorageFailed) as failed:
        asyncio.run(response_of(spy)(scope_of("GET", {}), exchange.receive, exchange.send))
    assert isinstance(failed.value.__cause__, OSError)
    assert all(message["more_body"] for message in exchange.messages[1:])
    assert spy.closes == 1


def test_a_file_cut_short_while_it_is_sent_is_a_failure(local: LocalStore) -> None:
    source = blob_source(local, CONTENT)
    assert source.path is not None
    os.truncate(source.path, len(CONTENT) - 1)
    with pytest.raises(StorageFailed, match="another number of bytes"):
        ask(source)


@pytest.mark.parametrize("by", [-1, 1])
def test_a_file_of_another_length_than_was_recorded_is_not_sent(local: LocalStore, by: int) -> None:
    key, before = put(local, CONTENT), open_files()
    blob = local.open(key)
    assert blob is not None
    with pytest.raises(StorageFailed, match="another number of bytes"):
        BlobSource(blob, len(CONTENT) + by, ETAG)
    of_another_length = ArchiveFile("a", len(CONTENT) + by, f"sha256:{key[:64]}", key)
    with pytest.raises(StorageFailed, match="another number of bytes"):
        ask(ArchiveSource(plan_archive([of_another_length]), local), {"Range": "bytes=0-600"})
    assert open_files() == before


def test_an_archive_whose_file_is_missing_is_a_failure(local: LocalStore) -> None:
    before = open_files()
    source = archive_source(local, {"a": CONTENT, "b": SMALL})
    local.delete(hashlib.sha256(SMALL).hexdigest() + ".00000000")
    with pytest.raises(StorageFailed, match="does not have"):
        ask(source)
    assert open_files() == before
