"""Drafts: commits to branches, as the Hub's clients push them, and how one of them becomes a version.

All of it takes a role that publishes, and a `database.write()` session. What a name means is in `revisions.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from steelyard.server.core.access import Action, Actor, allow
from steelyard.server.core.aliases import find_version_of_alias
from steelyard.server.core.audit import record
from steelyard.server.core.blobs import HeldBlob
from steelyard.server.core.history import commits
from steelyard.server.core.history.commits import MAIN, Words, create_commit, sha_of
from steelyard.server.core.history.revisions import find_head, resolve_revision
from steelyard.server.core.holding import get_held
from steelyard.server.core.models import Found
from steelyard.server.core.publish import Description, NewVersion, Published, artifacts_hash, look_ahead, publish
from steelyard.server.core.versions import find_version
from steelyard.server.db.tables import Blob, Branch, Commit, Tag, Tree, TreeBlob
from steelyard.server.errors import (
    AlreadyExists,
    Conflict,
    EntryNotFound,
    Fault,
    Invalid,
    PreconditionFailed,
    RevisionNotFound,
)
from steelyard.server.names import InvalidName, ModelName, RefName, check_artifact_paths
from steelyard.server.names import Version as SemVer

MOST_FILES = 100_000
_ABSENT = "A file with this name doesn't exist"  # what the Hub's clients look for
_HOW_TO_SEND = "They have to arrive first, by LFS or Xet: run the upload again, it sends what is missing."
_SHORTEST_SHA = 5

Oids = Mapping[str, str]
"""Path -> OID."""


@dataclass(frozen=True, slots=True)
class Added:
    """A file is there with these bytes, whatever was there before. `oid` is `sha256:…`, held by the organisation."""

    path: str
    oid: str


@dataclass(frozen=True, slots=True)
class Deleted:
    """A file goes."""

    path: str


@dataclass(frozen=True, slots=True)
class DeletedFolder:
    """All that lies below goes; with or without `/` at its end."""

    path: str


Change = Added | Deleted | DeletedFolder


def commit_changes(
    session: Session,
    actor: Actor,
    found: Found,
    branch: str,
    changes: Sequence[Change],
    *,
    title: str,
    message: str = "",
    parent_sha: str | None = None,
) -> Commit:
    """Apply changes, in their order, to what a branch has come to, and move it. What changes nothing, or was done by
    the branch's last commit already (a retry), answers the head.

    `main` is begun where there is none. Raises `RevisionNotFound` for another branch that is not there,
    `PreconditionFailed` where `parent_sha` (5 to 40 hex digits) is not the head, `EntryNotFound` for deleting what is
    not there, `Invalid` naming every wrong path and every OID that the organisation does not hold, `Conflict` while
    bytes are being proven.
    """
    allow(actor, Action.PUBLISH, found.org.id)
    words = words_of(title, message, actor)
    head = _get_head(session, found, branch)
    try:
        _expect(head, parent_sha, found, branch)
        before = _oids_of(session, head)
        after = apply(changes, before)
    except (EntryNotFound, PreconditionFailed):
        if head is not None and _is_what_was_done(session, found, head, changes, words, parent_sha):
            return head
        raise
    if head is not None and after == before:
        return head
    commit = _commit(session, found, head, before, after, words)
    commits.move(session, found.model.id, branch, commit)
    target = f"{found.full_name}@{branch}"
    record(session, actor, "commit.create", target, org_id=found.org.id, sha=commit.sha, files=len(after))
    return commit


def begin_main(session: Session, actor: Actor, found: Found) -> Commit:
    """The head of `main`; where there is none, an empty first commit, so that a new model has a revision."""
    head = find_head(session, found, MAIN)
    return head or commit_changes(session, actor, found, MAIN, (), title="initial commit")


def words_of(title: str, message: str, actor: Actor) -> Words:
    """What a commit says; raises `Invalid` for what no database can keep."""
    for name, text in (("summary", title), ("description", message)):
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            fault = Fault(("body", name), "it has a NUL or a lone surrogate, which is no text")
            raise Invalid(f"The {name} of a commit cannot be kept: {fault.msg}.", faults=(fault,))
    return Words(title, message, actor.name)


# --- where it goes


def _get_head(session: Session, found: Found, branch: str) -> Commit | None:
    head = find_head(session, found, branch)
    if head is None and branch != MAIN:
        raise RevisionNotFound(f"'{found.full_name}' has no branch '{branch[:200]}'. Create it first.")
    return head


def _expect(head: Commit | None, parent_sha: str | None, found: Found, branch: str) -> None:
    if parent_sha is not None and not _is_named(head, parent_sha):
        at = head.sha if head else "nothing yet"
        raise PreconditionFailed(
            f"'{branch}' of '{found.full_name}' has moved: it is at {at}, not at {parent_sha[:40]}. Try again."
        )


def _is_named(commit: Commit | None, sha: str) -> bool:
    return commit is not None and len(sha) >= _SHORTEST_SHA and commit.sha.startswith(sha.lower())


def _is_what_was_done(
    session: Session, found: Found, head: Commit, changes: Sequence[Change], words: Words, parent_sha: str | None
) -> bool:
    """Whether the head is these changes on its parent: the client did not hear the answer, and asks again."""
    parent = session.get(Commit, head.parent_id) if head.parent_id is not None else None
    if parent_sha is not None and not _is_named(parent, parent_sha):
        return False
    try:
        after = apply(changes, _oids_of(session, parent))
    except EntryNotFound:
        return False
    return head.sha == sha_of(found.org, found.model, parent, artifacts_hash(after), words)


# --- what is in it


def _oids_of(session: Session, commit: Commit | None) -> Oids:
    if commit is None:
        return {}
    return {path: oid for path, oid, _ in session.get_one(Tree, commit.tree_id).files}


def apply(changes: Sequence[Change], before: Oids) -> dict[str, str]:
    """The files afterwards. Raises `EntryNotFound`."""
    after = dict(before)
    for change in changes:
        if isinstance(change, Added):
            after[change.path] = change.oid
        elif isinstance(change, Deleted):
            if after.pop(change.path, None) is None:
                raise EntryNotFound(f"{_ABSENT}: {change.path[:200]}")
        else:
            _delete_folder(change.path, after)
    return after


def _delete_folder(path: str, after: dict[str, str]) -> None:
    prefix = path.rstrip("/") + "/"
    below = [each for each in after if each.startswith(prefix)]
    if not below:
        raise EntryNotFound(f"{_ABSENT}: {path[:200]}")
    for each in below:
        del after[each]


def _grow(session: Session, found: Found, head: Commit | None, before: Oids, after: Oids) -> Tree:
    """The tree's row. Of the files that stay, size and blob are known; the others have to be held."""
    added = {path: oid for path, oid in after.items() if before.get(path) != oid}
    faults = _faults_of(before, after)
    held = get_held(session, found.org, added, faults, what="This cannot be committed", how=_HOW_TO_SEND)
    sizes = {oid: blob.size_bytes for oid, blob in held.items()}
    ids = {oid: blob.id for oid, blob in held.items()}
    if head is not None:
        old = select(Blob.oid, Blob.size_bytes, Blob.id).join(TreeBlob, TreeBlob.blob_id == Blob.id)
        for oid, size_bytes, blob_id in session.execute(old.where(TreeBlob.tree_id == head.tree_id)):
            sizes[oid], ids[oid] = size_bytes, blob_id
    files = [(path, oid, sizes[oid]) for path, oid in after.items()]
    return commits.create_tree(session, files, {ids[oid] for oid in after.values()})


