"""A small world to try every route of the native door in: all kinds of callers, and things for them to touch."""

import json
import re
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import count
from typing import Any

import httpx2
from fastapi import FastAPI
from sqlalchemy import select

from steelyard.server.db.tables import AuditEvent, Identity, User
from tests.house import Person, Registered
from tests.house.people import oid_of

WEIGHTS = b"\x02\0\0\0\0\0\0\0{}"  # safetensors without a tensor
ORG = "acme"
MISSING = {"org": "nowhere", "name": "absent"}
QUERIES = {"/org/{org}/models/{name}/compare": "?versions=1.0.0&versions=1.0.0"}
PART_BYTES = 64 * 1024
_PLACEHOLDER = re.compile(r"\{(\w+)(?::path)?\}")


def placeholders(template: str) -> list[str]:
    """The words in braces of a path or a JSON body."""
    return _PLACEHOLDER.findall(template)


def filled(template: str, values: dict[str, str]) -> str:
    """The same with what they stand for."""
    return _PLACEHOLDER.sub(lambda found: values[found[1]], template)


@dataclass
class World:
    """The organisation acme, callers of every kind, and new things in it on demand.

    Its models are `private`, or `public`, or `opened`: public where callers without a token are let in.
    """

    registered: Registered
    kind: str
    _numbers: Any = field(default_factory=lambda: count(1))

    @property
    def public(self) -> bool:
        return self.kind != "private"

    @property
    def app(self) -> FastAPI:
        app = self.registered.client.app
        assert isinstance(app, FastAPI)
        return app

    @cached_property
    def callers(self) -> dict[str, Person]:
        """One of each kind; `owner` stands for the person behind every token made from his."""
        registered = self.registered
        reader, contributor, leaver = (registered.user(name) for name in ("reader", "contributor", "leaver"))
        owner = registered.org(ORG, reader="reader", contributor="contributor", leaver="owner")
        expired = self._token(owner, expires_at=(datetime.now(UTC) + timedelta(seconds=0.5)).isoformat())
        callers = {
            "anonymous": registered.anonymous,
            "outsider": registered.user("outsider"),
            "reader": reader,
            "contributor": contributor,
            "owner": owner,
            "admin": registered.admin,
            "service": self._service(owner),
            "elsewhere": self._token(owner, org=owner.name),
            "here": self._token(owner, org=ORG),
            "read_only": self._token(owner, access="read"),
            "revoked": self._revoked(owner),
            "expired": expired,
            "disabled": leaver,
        }
        assert registered.admin.patch("/users/leaver", {"disabled": True}).status_code == 200
        time.sleep(0.5)
        self.__dict__["callers"] = callers  # so that the first model can be made
        self.model()
        return callers

    def _token(self, owner: Person, **narrowing: str) -> Person:
        made = owner.post("/user/api-keys", {"name": "narrowed", **narrowing})
        assert made.status_code == 201, made.text
        return Person(owner.client, owner.name, made.json()["key"])

    def _revoked(self, owner: Person) -> Person:
        made = owner.post("/user/api-keys", {"name": "revoked"}).json()
        assert owner.delete(f"/user/api-keys/{made['id']}").status_code == 204
        return Person(owner.client, owner.name, made["key"])

    def _service(self, owner: Person) -> Person:
        assert owner.post(f"/org/{ORG}/service-accounts", {"name": "robot"}).status_code == 201
        made = owner.post(f"/org/{ORG}/service-accounts/robot/api-keys", {}).json()
        return Person(owner.client, f"service:{ORG}/robot", made["key"])

    def newest_event(self) -> AuditEvent:
        """The last row of the audit trail, whatever organisation it belongs to."""
        with self.app.state.registry.database.read() as session:
            return session.scalars(select(AuditEvent).order_by(AuditEvent.id.desc()).limit(1)).one()  # type: ignore[no-any-return]

    # --- things to touch

    def prepare(self, caller: Person, path: str, body: Any) -> dict[str, str]:
        """New things for every word in braces of a path and a body."""
        values = {"org": ORG, "version": "1.0.0", "path": "model.safetensors", "number": "1", "oid": oid_of(WEIGHTS)}
        if "{name}" in path or "{download_id}" in path:
            values["name"] = self.model()
        for word in placeholders(path + json.dumps(body)):
            if word not in values:
                values.update(getattr(self, f"_{word}")(values, caller, path))
        return values

    def new(self, kind: str) -> str:
        return f"{kind}{next(self._numbers)}"

    def model(self) -> str:
        name = self.new("tiny")
        published = self.callers["owner"].publish(f"{ORG}/{name}:1.0.0", {"model.safetensors": WEIGHTS})
        assert published.status_code == 201, published.text
        if self.public:
            self.set_visibility(name, is_public=True)
        return name

    def set_visibility(self, name: str, *, is_public: bool) -> None:
        """Show or hide a model."""
        path = f"/org/{ORG}/models/{name}/visibility"
        assert self.callers["owner"].patch(path, {"is_public": is_public}).status_code == 200

    def _alias(self, values: dict[str, str], _caller: Person, _path: str) -> dict[str, str]:
        alias = self.new("alias")
        path = f"/org/{ORG}/models/{values['name']}/1.0.0/aliases"
        assert self.callers["owner"].post(path, {"alias": alias}).status_code == 200
        return {"alias": alias}

    def _unused(self, _values: dict[str, str], _caller: Person, _path: str) -> dict[str, str]:
        return {"unused": self.new("unused")}

    def _number_unused(self, _values: dict[str, str], _caller: Person, _path: str) -> dict[str, str]:
        return {"number_unused": f"{next(self._numbers)}.1.0"}

    def _stranger(self, _values: dict[str, str], _caller: Person, _path: str) -> dict[str, str]:
        return {"stranger": self.registered.user(self.new("stranger")).name}

    def _username(self, _values: dict[str, str], _caller: Person, path: str) -> dict[str, str]:
        user = self.registered.user(self.new("member"))
        if "/members/" in path:
            added = self.callers["owner"].post(f"/org/{ORG}/members", {"username": user.name, "role": "reader"})
            assert added.status_code == 201
        return {"username": user.name}

    def _account(self, _values: dict[str, str], _caller: Person, _path: str) -> dict[str, str]:
        name = self.new("bot")
        assert self.callers["owner"].post(f"/org/{ORG}/service-accounts", {"name": name}).status_code == 201
        return {"account": name}

    def _key_id(self, values: dict[str, str], caller: Person, _path: str) -> dict[str, str]:
        """A token of the service account, or else one of the caller's own, where he can make one."""
        owner = self.callers["owner"]
        if "account" in values:
            made = owner.post(f"/org/{ORG}/service-accounts/{values['account']}/api-keys", {})
        else:
            made = caller.post("/user/api-keys", {"name": "doomed"})
        if made.status_code != 201:
            made = owner.post("/user/api-keys", {"name": "not his"})
        return {"key_id": made.json()["id"]}

    def _identity_id(self, _values: dict[str, str], caller: Person, _path: str) -> dict[str, str]:
        """An identity of the caller's own, or else of the owner's. Only browsers can link one, by way of a provider."""
        with self.app.state.registry.database.write() as session:
            name = caller.name if caller.name in ("reader", "contributor", "outsider", "admin") else f"{ORG}-owner"
            user = session.scalars(select(User).where(User.username == name)).one()
            identity = Identity(issuer="https://id.example.org", subject=self.new("subject"), user_id=user.id)
            session.add(identity)
            session.flush()
            return {"identity_id": identity.uuid}

    def _session_id(self, _values: dict[str, str], caller: Person, _path: str) -> dict[str, str]:
        """A browser that the caller has signed in with his token, where he can; what only reads may end no other's."""
        owner = self.callers["owner"]
        holder = owner if caller is self.callers["read_only"] else caller
        signed_in = self.registered.client.post("/-/login", data={"token": holder.token or ""}, follow_redirects=False)
        if signed_in.status_code != 303:
            holder = owner
            self.registered.client.post("/-/login", data={"token": owner.token}, follow_redirects=False)
        self.registered.client.cookies.clear()
        return {"session_id": holder.get("/user/sessions").json()["sessions"][0]["id"]}

    def _download_id(self, values: dict[str, str], caller: Person, _path: str) -> dict[str, str]:
        path = f"/org/{ORG}/models/{values['name']}/1.0.0/download"
        begun = caller.post(path)
        if begun.status_code != 200:
            begun = self.callers["owner"].post(path)
        return {"download_id": begun.json()["download_id"]}


