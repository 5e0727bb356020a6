"""Locks, of which there are none. A server without them answers 404 to all that asks of them (git-lfs,
`docs/api/locking.md`): `git push` goes on then and does not ask again, `git lfs lock` shows the words.
"""

from fastapi import APIRouter, Response

from steelyard.server.doors.lfs.calls import LockRoute
from steelyard.server.errors import NotFound

router = APIRouter(prefix="/{org}/{name}.git/info/lfs/locks", route_class=LockRoute)


@router.get("")
@router.post("")
@router.post("/verify")
@router.post("/{lock_id}/unlock")
async def refuse_lfs_lock() -> Response:
    """Say that files are not locked here, whoever asks: there is nothing to find out."""
    raise NotFound("Steelyard keeps no locks of Git LFS: nothing is locked, and everything else works without.")
