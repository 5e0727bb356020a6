"""The audit trail: a row for every change, none for what was refused, and who may read it (contract section 6)."""

from typing import Any

import pytest

from tests.house import Person, Registered
from tests.server.doors.native.models import ModelAt, faults, pages, refusal


def _events(owner: Person, **query: Any) -> list[dict[str, Any]]:
    answered = owner.get(f"/org/{owner.name}/audit", params=query)
    assert answered.status_code == 200, answered.text
    return list(answered.json()["events"])


def _said(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(event["action"], event["target"]) for event in reversed(events)]


def test_every_change_to_models_leaves_one_row(tiny: ModelAt, ada: Person) -> None:
    tiny.publish("1.0.0", aliases=["prod"])
    tiny.publish("2.0.0")
    tiny.set_alias("prod", "2.0.0", protected=True)
    tiny.set_alias("prod", "2.0.0", protected=False)
    tiny.put("/1.0.0/metrics", {"a": 1})
    tiny.put("/1.0.0/yank", {"reason": "wrong"})
    tiny.delete("/1.0.0/yank")
    tiny.make_public()
    tiny.delete("/2.0.0/aliases/prod")
    tiny.delete("/1.0.0")
    tiny.delete()
    assert _said(_events(ada)) == [
        ("user.create", ada.name),
        ("model.create", tiny.ref),
        ("alias.set", f"{tiny.ref}:prod"),
        ("version.publish", f"{tiny.ref}:1.0.0"),
        ("version.publish", f"{tiny.ref}:2.0.0"),
        ("alias.protect", f"{tiny.ref}:prod"),
        ("alias.set", f"{tiny.ref}:prod"),
        ("alias.unprotect", f"{tiny.ref}:prod"),
        ("version.metrics", f"{tiny.ref}:1.0.0"),
        ("version.yank", f"{tiny.ref}:1.0.0"),
        ("version.unyank", f"{tiny.ref}:1.0.0"),
        ("model.visibility", tiny.ref),
        ("alias.remove", f"{tiny.ref}:prod"),
        ("version.delete", f"{tiny.ref}:1.0.0"),
        ("model.delete", tiny.ref),
    ]


def test_every_change_around_models_leaves_one_row(ada: Person, bob: Person) -> None:
    members, services = f"/org/{ada.name}/members", f"/org/{ada.name}/service-accounts"
    ada.post(members, {"username": bob.name})
    ada.patch(f"{members}/{bob.name}", {"role": "owner"})
    ada.delete(f"{members}/{bob.name}")
    ada.post(services, {"name": "robot"})
    ada.patch(f"{services}/robot", {"role": "reader"})
    key = ada.post(f"{services}/robot/api-keys", {}).json()["id"]
    ada.delete(f"{services}/robot/api-keys/{key}")
    ada.delete(f"{services}/robot")
    own = ada.post("/user/api-keys", {"name": "narrow", "org": ada.name}).json()["id"]
    ada.delete(f"/user/api-keys/{own}")
    assert _said(_events(ada)) == [
        ("user.create", ada.name),
        ("member.add", bob.name),
        ("member.role", bob.name),
        ("member.remove", bob.name),
        ("service_account.add", "robot"),
        ("service_account.role", "robot"),
        ("token.create", f"service:{ada.name}/robot/{key}"),
        ("token.revoke", f"service:{ada.name}/robot/{key}"),
        ("service_account.remove", "robot"),
        ("token.create", f"{ada.name}/{own}"),
        ("token.revoke", f"{ada.name}/{own}"),
    ]


def test_what_is_done_to_an_account_is_read_in_its_own_organisation(registry: Registered, ada: Person) -> None:
    mine = ada.post("/user/api-keys", {"name": "mine"}).json()["id"]
    made = registry.admin.post(f"/users/{ada.name}/api-keys").json()["id"]
    registry.admin.patch(f"/users/{ada.name}", {"disabled": True})
    registry.admin.patch(f"/users/{ada.name}", {"disabled": False})
    ada.delete(f"/user/api-keys/{mine}")
    assert [(event["actor"], event["action"], event["target"]) for event in reversed(_events(ada))] == [
        ("admin", "user.create", ada.name),
        (ada.name, "token.create", f"{ada.name}/{mine}"),
        ("admin", "token.create", f"{ada.name}/{made}"),
        ("admin", "user.update", ada.name),
        ("admin", "user.update", ada.name),
        (ada.name, "token.revoke", f"{ada.name}/{mine}"),
    ]


