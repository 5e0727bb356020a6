"""Whole versions as one tar, who asked for them, and how they are counted (contract section 4, rows 3, 10 and 14)."""

import io
import tarfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from steelyard.server.core import downloads
from tests.conftest import MakeRegistered
from tests.house import Person, Registered
from tests.server.doors.native.models import ModelAt, refusal

FILES = {"model.safetensors": b"weights" * 1_000, "sub/größe.txt": b"", "README.md": b"# tiny\n"}


def _url(model: ModelAt, reference: str = "latest") -> str:
    return str(model.post(f"/{reference}/download").json()["url"])


def test_a_download_is_a_link_that_works_by_itself(tiny: ModelAt) -> None:
    tiny.publish("1.0.0", files=FILES)
    begun = tiny.post("/%5E1/download").json()
    assert (begun["status"], begun["filename"]) == ("ready", "tiny-1.0.0.tar")
    assert urlsplit(begun["url"]).scheme == "http"
    ends = datetime.fromisoformat(begun["expires_at"])
    assert timedelta(minutes=59) < ends - datetime.now(UTC) <= timedelta(hours=1)
    fetched = tiny.person.client.get(begun["url"], headers={})
    assert fetched.status_code == 200
    assert fetched.headers["content-type"] == "application/x-tar"
    assert 'filename="tiny-1.0.0.tar"' in fetched.headers["content-disposition"]
    with tarfile.open(fileobj=io.BytesIO(fetched.content)) as tar:
        found = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    assert found == FILES


def test_every_download_of_a_version_has_the_same_bytes(tiny: ModelAt, ada: Person) -> None:
    tiny.publish("1.0.0", files=FILES)
    twin = ModelAt(ada, f"{ada.name}/twin")
    twin.publish("7.0.0", files=dict(reversed(FILES.items())))
    first, second, other = (ada.client.get(_url(model)) for model in (tiny, tiny, twin))
    assert first.content == second.content == other.content
    assert first.headers["etag"] == second.headers["etag"]
    assert int(first.headers["content-length"]) == len(first.content)
    head = ada.client.head(_url(tiny))
    assert (head.headers["content-length"], head.headers["etag"]) == (
        first.headers["content-length"],
        first.headers["etag"],
    )


def test_a_broken_download_goes_on_by_range_also_with_a_new_link(tiny: ModelAt, ada: Person) -> None:
    tiny.publish("1.0.0", files=FILES)
    whole = ada.client.get(_url(tiny))
    for cut in (1, 511, 512, 3_000, len(whole.content) - 1):
        headers = {"Range": f"bytes={cut}-", "If-Range": whole.headers["etag"]}
        rest = ada.client.get(_url(tiny), headers=headers)
        assert (rest.status_code, whole.content[:cut] + rest.content) == (206, whole.content)
        assert rest.headers["content-range"] == f"bytes {cut}-{len(whole.content) - 1}/{len(whole.content)}"
    beyond = ada.client.get(_url(tiny), headers={"Range": f"bytes={len(whole.content)}-"})
    assert refusal(beyond) == (416, "invalid_request_error")
    changed = ada.client.get(_url(tiny), headers={"Range": "bytes=5-", "If-Range": '"other"'})
    assert (changed.status_code, len(changed.content)) == (200, len(whole.content))
    assert ada.client.get(_url(tiny), headers={"If-None-Match": whole.headers["etag"]}).status_code == 304


def test_how_a_download_stands_is_told_to_whoever_began_it(tiny: ModelAt, ada: Person, bob: Person) -> None:
    tiny.publish("1.0.0", files=FILES)
    tiny.make_public()
    begun = tiny.post("/1.0.0/download").json()
    path = f"/org/{ada.name}/downloads/models/{begun['download_id']}"
    stands = ada.get(path).json()
    assert (stands["download_id"], stands["status"], stands["error"]) == (begun["download_id"], "ready", None)
    assert ada.client.get(stands["url"]).status_code == 200
    for refused in (
        bob.get(path),
        ada.get(f"/org/{ada.name}/downloads/models/{uuid4()}"),
        bob.get(path.replace(ada.name, bob.name)),
    ):
        assert refusal(refused) == (404, "not_found_error")


