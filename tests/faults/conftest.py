"""Sites for the tests of a file. What is left at its end is sound, and what was counted is printed."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from tests.conftest import Tell
from tests.faults.operations import Scene
from tests.faults.site import Site, open_site

MakeSite = Callable[..., Site]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These tests bring their engines themselves, and need not run in other cells of the grid."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.only("sqlite", "disk"))


@pytest.fixture(scope="module")
def make_site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tell: Tell
) -> Iterator[MakeSite]:
    """Open a site for the tests of a file, as `open_site` does. Nothing was lost at its end; say how much could have
    been."""
    with ExitStack() as ending:

        def make(*parts: str, **chosen: object) -> Site:
            site = open_site(tmp_path_factory.mktemp("site"), *parts, **chosen)  # type: ignore[arg-type]
            ending.callback(site.close)
            ending.callback(lambda: tell(f"{request.module.__name__.rpartition('.')[2]}: {site.toll}"))
            ending.callback(site.assert_sound)
            return site

        yield make


@pytest.fixture(scope="module")
def site(make_site: MakeSite) -> Site:
    """Everything real, and behind wires."""
    return make_site()


@pytest.fixture(scope="module")
def scene(site: Site) -> Iterator[Scene]:
    with site.client() as client:
        yield Scene(site, client, Random(1))
