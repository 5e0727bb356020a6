"""Who may do what: every route of the Hub's door, as every kind of caller, on private and on public models.

The routes are those of the running application. One without a row in the table fails; so does a row without its route.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import httpx2
import pytest
from fastapi.routing import iter_route_contexts

from steelyard.server.doors.hf.calls import HubRoute
from tests.house import Person
from tests.house.registries import open_registered
from tests.server.doors.hf.access_table import HUB, OPENED, PRIVATE, PUBLIC, ROWS, Row
from tests.server.doors.native.access_table import CALLERS
from tests.server.doors.native.world import MISSING, World, filled


@pytest.fixture(scope="module", params=["private", "public", "opened"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The world with private models, with public ones, and with public ones open to callers without a token."""
    data = tmp_path_factory.mktemp("world") / "data"
    opened = request.param == "opened"
    with open_registered(data=data, limits="off", anonymous_public=opened) as registered:
        yield World(registered, request.param)


def test_every_route_has_a_row_and_every_row_its_route(world: World) -> None:
    routes = {
        f"{method} {context.path}"
        for context in iter_route_contexts(world.app.routes)
        if isinstance(context.original_route, HubRoute) or "/telemetry/" in (context.path or "")
        for method in context.methods or ()
    }
    rows = [str(row) for row in ROWS]
    assert sorted(routes - set(rows)) == [], "routes without a row"
    assert sorted(set(rows) - routes) == [], "rows without a route"
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_who_may(world: World, row: Row) -> None:
    expected = dict(zip(CALLERS, _table(world)[row.demands].split(), strict=True))
    attempts = dict(_attempts(world, row))
    statuses = {name: str(attempt.response.status_code) for name, attempt in attempts.items()}
    assert statuses == {name: expected[name].replace("ok", str(row.status)) for name in attempts}
    for name, attempt in attempts.items():
        if expected[name] != "ok":
            _check_refusal(world, row, attempt)
        else:
            assert attempt.action == row.audit


def _table(world: World) -> dict[str, str]:
    return {"private": PRIVATE, "public": PUBLIC, "opened": OPENED}[world.kind]


def _callers(world: World) -> list[str]:
    """Whoever has something new to show: making models public adds nothing to what ends a token."""
    if world.kind == "opened":
        return ["anonymous", "outsider", "revoked"]
    settled = {"here", "service", "expired", "disabled"} if world.kind == "public" else set()
    return [name for name in CALLERS if name not in settled]


@dataclass(frozen=True)
class Attempt:
    """One call of one caller, and what was added to the audit trail by it."""

    caller: Person
    values: dict[str, str]
    response: httpx2.Response
    action: str | None


def _attempts(world: World, row: Row) -> Iterator[tuple[str, Attempt]]:
    """Each caller tries; what one has used up is made anew for the next."""
    values: dict[str, str] | None = None
    for name in _callers(world):
        caller = world.callers[name]
        values = values or _prepare(world, row, caller)
        before = world.newest_event()
        response = _send(row, values, caller)
        after = world.newest_event()
        yield name, Attempt(caller, values, response, after.action if after.id != before.id else None)
        if response.is_success and row.audit:
            values = None


def _prepare(world: World, row: Row, caller: Person) -> dict[str, str]:
    fixed = {"revision": row.revision, "topic": "x/y", "rest": "x/y"}
    known = row.path
    for word, value in fixed.items():
        known = known.replace(f"{{{word}}}", value).replace(f"{{{word}:path}}", value)
    named = known + json.dumps(row.sends)  # a model may be named in a body, too
    values = {**world.prepare(caller, named, row.sends), **fixed, "path": row.path_value}
    if row.before:
        row.before(world, values)
    return values


def _send(row: Row, values: dict[str, str], caller: Person) -> httpx2.Response:
    content = None if row.content is None else filled(row.content.decode(), values).encode()
    kind = "application/x-ndjson" if row.path.endswith("/commit/{revision}") else "application/json"
    headers = {"Content-Type": kind} if content is not None else {}
    return caller.request(row.method, HUB + filled(row.path, values), content=content, headers=headers)


def _check_refusal(world: World, row: Row, attempt: Attempt) -> None:
    """The body is the Hub's, the code says what to raise; nothing was done; what is hidden looks as what is not."""
    response = attempt.response
    assert attempt.action is None
    assert response.headers["x-error-message"]
    assert ("www-authenticate" in response.headers) == (response.status_code == 401)
    if row.method != "HEAD":
        assert response.json().keys() == {"error"}
    if "{name}" in row.path and not row.path.startswith("/api/repos"):
        hides = response.status_code in (401, 404)
        assert response.headers.get("x-error-code") == ("RepoNotFound" if hides else None)
    if response.status_code == 404 and row.method != "HEAD":
        values = {**attempt.values, **MISSING}
        missing = _send(row, values, attempt.caller)
        shown = response.text
        for word, absent in MISSING.items():
            shown = shown.replace(attempt.values.get(word, absent), absent)
        assert (missing.status_code, missing.text) == (404, shown)
