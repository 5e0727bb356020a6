"""What most tests of the native door stand on: one registry a module, new people and models in it for every test."""

from collections.abc import Iterator
from itertools import count

import pytest

from tests.house import Person, Registered
from tests.house.registries import open_registered
from tests.server.doors.native.models import ModelAt

_numbers = count(1)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registered]:
    """A registry with its defaults that all tests of a module share."""
    with open_registered(data=tmp_path_factory.mktemp("registry") / "data") as opened:
        yield opened


@pytest.fixture
def ada(registry: Registered) -> Person:
    """Somebody new, who owns the organisation of her name."""
    return registry.user(f"ada{next(_numbers)}")


@pytest.fixture
def bob(registry: Registered) -> Person:
    """Somebody new who has nothing to do with ada."""
    return registry.user(f"bob{next(_numbers)}")


@pytest.fixture
def tiny(ada: Person) -> ModelAt:
    """A model of ada's that is not there before something is published."""
    return ModelAt(ada, f"{ada.name}/tiny")
