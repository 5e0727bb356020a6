"""Commits, as the Hub's clients push them: which files come inside, and the commit itself, read as it arrives."""

import asyncio
import binascii
import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from steelyard.server.core import blobs
from steelyard.server.core.access import Action
from steelyard.server.core.arrivals import regular, uploads
from steelyard.server.core.arrivals.uploads import Room
from steelyard.server.core.blobs import HubForm
from steelyard.server.core.files import reading
from steelyard.server.core.files.ignored import IGNORE_NAME, MOST_IGNORE_BYTES, Ignored
from steelyard.server.core.files.trees import File
from steelyard.server.core.history import drafts, revisions
from steelyard.server.core.history.commits import MAIN
from steelyard.server.core.limits import LimitedAction
from steelyard.server.db.tables import Org
from steelyard.server.doors.calls import Call, CallHere, waits_for_the_store
from steelyard.server.doors.hf.answers import Json, json_response
from steelyard.server.doors.hf.calls import BranchPath, RepoPath, TokenRoute
from steelyard.server.doors.hf.lines import (
    DeletedFile,
    DeletedFolder,
    Header,
    LfsFile,
    RegularFile,
    parse_line,
    read_lines,
)
from steelyard.server.doors.receiving import impatient
from steelyard.server.doors.repos import Repo
from steelyard.server.errors import BadRequest, RevisionNotFound, TooLarge

_MOST_PREUPLOADED = 1_000
_AT_ONCE_BYTES = 2 * 2**20  # of lines that are worked on together
_AT_ONCE_LINES = 500
_BYTES_PER_CHANGE = 100
_LOOK_SECONDS = 0.5
PROOF_SECONDS = 600  # without a word: a proxy has to wait for longer. A proof of a terabyte takes longer, too


async def _no_pull_request(create_pr: Annotated[str, Query()] = "") -> None:
    if create_pr.lower() not in ("", "0", "false"):
        raise BadRequest("Pull requests are not offered here. Push to a branch instead: create it, and name it.")


router = APIRouter(prefix="/models/{org}/{name}", route_class=TokenRoute, dependencies=[Depends(_no_pull_request)])


# --- before


class FileToSend(BaseModel):
    """A file that is about to be committed: its beginning, in base64, and its size."""

    path: str
    sample: str = ""
    size: int = Field(ge=0)


class Preupload(BaseModel):
    """The files of a commit, or some of them; and its `.gitignore`, where it brings one."""

    files: list[FileToSend] = Field(max_length=_MOST_PREUPLOADED)
    gitIgnore: str | None = None  # noqa: N815 - as it is sent


@router.post("/preupload/{revision}")
@waits_for_the_store
def plan_commit(call: CallHere, repo: RepoPath, branch: BranchPath, body: Preupload) -> Response:
    """Say of each file whether it shall come inside the commit, what is at its path now, and whether it is to be left
    out: by the commit's `.gitignore`, else by the branch's. As with Git, that is not for files that are there."""
    with call.read() as session:
        found = repo.get_to(session, call.actor, Action.PUBLISH)
        head = revisions.find_head(session, found, branch)
        if head is None and branch != MAIN:
            raise RevisionNotFound(f"'{found.full_name}' has no branch '{branch}'. Create it first.")
        files = revisions.files_of(session, call.registry.trees, head) if head else {}
        there = [files[item.path] for item in body.files if item.path in files]
        forms = blobs.find_hub_forms(session, found.org.id, {file.oid for file in there})
        kept = files.get(IGNORE_NAME) if body.gitIgnore is None else None
        key = reading.get_key(session, kept) if kept else None
    ignored = Ignored(_read_ignore(call, key) if key else body.gitIgnore or "")
    return json_response({"files": [_planned(item, files.get(item.path), forms, ignored) for item in body.files]})


def _read_ignore(call: Call, key: str) -> str:
    with reading.open_key(call.registry.store, key) as kept:
        return kept.read(0, MOST_IGNORE_BYTES + 1).decode("utf-8", "replace")


def _planned(item: FileToSend, there: File | None, forms: dict[str, HubForm], ignored: Ignored) -> Json:
    is_regular = item.size == 0 or regular.is_regular(item.size, _sample(item))
    planned: Json = {
        "path": item.path,
        "uploadMode": "regular" if is_regular else "lfs",
        "shouldIgnore": there is None and ignored.has(item.path),
    }
    # A digest of the other kind would never be equal, and be sent again and again; or be equal by mistake.
    oid = there and ((forms[there.oid].git_sha1 if there.oid in forms else None) if is_regular else there.oid)
    return planned | ({"oid": oid.removeprefix("sha256:")} if oid else {})


