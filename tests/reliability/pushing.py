"""A push as any HTTP client makes it, one request after the other, so that a test knows what was in flight when."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

import httpx2

from tests.house import RunningServer
from tests.house.people import API, Person, oid_of

PART_BYTES = 64 * 1024  # the smallest that the settings allow
_PATIENCE_SECONDS = 120.0


def again_and_again(what: str) -> Iterator[None]:
    """Another try, for as long as somebody who is in others' way may have to try; then it fails, and hangs nobody."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < until:
        yield
    raise AssertionError(f"{what} did not get through in {_PATIENCE_SECONDS:.0f} seconds")


def open_client(url: str, token: str | None = None) -> httpx2.Client:
    """A client of one server on loopback; without the certificates of the world, which take longer than a request."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx2.Client(base_url=url, headers=headers, timeout=30, trust_env=False, verify=False)


def make_user(server: RunningServer, name: str) -> str:
    """A new user of a server; answers the token."""
    with open_client(server.url, server.token) as client:
        made = client.post(f"{API}/users", json={"username": name, "email_address": f"{name}@example.com"})
    assert made.status_code == 201, made.text
    return str(made.json()["key"])


@contextmanager
def new_person(server: RunningServer, name: str) -> Iterator[Person]:
    """A new user of a server, over a connection of his own."""
    token = make_user(server, name)
    with open_client(server.url) as client:
        person = Person(client, name, token)
        assert person.get("/user").status_code == 200
        yield person


Kind = Literal["begin", "part", "completion", "publish"]


@dataclass(frozen=True)
class Release:
    """A version to be pushed: its model (`org/name`), its number and its files by path."""

    model: str
    version: str
    files: Mapping[str, bytes]

    @property
    def route(self) -> str:
        org, name = self.model.split("/")
        return f"{API}/org/{org}/models/{name}"

    @property
    def artifacts(self) -> dict[str, str]:
        """Path -> OID."""
        return {path: oid_of(data) for path, data in self.files.items()}


@dataclass(frozen=True)
class Step:
    """One request of a push; `oid` and `part` say of which bytes (`part` 0: the whole in one body)."""

    kind: Kind
    oid: str = ""
    part: int = 0
    upload_url: str = ""


class Refused(Exception):
    """A step was answered with something else than success."""

    def __init__(self, step: Step, answer: httpx2.Response) -> None:
        super().__init__(step, answer.status_code, answer.text)
        self.step = step
        self.status = answer.status_code
        is_ours = "json" in answer.headers.get("Content-Type", "")  # else of a store that parts are sent to directly
        self.type = str(answer.json().get("type")) if is_ours else ""


@dataclass
class Pusher:
    """Pushes releases to a server. `before` sees each step before it is sent; `in_flight` is the step not answered."""

    url: str
    token: str
    before: Callable[[Step], None] = field(default=lambda step: None)
    body_of: Callable[[bytes], "bytes | Iterator[bytes]"] = field(default=lambda data: data)
    in_flight: Step | None = None
    sent_bytes: int = 0
    acknowledged: list[Step] = field(default_factory=list)

    def push(self, release: Release) -> int:
        """Push, and go on with what an earlier push began. Answers the status of the publish: 201 or 200."""
        with open_client(self.url) as client:
            blobs = {oid_of(data): data for data in release.files.values()}
            for item in self.offers(client, release, blobs):
                if "actions" in item:
                    self._send(client, item, blobs[item["oid"]])
            body = {"version": release.version, "artifacts": release.artifacts}
            publish = client.build_request("POST", f"{release.route}/versions", json=body, headers=self._headers())
            return self._ask(client, Step("publish"), publish, 200, 201).status_code

    def offers(self, client: httpx2.Client, release: Release, blobs: Mapping[str, bytes]) -> list[dict[str, Any]]:
        """What the registry lacks of these bytes."""
        objects = [{"oid": oid, "size": len(data)} for oid, data in blobs.items()]
        body = {"operation": "upload", "transfers": ["basic", "multipart"], "objects": objects}
        request = client.build_request("POST", f"{release.route}/blobs/batch", json=body, headers=self._headers())
        answered: list[dict[str, Any]] = self._ask(client, Step("begin"), request, 200).json()["objects"]
        return answered

    def _send(self, client: httpx2.Client, item: dict[str, Any], data: bytes) -> None:
        oid, action = item["oid"], item["actions"]["upload"]
        if "chunk_size" not in action["header"]:
            self._send_part(client, Step("part", oid, 0, action["href"]), action["href"], data)
            return
        size = int(action["header"]["chunk_size"])
        for number in range(1, -(-len(data) // size) + 1):
            if number not in item["parts_done"]:
                step = Step("part", oid, number, action["href"])
                self._send_part(client, step, action["header"][str(number)], data[(number - 1) * size : number * size])
        completion = client.build_request("POST", action["href"], json={"oid": oid})
        answer = self._ask(client, Step("completion", oid, 0, action["href"]), completion, 200, 202)
        for _ in again_and_again("a proof"):
            if answer.status_code == 200:
                return
            look = client.build_request("GET", answer.headers["Location"])
            answer = self._ask(client, Step("completion", oid, 0, action["href"]), look, 200, 202)

    def _send_part(self, client: httpx2.Client, step: Step, url: str, data: bytes) -> None:
        headers = {"Content-Length": str(len(data))}
        self.sent_bytes += len(data)
        self._ask(client, step, client.build_request("PUT", url, content=self.body_of(data), headers=headers), 200)

    def _ask(self, client: httpx2.Client, step: Step, request: httpx2.Request, *expected: int) -> httpx2.Response:
        self.in_flight = step
        self.before(step)
        answer = client.send(request)
        if answer.status_code not in expected:
            raise Refused(step, answer)
        self.in_flight = None
        self.acknowledged.append(step)
        return answer

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def make_release(random: Random, model: str, version: str, *, large_bytes: int = 5 * PART_BYTES) -> Release:
    """A release of several files with contents that no other has: in one body, in parts, and in parts with a rest."""
    sizes = {
        "config.json": random.randrange(1, 2_000),
        "tokenizer/vocab.txt": PART_BYTES,
        "model.safetensors": large_bytes + random.randrange(PART_BYTES),
        "onnx/model.onnx": 2 * PART_BYTES,
    }
    return Release(model, version, {path: random.randbytes(size) for path, size in sizes.items()})
