"""A real S3 store for the tests: SeaweedFS, one process per pytest worker, started by the first test that asks.

It listens on loopback only, keeps its bytes in a folder of its own, and goes with the process that started it, however
that ends. One that cannot be started fails the test: nothing is skipped.
"""

import atexit
import functools
import os
import random
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "steelyard"
_ACCESS_KEY, _SECRET = "steelyard-tests", "a secret of the tests"
_READY_WITHIN_SECONDS = 30.0

# Ends the store and removes its folder, $0, when the test process lets go of the pipe: by its exit, or by its death.
_LEASH = '"$@" & store=$!; read _; kill -9 $store; wait $store; cd /; rm -rf "$0"'


@dataclass(frozen=True, slots=True)
class Seaweed:
    """A running store with one bucket."""

    endpoint: str
    process: subprocess.Popen[bytes]
    folder: Path
    bucket: str = BUCKET
    access_key: str = _ACCESS_KEY
    secret: str = _SECRET

    def fresh_url(self) -> str:
        """A place in the store that nobody used before, as STEELYARD_STORE wants it."""
        return f"s3://{self.bucket}/{secrets.token_hex(8)}"

    def credentials(self) -> dict[str, str]:
        """What boto3 finds in the environment, and nothing else of this machine."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def environment(self, url: str | None = None) -> dict[str, str]:
        """All that a server process needs to keep its bytes here, in a fresh place unless one is named."""
        settings = {f"STEELYARD_{name.upper()}": value for name, value in self.settings(url).items()}
        return {**self.credentials(), **settings}

    def settings(self, url: str | None = None) -> dict[str, str]:
        """The same as settings of a registry in this process, which has the credentials in its environment already."""
        return {"store": url or self.fresh_url(), "s3_endpoint": self.endpoint}

    def client(self, **options: Any) -> "S3Client":
        """A client of the tests' own, to look behind the back of the registry. The caller closes it."""
        return boto3.Session(self.access_key, self.secret, region_name="us-east-1").client(
            "s3", endpoint_url=self.endpoint, config=Config(s3={"addressing_style": "path"}, **options)
        )

    def stop(self) -> None:
        """End it as a power cut would, and forget what it kept."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait()


@functools.cache
def seaweed() -> Seaweed:
    """The store of this test process. Its credentials are in the environment from now on, also of what is started."""
    store = start_seaweed()
    atexit.register(store.stop)
    os.environ.update(store.credentials())
    return store


def start_seaweed() -> Seaweed:
    """A store that the caller stops. Ports that somebody else takes meanwhile are given up for others."""
    for _attempt in range(3):
        store = _start()
        if _is_ready(store):
            return store
        log = (store.folder / "log").read_text()
        store.stop()
    raise RuntimeError(f"SeaweedFS did not start:\n{log}")


def _start() -> Seaweed:
    folder = Path(tempfile.mkdtemp(prefix="weed-"))  # short, since there will be sockets in it
    ports = _free_ports(5)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "S3_", "WEED_"))}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["/bin/sh", "-c", _LEASH, str(folder), *_command(folder, ports)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=folder,
            env={**environment, "AWS_ACCESS_KEY_ID": _ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": _SECRET},
        )
    return Seaweed(f"http://127.0.0.1:{ports[3]}", process, folder)


def _command(folder: Path, ports: list[int]) -> list[str]:
    weed = Path(sys.executable).with_name("weed")
    options = {
        "dir": folder / "data",
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.port": ports[0],
        "volume.port": ports[1],
        "filer.port": ports[2],
        "s3.port": ports[3],
        "admin.port": ports[4],
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.autoCreateBucket": "false",
        "filer.localSocket": folder / "filer.sock",
        "s3.localSocket": folder / "s3.sock",
        "master.telemetry": "false",
        "admin.ui": "false",
        "webdav": "false",
        "bucket": BUCKET,
    }
    (folder / "data").mkdir()
    return [str(weed), "mini", *(f"-{name}={value}" for name, value in options.items())]


def _free_ports(count: int) -> list[int]:
    """Ports that are free now, each with the one 10000 above it, and none of those the system hands out by itself."""
    found: set[int] = set()
    while len(found) < count:
        port = random.randrange(10_240, 22_000)
        if _is_free(port) and _is_free(port + 10_000):
            found.add(port)
    return list(found)


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _is_ready(store: Seaweed) -> bool:
    """Wait until the store takes an object; False when it has ended or never does."""
    client = store.client(retries={"total_max_attempts": 1})
    deadline = time.monotonic() + _READY_WITHIN_SECONDS
    with closing(client):
        while time.monotonic() < deadline and store.process.poll() is None:
            try:
                client.put_object(Bucket=store.bucket, Key="ready", Body=b"yes")
            except (BotoCoreError, ClientError):
                time.sleep(0.05)
            else:
                return True
    return False
