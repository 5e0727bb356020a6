"""Which commit a file was last changed by, as far back as it costs little to look."""

from collections.abc import Collection, Mapping

from sqlalchemy.orm import Session

from steelyard.server.core.files.trees import File
from steelyard.server.core.history import revisions
from steelyard.server.core.history.revisions import Revision
from steelyard.server.core.models import Found
from steelyard.server.db.tables import Commit
from steelyard.server.doors.calls import Call
from steelyard.server.doors.hf.folders import parents

_MOST_COMMITS = 30  # looked through; what none of them changed is told without a last commit


def find_last_commits(
    session: Session, call: Call, found: Found, revision: Revision, paths: Collection[str]
) -> dict[str, Commit]:
    """Path -> the newest commit of the revision's history that changed the file, or anything in the folder."""
    history = revisions.list_commits(session, call.actor, found, revision, after=None, most=_MOST_COMMITS)
    last: dict[str, Commit] = {}
    for number, commit in enumerate(history):
        if len(last) == len(paths):
            break
        before = history[number + 1] if number + 1 < len(history) else None
        if before is None and len(history) == _MOST_COMMITS:
            break
        changed = _changed(_files(session, call, before), _files(session, call, commit))
        last = {path: commit for path in paths if path in changed} | last
    return last


def _files(session: Session, call: Call, commit: Commit | None) -> Mapping[str, File]:
    return {} if commit is None else revisions.files_of(session, call.registry.trees, commit)


def _changed(before: Mapping[str, File], after: Mapping[str, File]) -> set[str]:
    """The paths that one of these has another file at, and the folders that they lie in."""
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    return changed | {parent for path in changed for parent in parents(path)}
