"""Who may do what by the door of container tools: every route of it, as every kind of caller, on private and on public
models, with an API token itself and with one of `/token`.

The routes are those of the running application. One without a row in the table fails; so does a row without its route.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from fastapi.routing import iter_route_contexts

from tests.house import Person
from tests.house.people import oid_of
from tests.house.registries import open_registered
from tests.server.doors.native import access_table as native
from tests.server.doors.native.access_table import CALLERS
from tests.server.doors.native.world import MISSING, ORG, WEIGHTS, World, filled
from tests.server.doors.oci.pushing import (
    IMAGE,
    IMAGE_CONFIG,
    ORIGIN,
    Repository,
    as_bytes,
    descriptor,
    error_of,
    image_manifest,
)
from tests.server.doors.oci.test_dialect import NativeRepository

_MORE = {
    # what the route demands   anon outs read cont ownr admn serv else here r_on revo expi disa
    "to be known":            "401  ok   ok   ok   ok   ok   ok   ok   ok   ok   401  401  401",
    "to have begun it":       "401  404  403  ok   ok   404  ok   404  ok   403  401  401  401",
}  # fmt: skip
_MORE_PUBLIC = {
    "to have begun it":       "401  403  403  ok   ok   403  ok   403  ok   403  401  401  401",
}  # fmt: skip
PRIVATE = native.PRIVATE | _MORE
PUBLIC = native.PUBLIC | _MORE | _MORE_PUBLIC
OPENED = native.OPENED | _MORE | _MORE_PUBLIC | {
    "a caller":               "ok   ok   ok   ok   ok   ok   ok   ok   ok   ok   401  401  401",
}  # fmt: skip
PRIVATE["a caller"] = PUBLIC["a caller"] = PRIVATE["to be known"]

Values = dict[str, str]
_PLAIN = as_bytes(image_manifest(descriptor(IMAGE_CONFIG, b"{}"), []))
_AS_MANIFEST = {"Content-Type": IMAGE}


@dataclass(frozen=True)
class Row:
    """A route: what it demands, the status of a success, what is sent, and what is made ready for it."""

    method: str
    path: str
    demands: str
    status: int = 200
    content: bytes | Callable[[World, Values], bytes] | None = None
    query: str = ""
    before: Callable[[World, Values, Person], dict[str, str]] | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_native(self) -> bool:
        return self.path.startswith("/api/")


def _begun(base: str) -> Callable[[World, Values, Person], dict[str, str]]:
    """An upload by the caller, or by an owner where he can begin none."""

    def begin(world: World, values: Values, caller: Person) -> dict[str, str]:
        path = f"{ORIGIN}{base}/{ORG}/{values['name']}/blobs/uploads/"
        begun = caller.post(path)
        if begun.status_code != 202:
            begun = world.callers["owner"].post(path)
        return {"upload_id": begun.headers["docker-upload-uuid"]}

    return begin


def _pushed(world: World, values: Values, _caller: Person) -> dict[str, str]:
    """Bytes and a manifest with a tag that is no version's."""
    repo = Repository(world.callers["owner"], f"{ORG}/{values['name']}")
    pushed = repo.push_blob(world.new("pushed").encode())
    repo.push_blob(b"{}")
    assert repo.push_manifest(_PLAIN, "plain").status_code == 201
    return {"pushed": pushed}


def _native_manifest(world: World, values: Values) -> bytes:
    repo = NativeRepository(world.callers["owner"], f"{ORG}/{values['name']}")
    return as_bytes(repo.manifest("3.0.0", {"model.safetensors": WEIGHTS}))


_R, _N = "/v2/{org}/{name}", "/api/v1/{org}/{name}"
_ON, _ON_NATIVELY = _begun("/v2"), _begun("/api/v1")
_DIGEST = f"?digest={oid_of(b'x')}"

