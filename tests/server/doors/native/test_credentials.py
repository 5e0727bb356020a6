"""Who is calling: one secret, three ways to carry it, and never anonymous by mistake (contract section 2)."""

import base64
from collections.abc import Mapping

import httpx2
import pytest

from tests.conftest import MakeRegistered
from tests.house import Person, Registered
from tests.server.doors.native.models import ModelAt, refusal


def _basic(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def _raw(headers: Mapping[str, str]) -> dict[bytes, bytes]:
    """Headers with bytes that are no ASCII, too."""
    return {name.encode(): value.encode("latin-1") for name, value in headers.items()}


def _ask(registry: Registered, headers: Mapping[str, str], path: str = "/api/v1/user") -> httpx2.Response:
    return registry.client.get(path, headers=dict(headers))


def test_a_token_comes_as_bearer_as_api_key_or_as_password(registry: Registered, ada: Person) -> None:
    carried = [
        {"Authorization": f"Bearer {ada.token}"},
        {"authorization": f"bearer {ada.token}"},
        {"X-API-Key": f"{ada.token}"},
        _basic(f"__token__:{ada.token}"),
        _basic(f"any user name:{ada.token}"),
        _basic(f":{ada.token}"),
    ]
    assert [_ask(registry, headers).json()["username"] for headers in carried] == [ada.name] * len(carried)


def test_the_same_token_twice_is_one_and_two_different_ones_are_a_bad_request(ada: Person, bob: Person) -> None:
    assert ada.get("/user", headers={"X-API-Key": str(ada.token)}).status_code == 200
    assert refusal(ada.get("/user", headers={"X-API-Key": str(bob.token)})) == (400, "invalid_request_error")


WRONG = [
    {"Authorization": "Bearer wrong"},
    {"Authorization": "Bearer "},
    {"Authorization": "Bearer"},
    {"Authorization": ""},
    {"Authorization": "Bearer " + "x" * 5_000},
    {"Authorization": "Bearer \xe9\xe8"},
    {"Authorization": "Digest abc"},
    {"Authorization": "Basic !!!"},
    {"Authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()},
    {"X-API-Key": "wrong"},
    {"X-API-Key": ""},
    _basic("__token__:wrong"),
    _basic("no colon"),
]


@pytest.mark.parametrize("headers", WRONG, ids=str)
def test_a_wrong_token_is_401_and_says_how_to_do_it(registry: Registered, headers: dict[str, str]) -> None:
    refused = registry.client.get("/api/v1/user", headers=_raw(headers))
    assert refusal(refused) == (401, "authentication_error")
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert refused.json()["detail"].startswith("Authentication failed")


def test_a_wrong_token_is_never_anonymous(make_registered: MakeRegistered) -> None:
    opened = make_registered(anonymous_public=True)
    tiny = ModelAt(opened.user("ada"), "ada/tiny")
    tiny.publish("1.0.0")
    tiny.make_public()
    assert tiny.seen_by(opened.anonymous).get().status_code == 200
    for headers in WRONG:
        assert opened.client.get(f"/api/v1{tiny.path}", headers=_raw(headers)).status_code == 401
        assert opened.client.get("/api/v1/health", headers=_raw(headers)).status_code == 200


def test_what_was_public_to_all_is_closed_again_without_the_setting(registry: Registered, tiny: ModelAt) -> None:
    tiny.publish("1.0.0")
    tiny.make_public()
    assert refusal(tiny.seen_by(registry.anonymous).get()) == (401, "authentication_error")


def test_a_token_has_a_prefix_that_scanners_of_secrets_can_know(ada: Person) -> None:
    assert str(ada.token).startswith("syd_")
    assert len(str(ada.token)) > 40


def test_the_web_pages_cookies_mean_nothing_here(registry: Registered, ada: Person) -> None:
    refused = registry.client.get("/api/v1/user", headers={"Cookie": f"session={ada.token}; token={ada.token}"})
    assert refusal(refused) == (401, "authentication_error")


def test_the_next_request_knows_of_a_new_role(registry: Registered, bob: Person) -> None:
    owner = registry.org("roles")
    tiny = ModelAt(owner, "roles/tiny")
    tiny.publish("1.0.0")
    seen = tiny.seen_by(bob)
    assert seen.get().status_code == 404
    owner.post("/org/roles/members", {"username": bob.name, "role": "reader"})
    assert (seen.get().status_code, seen.put("/1.0.0/metrics", {"a": 1}).status_code) == (200, 403)
    owner.patch(f"/org/roles/members/{bob.name}", {"role": "contributor"})
    assert (seen.put("/1.0.0/metrics", {"a": 1}).status_code, seen.delete("/1.0.0").status_code) == (200, 403)
    owner.delete(f"/org/roles/members/{bob.name}")
    assert seen.get().status_code == 404


def test_a_disabled_user_is_locked_out_until_he_is_enabled(registry: Registered, bob: Person) -> None:
    registry.admin.patch(f"/users/{bob.name}", {"disabled": True})
    assert refusal(bob.get("/user")) == (401, "authentication_error")
    registry.admin.patch(f"/users/{bob.name}", {"disabled": False})
    assert bob.get("/user").status_code == 200
