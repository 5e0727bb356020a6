"""The only wiring: settings in, a running registry out. Nothing happens at import."""

import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.telemetry import TelemetryConfig
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from steelyard import __version__
from steelyard.server.context import Post, Registry
from steelyard.server.core.downloads import Usage
from steelyard.server.core.files.trees import TreeCache
from steelyard.server.core.jobs import Holder, new_holder
from steelyard.server.core.limits import Limiter
from steelyard.server.core.tickets import open_ticket_office
from steelyard.server.core.xet.layouts import open_chunked
from steelyard.server.db.engine import Database
from steelyard.server.db.migrate import migrate
from steelyard.server.doors import middleware, refusals
from steelyard.server.doors.clients import refuse_huge_headers, refuse_odd_hosts, refuse_outdated
from steelyard.server.doors.hf import errors as hf_errors
from steelyard.server.doors.hf import routes as hf
from steelyard.server.doors.lfs import errors as lfs_errors
from steelyard.server.doors.lfs import routes as lfs
from steelyard.server.doors.native import errors as native_errors
from steelyard.server.doors.native import routes as native
from steelyard.server.doors.native.pages import add_pages
from steelyard.server.doors.oci import errors as oci_errors
from steelyard.server.doors.oci import routes as oci
from steelyard.server.doors.templates import Templates
from steelyard.server.doors.web import errors as web_errors
from steelyard.server.doors.web import routes as web
from steelyard.server.doors.xet import errors as xet_errors
from steelyard.server.doors.xet import routes as xet
from steelyard.server.errors import BadRequest, RegistryError
from steelyard.server.jobs.imaging import Imager
from steelyard.server.jobs.leasing import Leases
from steelyard.server.jobs.proving import Prover
from steelyard.server.jobs.unpacking import Unpacker
from steelyard.server.jobs.worker import Worker
from steelyard.server.openid.opening import open_provider
from steelyard.server.settings import Settings
from steelyard.server.storage import BlobStore
from steelyard.server.storage.local import LocalStore
from steelyard.server.storage.memory import MemoryStore
from steelyard.server.storage.watched import WatchedStore
from steelyard.server.watching.monitor import open_monitor
from steelyard.server.watching.samples import Samples
from steelyard.server.watching.sharing import SharedNumbers

log = logging.getLogger(__name__)
_MIGRATION_SECONDS = 120.0  # how long a start waits for another server that migrates: longer than any request may


def open_database(settings: Settings) -> Database:
    """The database, its tables migrated to this release, for who has the patience that takes."""
    if settings.keeps_files:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = Database(settings.database_url, timeout_seconds=_MIGRATION_SECONDS)
    try:
        migrate(database)
    except BaseException:
        database.close()
        raise
    return database


def open_registry(settings: Settings, post: Post | None = None) -> Registry:
    """The parts of a registry, its tables migrated to this release; `post` is for one of several workers."""
    open_database(settings).close()
    monitor = open_monitor(
        os.environ,
        database=settings.database_url.partition(":")[0].partition("+")[0],
        shared=SharedNumbers(post.numbers, post.number) if post else None,
    )
    database = Database(settings.database_url, timeout_seconds=settings.database_timeout_seconds, watch=monitor)
    store = open_chunked(WatchedStore(open_store(settings), monitor), database)
    with database.write() as session:
        tickets = open_ticket_office(session)
    lease_seconds = settings.job_lease_seconds
    holder = Holder(post.holder_id, lease_seconds) if post else new_holder(lease_seconds)
    leases = Leases(database, holder, watch=monitor)
    prover = Prover(database, store, leases)
    limiter, trees = Limiter(settings, watch=monitor), TreeCache(watch=monitor)
    imager = Imager(database, store, trees, leases)
    registry = Registry(
        settings,
        monitor,
        database,
        store,
        limiter,
        tickets,
        Usage(),
        trees,
        leases,
        prover,
        imager,
        Unpacker(database, store, settings, leases),
        post,
        open_provider(settings),
    )
    monitor.metrics.add(Samples(registry))
    return registry


def open_store(settings: Settings) -> BlobStore:
    """The store of bytes that the settings name, by itself: what is made of chunks only `open_chunked` finds in it."""
    if settings.store is None:
        return LocalStore(settings.store_folder, alone=settings.workers == 1)
    if settings.store == "memory:":
        return MemoryStore()
    return _open_bucket(settings, settings.store)


