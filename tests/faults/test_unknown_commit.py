"""The connection to PostgreSQL breaks between COMMIT and its answer: nobody knows what became of it until he asks."""

from collections.abc import Mapping
from typing import Any

import httpx2
import pytest

from tests.faults.conftest import MakeSite
from tests.faults.operations import COMMIT, Act, Scene
from tests.faults.site import Site
from tests.house.people import path_of
from tests.house.wires import Fault, Kind, Way

LOST: list[tuple[Kind, Way, set[int]]] = [
    ("cut", "up", {201}),  # the database never heard it
    ("cut", "down", {200}),  # it did, and its answer was lost
    ("silent", "down", {200}),
    ("silent", "up", {200, 201}),  # it hears it late, when nobody listens any more
]


@pytest.fixture(scope="module")
def site(make_site: MakeSite) -> Site:
    return make_site("database")


each_loss = pytest.mark.parametrize(("kind", "way", "again"), LOST)


def prepare_publish(scene: Scene, model: str, version: Mapping[str, str], key: str | None = None) -> Act:
    """The bytes are there; what is left is to publish them."""
    body: dict[str, Any] = {
        **version,
        "artifacts": {"w.bin": scene.ada.upload(model, b"weights of " + model.encode())[0]},
    }
    headers = {"Idempotency-Key": key} if key else {}
    return lambda: scene.ada.post(f"{path_of(model)}/versions", body, headers=headers)


def versions(scene: Scene, model: str) -> list[str]:
    answer: httpx2.Response = scene.ada.get(f"{path_of(model)}/versions")
    return list(answer.json()["versions"]) if answer.status_code == 200 else []


def count_publishes(scene: Scene, model: str) -> int:
    """How many versions of a model the trail says were published."""
    page = scene.ada.get("/org/ada/audit", params={"limit": 200, "action": "version.publish"}).json()
    return sum(event["target"].startswith(f"{model}:") for event in page["events"])


@each_loss
def test_a_publish_that_nobody_answered_is_one_version_when_it_is_sent_again(
    scene: Scene, kind: Kind, way: Way, again: set[int]
) -> None:
    model = scene.fresh()
    publish = prepare_publish(scene, model, {"version": "1.0.0"})
    with scene.site.broken("database", Fault(kind, at=COMMIT, after=f"{model}:1.0.0".encode(), way=way)):
        lost = publish()
    assert lost.status_code == (504 if kind == "silent" else 502)
    assert "being committed" in lost.json()["detail"]
    assert publish().status_code in again
    assert versions(scene, model) == ["1.0.0"]
    assert count_publishes(scene, model) == 1


@each_loss
def test_a_bump_that_nobody_answered_counts_once(scene: Scene, kind: Kind, way: Way, again: set[int]) -> None:
    model = scene.fresh()
    assert prepare_publish(scene, model, {"version": "1.0.0"})().status_code == 201
    bump = prepare_publish(scene, model, {"bump": "minor"}, key="one-bump")
    with scene.site.broken("database", Fault(kind, at=COMMIT, after=f"{model}:1.1.0".encode(), way=way)):
        assert bump().status_code in (502, 504)
    answer = bump()
    assert (answer.status_code in again, answer.json()["version"]) == (True, "1.1.0")
    assert versions(scene, model) == ["1.1.0", "1.0.0"]
    assert count_publishes(scene, model) == 2
