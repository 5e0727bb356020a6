"""Asking for something while a part is broken, and what the answer has to be."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product

import httpx2

from tests.faults.operations import Act, Operation, Scene
from tests.faults.site import MARGIN_SECONDS, NOTICED_SECONDS, TIMEOUTS, Part, Site, wait_until
from tests.house.wires import Fault, Kind, Way

FAULTS: dict[str, Fault] = {
    "slow": Fault("slow", delay_seconds=4.0),  # too slow, for every timeout
    "silent": Fault("silent"),
    "cut": Fault("cut"),
    "refuse": Fault("refuse"),
    "500": Fault("500"),
    "503": Fault("503"),
}
OF_A_STORE = ("500", "503")  # what only something that speaks HTTP can answer
LATE = ("slow", "silent")
WAYS: tuple[Way, ...] = ("up", "down")
INTERNALS = ("127.0.0.1", "psycopg", "postgres", "sqlalchemy", "boto", "s3", "valkey", "password", "traceback", ".py")


def expected(part: Part, kind: Kind) -> tuple[int, str]:
    """Status and type of the answer of an operation that needs the part."""
    word = {"database": "database", "store": "storage"}[part]
    return (504, f"{word}_timeout_error") if kind in LATE else (502, f"{word}_error")


def assert_fault(answer: httpx2.Response, part: Part, kind: Kind) -> None:
    """The one error body, with a request id beside it and nothing of the parts in it."""
    assert (answer.status_code, answer.json().get("type")) == expected(part, kind), answer.text
    assert set(answer.json()) == {"code", "detail", "type"}
    assert answer.headers["X-Request-Id"]
    assert not [word for word in INTERNALS if word in answer.text.lower()], answer.text


def ask(act: Act) -> tuple[httpx2.Response | None, float]:
    """The answer, None where it broke off after it had begun, and how long it took."""
    began = time.monotonic()
    try:
        return act(), time.monotonic() - began
    except httpx2.RemoteProtocolError:
        return None, time.monotonic() - began


def assert_failed(operation: Operation, act: Act, part: Part, kind: Kind) -> None:
    """What an operation answers that needs the broken part, in time."""
    answer, seconds = ask(act)
    assert seconds < TIMEOUTS[part] + MARGIN_SECONDS, f"{operation.name} took {seconds:.1f} s"
    if answer is None:
        assert operation.streams, operation.name
    else:
        assert_fault(answer, part, kind)


def assert_served(operation: Operation, act: Act) -> None:
    """The part is whole, or not needed."""
    answer, _ = ask(act)
    assert answer is not None and answer.status_code in operation.goods, (operation.name, answer and answer.text)


def meet(operation: Operation, act: Act, part: Part, kind: Kind) -> None:
    """What an operation does while a part is broken."""
    if operation.needs(part):
        assert_failed(operation, act, part, kind)
    elif operation.may_notice != part:
        assert_served(operation, act)
    elif (answer := act()).status_code not in operation.goods:
        assert_fault(answer, part, kind)


def assert_not_ready(site: Site, part: Part) -> None:
    """Whoever spreads requests over servers is told, soon."""
    wait_until(lambda: site.ready().status_code == 503, "/ready does not tell the truth", NOTICED_SECONDS)
    answer = site.ready()
    assert answer.json()["type"] == "unavailable_error"
    assert f"the {part} does not answer" in answer.json()["detail"]


def assert_alive(site: Site) -> None:
    """Whoever starts servers anew is told that this one need not be."""
    with site.client() as client:
        began = time.monotonic()
        assert client.get("/health").status_code == 200
        assert time.monotonic() - began < MARGIN_SECONDS


def together(jobs: Sequence[Callable[[], None]]) -> None:
    """All at once; what any of them finds wrong is raised."""
    with ThreadPoolExecutor(len(jobs)) as threads:
        for job in [threads.submit(job) for job in jobs]:
            job.result()


def moments(operation: Operation, part: Part, kinds: Sequence[str], ways: Sequence[Way]) -> list[Fault]:
    """The part breaks just at this: before it was heard (up), and when it was (down)."""
    places = operation.moments.get(part, ())
    return [
        replace(FAULTS[kind], at=at, way=way)
        for at, kind, way in product(places, kinds, ways)
        if kind not in OF_A_STORE or (part == "store" and way == "up")
    ]


def break_in_the_middle(scene: Scene, operation: Operation, part: Part, fault: Fault) -> None:
    """It fails as it should, and succeeds when it is asked for again."""
    act = operation.prepare(scene)
    with scene.site.broken(part, fault):
        assert_failed(operation, act, part, fault.kind)
    assert_served(operation, act)
