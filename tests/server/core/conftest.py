"""Databases of every kind, for suites whose SQL is their own."""

import pytest

from tests.conftest import MakeRegistered
from tests.house.postgres import postgres_url
from tests.server.core.families import Families
from tests.server.core.history.lines import Line, open_line


@pytest.fixture(params=["sqlite", "postgres"])
def line(request: pytest.FixtureRequest, make_registered: MakeRegistered) -> Line:
    """A new model, on either database."""
    chosen = {"database": postgres_url()} if request.param == "postgres" else {"database": None}
    return open_line(make_registered(**chosen))


@pytest.fixture(params=["sqlite", "postgres"])
def families(request: pytest.FixtureRequest, make_registered: MakeRegistered) -> Families:
    """Nobody's yet, on either database."""
    chosen = {"database": postgres_url()} if request.param == "postgres" else {"database": None}
    return Families(make_registered(**chosen))
