"""Pushes and reads by our own client, through nginx, for as long as a test goes on."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from steelyard import Client
from tests.house.people import oid_of
from tests.replicas.site import PART_BYTES, Replicas, Somebody


@dataclass
class Load:
    """What was pushed and answered, by reference: path -> OID; and how often was read."""

    replicas: Replicas
    caller: Somebody
    folder: Path
    pushed: dict[str, dict[str, str]] = field(default_factory=dict)
    reads: int = 0
    done: threading.Event = field(default_factory=threading.Event)

    def push_one(self, client: Client, name: str, number: int) -> None:
        """A version of a file that goes in one body and, every third time, one that goes in parts."""
        random = Random(f"{name}/{number}")
        files = {"config.json": random.randbytes(random.randrange(1, 20_000))}
        if number % 3 == 0:
            files["model.bin"] = random.randbytes(PART_BYTES + random.randrange(500_000))
        folder = self.folder / name / str(number)
        folder.mkdir(parents=True)
        for path, data in files.items():
            (folder / path).write_bytes(data)
        reference = f"{self.caller.name}/{name}:1.{number}.0"
        client.push(folder, reference, use_git=False)
        self.pushed[reference] = {path: oid_of(data) for path, data in files.items()}

    def push_on(self, name: str) -> None:
        """Push version after version; whatever our client cannot mend is raised."""
        number = 0
        with Client(self.replicas.url, self.caller.token, cache_dir=self.folder / "cache", threads=2) as client:
            while not self.done.is_set():
                self.push_one(client, name, number)
                number += 1

    def read_on(self) -> None:
        """Read what was pushed: all of it is there, and as it was pushed."""
        random = Random("reader")
        with Client(self.replicas.url, self.caller.token, cache_dir=self.folder / "cache") as client:
            while not self.done.wait(0.01):
                for reference in random.sample(sorted(self.pushed), min(3, len(self.pushed))):
                    assert dict(client.resolve(reference).artifacts) == self.pushed[reference]
                    self.reads += 1

    def __str__(self) -> str:
        files = sum(len(artifacts) for artifacts in self.pushed.values())
        return f"{len(self.pushed)} versions pushed ({files} files), {self.reads} read"


@contextmanager
def under_load(replicas: Replicas, caller: Somebody, folder: Path, *, pushers: int = 3) -> Iterator[Load]:
    """Push and read while the test does something; afterwards all that was begun has ended well, or this raises."""
    load = Load(replicas, caller, folder)
    with ThreadPoolExecutor(pushers + 1) as threads:
        running: list[Future[None]] = [threads.submit(load.push_on, f"model{number}") for number in range(pushers)]
        running.append(threads.submit(load.read_on))
        try:
            yield load
        finally:
            load.done.set()
        for each in running:
            each.result()
