"""Who may do what: every page and every form, as every kind of caller who can sign in, on private and public models.

The routes are those of the running application. One without a row in the table fails; so does a row without its route.
"""

import json
from collections.abc import Iterator

import pytest
from fastapi.routing import iter_route_contexts

from steelyard.server.doors.web.calls import WebRoute
from tests.house import Person
from tests.house.registries import open_registered
from tests.server.doors.native.access_table import CALLERS, OPENED, PRIVATE, PUBLIC
from tests.server.doors.native.world import MISSING, World, filled
from tests.server.doors.web.access_table import LED_ELSEWHERE, OF_THE_SESSION, OPEN_TO_ALL, ROWS, Row
from tests.server.doors.web.visiting import Page, Visitor

TABLES = {"private": PRIVATE, "public": PUBLIC, "opened": OPENED}
VISITORS = ("anonymous", "outsider", "reader", "contributor", "owner", "admin", "elsewhere", "here", "read_only")
QUERIES = {"/{org}/{name}/compare": "?versions=1.0.0&versions=1.0.0"}
DEFAULTS = {"ref": "1.0.0", "path": "model.safetensors"}


class Visited(World):
    """The world with a browser for everybody who can sign in."""

    def visitor(self, name: str) -> Visitor:
        if name not in self.__dict__.setdefault("visitors", {}):
            made = Visitor(self.registered)
            caller = self.callers[name]
            self.__dict__["visitors"][name] = made if caller.token is None else made.sign_in(caller)
        return self.__dict__["visitors"][name]  # type: ignore[no-any-return]

    def csrf(self, name: str) -> str:
        """What a form of this one's pages carries."""
        if self.callers[name].token is None:
            return ""
        return self.visitor(name).get("/").fields("/-/logout")["csrf"]


@pytest.fixture(scope="module", params=list(TABLES))
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visited]:
    """The world with private models, with public ones, and with public ones open to whoever is not signed in."""
    data, opened = tmp_path_factory.mktemp("world") / "data", request.param == "opened"
    with open_registered(data=data, limits="off", anonymous_public=opened) as registered:
        yield Visited(registered, request.param)


def test_every_route_has_a_row_and_every_row_its_route(world: Visited) -> None:
    routes = {
        f"{method} {context.path}"
        for context in iter_route_contexts(world.app.routes)
        if isinstance(context.original_route, WebRoute)
        for method in (context.methods or set()) - {"HEAD"}  # which is let in as GET is
    }
    rows = [str(row) for row in ROWS]
    known = {*rows, *OPEN_TO_ALL, *OF_THE_SESSION, *LED_ELSEWHERE}
    assert sorted(routes - known) == [], "routes without a row"
    assert sorted(known - routes) == [], "rows without a route"
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_who_may(world: Visited, row: Row) -> None:
    expected = dict(zip(CALLERS, TABLES[world.kind][row.demands].split(), strict=True))
    told = {}
    for name in VISITORS:
        values = _prepare(world, row, world.callers[name])
        page = _send(world, row, values, name)
        told[name] = _told(row, page)
        _check(world, row, values, name, page)
    assert told == {name: expected[name] for name in VISITORS}


def _prepare(world: Visited, row: Row, caller: Person) -> dict[str, str]:
    values = {**DEFAULTS, **world.prepare(caller, row.path.replace("{ref}", "1.0.0"), row.sends)}
    if row.before:
        row.before(world, values)
    return values


def _send(world: Visited, row: Row, values: dict[str, str], name: str) -> Page:
    path = filled(row.path, values) + QUERIES.get(row.path, "")
    if row.method == "GET":
        return world.visitor(name).get(path, follow=False)
    sent = json.loads(filled(json.dumps(row.sends), values))
    return world.visitor(name).post(path, {**sent, "csrf": world.csrf(name)}, follow=False)


def _told(row: Row, page: Page) -> str:
    """What came of it, in the table's words: who has to sign in is led there."""
    is_led = page.status == 303 and page.response.headers["location"].startswith("/-/login")
    if is_led or page.status == 401:
        return "401"
    return "ok" if page.status == row.success else str(page.status)


def _check(world: Visited, row: Row, values: dict[str, str], name: str, page: Page) -> None:
    """Every answer is guarded; what is hidden looks as what is not there."""
    assert "default-src 'none'" in page.response.headers["content-security-policy"], row
    if page.status in (200, 303) and row.after:
        row.after(world, values)
    if page.status == 404:
        missing = _send(world, row, {**values, **MISSING}, name)
        shown = " ".join(page.texts("main p")).replace(page.response.headers["x-request-id"], "")
        for word, absent in MISSING.items():
            shown = shown.replace(values.get(word, absent), absent)
        told = " ".join(missing.texts("main p")).replace(missing.response.headers["x-request-id"], "")
        assert (missing.status, told) == (404, shown)


def test_the_head_of_a_page_alone(world: Visited) -> None:
    """Its status and headers, by whoever may see it; never a body."""
    name = world.model()
    for visitor, path, status in [("owner", f"/acme/{name}", 200), ("owner", f"/acme/{name}/versions", 200)]:
        answer = world.visitor(visitor).client.head(path, headers={"Accept": "text/html"})
        assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    if world.kind == "private":
        assert (
            world.visitor("outsider").client.head(f"/acme/{name}", headers={"Accept": "text/html"}).status_code == 404
        )
