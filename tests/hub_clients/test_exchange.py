"""What each client pushed, every other reads back bit for bit: whole files and ones of ranges, plainly or by Xet."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.house import Registered
from tests.hub_clients import results
from tests.hub_clients.cases import EVERY_CLIENT, EVERY_CLIENT_WITH_XET
from tests.hub_clients.conftest import Counted, Machines, People
from tests.hub_clients.driver import MB
from tests.hub_clients.environments import MATRIX, Environment
from tests.hub_clients.exchanging import PLAIN, Exchange, edited_repo_of, found_org, repo_of


@pytest.fixture(scope="module")
def exchange(
    request: pytest.FixtureRequest, registry: Registered, people: People, machines: Machines, counted: Counted
) -> Exchange:
    """What the clients that this run tries have pushed."""
    pushers = _selected(request.session.items)
    found_org(registry, [people(each) for each in dict.fromkeys([PLAIN, *pushers])])
    made = Exchange(people, machines, counted)
    made.push_all(pushers)
    return made


def _selected(items: Sequence[pytest.Item]) -> list[Environment]:
    calls = (item.callspec for item in items if item.path == Path(__file__) and isinstance(item, pytest.Function))
    found = (call.params["environment"] for call in calls)
    return list(dict.fromkeys(each for each in found if isinstance(each, Environment)))


@pytest.mark.parametrize("environment", EVERY_CLIENT)
def test_what_each_client_pushed_every_other_reads_bit_for_bit(
    environment: Environment, exchange: Exchange, machines: Machines, counted: Counted
) -> None:
    before = counted.bytes("sent", "/data/")
    lines = machines(environment).drive("pull", {"wanted": list(exchange.pushed)})
    read = {(line["repo"], line["revision"]): line["files"] or line["why"] for line in lines}
    right = [tagged for tagged, pushed in exchange.pushed.items() if read[tagged] == pushed.digests]
    pushers = {pushed.pusher for pushed in exchange.pushed.values()}
    wrong = {exchange.pushed[tagged].pusher for tagged in exchange.pushed if tagged not in right}
    if wrong or len(pushers) == len(MATRIX):  # where only a few were tried, what is known stays known
        results.keep(environment, {"reads": f"{len(pushers - wrong)} of {len(pushers)}"})
    assert not wrong, "\n".join(f"{tagged}: {read[tagged]}" for tagged in exchange.pushed if tagged not in right)

    by_xet = counted.bytes("sent", "/data/") - before
    assert by_xet > 6 * MB if environment.xet else by_xet == 0, f"{by_xet} bytes went by Xet"


@pytest.mark.parametrize("environment", EVERY_CLIENT_WITH_XET)
def test_a_second_version_sends_what_is_new(environment: Environment, exchange: Exchange) -> None:
    sent = exchange.pushed[repo_of(environment), "2.0.0"].sent_bytes
    results.keep(environment, {"second": f"{sent / MB:.1f} MB"})
    assert sent < 1.5 * MB


@pytest.mark.parametrize("environment", EVERY_CLIENT_WITH_XET)
def test_so_does_one_of_a_file_that_another_client_pushed_plainly(environment: Environment, exchange: Exchange) -> None:
    assert exchange.pushed[edited_repo_of(environment), "2.0.0"].sent_bytes < 1.5 * MB
