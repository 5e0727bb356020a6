"""Whole versions by our client and command: the same calls whether bytes pass the server or not."""

import random
from pathlib import Path

import httpx2
import pytest
from click.testing import CliRunner

from steelyard.cli import main
from steelyard.client import Client
from tests.client.conftest import MakeFolder
from tests.house import Person
from tests.house.postgres import postgres_url
from tests.straight.conftest import MIB, PART_BYTES, Yard, start_yard
from tests.straight.sending import offer, send

LARGE = random.Random(1).randbytes(2 * PART_BYTES + 12_345)
SMALL = b"small enough to pass the server"


def test_large_files_go_past_the_server_both_ways(
    yard: Yard, client: Client, make_folder: MakeFolder, tmp_path: Path
) -> None:
    moved, read = yard.moved_bytes, yard.proof_read_bytes
    pushed = client.push(make_folder({"large.bin": LARGE, "small.bin": SMALL}), "admin/both:1.0.0")
    assert pushed.uploaded_bytes == len(LARGE) + len(SMALL)
    pulled = client.pull("admin/both:1.0.0", tmp_path / "pulled")
    assert pulled.downloaded_bytes == len(LARGE) + len(SMALL)
    assert (tmp_path / "pulled/large.bin").read_bytes() == LARGE
    assert (tmp_path / "pulled/small.bin").read_bytes() == SMALL
    assert yard.moved_bytes - moved < MIB, "the server sent and received words only"
    assert yard.proof_read_bytes - read == len(LARGE), "and read every byte once to prove it"
    assert not [name for name in yard.stored() if not name.startswith("blobs/")], "nothing unproven is left"


def test_a_large_file_is_fetched_in_ranges_by_one_link(
    yard: Yard, client: Client, make_folder: MakeFolder, tmp_path: Path
) -> None:
    data = random.Random(2).randbytes(MIB) * 100
    client.push(make_folder({"large.bin": data}), "admin/ranges:1.0.0")
    redirected = yard.count("steelyard_http_requests_total", status="302")
    with Client(yard.server.url, yard.server.token, cache_dir=tmp_path / "another", threads=1) as alone:
        alone.pull("admin/ranges:1.0.0", tmp_path / "pulled")
    assert (tmp_path / "pulled/large.bin").read_bytes() == data
    assert yard.count("steelyard_http_requests_total", status="302") - redirected == 1, "four ranges, one question"


def test_the_command_needs_no_flag_for_it(
    yard: Yard, make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("URL", yard.server.url), ("TOKEN", yard.server.token), ("CACHE", str(tmp_path / "cache"))):
        monkeypatch.setenv(f"STEELYARD_{name}", value)
    data, moved = random.Random(3).randbytes(PART_BYTES + 1), yard.moved_bytes
    folder = make_folder({"large.bin": data})
    for arguments in (["push", folder, "admin/by-command:1.0.0"], ["pull", "admin/by-command", tmp_path / "pulled"]):
        done = CliRunner().invoke(main, [str(each) for each in arguments])
        assert done.exit_code == 0, done.output
    assert (tmp_path / "pulled/large.bin").read_bytes() == data
    assert yard.moved_bytes - moved < MIB


def test_a_setting_sends_all_bytes_through_the_server(make_folder: MakeFolder, tmp_path: Path) -> None:
    yard = start_yard(tmp_path / "data", store_direct="false")
    try:
        with Client(yard.server.url, yard.server.token, cache_dir=tmp_path / "cache") as client:
            client.push(make_folder({"large.bin": LARGE}), "admin/through:1.0.0")
            client.pull("admin/through:1.0.0", tmp_path / "pulled")
        assert (tmp_path / "pulled/large.bin").read_bytes() == LARGE
        assert yard.moved_bytes >= 2 * len(LARGE)
    finally:
        yard.server.stop()


def test_a_push_goes_on_at_another_server_from_the_parts_that_the_store_has(
    make_folder: MakeFolder, outside: httpx2.Client, tmp_path: Path
) -> None:
    database = postgres_url()
    first = start_yard(tmp_path / "first", database=database)
    second = start_yard(tmp_path / "second", url=first.url, database=database)
    admin = Person(outside, "admin", first.server.token)
    try:
        item = offer(admin, "admin/moved", LARGE, checksums=True, at=first.server.url)
        send(outside, item, LARGE, 2)
        first.server.kill()
        again = offer(admin, "admin/moved", LARGE, checksums=True, at=second.server.url)
        assert again["parts_done"] == [2]
        with Client(second.server.url, second.server.token, cache_dir=tmp_path / "cache") as client:
            pushed = client.push(make_folder({"large.bin": LARGE}), "admin/moved:1.0.0")
        assert pushed.uploaded_bytes == len(LARGE) - PART_BYTES
    finally:
        first.server.kill()
        second.server.stop()


def test_a_session_that_the_store_threw_away_is_begun_anew(
    yard: Yard, client: Client, outside: httpx2.Client, make_folder: MakeFolder
) -> None:
    data = random.Random(4).randbytes(PART_BYTES + 1)
    admin = Person(outside, "admin", yard.server.token)
    send(outside, offer(admin, "admin/lost", data, checksums=True, at=yard.server.url), data, 1)
    assert offer(admin, "admin/lost", data, checksums=True, at=yard.server.url)["parts_done"] == [1]
    yard.abort_uploads()
    assert offer(admin, "admin/lost", data, checksums=True, at=yard.server.url)["parts_done"] == []
    assert client.push(make_folder({"large.bin": data}), "admin/lost:1.0.0").uploaded_bytes == len(data)
