"""`/token`: what is given for which scopes, to whom, and what it opens afterwards (contract, protocols section 3.2)."""

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from steelyard.server.core.tickets import Purpose, Ticket
from tests.house import Person, Registered
from tests.house.people import oid_of, path_of
from tests.house.registries import open_registered
from tests.server.doors.oci.pushing import ORIGIN, Repository, error_of

WEIGHTS = b"weights"
CHALLENGE = f'Bearer realm="{ORIGIN}/token",service="127.0.0.1"'


def basic(token: str | None, user: str = "anybody") -> dict[str, str]:
    """A token as the password of any user."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    """A token of `/token`, as tools send it."""
    return {"Authorization": f"Bearer {token}"}


def ask(person: Person, *scopes: str, **query: str) -> httpx2.Response:
    """GET it as tools do, by Basic where there is a token."""
    headers = basic(person.token) if person.token else {}
    asked = {"service": "127.0.0.1", "scope": list(scopes), **query}
    return person.client.get(f"{ORIGIN}/token", params=asked, headers=headers)


def token_for(person: Person, *scopes: str) -> str:
    """What was given."""
    given = ask(person, *scopes)
    assert given.status_code == 200, given.text
    return str(given.json()["token"])


def scopes_of(given: httpx2.Response) -> dict[str, set[str]]:
    """Repository -> actions, as the answer says them."""
    assert given.status_code == 200, given.text
    pairs = [scope.rpartition(":") for scope in given.json()["scope"].split()]
    return {name.removeprefix("repository:"): set(actions.split(",")) for name, _, actions in pairs}


@pytest.fixture
def model(ada: Person) -> str:
    """A private model of ada's, with one version."""
    assert ada.publish(f"{ada.name}/tiny:1.0.0", {"model.bin": WEIGHTS}).status_code == 201
    return f"{ada.name}/tiny"


def blob_path(model: str) -> str:
    return f"{ORIGIN}/v2/{model}/blobs/{oid_of(WEIGHTS)}"


# --- what is given


def test_whoever_may_publish_gets_what_he_asks_for(ada: Person, model: str) -> None:
    given = ask(ada, f"repository:{model}:pull,push", f"repository:{ada.name}/New:* registry:catalog:*")
    assert scopes_of(given) == {model: {"pull", "push"}, f"{ada.name}/new": {"pull", "push", "delete"}}
    body = given.json()
    assert body["token"] == body["access_token"]
    assert body["expires_in"] >= 300
    assert time.strptime(body["issued_at"], "%Y-%m-%dT%H:%M:%SZ")
    assert given.headers["cache-control"] == "no-store"


def test_whoever_may_less_gets_less_and_never_a_401(ada: Person, bob: Person, model: str) -> None:
    assert scopes_of(ask(bob, f"repository:{model}:pull,push")) == {}
    assert ada.patch(f"{path_of(model)}/visibility", json={"is_public": True}).status_code == 200
    assert scopes_of(ask(bob, f"repository:{model}:pull,push")) == {model: {"pull"}}
    assert scopes_of(ask(bob, f"repository:{model}:push")) == {}


@pytest.mark.parametrize(
    "scope", ["", "repository", "repository:", "repository::pull", "repository:a/b/c:pull", "x:y:z"]
)
def test_a_scope_that_names_nothing_gets_nothing(ada: Person, scope: str) -> None:
    assert scopes_of(ask(ada, scope)) == {}


def test_scopes_are_bounded(ada: Person) -> None:
    assert error_of(ask(ada, *["repository:a/b:pull"] * 21)) == (400, "UNSUPPORTED")
    assert error_of(ask(ada, f"repository:a/{'b' * 400}:pull")) == (400, "UNSUPPORTED")


def test_a_token_for_as_many_repositories_as_may_be_works(ada: Person) -> None:
    names = [f"{ada.name}/{number:02}-{oid_of(str(number).encode())[7:70]}" for number in range(20)]
    token = token_for(ada, *(f"repository:{name}:pull,push,delete" for name in names))
    listed = ada.client.get(f"{ORIGIN}/v2/{names[-1]}/tags/list", headers=bearer(token))
    assert (listed.status_code, listed.json()["tags"]) == (200, [])