def _faults_of(before: Oids, after: Oids) -> list[Fault]:
    """What is wrong with the paths, if there are new ones: those of before were looked at then."""
    if after.keys() <= before.keys():
        return []
    faults = [Fault(("body", path), message, "invalid_path") for path, message in check_artifact_paths(after)]
    if len(after) > MOST_FILES:
        faults.append(
            Fault(("body",), f"{len(after)} files are more than the {MOST_FILES} that there may be", "too_long")
        )
    return faults


def _commit(session: Session, found: Found, parent: Commit | None, before: Oids, after: Oids, words: Words) -> Commit:
    """The commit; from another branch the same may have been done to the same already."""
    digest = artifacts_hash(after)
    there = commits.find_commit(session, found.model.id, sha_of(found.org, found.model, parent, digest, words))
    if there is not None:
        return there
    tree = _grow(session, found, parent, before, after)
    return create_commit(session, found.org, found.model, parent, tree.id, digest, words)


# --- branches


def create_branch(session: Session, actor: Actor, found: Found, name: str, revision: str | None = None) -> Commit:
    """A branch that begins at a revision, else at `main`. Raises `AlreadyExists`, `Invalid` for what cannot be its
    name, `RevisionNotFound`."""
    allow(actor, Action.PUBLISH, found.org.id)
    start = _start(session, actor, found, revision)
    _refuse_taken(session, found, _parse(name))
    commits.move(session, found.model.id, name, start)
    record(session, actor, "branch.create", f"{found.full_name}@{name}", org_id=found.org.id, sha=start.sha)
    return start