ROWS = [
    Row("GET", "/token", "a caller"),
    Row("POST", "/token", "a caller"),
    Row("GET", "/v2/", "to be known"),
    Row("HEAD", "/v2/", "to be known"),
    # reading
    Row("GET", _R + "/blobs/{digest}", "to see the model"),
    Row("HEAD", _R + "/blobs/{digest}", "to see the model"),
    Row("GET", _R + "/manifests/{reference}", "to see the model"),
    Row("HEAD", _R + "/manifests/{reference}", "to see the model"),
    Row("GET", _R + "/tags/list", "to see the model"),
    Row("GET", _R + "/referrers/{digest}", "to see the model"),
    # writing
    Row("POST", _R + "/blobs/uploads/", "a contributor", 202),
    Row("POST", _R + "/blobs/uploads", "a contributor", 202),
    Row("GET", _R + "/blobs/uploads/{upload_id}", "to have begun it", 204, before=_ON),
    Row("PATCH", _R + "/blobs/uploads/{upload_id}", "to have begun it", 202, content=b"x", before=_ON),
    Row("PUT", _R + "/blobs/uploads/{upload_id}", "to have begun it", 201, content=b"x", query=_DIGEST, before=_ON),
    Row("DELETE", _R + "/blobs/uploads/{upload_id}", "to have begun it", 204, before=_ON),
    Row("PUT", _R + "/manifests/{reference}", "a contributor", 201, content=_PLAIN, before=_pushed),
    Row("DELETE", _R + "/manifests/{reference}", "an owner", 202),
    Row("DELETE", _R + "/blobs/{digest}", "an owner", 202, before=_pushed),
    # the native API's dialect
    Row("POST", _N + "/blobs/uploads/", "a contributor", 202),
    Row("GET", _N + "/blobs/uploads/{upload_id}", "to have begun it", 204, before=_ON_NATIVELY),
    Row("PATCH", _N + "/blobs/uploads/{upload_id}", "to have begun it", 202, content=b"x", before=_ON_NATIVELY),
    Row("PUT", _N + "/blobs/uploads/{upload_id}", "to have begun it", 201, content=b"x", query=_DIGEST,
        before=_ON_NATIVELY),
    Row("DELETE", _N + "/blobs/uploads/{upload_id}", "to have begun it", 204, before=_ON_NATIVELY),
    Row("GET", _N + "/manifests/{reference}", "to see the model"),
    Row("HEAD", _N + "/manifests/{reference}", "to see the model"),
    Row("PUT", _N + "/manifests/{reference}", "a contributor", 201, content=_native_manifest),
    Row("DELETE", _N + "/manifests/{reference}", "an owner", 202),
    Row("GET", _N + "/tags/list", "to see the model"),
    Row("GET", "/api/v1/{org}/blobs/{digest}", "to see the model"),
    Row("HEAD", "/api/v1/{org}/blobs/{digest}", "to see the model"),
]  # fmt: skip
TOLD_APART = [row for row in ROWS if "{name}" in row.path and not row.is_native]