def test_the_download_of_a_version_that_was_deleted_has_failed(tiny: ModelAt, ada: Person) -> None:
    tiny.publish("1.0.0")
    begun = tiny.post("/1.0.0/download").json()
    tiny.delete("/1.0.0")
    stands = ada.get(f"/org/{ada.name}/downloads/models/{begun['download_id']}").json()
    assert (stands["status"], stands["url"], stands["expires_at"]) == ("failed", None, None)
    assert "1.0.0" in stands["error"]
    assert refusal(ada.client.get(begun["url"])) == (404, "not_found_error")


def test_links_are_built_from_the_public_url_where_there_is_one(make_registered: MakeRegistered) -> None:
    registered = make_registered(public_url="https://models.example.com/base/")
    tiny = ModelAt(registered.user("ada"), "ada/tiny")
    offered = tiny.person.offer(tiny.ref, b"x").json()["objects"][0]["actions"]["upload"]["href"]
    assert offered.startswith("https://models.example.com/base/api/v1/org/ada/models/tiny/blobs/uploads/")


def test_links_are_else_built_from_the_host_that_was_asked(tiny: ModelAt) -> None:
    tiny.publish("1.0.0")
    for host in ("registry.example.com", "registry.example.com:8950", "127.0.0.1:1"):
        url = tiny.post("/1.0.0/download", headers={"Host": host}).json()["url"]
        assert url.startswith(f"http://{host}/api/v1/org/")


# --- activity


def test_activity_shows_each_download_of_a_whole_version_newest_first(tiny: ModelAt, ada: Person) -> None:
    tiny.publish("1.0.0", "2.0.0", files=FILES)
    for reference in ("1.0.0", "latest", "latest"):
        tiny.post(f"/{reference}/download")
    tiny.get("/1.0.0/files/README.md")
    page = ada.get(f"/org/{ada.name}/models/activity").json()
    assert (page["limit"], page["offset"], page["total"]) == (50, 0, 3)
    assert [item["model_version"] for item in page["items"]] == ["2.0.0", "2.0.0", "1.0.0"]
    item = page["items"][0]
    assert set(item) == {
        "id", "model_name", "model_version", "format", "status", "created_at", "completed_at", "file_size_bytes",
        "user_id",
    }  # fmt: skip
    assert (item["model_name"], item["format"], item["user_id"]) == (tiny.ref, "tar", ada.get("/user").json()["id"])
    assert item["file_size_bytes"] == sum(map(len, FILES.values()))


def test_activity_is_filtered_and_paged(tiny: ModelAt, ada: Person, bob: Person) -> None:
    other = ModelAt(ada, f"{ada.name}/other")
    for model in (tiny, other):
        model.publish("1.0.0")
        model.make_public()
        model.post("/1.0.0/download")
    tiny.seen_by(bob).post("/1.0.0/download")
    path, bob_id = f"/org/{ada.name}/models/activity", bob.get("/user").json()["id"]

    def names(**query: object) -> list[str]:
        return [item["model_name"].partition("/")[2] for item in ada.get(path, params=query).json()["items"]]

    assert names() == ["tiny", "other", "tiny"]
    assert names(user_id=bob_id) == ["tiny"]
    assert names(model_name="tiny") == names(model_name="TINY") == names(model_name=tiny.ref) == ["tiny", "tiny"]
    assert names(model_name="nothing") == names(user_id="nobody") == []
    assert [names(limit=2, offset=offset) for offset in (0, 2, 4)] == [["tiny", "other"], ["tiny"], []]
    assert ada.get(path, params={"limit": 1, "offset": 1}).json()["total"] == 3


def test_activity_outlives_the_version(tiny: ModelAt, ada: Person) -> None:
    tiny.publish("1.0.0")
    tiny.post("/1.0.0/download")
    tiny.delete()
    (item,) = ada.get(f"/org/{ada.name}/models/activity").json()["items"]
    assert (item["model_name"], item["model_version"]) == (tiny.ref, "1.0.0")


# --- counting


@pytest.fixture
def count(tiny: ModelAt) -> Callable[[], int]:
    """The count of tiny:1.0.0 once all that was noted is written: at most five seconds later."""
    app = tiny.person.client.app  # type: ignore[attr-defined]

    def settled() -> int:
        app.state.registry.usage.write_down(app.state.registry.database)
        return int(tiny.get("/1.0.0").json()["download_count"])

    return settled


