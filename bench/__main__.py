"""`make bench`: resolve, push and pull, each several rounds, printed as one table of medians and spreads.

Figures of different runs are not comparable: machines are shared. What the machine itself does (SHA-256 of memory,
writing with fsync) is measured in the same run, to hold the rest against.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.house import RunningServer, start_server

from bench.browsing import measure_catalogue
from bench.figures import Row, repeat, table
from bench.filling import fill
from bench.hub import measure_hub
from bench.load import requests_per_second
from bench.oci import measure_oci
from bench.replicas import measure_replicas
from steelyard import Client
from steelyard.server.db.engine import Database

MIB = 2**20


def main() -> None:
    """Measure, then print the table (and JSON with `--json`)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size-mib", type=int, default=512, help="size of the model that is pushed and pulled")
    parser.add_argument("--models", type=int, default=10_000)
    parser.add_argument(
        "--replicas", action="store_true", help="several servers on PostgreSQL instead: the other table"
    )
    parser.add_argument("--hub", action="store_true", help="the Hub's client, with Xet and without: a third table")
    parser.add_argument("--catalogue", action="store_true", help="the catalogue's pages instead: a fourth table")
    parser.add_argument("--oci", action="store_true", help="beside docker-registry instead: a fifth table")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="steelyard-bench-") as name:
        if arguments.replicas:
            rows = list(measure_replicas(Path(name), arguments.rounds))
        elif arguments.catalogue:
            rows = list(measure_catalogue(Path(name), arguments.rounds, arguments.models))
        elif arguments.oci:
            rows = list(measure_oci(Path(name), arguments.rounds, arguments.size_mib * MIB))
        elif arguments.hub:
            rows = list(measure_hub(Path(name), arguments.rounds, arguments.size_mib * MIB))
        else:
            rows = list(measure(Path(name), arguments.rounds, arguments.size_mib * MIB, arguments.models))
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(
            json.dumps([{"work": r.work, "unit": r.unit, "figures": r.figures} for r in rows], indent=2)
        )


def measure(folder: Path, rounds: int, size_bytes: int, models: int) -> Iterator[Row]:
    """Every row, in the order of the table."""
    yield Row("SHA-256 of memory (the machine)", "MB/s", repeat(rounds, sha256_speed))
    yield Row("write and fsync a file (the machine)", "MB/s", repeat(rounds, lambda: disk_speed(folder, size_bytes)))
    yield from measure_resolve(folder, rounds, models)
    yield from measure_transfer(folder, rounds, size_bytes)


def sha256_speed() -> float:
    data = bytes(64 * MIB)
    return timed(lambda: hashlib.sha256(data), len(data))


def disk_speed(folder: Path, size_bytes: int) -> float:
    piece, path = os.urandom(MIB), folder / "raw"

    def write() -> None:
        with path.open("wb") as file:
            for _ in range(size_bytes // MIB):
                file.write(piece)
            os.fsync(file.fileno())

    speed = timed(write, size_bytes)
    path.unlink()
    return speed


def timed(work: Callable[[], object], size_bytes: int) -> float:
    """MB/s."""
    began = time.perf_counter()
    work()
    return size_bytes / (time.perf_counter() - began) / 1e6


@contextmanager
def running(data: Path) -> Iterator[RunningServer]:
    server = start_server(data, free_disk_floor_bytes="0")
    try:
        yield server
    finally:
        server.stop()


def measure_resolve(folder: Path, rounds: int, models: int) -> Iterator[Row]:
    """Get Model Latest with ten models and with many: the work must be the same."""
    for count in (10, models):
        with running(folder / f"resolve-{count}") as server:
            with Client(server.url, server.token) as client:
                client.create_organization("bench")
            database = Database(f"sqlite:///{server.data / 'steelyard.sqlite3'}")
            fill(database, "bench", models=count, versions_each=10)
            database.close()
            url = f"{server.url}/api/v1/org/bench/models/m{count // 2:05}"
            for connections in (1, 16):
                work = f"Get Model Latest, {count:,} models of 10 versions, {connections} connections"
                yield Row(work, "/s", repeat(rounds, partial(requests_per_second, url, server.token, connections)))


def measure_transfer(folder: Path, rounds: int, size_bytes: int) -> Iterator[Row]:
    """A model of four files, there and back, through the client."""
    model = folder / "model"
    model.mkdir()
    pushes, repushes, pulls, warm = [], [], [], []
    with running(folder / "transfer") as server, Client(server.url, server.token, cache_dir=folder / "cache") as client:
        client.create_organization("bench")
        for number in range(rounds + 1):
            write_model(model, size_bytes)
            first, second, cold, other = (
                f"bench/m:1.{number}.0",
                f"bench/m:2.{number}.0",
                folder / "cold",
                folder / "other",
            )
            pushes.append(timed(partial(client.push, model, first, use_git=False), size_bytes))
            repushes.append(timed(partial(client.push, model, second, use_git=False), size_bytes))
            shutil.rmtree(folder / "cache", ignore_errors=True)
            pulls.append(timed(partial(client.pull, first, cold), size_bytes))
            warm.append(timed(partial(client.pull, first, other), size_bytes))
            shutil.rmtree(cold)
            shutil.rmtree(other)
    size = f"{size_bytes // MIB} MiB in 4 files"
    yield Row(f"push, new bytes, {size}", "MB/s", tuple(pushes[1:]))
    yield Row(f"push, bytes already held, {size}", "MB/s", tuple(repushes[1:]))
    yield Row(f"pull, cold, {size}", "MB/s", tuple(pulls[1:]))
    yield Row(f"pull, from the client's cache, {size}", "MB/s", tuple(warm[1:]))


def write_model(folder: Path, size_bytes: int) -> None:
    for number in range(4):
        with (folder / f"part-{number}.bin").open("wb") as file:
            for _ in range(size_bytes // 4 // MIB):
                file.write(os.urandom(MIB))


if __name__ == "__main__":
    main()
    sys.stdout.flush()
