"""Where a version came from: what a publisher says, and what the server says itself (contract section 4, "Origin")."""

from typing import Any

import pytest

from tests.house import Registered
from tests.server.doors.native.models import ModelAt, faults


def _nested(depth: int, *, innermost: Any = None) -> Any:
    """Objects in objects, `depth` of them."""
    value = innermost
    for _ in range(depth):
        value = {"in": value}
    return value


def test_an_origin_is_kept_as_it_was_said(tiny: ModelAt) -> None:
    said = {
        "source": "training_run", "url": "https://example.com/run?id=1", "repo": "acme/train", "revision": "main",
        "run_id": "4711", "git": {"repo": "https://example.com/x.git", "commit": "0" * 40, "dirty": True},
        "derived_from": [{"name": "acme/base", "version": "1.0.0", "relation": "finetune"}],
        "dataset_refs": ["wiki"], "created_with": {"tool": "steelyard", "version": "0.1.0"},
        "own key": [None, 1.5, {"größe": "☃"}],
    }  # fmt: skip
    tiny.publish("1.0.0", origin=said)
    origin = tiny.get().json()["origin"]
    assert {key: value for key, value in origin.items() if key != "registry"} == said


@pytest.mark.parametrize(
    "forged", [{"published_by": "admin", "via": "oci", "at": "2001-01-01T00:00:00Z"}, "admin", None, []]
)
def test_the_servers_stamp_cannot_be_forged(tiny: ModelAt, forged: Any) -> None:
    tiny.publish("1.0.0", origin={"registry": forged, "source": "upload"})
    stamp = tiny.get().json()["origin"]["registry"]
    assert (stamp["published_by"], stamp["via"]) == (tiny.person.name, "api")
    assert stamp["at"] == tiny.get().json()["created_at"]


def test_a_service_account_stands_in_the_stamp(registry: Registered) -> None:
    owner = registry.org("stamps")
    owner.post("/org/stamps/service-accounts", {"name": "robot"})
    key = owner.post("/org/stamps/service-accounts/robot/api-keys", {}).json()["key"]
    tiny = ModelAt(type(owner)(owner.client, "robot", key), "stamps/tiny")
    shown = tiny.publish("1.0.0").json()
    assert shown["origin"]["registry"]["published_by"] == "service:stamps/robot"
    assert shown["created_by_email"] is None


@pytest.mark.parametrize("origin", [{}, None])
def test_an_origin_is_never_null(tiny: ModelAt, origin: dict[str, Any] | None) -> None:
    tiny.publish("1.0.0", origin=origin)
    assert set(tiny.get().json()["origin"]) == {"registry"}


def test_an_origin_is_at_most_eight_deep(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", origin=_nested(8, innermost="text"))
    for number, deeper in enumerate((_nested(9), _nested(8, innermost={}), _nested(8, innermost=[]), _nested(60))):
        refused = tiny.person.publish(f"{tiny.ref}:1.{number}.0", origin=deeper)
        assert [where.partition(".in")[0] for where in faults(refused)] == ["body.origin"]
        assert "8" in refused.json()["detail"]


@pytest.mark.parametrize("letter", ["x", "ö", "☃", "😀"])
def test_an_origin_is_at_most_64_kib_of_utf8(tiny: ModelAt, letter: str) -> None:
    room = 64 * 1024 - len('{"text":""}')
    most = letter * (room // len(letter.encode()))
    tiny.publish("1.0.0", origin={"text": most})
    refused = tiny.person.publish(f"{tiny.ref}:2.0.0", origin={"text": most + letter})
    assert list(faults(refused)) == ["body.origin"]
    assert "65536" in refused.json()["detail"]


@pytest.mark.parametrize("origin", [{"a": "b\x00c"}, {"a\x00b": 1}, {"a": [{"b": "\x00"}]}])
def test_an_origin_has_no_nul(tiny: ModelAt, origin: dict[str, Any]) -> None:
    refused = tiny.person.publish(f"{tiny.ref}:1.0.0", origin=origin)
    assert [where.split(".")[:2] for where in faults(refused)] == [["body", "origin"]]
