"""Two servers of one registry on one PostgreSQL, one S3 store and one Valkey, and nginx before them, as shipped."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from steelyard.server.app import open_store
from steelyard.server.db.engine import Database
from steelyard.server.jobs.check import Checked, check
from steelyard.server.settings import Settings
from tests.house import Person, RunningServer
from tests.house.nginx import Nginx
from tests.house.postgres import postgres_url
from tests.house.seaweed import seaweed
from tests.house.servers import free_port, launch_server, start_server, wait_until_ready
from tests.house.valkey import valkey_url
from tests.reliability.pushing import open_client

PART_BYTES = 5 * 2**20  # the smallest that S3 takes
PLENTY = {
    f"limit_{action}": "1000000/minute"
    for action in ("sign_in_failures", "read", "search", "write", "publish", "download", "transfer", "accounts")
}
"""Budgets that nobody spends, so that Valkey is asked for every request and refuses none."""


def common_settings(**chosen: str) -> dict[str, str]:
    """What servers of one registry have in common: engines of the tests, with nothing in them yet."""
    return {
        "database": postgres_url(migrated=False),
        **seaweed().settings(),
        "limits": valkey_url(),
        "trusted_proxies": "127.0.0.1",
        "part_size_bytes": str(PART_BYTES),
        **PLENTY,
        **chosen,
    }


@dataclass(slots=True)
class Somebody:
    """A person with connections to each server, and one through nginx."""

    name: str
    token: str
    one: Person
    two: Person
    through: Person


@dataclass(slots=True)
class Replicas:
    """The servers, which hold nothing that the other would need, and the proxy."""

    folder: Path
    settings: Mapping[str, str]
    one: RunningServer
    two: RunningServer
    nginx: Nginx
    _connections: ExitStack = field(default_factory=ExitStack)

    @property
    def url(self) -> str:
        """Where clients call: nginx."""
        return self.nginx.url

    @property
    def servers(self) -> tuple[RunningServer, RunningServer]:
        return self.one, self.two

    @property
    def admin(self) -> Somebody:
        return self.somebody("admin", self.one.token)

    def somebody(self, name: str, token: str) -> Somebody:
        """Somebody with this token."""
        return Somebody(name, token, *(self.person(url, name, token) for url in (self.one.url, self.two.url, self.url)))

    def person(self, url: str, name: str, token: str) -> Person:
        """The same, at one address."""
        return Person(self._connections.enter_context(open_client(url)), name, token)

    def user(self, name: str) -> Somebody:
        """A new user, with his own organisation."""
        with open_client(self.url) as client:
            made = Person(client, "admin", self.one.token).post("/users", {"username": name})
        assert made.status_code == 201, made.text
        return self.somebody(name, made.json()["key"])

    def restart(self, server: RunningServer) -> RunningServer:
        """Start one that has ended again, on its port."""
        started = start_server(server.data, port=server.port, **self.settings)
        self.one, self.two = (started if each.port == started.port else each for each in self.servers)
        return started

    @contextmanager
    def database(self) -> Iterator[Database]:
        """What the servers stand on, to look behind their backs."""
        with closing(Database(self.settings["database"])) as database:
            yield database

    def check(self) -> Checked:
        """`steelyard admin check` of the registry."""
        names = ("database", "store", "s3_endpoint")
        chosen = Settings(**{name: self.settings[name] for name in names})  # type: ignore[arg-type]
        with self.database() as database:
            return check(database, open_store(chosen))

    def close(self) -> None:
        """End everything, the servers in order."""
        self._connections.close()
        for server in self.servers:
            server.stop()
        self.nginx.discard()


def start_replicas(folder: Path, **chosen: str) -> Replicas:
    """Two servers, started at the same moment on engines that hold nothing, and nginx."""
    settings = common_settings(**chosen)
    one, two = (launch_server(folder / name, port=free_port(), **settings) for name in ("one", "two"))
    for server in (one, two):
        wait_until_ready(server)
    store_port = int(settings["s3_endpoint"].rpartition(":")[2])
    nginx = Nginx([one.port, two.port], store_port).start()
    return Replicas(folder, settings, one, two, nginx)
