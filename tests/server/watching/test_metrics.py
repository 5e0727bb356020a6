"""What is counted, exactly: after known requests, in this process and in a server's own."""

import logging
import random
import string
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from fastapi.testclient import TestClient

from steelyard import __version__
from steelyard.server.app import create_app
from steelyard.server.core import jobs
from steelyard.server.core.limits import LimitedAction
from steelyard.server.db.tables import utc_now
from steelyard.server.watching import instruments
from steelyard.server.watching.instruments import INSTRUMENTS, OPEN
from tests.conftest import MakeRegistered
from tests.house import Registered, RunningServer, start_server
from tests.house.people import Person
from tests.house.scraped import Scraped, read_page, scrape
from tests.house.seaweed import seaweed

PART_BYTES = 64 * 1024
MODELS = "/api/v1/org/{org}/models"
MODEL = f"{MODELS}/{{name}}"
FILE = f"{MODEL}/{{version}}/files/{{path}}"
ARCHIVE = f"{MODEL}/{{version}}/archive"
PART = f"{MODEL}/blobs/uploads/{{upload_id}}/parts/{{number}}"
UPLOAD = f"{MODEL}/blobs/uploads/{{upload_id}}"


def requests(page: Scraped, method: str, route: str, status: int) -> float:
    """How many requests of a route were answered so."""
    return page.value("steelyard_http_requests_total", method=method, route=route, status=str(status))


def calls(page: Scraped, operation: str) -> float:
    """How often the store was asked for this."""
    return page.value("steelyard_store_operation_duration_seconds_count", operation=operation)


# --- requests


def test_each_request_is_counted_by_method_route_and_status(registered: Registered) -> None:
    ada = registered.user("ada")
    before = scrape(registered.admin)
    for _ in range(3):
        registered.client.get("/health")
    registered.client.get("/api/v1/health")
    ada.get("/org/ada/models")
    ada.get("/org/ada/models/nothing")
    ada.get("/org/ada/models/nothing-else")
    registered.anonymous.get("/org/ada/models")
    registered.client.get("/no/such/thing")
    registered.client.get("/docs/assets/no-such-thing.css")
    page = scrape(registered.admin)
    new = {
        (*(sample.labels[name] for name in ("method", "route", "status")), sample.value)
        for sample in page.find("steelyard_http_requests_total")
        if sample not in before.samples
    }
    assert new == {
        ("GET", "/health", "200", 3),
        ("GET", "/api/v1/health", "200", 1),
        ("GET", MODELS, "200", 1),
        ("GET", MODELS, "401", 1),
        ("GET", MODEL, "404", 2),
        ("GET", "unmatched", "404", 1),
        ("GET", "/docs/assets/{path}", "404", 1),
        ("GET", "/api/v1/metrics", "200", 1),  # the scrape before; this one is not answered yet
    }
    assert page.value("steelyard_http_request_duration_seconds_count", route=MODELS) == 2
    assert page.value("steelyard_http_request_duration_seconds_sum", route=MODELS) > 0
    assert page.value("steelyard_http_requests_in_flight") == 1
    assert page.value("steelyard_build_info", version=__version__) == 1


def test_bytes_are_counted_both_ways(make_registered: MakeRegistered) -> None:
    registered = make_registered(part_size_bytes=PART_BYTES)
    ada, small, large = registered.user("ada"), random.randbytes(1_000), random.randbytes(PART_BYTES + 5_000)
    assert ada.publish("ada/tiny:1.0.0", {"a.bin": small, "b.bin": large}).status_code == 201
    for headers in ({}, {"Range": "bytes=10-19"}):
        ada.get("/org/ada/models/tiny/1.0.0/files/b.bin", headers=headers)
    ada.request("HEAD", "/org/ada/models/tiny/1.0.0/files/b.bin")
    archive = registered.client.get(ada.post("/org/ada/models/tiny/1.0.0/download").json()["url"]).content
    page = scrape(registered.admin)
    assert page.value("steelyard_http_received_bytes_total", method="PUT", route=UPLOAD) == len(small)
    assert page.value("steelyard_http_received_bytes_total", method="PUT", route=PART) == len(large)
    assert page.value("steelyard_http_sent_bytes_total", method="GET", route=FILE) == len(large) + 10
    assert page.value("steelyard_http_sent_bytes_total", method="HEAD", route=FILE) == 0
    assert page.value("steelyard_http_sent_bytes_total", method="GET", route=ARCHIVE) == len(archive)
    assert page.value("steelyard_store_written_bytes_total") == len(small) + len(large)
    assert page.value("steelyard_proof_read_bytes_total") == len(large), "the small one was hashed as it passed"


