"""A server that holds the one lock of writers, and is never heard of again, does not keep the others from writing."""

import time

import pytest

from steelyard.server.db.postgres import LONGEST_PAUSE_SECONDS
from tests.faults.asking import assert_fault
from tests.faults.conftest import MakeSite
from tests.faults.operations import COMMIT, Scene
from tests.faults.site import Site
from tests.faults.test_unknown_commit import prepare_publish, versions
from tests.house.wires import Fault


@pytest.fixture(scope="module")
def site(make_site: MakeSite) -> Site:
    return make_site("database")


def test_others_write_soon_and_nothing_of_it_is_kept(scene: Scene) -> None:
    model, other = scene.fresh(), scene.fresh()
    lost, kept = (prepare_publish(scene, each, {"version": "1.0.0"}) for each in (model, other))
    began = time.monotonic()
    with scene.site.broken("database", Fault("silent", at=COMMIT, after=f"{model}:1.0.0".encode(), times=1)):
        assert_fault(lost(), "database", "silent")
        while (answer := kept()).status_code != 201:
            assert_fault(answer, "database", "silent")
            assert time.monotonic() - began < LONGEST_PAUSE_SECONDS + 5
        assert versions(scene, other) == ["1.0.0"]
        assert versions(scene, model) == []
    assert lost().status_code == 201
