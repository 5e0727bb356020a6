"""What the tests of the OCI door stand on: one registry a module, people, and repositories nobody has pushed to yet."""

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from tests.house import Person, Registered
from tests.house.registries import open_registered
from tests.server.doors.oci.pushing import Repository

_numbers = count(1)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registered]:
    """A registry that all tests of a module share. Nobody in particular may read what is public; a file has at most
    two megabytes."""
    data = tmp_path_factory.mktemp("oci") / "data"
    with open_registered(data=data, anonymous_public=True, max_file_bytes=2 * 2**20, store_direct=False) as opened:
        yield opened


@pytest.fixture
def ada(registry: Registered) -> Person:
    """Somebody new, with an organisation of her own."""
    return registry.user(f"ada{next(_numbers)}")


@pytest.fixture
def bob(registry: Registered) -> Person:
    """Somebody else."""
    return registry.user(f"bob{next(_numbers)}")


@pytest.fixture
def repo(ada: Person) -> Repository:
    """A repository of ada's, private once it is there. Nothing was pushed to it yet."""
    return Repository(ada, f"{ada.name}/tiny")


@pytest.fixture
def some_bytes() -> Callable[[int], bytes]:
    """Bytes, so many of them, that were never sent before."""
    return lambda size: f"{next(_numbers)}:".encode().ljust(size, b"x")[:size]