def test_what_a_server_counts_is_what_went_over_its_wire(server: RunningServer) -> None:
    data = random.randbytes(1_500_000)
    with httpx2.Client(base_url=server.url) as client:
        admin = Person(client, "admin", server.token)
        assert admin.publish("admin/tiny:1.0.0", {"big.bin": data}).status_code == 201
        assert admin.get("/org/admin/models/tiny/1.0.0/files/big.bin").content == data  # a path that granian sends
        part = admin.get("/org/admin/models/tiny/1.0.0/files/big.bin", headers={"Range": "bytes=1-1000000"}).content
        archive = client.get(admin.post("/org/admin/models/tiny/1.0.0/download").json()["url"]).content
        page = read_page(client.get("/metrics").text)
    assert page.value("steelyard_http_sent_bytes_total", method="GET", route=FILE) == len(data) + len(part)
    assert page.value("steelyard_http_sent_bytes_total", method="GET", route=ARCHIVE) == len(archive)
    assert page.value("steelyard_http_received_bytes_total", method="PUT", route=UPLOAD) == len(data)
    assert requests(page, "GET", FILE, 200) == requests(page, "GET", FILE, 206) == 1
    assert f"sent_bytes={len(data)} " in server.log, "what the operating system sends is in the log, too"
    assert page.value("process_resident_memory_bytes") > 10_000_000


def test_what_callers_are_sent_to_the_store_for_is_counted_apart(tmp_path: Path) -> None:
    data = random.randbytes(5_000)
    server = start_server(tmp_path / "data", port=None, **{**seaweed().settings(), "store_direct": "true"})
    try:
        with httpx2.Client(base_url=server.url) as client:
            admin = Person(client, "admin", server.token)
            assert admin.publish("admin/tiny:1.0.0", {"a.bin": data}).status_code == 201
            for headers in ({}, {"Range": "bytes=10-19"}, {"Range": "bytes=-7"}):
                assert admin.get("/org/admin/models/tiny/1.0.0/files/a.bin", headers=headers).status_code == 302
            admin.get("/org/admin/models/tiny/1.0.0/files/a.bin", headers={"Range": "bytes=0-0,2-2"})
            page = read_page(client.get("/metrics").text)
    finally:
        server.stop()
    assert page.value("steelyard_http_redirected_bytes_total", method="GET", route=FILE) == len(data) + 10 + 7
    assert requests(page, "GET", FILE, 302) == 3
    assert requests(page, "GET", FILE, 206) == 1


def test_a_caller_who_leaves_is_counted_as_499(server: RunningServer) -> None:
    with httpx2.Client(base_url=server.url) as client:
        item = Person(client, "admin", server.token).offer("admin/tiny", bytes(100_000)).json()["objects"][0]

        def half() -> Iterator[bytes]:
            yield bytes(50_000)
            raise ConnectionError("enough")

        with pytest.raises(ConnectionError):
            client.put(item["actions"]["upload"]["href"], content=half(), headers={"Content-Length": "100000"})
    with httpx2.Client(base_url=server.url) as client:
        deadline = time.monotonic() + 10
        while not (page := read_page(client.get("/metrics").text)).has("steelyard_http_requests_total", status="499"):
            assert time.monotonic() < deadline, "the server never noticed"
            time.sleep(0.05)
    assert requests(page, "PUT", UPLOAD, 499) == 1
    assert page.value("steelyard_http_requests_in_flight") == 1


# --- the parts


def test_the_store_the_database_and_the_jobs_are_counted(make_registered: MakeRegistered) -> None:
    registered = make_registered(part_size_bytes=PART_BYTES)
    ada, data = registered.user("ada"), random.randbytes(2 * PART_BYTES)
    before = scrape(registered.admin)
    ada.upload("ada/tiny", data)
    page = scrape(registered.admin)
    assert calls(page, "stage") == calls(page, "write") == 2, "one for each part"
    assert calls(page, "prove") == calls(page, "commit") == 1
    assert page.value("steelyard_job_duration_seconds_count", kind="prove") == 1
    assert page.value("steelyard_job_failures_total") == 0
    assert page.value("steelyard_proof_read_bytes_total") == len(data)
    writes = ("steelyard_database_transaction_duration_seconds_count", "steelyard_database_lock_wait_seconds_count")
    for name in writes:  # the batch, each part, the completion, the proof and its end at least
        assert page.value(name, kind="write") + page.value(name, kind="beside") >= 5 + before.value(name, kind="write")
    assert page.value("steelyard_database_failures_total") == page.value("steelyard_store_failures_total") == 0


