"""Get Model Latest from PostgreSQL: for one client, beside SQLite; and by one, two and three servers behind nginx.
Then publishing, of which the registry does one at a time however many servers it has.

Everything runs on this machine: the load, nginx, the servers and PostgreSQL share its cores. So a row says what CPU
time a request costs each of them, too: what is left of growth when cores are not the bound.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from itertools import count
from pathlib import Path

from tests.house import RunningServer, start_server
from tests.house.nginx import Nginx
from tests.house.postgres import Postgres
from tests.house.servers import free_port
from tests.house.valkey import Valkey

from bench.figures import Row, in_turn
from bench.filling import fill
from bench.load import SECONDS, requests_per_second
from bench.processes import cpu_seconds
from steelyard import Client
from steelyard.server.db.engine import Database

MODELS, VERSIONS_EACH = 1_000, 10
MODEL = f"bench/m{MODELS // 2:05}"
PATH = f"/api/v1/org/bench/models/m{MODELS // 2:05}"
PUBLISHERS = 8
CONNECTIONS = 16
SAFE = {"fsync": "on", "full_page_writes": "on"}  # as PostgreSQL comes; the tests run it without


def measure_replicas(folder: Path, rounds: int) -> Iterator[Row]:
    """Every row, in the order of the table."""
    with ExitStack() as running:
        postgres = Postgres(options=SAFE).start()
        running.callback(postgres.discard)
        valkey = Valkey().start()
        running.callback(valkey.discard)
        database = postgres.fresh(migrated=False)
        servers = [_start(folder / f"server{number}", running, database=database) for number in range(3)]
        counting = _start(folder / "counting", running, database=database, **_counted_by(valkey))
        embedded = _start(folder / "embedded", running)
        for server in (servers[0], embedded):
            _fill(server, database if server is servers[0] else f"sqlite:///{server.data}/steelyard.sqlite3")
        yield from _one_client(rounds, embedded, servers[0], counting)
        yield from _growth(rounds, postgres, servers, running)
        yield from _publishing(rounds, servers)


def _counted_by(valkey: Valkey) -> dict[str, str]:
    return {"limits": valkey.url(), "limit_read": "100000000/minute"}


def _start(data: Path, running: ExitStack, **settings: str) -> RunningServer:
    quiet = {"store": "memory:", "log_level": "warning", "limit_publish": "off"}
    server = start_server(data, port=free_port(), **quiet, **settings)
    running.callback(server.stop)
    return server


def _fill(server: RunningServer, database: str) -> None:
    with Client(server.url, server.token) as client:
        client.create_organization("bench")
    with closing(Database(database)) as opened:
        fill(opened, "bench", models=MODELS, versions_each=VERSIONS_EACH)


def _one_client(rounds: int, embedded: RunningServer, server: RunningServer, counting: RunningServer) -> Iterator[Row]:
    """The time of one answer, each of the three in turn."""
    named = {"SQLite": embedded, "PostgreSQL": server, "PostgreSQL, each read counted in Valkey": counting}
    figures = in_turn(rounds, [partial(_milliseconds, each) for each in named.values()])
    yield from (
        Row(f"Get Model Latest, one client, {name}", "ms", measured)
        for name, measured in zip(named, figures, strict=True)
    )
    ratios = tuple(second / first for first, second in zip(figures[0], figures[1], strict=True))
    yield Row("the same: PostgreSQL by SQLite, of the same round", "times", ratios)


def _milliseconds(server: RunningServer) -> float:
    return 1000 / requests_per_second(server.url + PATH, server.token, 1)


def _growth(rounds: int, postgres: Postgres, servers: list[RunningServer], running: ExitStack) -> Iterator[Row]:
    """How many answers a second through nginx, by the number of servers behind it; and what each costs."""
    proxies = [Nginx([server.port for server in servers[:number]]).start() for number in (1, 2, 3)]
    for proxy in proxies:
        running.callback(proxy.discard)
    loads = [partial(requests_per_second, proxy.url + PATH, servers[0].token, CONNECTIONS) for proxy in proxies]
    for number, measured in enumerate(in_turn(rounds, loads), 1):
        work = f"Get Model Latest, nginx and {number} server(s), {CONNECTIONS} connections"
        yield Row(work, "/s", measured)
    pids = {"the server": [servers[0].process.pid], "PostgreSQL": [postgres.pid], "nginx": [proxies[0].pid]}
    for name, [pid] in pids.items():
        yield Row(f"CPU time of a request, {name}", "ms", (_cpu_of_a_request(pid, loads[0]),))


def _publishing(rounds: int, servers: list[RunningServer]) -> Iterator[Row]:
    """Versions a second of as many models as there are publishers, spread over so many servers."""
    turns = count()
    loads = [partial(_publishes_per_second, servers[:number], turns) for number in (1, 2)]
    for number, measured in enumerate(in_turn(rounds, loads), 1):
        yield Row(f"publish a version, {number} server(s), {PUBLISHERS} at once", "/s", measured)


def _publishes_per_second(servers: list[RunningServer], turns: Iterator[int]) -> float:
    turn, until = next(turns), time.perf_counter() + SECONDS
    with Client(servers[0].url, servers[0].token) as client:
        held = client.get_model_latest(MODEL).artifacts

    def publish(publisher: int) -> int:
        server, versions = servers[publisher % len(servers)], count()
        with Client(server.url, server.token) as client:
            while time.perf_counter() < until:
                client.publish_model(f"bench/t{turn}-{publisher}", artifacts=held, version=f"1.{next(versions)}.0")
        return next(versions)

    with ThreadPoolExecutor(PUBLISHERS) as threads:
        return sum(threads.map(publish, range(PUBLISHERS))) / SECONDS


def _cpu_of_a_request(pid: int, load: partial[float]) -> float:
    """Milliseconds of a process and its children, under load."""
    before = cpu_seconds(pid)
    answers = load() * SECONDS
    return (cpu_seconds(pid) - before) * 1000 / answers
