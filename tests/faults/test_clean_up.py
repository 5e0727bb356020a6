"""Clean-up while database or store breaks at any of its moments: it fails, loses nothing, and is done the next time."""

from contextlib import closing

import pytest

from steelyard.server.app import open_store
from steelyard.server.db.engine import Database
from steelyard.server.errors import RegistryError
from steelyard.server.jobs.gc import Collected, collect
from steelyard.server.settings import Settings
from tests.faults.asking import FAULTS
from tests.faults.conftest import MakeSite
from tests.faults.operations import COMMIT, Scene
from tests.faults.site import TIMEOUTS, Part, Site
from tests.house.wires import Fault, Way

KEPT = b"bytes that a version needs"
DELETE, LIST = rb"^DELETE /\S*/blobs/", rb"^GET /\S*\?list-type"
MOMENTS: list[tuple[Part, str, bytes, Way]] = [
    ("database", "cut", COMMIT, "up"),
    ("database", "cut", COMMIT, "down"),
    ("store", "cut", DELETE, "up"),
    ("store", "cut", DELETE, "down"),
    ("store", "503", DELETE, "up"),
    ("store", "cut", LIST, "up"),
    ("store", "silent", DELETE, "down"),
]


@pytest.fixture(scope="module")
def site(make_site: MakeSite) -> Site:
    """Nobody but the test cleans up."""
    return make_site("database", "store", gc_interval_seconds="0")


def clean_up(site: Site) -> Collected:
    """With no grace, over the wires."""
    names = ("database", "store", "s3_endpoint")
    settings = Settings(**{name: site.settings[name] for name in names}, store_timeout_seconds=TIMEOUTS["store"])  # type: ignore[arg-type]
    with closing(Database(settings.database_url, timeout_seconds=TIMEOUTS["database"])) as database:
        return collect(database, open_store(settings), grace_seconds=0, upload_ttl_seconds=3600)


def delete_some(scene: Scene) -> set[str]:
    """Publish and delete a version of some files, and one with bytes that another needs; the OIDs of the former."""
    model, doomed = scene.fresh(), [scene.random_bytes(500) for _ in range(3)]
    files = {f"file{number}.bin": data for number, data in enumerate([*doomed, KEPT])}
    path = scene.published(model, files)
    artifacts = scene.ada.get(path).json()["artifacts"]
    assert scene.ada.delete(path).status_code == 204
    return {oid for name, oid in artifacts.items() if files[name] != KEPT}


@pytest.mark.parametrize(("part", "kind", "at", "way"), MOMENTS)
def test_a_clean_up_that_breaks_loses_nothing_and_is_done_the_next_time(
    scene: Scene, part: Part, kind: str, at: bytes, way: Way
) -> None:
    kept = scene.published(scene.fresh(), {"kept.bin": KEPT})
    doomed = delete_some(scene)
    with scene.site.broken(part, Fault(FAULTS[kind].kind, at=at, way=way)), pytest.raises(RegistryError):
        clean_up(scene.site)
    clean_up(scene.site)
    assert not doomed & oids_in_the_store(scene.site)
    assert scene.ada.get(f"{kept}/files/kept.bin").content == KEPT
    assert scene.ada.publish(f"{scene.fresh()}:1.0.0", {"kept.bin": KEPT}).status_code == 201


def oids_in_the_store(site: Site) -> set[str]:
    return {f"sha256:{found.name.partition('.')[0]}" for found in site.open_store().scan() if found.kind == "blob"}
