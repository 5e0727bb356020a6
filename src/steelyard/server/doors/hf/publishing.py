"""Names for commits: tags and branches. A tag that is a SemVer version is more than a name: it publishes that version,
with what the model card says of it.
"""

from fastapi import APIRouter, Response
from pydantic import BaseModel

from steelyard.server.core.access import Action
from steelyard.server.core.files import cards, reading
from steelyard.server.core.files.cards import Card
from steelyard.server.core.history import drafts, revisions
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.models import Found
from steelyard.server.db.tables import Commit
from steelyard.server.doors.calls import Call, CallHere, waits_for_the_store
from steelyard.server.doors.hf.answers import json_response
from steelyard.server.doors.hf.calls import BranchPath, RepoPath, RevisionPath, TokenRoute
from steelyard.server.doors.repos import Repo
from steelyard.server.errors import AlreadyExists
from steelyard.server.names import Version as SemVer

router = APIRouter(prefix="/models/{org}/{name}", route_class=TokenRoute)


class NewTag(BaseModel):
    """A tag to be made."""

    tag: str
    message: str | None = None


class NewBranch(BaseModel):
    """Where a branch is to begin; at `main` when nothing is said."""

    startingPoint: str | None = None  # noqa: N815 - as it is sent


class Squash(BaseModel):
    """What the one commit that is left shall say."""

    message: str | None = None


# --- tags


@router.post("/tag/{revision}")
@waits_for_the_store
def create_tag(call: CallHere, repo: RepoPath, revision: RevisionPath, body: NewTag) -> Response:
    """Name a revision. A tag that is a SemVer version, also with `v` before it, publishes that version."""
    number = drafts.number_of_tag(body.tag)
    if number is not None:
        _publish(call, repo, revision, number, body.tag)
        return json_response({})
    with call.write() as session:
        found = repo.get(session, call.actor)
        drafts.create_tag(session, call.actor, found, body.tag, revision, body.message or "")
    return json_response({})


def _publish(call: Call, repo: Repo, revision: str, number: SemVer, tag: str) -> None:
    """Publish a revision's files. What is slow, reading the card and the weights' headers, comes first."""
    call.take(LimitedAction.PUBLISH)
    found, commit, key = _look(call, repo, revision)
    card = _read_card(call, key)
    with call.registry.database.read() as session:
        weights = drafts.weights_of(session, call.actor, found, commit, number, card.description)
    parameters = reading.count_parameters_of(call.registry.store, weights)
    with call.registry.database.write() as session:
        found = repo.get(session, call.actor)
        is_known = tag in dict(revisions.list_refs(session, call.actor, found).tags)
        published = drafts.publish_commit(
            session,
            call.actor,
            found,
            revisions.resolve_revision(session, call.actor, found, commit.sha).commit,
            number,
            card.description,
            tag=tag,
            metrics=card.metrics,
            parameters=parameters,
        )
    if is_known and not published.created:
        raise AlreadyExists(f"{found.full_name}:{number} is published already, with the same files.")


def _look(call: Call, repo: Repo, revision: str) -> tuple[Found, Commit, str | None]:
    """What is to be published, and the key of its model card's bytes, where it has one."""
    with call.registry.database.read() as session:
        found = repo.get_to(session, call.actor, Action.PUBLISH)
        commit = revisions.resolve_revision(session, call.actor, found, revision).commit
        readme = revisions.files_of(session, call.registry.trees, commit).get(cards.README_NAME)
        return found, commit, reading.get_key(session, readme) if readme else None


def _read_card(call: Call, key: str | None) -> Card:
    if key is None:
        return Card()
    with reading.open_key(call.registry.store, key) as readme:
        return cards.read_card(readme.read(0, cards.MOST_README_BYTES))


@router.delete("/tag/{revision}")
def delete_tag(call: CallHere, repo: RepoPath, revision: RevisionPath) -> Response:
    """Take a name away. A version goes by no tag: `drafts.delete_tag` says what does it."""
    with call.write() as session:
        drafts.delete_tag(session, call.actor, repo.get(session, call.actor), revision)
    return json_response({})


# --- branches


@router.post("/branch/{revision}")
def create_branch(call: CallHere, repo: RepoPath, revision: RevisionPath, body: NewBranch | None = None) -> Response:
    """Begin a branch."""
    start = body.startingPoint if body else None
    with call.write() as session:
        drafts.create_branch(session, call.actor, repo.get(session, call.actor), revision, start)
    return json_response({})


@router.delete("/branch/{revision}")
def delete_branch(call: CallHere, repo: RepoPath, branch: BranchPath) -> Response:
    """End a branch; its commits go, but for those that something else leads to."""
    with call.write() as session:
        drafts.delete_branch(session, call.actor, repo.get(session, call.actor), branch)
    return json_response({})


@router.post("/super-squash/{revision}")
def squash_branch(call: CallHere, repo: RepoPath, branch: BranchPath, body: Squash | None = None) -> Response:
    """Make one commit of a branch's history."""
    with call.write() as session:
        found = repo.get(session, call.actor)
        commit = drafts.squash(session, call.actor, found, branch, (body and body.message) or "")
    return json_response({"commitOid": commit.sha})
