"""What git-lfs sends stays with its model for good: the commits that name it are in a Git repository elsewhere, and
nothing that we see will ever tell whether they are there still.

Clients of the Hub send by the same batch, and then commit here. They offer `multipart`, which git-lfs does not know.
"""

from collections.abc import Collection, Mapping

from sqlalchemy.orm import Session

from steelyard.server.core import blobs, models
from steelyard.server.core.access import Actor
from steelyard.server.core.blobs import HeldBlob
from steelyard.server.core.manifests import holdings
from steelyard.server.doors.lfs.calls import LfsRepo

MULTIPART = "multipart"


def is_git_lfs(transfers: Collection[str]) -> bool:
    """Whether it is git-lfs who offers to send in these ways."""
    return MULTIPART not in transfers


def keep(
    session: Session, actor: Actor, repo: LfsRepo, sizes: Mapping[str, int], *, make: bool = False
) -> dict[str, HeldBlob]:
    """Have the model keep those of these bytes (OID -> size) that its organisation holds; answers them.

    The model is made, a private one, when it is not there and has something to keep, or with `make`: who pushes to a
    new Git repository has nothing else to make it by. Raises `NotFound`, `Forbidden` or `Unauthenticated`.
    """
    org = repo.get_org_to_push(session, actor, may_be_new=True)
    found = blobs.find_held(session, org.id, sizes)
    held = {oid: blob for oid, blob in found.items() if blob.size_bytes == sizes[oid]}
    if held or make:
        model = models.find_model(session, org, repo.name, lock=True)
        model = model or models.create_model(session, actor, org, repo.name, is_public=False)
        for blob in held.values():
            holdings.link(session, model.id, blob.id, kept=True)
    return held
