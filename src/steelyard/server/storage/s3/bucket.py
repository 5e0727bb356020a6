"""One bucket of an S3-compatible store, by boto3: the calls the registry makes, each within a bound of time.

Owns how the store is reached, what is tried again, and the wording of its refusals. Nothing of a request (a key, a
signature, a link) gets into what is raised; that stays behind, in `__cause__`.
"""

import contextlib
import functools
import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import Loader, create_loader

from steelyard.server.errors import StorageFailed, StorageTimeout
from steelyard.server.storage.s3.refusals import FAULTS, NO_STORE, Gone, Unmet, is_passing, refusal_of, told

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CopySourceTypeDef

T = TypeVar("T")
log = logging.getLogger(__name__)

MOST_LINK_SECONDS = 7 * 86400  # of a signature of version 4
_PAUSES_SECONDS = (0.1, 0.4, 1.6)  # before what failed in passing is tried again
_CONNECTIONS = 64
_WORK_SECONDS = 60.0  # beside the timeout, for a store that copies much, or joins many parts
_MUCH_WORK_BYTES = 8 * 2**20
_BYTES_OF_A_PART = 2**16  # joining a hundred parts and some is much work


@dataclass(frozen=True, slots=True)
class Place:
    """Where a store is and how long it may be silent. `endpoint` None is Amazon's own."""

    bucket: str
    endpoint: str | None = None
    public_endpoint: str | None = None
    timeout_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What the store says of one object; its ETag names exactly these bytes."""

    key: str
    size_bytes: int
    etag: str
    modified_at: float


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A multipart upload that was begun and not ended."""

    key: str
    handle: str
    begun_at: float


@dataclass(frozen=True, slots=True)
class SentPart:
    """One part of a multipart upload. `crc32` where the store keeps one and says so."""

    number: int
    etag: str
    size_bytes: int = 0
    crc32: str | None = None