def test_a_count_lags_by_five_seconds_at_most(tiny: ModelAt) -> None:
    tiny.publish("1.0.0")
    tiny.get("/1.0.0/files/model.safetensors")
    began = time.monotonic()
    while tiny.get("/1.0.0").json()["download_count"] == 0:
        assert time.monotonic() - began < 5
        time.sleep(0.1)
    assert tiny.get("/1.0.0").json()["download_count"] == 1


def test_one_caller_counts_once_an_hour_through_whatever_door(tiny: ModelAt, count: Callable[[], int]) -> None:
    tiny.publish("1.0.0", files=FILES)
    for _ in range(2):
        tiny.get("/1.0.0/files/README.md")
        tiny.get("/1.0.0/files/model.safetensors", headers={"Range": "bytes=0-5"})
        tiny.post("/latest/download")
        assert count() == 1


def test_the_next_hour_counts_anew(tiny: ModelAt, count: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.publish("1.0.0")
    for passed in (0, 3_600, 7_200):
        real = time.time()
        monkeypatch.setattr(downloads, "time", type("Clock", (), {"time": staticmethod(lambda at=real + passed: at)}))
        tiny.get("/1.0.0/files/model.safetensors")
    assert count() == 3


def test_every_caller_and_every_version_counts(tiny: ModelAt, count: Callable[[], int], bob: Person) -> None:
    tiny.publish("1.0.0", "2.0.0")
    tiny.make_public()
    for person in (tiny.person, bob):
        seen = tiny.seen_by(person)
        for number in ("1.0.0", "2.0.0"):
            seen.get(f"/{number}/files/model.safetensors")
    assert (count(), tiny.get("/2.0.0").json()["download_count"]) == (2, 2)


def test_head_and_the_ticketed_link_and_reading_about_it_count_nothing(tiny: ModelAt, count: Callable[[], int]) -> None:
    tiny.publish("1.0.0")
    url = _url(tiny, "1.0.0")
    assert count() == 1
    other = tiny.person.post("/user/api-keys", {"name": "of the same person"}).json()["key"]
    for response in (
        tiny.head("/1.0.0/files/model.safetensors"),
        tiny.person.client.get(url),
        tiny.person.client.head(url),
        tiny.get("/1.0.0"),
        tiny.get("/1.0.0/files/model.safetensors", headers={"Authorization": f"Bearer {other}"}),
    ):
        assert response.status_code == 200
    assert count() == 1


def test_what_was_not_sent_does_not_count(tiny: ModelAt, count: Callable[[], int]) -> None:
    tiny.publish("1.0.0")
    etag = tiny.head("/1.0.0/files/model.safetensors").headers["etag"]
    refused = [
        tiny.get("/1.0.0/files/model.safetensors", headers={"If-None-Match": etag}),
        tiny.get("/1.0.0/files/model.safetensors", headers={"If-Match": '"other"'}),
        tiny.get("/1.0.0/files/model.safetensors", headers={"Range": "bytes=5000-"}),
        tiny.get("/1.0.0/files/nothing"),
        tiny.get("/1.0.0/files/..%2Fx"),
    ]
    assert [response.status_code for response in refused] == [304, 412, 416, 404, 422]
    assert count() == 0


def test_callers_without_a_token_count_by_their_address(make_registered: MakeRegistered) -> None:
    registered: Registered = make_registered(anonymous_public=True)
    tiny = ModelAt(registered.user("ada"), "ada/tiny")
    tiny.publish("1.0.0")
    tiny.make_public()
    registry = registered.client.app.state.registry  # type: ignore[attr-defined]
    for address in ("198.51.100.1", "198.51.100.1", "198.51.100.2"):
        client = TestClient(registered.client.app, base_url="http://127.0.0.1", client=(address, 1))
        assert client.get(f"/api/v1{tiny.path}/1.0.0/files/model.safetensors").status_code == 200
    registry.usage.write_down(registry.database)
    assert tiny.get().json()["download_count"] == 2


def test_a_download_is_not_counted_for_whatever_came_after_its_version(
    tiny: ModelAt, count: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Databases give the number of a deleted row again."""
    registry = tiny.person.client.app.state.registry  # type: ignore[attr-defined]
    monkeypatch.setattr(type(registry.usage), "write_down", lambda *_: None)  # the background waits
    tiny.publish("0.1.0")
    tiny.post("/0.1.0/download")
    tiny.delete("/0.1.0")
    tiny.publish("1.0.0")
    monkeypatch.undo()
    assert count() == 0
