"""Publishing through the API: atomic, immutable, and only of bytes that the organisation holds."""

from tests.house import Registered
from tests.house.people import oid_of


def test_four_lines_from_nothing_to_a_publish(registered: Registered) -> None:
    ada = registered.user("ada")
    published = ada.publish("ada/tiny:1.0.0", {"model.safetensors": b"weights"})
    assert published.status_code == 201
    assert ada.get("/org/ada/models/tiny").json()["artifacts"] == {"model.safetensors": oid_of(b"weights")}


def test_the_same_again_changes_nothing(registered: Registered) -> None:
    ada = registered.user("ada")
    first = ada.publish("ada/tiny:1.0.0", summary="small", aliases=["production"], metrics={"accuracy": 0.5})
    again = ada.publish("ada/tiny:1.0.0", summary="small", aliases=["other"], metrics={"accuracy": 0.9}, is_public=True)
    assert again.status_code == 200
    assert again.json() == first.json()


def test_anything_different_under_the_same_number_is_refused(registered: Registered) -> None:
    ada = registered.user("ada")
    ada.publish("ada/tiny:1.0.0", summary="small")
    other = ada.publish("ada/tiny:1.0.0", summary="large")
    assert (other.status_code, other.json()["type"]) == (409, "already_exists_error")


def test_knowing_a_digest_is_not_owning_its_bytes(registered: Registered) -> None:
    ada, bob = registered.user("ada"), registered.user("bob")
    ada.publish("ada/tiny:1.0.0", {"secret.bin": b"secret"})
    stolen = bob.post("/org/bob/models/loot/versions", {"version": "1.0.0", "artifacts": {"x": oid_of(b"secret")}})
    assert stolen.status_code == 422
    assert oid_of(b"secret") in stolen.json()["errors"][0]["msg"]
    assert stolen.json()["errors"][0]["loc"] == ["body", "artifacts", "x"]
