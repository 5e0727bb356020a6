"""Every client does with this server what it does with the Hub, by itself; the server finds what it should."""

import pytest

from tests.hub_clients import results
from tests.hub_clients.cases import EVERY_CLIENT
from tests.hub_clients.conftest import Counted, Machines, People
from tests.hub_clients.driver import ACTIONS, LARGE, MB, Work
from tests.hub_clients.environments import Environment


@pytest.mark.parametrize("environment", EVERY_CLIENT)
def test_a_client_does_all_that_it_does_with_the_hub(
    environment: Environment, people: People, machines: Machines, counted: Counted
) -> None:
    person = people(environment)
    machine = machines(environment)
    work = Work(f"{person.name}/story", machine.home)
    before = {way: counted.bytes("received", way) for way in ("xorbs", "")}
    lines = machine.drive("story", {"repo": work.repo})

    why = {str(line["action"]): line["why"] for line in lines}
    results.keep(environment, {action: why[action] is None for action in why})
    assert list(why) == list(ACTIONS)
    assert not any(why.values()), "\n".join(f"{action}: {text}" for action, text in why.items() if text)

    by_xet = counted.bytes("received", "xorbs") - before["xorbs"]
    assert counted.bytes("received") - before[""] > 14 * MB
    assert by_xet > 14 * MB if environment.xet else by_xet == 0, f"{by_xet} bytes came by Xet"

    published = person.get(f"/org/{person.name}/models/story/1.0.0").json()
    artifacts = {path: digest.removeprefix("sha256:") for path, digest in published["artifacts"].items()}
    assert artifacts == work.digests
    assert published["license"] == "apache-2.0", published
    assert LARGE in artifacts
