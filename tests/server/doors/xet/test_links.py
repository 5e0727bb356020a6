"""Links to stored chunks: whoever has one may fetch its bytes, no others, and for as long as its credential may."""

from dataclasses import dataclass

import pytest

from tests.house import Person
from tests.house.people import path_of
from tests.server.doors.xet.cas import Cas, open_cas, some_chunks
from tests.server.doors.xet.crafted import Shard, Xorb, file_of

XORB = Xorb(some_chunks(300, count=6))
_SECRET = 3  # the chunk of a file that the reader may not have


@dataclass(frozen=True)
class Link:
    """A link to the chunks before the secret one, from the second on."""

    cas: Cas
    url: str
    first: int
    last: int

    @property
    def bytes(self) -> bytes:
        return XORB.body[self.first : self.last + 1]


@pytest.fixture
def link(cas: Cas, ada: Person) -> Link:
    file = file_of((XORB, 1, _SECRET))
    assert cas.send_xorb(XORB).status_code == 200
    assert cas.send_shard(Shard([file])).status_code == 200
    body = {"version": "2.0.0", "artifacts": {"a.bin": f"sha256:{file.sha256}"}}
    assert ada.post(f"{path_of(f'{ada.name}/tiny')}/versions", body).status_code == 201
    reader = open_cas(ada, f"{ada.name}/tiny", "read")
    [fetch] = reader.plan(file.name).json()["xorbs"][XORB.name]
    told = fetch["ranges"][0]["bytes"]
    return Link(reader, fetch["url"], told["start"], told["end"])


def test_a_link_needs_no_token_and_answers_exactly_its_bytes(link: Link) -> None:
    answered = link.cas.get(link.url, f"{link.first}-{link.last}")
    assert (answered.status_code, answered.content) == (206, link.bytes)
    assert answered.headers["Content-Range"] == f"bytes {link.first}-{link.last}/{len(XORB.body)}"
    assert answered.headers["Content-Length"] == str(len(link.bytes))


def test_without_a_range_a_link_answers_its_own(link: Link) -> None:
    answered = link.cas.get(link.url)
    assert (answered.status_code, answered.content) == (206, link.bytes)


def test_a_range_within_a_link_is_answered_and_its_end_clipped(link: Link) -> None:
    inside = link.cas.get(link.url, f"{link.first + 10}-{link.first + 19}")
    assert (inside.status_code, inside.content) == (206, link.bytes[10:20])
    beyond = link.cas.get(link.url, f"{link.first}-{link.last + 100_000}")
    assert (beyond.status_code, beyond.content) == (206, link.bytes)
    assert link.cas.get(link.url, f"{link.last + 1}-{link.last + 100}").status_code == 416


@pytest.mark.parametrize("span", ["0-9", "0-", "0-1000000"])
def test_bytes_before_those_of_a_link_are_nobodys_to_ask_for(link: Link, span: str) -> None:
    refused = link.cas.get(link.url, span)
    assert refused.status_code == 403
    assert refused.json()["error"].startswith("This link opens the bytes")


def test_a_link_for_other_bytes_is_none(link: Link) -> None:
    path, _, ticket = link.url.partition("?")
    folder, _, _ = path.rpartition("/")
    assert link.cas.get(f"{folder}/0-{len(XORB.body) - 1}?{ticket}").status_code == 403
    other = Xorb(some_chunks(301)).name
    assert link.cas.get(f"{path.replace(XORB.name, other)}?{ticket}").status_code == 403


@pytest.mark.parametrize("ticket", ["", "?ticket=", "?ticket=forged", "?other=1"])
def test_a_link_without_its_ticket_is_none(link: Link, ticket: str) -> None:
    assert link.cas.get(link.url.partition("?")[0] + ticket).status_code == 403


def test_a_token_is_no_ticket_and_a_ticket_no_token(link: Link) -> None:
    path, _, ticket = link.url.partition("?ticket=")
    assert link.cas.get(f"{path}?ticket={link.cas.token}").status_code == 403
    assert Cas(link.cas.client, link.cas.url, ticket).plan("0" * 64).status_code == 403


def test_a_client_may_ask_on_condition(link: Link) -> None:
    etag = link.cas.get(link.url).headers["ETag"]
    assert link.cas.client.get(link.url, headers={"If-None-Match": etag}).status_code == 304
