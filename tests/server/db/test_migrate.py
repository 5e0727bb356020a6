"""Migrations: up, down and up again, agreeing with the code, and made once however many begin at the same moment."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Column, PrimaryKeyConstraint, UniqueConstraint, event, inspect, select, text

from steelyard.server.db.engine import Database
from steelyard.server.db.migrate import differences, downgrade, head, migrate, revisions
from steelyard.server.db.tables import Org, Table
from tests.house.postgres import postgres_url
from tests.server.db.starting import start_all


def test_code_and_database_agree_after_up_down_and_up_again(empty: Database) -> None:
    migrate(empty)
    assert differences(empty) == []
    downgrade(empty, "base")
    assert inspect(empty.engine).get_table_names() == ["alembic_version"]
    migrate(empty)
    assert differences(empty) == []
    assert set(inspect(empty.engine).get_table_names()) == {"alembic_version", *Table.metadata.tables}


def test_to_migrate_again_changes_nothing(database: Database) -> None:
    with altering(database) as altered:
        migrate(database)
    assert altered == []


def test_the_names_of_the_migrations_tell_their_order() -> None:
    """A start reads them instead of loading Alembic."""
    scripts = ScriptDirectory(str(Path(migrate.__code__.co_filename).parent / "migrations"))
    assert [scripts.get_current_head(), *(each.down_revision for each in scripts.walk_revisions())] == [
        *reversed(revisions()),
        None,
    ]
    assert head() == revisions()[-1]


def test_a_difference_is_seen(database: Database) -> None:
    with database.write() as session:
        session.execute(text("DROP INDEX ix_versions_order"))
    assert len(differences(database)) == 1


@contextmanager
def altering(database: Database) -> Iterator[list[str]]:
    """What changes tables or rows meanwhile."""
    altered: list[str] = []

    def note(_c: object, _cursor: object, statement: str, _v: object, _x: object, _many: object) -> None:
        if statement.split()[0] in ("CREATE", "ALTER", "DROP", "INSERT", "UPDATE", "DELETE"):
            altered.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    yield altered
    event.remove(database.engine, "before_cursor_execute", note)


def test_every_text_of_bounded_length_has_the_order_of_its_bytes_on_postgresql() -> None:
    """Else two machines order names differently, and an index may be wrong after the system was upgraded."""
    columns = "SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'public'"
    bounded = " AND data_type = 'character varying' AND table_name <> 'alembic_version'"
    with closing(Database(postgres_url())) as database, database.read() as session:
        assert len(session.scalars(text(columns + bounded)).all()) > 40
        assert session.scalars(text(columns + bounded + " AND collation_name IS DISTINCT FROM 'C'")).all() == []


def test_names_are_in_the_order_of_their_bytes(database: Database) -> None:
    with database.write() as session:
        session.add_all(Org(slug=slug, name=slug) for slug in ("b", "a-c", "ab", "a", "a-b", "B", "é", "z"))
    with database.read() as session:
        found = session.scalars(select(Org.slug).order_by(Org.slug)).all()
    assert found == ["B", "a", "a-b", "a-c", "ab", "b", "z", "é"]


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


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_of_processes_that_start_together_on_nothing_one_makes_the_admin_and_all_come_up(
    kind: str, tmp_path: Path
) -> None:
    folders = [tmp_path / f"data{number}" for number in range(6)]
    urls = [postgres_url(migrated=False) if kind == "postgres" else sqlite_url(folder) for folder in folders]
    said = start_all(list(zip(folders, urls, strict=True)), processes=3)
    assert [sorted(row) for row in said] == [["first", "later", "later"]] * 6
    for url in urls:
        with closing(Database(url)) as database, database.read() as session:
            for table in ("users", "orgs", "tokens", "signing_keys"):
                assert session.execute(text(f"SELECT count(*) FROM {table}")).scalar() == 1, table


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder}/steelyard.sqlite3"
