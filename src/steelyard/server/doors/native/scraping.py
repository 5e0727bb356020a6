"""The page that Prometheus reads, and who may. It takes from no budget, and is answered without a database, too."""

import asyncio
import hmac
from functools import partial
from ipaddress import ip_address

from fastapi import APIRouter, Request, Response
from pydantic import SecretStr

from steelyard.server.context import Registry
from steelyard.server.core.access import Actor, allow_administering
from steelyard.server.core.limits import LimitedAction
from steelyard.server.doors.calls import Call
from steelyard.server.doors.credentials import read_secret
from steelyard.server.doors.middleware import notes_of
from steelyard.server.doors.native.calls import NativeRoute
from steelyard.server.doors.native.documentation import errors
from steelyard.server.doors.turns import at_the_database
from steelyard.server.errors import Unauthenticated

_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")
_TEXT = {"schema": {"type": "string"}}
_PAGE = {"description": "The metrics", "content": {"text/plain": _TEXT, "application/openmetrics-text": _TEXT}}
_FROM_HERE = {"x-from-here": True}  # a program on the same machine needs no token
_PROMETHEUS = Actor(principal="prometheus", name="prometheus", sees_public=False)


class ScrapingRoute(NativeRoute):
    """A route for who sends the token of the settings; where there is none, for instance admins and this machine."""

    async def open_call(self, request: Request) -> Call:
        """Whoever may scrape. Raises `Unauthenticated` or `Forbidden`."""
        registry: Registry = request.app.state.registry
        expected, secret = registry.settings.metrics_token, read_secret(request.headers)
        if expected is None and secret is not None:
            call = await super().open_call(request)
            allow_administering(call.actor, only_reading=True)
            return call
        if expected is not None and not _is_the_same(expected, secret):
            refuse = partial(_refuse, request, registry, guessed=secret is not None)
            await at_the_database(refuse, within_seconds=registry.settings.database_timeout_seconds)
        if expected is None and not _is_from_here(request):
            raise Unauthenticated("Authentication failed: send `Authorization: Bearer <token>` of an instance admin.")
        return Call(registry, _PROMETHEUS, notes_of(request.scope).origin.base_url)


router = APIRouter(tags=["instance"], route_class=ScrapingRoute, responses=errors())


@router.get("/metrics", response_class=Response, responses={200: _PAGE}, openapi_extra=_FROM_HERE)
async def get_metrics(request: Request) -> Response:
    """Get the metrics of this server for Prometheus: as its text format, or as OpenMetrics to whoever accepts that."""
    metrics, accept = request.app.state.registry.monitor.metrics, ",".join(request.headers.getlist("accept"))
    page, media_type = await asyncio.get_running_loop().run_in_executor(metrics.threads, metrics.render, accept)
    return Response(page, headers={"Content-Type": media_type})


def _is_the_same(expected: SecretStr, secret: str | None) -> bool:
    return secret is not None and hmac.compare_digest(secret.encode(), expected.get_secret_value().encode())


def _refuse(request: Request, registry: Registry, *, guessed: bool) -> None:
    if guessed:
        registry.limiter.take(LimitedAction.SIGN_IN_FAILURES, notes_of(request.scope).origin.address or "?")
    raise Unauthenticated("Authentication failed: send `Authorization: Bearer <metrics_token>`.")


def _is_from_here(request: Request) -> bool:
    """Whether a program of this machine asks, and no proxy on it for somebody else."""
    peer = request.client.host if request.client else ""
    return _is_loopback(peer) and not any(name in request.headers for name in _FORWARDED)


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