def _open_bucket(settings: Settings, url: str) -> BlobStore:
    """An S3 store that answers, in a bucket that is there."""
    try:
        from steelyard.server.storage.s3 import Place, S3Store, read_url
    except ModuleNotFoundError as missing:
        raise ValueError("an S3 store needs boto3: pip install 'steelyard[server,s3]'") from missing
    bucket, prefix = read_url(url)
    place = Place(
        bucket,
        settings.s3_endpoint,
        settings.s3_public_endpoint,
        timeout_seconds=settings.store_timeout_seconds,
    )
    store = S3Store(place, prefix, direct=settings.store_direct)
    store.free_bytes()
    return store


# Ours is `watching`. The framework's own would put query strings into its spans, and so tickets.
_NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}


def create_app(registry: Registry) -> FastAPI:
    """The ASGI application over an open registry; its background work runs while the application does."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        worker = Worker(registry)
        worker.start()
        yield
        registry.stopping.set()
        worker.stop()

    read_signatures(registry.settings)
    app = _bare_app(lifespan=lifespan, openapi_url="/openapi.json")
    app.state.registry = registry
    if registry.settings.web:
        app.router.routes.extend(_pages_before_doors())
    app.router.routes.extend(_routes())
    xet.add_turns(app)
    refusals.add_handlers(app, _say)
    add_pages(app)
    if registry.settings.web:
        app.router.routes.extend(_pages())
    _add_middleware(app, registry)
    return app


def read_signatures(settings: Settings) -> None:
    """Have the framework read the signatures of all handlers now. Else it does so, for a tenth of a second, while the
    first request waits; and in each worker, where one could have done it before there were several."""
    for routes in (_pages_before_doors, _routes, _pages) if settings.web else (_routes,):
        for _ in iter_route_contexts(routes()):
            pass


@cache
def _routes() -> Sequence[BaseRoute]:
    """Those of every door. They know of no registry, and the framework takes its time to read their signatures."""
    app = _bare_app(openapi_url=None)
    oci.add_first_routes(app)
    native.add_routes(app)
    hf.add_routes(app)
    lfs.add_routes(app)
    oci.add_routes(app)
    xet.add_routes(app)
    return tuple(app.router.routes)


@cache
def _pages_before_doors() -> Sequence[BaseRoute]:
    """Those for browsers at addresses that the Hub's door has for programs."""
    app = _bare_app(openapi_url=None)
    web.add_first_routes(app)
    return tuple(app.router.routes)


@cache
def _pages() -> Sequence[BaseRoute]:
    """Those of the web pages, which come last: `/{org}/{name}` is nearly any address."""
    app = _bare_app(openapi_url=None)
    web.add_routes(app)
    return tuple(app.router.routes)


def _bare_app(**options: Any) -> FastAPI:
    return FastAPI(
        title="Steelyard",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
        strict_content_type=False,
        generate_unique_id_function=lambda route: route.name,
        **options,
    )


def _add_middleware(app: FastAPI, registry: Registry) -> None:
    """The last one added is the outermost."""
    settings = registry.settings
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["*"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "Range", "X-API-Key"],
            expose_headers=[
                "Content-Location",
                "ETag",
                "Location",
                "RateLimit",
                "RateLimit-Policy",
                "Retry-After",
                "X-Request-Id",
            ],
        )
    app.add_middleware(
        middleware.RequestMiddleware,
        settings=settings,
        monitor=registry.monitor,
        template_of=Templates(app).of,
        refuse=_refusals(settings),
        cut_short=_saying(BadRequest("The body ended before it was complete. Nothing was changed.")),
        last_resort=lambda request_id: _saying(refusals.internal(request_id)),
    )


_DIALECTS: Sequence[tuple[Callable[[str], bool], refusals.Dialect]] = (
    (oci_errors.speaks_at, oci_errors.answer),
    (lfs_errors.speaks_at, lfs_errors.answer),
    (hf_errors.speaks_at, hf_errors.answer),
    (xet_errors.speaks_at, xet_errors.answer),
)
"""Which paths are a door's, and how it says errors. Whoever asks elsewhere speaks the native dialect."""


def _say(scope: Scope, error: RegistryError) -> Response:
    """The error in the dialect of the door that this request came to; to people with a browser, as a page."""
    if scope["app"].state.registry.settings.web and web_errors.speaks(scope):
        return web_errors.answer(scope, error)
    for speaks_at, answer in _DIALECTS:
        if speaks_at(scope["path"]):
            return answer(scope, error)
    return native_errors.answer(error)


def _saying(error: RegistryError) -> ASGIApp:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await _say(scope, error)(scope, receive, send)

    return answer


def _refusals(settings: Settings) -> Callable[[Scope, Headers], ASGIApp | None]:
    def refuse(scope: Scope, headers: Headers) -> ASGIApp | None:
        try:
            refuse_huge_headers(headers)
            refuse_odd_hosts(headers)
            refuse_outdated(settings.min_client, scope["path"], headers)
        except RegistryError as error:
            return _saying(error)
        return None

    return refuse
