"""Bytes that go straight between clients and the store: signed links, and the one multipart upload behind them."""

from collections.abc import Mapping

from steelyard.server.errors import NotFound
from steelyard.server.storage import NOTHING_STAGED, PartLink
from steelyard.server.storage.s3.bucket import Bucket
from steelyard.server.storage.s3.layout import Layout
from steelyard.server.storage.s3.refusals import Gone


class S3Direct:
    """The `DirectTransfers` of an `S3Store`. A handle is the store's own upload id.

    What is signed for writing is a part of an open multipart upload, never an object. Joining the parts is what makes
    the object, and from then on the store knows no upload by that handle.
    """

    def __init__(self, bucket: Bucket, layout: Layout) -> None:
        self._bucket = bucket
        self._layout = layout

    def link_blob(
        self, key: str, *, ttl_seconds: int, content_type: str, content_disposition: str, span: str | None = None
    ) -> str:
        return self._bucket.sign(
            "get_object",
            ttl_seconds,
            Key=self._layout.blob(key),
            ResponseContentType=content_type,
            ResponseContentDisposition=content_disposition,
            **({"Range": span} if span else {}),  # a header that was signed has to come with the request, as it was
        )

    def begin(self, upload_id: str, *, checksums: bool) -> str:
        return self._bucket.begin(self._layout.direct_run(upload_id), crc32=checksums)

    def link_part(
        self,
        upload_id: str,
        handle: str,
        number: int,
        *,
        size_bytes: int,
        ttl_seconds: int,
        crc32: str | None = None,
    ) -> PartLink:
        # A header that was signed has to come with the request, as it was: the length, too.
        url = self._bucket.sign(
            "upload_part",
            ttl_seconds,
            Key=self._layout.direct_run(upload_id),
            UploadId=handle,
            PartNumber=number,
            ContentLength=size_bytes,
            **({"ChecksumCRC32": crc32} if crc32 else {}),
        )
        return PartLink(url, {"x-amz-checksum-crc32": crc32} if crc32 else {})

    def list_parts(self, upload_id: str, handle: str) -> Mapping[int, int]:
        try:
            parts = self._bucket.list_parts(self._layout.direct_run(upload_id), handle)
        except Gone as gone:
            raise NotFound(NOTHING_STAGED) from gone
        return {number: part.size_bytes for number, part in parts.items()}

    def join(self, upload_id: str, handle: str) -> None:
        run = self._layout.direct_run(upload_id)
        try:
            parts = self._bucket.list_parts(run, handle)
            self._bucket.complete(run, handle, list(parts.values()))
        except Gone as gone:
            if self._bucket.find(run) is None:
                raise NotFound(NOTHING_STAGED) from gone
