"""Replicas for the tests of a file, and ones of a test's own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from tests.replicas.site import Replicas, start_replicas

MakeReplicas = Callable[..., Replicas]


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """Two servers that a file's tests leave as they found them; every test makes users of its own."""
    started = start_replicas(tmp_path_factory.mktemp("replicas"))
    yield started
    started.close()


@pytest.fixture
def make_replicas(tmp_path: Path) -> Iterator[MakeReplicas]:
    """Start two servers with these settings; they are ended with the test."""
    numbers = count()
    with ExitStack() as started:

        def make(**chosen: str) -> Replicas:
            folder = tmp_path / str(next(numbers))
            folder.mkdir()
            made = start_replicas(folder, **chosen)
            started.callback(made.close)
            return made

        yield make
