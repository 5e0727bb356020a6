"""The rows of commits and of what points at them: how they come, move and go. Who may is asked in `drafts.py`.

A sha says what a commit is: model, parent, files, words and author. So the same thing done twice is one commit, and
what was kept under a sha is true for ever. A tree's row is shared by all commits and versions that have its files.
"""

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import delete, exists, or_, select, union_all, update
from sqlalchemy.orm import Session

from steelyard.server.core import blobs
from steelyard.server.db.engine import in_batches
from steelyard.server.db.tables import Branch, Commit, Model, Org, Tag, Tree, Version, utc_now

MAIN = "main"
_QUIETLY = {"synchronize_session": False}


@dataclass(frozen=True, slots=True)
class Words:
    """What a commit says of itself."""

    title: str
    message: str
    author: str


def sha_of(
    org: Org, model: Model, parent: Commit | None, artifacts_hash: str, words: Words, *, is_draft: bool = True
) -> str:
    """The name of a commit; `artifacts_hash` is `publish.artifacts_hash`. Of models, which may be deleted and made
    again under one name, the moment tells which is meant."""
    said = [
        "draft" if is_draft else "version",
        org.uuid,
        model.name_key,
        model.created_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        parent.sha if parent else None,
        artifacts_hash,
        words.title,
        words.message,
        words.author,
    ]
    return hashlib.sha1(json.dumps(said).encode(), usedforsecurity=False).hexdigest()


def create_tree(session: Session, files: Iterable[tuple[str, str, int]], blob_ids: Collection[int]) -> Tree:
    """A row for these files, `(path, oid, size_bytes)`, that keeps their bytes from clean-up."""
    rows = [list(file) for file in sorted(files)]
    tree = Tree(files=rows, file_count=len(rows), size_bytes=sum(row[2] for row in rows))
    session.add(tree)
    session.flush()
    blobs.attach(session, tree.id, blob_ids)
    return tree


def find_head(session: Session, model_id: int, branch: str) -> Commit | None:
    """Where a branch has come to."""
    query = select(Commit).join(Branch, Branch.commit_id == Commit.id)
    return session.scalar(query.where(Branch.model_id == model_id, Branch.name == branch))


def find_latest(session: Session, model: Model) -> Commit | None:
    """The commit of the latest version."""
    if model.latest_version_id is None:
        return None
    query = select(Commit).join(Version, Version.commit_id == Commit.id)
    return session.scalar(query.where(Version.id == model.latest_version_id))


def find_commit(session: Session, model_id: int, sha: str) -> Commit | None:
    """The model's commit of this name."""
    return session.scalar(select(Commit).where(Commit.model_id == model_id, Commit.sha == sha))


def has_ref(session: Session, model_id: int, name: str) -> bool:
    """Whether a branch or a tag has this name."""
    branch = select(Branch.name).where(Branch.model_id == model_id, Branch.name == name)
    tag = select(Tag.name).where(Tag.model_id == model_id, Tag.name == name)
    return session.execute(union_all(branch, tag)).first() is not None


def move(session: Session, model_id: int, branch: str, commit: Commit) -> None:
    """Let a branch, a new one or an old one, be at this commit."""
    at = update(Branch).where(Branch.model_id == model_id, Branch.name == branch).returning(Branch.name)
    moved = session.scalar(at.values(commit_id=commit.id, updated_at=utc_now()))
    if moved is None:
        session.add(Branch(model_id=model_id, name=branch, commit_id=commit.id))
        session.flush()


def create_commit(
    session: Session,
    org: Org,
    model: Model,
    parent: Commit | None,
    tree_id: int,
    artifacts_hash: str,
    words: Words,
    *,
    is_draft: bool = True,
) -> Commit:
    """The row of a commit that is not there yet."""
    commit = Commit(
        model_id=model.id,
        sha=sha_of(org, model, parent, artifacts_hash, words, is_draft=is_draft),
        tree_id=tree_id,
        parent_id=parent.id if parent else None,
        is_draft=is_draft,
        title=words.title,
        message=words.message,
        author=words.author,
    )
    session.add(commit)
    session.flush()
    return commit


# --- commits of versions


def follow_latest(session: Session, model: Model) -> None:
    """The latest version is another one now: `main` goes there, unless drafts were pushed to it."""
    head, latest = find_head(session, model.id, MAIN), find_latest(session, model)
    if latest is not None and (head is None or not head.is_draft):
        move(session, model.id, MAIN, latest)


def let_go_of_version(session: Session, org_id: int, model_id: int, commit_id: int | None, tree_id: int) -> None:
    """A version was deleted: the commit that was made for it goes, out of every line that it is in, and what points at
    it. A draft stays where it is, while a branch or tag leads to it."""
    commit = session.get(Commit, commit_id) if commit_id is not None else None
    is_shared = commit is not None and session.scalar(select(Version.id).where(Version.commit_id == commit.id).limit(1))
    if commit is not None and not is_shared:
        if commit.is_draft:
            prune(session, org_id, model_id)
        else:
            _take_out(session, commit)
    delete_trees(session, [tree_id])


def _take_out(session: Session, commit: Commit) -> None:
    after = update(Commit).where(Commit.parent_id == commit.id).values(parent_id=commit.parent_id)
    session.execute(after, execution_options=_QUIETLY)
    for branch in session.scalars(select(Branch).where(Branch.commit_id == commit.id)):
        if commit.parent_id is None:
            session.delete(branch)
        else:
            branch.commit_id, branch.updated_at = commit.parent_id, utc_now()
    session.execute(delete(Tag).where(Tag.commit_id == commit.id))
    session.delete(commit)
    session.flush()


# --- what goes


def prune(session: Session, org_id: int, model_id: int) -> int:
    """Let go of the commits that no branch, tag or version leads to; answers how many."""
    query = select(Commit.id, Commit.parent_id, Commit.tree_id).where(Commit.model_id == model_id)
    rows = {row.id: row for row in session.execute(query)}
    kept: set[int] = set()
    for table in (Branch, Tag, Version):
        for at in session.scalars(select(table.commit_id).where(table.model_id == model_id)):
            while at is not None and at not in kept:
                kept.add(at)
                at = rows[at].parent_id
    gone = sorted(rows.keys() - kept, reverse=True)  # a child's number is above its parent's
    trees = {rows[commit_id].tree_id for commit_id in gone}
    blobs.begin_grace(session, org_id, trees)
    for some in in_batches(gone):
        session.execute(delete(Commit).where(Commit.id.in_(some)), execution_options=_QUIETLY)
    delete_trees(session, trees)
    return len(gone)


def list_trees(session: Session, model_id: int) -> set[int]:
    """The trees of a model's versions and commits."""
    of_versions = session.scalars(select(Version.tree_id).where(Version.model_id == model_id))
    return {*of_versions, *session.scalars(select(Commit.tree_id).where(Commit.model_id == model_id))}


def delete_all(session: Session, model_id: int) -> None:
    """A model goes, with its branches, tags and commits."""
    for table in (Branch, Tag, Commit):
        session.execute(delete(table).where(table.model_id == model_id), execution_options=_QUIETLY)


def delete_trees(session: Session, tree_ids: Collection[int]) -> None:
    """Delete those of these trees that no commit and no version has any more."""
    had = or_(exists().where(Version.tree_id == Tree.id), exists().where(Commit.tree_id == Tree.id))
    for some in in_batches(tree_ids):
        session.execute(delete(Tree).where(Tree.id.in_(some), ~had), execution_options=_QUIETLY)
