"""Users, organisations, members, service accounts and their tokens (contract sections 2 and 6)."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.house import Person, Registered
from tests.server.doors.native.models import ModelAt, faults, pages, refusal


def _in(**span: float) -> str:
    return (datetime.now(UTC) + timedelta(**span)).isoformat()


def _holder(person: Person, key: str) -> Person:
    return Person(person.client, person.name, key)


def _token(person: Person, **wish: Any) -> Person:
    made = person.post("/user/api-keys", {"name": "made", **wish})
    assert made.status_code == 201, made.text
    return _holder(person, made.json()["key"])


# --- users


def test_a_user_is_made_with_a_token_and_an_organisation_of_his_name(registry: Registered) -> None:
    made = registry.admin.post("/users", {"username": "grace", "email_address": "grace@example.com"}).json()
    grace = Person(registry.client, "grace", made["key"])
    assert (made["username"], made["is_admin"], made["disabled"]) == ("grace", False, False)
    assert grace.get("/user").json() == {"id": made["id"], "email_address": "grace@example.com", "username": "grace"}
    (org,) = grace.get("/user/organizations").json()
    assert (org["key"], org["name"]) == ("grace", "grace")
    assert grace.get("/org/grace/members").json()["members"][0]["role"] == "owner"


def test_a_secret_is_shown_once(registry: Registered, ada: Person) -> None:
    made = ada.post("/user/api-keys", {"name": "ci"}).json()
    listed = ada.get("/user/api-keys")
    assert made["key"] not in listed.text
    assert "key" not in listed.json()["api_keys"][0]
    assert [key["name"] for key in listed.json()["api_keys"]] == ["ci", "first token"]
    assert "key" not in registry.admin.get("/users").json()["users"][0]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"username": "Grace"}, "body.username"),
        ({"username": "a b"}, "body.username"),
        ({"username": "settings"}, "body.username"),
        ({"username": "a" * 65}, "body.username"),
        ({}, "body.username"),
        ({"username": "x", "email_address": "nobody"}, "body.email_address"),
        ({"username": "x", "is_admin": True}, "body.is_admin"),
    ],
    ids=str,
)
def test_a_user_name_is_a_slug_that_is_not_reserved(registry: Registered, body: dict[str, Any], where: str) -> None:
    assert list(faults(registry.admin.post("/users", body))) == [where]


def test_a_name_is_of_one_user_or_one_organisation(registry: Registered, ada: Person) -> None:
    registry.admin.post("/orgs", {"key": "taken"})
    for name in (ada.name, "taken", "admin"):
        refused = registry.admin.post("/users", {"username": name})
        assert refusal(refused)[0] in (409, 422)
    assert refusal(registry.admin.post("/orgs", {"key": ada.name})) == (409, "already_exists_error")
    assert refusal(registry.admin.post("/orgs", {"key": "taken"})) == (409, "already_exists_error")


def test_a_refused_user_leaves_nothing(registry: Registered) -> None:
    registry.admin.post("/orgs", {"key": "org-only"})
    assert registry.admin.post("/users", {"username": "org-only"}).status_code == 409
    assert registry.admin.patch("/users/org-only", {"disabled": True}).status_code == 404


def test_users_are_listed_page_by_page(registry: Registered, ada: Person, bob: Person) -> None:
    seen = [user["username"] for page in pages(registry.admin, "/users", "users", 2) for user in page]
    assert seen == [user["username"] for user in registry.admin.get("/users?limit=200").json()["users"]]
    assert {"admin", ada.name, bob.name} <= set(seen)


def test_a_user_who_lost_his_token_gets_another_from_an_admin(registry: Registered, ada: Person) -> None:
    made = registry.admin.post(f"/users/{ada.name}/api-keys").json()
    assert _holder(ada, made["key"]).get("/user").json()["username"] == ada.name
    assert made["name"] == "made by admin"
    assert refusal(registry.admin.post("/users/nobody/api-keys")) == (404, "not_found_error")


def test_an_instance_keeps_an_admin_who_can_act(registry: Registered, ada: Person) -> None:
    for change in ({"disabled": True}, {"is_admin": False}):
        refused = registry.admin.patch("/users/admin", change)
        assert refusal(refused) == (409, "conflict_error")
    assert registry.admin.get("/users").status_code == 200
    registry.admin.patch(f"/users/{ada.name}", {"is_admin": True})
    assert ada.get("/users").status_code == 200
    registry.admin.patch(f"/users/{ada.name}", {"is_admin": False})
    assert refusal(ada.get("/users")) == (403, "forbidden_error")


def test_nobody_but_an_admin_learns_which_users_there_are(ada: Person, bob: Person) -> None:
    answers = [ada.post("/orgs", {"key": "mine", "owner": name}) for name in (bob.name, "nobody-at-all")]
    assert [refusal(answer) for answer in answers] == [(403, "forbidden_error")] * 2
    assert answers[0].text == answers[1].text
    answers = [ada.patch(f"/users/{name}", {"disabled": True}) for name in (bob.name, "nobody-at-all")]
    assert answers[0].text == answers[1].text


# --- organisations and members


def test_an_organisation_is_made_for_an_owner(registry: Registered, ada: Person) -> None:
    made = registry.admin.post("/orgs", {"key": "made-for-ada", "name": "Made for Ada", "owner": ada.name})
    assert made.status_code == 201
    assert (made.json()["key"], made.json()["name"]) == ("made-for-ada", "Made for Ada")
    assert ada.get("/org/made-for-ada").json() == made.json()
    assert registry.admin.get("/org/made-for-ada").status_code == 404, "who makes it need not be in it"
    assert refusal(registry.admin.post("/orgs", {"key": "x", "owner": "nobody"})) == (404, "not_found_error")
    for reserved in ("orgs", "api", "v2", "metrics", "collections"):
        assert list(faults(registry.admin.post("/orgs", {"key": reserved}))) == ["body.key"]


def test_members_are_added_changed_and_removed(registry: Registered, ada: Person, bob: Person) -> None:
    path = f"/org/{ada.name}/members"
    added = ada.post(path, {"username": bob.name})
    assert (added.json()["username"], added.json()["role"]) == (bob.name, "reader")
    assert refusal(ada.post(path, {"username": bob.name, "role": "owner"})) == (409, "already_exists_error")
    assert ada.patch(f"{path}/{bob.name}", {"role": "contributor"}).json()["role"] == "contributor"
    members = {member["username"]: member["role"] for member in bob.get(path).json()["members"]}
    assert members == {ada.name: "owner", bob.name: "contributor"}
    assert ada.delete(f"{path}/{bob.name}").status_code == 204
    assert refusal(ada.delete(f"{path}/{bob.name}")) == (404, "not_found_error")
    assert refusal(ada.patch(f"{path}/{bob.name}", {"role": "reader"})) == (404, "not_found_error")
    assert refusal(ada.post(path, {"username": "nobody-at-all"})) == (404, "not_found_error")
    assert list(faults(ada.post(path, {"username": bob.name, "role": "king"}))) == ["body.role"]


def test_everybody_may_leave_and_an_organisation_keeps_one_owner(ada: Person, bob: Person) -> None:
    path = f"/org/{ada.name}/members"
    ada.post(path, {"username": bob.name, "role": "reader"})
    assert bob.delete(f"{path}/{bob.name}").status_code == 204
    for refused in (ada.delete(f"{path}/{ada.name}"), ada.patch(f"{path}/{ada.name}", {"role": "reader"})):
        assert refusal(refused) == (409, "conflict_error")
    ada.post(path, {"username": bob.name, "role": "owner"})
    assert ada.delete(f"{path}/{ada.name}").status_code == 204
    assert ada.get(f"/org/{ada.name}").status_code == 404
    assert bob.get(f"/org/{ada.name}").status_code == 200


def test_a_token_that_only_reads_cannot_even_leave(ada: Person, bob: Person) -> None:
    ada.post(f"/org/{ada.name}/members", {"username": bob.name})
    reading = _token(bob, access="read")
    assert refusal(reading.delete(f"/org/{ada.name}/members/{bob.name}")) == (403, "forbidden_error")


# --- tokens


def test_a_token_narrowed_to_an_organisation_is_a_stranger_elsewhere(ada: Person, registry: Registered) -> None:
    owner = registry.org(f"{ada.name}-labs")
    owner.post(f"/org/{ada.name}-labs/members", {"username": ada.name, "role": "owner"})
    narrowed = _token(ada, org=ada.name)
    inside, outside = ModelAt(narrowed, f"{ada.name}/tiny"), ModelAt(ada, f"{ada.name}-labs/tiny")
    inside.publish("1.0.0")
    outside.publish("1.0.0")
    assert outside.seen_by(narrowed).get().status_code == 404
    assert [org["key"] for org in narrowed.get("/user/organizations").json()] == [ada.name]
    assert refusal(narrowed.post("/user/api-keys", {"name": "x", "org": f"{ada.name}-labs"}))[0] in (403, 404)
    assert [key["org"] for key in narrowed.get("/user/api-keys").json()["api_keys"]] == [ada.name]


def test_a_narrowed_token_of_an_admin_administers_nothing(registry: Registered) -> None:
    narrowed, reading = _token(registry.admin, org="admin"), _token(registry.admin, access="read")
    for token in (narrowed, reading):
        assert refusal(token.post("/users", {"username": "x"})) == (403, "forbidden_error")
        assert refusal(token.post("/users/admin/api-keys")) == (403, "forbidden_error")


def test_a_token_that_only_reads_changes_nothing(tiny: ModelAt) -> None:
    tiny.publish("1.0.0")
    reading = tiny.seen_by(_token(tiny.person, access="read"))
    assert reading.get("/1.0.0/files/model.safetensors").status_code == 200
    assert reading.post("/1.0.0/download").status_code == 200
    assert reading.person.get(f"/org/{tiny.org}/audit").status_code == 200
    refused = [reading.put("/1.0.0/metrics", {"a": 1}), reading.person.offer(tiny.ref, b"x"), reading.delete()]
    assert [refusal(response) for response in refused] == [(403, "forbidden_error")] * 3


def test_a_token_ends_when_it_says(ada: Person) -> None:
    brief = _token(ada, expires_at=_in(seconds=0.3))
    assert brief.get("/user").status_code == 200
    time.sleep(0.3)
    assert refusal(brief.get("/user")) == (401, "authentication_error")
    assert list(faults(ada.post("/user/api-keys", {"name": "x", "expires_at": _in(seconds=-1)}))) == ["body.expires_at"]
    assert list(faults(ada.post("/user/api-keys", {"name": "x", "expires_at": "2099-01-01T00:00:00"}))) == [
        "body.expires_at"
    ]


WIDER: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"access": "read"}, {"access": "write"}),
    ({"expires_at": _in(hours=1)}, {"expires_at": _in(hours=2)}),
    ({"org": "HERE"}, {"org": "THERE"}),
]


@pytest.mark.parametrize(("narrow", "wider"), WIDER, ids=["reading", "expiry", "organisation"])
def test_no_token_makes_one_that_may_do_more(
    registry: Registered, ada: Person, narrow: dict[str, Any], wider: dict[str, Any]
) -> None:
    there = f"{ada.name}-there"
    registry.org(there, **{ada.name: "owner"})
    names = {"HERE": ada.name, "THERE": there}
    narrow, wider = ({key: names.get(value, value) for key, value in wish.items()} for wish in (narrow, wider))
    token = _token(ada, **narrow)
    assert refusal(token.post("/user/api-keys", {"name": "x", **wider}))[0] in (403, 404)
    child = token.post("/user/api-keys", {"name": "child"}).json()
    for key, value in narrow.items():
        if key == "expires_at":
            assert datetime.fromisoformat(child[key]) <= datetime.fromisoformat(value)
        else:
            assert child[key] == value, "what is left out is as narrow as the one that asks"


def test_an_admins_token_that_ends_makes_none_that_lives_longer(registry: Registered) -> None:
    ends = _in(hours=1)
    brief = _token(registry.admin, expires_at=ends)
    key = brief.post("/users/admin/api-keys").json()
    assert datetime.fromisoformat(key["expires_at"]) <= datetime.fromisoformat(ends)
    made = brief.post("/users", {"username": "brief"}).json()
    (first,) = Person(registry.client, "brief", made["key"]).get("/user/api-keys").json()["api_keys"]
    assert datetime.fromisoformat(first["expires_at"]) <= datetime.fromisoformat(ends)


def test_an_owners_token_that_ends_makes_none_for_a_service_that_lives_longer(ada: Person) -> None:
    brief = _token(ada, expires_at=_in(hours=1))
    path = f"/org/{ada.name}/service-accounts"
    brief.post(path, {"name": "robot"})
    assert refusal(brief.post(f"{path}/robot/api-keys", {})) == (403, "forbidden_error")
    assert refusal(brief.post(f"{path}/robot/api-keys", {"expires_at": _in(hours=2)})) == (403, "forbidden_error")
    assert brief.post(f"{path}/robot/api-keys", {"expires_at": _in(minutes=30)}).status_code == 201


def test_a_token_is_revoked_by_its_person_and_by_itself(ada: Person, bob: Person) -> None:
    reading = _token(ada, access="read")
    mine = {key["name"]: key["id"] for key in ada.get("/user/api-keys").json()["api_keys"]}
    assert refusal(reading.delete(f"/user/api-keys/{mine['first token']}")) == (403, "forbidden_error")
    assert refusal(bob.delete(f"/user/api-keys/{mine['made']}")) == (404, "not_found_error")
    assert reading.delete(f"/user/api-keys/{mine['made']}").status_code == 204
    assert refusal(reading.get("/user")) == (401, "authentication_error")
    assert refusal(ada.delete(f"/user/api-keys/{mine['made']}")) == (404, "not_found_error")
    assert [key["name"] for key in ada.get("/user/api-keys").json()["api_keys"]] == ["first token"]


def test_the_list_of_tokens_says_when_each_was_used_last(ada: Person) -> None:
    used = _token(ada)
    used.get("/user")
    registry = ada.client.app.state.registry  # type: ignore[attr-defined]
    registry.usage.write_down(registry.database)
    keys = {key["name"]: key for key in ada.get("/user/api-keys").json()["api_keys"]}
    assert abs(datetime.now(UTC) - datetime.fromisoformat(keys["made"]["last_used_at"])) < timedelta(seconds=30)


# --- service accounts


def test_a_service_account_has_tokens_and_no_person(ada: Person) -> None:
    path = f"/org/{ada.name}/service-accounts"
    made = ada.post(path, {"name": "robot"})
    assert (made.status_code, made.json()["role"]) == (201, "contributor")
    assert refusal(ada.post(path, {"name": "robot"})) == (409, "already_exists_error")
    key = ada.post(f"{path}/robot/api-keys", {"name": "nightly", "access": "read"}).json()
    assert (key["name"], key["access"], key["org"]) == ("nightly", "read", ada.name)
    robot = _holder(ada, key["key"])
    who = robot.get("/user").json()
    assert (who["username"], who["email_address"]) == (f"service:{ada.name}/robot", None)
    assert [org["key"] for org in robot.get("/user/organizations").json()] == [ada.name]
    assert refusal(robot.post("/user/api-keys", {"name": "x"})) == (403, "forbidden_error")
    assert robot.get("/user/api-keys").json() == {"api_keys": []}
    assert [row["name"] for row in ada.get(path).json()["service_accounts"]] == ["robot"]
    assert [row["name"] for row in ada.get(f"{path}/robot/api-keys").json()["api_keys"]] == ["nightly"]


def test_a_service_account_may_what_its_role_says_at_the_next_request(tiny: ModelAt, ada: Person) -> None:
    path = f"/org/{ada.name}/service-accounts"
    ada.post(path, {"name": "robot", "role": "reader"})
    robot = _holder(ada, ada.post(f"{path}/robot/api-keys", {}).json()["key"])
    assert refusal(robot.offer(tiny.ref, b"x")) == (403, "forbidden_error")
    assert ada.patch(f"{path}/robot", {"role": "contributor"}).json()["role"] == "contributor"
    assert tiny.seen_by(robot).publish("1.0.0").status_code == 201
    assert refusal(tiny.seen_by(robot).delete("/1.0.0")) == (403, "forbidden_error")
    assert ada.delete(f"{path}/robot").status_code == 204
    assert refusal(robot.get("/user")) == (401, "authentication_error")
    assert refusal(ada.delete(f"{path}/robot")) == (404, "not_found_error")
    assert tiny.get().json()["origin"]["registry"]["published_by"] == f"service:{ada.name}/robot"


def test_a_token_of_a_service_account_is_revoked(ada: Person) -> None:
    path = f"/org/{ada.name}/service-accounts"
    for name in ("robot", "other"):
        ada.post(path, {"name": name})
    key = ada.post(f"{path}/robot/api-keys", {}).json()
    robot = _holder(ada, key["key"])
    assert refusal(ada.delete(f"{path}/other/api-keys/{key['id']}")) == (404, "not_found_error")
    assert ada.delete(f"{path}/robot/api-keys/{key['id']}").status_code == 204
    assert refusal(robot.get("/user")) == (401, "authentication_error")
    assert refusal(ada.delete(f"{path}/robot/api-keys/{key['id']}")) == (404, "not_found_error")
    assert list(faults(ada.post(f"{path}/robot/api-keys", {"expires_at": _in(seconds=-5)}))) == ["body.expires_at"]


def test_service_accounts_of_two_organisations_may_have_one_name(ada: Person, bob: Person) -> None:
    for person in (ada, bob):
        assert person.post(f"/org/{person.name}/service-accounts", {"name": "robot"}).status_code == 201
    robot = _holder(ada, ada.post(f"/org/{ada.name}/service-accounts/robot/api-keys", {}).json()["key"])
    assert refusal(robot.get(f"/org/{bob.name}")) == (404, "not_found_error")
