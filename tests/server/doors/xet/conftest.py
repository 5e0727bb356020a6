"""What the tests of the CAS stand on: one registry a module, and in it a model of somebody new for every test."""

from collections.abc import Iterator
from itertools import count

import pytest

from tests.house import Person, Registered
from tests.house.registries import open_registered
from tests.server.doors.xet.cas import Cas, open_cas

_numbers = count(1)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registered]:
    """A registry with its defaults that all tests of a module share."""
    with open_registered(data=tmp_path_factory.mktemp("registry") / "data", anonymous_public=True) as opened:
        yield opened


@pytest.fixture
def ada(registry: Registered) -> Person:
    """Somebody new, with a model `tiny` of one version."""
    person = registry.user(f"ada{next(_numbers)}")
    assert person.publish(f"{person.name}/tiny:1.0.0").status_code == 201
    return person


@pytest.fixture
def bob(registry: Registered) -> Person:
    """Somebody else, who has a model of his own."""
    person = registry.user(f"bob{next(_numbers)}")
    assert person.publish(f"{person.name}/tiny:1.0.0").status_code == 201
    return person


@pytest.fixture
def cas(ada: Person) -> Cas:
    """The right to write to ada's chunks."""
    return open_cas(ada, f"{ada.name}/tiny")
