"""The page that tells which clients work names those that the tests try, and claims nothing else."""

from tests.hub_clients.environments import MATRIX
from tests.hub_clients.table import BLOCK, HEAD, PAGE, WITHOUT


def rows() -> list[list[str]]:
    """The table's rows, its head first."""
    found = BLOCK.search(PAGE.read_text("utf-8"))
    assert found, "docs/clients.md has no table of clients"
    lines = [line for line in found[2].splitlines() if not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_names_every_environment_of_the_matrix() -> None:
    head, *body = rows()
    assert head == list(HEAD), "write it anew: python -m tests.hub_clients.table"
    assert [(row[0], row[1]) for row in body] == [(each.hub, each.xet or WITHOUT) for each in MATRIX]


def test_the_table_tells_of_everything_that_each_client_did() -> None:
    for row in rows()[1:]:
        assert len(row) == len(HEAD), row
        assert set(row[2:-2]) == {"✓"}, row
        assert row[-2] == f"{len(MATRIX)} of {len(MATRIX)}", row
