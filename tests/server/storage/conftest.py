"""Stores in buckets of a real SeaweedFS."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from steelyard.server.storage.s3 import CopyLimits, Place, S3Store, read_url
from tests.house.seaweed import Seaweed, seaweed

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SMALL_COPIES = CopyLimits(whole_bytes=6 * 2**20, part_bytes=12 * 2**20)
"""So that what is above 5 GB elsewhere is above 6 MiB here."""

OpenStore = Callable[..., S3Store]


@dataclass(frozen=True, slots=True)
class Behind:
    """A prefix as the store itself shows it, past the registry."""

    client: "S3Client"
    bucket: str
    prefix: str

    def names(self) -> list[str]:
        """The objects there, without the prefix."""
        page = self.client.list_objects_v2(Bucket=self.bucket, Prefix=f"{self.prefix}/")
        return [each["Key"].removeprefix(f"{self.prefix}/") for each in page.get("Contents", ())]

    def unfinished(self) -> list[str]:
        """The same of multipart uploads that were begun and not ended."""
        page = self.client.list_multipart_uploads(Bucket=self.bucket, Prefix=f"{self.prefix}/")
        return [each["Key"].removeprefix(f"{self.prefix}/") for each in page.get("Uploads", ())]


@pytest.fixture
def weed() -> Seaweed:
    return seaweed()


@pytest.fixture
def url(weed: Seaweed) -> str:
    return weed.fresh_url()


@pytest.fixture
def open_s3(weed: Seaweed, url: str) -> OpenStore:
    """Open the store of this test: as often as it likes, as several servers do."""

    def open_one(**options: Any) -> S3Store:
        bucket, prefix = read_url(url)
        return S3Store(Place(bucket, weed.endpoint), prefix, **options)

    return open_one


@pytest.fixture
def behind(weed: Seaweed, url: str) -> Iterator[Behind]:
    bucket, prefix = read_url(url)
    with closing(weed.client()) as client:
        yield Behind(client, bucket, prefix)
