"""Reading a model's metadata, a revision at a time: the model itself, its files, its names and its history.

Source: the Hub's API as huggingface_hub calls it. One answer has what every generation of it needs: what a client asks
to be left out or put in (`expand`, `full`) makes no difference but for sizes and last commits, which cost something.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy.orm import Session

from steelyard.server.core import blobs, catalog, versions
from steelyard.server.core.access import Action, allow
from steelyard.server.core.blobs import HubForm
from steelyard.server.core.files.trees import File
from steelyard.server.core.history import revisions
from steelyard.server.core.history.revisions import Revision
from steelyard.server.core.lineage import origins
from steelyard.server.core.models import Found
from steelyard.server.db.tables import Version
from steelyard.server.doors.calls import Call, CallHere, parse_json
from steelyard.server.doors.hf import answers
from steelyard.server.doors.hf.answers import Json, Shown, json_response
from steelyard.server.doors.hf.calls import HubRoute, RepoPath, RevisionPath, following
from steelyard.server.doors.hf.folders import Entry, find_folders, list_entries
from steelyard.server.doors.hf.history import find_last_commits
from steelyard.server.errors import BadRequest, RevisionNotFound

router = APIRouter(prefix="/models/{org}/{name}", route_class=HubRoute)

_MOST_ENTRIES = 5_000  # on a page: folders are found anew for each
_MOST_COMMITS = 100
_MOST_PATHS = 10_000


# --- the model


async def _asked_revision(request: Request) -> str | None:
    revision: str | None = request.path_params.get("revision")
    return revision


@router.get("")
@router.get("/revision/{revision}")
def get_repo_info(
    call: CallHere,
    repo: RepoPath,
    asked: Annotated[str | None, Depends(_asked_revision)],
    detailed: Annotated[bool, Query(alias="blobs")] = False,
) -> Response:
    """Get a model at a revision, with all its files; `blobs` adds their sizes and digests."""
    with call.read() as session:
        found = repo.get(session, call.actor)
        revision = _find_revision(session, call, found, asked)
        info = answers.model_info(_shown(session, call, found, revision))
        files = _files(session, call, revision).values() if revision else ()
        info["siblings"] = _siblings(session, call, found.org.id, list(files), detailed=detailed)
    return json_response(info)


def _find_revision(session: Session, call: Call, found: Found, asked: str | None) -> Revision | None:
    """None for a model that is there and has nothing to show this caller yet, when he asks for no revision of it."""
    if asked is not None:
        return revisions.resolve_revision(session, call.actor, found, asked)
    with suppress(RevisionNotFound):
        return revisions.resolve_revision(session, call.actor, found, None)
    return None


def _shown(session: Session, call: Call, found: Found, revision: Revision | None) -> Shown:
    """A draft is told of by the latest version, until a version of its own says more."""
    version = (revision and revision.version) or versions.find_latest(session, found)
    downloads = catalog.count_downloads(session, found)
    commit = revision.commit if revision else None
    base, has_xet = base_model(session, call, found, version), call.registry.settings.xet
    return Shown(found, version, commit, downloads, base, has_xet)


def base_model(session: Session, call: Call, found: Found, version: Version | None) -> str | None:
    """The base model of a version, as far as the caller may know it."""
    if version is None:
        return None
    return origins.base_model_for(version, origins.hidden_parents(session, call.actor, found, version))


def find_forms(session: Session, call: Call, org_id: int, files: Iterable[File]) -> dict[str, HubForm]:
    """OID -> what the Hub's clients know a file by: without its name in Xet where that is switched off."""
    forms = blobs.find_hub_forms(session, org_id, {file.oid for file in files})
    if call.registry.settings.xet:
        return forms
    return {oid: replace(form, xet_hash=None) for oid, form in forms.items()}


def _siblings(session: Session, call: Call, org_id: int, files: Sequence[File], *, detailed: bool) -> list[Json]:
    if not detailed:
        return answers.siblings(files)
    return answers.detailed_siblings(files, find_forms(session, call, org_id, files))


def _files(session: Session, call: Call, revision: Revision) -> dict[str, File]:
    return dict(revisions.files_of(session, call.registry.trees, revision.commit))


@router.get("/auth-check")
def check_reading(call: CallHere, repo: RepoPath) -> Response:
    """Tell whether the caller may read the model."""
    with call.read() as session:
        repo.get(session, call.actor)
    return json_response({})


@router.get("/auth-check/write")
def check_writing(call: CallHere, repo: RepoPath) -> Response:
    """Tell whether the caller may commit to the model."""
    with call.read() as session:
        allow(call.actor, Action.PUBLISH, repo.get(session, call.actor).org.id)
    return json_response({})


# --- its files


async def _folder(request: Request) -> str:
    return str(request.path_params.get("path", "")).strip("/")