def test_a_row_says_who_what_when_and_from_where(tiny: ModelAt, ada: Person) -> None:
    tiny.publish("1.0.0")
    tiny.put("/1.0.0/yank", {"reason": "wrong tokenizer"}, headers={"X-Request-Id": "request-7"})
    event = _events(ada)[0]
    assert set(event) == {"id", "at", "actor", "action", "target", "details", "address", "request_id"}
    assert (event["actor"], event["action"], event["request_id"]) == (ada.name, "version.yank", "request-7")
    assert (event["details"], event["address"]) == ({"reason": "wrong tokenizer"}, "testclient")
    assert event["at"].endswith("Z")


def test_nothing_in_the_trail_is_a_secret(ada: Person) -> None:
    made = ada.post("/user/api-keys", {"name": "narrow", "org": ada.name}).json()
    text = ada.get(f"/org/{ada.name}/audit").text
    assert made["key"] not in text
    assert str(ada.token) not in text


def test_what_was_refused_or_changed_nothing_leaves_no_row(tiny: ModelAt, ada: Person, bob: Person) -> None:
    tiny.publish("1.0.0", summary="s", aliases=["prod"])
    before = _events(ada)
    answers = [
        tiny.seen_by(bob).delete(),
        tiny.delete(),
        tiny.delete("/9.9.9"),
        ada.publish(f"{tiny.ref}:1.0.0", summary="t"),
        ada.publish(f"{tiny.ref}:1.0.0", summary="s"),
        tiny.set_alias("prod", "1.0.0"),
        tiny.patch("/visibility", {"is_public": False}),
        tiny.delete("/1.0.0/yank"),
        tiny.put("/1.0.0/yank", {}),
        tiny.get(),
        tiny.post("/1.0.0/download"),
    ]
    assert [answer.status_code for answer in answers] == [404, 409, 404, 409, 200, 200, 200, 200, 422, 200, 200]
    assert _events(ada) == before


def test_the_trail_is_filtered(tiny: ModelAt, ada: Person, bob: Person) -> None:
    ada.post(f"/org/{ada.name}/members", {"username": bob.name, "role": "contributor"})
    tiny.publish("1.0.0")
    tiny.seen_by(bob).publish("2.0.0")
    tiny.put("/1.0.0/yank", {"reason": "x"})
    everything = _events(ada)
    assert [event["target"] for event in _events(ada, action="version.publish")] == [
        f"{tiny.ref}:2.0.0",
        f"{tiny.ref}:1.0.0",
    ]
    assert {event["target"] for event in _events(ada, actor=bob.name)} == {f"{tiny.ref}:2.0.0"}
    assert [event["action"] for event in _events(ada, target=f"{tiny.ref}:1.0.0")] == [
        "version.yank",
        "version.publish",
    ]
    assert _events(ada, action="version.publish", actor=bob.name, target=f"{tiny.ref}:1.0.0") == []
    middle = everything[1]["at"]
    assert _events(ada, since=middle) == everything[:2], "from this moment on"
    assert _events(ada, until=middle) == everything[2:], "before it"
    assert _events(ada, since=middle.replace("Z", "+00:00"), until=everything[0]["at"]) == everything[1:2]
    assert list(faults(ada.get(f"/org/{ada.name}/audit?since=2026-01-01"))) == ["query.since"]


def test_the_trail_comes_page_by_page_newest_first(tiny: ModelAt, ada: Person) -> None:
    tiny.publish("1.0.0", "2.0.0", "3.0.0", "4.0.0")
    listed = pages(ada, f"/org/{ada.name}/audit", "events", 2)
    assert all(len(page) <= 2 for page in listed)
    seen = [event for page in listed for event in page]
    assert seen == _events(ada)
    assert [int(event["id"]) for event in seen] == sorted((int(event["id"]) for event in seen), reverse=True)


def test_each_organisation_has_its_own_trail(tiny: ModelAt, ada: Person, bob: Person) -> None:
    tiny.publish("1.0.0")
    assert _said(_events(bob)) == [("user.create", bob.name)]
    tiny.make_public()
    assert refusal(bob.get(f"/org/{ada.name}/audit")) == (403, "forbidden_error")


@pytest.mark.parametrize("role", ["reader", "contributor"])
def test_the_trail_is_for_owners(ada: Person, bob: Person, role: str) -> None:
    ada.post(f"/org/{ada.name}/members", {"username": bob.name, "role": role})
    assert refusal(bob.get(f"/org/{ada.name}/audit")) == (403, "forbidden_error")
