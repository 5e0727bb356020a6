"""Shards: nothing that they say is believed, and whoever sends a wrong one is told why."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.house import Person, Registered
from tests.house.people import path_of
from tests.server.doors.xet.cas import Cas, open_cas, some_chunks
from tests.server.doors.xet.crafted import File, Shard, Xorb, file_of

XORB = Xorb(some_chunks(100, count=6))
_SPELLINGS = ["/shards", "/v1/shards", "/v1/shard", "/shard/default/{}", "/shard/default-merkledb/{}"]


@pytest.fixture
def sent(cas: Cas) -> Cas:
    """An organisation that has the xorb."""
    assert cas.send_xorb(XORB).status_code == 200
    return cas


@pytest.mark.parametrize("spelling", _SPELLINGS)
def test_a_shard_is_taken_at_every_address_that_clients_know(sent: Cas, spelling: str) -> None:
    shard = Shard([file_of((XORB, 0, 6))], [XORB])
    answered = sent.request("POST", spelling.format("0" * 64), content=shard.body)
    assert (answered.status_code, answered.json()) == (200, {"result": 1})
    assert sent.tell_shard(shard.body) == [{"type": "result", "result": 1}]


def test_a_file_of_chunks_is_a_file_to_every_door(sent: Cas, ada: Person) -> None:
    other = Xorb(some_chunks(101))
    assert sent.send_xorb(other).status_code == 200
    file = file_of((XORB, 1, 4), (other, 0, 2), (XORB, 1, 2), (XORB, 0, 1))
    whole = b"".join((*XORB.chunks[1:4], *other.chunks[:2], XORB.chunks[1], XORB.chunks[0]))
    assert sent.send_shard(Shard([file])).status_code == 200
    assert sent.plan(file.name).status_code == 404, "it is in no commit yet"
    _publish(ada, "3.0.0", {"a.bin": file})
    assert sent.fetch(file.name) == whole
    native = ada.get(f"{path_of(f'{ada.name}/tiny')}/3.0.0/files/a.bin")
    assert (native.status_code, native.content) == (200, whole)


def test_a_range_of_a_file_takes_what_it_needs_and_no_more(sent: Cas, ada: Person) -> None:
    file, whole = file_of((XORB, 0, 6)), b"".join(XORB.chunks)
    sent.send_shard(Shard([file]))
    _publish(ada, "3.0.0", {"a.bin": file})
    for span in ("0-0", "0-8999", "9000-9000", "100-30000", f"{len(whole) - 1}-{len(whole) - 1}"):
        first, last = map(int, span.split("-"))
        assert sent.fetch(file.name, span) == whole[first : last + 1]
    assert len(sent.plan(file.name, "0-0").json()["terms"][0]["range"]) == 2
    assert sent.plan(file.name, "0-0").json()["terms"][0]["range"] == {"start": 0, "end": 1}


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_ranges_are_clipped_at_the_end_and_refused_behind_it(sent: Cas, ada: Person, version: str) -> None:
    file, size = file_of((XORB, 0, 6)), sum(map(len, XORB.chunks))
    sent.send_shard(Shard([file]))
    _publish(ada, "3.0.0", {"a.bin": file})
    whole = sent.plan(file.name, version=version).json()
    clipped = sent.plan(file.name, "0-1073741823", version=version).json()
    assert (
        clipped["terms"]
        == whole["terms"]
        == [{"hash": XORB.name, "unpacked_length": size, "range": {"start": 0, "end": 6}}]
    )
    assert sent.plan(file.name, f"{size}-{size + 9}", version=version).status_code == 416


def test_both_versions_of_a_plan_tell_the_same(sent: Cas, ada: Person) -> None:
    file = file_of((XORB, 0, 2), (XORB, 4, 6))
    sent.send_shard(Shard([file]))
    _publish(ada, "3.0.0", {"a.bin": file})
    first, second = sent.plan(file.name, version="v1").json(), sent.plan(file.name).json()
    assert first["terms"] == second["terms"]
    flat = [(f["range"], f["url_range"]) for f in first["fetch_info"][XORB.name]]
    nested = [(part["chunks"], part["bytes"]) for f in second["xorbs"][XORB.name] for part in f["ranges"]]
    assert flat == nested
    unversioned = sent.request("GET", f"/reconstruction/{file.name}").json()
    assert set(unversioned) == {"offset_into_first_range", "terms", "fetch_info"}


def test_each_run_of_bytes_has_a_link_of_its_own(sent: Cas, ada: Person) -> None:
    """Clients up to hf_xet 1.2.0 keep what they got by its URL, and die of two runs under one."""
    file = file_of((XORB, 0, 1), (XORB, 2, 3), (XORB, 5, 6))
    sent.send_shard(Shard([file]))
    _publish(ada, "3.0.0", {"a.bin": file})
    fetches = sent.plan(file.name).json()["xorbs"][XORB.name]
    spans = [tuple(part["bytes"].values()) for fetch in fetches for part in fetch["ranges"]]
    assert all(len(fetch["ranges"]) == 1 for fetch in fetches)
    assert spans == sorted(set(spans))
    assert len({fetch["url"] for fetch in fetches}) == len({fetch["url"].partition("?")[0] for fetch in fetches})


_STRANGER = Xorb(some_chunks(777))
_Forge = Callable[[File], File]


def _with_term(**changed: object) -> _Forge:
    def forge(file: File) -> File:
        return file.but(terms=(replace(file.terms[0], **changed), *file.terms[1:]))  # type: ignore[arg-type]

    return forge


FORGERIES: dict[str, tuple[_Forge, str]] = {
    "a run that is not proven": (_with_term(proof=bytes(32)), "verification hash"),
    "another sha256": (lambda file: file.but(sha256=hashlib.sha256(b"other").hexdigest()), "sha256"),
    "another hash of the file": (lambda file: file.but(hash=XORB.hash), "hash"),
    "a xorb that nobody sent": (lambda _: file_of((_STRANGER, 0, 4)), "does not have"),
    "more chunks than there are": (_with_term(end=9), "chunk"),
    "chunks that are none": (_with_term(start=3, end=3), "run"),
    "another length": (_with_term(raw_bytes=1), "another length"),
    "no terms": (lambda file: file.but(terms=()), ""),
    "no proof of a run at all": (lambda file: file.but(flags=1 << 30), "verification hash"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_shard_is_refused_with_a_reason(sent: Cas, forgery: str) -> None:
    forge, reason = FORGERIES[forgery]
    shard = Shard([forge(file_of((XORB, 0, 3), (XORB, 3, 6)))])
    refused = sent.send_shard(shard)
    assert (refused.status_code, reason in refused.json()["error"].lower()) == (400, True), refused.text
    [told] = sent.tell_shard(shard.body)
    assert told == {"type": "error", "message": refused.json()["error"], "retryable": False}


def test_another_organisations_xorb_is_nobodys_to_build_on(sent: Cas, bob: Person) -> None:
    file = file_of((XORB, 0, 6))
    [told] = open_cas(bob, f"{bob.name}/tiny").tell_shard(Shard([file]).body)
    assert (told["type"], told["retryable"]) == ("error", False)
    assert "HF_HOME" in told["message"] or "xet" in told["message"].lower()


def test_what_others_sent_as_chunks_is_whole_to_who_sent_it_whole(ada: Person, bob: Person) -> None:
    """Else ada would learn that somebody here has her file."""
    xorb = Xorb(some_chunks(102))
    file = file_of((xorb, 0, len(xorb.chunks)))
    bobs = open_cas(bob, f"{bob.name}/tiny")
    assert bobs.send_xorb(xorb).status_code == bobs.send_shard(Shard([file])).status_code == 200
    _publish(bob, "3.0.0", {"a.bin": file})
    assert ada.publish(f"{ada.name}/tiny:3.0.0", {"a.bin": b"".join(xorb.chunks)}).status_code == 201
    trees = [who.get(f"http://127.0.0.1/api/models/{who.name}/tiny/tree/3.0.0").json() for who in (ada, bob)]
    assert [[item.get("xetHash") for item in tree] for tree in trees] == [[None], [file.name]]


def test_a_file_in_no_version_and_no_commit_is_told_to_nobody(sent: Cas) -> None:
    file = file_of((XORB, 2, 6))
    assert sent.send_shard(Shard([file])).status_code == 200
    assert sent.plan(file.name).status_code == 404
    assert sent.plan("0" * 64).status_code == 404


def test_a_file_of_a_draft_is_told_to_members_only(sent: Cas, ada: Person, registry: Registered) -> None:
    file = file_of((XORB, 1, 6))
    assert sent.send_shard(Shard([file])).status_code == 200
    assert ada.patch(f"{path_of(f'{ada.name}/tiny')}/visibility", {"is_public": True}).status_code == 200
    lines = [
        {"key": "header", "value": {"summary": "a draft", "description": ""}},
        {"key": "lfsFile", "value": {"path": "draft.bin", "algo": "sha256", "oid": file.sha256, "size": 1}},
    ]
    body = "\n".join(json.dumps(line) for line in lines)
    made = ada.request("POST", f"http://127.0.0.1/api/models/{ada.name}/tiny/commit/main", content=body)
    assert made.status_code == 200, made.text
    assert sent.fetch(file.name) == b"".join(XORB.chunks[1:])
    stranger = open_cas(registry.anonymous, f"{ada.name}/tiny", "read")
    assert stranger.plan(file.name).status_code == 404
    _publish(ada, "3.0.0", {"draft.bin": file})
    assert stranger.fetch(file.name) == b"".join(XORB.chunks[1:])


def test_a_shard_without_a_sha256_is_known_by_the_one_computed_here(sent: Cas, ada: Person) -> None:
    file = file_of((XORB, 0, 5))
    assert sent.send_shard(Shard([file.but(flags=1 << 31)])).status_code == 200
    _publish(ada, "3.0.0", {"a.bin": file})


@pytest.mark.parametrize(
    "body", [b"", b"x", b"HFRepoMetaData" * 20, Shard([]).body[:-1], Shard([]).body[:60], bytes(48 * 9)]
)
def test_what_is_no_shard_is_refused(cas: Cas, body: bytes) -> None:
    assert cas.request("POST", "/v1/shards", content=body).status_code == 400
    [told] = cas.tell_shard(body)
    assert (told["type"], told["retryable"]) == ("error", False)


def test_a_shard_of_nothing_is_a_shard(cas: Cas) -> None:
    assert cas.send_shard(Shard([])).json() == {"result": 1}


def test_a_file_of_five_thousand_chunks_comes_and_goes(cas: Cas, ada: Person) -> None:
    xorbs = [Xorb(some_chunks(200 + number, count=500, size=100)) for number in range(10)]
    for xorb in xorbs:
        assert cas.send_xorb(xorb).status_code == 200
    file = file_of(*((xorb, 0, 500) for xorb in xorbs))
    assert cas.send_shard(Shard([file], xorbs)).status_code == 200
    _publish(ada, "5.0.0", {"many.bin": file})
    whole = b"".join(chunk for xorb in xorbs for chunk in xorb.chunks)
    assert cas.fetch(file.name) == whole
    assert cas.fetch(file.name, "1500000-1600000") == whole[1500000:1600001]


def _publish(person: Person, version: str, files: dict[str, File]) -> None:
    artifacts = {path: f"sha256:{file.sha256}" for path, file in files.items()}
    made = person.post(f"{path_of(f'{person.name}/tiny')}/versions", {"version": version, "artifacts": artifacts})
    assert made.status_code == 201, made.text