class Bucket:
    """A bucket as this registry uses it. Callable from many threads at once.

    Every method raises `StorageFailed` or `StorageTimeout`; `Gone` and `Unmet`, which callers may expect, are kinds of
    the former.
    """

    def __init__(self, place: Place) -> None:
        self.name = place.bucket
        self._timeout_seconds = place.timeout_seconds
        core = botocore.session.Session()
        core.register_component("data_loader", _descriptions())
        session = boto3.Session(botocore_session=core)
        self._client = _client(session, place, place.endpoint)
        self._patient_client = _client(session, place, place.endpoint, work_seconds=_WORK_SECONDS)
        public = place.public_endpoint
        self._signer = _client(session, place, public) if public else self._client

    # --- objects

    def put(self, key: str, body: bytes | bytearray, *, only_new: bool = False) -> None:
        """Write an object; with `only_new`, raise `Unmet` where there is one."""
        params: Any = {"Bucket": self.name, "Key": key, "Body": body, **_condition(only_new)}
        self.ask("writing", lambda: self._client.put_object(**params))

    def find(self, key: str) -> StoredObject | None:
        """The object of that name, without its bytes."""
        try:
            found = self.ask("looking for an object", lambda: self._client.head_object(Bucket=self.name, Key=key))
        except Gone:
            return None
        return StoredObject(key, found["ContentLength"], found["ETag"], found["LastModified"].timestamp())

    def read(self, found: StoredObject, start: int, length: int) -> bytes:
        """Exactly these bytes of exactly this object. Raises `Gone` or `Unmet` where it is that no more."""
        return self.ask("reading", lambda: _whole(self.stream(found, start, length), length)) if length else b""

    def stream(self, found: StoredObject, start: int, length: int) -> Any:
        """The same as a body to be read and closed. What is raised here is the library's: for use inside `ask`."""
        asked = f"bytes={start}-{start + length - 1}"
        answer = self._client.get_object(Bucket=self.name, Key=found.key, Range=asked, IfMatch=found.etag)
        return answer["Body"]

    def copy(self, source: StoredObject, key: str) -> None:
        """Copy an object inside the store. Raises `Unmet` where `key` is taken, or `source` is another by now."""
        client = self._client_for(source.size_bytes)
        self.ask(
            "copying",
            lambda: client.copy_object(
                Bucket=self.name,
                Key=key,
                CopySource=self._source(source),
                CopySourceIfMatch=source.etag,
                IfNoneMatch="*",
            ),
        )

    def delete(self, key: str) -> None:
        """Remove an object. Idempotent."""
        with contextlib.suppress(Gone):
            self.ask("deleting", lambda: self._client.delete_object(Bucket=self.name, Key=key))

    def list(self, prefix: str, *, most: int = 1000) -> Iterator[StoredObject]:
        """All objects whose names begin so, in the order of their names; `most` in one answer of the store."""
        asked = {"Bucket": self.name, "Prefix": prefix, "MaxKeys": most}
        for page in self._pages("listing", self._client.list_objects_v2, asked, ["ContinuationToken"]):
            for each in page.get("Contents", ()):
                yield StoredObject(each["Key"], each["Size"], each["ETag"], each["LastModified"].timestamp())

    def check(self, prefix: str) -> None:
        """Raise unless the bucket is there and answers."""
        # Cheaper is only HEAD, and its refusals have no body that says why.
        asked = functools.partial(self._client.list_objects_v2, Bucket=self.name, Prefix=prefix, MaxKeys=1)
        if "Name" not in self.ask("asking for the bucket", asked):  # a page for people reads as an empty answer
            raise StorageFailed(NO_STORE)

    def clock_ahead_seconds(self) -> float:
        """How far the store's clock, by which it dates objects, is ahead of this machine's; zero where it says none."""
        asked = functools.partial(self._client.list_objects_v2, Bucket=self.name, MaxKeys=1)
        answer = self.ask("asking for the time", asked)["ResponseMetadata"]
        date = answer["HTTPHeaders"].get("date")
        return parsedate_to_datetime(date).timestamp() - time.time() if date else 0.0

    # --- objects in parts

    def begin(self, key: str, *, crc32: bool = False) -> str:
        """Begin a multipart upload; answers its handle. With `crc32`, every part is to bring one."""
        # Of the whole object: completing then needs no checksums of parts, which not every store can list.
        kinds: Any = {"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"} if crc32 else {}
        made = self.ask(
            "beginning an upload", lambda: self._client.create_multipart_upload(Bucket=self.name, Key=key, **kinds)
        )
        return made["UploadId"]

    def send_part(self, key: str, handle: str, number: int, body: bytes | bytearray) -> SentPart:
        params: Any = {**self._part(key, handle, number), "Body": body}
        sent = self.ask("writing a part", lambda: self._client.upload_part(**params))
        return SentPart(number, sent["ETag"])

    def copy_part(self, key: str, handle: str, number: int, source: StoredObject, start: int, length: int) -> SentPart:
        """Make a part of some bytes of another object, inside the store."""
        params: Any = {
            **self._part(key, handle, number),
            "CopySource": self._source(source),
            "CopySourceIfMatch": source.etag,
        }
        if length != source.size_bytes:  # of a small object a store copies no range, but the whole without a question
            params["CopySourceRange"] = f"bytes={start}-{start + length - 1}"
        client = self._client_for(length)
        made = self.ask("copying a part", lambda: client.upload_part_copy(**params))
        etag = made.get("CopyPartResult", {}).get("ETag")
        if not etag:  # a store that does not know this call takes it for a part without bytes
            raise StorageFailed("The store failed while copying a part: it cannot do what the registry needs of it.")
        return SentPart(number, etag)

    def _part(self, key: str, handle: str, number: int) -> dict[str, Any]:
        return {"Bucket": self.name, "Key": key, "UploadId": handle, "PartNumber": number}

    def list_parts(self, key: str, handle: str, *, most: int = 1000) -> Mapping[int, SentPart]:
        """The parts that arrived, by number; of one that came twice, the later. Raises `Gone`."""
        asked = {"Bucket": self.name, "Key": key, "UploadId": handle, "MaxParts": most}
        parts: dict[int, SentPart] = {}
        for page in self._pages("listing parts", self._client.list_parts, asked, ["PartNumberMarker"]):
            for each in sorted(page.get("Parts", ()), key=lambda part: part["LastModified"]):
                number = each["PartNumber"]
                parts[number] = SentPart(number, each["ETag"], each["Size"], each.get("ChecksumCRC32"))
        return dict(sorted(parts.items()))

    def complete(self, key: str, handle: str, parts: Sequence[SentPart], *, only_new: bool = False) -> None:
        """Make the parts one object, in the order of their numbers. Raises `Gone` where nothing of it is here.

        Idempotent: an upload that is gone while its object is there was completed by an earlier call.
        """
        params: Any = {
            "Bucket": self.name,
            "Key": key,
            "UploadId": handle,
            "MultipartUpload": {"Parts": [_completed(part) for part in parts]},
            **_condition(only_new),
        }
        client = self._client_for(len(parts) * _BYTES_OF_A_PART)
        try:
            self.ask("completing an upload", lambda: client.complete_multipart_upload(**params))
        except Gone:
            if self.find(key) is None:
                raise

    def abort(self, key: str, handle: str) -> None:
        """Give a multipart upload up. Idempotent."""
        with contextlib.suppress(Gone):
            self.ask(
                "giving up an upload",
                lambda: self._client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=handle),
            )

    def abort_after(self, fault: BaseException | None, key: str, handle: str) -> None:
        """Give a multipart upload up because of a fault, and raise nothing more. Who was silent is not asked for that:
        he would be waited for twice. `list_unfinished` shows what is left."""
        if not isinstance(fault, StorageTimeout):
            with contextlib.suppress(StorageFailed, StorageTimeout):
                self.abort(key, handle)

    def list_unfinished(self, prefix: str, *, most: int = 1000) -> Iterator[Unfinished]:
        """All multipart uploads to names that begin so, begun and not ended."""
        asked = {"Bucket": self.name, "Prefix": prefix, "MaxUploads": most}
        # Amazon goes on by key and upload, SeaweedFS by upload alone: as the answer says.
        markers = ["KeyMarker", "UploadIdMarker"]
        with contextlib.suppress(Gone):  # so some say that there is none
            for page in self._pages("listing uploads", self._client.list_multipart_uploads, asked, markers):
                for each in page.get("Uploads", ()):
                    yield Unfinished(each["Key"], each["UploadId"], each["Initiated"].timestamp())

    # --- links

    def sign(self, operation: str, ttl_seconds: int, **params: Any) -> str:
        """A link by which anybody may do this one thing for a while. Asks nobody."""
        try:
            return self._signer.generate_presigned_url(
                operation,
                Params={"Bucket": self.name, **params},
                ExpiresIn=min(ttl_seconds, MOST_LINK_SECONDS),
            )
        except FAULTS as fault:
            raise refusal_of(fault, "signing a link") from fault

    # --- asking

    def ask(self, doing: str, call: Callable[[], T]) -> T:
        """What `call` answers. What fails in passing is tried again, while there is time; silence is not.

        The library's own retries are off: they would wait through every timeout anew.
        """
        give_up_at = time.monotonic() + self._timeout_seconds
        pauses = iter(_PAUSES_SECONDS)
        while True:
            try:
                return call()
            except FAULTS as fault:
                pause = next(pauses, None)
                if pause is None or not is_passing(fault) or time.monotonic() + pause > give_up_at:
                    refusal = refusal_of(fault, doing)
                    if not isinstance(refusal, Gone | Unmet):  # which callers may expect
                        log.warning("%s The library said: %s", refusal.detail, told(fault))
                    raise refusal from fault
            time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311

    def _pages(
        self, doing: str, call: Callable[..., Any], asked: Mapping[str, Any], markers: Sequence[str]
    ) -> Iterator[Any]:
        """Every answer to a call that lists, each asked for from the `markers` of the one before."""
        while True:
            page = self.ask(doing, functools.partial(call, **asked))
            yield page
            found = {name: page[f"Next{name}"] for name in markers if page.get(f"Next{name}")}
            if not page.get("IsTruncated") or not found:
                return
            asked = {**asked, **found}

    def _client_for(self, work_bytes: int) -> "S3Client":
        """Who asks for so much work inside the store: it is silent while it does that, and no less well."""
        return self._patient_client if work_bytes > _MUCH_WORK_BYTES else self._client

    def _source(self, source: StoredObject) -> "CopySourceTypeDef":
        return {"Bucket": self.name, "Key": source.key}


