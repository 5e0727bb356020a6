"""Xet for clients of the native API: when they are asked to send chunks, and the rights that they get for it."""

import hashlib
from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Any

import pytest

from tests.conftest import MakeRegistered
from tests.house import Person, Registered
from tests.house.chunked import Sender
from tests.house.registries import open_registered
from tests.server.doors.native.models import ModelAt

MIB = 2**20
ALL = ["xet", "basic", "multipart"]
_numbers = count(1)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registered]:
    with open_registered(data=tmp_path_factory.mktemp("granting") / "data") as opened:
        yield opened


@pytest.fixture
def ada(registry: Registered) -> Person:
    return registry.user(f"ada{next(_numbers)}")


@pytest.fixture
def model(ada: Person) -> ModelAt:
    """A model of hers that has a version."""
    made = ModelAt(ada, f"{ada.name}/tiny")
    made.publish("1.0.0")
    return made


def _asked(model: ModelAt, *sizes: int, transfers: list[str] | None = None) -> Any:
    """What is said of missing bytes of these sizes."""
    objects = [{"oid": hashlib.sha256(f"{next(_numbers)}".encode()).hexdigest(), "size": size} for size in sizes]
    body = {"operation": "upload", "transfers": transfers or ALL, "objects": objects}
    answered = model.post("/blobs/batch", body)
    assert answered.status_code == 200, answered.text
    return answered.json()


def test_what_is_large_is_wanted_as_chunks_once_there_is_a_version(model: ModelAt) -> None:
    said = _asked(model, 8 * MIB, 5)
    assert said["transfer"] == "xet"
    links = [item["actions"]["upload"] for item in said["objects"]]
    assert all(link["href"].endswith(f"{model.path}/blobs/xet") and link["header"] == {} for link in links)


@pytest.mark.parametrize("transfers", [["basic", "multipart"], ["multipart"]])
def test_nobody_is_asked_for_chunks_who_cannot_make_them(model: ModelAt, transfers: list[str]) -> None:
    assert _asked(model, 8 * MIB, transfers=transfers)["transfer"] == "multipart"


def test_small_files_and_new_models_go_whole(model: ModelAt, ada: Person) -> None:
    assert _asked(model, 8 * MIB - 1, 5)["transfer"] == "multipart"
    assert _asked(ModelAt(ada, f"{ada.name}/new"), 8 * MIB)["transfer"] == "multipart"


def test_what_is_held_is_not_wanted_and_alone_no_reason(model: ModelAt, ada: Person) -> None:
    data = Random(1).randbytes(9 * MIB)
    [oid] = ada.upload(model.ref, data)
    held = {"oid": oid, "size": len(data)}
    body = {"operation": "upload", "transfers": ALL, "objects": [held, {"oid": "1" * 64, "size": 5}]}
    assert model.post("/blobs/batch", body).json()["transfer"] == "multipart"
    body["objects"][1]["size"] = 8 * MIB  # type: ignore[index]
    said = model.post("/blobs/batch", body).json()
    assert (said["transfer"], ["actions" in item for item in said["objects"]]) == ("xet", [False, True])


def test_a_registry_that_cuts_nothing_asks_for_no_chunks(make_registered: MakeRegistered) -> None:
    admin = make_registered(xet=False).admin
    model = ModelAt(admin, "admin/tiny")
    model.publish("1.0.0")
    assert _asked(model, 8 * MIB)["transfer"] == "multipart"


def test_asking_begins_no_upload(make_registered: MakeRegistered) -> None:
    admin = make_registered(quota_org_bytes=20 * MIB).admin
    model = ModelAt(admin, "admin/tiny")
    model.publish("1.0.0")
    for _ in range(3):
        assert _asked(model, 15 * MIB)["transfer"] == "xet"
    assert _asked(model, 15 * MIB, transfers=["basic"])["transfer"] == "basic"


def test_a_grant_opens_the_chunks_of_the_model_until_the_token_behind_it_goes(model: ModelAt, ada: Person) -> None:
    made = ada.post("/user/api-keys", {"name": "ci"}).json()
    robot = model.seen_by(Person(ada.client, ada.name, made["key"]))
    written, read = robot.get("/blobs/xet").json(), robot.get("/1.0.0/xet").json()
    unknown = f"{written['casUrl']}/v1/chunks/default/{'0' * 64}"
    assert _status(ada, unknown, written) == 404
    assert _status(ada, unknown, read) == 403  # only who sends is told what is here
    assert ada.delete(f"/user/api-keys/{made['id']}").status_code == 204
    assert _status(ada, unknown, written) == 401


def _status(person: Person, url: str, grant: dict[str, Any]) -> int:
    return person.client.get(url, headers={"Authorization": f"Bearer {grant['accessToken']}"}).status_code


@pytest.fixture
def packed(registry: Registered, model: ModelAt) -> ModelAt:
    """A model with a version 2.0.0 that has one file whose chunks pack well, and two others."""
    sender = Sender(registry, model.org)
    zeros, noise = sender.make_of(bytes(2 * MIB)), sender.make_of(Random(next(_numbers)).randbytes(2 * MIB))
    [whole] = model.person.upload(model.ref, b"whole")
    artifacts = {"zeros.bin": zeros, "noise.bin": noise, "config.json": whole}
    assert model.post_version(version="2.0.0", artifacts=artifacts).status_code == 201
    return model


def test_files_are_named_that_are_shorter_as_chunks(packed: ModelAt) -> None:
    answered = packed.get("/latest/xet")
    assert answered.headers["Cache-Control"] == "no-store"
    grant = answered.json()
    assert list(grant["files"]) == ["zeros.bin"]
    file = f"{grant['casUrl']}/v2/reconstructions/{grant['files']['zeros.bin']}"
    assert _status(packed.person, file, grant) == 200
    assert packed.get("/1.0.0/xet").json()["files"] == {}


def test_a_grant_for_files_counts_as_a_download(packed: ModelAt, registry: Registered) -> None:
    def taken(version: str) -> int:
        parts = registry.client.app.state.registry  # type: ignore[attr-defined]
        parts.usage.write_down(parts.database)
        return int(packed.get(f"/{version}").json()["download_count"])

    for _ in range(2):
        assert packed.get("/1.0.0/xet").status_code == packed.get("/2.0.0/xet").status_code == 200
    assert (taken("1.0.0"), taken("2.0.0")) == (0, 1)
