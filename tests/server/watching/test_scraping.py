"""Who may read the metrics, in which format, and that they answer most of all when something is wrong."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError
from sqlalchemy import text

from steelyard.server.settings import Settings
from tests.conftest import MakeRegistered
from tests.house import Registered, start_server
from tests.house.people import Person
from tests.house.scraped import read_page, scrape
from tests.server.doors.native.models import refusal

TOKEN = "a-token-for-prometheus-alone"
HANGS_SECONDS, IN_TIME_SECONDS = 6.0, 4.0  # a second for each scrape, and plenty for two busy processors
PAGES = ("/metrics", "/api/v1/metrics")
UNAUTHENTICATED, FORBIDDEN = (401, "authentication_error"), (403, "forbidden_error")


def from_address(registered: Registered, address: str) -> TestClient:
    """A caller whose connection comes from there."""
    return TestClient(registered.client.app, client=(address, 4711))


# --- who may


@pytest.mark.parametrize("page", PAGES)
def test_an_instance_admin_may(registered: Registered, page: str) -> None:
    read_only = registered.admin.post("/user/api-keys", {"name": "scrape", "access": "read"}).json()["key"]
    for token in (registered.admin.token, read_only):
        for headers in ({"Authorization": f"Bearer {token}"}, {"X-API-Key": str(token)}):
            assert registered.client.get(page, headers=headers).status_code == 200
    ada = registered.user("ada")
    assert refusal(registered.client.get(page, headers={"X-API-Key": str(ada.token)})) == FORBIDDEN
    assert refusal(registered.client.get(page, headers={"X-API-Key": "wrong"})) == UNAUTHENTICATED
    assert refusal(registered.client.get(page)) == UNAUTHENTICATED
    assert "www-authenticate" in registered.client.get(page).headers


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1"])
def test_a_program_on_the_same_machine_may(registered: Registered, address: str) -> None:
    client = from_address(registered, address)
    assert client.get("/metrics").status_code == 200
    assert refusal(client.get("/metrics", headers={"Authorization": "Bearer wrong"})) == UNAUTHENTICATED


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "X-Real-IP", "Via"]
)
@pytest.mark.parametrize("trusted", ["", "127.0.0.1"])
def test_who_comes_through_a_proxy_on_the_machine_may_not(
    make_registered: MakeRegistered, header: str, trusted: str
) -> None:
    registered = make_registered(**({"trusted_proxies": trusted} if trusted else {}))
    client = from_address(registered, "127.0.0.1")
    assert refusal(client.get("/metrics", headers={header: "127.0.0.1"})) == UNAUTHENTICATED
    assert client.get("/metrics").status_code == 200


def test_nobody_pretends_to_be_on_the_same_machine(make_registered: MakeRegistered) -> None:
    registered = make_registered(trusted_proxies="10.0.0.0/8")
    for peer in ("203.0.113.9", "10.0.0.1"):
        answered = from_address(registered, peer).get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"})
        assert refusal(answered) == UNAUTHENTICATED


@pytest.mark.parametrize("page", PAGES)
def test_with_a_token_of_its_own_only_that_opens_it(make_registered: MakeRegistered, page: str) -> None:
    registered = make_registered(metrics_token=TOKEN)
    assert registered.client.get(page, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    near = from_address(registered, "127.0.0.1")
    for headers in ({}, {"Authorization": f"Bearer {registered.admin.token}"}, {"Authorization": f"Bearer {TOKEN}x"}):
        assert refusal(near.get(page, headers=headers)) == UNAUTHENTICATED
    assert refusal(registered.client.get("/api/v1/user", headers={"X-API-Key": TOKEN})) == UNAUTHENTICATED


def test_guessing_is_counted_and_scraping_is_not(make_registered: MakeRegistered) -> None:
    registered = make_registered(
        metrics_token=TOKEN, limit_sign_in_failures="3/minute", limit_read="1/minute", limit_search="1/minute"
    )
    right, wrong = {"Authorization": f"Bearer {TOKEN}"}, {"Authorization": "Bearer wrong-and-wrong-again"}
    assert {registered.client.get("/metrics", headers=right).status_code for _ in range(10)} == {200}
    guesses = [registered.client.get("/metrics", headers=wrong).status_code for _ in range(5)]
    assert guesses == [401, 401, 401, 429, 429]
    assert registered.client.get("/metrics", headers=right).status_code == 200


def test_a_token_that_can_be_guessed_is_no_setting(tmp_path: Path) -> None:
    chosen: dict[str, object] = {"data": tmp_path, "metrics_token": "short"}
    with pytest.raises(ValidationError, match="16 characters"):
        Settings(**chosen)  # type: ignore[arg-type]


def test_no_secret_is_on_the_page(make_registered: MakeRegistered) -> None:
    registered = make_registered(metrics_token=TOKEN)
    ada = registered.user("ada")
    ada.publish("ada/tiny:1.0.0")
    url = ada.post("/org/ada/models/tiny/1.0.0/download").json()["url"]
    registered.client.get(url)
    page = registered.client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
    ticket = url.partition("ticket=")[2]
    assert ticket
    assert [secret for secret in (TOKEN, str(ada.token), ticket, "ticket=") if secret in page] == []


# --- what it is


def test_the_text_is_what_prometheus_reads(registered: Registered) -> None:
    scrape(registered.admin)  # so that the route itself is on both pages
    plain = registered.admin.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=")
    accept = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"}
    openmetrics = registered.admin.get("/metrics", headers=accept)
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert openmetrics.text.endswith("# EOF\n")
    names = [{sample.name for sample in read_page(page.text).samples} for page in (plain, openmetrics)]
    assert names[0] == names[1]
    assert "_created" not in plain.text + openmetrics.text
    assert plain.headers["cache-control"] == "no-store"
    assert registered.admin.post("/metrics").status_code == 405


def test_clients_that_are_too_old_may_scrape(make_registered: MakeRegistered) -> None:
    registered = make_registered(min_client="9.0.0")
    assert registered.admin.get("/metrics", headers={"User-Agent": "steelyard/0.1.0"}).status_code == 200


# --- when something is wrong


@contextmanager
def no_connection_left(registered: Registered) -> Iterator[None]:
    """Somebody holds every connection to the database, so that whoever wants one waits for it."""
    pool = registered.client.app.state.registry.database.engine.pool  # type: ignore[attr-defined]
    with ExitStack() as held:
        for _ in range(pool.size() + max(pool._max_overflow, 0)):
            held.callback(pool.connect().close)
        yield


def test_a_scrape_answers_while_the_database_does_not(make_registered: MakeRegistered) -> None:
    registered = make_registered(database_timeout_seconds=HANGS_SECONDS)
    near = from_address(registered, "127.0.0.1")
    assert read_page(near.get("/metrics").text).value("steelyard_part_up", part="database") == 1
    with no_connection_left(registered):
        for _ in range(3):  # those that come while the first question hangs do not wait behind it
            began = time.monotonic()
            page = read_page(near.get("/metrics").text)
            assert time.monotonic() - began < IN_TIME_SECONDS
            assert page.value("steelyard_part_up", part="database") == 0
            assert page.value("steelyard_part_up", part="store") == 1
            assert page.value("steelyard_database_connections_in_use") >= 16
            assert not page.has("steelyard_uploads")
            assert not page.has("steelyard_jobs")
        assert registered.admin.get("/org/admin/models").status_code == 504
    failures = {"kind": "read", "reason": "database_timeout_error"}
    deadline = time.monotonic() + 10
    while not (page := scrape(registered.admin)).value("steelyard_part_up", part="database"):
        assert time.monotonic() < deadline, "it is up again, and the page does not say so"
    assert page.value("steelyard_database_failures_total", **failures) >= 2, "the request, and the first question"
    assert page.has("steelyard_uploads")
    assert page.value("steelyard_database_connections_in_use") <= 5


def test_a_scrape_answers_while_requests_hold_every_thread(make_registered: MakeRegistered) -> None:
    registered = make_registered(database_timeout_seconds=2 * HANGS_SECONDS, metrics_token=TOKEN)
    prometheus = Person(registered.client, "prometheus", TOKEN)
    with no_connection_left(registered):
        crowd = [threading.Thread(target=registered.admin.get, args=("/org/admin/models",)) for _ in range(60)]
        for one in crowd:
            one.start()
        most = 0.0
        while most <= 45 and any(one.is_alive() for one in crowd):
            began = time.monotonic()
            most = scrape(prometheus).value("steelyard_http_requests_in_flight")
            assert time.monotonic() - began < IN_TIME_SECONDS
    for one in crowd:
        one.join()
    assert most > 45, "more than there are threads for requests"


@pytest.mark.only("disk")
def test_a_scrape_answers_while_the_store_is_broken(make_registered: MakeRegistered) -> None:
    registered = make_registered()
    ada = registered.user("ada")
    folder = registered.client.app.state.registry.settings.store_folder  # type: ignore[attr-defined]
    folder.rename(folder.with_name("gone"))
    assert ada.offer("ada/tiny", b"bytes").status_code == 502
    page = scrape(registered.admin)
    folder.with_name("gone").rename(folder)
    assert page.value("steelyard_part_up", part="store") == 0
    assert page.value("steelyard_part_up", part="database") == 1
    assert not page.has("steelyard_store_free_bytes")
    assert page.value("steelyard_store_failures_total", operation="free_bytes", reason="storage_error") >= 1
    again = scrape(registered.admin)
    assert again.value("steelyard_part_up", part="store") == 1
    assert again.value("steelyard_store_free_bytes") > 0


def test_a_write_that_waits_for_its_turn_is_seen_to_wait(registered: Registered) -> None:
    database = registered.client.app.state.registry.database  # type: ignore[attr-defined]
    ada = registered.user("ada")
    name = "steelyard_database_lock_wait_seconds_sum"
    before = scrape(registered.admin).value(name, kind="write")
    with database.write() as session:
        session.execute(text("SELECT 1"))
        waiting = threading.Thread(target=ada.offer, args=("ada/tiny", b"bytes"))
        waiting.start()
        time.sleep(2)  # its way there takes a part of that
    waiting.join()
    assert 0.5 < scrape(registered.admin).value(name, kind="write") - before < 30


def test_a_server_of_its_own_is_scraped_from_its_machine_and_by_token(tmp_path: Path) -> None:
    server = start_server(tmp_path / "data", metrics_token=TOKEN)
    try:
        with httpx2.Client(base_url=server.url) as client:
            assert client.get("/metrics").status_code == 401
            prometheus = Person(client, "prometheus", TOKEN)
            assert scrape(prometheus).value("steelyard_part_up") == 2
    finally:
        server.stop()
    assert TOKEN not in server.log
