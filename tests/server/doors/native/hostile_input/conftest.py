"""One registry a module under attack; each test leaves the victim's model as it was."""

from collections.abc import Iterator

import pytest

from tests.house.registries import open_registered
from tests.server.doors.native.hostile_input.victim import Victim, seeded


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """Limits are off: they would answer before the input is looked at."""
    with open_registered(data=tmp_path_factory.mktemp("hostile") / "data", limits="off") as registered:
        victim = seeded(registered)
        before = victim.whole_state()
        yield victim
        assert victim.whole_state() == before


@pytest.fixture
def nothing_is_lost(victim: Victim) -> Iterator[None]:
    """Whatever the test sends, the victim's model is the same after."""
    before = victim.state("/1.0.0", "/versions")
    yield
    assert victim.state("/1.0.0", "/versions") == before