def _sample(item: FileToSend) -> bytes:
    try:
        return binascii.a2b_base64(item.sample, strict_mode=True)
    except ValueError as error:
        raise BadRequest(f"The sample of {item.path[:200]} is no base64: {error}.") from error


# --- the commit


@router.post("/commit/{revision}")
async def create_commit(request: Request, call: CallHere, repo: RepoPath, branch: BranchPath) -> Response:
    """Commit to a branch. The same again, to the same, is the same commit."""
    intake = _Intake(call, await run_in_threadpool(_get_org, call, repo))
    async for lines in _batches(read_lines(impatient(request.stream()))):
        await call.at_the_store(intake.take, lines)
    await _await_proofs(intake)
    sha = await run_in_threadpool(_commit, call, repo, branch, intake)
    return json_response(
        {
            "success": True,
            "commitOid": sha,
            "commitUrl": call.url(f"/{repo.slug}/{repo.name}/commit/{sha}"),
            "hookOutput": "",
        }
    )


def _get_org(call: Call, repo: Repo) -> Org:
    """Whose model it is, before anything is read for it. Raises `Forbidden`."""
    with call.read() as session:
        return repo.get_to(session, call.actor, Action.PUBLISH).org


async def _batches(lines: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    batch: list[bytes] = []
    size_bytes = 0
    async for line in lines:
        batch.append(line)
        size_bytes += len(line)
        if size_bytes >= _AT_ONCE_BYTES or len(batch) >= _AT_ONCE_LINES:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch


class _Intake:
    """A commit on its way in: what its lines have said so far. Of files' bytes nothing stays here."""

    def __init__(self, call: Call, org: Org) -> None:
        self.call, self.org = call, org
        self.header: Header | None = None
        self.changes: list[drafts.Change] = []
        self._said_bytes = 0

    def take(self, lines: Sequence[bytes]) -> None:
        """Note what some lines say, and have the bytes in them kept. Waits for the store."""
        contents = {}
        for line in map(parse_line, lines):
            if isinstance(line, Header) != (self.header is None):
                raise BadRequest("A commit begins with its one header.")
            if isinstance(line, Header):
                self.header = line
                continue
            if isinstance(line, RegularFile):
                content = regular.content_of(line.data)
                contents[content.oid] = content
                line = LfsFile(line.path, content.oid)
            self._note(line)
        if contents:
            self._keep(list(contents.values()))

    def _note(self, line: LfsFile | DeletedFile | DeletedFolder) -> None:
        limit = self.call.registry.settings.max_body_bytes
        self._said_bytes += _BYTES_PER_CHANGE + len(line.path)
        if self._said_bytes > limit:
            raise TooLarge(f"The commit has too many files ({limit} bytes to name them). Send it in several commits.")
        self.changes.append(_change(line))

    def _keep(self, contents: Sequence[regular.Content]) -> None:
        registry = self.call.registry
        room = Room(registry.settings, registry.store.free_bytes())
        self.call.take(LimitedAction.TRANSFER)
        regular.keep(registry.database, registry.store, self.org, contents, room)


def _change(line: LfsFile | DeletedFile | DeletedFolder) -> drafts.Change:
    match line:
        case LfsFile():
            return drafts.Added(line.path, line.oid)
        case DeletedFile():
            return drafts.Deleted(line.path)
        case DeletedFolder():
            return drafts.DeletedFolder(line.path)


async def _await_proofs(intake: _Intake) -> None:
    """Large files may be here whole and not be proven yet: clients do not ask twice."""
    until = time.monotonic() + PROOF_SECONDS
    while time.monotonic() < until and await run_in_threadpool(_are_pending, intake):
        await asyncio.sleep(_LOOK_SECONDS)


def _are_pending(intake: _Intake) -> bool:
    added = [change.oid for change in intake.changes if isinstance(change, drafts.Added)]
    with intake.call.registry.database.read() as session:
        return bool(uploads.list_pending(session, intake.org.id, added))


def _commit(call: Call, repo: Repo, branch: str, intake: _Intake) -> str:
    header = intake.header
    if header is None:
        raise BadRequest("The commit is empty: its first line says what it is about.")
    with call.write() as session:
        found = repo.get(session, call.actor)
        commit = drafts.commit_changes(
            session,
            call.actor,
            found,
            branch,
            intake.changes,
            title=header.title,
            message=header.message,
            parent_sha=header.parent_sha,
        )
    return commit.sha
