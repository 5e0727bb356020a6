"""A client of the CAS that does what it is told, step by step."""

import json
import random
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2

from steelyard.server.xet import xorbs
from tests.house import Person
from tests.server.doors.xet.crafted import Shard, Xorb


def some_chunks(seed: int, count: int = 4, size: int = 9_000) -> tuple[bytes, ...]:
    """Chunks of bytes that do not compress, always the same for a seed."""
    made = random.Random(seed)
    return tuple(made.randbytes(size + number) for number in range(count))


@dataclass(frozen=True)
class Cas:
    """Somebody's access to the chunks of a model's organisation."""

    client: httpx2.Client
    url: str
    token: str | None

    def request(self, method: str, path: str, **kwargs: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return self.client.request(
            method, f"{self.url}{path}", headers={**headers, **kwargs.pop("headers", {})}, **kwargs
        )

    def send_xorb(self, xorb: Xorb, *, body: bytes | None = None) -> httpx2.Response:
        content = xorb.body if body is None else body
        return self.request("POST", f"/v1/xorbs/default/{xorb.name}", content=content)

    def send_shard(self, shard: Shard) -> httpx2.Response:
        """By the first version, whose status says how it went."""
        return self.request("POST", "/v1/shards", content=shard.body)

    def tell_shard(self, body: bytes) -> list[dict[str, Any]]:
        """By the second version; answers the lines."""
        answered = self.request("POST", "/v2/shards", content=body)
        assert answered.status_code == 200, answered.text
        assert answered.headers["content-type"] == "application/x-ndjson"
        return [json.loads(line) for line in answered.text.splitlines()]

    def plan(self, name: str, span: str | None = None, version: str = "v2") -> httpx2.Response:
        headers = {"Range": f"bytes={span}"} if span else {}
        return self.request("GET", f"/{version}/reconstructions/{name}", headers=headers)

    def fetch(self, name: str, span: str | None = None) -> bytes:
        """A file, or a range of it, made as a client makes it."""
        plan = self.plan(name, span).json()
        raw = b"".join(self._term(term, plan["xorbs"][term["hash"]]) for term in plan["terms"])
        raw = raw[plan["offset_into_first_range"] :]
        return raw if span is None else raw[: 1 + int(span.split("-")[1]) - int(span.split("-")[0])]

    def _term(self, term: dict[str, Any], fetches: list[dict[str, Any]]) -> bytes:
        start, end = term["range"]["start"], term["range"]["end"]
        for fetch in fetches:
            [part] = fetch["ranges"]
            chunks = part["chunks"]
            if chunks["start"] <= start and end <= chunks["end"]:
                stored = self.get(fetch["url"], f"{part['bytes']['start']}-{part['bytes']['end']}")
                unpacked = list(xorbs.unpack(stored.content))
                assert (stored.status_code, len(unpacked)) == (206, chunks["end"] - chunks["start"])
                raw = b"".join(unpacked[start - chunks["start"] : end - chunks["start"]])
                assert len(raw) == term["unpacked_length"]
                return raw
        raise AssertionError(f"no fetch has {term}")

    def get(self, link: str, span: str | None = None) -> httpx2.Response:
        """A link to bytes, which is asked for without a token."""
        headers = {"Range": f"bytes={span}"} if span else {}
        return self.client.get(link, headers=headers)


def open_cas(person: Person, model: str, right: str = "write", revision: str = "main") -> Cas:
    """Ask for a token as the Hub's clients do."""
    granted = person.get(f"http://127.0.0.1/api/models/{model}/xet-{right}-token/{revision}")
    assert granted.status_code == 200, granted.text
    told = granted.json()
    assert urlsplit(told["casUrl"]).path.startswith("/cas/")
    return Cas(person.client, told["casUrl"], told["accessToken"])
