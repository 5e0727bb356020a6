"""The twin of a version, for who asks for it: at once where it is kept, or as soon as it is made."""

import asyncio
import time
from concurrent.futures import Future

from starlette.concurrency import run_in_threadpool

from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.models import Found
from steelyard.server.db.tables import Manifest, Version
from steelyard.server.doors.calls import Call
from steelyard.server.doors.incoming import LOOK_SECONDS
from steelyard.server.errors import Unavailable

_AGAIN_SECONDS = 10


async def get_image(call: Call, found: Found, version: Version) -> Manifest:
    """The manifest of a version's twin, its content loaded. The first time it has to be made, which is waited for as
    long as for a proof.

    Raises `Unavailable` while it is not there yet, `NotFound` where the version has too many files for one, and what
    the store raises.
    """
    until = time.monotonic() + call.registry.settings.prove_wait_seconds
    kept = await run_in_threadpool(call.registry.imager.find, found, version)
    if kept is None:
        call.take(LimitedAction.DOWNLOAD)  # all files will be read for it
        await _wait(await run_in_threadpool(call.registry.imager.start, found, version), until)
    while kept is None:
        kept = await run_in_threadpool(call.registry.imager.find, found, version)
        if kept is None and time.monotonic() >= until:
            raise Unavailable(
                f"The image of {found.full_name}:{version.version} is being prepared: its files are read once. Ask "
                "again in a moment.",
                retry_after_seconds=_AGAIN_SECONDS,
            )
        if kept is None:
            await asyncio.sleep(LOOK_SECONDS)
    return kept


async def _wait(work: "Future[None] | None", until: float) -> None:
    """Wait for what is made here. Raises what that ended in."""
    if work is None:
        return
    here = asyncio.wrap_future(work)
    done, _ = await asyncio.wait([here], timeout=max(0, until - time.monotonic()))
    if done:
        await here
    else:
        here.add_done_callback(lambda late: late.cancelled() or late.exception())  # the imager logs it
