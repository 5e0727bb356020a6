"""Load on one URL: `wrk` where it is installed, else threads of our own, which are slower than what they measure."""

import re
import shutil
import subprocess
import sys
import threading
import time
from functools import cache

import urllib3

SECONDS = 3


def requests_per_second(url: str, token: str, connections: int) -> float:
    """How many answers of 200 a second; raises when any answer is another."""
    return _with_wrk(url, token, connections) if shutil.which("wrk") else _with_threads(url, token, connections)


def _with_wrk(url: str, token: str, connections: int) -> float:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "-H", f"Authorization: Bearer {token}", url]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in said:
        raise RuntimeError(f"some answers were errors:\n{said}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if found is None:
        raise RuntimeError(f"wrk said something unknown:\n{said}")
    return float(found[1])


def _with_threads(url: str, token: str, connections: int) -> float:
    _warn_once()
    pool = urllib3.PoolManager(maxsize=connections)
    until, counts = time.perf_counter() + SECONDS, [0] * connections

    def ask(index: int) -> None:
        while time.perf_counter() < until:
            answer = pool.request("GET", url, headers={"Authorization": f"Bearer {token}"})
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
