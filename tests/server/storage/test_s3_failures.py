"""What a bucket that fails is reported as: plain words, in time, and nothing of paths, links or secrets in them."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from steelyard.server.app import open_store
from steelyard.server.errors import RegistryError, StorageFailed, StorageTimeout
from steelyard.server.settings import Settings
from steelyard.server.storage.s3 import Place, S3Store, read_url
from tests.house.seaweed import Seaweed
from tests.house.servers import free_port
from tests.server.storage.conftest import OpenStore
from tests.server.storage.contract import CONTENT, KEY, UPLOAD, opened, put

pytestmark = pytest.mark.usefixtures("weed")  # its credentials are for all of them

TIMEOUT_SECONDS = 1.5


def join(store: S3Store) -> None:
    assert store.direct is not None
    store.direct.join(UPLOAD, "handle")


CALLS: list[Callable[[S3Store], object]] = [
    lambda store: store.stage(UPLOAD, 0),
    lambda store: store.prove(UPLOAD),
    lambda store: store.commit(UPLOAD, KEY),
    lambda store: store.discard(UPLOAD),
    lambda store: store.open(KEY),
    lambda store: store.delete(KEY),
    lambda store: store.set_aside(KEY),
    lambda store: list(store.scan()),
    lambda store: store.free_bytes(),
    lambda store: store.direct and store.direct.begin(UPLOAD, checksums=True),
    lambda store: store.direct and store.direct.list_parts(UPLOAD, "handle"),
    join,
]


def store_at(endpoint: str, bucket: str = "steelyard") -> S3Store:
    return S3Store(Place(bucket, endpoint, timeout_seconds=TIMEOUT_SECONDS), "prefix")


def assert_plain(failure: RegistryError, *words: str) -> None:
    for word in words:
        assert word in failure.detail
    for secret in ("/", "Signature", "Credential", "127.0.0.1", "prefix", KEY, UPLOAD, "Errno"):
        assert secret not in failure.detail.replace("docs/operations.md", "")


@pytest.fixture
def silence() -> Iterator[str]:
    """An endpoint that takes connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=64)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def answering() -> Iterator[Callable[..., str]]:
    """An endpoint that answers each connection with the next of these, and with the last for ever."""
    made: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(*answers: bytes) -> str:
        listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        made.append(listening)
        threads.append(threading.Thread(target=_answer, args=(listening, list(answers)), daemon=True))
        threads[-1].start()
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield start
    for listening in made:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
    for thread in threads:
        thread.join(5)


def _answer(listening: socket.socket, answers: list[bytes]) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(5)
            connection.recv(65536)
            connection.sendall(answers.pop(0) if len(answers) > 1 else answers[0])


def http(status: str, body: bytes = b"", *headers: str) -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""])
    return head.encode() + body


def refusal(status: str, code: str) -> bytes:
    message = f"<Message>of /bucket/key, Signature=abc</Message><Resource>/{KEY}</Resource>"
    return http(status, f"<?xml version='1.0'?><Error><Code>{code}</Code>{message}</Error>".encode())


LISTED = http("200 OK", b"<ListBucketResult><Name>steelyard</Name><IsTruncated>false</IsTruncated></ListBucketResult>")


# Causes made for real


@pytest.mark.parametrize("call", CALLS)
def test_an_endpoint_that_refuses_connections_is_named_so(call: Callable[[S3Store], object]) -> None:
    with pytest.raises(StorageFailed) as failure:
        call(store_at(f"http://127.0.0.1:{free_port()}"))
    assert_plain(failure.value, "cannot be reached")


@pytest.mark.parametrize("call", CALLS)
def test_a_silent_endpoint_is_given_up_in_time(silence: str, call: Callable[[S3Store], object]) -> None:
    store = store_at(silence)
    started = time.monotonic()
    with pytest.raises(StorageTimeout) as failure:
        call(store)
    assert 0.5 < time.monotonic() - started < TIMEOUT_SECONDS + 1.5
    assert_plain(failure.value, "did not answer in time", "Try again")


