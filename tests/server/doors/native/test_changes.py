"""What moves about a published version (aliases, metrics, yank), and how versions and models end (section 4)."""

from typing import Any

import pytest

from tests.house import Person, Registered
from tests.server.doors.native.models import ModelAt, faults, pages, refusal


@pytest.fixture
def team(registry: Registered, ada: Person) -> tuple[ModelAt, ModelAt]:
    """A model as its owner reaches it, and as a contributor does."""
    dan = registry.user(f"{ada.name}-dan")
    ada.post(f"/org/{ada.name}/members", {"username": dan.name, "role": "contributor"})
    owned = ModelAt(ada, f"{ada.name}/tiny")
    owned.publish("1.0.0", "2.0.0")
    return owned, owned.seen_by(dan)


# --- aliases


def test_an_alias_is_set_and_moves(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", "2.0.0")
    assert tiny.set_alias("prod", "1.0.0").json() == {"alias": "prod", "name": tiny.ref, "version": "1.0.0"}
    assert tiny.set_alias("prod", "2.0.0").json()["version"] == "2.0.0"
    assert (tiny.get("/1.0.0").json()["aliases"], tiny.get("/2.0.0").json()["aliases"]) == ([], ["prod"])
    assert tiny.resolved("prod") == "2.0.0"
    assert refusal(tiny.set_alias("prod", "9.9.9")) == (404, "not_found_error")
    assert list(faults(tiny.post("/1.0.0/aliases", {"alias": "prod", "version": "2.0.0"}))) == ["body.version"]


def test_an_alias_is_removed_only_from_the_version_it_is_on(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", "2.0.0", aliases=["prod"])
    assert refusal(tiny.delete("/1.0.0/aliases/prod")) == (404, "not_found_error")
    removed = tiny.delete("/2.0.0/aliases/prod")
    assert (removed.status_code, removed.content) == (204, b"")
    assert refusal(tiny.get("/prod")) == (404, "not_found_error")
    assert refusal(tiny.delete("/2.0.0/aliases/prod")) == (404, "not_found_error")


def test_an_alias_points_at_prereleases_and_yanked_versions_too(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", "2.0.0-rc.1")
    tiny.put("/1.0.0/yank", {"reason": "x"})
    assert tiny.set_alias("old", "1.0.0").status_code == 200
    assert tiny.set_alias("next", "2.0.0-rc.1").status_code == 200
    assert [tiny.resolved(alias) for alias in ("old", "next")] == ["1.0.0", "2.0.0-rc.1"]


def test_the_history_says_who_when_from_where_and_to_where(team: tuple[ModelAt, ModelAt]) -> None:
    owned, seen = team
    owned.set_alias("prod", "1.0.0")
    seen.set_alias("prod", "2.0.0")
    seen.set_alias("prod", "2.0.0")
    seen.delete("/2.0.0/aliases/prod")
    owned.set_alias("prod", "1.0.0")
    (item,) = owned.get("/aliases").json()["aliases"]
    assert set(item) == {"alias", "version", "protected", "created_at", "updated_at", "history"}
    ada, dan = owned.person.name, seen.person.name
    assert [(move["by"], move["from"], move["to"]) for move in item["history"]] == [
        (ada, None, "1.0.0"),
        (dan, "2.0.0", None),
        (dan, "1.0.0", "2.0.0"),
        (ada, None, "1.0.0"),
    ]
    moments = [move["at"] for move in item["history"]]
    assert moments == sorted(moments, reverse=True)
    assert all(moment.endswith("Z") for moment in moments)


def test_aliases_are_listed_by_name_page_by_page(tiny: ModelAt) -> None:
    names = ["Zeta", "a", "b.1", "b_2", "c-3", "prod"]
    tiny.publish("1.0.0", aliases=names)
    listed = [[item["alias"] for item in page] for page in pages(tiny.person, f"{tiny.path}/aliases", "aliases", 4)]
    assert listed == [sorted(names)[:4], sorted(names)[4:]]
    assert tiny.get("/aliases").json()["next_cursor"] is None


def test_a_protected_alias_is_moved_by_owners_only(team: tuple[ModelAt, ModelAt]) -> None:
    owned, seen = team
    assert refusal(seen.set_alias("prod", "1.0.0", protected=True)) == (403, "forbidden_error")
    owned.set_alias("prod", "1.0.0", protected=True)
    assert owned.get("/aliases").json()["aliases"][0]["protected"] is True
    refusals = [
        seen.set_alias("prod", "2.0.0"),
        seen.set_alias("prod", "1.0.0", protected=False),
        seen.delete("/1.0.0/aliases/prod"),
        seen.person.publish(f"{seen.ref}:3.0.0", aliases=["prod"]),
    ]
    assert [refusal(response) for response in refusals] == [(403, "forbidden_error")] * 4
    assert seen.set_alias("prod", "1.0.0").status_code == 200, "where it is already, nothing moves"
    assert owned.set_alias("prod", "2.0.0").json()["version"] == "2.0.0"
    assert owned.get("/aliases").json()["aliases"][0]["protected"] is True
    owned.set_alias("prod", "2.0.0", protected=False)
    assert seen.set_alias("prod", "1.0.0").status_code == 200


# --- metrics


def test_metrics_are_merged_and_null_removes_one(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", metrics={"accuracy": 0.5, "loss": 2})
    before = tiny.get().json()
    merged = tiny.put("/1.0.0/metrics", {"accuracy": 0.75, "note": "good", "steps": 2**63})
    assert merged.json()["metrics"] == {"accuracy": 0.75, "loss": 2, "note": "good", "steps": 2**63}
    assert tiny.put("/1.0.0/metrics", {"loss": None, "never there": None}).json()["metrics"].keys() == {
        "accuracy",
        "note",
        "steps",
    }
    after = tiny.put("/1.0.0/metrics", {}).json()
    assert {key: after[key] for key in after if key not in ("metrics", "updated_at")} == {
        key: before[key] for key in before if key not in ("metrics", "updated_at")
    }
    assert after["updated_at"] > before["updated_at"]


def test_metrics_come_where_there_were_none_and_may_all_go(tiny: ModelAt) -> None:
    tiny.publish("1.0.0")
    assert tiny.put("/1.0.0/metrics", {"a": -0.0, "b": 1e308, "c": ""}).json()["metrics"] == {
        "a": 0,
        "b": 1e308,
        "c": "",
    }
    assert tiny.put("/1.0.0/metrics", {"a": None, "b": None, "c": None}).json()["metrics"] == {}


@pytest.mark.parametrize("value", [True, [1], {"a": 1}, "a\x00b"], ids=repr)
def test_a_metric_is_a_finite_number_or_a_string(tiny: ModelAt, value: Any) -> None:
    tiny.publish("1.0.0", metrics={"a": 1})
    assert all(where.startswith("body.a") for where in faults(tiny.put("/1.0.0/metrics", {"a": value})))
    assert tiny.get().json()["metrics"] == {"a": 1}


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"1" + b"0" * 400])
def test_a_metric_that_is_no_finite_double_is_refused(tiny: ModelAt, number: bytes) -> None:
    tiny.publish("1.0.0")
    refused = tiny.put(
        "/1.0.0/metrics", content=b'{"a": ' + number + b"}", headers={"Content-Type": "application/json"}
    )
    assert refusal(refused)[0] in (400, 422)


def test_the_body_of_metrics_is_the_flat_map_itself(tiny: ModelAt) -> None:
    tiny.publish("1.0.0")
    assert faults(tiny.put("/1.0.0/metrics", {"metrics": {"a": 1}}))
    assert faults(tiny.put("/1.0.0/metrics", [1]))
    assert faults(tiny.put("/1.0.0/metrics", {f"m{n}": n for n in range(1_001)}))


# --- yank


def test_a_yanked_version_still_answers_to_its_number_and_its_aliases(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", files={"a.bin": b"one"})
    tiny.publish("1.1.0", files={"a.bin": b"two"}, aliases=["prod"])
    yanked = tiny.put("/1.1.0/yank", {"reason": "wrong tokenizer"}).json()["yanked"]
    assert yanked["reason"] == "wrong tokenizer"
    assert yanked["at"].endswith("Z")
    assert [tiny.resolved(reference) for reference in ("1.1.0", "prod", "latest", "%5E1", "*")] == [
        "1.1.0", "1.1.0", "1.0.0", "1.0.0", "1.0.0",
    ]  # fmt: skip
    assert tiny.get("/1.1.0/files/a.bin").content == b"two"
    assert tiny.post("/prod/download").status_code == 200
    assert tiny.delete("/1.1.0/yank").json()["yanked"] is None
    assert [tiny.resolved(reference) for reference in ("latest", "%5E1")] == ["1.1.0", "1.1.0"]


def test_yanking_twice_keeps_the_last_reason_and_unyanking_twice_is_no_error(tiny: ModelAt) -> None:
    tiny.publish("1.0.0-rc.1")
    for reason in ("one", "two"):
        assert tiny.put("/1.0.0-rc.1/yank", {"reason": reason}).json()["yanked"]["reason"] == reason
    assert [tiny.delete("/1.0.0-rc.1/yank").json()["yanked"] for _ in range(2)] == [None, None]
    assert tiny.latest() == "1.0.0-rc.1"


@pytest.mark.parametrize(
    "body", [{}, {"reason": ""}, {"reason": None}, {"reason": 5}, {"reason": "x" * 2_001}], ids=str
)
def test_a_yank_has_a_reason(tiny: ModelAt, body: dict[str, Any]) -> None:
    tiny.publish("1.0.0")
    assert list(faults(tiny.put("/1.0.0/yank", body))) == ["body.reason"]
    assert tiny.get().json()["yanked"] is None


# --- the end


def test_a_version_that_aliases_hold_cannot_be_deleted(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", "2.0.0")
    for alias in ("prod", "stable"):
        tiny.set_alias(alias, "1.0.0")
    refused = tiny.delete("/1.0.0")
    assert refusal(refused) == (409, "conflict_error")
    assert all(alias in refused.json()["detail"] for alias in ("prod", "stable"))
    tiny.set_alias("prod", "2.0.0")
    assert tiny.delete("/1.0.0").status_code == 409
    tiny.delete("/1.0.0/aliases/stable")
    gone = tiny.delete("/1.0.0")
    assert (gone.status_code, gone.content) == (204, b"")
    assert tiny.get("/1.0.0").status_code == 404
    assert tiny.get("/versions").json()["versions"] == ["2.0.0"]
    assert tiny.delete("/1.0.0").status_code == 404


def test_a_whole_model_is_deleted_when_no_alias_holds_a_version(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", "2.0.0", aliases=["prod"])
    refused = tiny.delete()
    assert refusal(refused) == (409, "conflict_error")
    assert "prod" in refused.json()["detail"]
    tiny.delete("/2.0.0/aliases/prod")
    assert tiny.delete().status_code == 204
    for below in ("", "/versions", "/1.0.0", "/aliases", "/2.0.0/files/model.safetensors"):
        assert refusal(tiny.get(below)) == (404, "not_found_error")
    assert tiny.person.get(f"/org/{tiny.org}/models").json()["total"] == 0


def test_a_model_made_again_under_a_deleted_name_has_nothing_of_the_old_one(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", tags=["old"])
    tiny.make_public()
    tiny.set_alias("prod", "1.0.0")
    tiny.delete("/1.0.0/aliases/prod")
    tiny.delete()
    tiny.publish("2.0.0")
    tiny.set_alias("prod", "2.0.0")
    shown = tiny.get().json()
    assert (shown["is_public"], shown["tags"], shown["download_count"]) == (False, None, 0)
    assert tiny.get("/versions").json()["versions"] == ["2.0.0"]
    assert len(tiny.get("/aliases").json()["aliases"][0]["history"]) == 1