def test_a_form_gives_the_same_and_a_refresh_token_on_demand(ada: Person, model: str) -> None:
    form = {"grant_type": "password", "username": "x", "password": ada.token, "scope": f"repository:{model}:pull"}
    given = ada.client.post(f"{ORIGIN}/token", data={**form, "access_type": "offline", "service": "s"})
    assert scopes_of(given) == {model: {"pull"}}
    again = {"grant_type": "refresh_token", "refresh_token": given.json()["refresh_token"], "scope": form["scope"]}
    given = ada.client.post(f"{ORIGIN}/token", data=again)
    assert scopes_of(given) == {model: {"pull"}}
    assert "refresh_token" not in given.json()


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"grant_type": "password", "username": "x", "password": "wrong"}, (401, "UNAUTHORIZED")),
        ({"grant_type": "password", "username": "x"}, (401, "UNAUTHORIZED")),
        ({"grant_type": "refresh_token", "refresh_token": "x" * 2_000}, (401, "UNAUTHORIZED")),
        ({"grant_type": "client_credentials"}, (400, "UNSUPPORTED")),
    ],
    ids=["wrong", "none", "huge", "unknown"],
)
def test_a_form_that_opens_nothing(registry: Registered, form: dict[str, str], expected: tuple[int, str]) -> None:
    assert error_of(registry.client.post(f"{ORIGIN}/token", data=form)) == expected


def test_a_body_that_is_no_form_is_not_read(ada: Person) -> None:
    sent = ada.client.post(f"{ORIGIN}/token", json={"grant_type": "password"}, headers=basic(ada.token))
    assert error_of(sent) == (415, "UNSUPPORTED")
    two = ada.client.post(
        f"{ORIGIN}/token", data={"grant_type": "password", "password": "other"}, headers=basic(ada.token)
    )
    assert error_of(two) == (400, "UNSUPPORTED")


@pytest.mark.parametrize("headers", [basic("wrong"), bearer("wrong"), {"X-API-Key": "wrong"}], ids=str)
def test_a_wrong_credential_is_a_401_with_a_challenge(registry: Registered, headers: dict[str, str]) -> None:
    refused = registry.client.get(f"{ORIGIN}/token", headers={**headers, "Accept": "text/html"})
    assert error_of(refused) == (401, "UNAUTHORIZED")
    assert refused.headers["www-authenticate"] == 'Basic realm="steelyard"'


@pytest.mark.parametrize("way", ["bearer", "key"])
def test_an_api_token_in_other_ways_is_taken_too(ada: Person, way: str) -> None:
    headers = bearer(str(ada.token)) if way == "bearer" else {"X-API-Key": str(ada.token)}
    assert ada.client.get(f"{ORIGIN}/token", headers=headers).status_code == 200


# --- what it opens


def test_who_asks_with_nothing_is_told_where_a_token_is_had(registry: Registered, model: str) -> None:
    client = registry.client
    for accept in ("*/*", "text/html"):
        refused = client.get(f"{ORIGIN}/v2/", headers={"Accept": accept})
        assert error_of(refused) == (401, "UNAUTHORIZED")
        assert refused.headers["www-authenticate"] == CHALLENGE
    refused = client.put(f"{ORIGIN}/v2/{model}/manifests/1.0.0", content=b"{}")
    assert refused.headers["www-authenticate"] == f'{CHALLENGE},scope="repository:{model}:pull,push"'


