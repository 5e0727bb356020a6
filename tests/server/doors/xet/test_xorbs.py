"""Xorbs on their way in: taken under their hash, whatever their spelling, and refused with a reason."""

import pytest

from steelyard.server.storage import BlobStore
from tests.house import Person, Registered
from tests.server.doors.xet.cas import Cas, open_cas, some_chunks
from tests.server.doors.xet.crafted import Shard, Xorb, file_of
from tests.server.xet.test_frames import ODD, sent

_FOOTER = b"XETBLOB\x01" + bytes(200)
_SPELLINGS = [
    "/xorb/default/{}",
    "/xorb/default-merkledb/{}",
    "/xorbs/default/{}",
    "/v1/xorb/default/{}",
    "/v1/xorbs/default/{}",
    "/v2/xorbs/default/{}",
]


def _stored(registry: Registered) -> set[str]:
    store: BlobStore = registry.client.app.state.registry.store  # type: ignore[attr-defined]
    return {found.name for found in store.scan()}


@pytest.mark.parametrize("spelling", _SPELLINGS)
def test_a_xorb_is_taken_at_every_address_that_clients_know(cas: Cas, spelling: str) -> None:
    xorb = Xorb(some_chunks(_SPELLINGS.index(spelling)))
    path = spelling.format(xorb.name)
    assert cas.request("HEAD", path).status_code == 404
    first = cas.request("POST", path, content=xorb.body)
    assert (first.status_code, first.json()) == (200, {"was_inserted": True})
    assert cas.request("POST", path, content=xorb.body).json() == {"was_inserted": False}
    assert cas.request("HEAD", path).status_code == 200


def test_a_xorb_that_is_there_already_is_stored_once(registry: Registered, ada: Person, bob: Person) -> None:
    xorb = Xorb(some_chunks(20))
    assert open_cas(ada, f"{ada.name}/tiny").send_xorb(xorb).json() == {"was_inserted": True}
    before = _stored(registry)
    theirs = open_cas(bob, f"{bob.name}/tiny")
    assert theirs.request("HEAD", f"/v1/xorbs/default/{xorb.name}").status_code == 404, (
        "nobody told bob that it is here"
    )
    assert theirs.send_xorb(xorb).json() == {"was_inserted": True}
    assert _stored(registry) == before


def test_a_footer_is_not_stored(registry: Registered, cas: Cas) -> None:
    xorb = Xorb(some_chunks(30))
    before = _stored(registry)
    assert cas.send_xorb(xorb, body=xorb.body + _FOOTER).status_code == 200
    store: BlobStore = registry.client.app.state.registry.store  # type: ignore[attr-defined]
    [added] = [found for found in store.scan() if found.name not in before]
    assert (added.kind, added.size_bytes) == ("blob", len(xorb.body))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda body: body[:-1], "middle of its chunk"),
        (lambda body: b"", "no chunks"),
        (lambda body: body + b"\0", "middle of its chunk"),
        (lambda body: body + b"XETBALL", "no footer"),
        (lambda body: body[:20] + bytes([body[20] ^ 1]) + body[21:], "These chunks are the xorb"),
        (lambda body: b"\1" + body[1:], "version 1"),
        (lambda body: sent(*ODD["a dictionary"]), "not every client reads"),
        (lambda body: sent(*ODD["distance 0"]), "distance 0"),
        (lambda body: body * 2, "These chunks are the xorb"),
    ],
)
def test_a_damaged_xorb_is_refused_and_nothing_of_it_stays(
    registry: Registered, cas: Cas, damage: object, reason: str
) -> None:
    xorb, before = Xorb(some_chunks(40)), _stored(registry)
    assert callable(damage)
    refused = cas.send_xorb(xorb, body=damage(xorb.body))
    assert (refused.status_code, reason in refused.json()["error"]) == (400, True), refused.text
    assert _stored(registry) == before


@pytest.mark.parametrize("name", ["0" * 63, "G" * 64, "A" * 64, "%00", "..", "0" * 65])
def test_what_is_no_hash_names_no_xorb(cas: Cas, name: str) -> None:
    assert cas.request("POST", f"/v1/xorbs/default/{name}", content=b"x").status_code in (400, 404)
    assert cas.request("HEAD", f"/v1/xorbs/default/{name}").status_code in (400, 404)


def test_a_body_longer_than_a_xorb_is_refused_by_its_announcement(cas: Cas) -> None:
    xorb = Xorb(some_chunks(50))
    headers = {"Content-Length": str(80 * 2**20)}
    refused = cas.request("POST", f"/v1/xorbs/default/{xorb.name}", content=b"", headers=headers)
    assert refused.status_code == 413


@pytest.mark.parametrize(
    "path",
    [
        "/v1/xorb-grants/default/{}",
        "/v1/files/{}",
        "/v2/file-chunk-hashes/{}",
        "/v1/reconstructions",
        "/v3/xorbs/default/{}",
        "/v1/xorbs/other/{}",
        "/",
        "",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_what_the_cas_does_not_know_is_nowhere(cas: Cas, method: str, path: str) -> None:
    assert cas.request(method, path.format("0" * 64)).status_code == 404


def test_a_wrong_method_is_nowhere_too(cas: Cas) -> None:
    xorb = Xorb(some_chunks(60))
    assert cas.request("PUT", f"/v1/xorbs/default/{xorb.name}", content=xorb.body).status_code == 404


def test_telemetry_is_taken_at_the_root_and_nobody_listens(cas: Cas) -> None:
    assert cas.client.post("http://127.0.0.1/v1/telemetry", json={"user_agent": "any"}).status_code == 200


def test_a_chunk_that_clients_ask_for_leads_to_its_xorb_and_to_no_other_organisation(ada: Person, bob: Person) -> None:
    cas = open_cas(ada, f"{ada.name}/tiny")
    xorb = Xorb(some_chunks(70))
    file = file_of((xorb, 0, 4))
    assert cas.send_xorb(xorb).status_code == 200
    assert cas.send_shard(Shard([file], [xorb])).status_code == 200
    first = Xorb(xorb.chunks[:1]).name
    for spelling in ("/v1/chunks/default/", "/v1/chunks/default-merkledb/", "/chunk/default/", "/chunks/default/"):
        known = cas.request("GET", f"{spelling}{first}")
        assert known.status_code == 200
        assert known.content.startswith(b"HFRepoMetaData\0")
        assert xorb.hash in known.content
    assert cas.request("GET", f"/v1/chunks/default/{'0' * 64}").status_code == 404
    assert open_cas(bob, f"{bob.name}/tiny").request("GET", f"/v1/chunks/default/{first}").status_code == 404
    reader = open_cas(ada, f"{ada.name}/tiny", "read")
    assert reader.request("GET", f"/v1/chunks/default/{first}").status_code == 403
    assert reader.request("HEAD", f"/v1/xorbs/default/{xorb.name}").status_code == 403
