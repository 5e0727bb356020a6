"""A server with `xet = false`: files go whole to whoever can take and send them so, and the others are told why not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from steelyard.server.core.xet import chunking
from steelyard.server.jobs import cutting
from tests.house import Person, Registered, RunningServer, start_server
from tests.house.registries import open_registered
from tests.server.doors.xet.hub import HubUser

HUB = "http://127.0.0.1"
WHOLE_BYTES = 2**20  # the least that is cut


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    """A running one."""
    running = start_server(tmp_path / "data", xet="false", free_disk_floor_bytes="0")
    yield running
    running.stop()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registered]:
    """One that had chunks until it was opened again."""
    with open_registered(data=tmp_path / "registry", xet=False) as opened:
        yield opened


@pytest.fixture
def ada(registry: Registered) -> Person:
    """Somebody with a version of a model."""
    ada = registry.user("ada")
    assert ada.publish("ada/tiny:1.0.0", {"model.bin": b"\0" * WHOLE_BYTES}).status_code == 201
    return ada


def test_the_real_client_fails_at_once_unless_told_to_send_files_whole(server: RunningServer, tmp_path: Path) -> None:
    hub = HubUser(server.url, server.token, tmp_path / "home")
    story = """
api.create_repo("admin/tiny")
api.upload_file(path_or_fileobj=b"\\0" * 3_000_000, path_in_repo="model.bin", repo_id="admin/tiny")
api.create_tag("admin/tiny", tag="1.0.0")
said["size"] = len(Path(api.hf_hub_download("admin/tiny", "model.bin", revision="1.0.0")).read_bytes())
"""
    refused = hub.attempt(story)
    assert refused.returncode != 0
    assert "xet-write-token" in refused.stderr  # all that hf_xet shows of an answer
    assert hub.run(story.replace("api.create_repo", "#"), HF_HUB_DISABLE_XET="1") == {"size": 3_000_000}
    download = 'said["read"] = len(Path(api.hf_hub_download("admin/tiny", "model.bin")).read_bytes())'
    assert HubUser(server.url, server.token, tmp_path / "other").run(download) == {"read": 3_000_000}
    assert "/cas/" not in server.log


def test_older_clients_are_not_sent_to_xet(ada: Person) -> None:
    assert ada.get(f"{HUB}/api/models/ada/tiny/revision/main?expand=xetEnabled").json()["xetEnabled"] is False
    assert ada.get(f"{HUB}/api/models").json()[0]["xetEnabled"] is False
    assert _asked(ada, ["basic", "multipart", "xet"])["transfer"] == "multipart"
    assert _asked(ada, ["basic", "xet"])["transfer"] == "basic"


def _asked(person: Person, transfers: list[str]) -> Any:
    batch = {"operation": "upload", "transfers": transfers, "objects": [{"oid": "1" * 64, "size": 5}]}
    return person.post(f"{HUB}/ada/tiny.git/info/lfs/objects/batch", batch).json()


def test_no_rights_to_chunks_are_given(ada: Person) -> None:
    for path in (
        *("/api/models/ada/tiny/xet-read-token/main", "/api/models/ada/tiny/xet-write-token/main"),
        *("/api/v1/org/ada/models/tiny/blobs/xet", "/api/v1/org/ada/models/tiny/1.0.0/xet"),
    ):
        refused = ada.get(f"{HUB}{path}")
        assert refused.status_code == 400, path
        assert "HF_HUB_DISABLE_XET=1" in refused.text


def test_a_file_that_has_a_name_in_xet_is_offered_whole(tmp_path: Path) -> None:
    data = tmp_path / "chunked"
    with open_registered(data=data) as before:
        ada = before.user("ada")
        assert ada.publish("ada/tiny:1.0.0", {"model.bin": b"\0" * WHOLE_BYTES}).status_code == 201
        cut_all(before)
        assert "x-xet-hash" in ada.request("HEAD", f"{HUB}/ada/tiny/resolve/main/model.bin").headers
        assert "xetHash" in ada.get(f"{HUB}/api/models/ada/tiny/tree/main").json()[0]
    with open_registered(data=data, xet=False) as after:
        ada = Person(after.client, "ada", ada.token)
        answered = ada.get(f"{HUB}/ada/tiny/resolve/main/model.bin")
        assert answered.content == b"\0" * WHOLE_BYTES
        assert "x-xet-hash" not in answered.headers
        assert "xetHash" not in ada.get(f"{HUB}/api/models/ada/tiny/tree/main").json()[0]


def cut_all(registered: Registered) -> None:
    """Have the worker cut what came whole."""
    parts = registered.client.app.state.registry  # type: ignore[attr-defined]
    with parts.database.write() as session:
        chunking.enqueue_left(session)
    cutting.run_due(parts.database, parts.store, parts.leases, lambda: False)
