"""Migrations: up, down and up again, agreeing with the code, and made once however many begin at the same moment."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Column, PrimaryKeyConstraint, UniqueConstraint, inspect

from steelyard.server.db.engine import Database
from steelyard.server.db.migrate import differences, downgrade, migrate
from steelyard.server.db.tables import Table
from tests.server.db.starting import start_all


def test_code_and_database_agree_after_up_down_and_up_again(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/steelyard.sqlite3")
    migrate(database)
    assert differences(database) == []
    downgrade(database, "base")
    assert inspect(database.engine).get_table_names() == ["alembic_version"]
    migrate(database)
    assert differences(database) == []
    assert set(inspect(database.engine).get_table_names()) == {"alembic_version", *Table.metadata.tables}
    database.close()


def test_to_migrate_again_changes_nothing(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/steelyard.sqlite3")
    migrate(database)
    with closing(sqlite3.connect(tmp_path / "steelyard.sqlite3")) as other:
        before = other.execute("PRAGMA schema_version").fetchone()
        migrate(database)
        assert other.execute("PRAGMA schema_version").fetchone() == before
    database.close()


def test_a_difference_is_seen(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/steelyard.sqlite3")
    migrate(database)
    with closing(sqlite3.connect(tmp_path / "steelyard.sqlite3")) as other:
        other.execute("DROP INDEX ix_versions_order")
    assert len(differences(database)) == 1
    database.close()


NEVER_DELETED = {"users", "orgs"}


def test_whatever_refers_to_rows_that_can_be_deleted_is_found_by_an_index() -> None:
    """Else each deletion reads a whole table, to see whether something refers to the row yet."""
    referring = [
        key.parent
        for table in Table.metadata.sorted_tables
        for key in table.foreign_keys
        if key.column.table.name not in NEVER_DELETED
    ]
    assert [f"{column.table.name}.{column.name}" for column in referring if not _leads_an_index(column)] == []


def _leads_an_index(column: Column[Any]) -> bool:
    unique = [one for one in column.table.constraints if isinstance(one, UniqueConstraint | PrimaryKeyConstraint)]
    leading = [next(iter(one.columns), None) for one in (*column.table.indexes, *unique)]
    return any(first is column for first in leading)


def test_of_processes_that_start_together_on_nothing_one_makes_the_admin_and_all_come_up(tmp_path: Path) -> None:
    said = start_all([tmp_path / f"data{number}" for number in range(6)], processes=3)
    assert [sorted(row) for row in said] == [["first", "later", "later"]] * 6
    for number in range(6):
        with closing(sqlite3.connect(tmp_path / f"data{number}/steelyard.sqlite3")) as database:
            for table in ("users", "orgs", "tokens", "signing_keys"):
                assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,), table
