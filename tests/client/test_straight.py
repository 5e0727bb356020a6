"""A registry that sends the client to its store: bytes go there without the token, and a bad store ends in words."""

import base64
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from steelyard.client import Client
from steelyard.client.errors import (
    BadRequest,
    ConnectionFailed,
    FileChanged,
    Forbidden,
    NotFound,
    ServerFailed,
    UnexpectedAnswer,
)
from tests.client.conftest import MakeFolder
from tests.client.fakes import FakeRegistry, Reply, Seen, json_reply, oid_of, serve_bytes

ROUTE = "/api/v1/org/acme/models/tiny"
WEIGHTS = b"0123456789"
DETAIL = {"id": "1", "name": "acme/tiny", "version": "1.0.0", "created_at": "t"}


@pytest.fixture
def store() -> Iterator[FakeRegistry]:
    """Somebody else's server."""
    with FakeRegistry() as running:
        yield running


@pytest.fixture
def client(fake: FakeRegistry, tmp_path: Path) -> Iterator[Client]:
    with Client(fake.url, "the-token", timeout_seconds=2, threads=1, cache_dir=tmp_path / "cache") as made:
        yield made


def store_error(status: int, code: str, message: str = "as it says") -> Reply:
    """What an S3 store answers."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Reply(status, body.encode(), {"Content-Type": "application/xml"})


def offer_parts(fake: FakeRegistry, store: FakeRegistry, *, done: tuple[int, ...] = ()) -> dict[int, bytes]:
    """A registry that wants three parts of four bytes, straight at the store; answers what arrives there by part."""
    urls = {str(number): f"{fake.url}/part/{number}?ticket=t" for number in (1, 2, 3)}
    upload = {"href": f"{fake.url}/done", "header": {"chunk_size": "4", "part_checksums": "crc32", **urls}}
    item = {"oid": oid_of(WEIGHTS), "size": 10, "parts_done": list(done), "actions": {"upload": upload}}
    fake.on("POST", f"{ROUTE}/blobs/batch", json_reply({"objects": [item]}))
    fake.on("POST", f"{ROUTE}/versions", json_reply(DETAIL, 201))
    fake.on("POST", "/done", json_reply({"oid": oid_of(WEIGHTS), "size": 10}))
    arrived: dict[int, bytes] = {}

    def keep(seen: Seen) -> Reply:
        arrived[int(seen.path.rpartition("/")[2])] = seen.body
        return Reply(200)

    for number in (1, 2, 3):
        link = {"href": f"{store.url}/staged/{number}?signature=s", "header": {"x-amz-checksum-crc32": "c"}}
        fake.on("POST", f"/part/{number}", json_reply(link))
        store.on("PUT", f"/staged/{number}", keep)
    return arrived


def push(client: Client, make_folder: MakeFolder) -> bool:
    return client.push(make_folder({"w.bin": WEIGHTS}), "acme/tiny:1.0.0", use_git=False).created


def test_a_part_goes_to_the_store_with_its_checksum_and_without_the_token(
    fake: FakeRegistry, store: FakeRegistry, client: Client, make_folder: MakeFolder
) -> None:
    arrived = offer_parts(fake, store, done=(2,))
    assert push(client, make_folder)
    assert arrived == {1: b"0123", 3: b"89"}
    [asked] = fake.asked("POST", "/part/3")
    checksum = base64.b64encode(zlib.crc32(b"89").to_bytes(4, "big")).decode()
    assert asked.body == b'{"crc32": "%s"}' % checksum.encode()
    assert all(seen.headers["Authorization"] is None for seen in store.seen)
    assert all(seen.headers["x-amz-checksum-crc32"] == "c" for seen in store.seen)
    assert b'"part_checksums": "crc32"' in fake.asked("POST", f"{ROUTE}/blobs/batch")[0].body


@pytest.mark.parametrize(
    "refused",
    [store_error(403, "AccessDenied", "Request has expired"), store_error(404, "NoSuchUpload"),
     store_error(400, "BadDigest"), store_error(500, "InternalError"), store_error(503, "SlowDown")],
    ids=["expired", "lost", "damaged on its way", "failed", "busy"],
)  # fmt: skip
def test_what_may_pass_is_tried_again_with_a_new_link(
    fake: FakeRegistry, store: FakeRegistry, client: Client, make_folder: MakeFolder, refused: Reply
) -> None:
    arrived = offer_parts(fake, store, done=(1, 3))
    taken = [refused, Reply(200)]

    def answer(seen: Seen) -> Reply:
        reply = taken.pop(0)
        if reply.status == 200:
            arrived[2] = seen.body
        return reply

    store.on("PUT", "/staged/2", answer)
    assert push(client, make_folder)
    assert arrived == {2: b"4567"}
    assert len(fake.asked("POST", "/part/2")) == 2


@pytest.mark.parametrize(
    ("refused", "kind"),
    [
        (store_error(403, "SignatureDoesNotMatch", "The keys &amp; all\x1b[2J"), Forbidden),
        (store_error(400, "BadDigest", "no match"), BadRequest),
        (store_error(501, "NotImplemented", "no such thing"), ServerFailed),
    ],
    ids=["signature", "digest", "unable"],
)
def test_a_store_that_goes_on_refusing_is_quoted(
    fake: FakeRegistry, store: FakeRegistry, client: Client, make_folder: MakeFolder, refused: Reply, kind: type
) -> None:
    offer_parts(fake, store, done=(1, 3))
    store.on("PUT", "/staged/2", refused)
    with pytest.raises(kind) as raised:
        push(client, make_folder)
    assert f"the store of bytes answered {refused.status} to PUT {store.url}/staged/2: " in str(raised.value)
    assert "signature=s" not in str(raised.value)


def test_a_file_that_changes_after_its_checksum_is_named(
    fake: FakeRegistry, store: FakeRegistry, client: Client, make_folder: MakeFolder
) -> None:
    offer_parts(fake, store)
    folder = make_folder({"w.bin": WEIGHTS})

    def change(_: Seen) -> Reply:
        (folder / "w.bin").write_bytes(b"0123456780")
        return store_error(400, "BadDigest")

    store.on("PUT", "/staged/1", change)
    with pytest.raises(FileChanged, match=r"w\.bin changed"):
        client.push(folder, "acme/tiny:1.0.0", use_git=False)


@pytest.mark.parametrize("link", [{}, {"href": 1, "header": {}}, {"href": "file:///etc/passwd", "header": {}}, []])
def test_a_link_that_is_none_is_not_followed(
    fake: FakeRegistry, store: FakeRegistry, client: Client, make_folder: MakeFolder, link: object
) -> None:
    offer_parts(fake, store)
    fake.on("POST", "/part/1", json_reply(link))
    with pytest.raises(UnexpectedAnswer):
        push(client, make_folder)


def test_an_endless_error_of_the_store_is_not_read(
    fake: FakeRegistry, store: FakeRegistry, client: Client, make_folder: MakeFolder
) -> None:
    offer_parts(fake, store)
    store.on("PUT", "/staged/1", Reply(418, b"<Error><Code>" * 300_000))
    with pytest.raises(BadRequest, match="answered 418"):
        push(client, make_folder)


# --- downloads


def publish(fake: FakeRegistry, store: FakeRegistry, data: bytes) -> str:
    """A version whose one file is at the store; answers the path of its address here."""
    route = fake.offer("acme/tiny", {"w.bin": data})
    path = f"{route}/1.0.0/files/w.bin"
    fake.on("GET", path, Reply(302, b"", {"Location": f"{store.url}/blob?signature=s"}))
    store.on("GET", "/blob", serve_bytes(data))
    return path


def test_a_broken_download_goes_on_at_the_store(
    fake: FakeRegistry, store: FakeRegistry, client: Client, tmp_path: Path
) -> None:
    data = bytes(range(256)) * 4096
    path = publish(fake, store, data)
    store.on("GET", "/blob", serve_bytes(data, cut_after=400_000))
    client.pull("acme/tiny", tmp_path / "pulled")
    assert (tmp_path / "pulled/w.bin").read_bytes() == data
    assert len(store.asked("GET", "/blob")) == 3
    assert len(fake.asked("GET", path)) == 1, "the registry is asked once"
    assert all(seen.headers["Authorization"] is None for seen in store.seen)


@pytest.mark.parametrize("refused", [403, 404, 500, 503])
def test_a_link_that_is_no_longer_honoured_is_asked_for_again(
    fake: FakeRegistry, store: FakeRegistry, client: Client, tmp_path: Path, refused: int
) -> None:
    data = bytes(range(256)) * 4096
    path = publish(fake, store, data)
    whole, broken = serve_bytes(data), serve_bytes(data, cut_after=400_000)
    answers = [broken, lambda _: store_error(refused, "AccessDenied"), whole]

    def answer(seen: Seen) -> Reply:
        return answers.pop(0)(seen)

    store.on("GET", "/blob", answer)
    client.pull("acme/tiny", tmp_path / "pulled")
    assert (tmp_path / "pulled/w.bin").read_bytes() == data
    assert len(fake.asked("GET", path)) == 2


def test_a_store_that_lost_the_bytes_is_quoted(
    fake: FakeRegistry, store: FakeRegistry, client: Client, tmp_path: Path
) -> None:
    publish(fake, store, WEIGHTS)
    store.on("GET", "/blob", store_error(404, "NoSuchKey", "The specified key does not exist."))
    with pytest.raises(NotFound, match=r"answered 404 to GET .*NoSuchKey: The specified key does not exist"):
        client.pull("acme/tiny", tmp_path / "pulled")


@pytest.mark.thorough
def test_a_store_that_nobody_can_reach_is_named(fake: FakeRegistry, client: Client, tmp_path: Path) -> None:
    with FakeRegistry() as gone:
        pass
    publish(fake, gone, WEIGHTS)
    with pytest.raises(ConnectionFailed, match=gone.url):
        client.pull("acme/tiny", tmp_path / "pulled")
