"""A server whose clients and store exchange bytes without it, and what it says of the bytes that it moved itself."""

import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from steelyard.client import Client
from tests.client.conftest import make_folder
from tests.house import Person, RunningServer, start_server
from tests.house.seaweed import Seaweed, seaweed
from tests.reliability.pushing import new_person

__all__ = ["make_folder"]

MIB = 1 << 20
PART_BYTES = 5 * MIB  # the least that a store takes


@dataclass(frozen=True)
class Yard:
    """A server, its store, and where in the store its bytes are."""

    server: RunningServer
    store: Seaweed
    url: str

    def count(self, name: str, **labels: str) -> int:
        """A counter of `/metrics`, over all the labels that are not named."""
        with urllib.request.urlopen(f"{self.server.url}/metrics") as answer:
            families = text_string_to_metric_families(answer.read().decode())
            samples = [sample for family in families for sample in family.samples]
        counted = [s.value for s in samples if s.name == name and labels.items() <= s.labels.items()]
        return int(sum(counted))

    @property
    def moved_bytes(self) -> int:
        """What went through the server's own requests, in and out."""
        return self.count("steelyard_http_received_bytes_total") + self.count("steelyard_http_sent_bytes_total")

    @property
    def proof_read_bytes(self) -> int:
        """What the server read from the store to prove it."""
        return self.count("steelyard_proof_read_bytes_total")

    @property
    def _prefix(self) -> str:
        return self.url.removeprefix(f"s3://{self.store.bucket}/") + "/"

    def abort_uploads(self) -> None:
        """What a rule of the bucket does to multipart uploads that were left for long."""
        with closing(self.store.client()) as s3:
            for each in s3.list_multipart_uploads(Bucket=self.store.bucket, Prefix=self._prefix).get("Uploads", []):
                s3.abort_multipart_upload(Bucket=self.store.bucket, Key=each["Key"], UploadId=each["UploadId"])

    def stored(self) -> list[str]:
        """The names of all that the store keeps for this server, unfinished multipart uploads too."""
        prefix = self._prefix
        with closing(self.store.client()) as s3:
            objects = s3.list_objects_v2(Bucket=self.store.bucket, Prefix=prefix).get("Contents", [])
            unfinished = s3.list_multipart_uploads(Bucket=self.store.bucket, Prefix=prefix).get("Uploads", [])
        return sorted(each["Key"].removeprefix(prefix) for each in [*objects, *unfinished])


def start_yard(data: Path, *, url: str | None = None, **settings: str) -> Yard:
    """A server on the tests' store, in a fresh place unless one is named; its clients may go straight there."""
    store = seaweed()
    url = url or store.fresh_url()
    chosen = {"store_direct": "true", "part_size_bytes": str(PART_BYTES), **store.settings(url), **settings}
    return Yard(start_server(data, port=None, **chosen), store, url)


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """A server for the tests of a module."""
    made = start_yard(tmp_path_factory.mktemp("straight") / "data")
    yield made
    made.server.stop()


@pytest.fixture
def client(yard: Yard, tmp_path: Path) -> Iterator[Client]:
    """The admin's client, with a cache of the test's own."""
    with Client(yard.server.url, yard.server.token, cache_dir=tmp_path / "cache") as made:
        yield made


@pytest.fixture
def ada(yard: Yard, request: pytest.FixtureRequest) -> Iterator[Person]:
    """Somebody new, who speaks HTTP by himself and follows no redirect."""
    with new_person(yard.server, f"ada-{abs(hash(request.node.name)) % 10**8}") as person:
        yield person


@pytest.fixture
def outside() -> Iterator[httpx2.Client]:
    """A client that has a link and nothing else."""
    with httpx2.Client(timeout=30, trust_env=False, verify=False) as made:
        yield made
