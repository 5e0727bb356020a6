"""Too many requests, and clients that are too old (contract sections 3 and 6)."""

import itertools
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from tests.conftest import MakeRegistered
from tests.house import Registered
from tests.house.people import oid_of
from tests.house.registries import open_registered
from tests.server.doors.native.models import ModelAt, refusal

_fresh = itertools.count(1)
ACTIONS: dict[str, Callable[[ModelAt], httpx2.Response]] = {
    "read": lambda tiny: tiny.get("/1.0.0"),
    "search": lambda tiny: tiny.person.get(f"/org/{tiny.org}/models"),
    "write": lambda tiny: tiny.put("/1.0.0/metrics", {"a": 1}),
    "publish": lambda tiny: tiny.post_version(version=f"1.{next(_fresh)}.0", artifacts={"a": oid_of(b"weights")}),
    "download": lambda tiny: tiny.post("/1.0.0/download"),
    "transfer": lambda tiny: tiny.get("/1.0.0/files/a"),
    "accounts": lambda tiny: tiny.person.post("/user/api-keys", {"name": "x"}),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_each_named_action_has_a_budget_of_its_own(make_registered: MakeRegistered, action: str) -> None:
    registered = make_registered(**{f"limit_{action}": "6/hour"})
    tiny = ModelAt(registered.user("ada"), "ada/tiny")
    tiny.publish("1.0.0", files={"a": b"weights"})
    answers = [ACTIONS[action](tiny) for _ in range(7)]
    assert answers[0].is_success
    refused = answers[-1]
    assert refusal(refused) == (429, "rate_limit_error")
    assert 3_590 < int(refused.headers["retry-after"]) <= 3_600
    assert re.fullmatch(rf'"{action}";r=0;t=\d+', refused.headers["ratelimit"])
    assert refused.headers["ratelimit-policy"] == f'"{action}";q=6;w=3600'
    assert action in refused.json()["detail"]
    assert refused.headers["retry-after"] in refused.json()["detail"]
    for other in ACTIONS.keys() - {action}:
        assert ACTIONS[other](tiny).is_success, f"{other} is another budget"


def test_budgets_are_by_caller(make_registered: MakeRegistered) -> None:
    registered = make_registered(limit_search="3/minute")
    ada, bob = registered.user("ada"), registered.user("bob")
    second = ada.post("/user/api-keys", {"name": "second"}).json()["key"]
    ada.get("/org/ada/models"), ada.get("/org/ada/models")
    assert ada.get("/org/ada/models", headers={"Authorization": f"Bearer {second}"}).status_code == 200
    assert ada.get("/org/ada/models").status_code == 429, "both tokens are the same caller"
    assert bob.get("/org/bob/models").status_code == 200


def test_a_budget_comes_back(make_registered: MakeRegistered) -> None:
    ada = make_registered(limit_search="1/second").user("ada")
    answers = [ada.get("/org/ada/models") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    time.sleep(int(answers[1].headers["retry-after"]))
    assert ada.get("/org/ada/models").status_code == 200


def test_wrong_tokens_are_limited_by_address_and_never_lock_out_right_ones(make_registered: MakeRegistered) -> None:
    registered = make_registered(limit_sign_in_failures="3/minute", anonymous_public=True)
    ada = registered.user("ada")
    wrong = {"Authorization": "Bearer wrong"}
    statuses = [registered.client.get("/api/v1/user", headers=wrong).status_code for _ in range(5)]
    assert statuses == [401] * 3 + [429] * 2
    assert ada.get("/user").status_code == 200
    other = TestClient(registered.client.app, client=("198.51.100.7", 1))
    assert other.get("/api/v1/user", headers=wrong).status_code == 401


def test_no_refusal_ever_speaks_of_credit(make_registered: MakeRegistered) -> None:
    registered = make_registered(
        **{f"limit_{action}": "1/minute" for action in (*ACTIONS, "sign_in_failures")} | {"limit_accounts": "3/minute"}
    )
    ada = registered.user("ada")
    calls: list[tuple[str, str, Any]] = [
        ("GET", "/user", None),
        ("GET", "/org/ada/models", None),
        ("PUT", "/org/ada/models/x/1.0.0/metrics", {}),
        ("POST", "/org/ada/models/x/1.0.0/download", None),
        ("GET", "/org/ada/models/x/1.0.0/files/a", None),
        ("POST", "/user/api-keys", {"name": "x"}),
        ("GET", "/wrong", None),
    ]
    for method, path, body in calls:
        headers = {"Authorization": "Bearer wrong"} if path == "/wrong" else {}
        path = path.replace("wrong", "user")
        refused = [ada.request(method, path, json=body, headers=headers) for _ in range(4)][-1]
        assert refused.status_code == 429
        assert "credit" not in json.dumps([refused.json(), *refused.headers.items()]).lower()


def test_limits_can_be_switched_off(make_registered: MakeRegistered) -> None:
    ada = make_registered(limits="off", limit_search="1/hour").user("ada")
    assert {ada.get("/org/ada/models").status_code for _ in range(5)} == {200}


def test_what_was_refused_for_its_rate_did_nothing(make_registered: MakeRegistered) -> None:
    registered = make_registered(limit_publish="1/hour")
    tiny = ModelAt(registered.user("ada"), "ada/tiny")
    tiny.publish("1.0.0")
    assert refusal(tiny.person.publish("ada/tiny:2.0.0")) == (429, "rate_limit_error")
    assert tiny.get("/versions").json()["versions"] == ["1.0.0"]


# --- clients


@pytest.fixture(scope="module")
def modern(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registered]:
    """A registry that serves steelyard 0.5.0 and newer."""
    with open_registered(data=tmp_path_factory.mktemp("modern") / "data", min_client="0.5.0") as opened:
        yield opened


@pytest.mark.parametrize("agent", ["steelyard/0.4.9", "steelyard/0.0.1 (python 3.11; linux)", "steelyard/0.5.0-rc.1"])
@pytest.mark.parametrize("path", ["/user", "/org/admin/models", "/nothing", "/org/a/models/b/1.0.0/archive?ticket=x"])
def test_an_outdated_client_is_told_to_upgrade(modern: Registered, agent: str, path: str) -> None:
    refused = modern.admin.get(path, headers={"User-Agent": agent})
    assert refusal(refused) == (426, "upgrade_required_error")
    assert refused.headers["upgrade"] == "steelyard/0.5.0"
    assert "0.5.0" in refused.json()["detail"]
    assert "pip install --upgrade steelyard" in refused.json()["detail"]


@pytest.mark.parametrize("path", ["/health", "/ready", "/config"])
def test_probes_and_config_are_for_outdated_clients_too(modern: Registered, path: str) -> None:
    for prefix in ("", "/api/v1"):
        answered = modern.client.get(prefix + path, headers={"User-Agent": "steelyard/0.1.0"})
        assert answered.status_code == 200
    assert modern.client.get("/config").json()["min_client_version"] == "0.5.0"


@pytest.mark.parametrize(
    "agent",
    ["steelyard/0.5.0", "steelyard/0.10.0", "steelyard/1.0.0+x", "curl/7.0", "python-requests/0.1.0", "",
     "Mozilla/5.0 steelyard/0.1.0", "steelyard", "steelyard/unknown", "steelyard-exporter/0.1.0"],
)  # fmt: skip
def test_newer_ones_and_other_programs_are_served(modern: Registered, agent: str) -> None:
    assert modern.admin.get("/user", headers={"User-Agent": agent}).status_code == 200
