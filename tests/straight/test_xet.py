"""Chunks where the store signs links: the registry says what a file is made of, the store gives the bytes."""

import hashlib
from pathlib import Path
from random import Random

from tests.house import Person
from tests.house.people import path_of
from tests.server.doors.xet.cas import Cas, some_chunks
from tests.server.doors.xet.crafted import Shard, Xorb, file_of
from tests.server.doors.xet.hub import HubUser
from tests.straight.conftest import MIB, Yard

DATA = Random(8).randbytes(6 * MIB)
_XORB = Xorb(some_chunks(900, count=6))


def _cas(yard: Yard, person: Person) -> Cas:
    told = person.get(f"{yard.server.url}/api/models/{person.name}/tiny/xet-write-token/main").json()
    return Cas(person.client, told["casUrl"], told["accessToken"])


def test_the_real_client_fetches_chunks_from_the_store(yard: Yard, ada: Person, tmp_path: Path) -> None:
    file, repo = tmp_path / "data.bin", f"{ada.name}/big"
    file.write_bytes(DATA)
    upload = f"""
api.create_repo("{repo}")
api.upload_file(path_or_fileobj="{file}", path_in_repo="w.bin", repo_id="{repo}")
"""
    HubUser(yard.server.url, ada.token, tmp_path / "home1").run(upload)
    before = yard.moved_bytes
    download = f"""
from huggingface_hub import hf_hub_download
said["sha256"] = hashlib.sha256(Path(hf_hub_download("{repo}", "w.bin")).read_bytes()).hexdigest()
"""
    said = HubUser(yard.server.url, ada.token, tmp_path / "home2").run(download)
    assert said == {"sha256": hashlib.sha256(DATA).hexdigest()}
    assert yard.moved_bytes - before < MIB / 4
    assert "/data/" in yard.server.log


def test_the_stores_link_opens_what_was_asked_for_and_no_other_chunk(yard: Yard, ada: Person) -> None:
    assert ada.publish(f"{ada.name}/tiny:1.0.0").status_code == 201
    cas, file = _cas(yard, ada), file_of((_XORB, 1, 3))
    assert cas.send_xorb(_XORB).status_code == 200
    assert cas.send_shard(Shard([file])).status_code == 200
    body = {"version": "2.0.0", "artifacts": {"a.bin": f"sha256:{file.sha256}"}}
    assert ada.post(f"{path_of(f'{ada.name}/tiny')}/versions", body).status_code == 201
    [fetch] = cas.plan(file.name).json()["xorbs"][_XORB.name]
    first, last = fetch["ranges"][0]["bytes"].values()

    sent = cas.get(fetch["url"], f"{first}-{last}")
    assert (sent.status_code, sent.headers["cache-control"]) == (302, "no-store")
    link = sent.headers["location"]
    assert cas.get(link, f"{first}-{last}").content == _XORB.body[first : last + 1]
    for span in (f"0-{last}", f"{first}-{last + 1}", None):
        assert cas.get(link, span).status_code == 403
    # What the link does not open as it stands, the registry answers itself, or refuses.
    assert cas.get(fetch["url"], f"{first}-{last + 9}").status_code == 206
    assert cas.get(fetch["url"]).content == _XORB.body[first : last + 1]
    assert cas.get(fetch["url"], f"0-{last}").status_code == 403
