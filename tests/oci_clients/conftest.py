"""Two servers, one with its bytes on a disk and one with them in S3, the people on them, and machines with tools."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import TypeVar

import httpx2
import pytest

from tests.house import Person, Registered, RunningServer, start_server
from tests.house.seaweed import seaweed
from tests.oci_clients.clients import Client
from tests.oci_clients.machines import Login, Machine
from tests.oci_clients.referee import Referee
from tests.oci_clients.samples import Sample, make_sample

ORG = "acme"
STORES = ("disk", "s3")


@dataclass(frozen=True)
class Place:
    """A server and those who use it: an organisation's owner, contributor and reader, and a stranger to it."""

    server: RunningServer
    registered: Registered
    owner: Person
    contributor: Person
    reader: Person
    stranger: Person

    @property
    def host(self) -> str:
        """As references of tools begin."""
        return f"127.0.0.1:{self.server.port}"

    @property
    def referee(self) -> Referee:
        return Referee(self.owner, self.registered.admin)

    def ref(self, repository: str, tag: str) -> str:
        """How tools name it."""
        return f"{self.host}/{repository}:{tag}"


def login_of(person: Person) -> Login:
    """What somebody types into a tool."""
    return Login(person.name, person.token or "")


@contextmanager
def opened_place(data: Path, **settings: str) -> Iterator[Place]:
    """A server with its people; both go at the end."""
    server = start_server(data, port=None, **settings)
    try:
        with httpx2.Client(base_url=server.url, timeout=60) as client:
            yield _people_of(server, Registered(client, server.token))  # type: ignore[arg-type]
    finally:
        server.stop()
        shutil.rmtree(data)


def _people_of(server: RunningServer, registered: Registered) -> Place:
    carol, rita, stan = (registered.user(name) for name in ("carol", "rita", "stan"))
    owner = registered.org(ORG, carol="contributor", rita="reader")
    return Place(server, registered, owner, carol, rita, stan)


@pytest.fixture(scope="session")
def place_on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Place]]:
    """The server on a kind of store, started when it is first asked for."""
    with ExitStack() as opened:

        @cache
        def start(store: str) -> Place:
            settings = seaweed().settings() if store == "s3" else {}
            return opened.enter_context(opened_place(tmp_path_factory.mktemp(store) / "data", **settings))

        yield start


@pytest.fixture(scope="session")
def both_ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[bool], Place]]:
    """A server that opens public models to everybody, and one that does not."""
    with ExitStack() as opened:

        @cache
        def start(anonymous: bool) -> Place:
            data = tmp_path_factory.mktemp("public") / "data"
            return opened.enter_context(opened_place(data, anonymous_public=str(anonymous)))

        yield start


@pytest.fixture(params=STORES)
def place(place_on: Callable[[str], Place], request: pytest.FixtureRequest) -> Place:
    """A server, on each kind of store."""
    return place_on(request.param)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """Some files."""
    return make_sample(tmp_path_factory.mktemp("sample"), "a sample")


@pytest.fixture(scope="session")
def other_sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """Files of the same names, with something else in them."""
    return make_sample(tmp_path_factory.mktemp("other"), "another sample")


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    """A name that no other test of this run uses."""
    return f"{ORG}/model-{next(_NUMBERS)}"


_NUMBERS = count()
SomeClient = TypeVar("SomeClient", bound=Client)


class MakeClient:
    """Gives a tool to somebody, on a machine of his own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.made: list[Client] = []

    def __call__(self, tool: type[SomeClient], place: Place, login: Login | Person | None) -> SomeClient:
        login = login_of(login) if isinstance(login, Person) else login
        made = tool(Machine(self.home / f"{len(self.made)}", place.host, login))
        self.made.append(made)
        return made

    def end(self) -> None:
        """What runs on the machines ends, and what they grew to goes."""
        for client in self.made:
            client.end()
        shutil.rmtree(self.home)


@pytest.fixture
def use(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeClient]:
    """Give a tool to somebody: `use(Skopeo, place, place.owner)`."""
    making = MakeClient(tmp_path_factory.mktemp("machines"))
    yield making
    making.end()