def test_a_proof_of_wrong_bytes_is_a_failed_job(make_registered: MakeRegistered) -> None:
    registered = make_registered(part_size_bytes=PART_BYTES)
    ada, data = registered.user("ada"), random.randbytes(2 * PART_BYTES)
    action = ada.offer("ada/tiny", data).json()["objects"][0]["actions"]["upload"]
    for number in ("1", "2"):
        assert registered.client.put(action["header"][number], content=bytes(PART_BYTES)).status_code == 200
    assert registered.client.post(action["href"]).status_code == 422
    page = scrape(registered.admin)
    assert page.value("steelyard_job_failures_total", kind="prove", reason="validation_error") == 1
    assert page.value("steelyard_job_failures_total") == 1
    assert page.value("steelyard_uploads", state="failed") == 1


def test_the_files_of_a_version_are_found_in_memory_after_the_first_time(registered: Registered) -> None:
    ada = registered.user("ada")
    ada.publish("ada/tiny:1.0.0")
    before = scrape(registered.admin)
    for _ in range(3):
        ada.get("/org/ada/models/tiny")
    page = scrape(registered.admin)
    hits, misses = "steelyard_tree_cache_hits_total", "steelyard_tree_cache_misses_total"
    assert before.value(misses) == page.value(misses) == 1, "publishing it put it there"
    assert page.value(hits) - before.value(hits) == 3
    assert page.value("steelyard_tree_cache_bytes") > 0


def test_refusals_are_counted_by_budget(make_registered: MakeRegistered) -> None:
    registered = make_registered(limit_search="2/minute", limit_sign_in_failures="1/minute")
    ada = registered.user("ada")
    assert [ada.get("/org/ada/models").status_code for _ in range(4)] == [200, 200, 429, 429]
    for _ in range(2):
        registered.client.get("/api/v1/user", headers={"X-API-Key": "wrong"})
    page = scrape(registered.admin)
    refusals = {sample.labels["action"]: sample.value for sample in page.find("steelyard_rate_limit_refusals_total")}
    assert refusals == {**{str(action): 0.0 for action in LimitedAction}, "search": 2.0, "sign_in_failures": 1.0}
    assert page.value("steelyard_rate_limit_counts_alone") == 0


def test_unfinished_uploads_and_the_queue_are_shown(make_registered: MakeRegistered) -> None:
    registered = make_registered()
    ada = registered.user("ada")
    ada.offer("ada/tiny", b"one", b"two", b"three")
    page = scrape(registered.admin)
    assert {it.labels["state"]: it.value for it in page.find("steelyard_uploads")} == {
        "open": 3, "proving": 0, "failed": 0,
    }  # fmt: skip
    assert page.value("steelyard_jobs", kind="gc", state="later") == 1
    assert page.value("steelyard_jobs") == 1
    assert page.value("steelyard_part_up", part="database") == page.value("steelyard_part_up", part="store") == 1


def test_the_queue_is_told_by_what_becomes_of_its_jobs(make_registered: MakeRegistered) -> None:
    registered = make_registered(gc_interval_seconds=0)  # so that nobody takes them
    database = registered.client.app.state.registry.database  # type: ignore[attr-defined]
    with database.write() as session:
        for number in range(3):
            jobs.enqueue(session, jobs.CLEAN_UP, f"due {number}", run_at=utc_now() - timedelta(seconds=90 + number))
        jobs.enqueue(session, jobs.CLEAN_UP, "later", run_at=utc_now() + timedelta(hours=1))
        jobs.take(session, jobs.new_holder(60), jobs.CLEAN_UP, "running")
    page = scrape(registered.admin)
    found = {(it.labels["kind"], it.labels["state"]): it.value for it in page.find("steelyard_jobs")}
    assert found == {
        ("gc", "due"): 3, ("gc", "running"): 1, ("gc", "later"): 1,
        ("prove", "due"): 0, ("prove", "running"): 0, ("prove", "later"): 0,
        ("chunk", "due"): 0, ("chunk", "running"): 0, ("chunk", "later"): 0,
        ("image", "due"): 0, ("image", "running"): 0, ("image", "later"): 0,
        ("unpack", "due"): 0, ("unpack", "running"): 0, ("unpack", "later"): 0,
    }  # fmt: skip
    assert 92 <= page.value("steelyard_job_oldest_due_seconds", kind="gc") < 120
    assert page.value("steelyard_job_oldest_due_seconds", kind="prove") == 0


