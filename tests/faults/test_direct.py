"""Bytes that go straight between client and store: what the registry asks the store meanwhile fails, and goes on."""

from functools import partial

import pytest

from tests.faults.asking import FAULTS, OF_A_STORE, WAYS, assert_served, break_in_the_middle, meet, moments, together
from tests.faults.conftest import MakeSite
from tests.faults.operations import COPY, READ_STAGED, SEAL, Act, Operation, Scene
from tests.faults.site import Site
from tests.house.people import oid_of
from tests.house.seaweed import seaweed

LARGE_BYTES = 1_500_000  # above what goes through the registry all the same
BEGIN, LIST_PARTS, JOIN = rb"^POST /\S*\.direct\?uploads", rb"^GET /\S*\.direct\?", rb"^POST /\S*\.direct\?uploadId"


@pytest.fixture(scope="module")
def site(make_site: MakeSite) -> Site:
    """Clients reach the store by a way of their own, which does not break."""
    part_size = str(5 * 2**20)
    return make_site("store", store_direct="true", s3_public_endpoint=seaweed().endpoint, part_size_bytes=part_size)


def begin(scene: Scene) -> Act:
    model, data = scene.fresh(), scene.random_bytes(LARGE_BYTES)
    return lambda: scene.ada.offer(model, data)


def begin_again(scene: Scene) -> Act:
    act = begin(scene)
    assert act().status_code == 200
    return act


def complete(scene: Scene) -> Act:
    data = scene.random_bytes(LARGE_BYTES)
    upload = scene.ada.offer(scene.fresh(), data).json()["objects"][0]["actions"]["upload"]
    assert scene.client.put(upload["header"]["1"], content=data).status_code == 200
    return lambda: scene.client.post(upload["href"], json={"oid": oid_of(data)})


def get_link(scene: Scene) -> Act:
    """A file is at the store, and the link to it asks nobody."""
    path = scene.published_once(LARGE_BYTES)
    return lambda: scene.ada.get(f"{path}/files/file0.bin")


OPERATIONS = (
    Operation("begin", begin, {"store": (BEGIN,)}),
    Operation("begin again", begin_again, {"store": (LIST_PARTS,)}),
    Operation("completion", complete, {"store": (LIST_PARTS, JOIN, SEAL, READ_STAGED, COPY)}, (200, 202)),
    Operation("link", get_link, {}, (302,)),
)


@pytest.mark.parametrize("kind", ["silent", "cut", "503", pytest.param("slow", marks=pytest.mark.thorough)])
def test_a_broken_store_is_named_and_links_to_it_are_given_out(scene: Scene, kind: str) -> None:
    prepared = [(operation, operation.prepare(scene)) for operation in OPERATIONS]
    with scene.site.broken("store", FAULTS[kind]):
        together([partial(meet, operation, act, "store", FAULTS[kind].kind) for operation, act in prepared])
    for operation, act in prepared:
        assert_served(operation, act)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_what_was_heard_and_never_answered_is_asked_for_again(scene: Scene, operation: Operation) -> None:
    for fault in moments(operation, "store", ["cut"], ["down"]):
        break_in_the_middle(scene, operation, "store", fault)


@pytest.mark.thorough
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_whatever_breaks_in_the_middle_is_asked_for_again(scene: Scene, operation: Operation) -> None:
    for fault in moments(operation, "store", ["silent", "cut", *OF_A_STORE], WAYS):
        break_in_the_middle(scene, operation, "store", fault)
