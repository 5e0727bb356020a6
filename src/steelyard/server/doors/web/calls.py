"""How a browser reaches a handler: who is signed in comes from the cookie, and from nothing else.

A form that changes something comes from a page of ours, or is refused: browsers say where a request was begun, and
each form carries a ticket of its session.
"""

import re
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar
from urllib.parse import parse_qsl

from fastapi import Depends, Request, Response
from starlette.datastructures import MutableHeaders
from starlette.routing import Match
from starlette.types import Scope

from steelyard.server.core import sessions
from steelyard.server.core.sessions import SignedIn
from steelyard.server.core.tickets import Ticket
from steelyard.server.doors.calls import ANONYMOUS, KIB, Call, CallRoute, JsonRequest, call_by
from steelyard.server.doors.middleware import notes_of
from steelyard.server.doors.turns import at_the_database
from steelyard.server.doors.web.pages import Viewer, page_response, redirect
from steelyard.server.errors import BadRequest, Forbidden, Invalid, NotFound, RegistryError, Unauthenticated

_FORM_BYTES = 256 * KIB
_MOST_FIELDS = 500
_FORM_SECONDS = 12 * 3600
_NOTICE_SECONDS = 60
_LONGEST_NOTICE = 300
_SAFE = ("GET", "HEAD")
PROGRAMS = re.compile(
    r"/(api|v2|token|docs|health|ready|metrics|config)(/|$)|/(redoc|openapi\.json)$|/[^/]+/[^/]+\.git(/|$)"
)
"""The addresses of the other doors, where nothing is a page: what they do not know, they say in their own words."""
CSRF_FIELD, CSRF_HEADER = "csrf", "x-csrf-token"
BACK_FROM_PROVIDER = "/-/oidc/callback"


@dataclass(frozen=True, slots=True)
class WebCall(Call):
    """One request of a browser. `form` is what it sent, whatever was sent more than once as a list."""

    request: Request
    signed_in: SignedIn | None
    form: Mapping[str, list[str]]

    def page(self, template: str, *, status: int = 200, **context: Any) -> Response:
        """A page made of a template. All demand a `title`; `json_twin` is the path of the same in JSON."""
        return page_response(self.request, template, viewer_of(self), status=status, **context)

    def go(self, path: str, *, notice: str | None = None) -> Response:
        """Send the browser to a path of ours after a form was taken; the page there shows the notice once."""
        response = redirect(path)
        if notice:
            ticket = Ticket("notice", notice[:_LONGEST_NOTICE], None, int(time.time()) + _NOTICE_SECONDS)
            set_cookie(self, response, "notice", self.registry.tickets.sign(ticket), _NOTICE_SECONDS)
        return response

    def text(self, field: str) -> str:
        """What was written into a field of the form, without space around it; empty if nothing was."""
        return (self.form.get(field) or [""])[-1].strip()

    def is_checked(self, field: str) -> bool:
        """Whether a box of the form was."""
        return bool(self.form.get(field))


async def _web_call_of(request: Request) -> WebCall:
    call = request.state.call
    assert isinstance(call, WebCall)
    return call


CallHere = Annotated[WebCall, Depends(_web_call_of)]


class WebRoute(CallRoute):
    """A page. Whoever is not signed in sees public models, where the operator opened them, and else the way in."""

    admits_anonymous: ClassVar[bool] = True
    is_open: ClassVar[bool] = False

    def __init__(
        self, path: str, endpoint: Callable[..., Any], *, methods: Iterable[str] | None = None, **others: Any
    ) -> None:
        """Where a page is to be had, its head alone is, too (RFC 9110 section 9.3.2)."""
        asked = set(methods or ["GET"])
        super().__init__(path, endpoint, methods=asked | {"HEAD"} if "GET" in asked else asked, **others)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match as every door does, but at no address of another door's."""
        return (Match.NONE, {}) if PROGRAMS.match(scope["path"]) else super().matches(scope)

    def most_body_bytes(self, request: Request) -> int:
        """Forms are small."""
        return _FORM_BYTES

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler; what changed of the session goes with its answer."""
        handle = super().get_route_handler()

        async def handle_page(request: Request) -> Response:
            response = await handle(request)
            carry_session(request.scope, response)
            return response

        return handle_page

    async def open_call(self, request: Request) -> WebCall:
        """Who is calling, and what he sent. Raises `Unauthenticated`, and `Forbidden` for a form of somebody else's."""
        within_seconds: float = request.app.state.registry.settings.database_timeout_seconds
        signed_in = await at_the_database(partial(_sign_in, request), within_seconds=within_seconds)
        call = call_by(request, signed_in.actor if signed_in else ANONYMOUS)
        if signed_in is None and not (self.is_open or call.registry.settings.anonymous_public):
            raise _closed(request)
        form: Mapping[str, list[str]] = {}
        if request.method not in _SAFE:
            check_origin(request, call)
            form = await self.read_form(request)
            check_ticket(request, call, signed_in, form)
        return WebCall(call.registry, call.actor, call.base_url, request, signed_in, form)

    async def read_form(self, request: Request) -> Mapping[str, list[str]]:
        """The fields of a form (`application/x-www-form-urlencoded`). Raises `BadRequest` and `TooLarge`."""
        return parse_form(await JsonRequest(request, self.most_body_bytes(request)).body())


def _closed(request: Request) -> RegistryError:
    """What is said to who is not signed in. Programs do not sign in here: to them it is an address like any other."""
    if "text/html" in request.headers.get("accept", ""):
        return Unauthenticated("Sign in to see this.")
    return NotFound("There is nothing at this address. `/docs` lists the operations.")


