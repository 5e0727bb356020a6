"""How much the database does for a request: the same with ten models as with ten thousand, and always by an index."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import pytest
from sqlalchemy import Engine, event

from steelyard.server.context import Registry
from steelyard.server.jobs.gc import collect
from tests.house import Person
from tests.house.people import oid_of
from tests.house.registries import open_registered
from tests.server.db.crowd import fill

READS = {
    "latest": "/org/ada/models/crowd-7",
    "latest, by another case": "/org/ada/models/CROWD-7",
    "exact": "/org/ada/models/crowd-7/1.3.0",
    "range": "/org/ada/models/crowd-7/%5E1.2",
    "versions": "/org/ada/models/crowd-7/versions",
    "lineage": "/org/ada/models/crowd-7/1.3.0/lineage",
    "file": "/org/ada/models/held/1.0.0/files/model.bin",
    "file by range": "/org/ada/models/held/%5E1/files/model.bin",
    "list": "/org/ada/models?limit=5",
    "list by name": "/org/ada/models?name=crowd-7",
    "list by facet": "/org/ada/models?framework=pytorch",
    "facets": "/org/ada/models/facets?name=crowd-7",
    "catalogue": "/models?sort_by=downloads&limit=5",
    "catalogue's facets": "/models/facets?framework=safetensors&search=crowd",
}
UNBOUNDED = {"list", "list by facet", "facets"}
"""They count all of an organisation's models, and sort a page out of them: the work grows with the organisation."""
CATALOGUE = {"catalogue", "catalogue's facets"}
"""They do the same with all models that there are."""


@dataclass
class Watched:
    """A registry with many rows or few, and what its database is asked."""

    ada: Person
    registry: Registry
    statements: list[tuple[str, Any]] = field(default_factory=list)

    @contextmanager
    def watching(self) -> Iterator[list[tuple[str, Any]]]:
        """What is asked inside."""
        self.statements.clear()
        yield self.statements

    def asked_for(self, path: str) -> list[str]:
        """The statements of one request that finds the server warm."""
        self.get(path)
        with self.watching() as statements:
            self.get(path)
            return [statement for statement, _ in statements]

    def plans_of(self, act: Callable[[], object]) -> list[str]:
        """The steps of the plans of all that is read, changed and deleted meanwhile."""
        with self.watching() as statements:
            act()
            asked = [one for one in statements if one[0].startswith(("SELECT", "UPDATE", "DELETE"))]
        assert asked
        return [step for sql, values in asked for step in self.plan_of(sql, values)]

    def plan_of(self, sql: str, values: Any) -> list[str]:
        """The steps of a statement's plan. PostgreSQL is told not to read a table whole if there is any other way."""
        with self.registry.database.engine.connect() as connection:
            if self.registry.database.is_sqlite:
                return [step[3] for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)]
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            return [step[0].strip(" ->") for step in connection.exec_driver_sql(f"EXPLAIN {sql}", values)]

    def get(self, path: str) -> None:
        assert self.ada.get(path).status_code == 200, path


def _serves_requests() -> bool:
    return threading.current_thread().name.startswith("AnyIO")


@contextmanager
def open_crowd(data: Path, *, models: int, versions: int) -> Iterator[Watched]:
    with open_registered(data=data) as registered:
        registry: Registry = registered.client.app.state.registry  # type: ignore[attr-defined]
        ada = registered.user("ada")
        fill(registry.database, "ada", models=models, versions=versions)
        assert ada.publish("ada/held:1.0.0", {"model.bin": b"weights"}).status_code == 201
        watched = Watched(ada, registry)

        def note(_c: object, _cursor: object, statement: str, values: object, _x: object, _many: object) -> None:
            if not threading.current_thread().daemon or _serves_requests():  # chores write whenever they like
                watched.statements.append((statement, values))

        event.listen(registry.database.engine, "before_cursor_execute", note)
        yield watched


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Ten models with ten versions each."""
    with open_crowd(tmp_path_factory.mktemp("few") / "data", models=10, versions=10) as watched:
        yield watched


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Ten thousand models with ten versions each."""
    with open_crowd(tmp_path_factory.mktemp("many") / "data", models=10_000, versions=10) as watched:
        yield watched


@pytest.mark.parametrize("read", READS)
def test_ten_thousand_models_are_asked_for_as_ten_are(few: Watched, many: Watched, read: str) -> None:
    assert len(many.asked_for(READS[read])) == len(few.asked_for(READS[read]))


