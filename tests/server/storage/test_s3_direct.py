"""Clients and the store exchange bytes by links: what such a link can do, and that it can do nothing else."""

import base64
import os
import time
import zlib
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3

from steelyard.server.errors import NotFound
from steelyard.server.storage import PartLink
from steelyard.server.storage.s3 import Place, S3Store, read_url
from steelyard.server.storage.s3.direct import S3Direct
from tests.house.seaweed import Seaweed
from tests.server.storage.conftest import SMALL_COPIES, Behind, OpenStore
from tests.server.storage.contract import CONTENT, KEY, UPLOAD, content_of, new_upload_id, proof_of, put

PART_BYTES = 5 * 2**20
PARTS = [os.urandom(PART_BYTES), os.urandom(PART_BYTES), b"the rest"]
DISPOSITION = "attachment; filename=\"a b.bin\"; filename*=UTF-8''a%20b.bin"


@pytest.fixture
def store(open_s3: OpenStore) -> S3Store:
    return open_s3()


@pytest.fixture
def direct(store: S3Store) -> S3Direct:
    assert store.direct is not None
    return store.direct


def send(
    method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """What the store answers to anybody who has the link."""
    answer = urllib3.request(method, url, body=body, headers=headers, retries=False)
    return answer.status, answer.data


def crc32_of(content: bytes) -> str:
    return base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()


def link(direct: S3Direct, handle: str, number: int, content: bytes, *, bound: bool = False) -> PartLink:
    crc32 = crc32_of(content) if bound else None
    size = len(content)
    return direct.link_part(UPLOAD, handle, number, size_bytes=size, ttl_seconds=60, crc32=crc32)


def send_parts(direct: S3Direct, handle: str, parts: list[bytes], *, bound: bool = False) -> None:
    for number, content in enumerate(parts, 1):
        made = link(direct, handle, number, content, bound=bound)
        status, body = send("PUT", made.url, content, made.headers)
        assert status == 200, body


def link_to(direct: S3Direct, key: str = KEY, ttl_seconds: int = 60, span: str | None = None) -> str:
    return direct.link_blob(
        key, ttl_seconds=ttl_seconds, content_type="application/x-ours", content_disposition=DISPOSITION, span=span
    )


# Up


@pytest.mark.parametrize("bound", [False, True])
def test_parts_sent_to_the_store_become_a_blob(store: S3Store, direct: S3Direct, bound: bool) -> None:
    handle = direct.begin(UPLOAD, checksums=bound)
    assert direct.list_parts(UPLOAD, handle) == {}
    send_parts(direct, handle, PARTS, bound=bound)
    assert direct.list_parts(UPLOAD, handle) == {1: PART_BYTES, 2: PART_BYTES, 3: 8}
    direct.join(UPLOAD, handle)
    assert store.prove(UPLOAD) == proof_of(b"".join(PARTS))
    store.commit(UPLOAD, KEY)
    assert content_of(store) == b"".join(PARTS)
    assert [held.kind for held in store.scan()] == ["blob"]


def test_a_large_direct_upload_is_copied_in_parts(open_s3: OpenStore) -> None:
    store = open_s3(limits=SMALL_COPIES)
    assert store.direct is not None
    handle = store.direct.begin(UPLOAD, checksums=True)
    send_parts(store.direct, handle, PARTS, bound=True)
    store.direct.join(UPLOAD, handle)
    store.commit(UPLOAD, KEY)
    assert content_of(store) == b"".join(PARTS)


def test_another_server_goes_on_with_a_direct_upload(open_s3: OpenStore, direct: S3Direct) -> None:
    handle = direct.begin(UPLOAD, checksums=False)
    send_parts(direct, handle, PARTS[:1])
    other = open_s3()
    assert other.direct is not None
    assert other.direct.list_parts(UPLOAD, handle) == {1: PART_BYTES}
    made = link(other.direct, handle, 2, b"end")
    assert send("PUT", made.url, b"end", made.headers)[0] == 200
    other.direct.join(UPLOAD, handle)
    assert other.prove(UPLOAD) == proof_of(PARTS[0] + b"end")


def test_joining_may_be_repeated(open_s3: OpenStore, store: S3Store, direct: S3Direct) -> None:
    handle = direct.begin(UPLOAD, checksums=True)
    send_parts(direct, handle, PARTS, bound=True)
    other = open_s3().direct
    assert other is not None
    for each in (direct, direct, other):
        each.join(UPLOAD, handle)
    assert store.prove(UPLOAD) == proof_of(b"".join(PARTS))


def test_a_part_sent_again_counts_once(store: S3Store, direct: S3Direct) -> None:
    handle = direct.begin(UPLOAD, checksums=False)
    send_parts(direct, handle, PARTS)
    send_parts(direct, handle, PARTS)
    assert direct.list_parts(UPLOAD, handle) == {1: PART_BYTES, 2: PART_BYTES, 3: 8}
    direct.join(UPLOAD, handle)
    assert store.prove(UPLOAD) == proof_of(b"".join(PARTS))


def test_no_link_writes_after_the_parts_were_joined(store: S3Store, direct: S3Direct) -> None:
    handle = direct.begin(UPLOAD, checksums=False)
    send_parts(direct, handle, PARTS)
    other = os.urandom(PART_BYTES)
    late = link(direct, handle, 1, other)
    direct.join(UPLOAD, handle)
    assert send("PUT", late.url, other)[0] == 404
    assert store.prove(UPLOAD) == proof_of(b"".join(PARTS))
    assert send("PUT", late.url, other)[0] == 404
    store.commit(UPLOAD, KEY)
    assert send("PUT", late.url, other)[0] == 404
    assert content_of(store) == b"".join(PARTS)
    assert [held.kind for held in store.scan()] == ["blob"]


def test_an_upload_that_was_discarded_takes_no_more_parts(store: S3Store, direct: S3Direct, behind: Behind) -> None:
    handle = direct.begin(UPLOAD, checksums=False)
    send_parts(direct, handle, PARTS[:1])
    assert [(held.kind, held.name) for held in store.scan()] == [("stage", UPLOAD)]
    late = link(direct, handle, 2, b"more")
    store.discard(UPLOAD)
    assert send("PUT", late.url, b"more")[0] == 404
    assert (behind.names(), behind.unfinished()) == ([], [])
    for gone in (lambda: direct.list_parts(UPLOAD, handle), lambda: direct.join(UPLOAD, handle)):
        with pytest.raises(NotFound, match="Begin it again"):
            gone()


# What a link is bound to. SeaweedFS honours all of it; a store that did not would be found out by the proof.


def test_a_link_takes_its_own_number_of_bytes(direct: S3Direct) -> None:
    handle = direct.begin(UPLOAD, checksums=False)
    made = link(direct, handle, 1, b"12345")
    assert send("PUT", made.url, b"123456")[0] == 403
    assert send("PUT", made.url, b"1234")[0] == 403
    assert direct.list_parts(UPLOAD, handle) == {}


def test_a_link_bound_to_a_checksum_takes_no_other_bytes(direct: S3Direct) -> None:
    handle = direct.begin(UPLOAD, checksums=True)
    made = link(direct, handle, 1, b"right", bound=True)
    status, body = send("PUT", made.url, b"wrong", made.headers)
    assert (status, b"BadDigest" in body) == (400, True)
    assert send("PUT", made.url, b"wrong", {"x-amz-checksum-crc32": crc32_of(b"wrong")})[0] == 403
    assert send("PUT", made.url, b"right")[0] == 403
    assert direct.list_parts(UPLOAD, handle) == {}
    assert send("PUT", made.url, b"right", made.headers)[0] == 200


def test_a_link_writes_its_own_part_of_its_own_upload_and_reads_nothing(direct: S3Direct) -> None:
    handle, other = direct.begin(UPLOAD, checksums=False), new_upload_id()
    direct.begin(other, checksums=False)
    url = link(direct, handle, 1, b"12345").url
    for forged in (
        url.replace("partNumber=1", "partNumber=2"),
        url.replace(UPLOAD, other),
        url.replace("staged/", "blobs/"),
        url.replace(f"uploadId={handle}", "uploadId="),
        url.replace("uploadId", "uploadid"),
    ):
        assert forged != url
        assert send("PUT", forged, b"12345")[0] == 403
    assert send("GET", url)[0] == 403
    assert send("DELETE", url)[0] == 403
    assert direct.list_parts(UPLOAD, handle) == {}


def test_a_link_ends(store: S3Store, direct: S3Direct) -> None:
    put(store, CONTENT)
    handle = direct.begin(UPLOAD, checksums=False)
    part = direct.link_part(UPLOAD, handle, 1, size_bytes=2, ttl_seconds=1)
    blob = link_to(direct, ttl_seconds=1)
    time.sleep(2.1)  # the store counts whole seconds
    assert send("PUT", part.url, b"no")[0] == 403
    assert send("GET", blob)[0] == 403


def test_no_link_is_signed_for_longer_than_stores_take(direct: S3Direct) -> None:
    assert parse_qs(urlsplit(link_to(direct, ttl_seconds=10**9)).query)["X-Amz-Expires"] == [str(7 * 86400)]


# Down


def test_a_blob_is_fetched_by_a_link_whole_or_by_range(store: S3Store, direct: S3Direct) -> None:
    url = link_to(direct, put(store, CONTENT))
    whole = urllib3.request("GET", url)
    assert whole.data == CONTENT
    assert whole.headers["content-type"] == "application/x-ours"
    assert whole.headers["content-disposition"] == DISPOSITION
    some = urllib3.request("GET", url, headers={"Range": "bytes=1000-1009"})
    assert (some.status, some.data) == (206, CONTENT[1000:1010])
    assert some.headers["content-range"] == f"bytes 1000-1009/{len(CONTENT)}"


def test_a_link_to_a_span_of_a_blob_opens_just_that(store: S3Store, direct: S3Direct) -> None:
    url = link_to(direct, put(store, CONTENT), span="bytes=1000-1009")
    assert send("GET", url, headers={"Range": "bytes=1000-1009"}) == (206, CONTENT[1000:1010])
    for other in ({}, {"Range": "bytes=1000-1010"}, {"Range": "bytes=0-"}):
        assert send("GET", url, headers=other)[0] == 403, other


def test_a_link_to_one_blob_opens_no_other_and_changes_nothing(store: S3Store, direct: S3Direct) -> None:
    other = put(store, b"secret", KEY[:64] + ".deadbeef")
    url = link_to(direct, put(store, CONTENT))
    assert send("GET", url.replace(KEY, other))[0] == 403
    assert send("GET", url.replace("x-ours", "x-theirs"))[0] == 403
    assert send("PUT", url, b"other")[0] == 403
    assert send("DELETE", url)[0] == 403
    assert content_of(store) == CONTENT


def test_links_are_signed_for_the_address_that_clients_use(weed: Seaweed, url: str) -> None:
    bucket, prefix = read_url(url)
    public = weed.endpoint.replace("127.0.0.1", "localhost")
    store = S3Store(Place(bucket, weed.endpoint, public), prefix)
    assert store.direct is not None
    made = link_to(store.direct, put(store, CONTENT))
    assert made.startswith(f"{public}/{bucket}/{prefix}/")
    assert send("GET", made) == (200, CONTENT)
    assert send("GET", made.replace("localhost", "127.0.0.1"))[0] == 403


def test_a_store_that_clients_cannot_reach_gives_no_links(open_s3: OpenStore) -> None:
    assert open_s3(direct=False).direct is None