# --- before and after some routes


def other_visibility(world: World) -> dict[str, bool]:
    """What models are not."""
    return {"is_public": not world.public}


def restore_visibility(world: World, values: dict[str, str]) -> None:
    """A public model in a private world would show its organisation to everybody."""
    world.set_visibility(values["name"], is_public=world.public)


def yank(world: World, values: dict[str, str]) -> None:
    """So that it can be undone."""
    path = filled("/org/{org}/models/{name}/1.0.0/yank", values)
    assert world.callers["owner"].put(path, {"reason": "wrong"}).status_code == 200


@dataclass(frozen=True)
class Request:
    """A call of which only the caller is missing. `path` has words in braces, and so may what it `sends`."""

    method: str
    path: str
    values: dict[str, str]
    sends: Any = None
    content: bytes | None = None

    def send(self, caller: Person) -> httpx2.Response:
        path = filled(self.path, self.values) + QUERIES.get(self.path, "")
        body = None if self.sends is None else json.loads(filled(json.dumps(self.sends), self.values))
        sent = {"json": body} if body is not None else {"content": self.content}
        return caller.request(self.method, path, **sent)

    def of_what_is_missing(self) -> "Request":
        """The same of an organisation, and a model, that nobody ever made."""
        return replace(self, values={**self.values, **MISSING})

    def as_if_missing(self, body: Any) -> Any:
        """An answer, with the names of what was asked for replaced by those of what is missing."""
        text = json.dumps(body)
        for key, name in MISSING.items():
            text = text.replace(self.values.get(key, name), name)
        return json.loads(text)