def test_a_token_opens_what_it_was_given_for_and_nothing_else(ada: Person, model: str) -> None:
    client = ada.client
    pulls = bearer(token_for(ada, f"repository:{model}:pull"))
    assert client.get(f"{ORIGIN}/v2/", headers=pulls).status_code == 200
    assert client.get(blob_path(model), headers=pulls).content == WEIGHTS
    refused = client.post(f"{ORIGIN}/v2/{model}/blobs/uploads/", headers=pulls)
    assert error_of(refused) == (401, "UNAUTHORIZED")
    scope = f'scope="repository:{model}:pull,push",error="insufficient_scope"'
    assert refused.headers["www-authenticate"] == f"{CHALLENGE},{scope}"
    pushes = bearer(token_for(ada, f"repository:{model}:pull,push"))
    assert client.post(f"{ORIGIN}/v2/{model}/blobs/uploads/", headers=pushes).status_code == 202


def test_who_may_not_anyway_is_not_sent_for_another_token(ada: Person, bob: Person, model: str) -> None:
    token = bearer(token_for(bob, f"repository:{model}:pull,push"))
    assert error_of(bob.client.get(blob_path(model), headers=token)) == (404, "NAME_UNKNOWN")
    ada.patch(f"{path_of(model)}/visibility", json={"is_public": True})
    token = bearer(token_for(bob, f"repository:{model}:pull,push"))
    assert bob.client.get(blob_path(model), headers=token).content == WEIGHTS
    pushed = bob.client.post(f"{ORIGIN}/v2/{model}/blobs/uploads/", headers=token)
    assert error_of(pushed) == (403, "DENIED")


def test_nobody_in_particular_pulls_what_is_public(registry: Registered, ada: Person, model: str) -> None:
    nobody = registry.anonymous
    empty = bearer(token_for(nobody, f"repository:{model}:pull"))
    assert nobody.client.get(f"{ORIGIN}/v2/", headers=empty).status_code == 200
    assert error_of(nobody.client.get(blob_path(model), headers=empty)) == (401, "UNAUTHORIZED")
    ada.patch(f"{path_of(model)}/visibility", json={"is_public": True})
    given = ask(nobody, f"repository:{model}:pull,push", offline_token="true")
    assert scopes_of(given) == {model: {"pull"}}
    assert "refresh_token" not in given.json()
    assert nobody.client.get(blob_path(model), headers=bearer(given.json()["token"])).content == WEIGHTS


def test_a_token_dies_with_what_it_was_given_by(registry: Registered, ada: Person, model: str) -> None:
    made = ada.post("/user/api-keys", {"name": "ci"}).json()
    other = Person(ada.client, ada.name, made["key"])
    token = bearer(token_for(other, f"repository:{model}:pull"))
    assert ada.client.get(blob_path(model), headers=token).status_code == 200
    assert ada.delete(f"/user/api-keys/{made['id']}").status_code == 204
    assert error_of(ada.client.get(blob_path(model), headers=token)) == (401, "UNAUTHORIZED")


def test_a_member_who_left_pulls_no_more(ada: Person, bob: Person, model: str) -> None:
    assert ada.post(f"/org/{ada.name}/members", {"username": bob.name, "role": "reader"}).status_code == 201
    token = bearer(token_for(bob, f"repository:{model}:pull"))
    assert bob.client.get(blob_path(model), headers=token).status_code == 200
    assert ada.delete(f"/org/{ada.name}/members/{bob.name}").status_code == 204
    assert error_of(bob.client.get(blob_path(model), headers=token)) == (404, "NAME_UNKNOWN")


@pytest.mark.parametrize("way", [basic, bearer, lambda token: {"X-API-Key": token}], ids=["basic", "bearer", "key"])
def test_an_api_token_needs_no_exchange(ada: Person, model: str, way: Any) -> None:
    assert ada.client.get(f"{ORIGIN}/v2/", headers=way(ada.token)).status_code == 200
    assert ada.client.get(blob_path(model), headers=way(ada.token)).content == WEIGHTS


# --- what is not taken for one


def test_it_opens_no_other_door(ada: Person, model: str) -> None:
    token = bearer(token_for(ada, f"repository:{model}:pull,push"))
    for path in ("/api/v1/user", f"/api/v1{path_of(model)}", f"/api/models/{model}", "/token", "/api/v1/a/b/tags/list"):
        assert ada.client.get(ORIGIN + path, headers=token).status_code == 401, path


