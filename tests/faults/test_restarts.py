"""What stands behind the registry ends and comes back under load, and a server dies in the middle of an upload."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.conftest import Tell
from tests.faults.load import Load
from tests.faults.site import open_site
from tests.house.postgres import Postgres
from tests.reliability.soundness import describe

DATABASE_AWAY = frozenset({(502, "database_error"), (504, "database_timeout_error")})


@pytest.fixture(scope="module")
def engine() -> Iterator[Postgres]:
    """A PostgreSQL of these tests' own, to be ended and started."""
    started = Postgres().start()
    yield started
    started.discard()


def restart_under_load(load: Load, engine: Postgres, modes: list[str]) -> None:
    with load.going_on():
        for mode in modes:
            promised = len(load.promised)
            load.wait_for(lambda: len(load.promised) >= promised + 3)  # noqa: B023
            engine.restart(mode)
        promised, reads = len(load.promised), load.reads
        load.wait_for(lambda: len(load.promised) >= promised + 3 and load.reads >= reads + 3)
    load.assert_kept()
    assert load.site.ready().status_code == 200
    load.site.toll.faults["restarts of PostgreSQL"] += len(modes)


def run(folder: Path, engine: Postgres, modes: list[str], tell: Tell) -> None:
    site = open_site(folder, "database", urls={"database": engine.fresh()})
    try:
        load = Load(site, DATABASE_AWAY)
        restart_under_load(load, engine, modes)
        assert load.refusals.total() > 0
        tell(
            f"PostgreSQL restarted under load: {len(modes)} times; versions promised: {len(load.promised)}, "
            f"reads: {load.reads}, refused meanwhile: {describe(load.refusals)}; OIDs checked: {site.toll.oids}; "
            "losses: 0"
        )
    finally:
        site.close()


def test_a_database_restarts_under_load(tmp_path: Path, engine: Postgres, tell: Tell) -> None:
    run(tmp_path, engine, ["fast", "immediate"], tell)


@pytest.mark.thorough
def test_a_database_restarts_under_load_again_and_again(tmp_path: Path, engine: Postgres, tell: Tell) -> None:
    random = Random("restarts")
    run(tmp_path, engine, [random.choice(["fast", "immediate"]) for _ in range(20)], tell)