# --- links that carry their own right


@dataclass(frozen=True)
class Link:
    """A URL with a ticket, and the bytes to send to it."""

    url: str
    content: bytes | None = None


def _offer(world: World, transfers: tuple[str, ...]) -> tuple[bytes, dict[str, Any]]:
    data = world.new("bytes ").encode() + bytes(PART_BYTES)
    offered = world.callers["owner"].offer(f"{ORG}/{world.new('upload')}", data, transfers=transfers)
    return data, offered.json()["objects"][0]["actions"]["upload"]


def link_to_upload(world: World) -> Link:
    """One PUT of the whole."""
    data, action = _offer(world, ("basic",))
    return Link(action["href"], data)


def link_to_part(world: World) -> Link:
    """The first of two parts."""
    data, action = _offer(world, ("basic", "multipart"))
    return Link(action["header"]["1"], data[:PART_BYTES])


def link_to_signing(world: World) -> Link:
    """A part that goes through the server: there is no other link to be had for it."""
    return Link(link_to_part(world).url, b'{"crc32": "AAAAAA=="}')


def link_to_completion(world: World) -> Link:
    """The end of an upload whose parts are all there."""
    data, action = _offer(world, ("basic", "multipart"))
    for number, start in ((1, 0), (2, PART_BYTES)):
        sent = world.registered.client.put(action["header"][str(number)], content=data[start : start + PART_BYTES])
        assert sent.status_code == 200, sent.text
    return Link(action["href"])


def link_to_completed(world: World) -> Link:
    """An upload that is over."""
    link = link_to_completion(world)
    assert world.registered.client.post(link.url).status_code == 200
    return link


def link_to_archive(world: World) -> Link:
    """A whole version."""
    path = f"/org/{ORG}/models/{world.model()}/1.0.0/download"
    return Link(world.callers["owner"].post(path).json()["url"])
