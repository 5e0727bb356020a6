"""What the tests of the pages stand on: a registry in this process, and people with browsers."""

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from tests.house import Person, Registered
from tests.house.registries import open_registered
from tests.server.doors.web.shelves import Shelf
from tests.server.doors.web.visiting import Visitor

_numbers = count(1)
Visit = Callable[[Person | None], Visitor]


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registered]:
    """A registry that all tests of a module share; public models are for whoever is signed in."""
    with open_registered(data=tmp_path_factory.mktemp("web") / "data", limits="off") as opened:
        yield opened


@pytest.fixture
def visit(registered: Registered) -> Visit:
    """A browser, signed in as this person, or as nobody."""
    return lambda person: Visitor(registered) if person is None else Visitor(registered).sign_in(person)


@pytest.fixture
def ada(registered: Registered) -> Person:
    """Somebody new."""
    return registered.user(f"ada{next(_numbers)}")


@pytest.fixture
def bob(registered: Registered) -> Person:
    """Somebody else."""
    return registered.user(f"bob{next(_numbers)}")


@pytest.fixture
def browser(visit: Visit, ada: Person) -> Visitor:
    """Ada's browser."""
    return visit(ada)


@pytest.fixture
def shelf(ada: Person) -> Shelf:
    """A private model of hers, with files of every kind."""
    return Shelf(ada)
