"""The only wiring: settings in, a running registry out. Nothing happens at import."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Scope

from steelyard import __version__
from steelyard.server.context import Registry
from steelyard.server.core.downloads import Usage
from steelyard.server.core.limits import Limiter
from steelyard.server.core.tickets import open_ticket_office
from steelyard.server.core.trees import TreeCache
from steelyard.server.db.engine import Database
from steelyard.server.db.migrate import migrate
from steelyard.server.doors import middleware
from steelyard.server.doors.clients import refuse_huge_headers, refuse_odd_hosts, refuse_outdated
from steelyard.server.doors.native import errors as native_errors
from steelyard.server.doors.native import routes as native
from steelyard.server.doors.native.pages import add_pages
from steelyard.server.errors import BadRequest, RegistryError
from steelyard.server.jobs.proving import Prover
from steelyard.server.jobs.worker import Worker
from steelyard.server.settings import Settings
from steelyard.server.storage import BlobStore
from steelyard.server.storage.local import LocalStore
from steelyard.server.storage.memory import MemoryStore

log = logging.getLogger(__name__)
_MIGRATION_SECONDS = 120.0  # how long a start waits for another server that migrates: longer than any request may


def open_registry(settings: Settings) -> Registry:
    """The parts of a registry, its tables migrated to this release."""
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with closing(Database(settings.database_url, timeout_seconds=_MIGRATION_SECONDS)) as patient:
        migrate(patient)
    database = Database(settings.database_url, timeout_seconds=settings.database_timeout_seconds)
    store = open_store(settings)
    with database.write() as session:
        tickets = open_ticket_office(session)
    return Registry(
        settings, database, store, Limiter(settings), tickets, Usage(), TreeCache(), Prover(database, store)
    )


def open_store(settings: Settings) -> BlobStore:
    """The store of bytes that the settings name."""
    if settings.store is None:
        return LocalStore(settings.store_folder)
    if settings.store == "memory:":
        return MemoryStore()
    raise ValueError("STEELYARD_STORE is s3://bucket/prefix; leave it unset to keep the bytes in the data directory")


def create_app(registry: Registry) -> FastAPI:
    """The ASGI application over an open registry; its background work runs while the application does."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        worker = Worker(registry)
        worker.start()
        yield
        worker.stop()

    app = FastAPI(
        title="Steelyard",
        version=__version__,
        lifespan=lifespan,
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        strict_content_type=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.registry = registry
    native.add_routes(app)
    native_errors.add_handlers(app)
    add_pages(app)
    _add_middleware(app, registry.settings)
    return app


def _add_middleware(app: FastAPI, settings: Settings) -> None:
    """The last one added is the outermost."""
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
        refuse=_refusals(settings),
        cut_short=native_errors.answer(BadRequest("The body ended before it was complete. Nothing was changed.")),
        last_resort=native_errors.internal,
    )


def _refusals(settings: Settings) -> Callable[[Scope, Headers], ASGIApp | None]:
    def refuse(scope: Scope, headers: Headers) -> ASGIApp | None:
        try:
            refuse_huge_headers(headers)
            refuse_odd_hosts(headers)
            refuse_outdated(settings.min_client, scope["path"], headers)
        except RegistryError as error:
            return native_errors.answer(error)
        return None

    return refuse
