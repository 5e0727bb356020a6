"""Tokens of Xet: who gets one, what it opens, and when it ends."""

import time
import zlib
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from steelyard.server.core.tickets import TicketOffice
from steelyard.server.db.tables import Upload
from tests.house import Person, Registered
from tests.house.people import path_of
from tests.server.doors.xet.cas import Cas, open_cas, some_chunks
from tests.server.doors.xet.crafted import Shard, Xorb, file_of


def _hub(person: Person, path: str) -> str:
    return f"http://127.0.0.1/api/models/{person.name}/tiny{path}"


@pytest.mark.parametrize("right", ["read", "write"])
def test_a_token_comes_in_the_body_and_in_headers(ada: Person, right: str) -> None:
    answered = ada.get(_hub(ada, f"/xet-{right}-token/main"))
    told, headers = answered.json(), answered.headers
    assert told["casUrl"] == headers["X-Xet-Cas-Url"] == f"http://127.0.0.1/cas/{ada.name}/0"
    assert told["accessToken"] == headers["X-Xet-Access-Token"]
    assert told["exp"] == int(headers["X-Xet-Token-Expiration"]) >= time.time() + 590
    assert answered.headers["Cache-Control"] == "no-store"


def test_a_token_to_read_is_for_a_revision_that_is_there(ada: Person) -> None:
    refused = ada.get(_hub(ada, "/xet-read-token/2.0.0"))
    assert (refused.status_code, refused.headers["X-Error-Code"]) == (404, "RevisionNotFound")
    assert ada.get(_hub(ada, "/xet-read-token/1.0.0")).status_code == 200
    assert ada.get(_hub(ada, "/xet-write-token/None")).status_code == 200


def test_a_stranger_gets_no_token_for_what_he_may_not_see(ada: Person, bob: Person) -> None:
    for right in ("read", "write"):
        refused = bob.get(_hub(ada, f"/xet-{right}-token/main"))
        assert (refused.status_code, refused.headers["X-Error-Code"]) == (404, "RepoNotFound")


def test_who_may_not_publish_gets_no_token_to_write(ada: Person, bob: Person) -> None:
    assert ada.post(f"/org/{ada.name}/members", {"username": bob.name, "role": "reader"}).status_code == 201
    assert bob.get(_hub(ada, "/xet-read-token/main")).status_code == 200
    assert bob.get(_hub(ada, "/xet-write-token/main")).status_code == 403


def test_a_public_model_is_read_without_a_credential_where_the_instance_allows_it(
    registry: Registered, ada: Person
) -> None:
    name, kept = _published(ada)
    opened = ada.patch(f"{path_of(f'{ada.name}/tiny')}/visibility", {"is_public": True})
    assert opened.status_code == 200, opened.text
    assert registry.anonymous.get(_hub(ada, "/xet-write-token/main")).status_code == 401
    reader = open_cas(registry.anonymous, f"{ada.name}/tiny", "read")
    assert reader.fetch(name) == kept
    refused = reader.send_xorb(Xorb(some_chunks(1)))
    assert refused.status_code == 403


def test_a_revoked_credential_takes_tokens_and_links_with_it(ada: Person) -> None:
    name, _ = _published(ada)
    key = ada.post("/user/api-keys", {"name": "short-lived"}).json()
    other = Person(ada.client, ada.name, key["key"])
    cas, reader = open_cas(other, f"{ada.name}/tiny"), open_cas(other, f"{ada.name}/tiny", "read")
    link = next(iter(reader.plan(name).json()["xorbs"].values()))[0]["url"]
    assert reader.get(link).status_code == 206
    assert ada.delete(f"/user/api-keys/{key['id']}").status_code == 204
    assert cas.send_xorb(Xorb(some_chunks(2))).status_code == 401
    assert reader.plan(name).status_code == 401
    assert reader.get(link).status_code == 403, "at 403 clients ask for new links, and hear the 401 then"


def test_who_left_the_organisation_sends_and_reads_nothing_more(ada: Person, bob: Person) -> None:
    name, _ = _published(ada)
    ada.post(f"/org/{ada.name}/members", {"username": bob.name, "role": "contributor"})
    cas = open_cas(bob, f"{ada.name}/tiny")
    link = next(iter(cas.plan(name).json()["xorbs"].values()))[0]["url"]
    assert cas.get(link).status_code == 206
    assert ada.delete(f"/org/{ada.name}/members/{bob.name}").status_code == 204
    assert cas.send_xorb(Xorb(some_chunks(3))).status_code == 404
    assert cas.get(link).status_code == 404


