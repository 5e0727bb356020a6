"""Everything that a store has to do for the registry, done once with bytes of its own, which are gone afterwards."""

import base64
import hashlib
import secrets
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import NoReturn
from uuid import uuid4

import urllib3

from steelyard.server.core import blobs
from steelyard.server.errors import StorageFailed
from steelyard.server.names import Oid
from steelyard.server.storage import BlobStore, DirectTransfers, PartLink

_SMALL_BYTES = 64 * 1024
_TTL_SECONDS = 300
_ANSWER_SECONDS = 10.0


@dataclass(slots=True)
class Rehearsal:
    """Uploads to a store as clients and the registry do. `seconds` has how long each step took, in their order."""

    store: BlobStore
    seconds: dict[str, float] = field(default_factory=dict)
    clock_seconds: float | None = None
    """How far the store's clock is ahead of this machine's, once it has answered a link."""
    _ids: list[str] = field(default_factory=list)
    _keys: list[str] = field(default_factory=list)

    def small(self) -> str:
        """Bytes that come through the registry; answers their key."""
        upload_id, content = self._new_id(), secrets.token_bytes(_SMALL_BYTES)
        with self._timed("write"), self.store.stage(upload_id, 0) as writer:
            writer.write([content])
        return self._end(upload_id, content)

    def staged_parts(self, part_bytes: int) -> str:
        """Bytes that come through the registry in two parts."""
        upload_id, content = self._new_id(), secrets.token_bytes(part_bytes + 1)
        for offset in (0, part_bytes):
            with self._timed("write a part"), self.store.stage(upload_id, offset) as writer:
                writer.write([content[offset : offset + part_bytes]])
        return self._end(upload_id, content)

    def linked_parts(self, direct: DirectTransfers, part_bytes: int) -> str:
        """Bytes that clients send to the store by links, in two parts with their checksums."""
        upload_id, content = self._new_id(), secrets.token_bytes(part_bytes + 1)
        with self._timed("begin parts"):
            handle = direct.begin(upload_id, checksums=True)
        for number in (1, 2):
            part = content[(number - 1) * part_bytes : number * part_bytes]
            with self._timed("put a part"):
                self._put(_link(direct, upload_id, handle, number, part), part)
        if dict(direct.list_parts(upload_id, handle)) != {1: part_bytes, 2: 1}:
            raise StorageFailed("The store does not show the parts that it was sent.")
        with self._timed("join parts"):
            direct.join(upload_id, handle)
        return self._end(upload_id, content)

    def follow_link(self, direct: DirectTransfers, key: str) -> None:
        """A download by link: part of a blob."""
        link = direct.link_blob(key, ttl_seconds=_TTL_SECONDS, content_type="text/plain", content_disposition="inline")
        with self._timed("get by link"):
            content = self._ask("GET", link, {"Range": "bytes=1-4"})
        with self.store.open(key) or _lost() as blob:
            if content != blob.read(1, 4):
                raise StorageFailed("A link leads to other bytes than those that were asked for.")

    def clean_up(self) -> None:
        """Take everything back, also after a failure."""
        for upload_id in self._ids:
            self.store.discard(upload_id)
        for key in self._keys:
            with self._timed("delete"):
                self.store.delete(key)
            if self.store.open(key) is not None:
                raise StorageFailed(f"The store does not delete: {key} is still there. Delete it by hand.")

    def _new_id(self) -> str:
        self._ids.append(uuid4().hex)
        return self._ids[-1]

    def _end(self, upload_id: str, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        with self._timed("prove"):
            proof = self.store.prove(upload_id)
        if (proof.sha256_hex, proof.size_bytes) != (digest, len(content)):
            raise StorageFailed("The store gives back other bytes than those it was sent.")
        key = blobs.new_key(Oid(f"sha256:{digest}"))
        self._keys.append(key)
        with self._timed("commit"):
            self.store.commit(upload_id, key)
        with self._timed("open"):
            blob = self.store.open(key) or _lost()
        with blob, self._timed("read a range"):
            if blob.read(len(content) - 9, 5) != content[-9:-4]:
                raise StorageFailed("The store reads other bytes than those at the place that was asked for.")
        return key

    def _put(self, link: PartLink, part: bytes) -> None:
        self._ask("PUT", link.url, link.headers, part)

    def _ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> bytes:
        answer = ask(method, url, headers, body)
        if answer.status not in (200, 206):
            raise StorageFailed(f"A link to the store was answered with {answer.status}: {answer.data[:300]!r}.")
        self.clock_seconds = clock_of(answer)
        return answer.data

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.seconds.setdefault(what, time.monotonic() - began)


def _link(direct: DirectTransfers, upload_id: str, handle: str, number: int, part: bytes) -> PartLink:
    """A link bound to this part's checksum."""
    crc32 = base64.b64encode(zlib.crc32(part).to_bytes(4, "big")).decode()
    return direct.link_part(upload_id, handle, number, size_bytes=len(part), ttl_seconds=_TTL_SECONDS, crc32=crc32)


def ask(method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> urllib3.BaseHTTPResponse:
    """What an address answers, as a client on this machine gets it. Raises `StorageFailed` where nobody does."""
    timeout = urllib3.Timeout(_ANSWER_SECONDS)
    try:
        with urllib3.PoolManager() as pool:
            return pool.request(method, url, body=body, headers=headers, timeout=timeout, retries=False)
    except urllib3.exceptions.HTTPError as error:  # its words name the host, and neither path nor query
        raise StorageFailed(f"The store's address does not answer from here: {error}.") from None


def clock_of(answer: urllib3.BaseHTTPResponse) -> float | None:
    """How far the clock of whoever answered is ahead of this machine's."""
    date = answer.headers.get("Date")
    return parsedate_to_datetime(date).timestamp() + 0.5 - time.time() if date else None  # it tells whole seconds


def _lost() -> NoReturn:
    raise StorageFailed("The store has lost what it had just kept.")