def test_a_store_that_falls_silent_is_given_up_by_who_writes_and_reads(open_s3: OpenStore, silence: str) -> None:
    store, quiet = open_s3(), store_at(silence)._bucket
    put(store, CONTENT)
    reader, small, large = opened(store), store.stage(UPLOAD, 0), store.stage(UPLOAD, 0)
    small.write([CONTENT])
    large.write([CONTENT * 3])
    reader._bucket = small._bucket = large._bucket = quiet  # type: ignore[attr-defined]
    for call in (small.close, large.close, lambda: reader.read(0, 10)):
        started = time.monotonic()
        with pytest.raises(StorageTimeout):
            call()
        assert time.monotonic() - started < TIMEOUT_SECONDS + 1
    store.discard(UPLOAD)


def test_a_wrong_secret_is_named_so(weed: Seaweed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another secret")
    with pytest.raises(StorageFailed) as failure:
        store_at(weed.endpoint).free_bytes()
    assert_plain(failure.value, "AWS_SECRET_ACCESS_KEY is wrong")


def test_an_unknown_access_key_is_named_so(weed: Seaweed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody-else")
    with pytest.raises(StorageFailed) as failure:
        store_at(weed.endpoint).free_bytes()
    assert_plain(failure.value, "does not know the access key")


def test_missing_credentials_are_named_so(weed: Seaweed, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(StorageFailed) as failure:
        store_at(weed.endpoint).free_bytes()
    assert_plain(failure.value, "no credentials were found")


@pytest.mark.parametrize("call", CALLS)
def test_a_bucket_that_is_not_there_is_named_so(weed: Seaweed, call: Callable[[S3Store], object]) -> None:
    store = store_at(weed.endpoint, "no-such-bucket")
    if call is CALLS[0]:
        with pytest.raises(StorageFailed) as failure, store.stage(UPLOAD, 0):
            pass
    else:
        with pytest.raises(StorageFailed) as failure:
            call(store)
    assert_plain(failure.value, "there is no such bucket")


def test_a_body_that_breaks_off_is_asked_for_again(answering: Callable[..., str]) -> None:
    head = http("200 OK", b"", 'ETag: "e"', "Last-Modified: Mon, 23 Nov 2026 09:00:00 GMT").replace(b": 0", b": 10")
    some = head.replace(b"200 OK", b"206 Partial Content")
    store = store_at(answering(head, some + b"half", some + b"0123456789"))
    with opened(store) as blob:
        assert blob.read(0, 10) == b"0123456789"
    store = store_at(answering(head, some + b"half"))
    with opened(store) as blob, pytest.raises(StorageFailed) as failure:
        blob.read(0, 10)
    assert_plain(failure.value, "the connection broke")


# What a store may answer


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        ("403 Forbidden", "AccessDenied", "access denied"),
        ("403 Forbidden", "RequestTimeTooSkewed", "clock"),
        ("400 Bad Request", "ExpiredToken", "have expired"),
        ("301 Moved", "PermanentRedirect", "another region"),
        ("302 Found", "", "another address"),
        ("507 Insufficient Storage", "XMinioStorageFull", "full"),
        ("501 Not Implemented", "NotImplemented", "cannot do"),
        ("400 Bad Request", "Something/Odd Signature=", "refused with SomethingOdd"),
        ("418 Teapot", "", "refused with 418"),
    ],
)
def test_a_refusal_is_put_into_words(
    answering: Callable[..., str], caplog: pytest.LogCaptureFixture, status: str, code: str, words: str
) -> None:
    with pytest.raises(StorageFailed) as failure:
        store_at(answering(refusal(status, code) if code else http(status))).free_bytes()
    assert words in failure.value.detail
    assert "/bucket" not in failure.value.detail
    [logged] = caplog.messages
    assert logged.startswith(f"{failure.value.detail} The library said: {status.partition(' ')[0]} ")
    assert "/bucket" not in logged


@pytest.mark.parametrize("code", ["SlowDown", "InternalError", "ServiceUnavailable"])
def test_a_store_that_is_busy_is_asked_again(answering: Callable[..., str], code: str) -> None:
    busy = refusal("503 Slow Down", code)
    store_at(answering(busy, busy, LISTED)).free_bytes()


def test_a_store_that_stays_busy_is_given_up_in_time(answering: Callable[..., str]) -> None:
    store = store_at(answering(refusal("503 Slow Down", "SlowDown")))
    started = time.monotonic()
    with pytest.raises(StorageFailed, match="fewer requests"):
        store.free_bytes()
    assert 0.2 < time.monotonic() - started < TIMEOUT_SECONDS + 1.5


def test_a_gateway_that_waits_in_vain_is_a_timeout(answering: Callable[..., str]) -> None:
    with pytest.raises(StorageTimeout):
        store_at(answering(http("504 Gateway Timeout"))).free_bytes()


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9\r\n", http("200 OK", b"<html>a login page</html>")])
def test_what_is_no_s3_store_at_all_is_a_failure_too(answering: Callable[..., str], answer: bytes) -> None:
    with pytest.raises(StorageFailed) as failure:
        store_at(answering(answer)).free_bytes()
    assert_plain(failure.value)


def test_a_store_that_works_is_asked_once_a_second_whether_it_does(weed: Seaweed, url: str) -> None:
    bucket, prefix = read_url(url)
    store = S3Store(Place(bucket, weed.endpoint), prefix)
    store.free_bytes()
    store._bucket = store_at(f"http://127.0.0.1:{free_port()}")._bucket
    store.free_bytes()
    time.sleep(1.05)
    with pytest.raises(StorageFailed):
        store.free_bytes()


def test_nothing_of_a_request_is_logged_at_any_level(weed: Seaweed) -> None:
    script = """
from steelyard.server.app import open_store
from steelyard.server.logs import configure_logging
from steelyard.server.settings import Settings
configure_logging(Settings())
store = open_store(Settings())
store.stage("ab" * 16, 0).close()
store.discard("ab" * 16)
"""
    environment = {**os.environ, **weed.environment(), "STEELYARD_LOG_LEVEL": "debug"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    for secret in ("Signature", weed.secret, "AWS4", "ab" * 16):
        assert secret not in done.stdout + done.stderr


# Opening


def settings(tmp_path: Path, **chosen: object) -> Settings:
    return Settings(data=tmp_path, **chosen)  # type: ignore[arg-type]


def test_a_registry_opens_its_bucket_from_its_settings(weed: Seaweed, tmp_path: Path) -> None:
    chosen: dict[str, object] = {**weed.settings()}
    assert open_store(settings(tmp_path, **chosen)).direct is not None
    assert open_store(settings(tmp_path, **chosen, store_direct=False)).direct is None


def test_a_registry_does_not_start_without_its_bucket(weed: Seaweed, tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="no such bucket"):
        open_store(settings(tmp_path, store="s3://no-such-bucket/x", s3_endpoint=weed.endpoint))


@pytest.mark.parametrize("url", ["s3://", "s3:///x", "s3:bucket", "s3://a/x", "s3://b_!/x", "https://bucket/x", "x"])
def test_a_url_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValueError, match="s3://bucket/prefix"):
        open_store(settings(tmp_path, store=url))


def test_an_endpoint_that_is_none_is_refused_without_repeating_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="endpoint") as failure:
        open_store(settings(tmp_path, store="s3://bucket", s3_endpoint="user:password@host"))
    assert "password" not in str(failure.value)


def test_a_missing_library_is_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("steelyard.server.storage.s3")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(ValueError, match=r"pip install 'steelyard\[server,s3\]'"):
        open_store(settings(tmp_path, store="s3://bucket/x"))


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("s3://bucket", ("bucket", "")),
        ("s3://bucket/", ("bucket", "")),
        ("s3://my.bucket-1/a/b/", ("my.bucket-1", "a/b")),
    ],
)
def test_a_url_names_bucket_and_prefix(url: str, found: tuple[str, str]) -> None:
    assert read_url(url) == found