def test_a_token_is_for_its_organisation_and_its_model(ada: Person, bob: Person, cas: Cas) -> None:
    name, _ = _published(ada)
    elsewhere = Cas(cas.client, f"http://127.0.0.1/cas/{bob.name}/0", cas.token)
    assert elsewhere.plan(name).status_code == 403
    assert ada.publish(f"{ada.name}/other:1.0.0").status_code == 201
    assert open_cas(ada, f"{ada.name}/other", "read").plan(name).status_code == 404


@pytest.mark.parametrize("token", [None, "", "syd_not-one-of-ours", "a.b.c"])
def test_what_is_no_token_of_ours_is_answered_401(cas: Cas, token: str | None) -> None:
    stranger = Cas(cas.client, cas.url, token)
    for answered in (stranger.plan("0" * 64), stranger.send_xorb(Xorb(some_chunks(1))), stranger.send_shard(Shard([]))):
        assert (answered.status_code, answered.headers["WWW-Authenticate"]) == (401, 'Bearer realm="steelyard"')


def test_what_has_expired_opens_nothing(registry: Registered, ada: Person, cas: Cas) -> None:
    office: TicketOffice = registry.client.app.state.registry.tickets  # type: ignore[attr-defined]
    name, _ = _published(ada)
    token = office.check(cas.token or "")
    late = Cas(cas.client, cas.url, office.sign(replace(token, expires_at=int(time.time()) - 1)))
    assert late.plan(name).status_code == 401
    link, _, ticket = next(iter(cas.plan(name).json()["xorbs"].values()))[0]["url"].partition("?ticket=")
    expired = office.sign(replace(office.check(ticket), expires_at=int(time.time()) - 1))
    assert cas.get(f"{link}?ticket={expired}").status_code == 403


def test_a_client_that_leaves_the_choice_to_us_sends_by_xet(ada: Person) -> None:
    """huggingface_hub 0.36 to 1.19: it would go straight to the commit, were this answered to a client without Xet."""
    answered = _asked(ada, ["basic", "multipart", "xet"], {"oid": "1" * 64, "size": 5})
    assert (answered["transfer"], answered["objects"][0]["oid"]) == ("xet", "1" * 64)
    answered = _asked(ada, ["basic", "multipart"], {"oid": "1" * 64, "size": 5})
    assert (answered["transfer"], "actions" in answered["objects"][0]) == ("multipart", True)


def test_the_agent_of_git_lfs_finds_the_way_to_xet_in_the_action_for_what_is_missing(ada: Person) -> None:
    """`git-xet`: where there is no action, Git LFS takes the bytes to be here, and sends nothing."""
    [here] = ada.upload(f"{ada.name}/tiny", b"here")
    missing = {"oid": "1" * 64, "size": 5}
    answered = _asked(ada, ["basic", "ssh", "xet"], {"oid": here.removeprefix("sha256:"), "size": 4}, missing)
    held, wanted = answered["objects"]
    assert "actions" not in held
    told = wanted["actions"]["upload"]["header"]
    cas = Cas(ada.client, told["X-Xet-Cas-Url"], told["X-Xet-Access-Token"])
    assert cas.send_xorb(Xorb(some_chunks(1))).status_code == 200
    assert int(told["X-Xet-Token-Expiration"]) >= time.time() + 600
    again = ada.get(wanted["actions"]["upload"]["href"]).json()
    assert (again["casUrl"], again.keys()) == (cas.url, {"casUrl", "accessToken", "exp"})


def test_being_sent_to_xet_begins_no_upload(ada: Person, registry: Registered) -> None:
    _asked(ada, ["xet"], {"oid": "2" * 64, "size": 5})
    with registry.client.app.state.registry.database.read() as session:  # type: ignore[attr-defined]
        assert session.scalars(select(Upload).where(Upload.oid == "sha256:" + "2" * 64)).all() == []


def _asked(ada: Person, transfers: list[str], *objects: dict[str, Any]) -> Any:
    batch = {"operation": "upload", "transfers": transfers, "objects": objects}
    return ada.post(f"http://127.0.0.1/{ada.name}/tiny.git/info/lfs/objects/batch", batch).json()


def _published(ada: Person) -> tuple[str, bytes]:
    """A file by chunks, in a version: its Xet name, and its bytes."""
    cas = open_cas(ada, f"{ada.name}/tiny")
    xorb = Xorb(some_chunks(zlib.crc32(ada.name.encode())))
    file = file_of((xorb, 0, 4))
    assert cas.send_xorb(xorb).status_code == 200
    sent = cas.send_shard(Shard([file]))
    assert sent.status_code == 200, sent.text
    body = {"version": "2.0.0", "artifacts": {"weights.bin": f"sha256:{file.sha256}"}}
    made = ada.post(f"{path_of(f'{ada.name}/tiny')}/versions", body)
    assert made.status_code == 201, made.text
    return file.name, b"".join(xorb.chunks)