def test_a_clean_up_says_what_it_removed(make_registered: MakeRegistered) -> None:
    registered = make_registered(gc_interval_seconds=1, gc_grace_seconds=0, upload_ttl_seconds=1)
    ada = registered.user("ada")
    ada.upload("ada/tiny", b"needed by nobody")
    ada.offer("ada/tiny", b"never sent")
    deadline = time.monotonic() + 20
    name = "steelyard_clean_up_removed_total"
    while (page := scrape(registered.admin)).value(name, kind="blob") + page.value(name, kind="upload") < 2:
        assert time.monotonic() < deadline, "nothing was cleaned up"
        time.sleep(0.2)
    assert page.value("steelyard_clean_up_freed_bytes_total", kind="blob") == len(b"needed by nobody")
    assert page.value("steelyard_job_duration_seconds_count", kind="gc") >= 1


# --- labels


def _hostile(client: TestClient, seed: int) -> None:
    """Requests of somebody who wishes to make many series."""
    chance = random.Random(seed)

    def word() -> str:
        return "".join(chance.choices(string.ascii_lowercase, k=12))

    for path in ("/{0}", "/api/v1/{0}", "/api/v1/org/{0}/models", "/api/v1/org/{0}/models/{1}/1.0.0/files/{1}"):
        for method in ("GET", "POST", "BREW", word().upper(), "get"):
            client.request(method, path.format(word(), word()), headers={"X-Request-Id": word(), "Host": f"{word()}.x"})
    for path in ("/docs/assets/{0}", "/metrics/{0}", "/%00{0}", "/{0}?{0}={0}", "/..%2f{0}", '/{0}"}}%0a{0}', "//{0}"):
        client.get(path.format(word()))
    client.get("/api/v1/user", headers={"Authorization": f"Bearer {word()}", "User-Agent": word()})


def test_nobody_makes_new_series(registered: Registered) -> None:
    _hostile(registered.client, 1)
    scrape(registered.admin)
    before = scrape(registered.admin)
    for seed in range(2, 8):
        _hostile(registered.client, seed)
    after = scrape(registered.admin)
    assert after.value("steelyard_http_requests_total") > before.value("steelyard_http_requests_total") + 100
    assert after.series == before.series


def test_a_label_has_only_the_values_that_are_listed(make_registered: MakeRegistered) -> None:
    registered = make_registered(part_size_bytes=PART_BYTES)
    ada = registered.user("ada-the-private-person")
    ada.publish("ada-the-private-person/secret-model:1.2.3", {"hidden.bin": random.randbytes(2 * PART_BYTES)})
    ada.get("/org/ada-the-private-person/models/secret-model/1.2.3/files/hidden.bin")
    text = registered.admin.get("/metrics").text
    templates = set(registered.client.get("/openapi.json").json()["paths"])
    listed = {it.name: {**it.labels, **({"le": OPEN} if it.buckets else {})} for it in INSTRUMENTS}
    for sample in read_page(text).samples:
        if sample.name.startswith("process_"):
            continue
        base = sample.name if sample.name in listed else sample.name.rpartition("_")[0]
        for label, value in sample.labels.items():
            assert not listed[base][label] or value in listed[base][label], sample
        assert sample.labels.get("route", "/health") in templates | {"unmatched", "/health", "/openapi.json"}
    assert [word for word in ("ada", "secret", "hidden", "1.2.3", str(ada.token)) if word in text] == []


def test_the_lists_of_values_are_those_of_the_code() -> None:
    assert set(instruments.REFUSALS.labels["action"]) == set(LimitedAction)
    kinds = {jobs.PROVE, jobs.CLEAN_UP, jobs.CHUNK, jobs.IMAGE, jobs.UNPACK}
    assert set(instruments.JOBS.labels["kind"]) == kinds


def test_two_applications_in_one_process_count_each_its_own(make_registered: MakeRegistered) -> None:
    first, second = make_registered(), make_registered()
    first.client.get("/health")
    second.client.get("/ready")
    pages = [scrape(registered.admin) for registered in (first, second)]
    assert [requests(page, "GET", "/health", 200) for page in pages] == [1, 0]
    assert [requests(page, "GET", "/ready", 200) for page in pages] == [0, 1]


def test_two_applications_over_one_registry_share_its_numbers(registered: Registered) -> None:
    registry = registered.client.app.state.registry  # type: ignore[attr-defined]
    other = TestClient(create_app(registry))
    other.get("/health")
    assert requests(scrape(registered.admin), "GET", "/health", 200) == 1


def test_a_failure_of_ours_is_counted_as_one(registered: Registered, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("steelyard.server.core.orgs.get_org", fail)
    logging.getLogger("steelyard").setLevel(logging.CRITICAL)
    try:
        assert registered.admin.get("/org/admin").status_code == 500
    finally:
        logging.getLogger("steelyard").setLevel(logging.NOTSET)
    assert requests(scrape(registered.admin), "GET", "/api/v1/org/{org}", 500) == 1