@pytest.fixture(scope="module", params=["private", "public", "opened"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The world with private models, with public ones, and with public ones open to callers without a token."""
    data = tmp_path_factory.mktemp("world") / "data"
    opened = request.param == "opened"
    with open_registered(data=data, limits="off", anonymous_public=opened, store_direct=False) as registered:
        yield World(registered, request.param)


def test_every_route_has_a_row_and_every_row_its_route(world: World) -> None:
    routes = {
        f"{method} {context.path}"
        for context in iter_route_contexts(world.app.routes)
        if type(context.original_route).__module__.startswith("steelyard.server.doors.oci")
        for method in context.methods or ()
    }
    rows = [str(row) for row in ROWS]
    assert sorted(routes - set(rows)) == [], "routes without a row"
    assert sorted(set(rows) - routes) == [], "rows without a route"
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_who_may(world: World, row: Row) -> None:
    _try_all(world, row, lambda caller, _values: caller)


@pytest.mark.parametrize("row", TOLD_APART, ids=str)
def test_who_may_with_a_token_for_it(world: World, row: Row) -> None:
    """A token of `/token` opens what its holder's own one does, and he is refused in the same way."""
    _try_all(world, row, lambda caller, values: _exchanged(caller, f"repository:{ORG}/{values['name']}:*"))


@pytest.mark.parametrize("row", TOLD_APART, ids=str)
def test_a_token_for_too_little_is_asked_to_be_another(world: World, row: Row) -> None:
    """One for all there is of another repository, and one for the other half of this one."""
    owner = world.callers["owner"]
    values = _prepare(world, row, owner)
    reads = row.method in ("GET", "HEAD") and "/uploads/" not in row.path
    half = "push,delete" if reads else "pull"
    for scope in (f"repository:{ORG}/other:*", f"repository:{ORG}/{values['name']}:{half}"):
        refused = _send(world, row, values, _exchanged(owner, scope))
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].endswith('error="insufficient_scope"')


def _try_all(world: World, row: Row, as_sent: Callable[[Person, Values], Person]) -> None:
    table = {"private": PRIVATE, "public": PUBLIC, "opened": OPENED}[world.kind]
    expected = dict(zip(CALLERS, table[row.demands].split(), strict=True))
    values: Values | None = None
    statuses: dict[str, str] = {}
    for name in _callers(world):
        caller = world.callers[name]
        if values is None or "{upload_id}" in row.path:
            values = _prepare(world, row, caller)
        response = _send(world, row, values, as_sent(caller, values))
        statuses[name] = str(response.status_code)
        if response.is_success:
            values = None if row.method not in ("GET", "HEAD") else values
        elif response.status_code == int(expected[name].replace("ok", "0")):
            _check_refusal(world, row, values, as_sent(caller, values), response)
    assert statuses == {name: expected[name].replace("ok", str(row.status)) for name in statuses}


def _callers(world: World) -> list[str]:
    """Whoever has something new to show: making models public adds nothing to what ends a token."""
    if world.kind == "opened":
        return ["anonymous", "outsider", "contributor", "revoked"]
    settled = {"here", "service", "expired", "disabled"} if world.kind == "public" else set()
    return [name for name in CALLERS if name not in settled]


def _exchanged(caller: Person, scope: str) -> Person:
    """The caller with what `/token` gives him, or as he is where it gives nothing."""
    given = caller.get(f"{ORIGIN}/token", params={"scope": scope})
    return Person(caller.client, caller.name, given.json()["token"]) if given.status_code == 200 else caller


def _prepare(world: World, row: Row, caller: Person) -> Values:
    values = {"org": ORG, "name": world.model(), "digest": oid_of(WEIGHTS), "reference": "1.0.0"}
    made: dict[str, Any] = row.before(world, values, caller) if row.before else {}
    if row.method == "DELETE" and "pushed" in made:
        values["digest"] = made["pushed"]
    if row.method == "PUT" and "{reference}" in row.path:
        values["reference"] = "3.0.0" if row.is_native else "other"
    return values | made


def _send(world: World, row: Row, values: Values, caller: Person) -> httpx2.Response:
    content = row.content(world, values) if callable(row.content) else row.content
    headers = _AS_MANIFEST if "/manifests/" in row.path and content is not None else {}
    return caller.request(row.method, ORIGIN + filled(row.path, values) + row.query, content=content, headers=headers)


def _check_refusal(world: World, row: Row, values: Values, caller: Person, refused: httpx2.Response) -> None:
    """The body is the dialect's; what is hidden looks as what is not there."""
    asks_for_more = refused.status_code == 401 or (refused.status_code == 403 and not row.is_native)
    assert ("www-authenticate" in refused.headers) == asks_for_more
    if row.method == "HEAD":
        assert refused.content == b""
        return
    if row.is_native:
        assert set(refused.json()) == {"code", "detail", "type"}
    else:
        codes = {401: "UNAUTHORIZED", 403: "DENIED", 404: "NAME_UNKNOWN"}
        assert error_of(refused) == (refused.status_code, codes[refused.status_code])
    if refused.status_code == 404:
        absent = values | {word: name for word, name in MISSING.items() if word in values}
        missing, shown = _send(world, row, absent, caller), refused.text
        for word in MISSING:
            shown = shown.replace(values[word], absent[word])
        assert (missing.status_code, missing.text) == (404, shown)


def test_what_a_plain_tag_leads_to_goes_by_whoever_may_publish(world: World) -> None:
    values = {"name": world.model()}
    repo = Repository(world.callers["contributor"], f"{ORG}/{values['name']}")
    _pushed(world, values, repo.person)
    reader = repo.by(world.callers["reader"]).delete("manifests/plain")
    assert error_of(reader) == (403, "DENIED")
    assert repo.delete("manifests/plain").status_code == 202


def test_a_read_only_token_mounts_nothing(world: World) -> None:
    repo = Repository(world.callers["read_only"], f"{ORG}/{world.model()}")
    assert error_of(repo.post(f"blobs/uploads/?mount={oid_of(WEIGHTS)}")) == (403, "DENIED")


def test_an_upload_is_only_its_beginners(world: World) -> None:
    name = f"{ORG}/{world.model()}"
    location = Repository(world.callers["contributor"], name).begin()
    other = Repository(world.callers["owner"], name).get(location)
    assert error_of(other) == (404, "BLOB_UPLOAD_UNKNOWN")
