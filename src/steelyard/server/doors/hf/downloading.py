"""Files of a revision on their way out. HEAD tells all that a client keeps a file by, and is never a redirect.

Source: huggingface_hub, `file_download.py`. A redirect to the store answers GET alone, and names another host: relative
ones, and ones to this host, are followed by some generations and not by others, with the credential or without.
"""

from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session

from steelyard.server.core.history import revisions
from steelyard.server.core.history.revisions import Revision
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.models import Found
from steelyard.server.doors.calls import Call, CallHere, waits_for_the_store
from steelyard.server.doors.fetching import StoredFile, caching, file_response
from steelyard.server.doors.hf import answers
from steelyard.server.doors.hf.calls import HubRoute, RepoPath, RevisionPath
from steelyard.server.doors.hf.reading import find_forms
from steelyard.server.errors import EntryNotFound, StorageFailed

router = APIRouter(route_class=HubRoute)


@router.get("/{org}/{name}/resolve/{revision}/{path:path}")
@router.head("/{org}/{name}/resolve/{revision}/{path:path}")
@router.get("/{org}/{name}/raw/{revision}/{path:path}")
@router.head("/{org}/{name}/raw/{revision}/{path:path}")
@waits_for_the_store
def resolve_file(request: Request, call: CallHere, repo: RepoPath, revision: RevisionPath, path: str) -> Response:
    """Get one file of a revision; ranges, conditional requests and HEAD are understood."""
    with call.read(LimitedAction.TRANSFER) as session:
        found = repo.get(session, call.actor)
        resolved = revisions.resolve_revision(session, call.actor, found, revision)
        wanted, xet_hash = _find(session, call, found, resolved, path)
    headers = {
        **caching(lasts=revision == resolved.commit.sha),
        "X-Repo-Commit": resolved.commit.sha,
        "X-Linked-Etag": wanted.etag,
        "X-Linked-Size": str(wanted.file.size_bytes),
    }
    if xet_hash is not None:
        headers |= {"X-Xet-Hash": xet_hash, "Link": f'<{_xet_route(call, found, resolved)}>; rel="xet-auth"'}
    return file_response(request, call, wanted, headers)


def _find(session: Session, call: Call, found: Found, revision: Revision, path: str) -> tuple[StoredFile, str | None]:
    """The file, and its name in Xet if it has one. Raises `EntryNotFound`: clients remember that, by the commit."""
    file = revisions.files_of(session, call.registry.trees, revision.commit).get(path)
    if file is None:
        detail = f"{found.full_name} has no file '{path[:200]}' at {revision.commit.sha}."
        raise EntryNotFound(detail, headers={"X-Repo-Commit": revision.commit.sha})
    form = find_forms(session, call, found.org.id, [file]).get(file.oid)
    if form is None:
        raise StorageFailed("The registry has no record of these bytes. The operator runs `steelyard admin check`.")
    xet_hash = form.xet_hash if form.git_sha1 is None else None
    return StoredFile(file, form.key, f'"{answers.etag(file, form)}"', revision.version), xet_hash


def _xet_route(call: Call, found: Found, revision: Revision) -> str:
    """Where the client gets the right to fetch chunks."""
    return call.url(f"/api/models/{found.full_name}/xet-read-token/{revision.commit.sha}")