def delete_branch(session: Session, actor: Actor, found: Found, name: str) -> None:
    """The branch goes, with the commits that nothing else has. Raises `RevisionNotFound`; `Conflict` for `main`."""
    allow(actor, Action.PUBLISH, found.org.id)
    if name == MAIN:
        raise Conflict("The branch 'main' is always there and cannot be deleted.")
    _get_head(session, found, name)
    session.delete(session.get_one(Branch, (found.model.id, name)))
    gone = commits.prune(session, found.org.id, found.model.id)
    record(session, actor, "branch.delete", f"{found.full_name}@{name}", org_id=found.org.id, commits=gone)


def squash(session: Session, actor: Actor, found: Found, branch: str, message: str = "") -> Commit:
    """Let a branch's files be one commit without a history. Commits that nothing else has go; those of versions stay.
    Raises `RevisionNotFound`."""
    allow(actor, Action.PUBLISH, found.org.id)
    head = _get_head(session, found, branch) or begin_main(session, actor, found)
    words, digest = words_of(message or f"Squash {branch}", "", actor), artifacts_hash(_oids_of(session, head))
    there = commits.find_commit(session, found.model.id, sha_of(found.org, found.model, None, digest, words))
    commit = there or create_commit(session, found.org, found.model, None, head.tree_id, digest, words)
    commits.move(session, found.model.id, branch, commit)
    gone = commits.prune(session, found.org.id, found.model.id)
    target = f"{found.full_name}@{branch}"
    record(session, actor, "branch.squash", target, org_id=found.org.id, sha=commit.sha, commits=gone)
    return commit


def _start(session: Session, actor: Actor, found: Found, revision: str | None) -> Commit:
    if revision is None or revision == MAIN:
        return begin_main(session, actor, found)
    return resolve_revision(session, actor, found, revision).commit


def _parse(name: str) -> RefName:
    try:
        return RefName.parse(name)
    except InvalidName as error:
        raise Invalid(f"{error}.", faults=(Fault(("path", "name"), str(error)),)) from error


def _refuse_taken(session: Session, found: Found, name: str) -> None:
    """One name leads to one thing: branches, tags and aliases are all asked for as revisions."""
    if commits.has_ref(session, found.model.id, name):
        raise AlreadyExists(f"'{found.full_name}' has a branch or tag '{name}' already.")
    if find_version_of_alias(session, found.model.id, name) is not None:
        raise AlreadyExists(f"'{found.full_name}' has an alias '{name}' already. Choose another name.")


# --- tags


def number_of_tag(name: str) -> SemVer | None:
    """The version that a tag of this name publishes: `1.2.3`, or `v1.2.3`. None for a tag that is only a name."""
    try:
        return SemVer.parse(name.removeprefix("v"))
    except InvalidName:
        return None


