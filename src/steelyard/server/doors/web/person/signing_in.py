"""Signing in by a token, and out again, here and everywhere."""

from fastapi import APIRouter, Response

from steelyard.server.core import sessions
from steelyard.server.core.limits import LimitedAction
from steelyard.server.doors.web.calls import CallHere, OpenRoute, WebCall, WebRoute, keep_signed_in, set_cookie
from steelyard.server.doors.web.pages import local_path
from steelyard.server.doors.web.person.openid import list_providers

router = APIRouter(route_class=OpenRoute)
own = APIRouter(route_class=WebRoute)


@router.get("/-/login")
def show_login(call: CallHere, next: str = "/") -> Response:  # noqa: A002 - the word that such links use
    """The way in. Who is in already goes on."""
    if call.signed_in:
        return call.go(local_path(next))
    return _login(call, next)


@router.post("/-/login")
def sign_in(call: CallHere) -> Response:
    """Take a token, and give the browser a session in its place."""
    agent, lasts_seconds = call.request.headers.get("user-agent", ""), call.registry.settings.session_ttl_seconds
    with call.write() as session:
        begun = sessions.begin(session, call.actor, call.text("token"), agent=agent, lasts_seconds=lasts_seconds)
    if begun is None:
        call.registry.limiter.take(LimitedAction.SIGN_IN_FAILURES, call.actor.address or "?")
        return _login(call, call.text("next"), status=401, problem="No such token is valid here. Was it revoked?")
    response = call.go(local_path(call.text("next")))
    keep_signed_in(call, response, begun.new_secret or "")
    return response


def _login(call: WebCall, following: str, *, status: int = 200, problem: str | None = None) -> Response:
    return call.page(
        "login.html",
        status=status,
        title="Sign in",
        following=local_path(following),
        problem=problem,
        providers=list_providers(call, following),
    )


@own.post("/-/logout")
def sign_out(call: CallHere) -> Response:
    """End this session; with `everywhere`, all sessions of this person."""
    if call.signed_in:
        with call.write() as session:
            if call.is_checked("everywhere"):
                sessions.end_all(session, call.actor)
            else:
                sessions.end(session, call.actor, call.signed_in.session_uuid)
    response = call.go("/-/login", notice="You are signed out.")
    set_cookie(call, response, "session", "", 0)
    return response
