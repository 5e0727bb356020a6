"""A shelf on either database."""

import pytest

from tests.conftest import MakeRegistered
from tests.house.postgres import postgres_url
from tests.server.core.manifests.shelf import Shelf


@pytest.fixture(params=["sqlite", "postgres"])
def shelf(request: pytest.FixtureRequest, make_registered: MakeRegistered) -> Shelf:
    """Nobody asked for anything there yet."""
    chosen = {"database": postgres_url()} if request.param == "postgres" else {"database": None}
    return Shelf(make_registered(**chosen))