def create_tag(
    session: Session, actor: Actor, found: Found, name: str, revision: str | None = None, message: str = ""
) -> Commit:
    """A name for a commit. A tag for which `number_of_tag` has a number is no such name: see `publish_commit`.
    Raises `AlreadyExists`, `Invalid` for what cannot be its name, `RevisionNotFound`."""
    allow(actor, Action.PUBLISH, found.org.id)
    commit = _start(session, actor, found, revision)
    _refuse_taken(session, found, _parse(name))
    _add_tag(session, actor, found, name, commit, words_of("", message, actor).message)
    return commit


def delete_tag(session: Session, actor: Actor, found: Found, name: str) -> None:
    """The name goes. Raises `RevisionNotFound`; `Conflict` for a version's number, since that is not only a name."""
    allow(actor, Action.PUBLISH, found.org.id)
    row = session.get(Tag, (found.model.id, name)) if name.isprintable() else None
    number = number_of_tag(name)
    if row is None and number is not None and find_version(session, found.model.id, number):
        raise Conflict(
            f"{found.full_name}:{number} is a published version, no mere tag. Its owner yanks or deletes the version."
        )
    if row is None:
        raise RevisionNotFound(f"'{found.full_name}' has no tag '{name[:200]}'.")
    session.delete(row)
    gone = commits.prune(session, found.org.id, found.model.id)
    record(session, actor, "tag.delete", f"{found.full_name}@{name}", org_id=found.org.id, commits=gone)


def _add_tag(session: Session, actor: Actor, found: Found, name: str, commit: Commit, message: str) -> None:
    session.add(Tag(model_id=found.model.id, name=name, commit_id=commit.id, message=message))
    record(session, actor, "tag.create", f"{found.full_name}@{name}", org_id=found.org.id, sha=commit.sha)


# --- from a draft to a version


def weights_of(
    session: Session,
    actor: Actor,
    found: Found,
    commit: Commit,
    number: SemVer,
    description: Description,
) -> list[tuple[str, HeldBlob]]:
    """For `reading.count_parameters_of`, before the transaction that publishes: see `publish.look_ahead`, which says
    what it raises."""
    new = _version_of(session, found, commit, number, description, {})
    return look_ahead(session, actor, found.org, ModelName(found.model.name), new, ())


def publish_commit(
    session: Session,
    actor: Actor,
    found: Found,
    commit: Commit,
    number: SemVer,
    description: Description,
    *,
    tag: str | None = None,
    origin: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float | int | str] | None = None,
    parameters: int | None = None,
) -> Published:
    """Publish a commit's files as a version. The same again is answered with `created` false; see `publish.publish` for
    what it raises, besides `Invalid` for a commit without files. `tag` is the name that was asked for: `v1.2.3` is kept
    as a tag beside the version 1.2.3. `origin` gets `commit`, the sha."""
    new = _version_of(session, found, commit, number, description, origin or {}, metrics)
    name = ModelName(found.model.name)
    published = publish(session, actor, found.org, name, new, parameters=parameters, commit=commit)
    if tag is not None and tag != str(number) and session.get(Tag, (found.model.id, tag)) is None:
        _refuse_taken(session, found, tag)
        _add_tag(session, actor, found, tag, session.get_one(Commit, published.version.commit_id), "")
    return published


def _version_of(
    session: Session,
    found: Found,
    commit: Commit,
    number: SemVer,
    description: Description,
    origin: Mapping[str, Any],
    metrics: Mapping[str, float | int | str] | None = None,
) -> NewVersion:
    files = _oids_of(session, commit)
    if not files:
        raise Invalid(f"'{found.full_name}' at {commit.sha} has no files: there is nothing to publish as {number}.")
    said = {**origin, "commit": commit.sha}
    return NewVersion(artifacts=files, number=number, description=description, origin=said, metrics=metrics, via="hf")
