"""Who may do what: every route of the native door, as every kind of caller, on private and on public models.

The routes are those of the running application. One without a row in the table fails; so does a row without its route.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import httpx2
import pytest
from fastapi.routing import iter_route_contexts

from steelyard.server.db.tables import AuditEvent
from steelyard.server.doors.native.routes import PREFIX
from steelyard.server.doors.oci.dialect import DialectRoute
from tests.house import Person
from tests.house.registries import open_registered
from tests.server.doors.native.access_table import CALLERS, OPENED, PRIVATE, PUBLIC, ROWS, Row
from tests.server.doors.native.models import refusal
from tests.server.doors.native.world import PART_BYTES, Request, World

_TYPES = {401: "authentication_error", 403: "forbidden_error", 404: "not_found_error"}


@pytest.fixture(scope="module", params=["private", "public", "opened"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The world with private models, with public ones, and with public ones open to callers without a token."""
    data = tmp_path_factory.mktemp("world") / "data"
    opened = request.param == "opened"
    with open_registered(data=data, limits="off", part_size_bytes=PART_BYTES, anonymous_public=opened) as registered:
        yield World(registered, request.param)


def test_every_route_has_a_row_and_every_row_its_route(world: World) -> None:
    routes = {
        f"{method} {context.path.removeprefix(PREFIX)}"
        for context in iter_route_contexts(world.app.routes)
        if context.path and context.path.startswith(PREFIX)
        if not isinstance(context.original_route, DialectRoute)  # of the OCI door, whose own table has them
        for method in context.methods or ()
    }
    rows = [str(row) for row in ROWS]
    assert sorted(routes - set(rows)) == [], "routes without a row"
    assert sorted(set(rows) - routes) == [], "rows without a route"
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_who_may(world: World, row: Row) -> None:
    table = {"private": PRIVATE, "public": PUBLIC, "opened": OPENED}[world.kind]
    expected = dict(zip(CALLERS, table[row.demands].split(), strict=True))
    answered = dict(_attempts(world, row))
    statuses = {name: str(attempt.response.status_code) for name, attempt in answered.items()}
    assert statuses == {name: expected[name].replace("ok", str(row.status)) for name in answered}
    for name, attempt in answered.items():
        if expected[name] == "ok":
            _check_success(row, attempt)
        else:
            _check_refusal(world, row, name, attempt)


@pytest.mark.parametrize("row", [row for row in ROWS if "{name}" in row.path and not row.link], ids=str)
@pytest.mark.parametrize("world", ["public"], indirect=True)
def test_a_hidden_model_beside_a_public_one_looks_as_none(world: World, row: Row) -> None:
    hidden = _request(world, row, world.callers["owner"])
    absent = replace(hidden, values={**hidden.values, "name": "absent"})
    world.set_visibility(hidden.values["name"], is_public=False)
    makes_models = row.method == "POST" and row.path.endswith(("/versions", "/blobs/batch"))
    for name in ("outsider", "admin", "elsewhere"):
        answered = hidden.send(world.callers[name])
        assert answered.status_code == (403 if makes_models else 404)
        if row.method != "HEAD":
            missing = absent.send(world.callers[name])
            assert answered.text.replace(hidden.values["name"], "absent") == missing.text


def _callers(world: World) -> list[str]:
    """Whoever has something new to show: making models public adds nothing to what ends a token."""
    if world.kind == "opened":
        return ["anonymous", "outsider", "revoked"]
    settled = {"here", "service", "expired", "disabled"} if world.kind == "public" else set()
    return [name for name in CALLERS if name not in settled]


@dataclass(frozen=True)
class Attempt:
    """One call of one caller, and the newest rows of the audit trail before and after it."""

    caller: Person
    request: Request
    response: httpx2.Response
    event_before: AuditEvent
    event_after: AuditEvent


def _attempts(world: World, row: Row) -> Iterator[tuple[str, Attempt]]:
    """Each caller tries; what one has used up is made anew for the next."""
    request = None
    for name in _callers(world):
        caller = world.callers[name]
        if request is None or row.is_personal:
            request = _request(world, row, caller)
        before = world.newest_event()
        response = request.send(caller)
        yield name, Attempt(caller, request, response, before, world.newest_event())
        if response.is_success and (row.audit or row.method in ("PUT", "POST")):
            if row.after:
                row.after(world, request.values)
            request = None


def _request(world: World, row: Row, caller: Person) -> Request:
    if row.link:
        link = row.link(world)
        return Request(row.method, link.url, {}, content=link.content)
    sends = row.sends(world) if callable(row.sends) else row.sends
    values = world.prepare(caller, row.path, sends)
    if row.before:
        row.before(world, values)
    return Request(row.method, row.path, values, sends)


def _check_success(row: Row, attempt: Attempt) -> None:
    """The body has the keys it should, or the bytes; and what was done stands in the audit trail, by whom it was."""
    response = attempt.response
    if isinstance(row.answers, bytes):
        assert row.answers in response.content
    elif row.answers is None:
        assert response.content == b"" or row.link
    else:
        body = response.json()
        shapes = [[set(item) for item in body][:1]] if isinstance(row.answers, list) else [set(body)]
        assert shapes == [row.answers] or body == []
    assert response.headers["x-request-id"]
    if row.audit is None:
        assert attempt.event_after.id == attempt.event_before.id
    else:
        assert (attempt.event_after.action, attempt.event_after.actor) == (row.audit, attempt.caller.name)
        assert attempt.event_after.request_id == response.headers["x-request-id"]


def _check_refusal(world: World, row: Row, name: str, attempt: Attempt) -> None:
    """The body is the error's and says why; nothing was done; what is hidden looks as what is not there."""
    response = attempt.response
    assert attempt.event_after.id == attempt.event_before.id
    assert ("www-authenticate" in response.headers) == (response.status_code == 401)
    if row.method == "HEAD":
        return
    assert refusal(response) == (response.status_code, _TYPES[response.status_code])
    detail = response.json()["detail"]
    if response.status_code == 401:
        assert detail.startswith("Authentication failed")
    elif response.status_code == 403:
        assert any(reason in detail for reason in _reasons(row, name)), detail
    elif row.path.startswith("/org/"):
        missing = attempt.request.of_what_is_missing().send(attempt.caller)
        assert (missing.status_code, missing.json()) == (404, attempt.request.as_if_missing(response.json()))


def _reasons(row: Row, name: str) -> tuple[str, ...]:
    """What a 403 may say."""
    match row.demands, name:
        case "an instance admin", _:
            return ("Only an instance admin", "token only reads")
        case "a person, unnarrowed", "here" | "elsewhere":
            return ("narrowed to one organisation",)
        case _, "read_only":
            return ("token only reads",)
        case "a person" | "a person who may write", _:
            return ("Only a person",)
        case _, "reader" | "contributor" | "service":
            return (
                f"it takes the role {row.demands.split()[1]}, and you are {name.replace('service', 'contributor')}",
            )
    return ("you are not a member",)
