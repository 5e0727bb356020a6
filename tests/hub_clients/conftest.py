"""What the clients meet: one server for all of them, people on it, and what it counts meanwhile."""

import re
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.house import Person, Registered, RunningServer, start_server
from tests.hub_clients.environments import Environment
from tests.hub_clients.machines import Machine


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with public models open to everybody."""
    running = start_server(tmp_path_factory.mktemp("server") / "data", anonymous_public="true")
    yield running
    running.stop()
    shutil.rmtree(running.data, ignore_errors=True)  # a gigabyte, after all of them


@pytest.fixture(scope="session")
def registry(server: RunningServer) -> Iterator[Registered]:
    """The people of the server."""
    with httpx2.Client(base_url=server.url, timeout=30) as client:
        yield Registered(client, server.token)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Counted:
    """What the server says of the bytes that it exchanged. Nobody else uses it while a client is driven."""

    server: RunningServer

    def bytes(self, direction: str, route: str = "") -> int:
        """Bytes of bodies `received` or `sent`, by the routes that this is a part of."""
        name = f"steelyard_http_{direction}_bytes_total"
        with urllib.request.urlopen(f"{self.server.url}/metrics") as answer:
            families = text_string_to_metric_families(answer.read().decode())
            samples = [sample for family in families for sample in family.samples if sample.name == name]
        assert samples
        return int(sum(sample.value for sample in samples if route in sample.labels["route"]))


@pytest.fixture(scope="session")
def counted(server: RunningServer) -> Counted:
    """The server's counters."""
    return Counted(server)


def slug_of(environment: Environment) -> str:
    """Its name, as a person or a model may be named."""
    return re.sub("[^a-z0-9]+", "-", environment.name)


People = Callable[[Environment], Person]
Machines = Callable[[Environment], Machine]


@pytest.fixture(scope="session")
def people(registry: Registered) -> People:
    """The person who uses an environment, the same one each time."""
    made: dict[str, Person] = {}

    def find(environment: Environment) -> Person:
        slug = slug_of(environment)
        return made.get(slug) or made.setdefault(slug, registry.user(slug))

    return find


@pytest.fixture(scope="session")
def machines(server: RunningServer, people: People, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """A new machine with empty caches, on which that person uses it. What they grew to goes at the end."""
    homes: list[Path] = []

    def make(environment: Environment) -> Machine:
        homes.append(tmp_path_factory.mktemp(slug_of(environment)))
        return Machine(environment, server.url, people(environment).token or "", homes[-1])

    yield make
    for home in homes:
        shutil.rmtree(home)
