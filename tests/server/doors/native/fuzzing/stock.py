"""Real things for a fuzzer to ask for: what always stays, and what is made new because the call will take it away.

Everything goes through the public API of a running server, as its admin.
"""

import itertools
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx2

from steelyard.server.doors.native.examples import BYTES
from tests.house.people import Person, oid_of

ORG, NAME, VERSION, ALIAS, USER, ACCOUNT = "example", "example", "1.0.0", "production", "ada", "ci"
ADMIN = "admin"
MODEL = f"/org/{ORG}/models/{NAME}"


@dataclass(frozen=True, slots=True)
class Ground:
    """Real values for parts of one request; what is None or not named stays as it was generated.

    `body` takes the place of the whole body, `keys` of some of its keys.
    """

    path: dict[str, Any] = field(default_factory=dict)
    query: dict[str, Any] = field(default_factory=dict)
    body: Any = None
    keys: dict[str, Any] = field(default_factory=dict)


class Stock:
    """The registry under test, with `example/example:1.0.0`, the user `ada` and the service account `ci` in it."""

    def __init__(self, url: str, token: str) -> None:
        self.admin = Person(httpx2.Client(base_url=url), ADMIN, token)
        self._numbers = itertools.count(1)
        self._unique = uuid4().hex[:8]

    def close(self) -> None:
        """Let go of the connections."""
        self.admin.client.close()

    def seed(self) -> None:
        """Put in what stays."""
        _made(self.admin.post("/orgs", {"key": ORG}))
        files = {"model.safetensors": BYTES, "config/config.json": b"{}"}
        _made(
            self.admin.publish(f"{ORG}/{NAME}:{VERSION}", files, aliases=[ALIAS, "stable"], metrics={"accuracy": 0.9})
        )
        _made(self.admin.publish(f"{ORG}/{NAME}:1.1.0", files, summary="The second", tags=["small"]))
        _made(self.admin.publish(f"{ORG}/{NAME}:2.0.0-rc.1", files))
        _made(self.admin.post("/users", {"username": USER}))
        _made(self.admin.post(f"/org/{ORG}/members", {"username": USER, "role": "owner"}))
        _made(self.admin.post(f"/org/{ORG}/service-accounts", {"name": ACCOUNT}))

    def user(self, name: str) -> str:
        """A new user; answers his token."""
        return str(_made(self.admin.post("/users", {"username": name}))["key"])

    def unique(self, prefix: str) -> str:
        """A name that nothing has yet."""
        return f"{prefix}-{self._unique}-{next(self._numbers)}"

    # --- grounds, by operation

    def ground(self, operation_id: str) -> Ground:
        """Real values for a call of this operation."""
        made = getattr(self, f"_for_{operation_id}", None)
        return made() if made else Ground(_STAYS)

    def _for_delete_whole_model(self) -> Ground:
        name = self.unique("whole")
        _made(self.admin.publish(f"{ORG}/{name}:1.0.0", {"model.bin": BYTES}))
        return Ground({"org": ORG, "name": name})

    def _for_delete_model(self) -> Ground:
        return Ground({**_STAYS, "version": self._fresh_version()})

    def _fresh_version(self) -> str:
        version = f"0.0.{next(self._numbers)}-x{self._unique}"  # eight hex digits may be a number with a leading zero
        _made(self.admin.publish(f"{ORG}/{NAME}:{version}", {"model.bin": BYTES}))
        return version

    def _for_remove_model_alias(self) -> Ground:
        alias = self.unique("alias")
        done = self.admin.post(f"{MODEL}/{VERSION}/aliases", {"alias": alias})
        assert done.status_code == 200, done.text
        return Ground({**_STAYS, "alias": alias})

    def _for_publish_model(self) -> Ground:
        number = f"3.0.{next(self._numbers)}-x{self._unique}"
        held = {"version": number, "bump": None, "artifacts": {"model.bin": oid_of(BYTES)}}
        return Ground({"org": ORG, "name": self.unique("fuzzed")}, keys=held)

    def _for_compare_model_versions(self) -> Ground:
        return Ground(_STAYS, {"versions": [VERSION, "1.1.0"]})

    def _for_get_model_download_status(self) -> Ground:
        return Ground({"org": ORG, "download_id": self._download()["download_id"]})

    def _for_get_model_archive(self) -> Ground:
        return Ground(_STAYS, _ticket_of(self._download()["url"]))

    _for_head_model_archive = _for_get_model_archive

    def _download(self) -> Any:
        return self.admin.post(f"{MODEL}/{VERSION}/download").json()

    def _for_put_upload(self) -> Ground:
        data, action = self._upload("basic")
        return Ground(_upload_of(action["href"]), _ticket_of(action["href"]), data)

    def _for_put_upload_part(self) -> Ground:
        data, action = self._upload("multipart")
        href = action["header"]["1"]
        return Ground({**_upload_of(href), "number": 1}, _ticket_of(href), data)

    def _for_sign_upload_part(self) -> Ground:
        """A part of a file that is large enough to go straight to the store."""
        data = self.unique("bytes").encode().ljust(_STRAIGHT_BYTES, b".")
        objects = [{"oid": oid_of(data), "size": len(data)}]
        body = {"operation": "upload", "transfers": ["multipart"], "part_checksums": "crc32", "objects": objects}
        offered = self.admin.post(f"{MODEL}/blobs/batch", body).json()["objects"][0]
        href = offered["actions"]["upload"]["header"]["1"]
        return Ground({**_upload_of(href), "number": 1}, _ticket_of(href))

    def _for_complete_upload(self) -> Ground:
        _, action = self._sent_upload()
        return Ground(_upload_of(action["href"]), _ticket_of(action["href"]))

    def _for_get_upload(self) -> Ground:
        _, action = self._sent_upload()
        done = self.admin.client.post(action["href"])
        assert done.status_code == 200, done.text
        return Ground(_upload_of(action["href"]), _ticket_of(action["href"]))

    def _upload(self, transfer: str) -> tuple[bytes, Any]:
        """Bytes that the server lacks, one part long, and the links to send them."""
        data = self.unique("bytes").encode().ljust(_PART_BYTES + 1 if transfer == "multipart" else 8, b".")
        offered = self.admin.offer(f"{ORG}/{NAME}", data, transfers=(transfer,)).json()
        return data[:_PART_BYTES], offered["objects"][0]["actions"]["upload"]

    def _sent_upload(self) -> tuple[bytes, Any]:
        data = self.unique("bytes").encode().ljust(_PART_BYTES + 1, b".")
        action = self.admin.offer(f"{ORG}/{NAME}", data).json()["objects"][0]["actions"]["upload"]
        for number, start in enumerate(range(0, len(data), _PART_BYTES), 1):
            sent = self.admin.client.put(action["header"][str(number)], content=data[start : start + _PART_BYTES])
            assert sent.status_code == 200, sent.text
        return data, action

    def _for_revoke_api_key(self) -> Ground:
        return Ground({"key_id": _made(self.admin.post("/user/api-keys", {"name": "fuzzed"}))["id"]})

    def _for_end_session(self) -> Ground:
        signed_in = self.admin.client.post("/-/login", data={"token": self.admin.token or ""})
        assert signed_in.is_redirect, signed_in.text
        self.admin.client.cookies.clear()
        return Ground({"session_id": self.admin.get("/user/sessions").json()["sessions"][0]["id"]})

    def _for_unlink_identity(self) -> Ground:
        """Linked in a browser, by way of the provider that the server asks, which sends everybody back at once."""
        browser = self.admin.client
        assert browser.post("/-/login", data={"token": self.admin.token or ""}).is_redirect
        asked = browser.get("/-/oidc/start?link=true")
        with httpx2.Client() as elsewhere:  # which must not see our cookies
            back = elsewhere.get(asked.headers["location"])
        page = browser.get(back.headers["location"])
        form = dict(re.findall(r'name="(csrf|proof)" value="([^"]+)"', page.text.partition("<main")[2]))
        assert browser.post("/-/oidc/link", data=form).is_redirect, page.text
        browser.post("/-/logout", data=form)
        browser.cookies.clear()
        return Ground({"identity_id": self.admin.get("/user/identities").json()["identities"][-1]["id"]})

    def _for_create_user(self) -> Ground:
        return Ground(body={"username": self.unique("user")})

    def _for_create_org(self) -> Ground:
        return Ground(body={"key": self.unique("org")})

    def _for_add_member(self) -> Ground:
        name = self.unique("user")
        self.user(name)
        return Ground({"org": ORG}, body={"username": name, "role": "reader"})

    def _for_remove_member(self) -> Ground:
        name = self.unique("user")
        self.user(name)
        _made(self.admin.post(f"/org/{ORG}/members", {"username": name, "role": "reader"}))
        return Ground({"org": ORG, "username": name})

    def _for_add_service_account(self) -> Ground:
        return Ground({"org": ORG}, body={"name": self.unique("account"), "role": "reader"})

    def _for_remove_service_account(self) -> Ground:
        name = self.unique("account")
        _made(self.admin.post(f"/org/{ORG}/service-accounts", {"name": name}))
        return Ground({"org": ORG, "account": name})

    def _for_revoke_service_token(self) -> Ground:
        made = _made(self.admin.post(f"/org/{ORG}/service-accounts/{ACCOUNT}/api-keys", {"name": "fuzzed"}))
        return Ground({"org": ORG, "account": ACCOUNT, "key_id": made["id"]})


_STAYS = {
    "org": ORG,
    "name": NAME,
    "version": VERSION,
    "alias": ALIAS,
    "path": "model.safetensors",
    "username": USER,
    "account": ACCOUNT,
}
_STRAIGHT_BYTES = 2**20 + 1
_PART_BYTES = 64 * 1024
"""The part size that the server under test is started with: the smallest there is."""


def _made(response: httpx2.Response) -> Any:
    assert response.status_code == 201, response.text
    return response.json()


def _upload_of(href: str) -> dict[str, Any]:
    return {"org": ORG, "name": NAME, "upload_id": urlsplit(href).path.partition("/uploads/")[2].partition("/")[0]}


def _ticket_of(href: str) -> dict[str, Any]:
    return {"ticket": parse_qs(urlsplit(href).query)["ticket"][0]}
