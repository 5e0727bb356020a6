"""How long somebody who is signed in waits for the catalogue's first byte, as a browser asks for it: over a connection
that is kept open, with the cookie of a session, and packed."""

import http.client
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

from tests.house import RunningServer, start_server

from bench.figures import Row
from bench.shelves import stock
from steelyard import Client
from steelyard.server.db.engine import Database

_ORGS = 20
_REQUESTS = 100
_PAGES = {
    "the whole catalogue": "/",
    "sorted by downloads": "/?sort=downloads",
    "the last page": "/?page={last}",
    "a search": "/?search=bert",
    "a licence and two tags": "/?license=mit&tags=bert-bert&tags=bert-llama",
    "a search and a facet of each kind": "/?search=bert&license=mit&license=gemma&tags=bert-bert&framework=gguf"
    "&size_category=tiny&size_category=huge&task_categories=translation",
    "one organisation": "/shelf-03",
}


def measure_catalogue(folder: Path, rounds: int, models: int) -> Iterator[Row]:
    """For each view of it the median, and what nineteen in twenty requests stay below, of each round."""
    server = start_server(folder / "catalogue", free_disk_floor_bytes="0", limit_search="1000000/minute")
    try:
        last = _stock(server, models)
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
            cookie = _sign_in(connection, server.token)
            for name, address in _PAGES.items():
                path = address.format(last=last)
                _first_bytes(connection, path, cookie)  # the first ones warm the caches of database and templates
                waits = [_first_bytes(connection, path, cookie) for _ in range(rounds)]
                work = f"catalogue of {models:,} models, first byte, {name}"
                yield Row(f"{work}: median of {_REQUESTS}", "ms", tuple(map(statistics.median, waits)))
                yield Row(f"{work}: 95 in 100 below", "ms", tuple(map(_p95, waits)))
    finally:
        server.stop()


def _stock(server: RunningServer, models: int) -> int:
    """Organisations of the admin's, who so sees all that there is; answers how many pages that makes."""
    slugs = [f"shelf-{number:02}" for number in range(_ORGS)]
    with Client(server.url, server.token) as client:
        for slug in slugs:
            client.create_organization(slug)
    with closing(Database(f"sqlite:///{server.data / 'steelyard.sqlite3'}")) as database:
        stock(database, slugs, models=models, versions_each=10)
    return -(-models // 25)


def _sign_in(connection: http.client.HTTPConnection, token: str) -> str:
    """The cookie of a new session."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/-/login", urlencode({"token": token}), form)
    answer = connection.getresponse()
    answer.read()
    if answer.status != 303:
        raise RuntimeError(f"signing in was answered with {answer.status}")
    return (answer.getheader("Set-Cookie") or "").partition(";")[0]


def _first_bytes(connection: http.client.HTTPConnection, path: str, cookie: str) -> Sequence[float]:
    """Milliseconds from asking to the first byte of the page, of each request."""
    return [_first_byte(connection, path, cookie) for _ in range(_REQUESTS)]


def _first_byte(connection: http.client.HTTPConnection, path: str, cookie: str) -> float:
    began = time.perf_counter()
    connection.request("GET", path, headers={"Cookie": cookie, "Accept": "text/html", "Accept-Encoding": "gzip"})
    answer = connection.getresponse()
    answer.read(1)
    waited = time.perf_counter() - began
    answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{path} was answered with {answer.status}")
    return waited * 1000


def _p95(waits: Sequence[float]) -> float:
    return statistics.quantiles(waits, n=20)[-1]
