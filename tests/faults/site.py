"""A registry on PostgreSQL, SeaweedFS and Valkey, each of them at the other end of a wire that can break."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import httpx2

from steelyard.server.app import open_store
from steelyard.server.db.engine import Database
from steelyard.server.jobs.check import Checked, check
from steelyard.server.settings import Settings
from steelyard.server.storage import BlobStore
from tests.house import RunningServer, start_server
from tests.house.postgres import postgres_url
from tests.house.seaweed import seaweed
from tests.house.valkey import valkey_url
from tests.house.wires import Fault, Wire
from tests.reliability.pushing import PART_BYTES, make_user, open_client
from tests.reliability.soundness import assert_sound, describe

Part = Literal["database", "store", "limits"]
PARTS: tuple[Part, ...] = ("database", "store", "limits")

_PLENTY = {
    f"limit_{action}": "1000000/minute"
    for action in ("sign_in_failures", "read", "search", "write", "publish", "download", "transfer", "accounts")
}  # so that Valkey is asked for every request, and refuses none
_SETTINGS: dict[Part, str] = {"database": "database", "store": "s3_endpoint", "limits": "limits"}

DATABASE_SECONDS, STORE_SECONDS, LIMITS_SECONDS = 1.0, 1.5, 0.3
TIMEOUTS: dict[Part, float] = {"database": DATABASE_SECONDS, "store": STORE_SECONDS, "limits": LIMITS_SECONDS}
MARGIN_SECONDS = 1.5  # for two busy processors
NOTICED_SECONDS = 5.0  # within which `/ready` knows
RECOVERY_SECONDS = 5.0  # within which all is as before, when the fault is over


@dataclass
class Toll:
    """What was counted; losses would have failed the test."""

    faults: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    oids: int = 0

    def __str__(self) -> str:
        struck = f"faults injected: {describe(self.faults)} = {self.faults.total()}"
        answered = f"requests: {self.answers.total()} ({describe(dict(sorted(self.answers.items())))})"
        return f"{struck}; {answered}; OIDs checked: {self.oids}; losses: 0"


@dataclass
class Site:
    """A server, what it stands on, and the wires in between; `database_url` and `store_url` lead past them."""

    server: RunningServer
    wires: dict[Part, Wire]
    database_url: str
    store_url: str | None
    settings: dict[str, str]
    token: str
    toll: Toll = field(default_factory=Toll)

    @contextmanager
    def broken(self, part: Part, fault: Fault, *, must_strike: bool = True) -> Iterator[None]:
        """A part's wire breaks, and is mended after. It must have broken by then."""
        wire = self.wires[part]
        before = wire.struck.copy()
        try:
            with wire.broken(fault, must_strike=must_strike):
                yield
        finally:
            self.toll.faults.update({f"{part} {kind}": n for kind, n in (wire.struck - before).items()})

    def client(self, token: str | None = None) -> httpx2.Client:
        """A client of the server that counts what it is answered."""
        client = open_client(self.server.url, token)
        client.event_hooks = {"response": [lambda answer: self.toll.answers.update([str(answer.status_code)])]}
        return client

    def start_another(self, name: str, **settings: str) -> RunningServer:
        """A second server on the same parts."""
        folder = self.server.data.parent / name
        return start_server(folder, port=None, **{**self.settings, **settings})

    def check(self) -> Checked:
        """`steelyard admin check`, past the wires."""
        with closing(Database(self.database_url, timeout_seconds=30)) as database:
            return check(database, self.open_store())

    def open_store(self) -> BlobStore:
        """The store, past the wires."""
        endpoint = seaweed().endpoint if self.store_url else None
        return open_store(Settings(data=self.server.data, store=self.store_url, s3_endpoint=endpoint))  # type: ignore[call-arg]

    def assert_sound(self) -> int:
        """Nothing is lost: every OID of every version is read and hashed. Answers how many versions there are."""
        sound = assert_sound(self.server, self.token, "ada", checked_by=self.check)
        self.toll.oids += sound.oids
        return sound.versions

    def ready(self) -> httpx2.Response:
        """What `/ready` says."""
        with self.client() as client:
            return client.get("/ready")

    def wait_until_ready(self) -> None:
        """It recovers by itself, soon."""
        wait_until(lambda: self.ready().status_code == 200, "the server did not become ready", RECOVERY_SECONDS)

    def close(self) -> None:
        """End the server and take the wires away."""
        try:
            self.server.stop()
        finally:
            for wire in self.wires.values():
                wire.close()


def open_site(folder: Path, *parts: Part, urls: Mapping[Part, str] | None = None, **settings: str) -> Site:
    """A server with a user `ada`, and wires to these parts (all, when none is named), with short timeouts.

    A part is that of this run's engines, unless `urls` has another. What is not named is as the server has it by
    itself: in its data directory, or in its memory.
    """
    engines: dict[Part, Callable[[], str]] = {
        "database": postgres_url,
        "store": lambda: seaweed().endpoint,
        "limits": valkey_url,
    }
    urls = {part: (urls or {}).get(part) or engines[part]() for part in parts or PARTS}
    wires = {part: Wire(urlsplit(url).port or 0) for part, url in urls.items()}
    store_url = seaweed().fresh_url() if "store" in urls else None
    chosen = {"part_size_bytes": str(PART_BYTES), "free_disk_floor_bytes": "0", **_PLENTY}
    for part, url in urls.items():
        chosen |= {_SETTINGS[part]: _over(wires[part], url), f"{part}_timeout_seconds": str(TIMEOUTS[part])}
    if store_url:
        chosen |= {"store": store_url, "store_direct": "false"}
    chosen |= settings
    server = start_server(folder / "data", port=None, **chosen)
    database_url = urls.get("database", f"sqlite:///{server.data}/steelyard.sqlite3")
    return Site(server, wires, database_url, store_url, chosen, make_user(server, "ada"))


def _over(wire: Wire, url: str) -> str:
    """The same URL, by way of the wire."""
    return url.replace(f":{urlsplit(url).port}", f":{wire.port}")


def wait_until(happened: Callable[[], bool], else_say: str, seconds: float) -> None:
    """Wait until a function says yes."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, else_say
        time.sleep(0.02)
