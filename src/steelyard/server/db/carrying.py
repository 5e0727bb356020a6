"""All rows of a registry from one database to another, with their numbers, in one transaction on either side.

Until that transaction is committed, the target's revision is a mark that no release knows, so that nobody serves what
is half there; the commit that brings the rows takes the mark away.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from steelyard.server.db.engine import Database
from steelyard.server.db.facts import list_tables
from steelyard.server.db.migrate import UNFINISHED, head, migrate_in, read_revision, set_revision
from steelyard.server.db.tables import BlobUpload, Garbage, Job, Table, Upload, UploadPart
from steelyard.server.errors import Conflict, DatabaseFailed

LEFT = frozenset(table.__tablename__ for table in (Upload, UploadPart, BlobUpload, Job, Garbage))
"""What is on its way into the source's store or out of it. Whoever was uploading begins again."""

_ROWS_AT_ONCE = 200  # one of a tree may be long
_ABSENT = "_is_null"


def tables() -> list[sa.Table]:
    """Those that are carried, each after those that it refers to."""
    return [table for table in Table.metadata.sorted_tables if table.name not in LEFT]


def is_marked(database: Database, mark: str) -> bool:
    """Whether it is an unfinished copy of the registry with this mark; False where it is empty. Raises `Conflict`."""
    with database.read() as session:
        revision = read_revision(session)
    if revision == UNFINISHED + mark:
        return True
    if revision is None and not (others := list_tables(database)):
        return False
    if revision is not None and revision.startswith(UNFINISHED):
        raise Conflict("The target database holds an unfinished copy of another registry. Name an empty one.")
    what = "a registry" if revision else f"tables of something else ({', '.join(others[:3])})"
    raise Conflict(f"The target database holds {what} already. Name an empty one.")


def make_marked(database: Database, mark: str) -> None:
    """This release's tables, empty, and the mark."""
    with database.write(patient=True) as session:
        migrate_in(session)
        set_revision(session, UNFINISHED + mark)


def carry(source: Session, target: Session, mark: str) -> Mapping[str, int]:
    """Every row of every table; how many by table. The target is a registry when its transaction is committed."""
    if read_revision(target) != UNFINISHED + mark:
        raise Conflict("The target is no unfinished copy any more: another `copy` has ended it.")
    counts = {table.name: _carry_table(source, target, table) for table in tables()}
    for name, count in counts.items():
        found = target.scalar(sa.select(sa.func.count()).select_from(Table.metadata.tables[name]))
        if found != count:
            raise DatabaseFailed(f"The target has {found} rows in `{name}`, and {count} were sent.")
    if target.get_bind().dialect.name == "postgresql":
        _go_on_counting(target)
        target.execute(sa.text(f"ANALYZE {', '.join(counts)}"))  # else it plans as for the empty tables they were
    set_revision(target, head())
    return counts


def _carry_table(source: Session, target: Session, table: sa.Table) -> int:
    count = 0
    try:
        for rows in _read(source, table):
            target.execute(sa.insert(table), rows)
            count += len(rows)
    except DBAPIError as error:
        raise DatabaseFailed(f"A row of `{table.name}` cannot be carried over: {error.orig}") from error
    return count


def _read(source: Session, table: sa.Table) -> Iterator[list[dict[str, Any]]]:
    """The rows in the order of their keys, some at a time."""
    documents = [column for column in table.columns if isinstance(column.type, sa.JSON) and column.nullable]
    absent = [column.is_(sa.null()).label(column.name + _ABSENT) for column in documents]
    query = sa.select(*table.columns, *absent).order_by(*table.primary_key.columns)
    names = [column.name for column in documents]
    for rows in source.execute(query.execution_options(yield_per=_ROWS_AT_ONCE)).mappings().partitions():
        yield [_as_it_was(dict(row), names) for row in rows]


def _as_it_was(row: dict[str, Any], documents: Sequence[str]) -> dict[str, Any]:
    """No document is one thing and the document `null` another, though both are read as None."""
    values = {name: value for name, value in row.items() if not name.endswith(_ABSENT)}
    return values | {name: sa.null() for name in documents if row[name + _ABSENT]}


def _go_on_counting(target: Session) -> None:
    """Numbers that PostgreSQL gives out itself begin after those that were brought."""
    for table in tables():
        number = table.columns.get("id")
        if number is not None:
            last, sequence = sa.func.max(number), sa.func.pg_get_serial_sequence(table.name, "id")
            target.execute(sa.select(sa.func.setval(sequence, sa.func.coalesce(last, 1), last.is_not(None))))
