"""The same moment, on both servers."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from typing import TypeVar

from tests.house import Person
from tests.replicas.site import Replicas, Somebody

T = TypeVar("T")


def at_once(people: Sequence[Person], act: Callable[[Person, int], T]) -> list[T]:
    """`act(person, number)` for each of them, let loose together."""
    gate = threading.Barrier(len(people))

    def run(number: int) -> T:
        person = people[number]
        assert person.get("/user").status_code == 200  # the connection is open
        gate.wait(timeout=60)
        return act(person, number)

    with ThreadPoolExecutor(len(people)) as threads:
        return list(threads.map(run, range(len(people))))


def on_both(replicas: Replicas, caller: Somebody, count: int) -> list[Person]:
    """The same caller over so many connections, to one server and the other in turn."""
    urls = islice(cycle([replicas.one.url, replicas.two.url]), count)
    return [replicas.person(url, caller.name, caller.token) for url in urls]