def test_get_model_latest_asks_little(many: Watched) -> None:
    assert len(many.asked_for(READS["latest"])) <= 10


def read_whole(steps: list[str]) -> set[str]:
    """The tables that plans read from one end to the other."""
    in_sqlite = {step.split()[1] for step in steps if step.startswith("SCAN")} - {"CONSTANT"}
    in_sqlite = {name for name in in_sqlite if not name.startswith(("(subquery-", "anon_"))}  # made by the statement
    return in_sqlite | {step.split()[3] for step in steps if step.startswith("Seq Scan")}


@pytest.mark.parametrize("read", sorted(READS.keys() - UNBOUNDED - CATALOGUE))
def test_every_statement_finds_its_rows_by_an_index(many: Watched, read: str) -> None:
    steps = many.plans_of(lambda: many.get(READS[read]))
    assert read_whole(steps) == set(), steps
    assert [step for step in steps if "using" in step.lower()]


@pytest.mark.parametrize("read", sorted(UNBOUNDED))
def test_lists_read_one_organisation_by_index_and_no_table_whole(many: Watched, read: str) -> None:
    steps = many.plans_of(lambda: many.get(READS[read]))
    assert read_whole(steps) == set(), steps


@pytest.mark.parametrize("read", sorted(CATALOGUE))
def test_the_catalogue_reads_no_table_that_grows_with_the_versions(many: Watched, read: str) -> None:
    steps = many.plans_of(lambda: many.get(READS[read]))
    assert read_whole(steps) <= {"models", "model_facets", "orgs", "matches"}, steps


@pytest.mark.only("sqlite")
def test_downloads_are_added_up_from_an_index_alone(many: Watched) -> None:
    steps = many.plans_of(lambda: many.get(READS["catalogue"]))
    assert [step for step in steps if "COVERING INDEX ix_versions_downloads" in step], steps


def test_publishing_and_deleting_find_their_rows_by_an_index(many: Watched) -> None:
    def come_and_go() -> None:
        assert many.ada.publish("ada/crowd-9:3.0.0", {"model.bin": b"other weights"}).status_code == 201
        assert many.ada.delete("/org/ada/models/crowd-9/3.0.0").status_code == 204

    steps = many.plans_of(come_and_go)
    assert read_whole(steps) == set(), steps


@contextmanager
def counting_steps(engine: Engine) -> Iterator[list[int]]:
    """How many hundred instructions SQLite runs meanwhile."""
    counted = [0]

    def count() -> int:
        counted[0] += 1
        return 0

    def equip(connection: Connection, _record: object, _proxy: object) -> None:
        connection.set_progress_handler(count, 100)

    event.listen(engine, "checkout", equip)
    yield counted
    event.remove(engine, "checkout", equip)


@pytest.mark.only("sqlite")
def test_the_work_of_clean_up_grows_as_what_is_held_and_no_faster(tmp_path: Path) -> None:
    """A plan that looks good can still go through all versions for each blob."""
    steps = []
    for models in (50, 500):
        with open_crowd(tmp_path / f"data{models}", models=models, versions=10) as watched:
            registry = watched.registry
            with counting_steps(registry.database.engine) as counted:
                collect(registry.database, registry.store, grace_seconds=0, upload_ttl_seconds=0)
            steps.append(counted[0])
    assert 5 < steps[0] < steps[1] < 20 * steps[0], steps


def test_get_model_latest_finds_the_highest_version_by_the_order_index(many: Watched) -> None:
    """What the row of the model points at is found by key; when it moves, the order index finds the next."""
    with many.watching() as statements:
        published = many.ada.post(
            "/org/ada/models/crowd-8/versions",
            {"version": "0.1.0", "artifacts": {"model.bin": oid_of(b"weights")}},
        )
        assert published.status_code == 201
        asked = [one for one in statements if "ORDER BY versions.standing DESC" in one[0]]
    assert asked
    for sql, values in asked:
        steps = many.plan_of(sql, values)
        found = ("SEARCH versions USING INDEX ix_versions_order", "Index Scan Backward using ix_versions_order")
        assert [step for step in steps if step.startswith(found)]
        assert not [step for step in steps if "SORT" in step.upper() or "TEMP B-TREE" in step], steps
    assert many.ada.get("/org/ada/models/crowd-8").json()["version"] == "1.9.0"