class OpenRoute(WebRoute):
    """A page for everybody: the way in, and what pages are made of."""

    is_open: ClassVar[bool] = True


def _sign_in(request: Request) -> SignedIn | None:
    """Whoever the cookie belongs to. Writes only where the session is due for it."""
    registry = request.app.state.registry
    secret = request.cookies.get(_name(request.scope, registry.settings.public_url, "session"))
    if not secret:
        return None
    with registry.database.read() as session:
        known, is_due = sessions.find(session, secret)
    if is_due:
        with registry.database.write() as session:
            known = sessions.keep_up(session, secret)
    if known is not None:
        registry.usage.note_token(known.actor.token_uuid or "")
    return known


# --- forms


def parse_form(body: bytes) -> Mapping[str, list[str]]:
    """The fields of a form, in order. Raises `BadRequest`."""
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError as error:
        raise BadRequest("This form cannot be read.") from error
    form: dict[str, list[str]] = {}
    for name, value in pairs:
        form.setdefault(name, []).append(value.replace("\r\n", "\n"))
    return form


def check_origin(request: Request, call: Call) -> None:
    """Raise `Forbidden` for what another site's page sent (Fetch Metadata; RFC 6454 where a browser has none)."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    is_ours = site == "same-origin" if site else origin in (None, call.base_url, call.registry.settings.public_url)
    if not is_ours:
        raise Forbidden("This form was sent from another site. Nothing was changed.")


def check_ticket(request: Request, call: Call, signed_in: SignedIn | None, form: Mapping[str, list[str]]) -> None:
    """Raise `Forbidden` for a form that is not of this session's pages, or lay open for half a day."""
    if signed_in is None:
        return  # nobody's right to lend: all that he can do is sign in
    told = request.headers.get(CSRF_HEADER) or request.query_params.get(CSRF_FIELD) or (form.get(CSRF_FIELD) or [""])[0]
    try:
        call.registry.tickets.read(told, "form", signed_in.session_uuid)
    except Forbidden as error:
        raise Forbidden(
            "This page is too old to change anything. Go back, load it again, and try once more."
        ) from error


def invalid(field: str, why: str) -> Invalid:
    """What is wrong with a field of a form, in words for who filled it in."""
    return Invalid(f"{field}: {why}")


# --- cookies


def _name(scope: Scope, public_url: str | None, what: str) -> str:
    """`__Host-` binds a cookie to this host and to TLS (RFC 6265bis section 4.1.3.2): so only where there is TLS."""
    url = public_url or notes_of(scope).origin.base_url
    return f"__Host-steelyard-{what}" if url.startswith("https:") else f"steelyard-{what}"


def set_cookie(call: Call, response: Response, what: str, value: str, lasts_seconds: int) -> None:
    """Have the browser keep this, and tell no script of it. With an empty value: forget it."""
    url = call.url("")
    is_safe = url.startswith("https:")
    name = f"__Host-steelyard-{what}" if is_safe else f"steelyard-{what}"
    response.set_cookie(
        name,
        value,
        max_age=lasts_seconds if value else 0,
        path="/",
        secure=is_safe,
        httponly=True,
        samesite="lax",
    )


def find_cookie(call: WebCall, what: str) -> str | None:
    """What the browser has kept of this."""
    return call.request.cookies.get(_name(call.request.scope, call.registry.settings.public_url, what))


def carry_session(scope: Scope, response: Response) -> None:
    """Give the browser the secret that its session goes on with, where that has changed."""
    call = scope["state"].get("call")
    if not isinstance(call, WebCall):
        return
    if call.signed_in and call.signed_in.new_secret and "session" not in _cookies_of(response):
        keep_signed_in(call, response, call.signed_in.new_secret)
    if (
        call.request.cookies.get(_name(scope, call.registry.settings.public_url, "notice"))
        and response.status_code < 300
    ):
        set_cookie(call, response, "notice", "", 0)
    if scope["path"] == BACK_FROM_PROVIDER:
        set_cookie(call, response, "oidc", "", 0)  # whatever became of it: a sign-in is tried once


def _cookies_of(response: Response) -> str:
    headers = MutableHeaders(raw=response.raw_headers)
    return " ".join(cookie.partition("=")[0] for cookie in headers.getlist("set-cookie"))


def keep_signed_in(call: Call, response: Response, secret: str) -> None:
    """Give the browser the secret of its session."""
    set_cookie(call, response, "session", secret, call.registry.settings.session_ttl_seconds)


def viewer_of(call: WebCall) -> Viewer:
    """What every page shows of who looks at it."""
    return Viewer(
        name=call.actor.name if call.signed_in else None,
        is_admin=call.actor.is_admin,
        csrf=_form_ticket(call),
        notice=_notice(call),
        server_url=call.url(""),
    )


def _form_ticket(call: WebCall) -> str:
    """New in each answer, so that its length under compression tells nothing (BREACH)."""
    if call.signed_in is None:
        return ""
    ends, salt = int(time.time()) + _FORM_SECONDS, secrets.token_urlsafe(8)
    return call.registry.tickets.sign(Ticket("form", call.signed_in.session_uuid, None, ends, span=salt))


def _notice(call: WebCall) -> str | None:
    told = call.request.cookies.get(_name(call.request.scope, call.registry.settings.public_url, "notice"))
    if not told:
        return None
    try:
        ticket = call.registry.tickets.check(told)
    except Forbidden:
        return None
    return ticket.subject if ticket.purpose == "notice" else None
