"""Probes, what a client may know before it signs in, and what stands between the server and the world (section 6)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from steelyard import __version__
from tests.conftest import MakeRegistered
from tests.house import Registered
from tests.house.registries import open_registered, somebody_writing
from tests.server.doors.native.models import ModelAt, refusal

ORIGIN = "https://pages.example.com"


@pytest.mark.parametrize("path", ["/health", "/api/v1/health", "/ready", "/api/v1/ready"])
def test_probes_need_no_token_and_mind_no_wrong_one(registry: Registered, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "nonsense"}):
        answered = registry.client.get(path, headers=headers)
        assert (answered.status_code, answered.json()) == (200, {"status": "ok"})
        assert answered.headers["x-request-id"]


@pytest.mark.only("disk")
def test_health_touches_nothing_and_ready_names_what_does_not_answer(make_registered: MakeRegistered) -> None:
    registered = make_registered(database_timeout_seconds=0.1)
    registry = registered.client.app.state.registry  # type: ignore[attr-defined]
    (registry.settings.data / "store").rename(registry.settings.data / "gone")
    answered = registered.client.get("/ready")
    (registry.settings.data / "gone").rename(registry.settings.data / "store")
    assert refusal(answered) == (503, "unavailable_error")
    assert "store" in answered.json()["detail"]
    assert "database" not in answered.json()["detail"]
    assert registered.client.get("/health").status_code == 200
    assert registered.client.get("/ready").status_code == 200


def test_a_writer_elsewhere_does_not_make_it_unready(registry: Registered) -> None:
    with somebody_writing(registry):
        assert registry.client.get("/ready").status_code == 200


def test_config_tells_what_this_is(make_registered: MakeRegistered) -> None:
    registered = make_registered(
        max_file_bytes=1_000, min_client="0.0.1", website_url="https://example.com", deployment_mode="lab"
    )
    told = registered.client.get("/config").json()
    assert told == registered.client.get("/api/v1/config", headers={"Authorization": "Bearer wrong"}).json()
    assert {key: told[key] for key in told if key != "limits"} == {
        "app_version": __version__, "api_version": "v1", "deployment_mode": "lab", "website_url": "https://example.com",
        "min_client_version": "0.0.1", "doors": ["native"],
    }  # fmt: skip
    assert told["limits"]["max_file_bytes"] == 1_000
    assert {"max_body_bytes", "quota_org_bytes", "part_size_bytes"} <= set(told["limits"])


# --- browsers


def test_no_page_of_another_origin_may_call_the_api(registry: Registered) -> None:
    plain = registry.admin.get("/user", headers={"Origin": ORIGIN})
    assert not [name for name in plain.headers if name.startswith("access-control-")]
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}
    preflight = registry.client.options("/api/v1/user", headers=asked)
    assert refusal(preflight) == (405, "invalid_request_error")
    assert not [name for name in preflight.headers if name.startswith("access-control-")]


def test_only_the_origins_that_the_operator_names_may(make_registered: MakeRegistered) -> None:
    registered = make_registered(cors_origins=f"{ORIGIN}, https://other.example.com")
    allowed = registered.admin.get("/user", headers={"Origin": ORIGIN})
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    assert "access-control-allow-credentials" not in allowed.headers
    assert "X-Request-Id" in allowed.headers["access-control-expose-headers"]
    refused = registered.anonymous.get("/user", headers={"Origin": ORIGIN})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, ORIGIN)
    stranger = registered.admin.get("/user", headers={"Origin": "https://evil.example.com"})
    assert "access-control-allow-origin" not in stranger.headers
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization",
    }
    preflight = registered.client.options("/api/v1/user", headers=asked)
    assert preflight.status_code == 200
    assert "PUT" in preflight.headers["access-control-allow-methods"]
    assert preflight.headers["x-request-id"]


# --- proxies


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registered]:
    """A registry behind proxies in 10.0.0.0/8, with a public model and its owner's token as the admin's."""
    data = tmp_path_factory.mktemp("proxied") / "data"
    with open_registered(data=data, trusted_proxies="10.0.0.0/8, ::1") as opened:
        ModelAt(opened.admin, "admin/tiny").publish("1.0.0")
        yield opened


def _download_url(registered: Registered, peer: str, **headers: str) -> tuple[str, str]:
    """What a link is built from for a caller at this address, and the address that the audit trail has of him."""
    client = TestClient(registered.client.app, base_url="http://inside:8950", client=(peer, 4711))
    sent = {"Authorization": f"Bearer {registered.admin.token}", **{k.replace("_", "-"): v for k, v in headers.items()}}
    url = client.post("/api/v1/org/admin/models/tiny/1.0.0/download", headers=sent).json()["url"]
    client.put("/api/v1/org/admin/models/tiny/1.0.0/metrics", json={"a": 1}, headers=sent)
    (event,) = registered.admin.get("/org/admin/audit?limit=1").json()["events"]
    return url.partition("/api/")[0], event["address"]


FORWARDED = {"X_Forwarded_For": "203.0.113.9", "X_Forwarded_Proto": "https", "X_Forwarded_Host": "models.example.com"}


INSIDE, OUTSIDE = "http://inside:8950", "https://models.example.com"


@pytest.mark.parametrize(
    ("peer", "headers", "base_url", "address"),
    [
        ("203.0.113.1", FORWARDED, INSIDE, "203.0.113.1"),
        ("10.0.0.1", {}, INSIDE, "10.0.0.1"),
        ("10.0.0.1", FORWARDED, OUTSIDE, "203.0.113.9"),
        ("::1", FORWARDED, OUTSIDE, "203.0.113.9"),
        ("10.0.0.1", {**FORWARDED, "X_Forwarded_For": "1.2.3.4, 203.0.113.9, 10.0.0.7"}, OUTSIDE, "203.0.113.9"),
        ("10.0.0.1", {**FORWARDED, "X_Forwarded_For": "203.0.113.9, nonsense"}, OUTSIDE, "10.0.0.1"),
        ("10.0.0.1", {"X_Forwarded_For": "10.1.1.1"}, INSIDE, "10.0.0.1"),
        ("10.0.0.1", {"X_Forwarded_Proto": "javascript"}, INSIDE, "10.0.0.1"),
    ],
)
def test_forwarded_headers_are_believed_of_trusted_proxies_only(
    proxied: Registered, peer: str, headers: dict[str, str], base_url: str, address: str
) -> None:
    assert _download_url(proxied, peer, **headers) == (base_url, address)


def test_by_default_no_proxy_is_trusted(registry: Registered) -> None:
    ModelAt(registry.admin, "admin/tiny").publish("1.0.0")
    assert _download_url(registry, "127.0.0.1", **FORWARDED) == ("http://inside:8950", "127.0.0.1")


@pytest.mark.only("sqlite", "disk")
def test_the_data_directory_is_for_its_owner_only(make_registered: MakeRegistered, tmp_path: Path) -> None:
    make_registered(data=tmp_path / "private")
    assert (tmp_path / "private").stat().st_mode & 0o077 == 0
