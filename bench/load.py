"""Load on one URL: `wrk` where it is installed, else threads of our own, which are slower than what they measure."""

import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from functools import cache

import urllib3

SECONDS = 3


def requests_per_second(url: str, token: str, connections: int, *, accept: str = "*/*") -> float:
    """How many answers of 200 a second; raises when any answer is another."""
    headers = {"Authorization": f"Bearer {token}", "Accept": accept}
    return _with_wrk(url, headers, connections) if shutil.which("wrk") else _with_threads(url, headers, connections)


def _with_wrk(url: str, headers: Mapping[str, str], connections: int) -> float:
    given = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", *given, url]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in said:
        raise RuntimeError(f"some answers were errors:\n{said}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if found is None:
        raise RuntimeError(f"wrk said something unknown:\n{said}")
    return float(found[1])


def _with_threads(url: str, headers: Mapping[str, str], connections: int) -> float:
    _warn_once()
    pool = urllib3.PoolManager(maxsize=connections)
    until, counts = time.perf_counter() + SECONDS, [0] * connections

    def ask(index: int) -> None:
        while time.perf_counter() < until:
            answer = pool.request("GET", url, headers=headers)
            if answer.status != 200:
                raise RuntimeError(f"an answer was {answer.status}")
            counts[index] += 1

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / SECONDS


@cache
def _warn_once() -> None:
    print("wrk is not installed: requests a second are limited by this program, not by the server", file=sys.stderr)