def _ticket(registry: Registered, purpose: Purpose, model: str, lasts_seconds: int = 60) -> str:
    office = registry.client.app.state.registry.tickets  # type: ignore[attr-defined]
    ends = int(time.time()) + lasts_seconds
    return str(office.sign(Ticket(purpose, model, None, ends, span=f"{model}:pull")))


@pytest.mark.parametrize("purpose", ["download", "xet-read", "form", "notice"])
def test_no_other_ticket_opens_this_door(registry: Registered, ada: Person, model: str, purpose: Purpose) -> None:
    ada.patch(f"{path_of(model)}/visibility", json={"is_public": True})
    headers = bearer(_ticket(registry, purpose, model))
    assert error_of(ada.client.get(blob_path(model), headers=headers)) == (401, "UNAUTHORIZED")
    assert ada.client.get(blob_path(model), headers=bearer(_ticket(registry, "oci", model))).status_code == 200


def test_one_that_is_past_its_end_says_so(registry: Registered, model: str) -> None:
    headers = bearer(_ticket(registry, "oci", model, lasts_seconds=-1))
    refused = registry.client.get(f"{ORIGIN}/v2/", headers=headers)
    assert error_of(refused) == (401, "UNAUTHORIZED")
    assert refused.headers["www-authenticate"].endswith('error="invalid_token"')


def test_cookies_are_never_read(tmp_path: Path) -> None:
    with open_registered(data=tmp_path / "data") as registered:
        client, admin = registered.client, registered.admin
        signed_in = client.post(f"{ORIGIN}/-/login", data={"token": admin.token}, follow_redirects=False)
        assert signed_in.status_code == 303, signed_in.text
        assert client.cookies
        assert client.get(f"{ORIGIN}/-/me").status_code == 200
        assert error_of(client.get(f"{ORIGIN}/v2/")) == (401, "UNAUTHORIZED")
        assert error_of(client.get(f"{ORIGIN}/token")) == (401, "UNAUTHORIZED")


# --- other servers


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[Registered]:
    """One without pages, which lets nobody in without a token, and few with a wrong one."""
    with open_registered(data=tmp_path / "data", web=False, limit_sign_in_failures="3/minute") as registered:
        yield registered


def test_where_nobody_is_let_in_without_a_token_there_is_none_for_him(strict: Registered) -> None:
    assert error_of(ask(strict.anonymous, "repository:a/b:pull")) == (401, "UNAUTHORIZED")
    assert ask(strict.admin).status_code == 200


def test_guessing_is_slowed_down_and_who_knows_is_not(strict: Registered) -> None:
    answers = [strict.client.get(f"{ORIGIN}/token", headers=basic("guess")) for _ in range(5)]
    assert {error_of(answer) for answer in answers} == {(401, "UNAUTHORIZED"), (429, "TOOMANYREQUESTS")}
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert ask(strict.admin).status_code == 200
    for _ in range(5):  # a token that is over is asked for anew, and is no guess
        assert strict.client.get(f"{ORIGIN}/v2/", headers=bearer(_ticket(strict, "oci", "a/b", -1))).status_code == 401


def test_a_token_for_one_repository_mounts_nothing_of_others(registry: Registered, ada: Person) -> None:
    """What its holder might take from his organisation is not what it was given for."""
    oid = Repository(ada, f"{ada.name}/secret").push_blob(b"of another repository")
    tiny = Repository(ada, f"{ada.name}/tiny")
    given = ada.request("GET", f"{ORIGIN}/token?scope=repository:{tiny.name}:pull,push").json()["token"]
    mount = f"{ORIGIN}{tiny.path}/blobs/uploads/?mount={oid}"
    assert registry.client.post(mount, headers=bearer(given)).status_code == 202
    assert tiny.post(f"blobs/uploads/?mount={oid}").status_code == 201
