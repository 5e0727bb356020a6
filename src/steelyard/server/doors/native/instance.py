"""Probes and what a client may know before it signs in (contract section 6)."""

from collections.abc import Callable

from fastapi import APIRouter, Request

from steelyard import __version__
from steelyard.server.context import Registry
from steelyard.server.doors.native.documentation import DESCRIPTIONS, errors
from steelyard.server.doors.native.schemas import Config, ErrorBody, Health
from steelyard.server.errors import RegistryError, Unavailable

_OPEN = {"x-credential": False}
router = APIRouter(tags=["instance"], responses=errors())
DOORS = ["native"]


@router.get("/health", openapi_extra=_OPEN)
async def get_health() -> Health:
    """Get whether the process is there. Touches nothing."""
    return Health()


@router.get(
    "/ready",
    openapi_extra=_OPEN,
    responses={503: {"model": ErrorBody, "description": DESCRIPTIONS[503]}},
)
def get_ready(request: Request) -> Health:
    """Get whether this server should be sent requests: 503 says that it is about to stop, or which part is silent."""
    registry: Registry = request.app.state.registry
    if registry.leaving.is_set():
        raise Unavailable("Not ready: this server is about to stop.", retry_after_seconds=5)
    faults = [f"the {name} does not answer" for name, check in _parts(registry) if not _answers(check)]
    if faults:
        raise Unavailable(f"Not ready: {', '.join(faults)}.", retry_after_seconds=5)
    return Health()


def _parts(registry: Registry) -> list[tuple[str, Callable[[], object]]]:
    return [("database", registry.database.check), ("store", registry.store.free_bytes)]


def _answers(check: Callable[[], object]) -> bool:
    try:
        check()
    except RegistryError:
        return False
    return True


@router.get("/config", openapi_extra=_OPEN)
async def get_config(request: Request) -> Config:
    """Get what this instance is and what it limits."""
    settings = request.app.state.registry.settings
    return Config(
        app_version=__version__,
        api_version="v1",
        deployment_mode=settings.deployment_mode,
        website_url=settings.website_url,
        min_client_version=settings.min_client,
        limits={
            "max_body_bytes": settings.max_body_bytes,
            "max_file_bytes": settings.max_file_bytes,
            "quota_org_bytes": settings.quota_org_bytes,
            "part_size_bytes": settings.part_size_bytes,
        },
        doors=DOORS,
    )
