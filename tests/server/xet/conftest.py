"""A CAS that believes everything, for the client that everybody has."""

from collections.abc import Iterator

import pytest

from tests.server.xet.cas import Cas, run_cas


@pytest.fixture
def cas() -> Iterator[Cas]:
    with run_cas() as cas:
        yield cas