@router.get("/tree/{revision}")
@router.get("/tree/{revision}/{path:path}")
def list_repo_tree(
    request: Request,
    call: CallHere,
    repo: RepoPath,
    revision: RevisionPath,
    folder: Annotated[str, Depends(_folder)],
    recursive: bool = False,
    expand: bool = False,
    limit: Annotated[int, Query(ge=1)] = _MOST_ENTRIES,
    cursor: str = "",
) -> Response:
    """List what lies in a folder of a revision, a page at a time; `cursor` is the last path of the page before."""
    with call.read() as session:
        found = repo.get(session, call.actor)
        resolved = revisions.resolve_revision(session, call.actor, found, revision)
        entries = list_entries(_files(session, call, resolved), folder, recursive=recursive)
        page = [entry for entry in entries if entry.path > cursor][: min(limit, _MOST_ENTRIES)]
        items = _items(session, call, found.org.id, page)
        if expand:
            _add_last_commits(session, call, found, resolved, items)
    is_last = not page or page[-1] is entries[-1]
    return json_response(items, next_url=None if is_last else following(request, call, cursor=page[-1].path))


def _items(session: Session, call: Call, org_id: int, entries: Sequence[Entry]) -> list[Json]:
    forms = find_forms(session, call, org_id, (entry for entry in entries if isinstance(entry, File)))
    return [
        answers.file_item(entry, forms.get(entry.oid))
        if isinstance(entry, File)
        else answers.folder_item(entry.path, entry.oid)
        for entry in entries
    ]


def _add_last_commits(session: Session, call: Call, found: Found, revision: Revision, items: Sequence[Json]) -> None:
    last = find_last_commits(session, call, found, revision, {item["path"] for item in items})
    for item in items:
        if commit := last.get(item["path"]):
            item["lastCommit"] = {"id": commit.sha, "title": commit.title, "date": answers.moment(commit.created_at)}


async def _wanted(request: Request) -> tuple[list[str], bool]:
    """The paths asked for, and whether with their last commits: a form, or JSON."""
    body = await request.body()
    if request.headers.get("content-type", "").startswith("application/json"):
        said = parse_json(body)
        said = said if isinstance(said, dict) else {}
        paths, expand = said.get("paths"), said.get("expand", False)
    else:
        form = _read_form(body)
        paths, expand = form.get("paths", []), form.get("expand", ["false"])[0].lower() == "true"
    paths = [paths] if isinstance(paths, str) else paths
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths) or len(paths) > _MOST_PATHS:
        raise BadRequest(f"Send `paths`: up to {_MOST_PATHS} names of files and folders.")
    return paths, expand is True


def _read_form(body: bytes) -> dict[str, list[str]]:
    try:
        return parse_qs(body.decode(), max_num_fields=_MOST_PATHS + 10)
    except ValueError as error:
        raise BadRequest(f"The form cannot be read: {error}.") from error


@router.post("/paths-info/{revision}")
def list_paths_info(
    call: CallHere, repo: RepoPath, revision: RevisionPath, wanted: Annotated[tuple[list[str], bool], Depends(_wanted)]
) -> Response:
    """Get those of these files and folders that are there."""
    paths, expand = wanted
    with call.read() as session:
        found = repo.get(session, call.actor)
        resolved = revisions.resolve_revision(session, call.actor, found, revision)
        files = _files(session, call, resolved)
        there: dict[str, Entry] = {**find_folders(files), **files}
        asked = dict.fromkeys(path.strip("/") for path in paths)
        items = _items(session, call, found.org.id, [there[path] for path in asked if path in there])
        if expand:
            _add_last_commits(session, call, found, resolved, items)
    return json_response(items)


# --- its names and its history


@router.get("/refs")
def list_refs(call: CallHere, repo: RepoPath, include_prs: bool = False) -> Response:
    """List branches and tags; versions are tags."""
    with call.read() as session:
        refs = revisions.list_refs(session, call.actor, repo.get(session, call.actor))
    listed: Json = {
        "branches": [answers.ref_item("heads", name, sha) for name, sha in refs.branches],
        "converts": [],
        "tags": [answers.ref_item("tags", name, sha) for name, sha in refs.tags],
    }
    return json_response(listed | ({"pullRequests": []} if include_prs else {}))


@router.get("/commits/{revision}")
def list_commits(
    request: Request,
    call: CallHere,
    repo: RepoPath,
    revision: RevisionPath,
    limit: Annotated[int, Query(ge=1)] = _MOST_COMMITS,
    after: Annotated[str | None, Query(pattern="^[0-9a-f]{40}$")] = None,
) -> Response:
    """List the commits that led to a revision, newest first, a page at a time; `after` is the last one before."""
    most = min(limit, _MOST_COMMITS)
    with call.read() as session:
        found = repo.get(session, call.actor)
        resolved = revisions.resolve_revision(session, call.actor, found, revision)
        history = revisions.list_commits(session, call.actor, found, resolved, after=after, most=most + 1)
        items = [answers.commit_item(c, revisions.author_of(call.actor, found, c)) for c in history[:most]]
    has_more = len(history) > most
    return json_response(items, next_url=following(request, call, after=items[-1]["id"]) if has_more else None)
