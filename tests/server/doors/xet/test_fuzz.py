"""Whatever comes, the CAS refuses it by itself: a 5xx would make clients send the same again for minutes."""

import random

from tests.server.doors.xet.cas import Cas, some_chunks
from tests.server.doors.xet.crafted import Shard, Xorb, file_of

XORB = Xorb((*some_chunks(400), b"what compresses " * 1000))
SHARD = Shard([file_of((XORB, 0, 2), (XORB, 1, 5))], [XORB])
OLD_SHARD = SHARD.body + bytes(300)
_ROUNDS = 100


def _mutated(body: bytes, chance: random.Random) -> bytes:
    """The body with one of the things done to it that go wrong on the way, or that somebody does on purpose."""
    at, length = chance.randrange(len(body)), chance.choice([1, 2, 4, 8, 48, 500])
    match chance.randrange(6):
        case 0:
            return body[:at]
        case 1:
            return body[:at] + body[at + length :]
        case 2:
            return body[:at] + chance.randbytes(length) + body[at:]
        case 3:
            return body[:at] + chance.choice([b"\xff", b"\0"]) * length + body[at + length :]
        case 4:
            return body[:at] + body[at : at + length] * 3 + body[at + length :]
        case _:
            changed = bytearray(body)
            for _ in range(chance.randrange(1, 9)):
                changed[chance.randrange(min(len(body), 400))] = chance.randrange(256)
            return bytes(changed)


def test_a_mutated_xorb_is_taken_or_refused(cas: Cas) -> None:
    for seed in range(_ROUNDS):
        answered = cas.send_xorb(XORB, body=_mutated(XORB.body, random.Random(seed)))
        assert answered.status_code in (200, 400), (seed, answered.text)
        assert answered.status_code == 200 or answered.json()["error"], seed


def test_a_mutated_shard_is_taken_or_refused(cas: Cas) -> None:
    assert cas.send_xorb(XORB).status_code == 200
    for seed in range(_ROUNDS):
        chance = random.Random(seed)
        body = _mutated(chance.choice([SHARD.body, OLD_SHARD]), chance)
        answered = cas.request("POST", "/v1/shards", content=body)
        assert answered.status_code in (200, 400), (seed, answered.text)
        [told] = cas.tell_shard(body)
        assert (told["type"] == "result") == (answered.status_code == 200), (seed, told)


def test_odd_requests_are_answered_below_500(cas: Cas) -> None:
    names = ["0" * 64, XORB.name, "..", "%2e%2e", "%ff", "x" * 300, "", "0-0", "%00"]
    rooms = ["xorbs/default", "v1/shards", "v2/reconstructions", "chunks/default-merkledb", "data", "v9/shards", "%20"]
    for seed in range(5 * _ROUNDS):
        chance = random.Random(seed)
        path = "/".join(["", chance.choice(rooms), *chance.choices(names, k=chance.randrange(3))])
        span = chance.choice(["bytes=0-", "bytes=9-1", "lines=1-2", "bytes=" + "9" * 60, "bytes=0-0,5-6"])
        method = chance.choice(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
        ticket = {"ticket": chance.choice(names)}
        answered = cas.request(method, path, headers={"Range": span}, params=ticket)
        assert answered.status_code < 500, (seed, method, path, answered.text)