@functools.cache
def _descriptions() -> Loader:
    """What the library knows of S3, read once: that takes longer than all the rest of opening a store."""
    return create_loader()


def _client(session: boto3.Session, place: Place, endpoint: str | None, *, work_seconds: float = 0.0) -> "S3Client":
    connect_seconds = min(place.timeout_seconds / 3, 5.0)
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path" if endpoint else "auto"},
        connect_timeout=connect_seconds,
        read_timeout=place.timeout_seconds - connect_seconds + work_seconds,
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=_CONNECTIONS,
        tcp_keepalive=True,
        # Checksums in trailers are not understood by every store; bodies are signed by their SHA-256 as it is.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    region = session.region_name or "us-east-1"  # AWS_DEFAULT_REGION, or what a profile says
    try:
        client = session.client("s3", endpoint_url=endpoint, region_name=region, config=config)
    except (BotoCoreError, ValueError) as fault:  # the URL may hold a password, so it is not repeated
        raise ValueError("the endpoint of an S3 store is a URL such as https://s3.example.com:9000") from fault
    client.meta.events.register("before-call.s3.HeadBucket", _no_more_questions)
    return client


def _no_more_questions(**_: object) -> None:
    """The library itself asks so where a redirect leads, of whoever redirected it, and so for ever where everything is
    redirected. What the redirect itself says is enough."""
    raise ClientError({"Error": {"Code": "301"}, "ResponseMetadata": {"HTTPHeaders": {}}}, "HeadBucket")  # type: ignore[typeddict-item]


def read_exactly(body: Any, count: int) -> bytes:
    """So many bytes of a body. Raises what the library raises where it ends early."""
    first: bytes = body.read(count)
    if len(first) == count:
        return first
    found = bytearray(first)
    while len(found) < count:
        found += body.read(count - len(found))
    return bytes(found)


def _whole(body: Any, length: int) -> bytes:
    try:
        return read_exactly(body, length)
    finally:
        body.close()


def _condition(only_new: bool) -> dict[str, str]:
    return {"IfNoneMatch": "*"} if only_new else {}


def _completed(part: SentPart) -> dict[str, str | int]:
    if part.crc32 is None:
        return {"PartNumber": part.number, "ETag": part.etag}
    return {"PartNumber": part.number, "ETag": part.etag, "ChecksumCRC32": part.crc32}
