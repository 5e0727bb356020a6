"""Revisions: what a name of the Hub's clients leads to, which names there are, and how a commit came to be.

Versions are for whoever sees the model. Drafts, which are branches and commits that no version has, are for members of
its organisation only; to everybody else `main` is the latest version. Writing is in `drafts.py`, rows are in
`commits.py`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Integer, exists, literal_column, select
from sqlalchemy.orm import Session

from steelyard.server.core import versions
from steelyard.server.core.access import Actor
from steelyard.server.core.files.trees import File, TreeCache
from steelyard.server.core.history import commits
from steelyard.server.core.history.commits import MAIN
from steelyard.server.core.models import Found, versions_in_order
from steelyard.server.db.tables import Branch, Commit, Tag, Version
from steelyard.server.errors import Invalid, NotFound, RevisionNotFound
from steelyard.server.names import InvalidName
from steelyard.server.names import Version as SemVer

BRANCHES, TAGS = "refs/heads/", "refs/tags/"  # what no branch or tag is called
_UNSAID = "None"  # what a client that was told no revision may send
_SHA = re.compile(r"[0-9a-f]{40}")
_MOST_CHARACTERS = 250


@dataclass(frozen=True, slots=True)
class Revision:
    """What a revision leads to. `version` is the one that has this commit, the highest where several do."""

    commit: Commit
    version: Version | None


@dataclass(frozen=True, slots=True)
class Refs:
    """The names that a caller may know, each with the commit's sha. The versions, by their numbers, are the first of
    the tags, the latest before the others; the rest is in the order of names."""

    branches: list[tuple[str, str]]
    tags: list[tuple[str, str]]


def is_member(actor: Actor, found: Found) -> bool:
    """Whether drafts are for him."""
    return actor.role_in(found.org.id) is not None


# --- what a name leads to


def resolve_revision(session: Session, actor: Actor, found: Found, text: str | None) -> Revision:
    """What the text names: `main` (also None), a commit's whole sha, a branch, a tag, a version with or without `v`
    before it, an alias, `latest`, or a range; in this order. Branches and tags, versions among them, also as Git spells
    them in full, and `None` is `main` where nothing is called so. Raises `RevisionNotFound`."""
    name = MAIN if text is None else text
    revision = _find(session, actor, found, name) if _is_sayable(name) else None
    if revision is None or (revision.version is None and not is_member(actor, found)):
        raise RevisionNotFound(
            f"'{found.full_name}' has no revision '{name[:_MOST_CHARACTERS]}', or you may not see it."
        )
    return revision


def find_head(session: Session, found: Found, branch: str) -> Commit | None:
    """Where a branch has come to, for members. None where there is no such branch; `main` has none in a model that
    nothing was ever committed to, or whose every version was deleted: commits may begin it all the same."""
    head = commits.find_head(session, found.model.id, branch) if _is_sayable(branch) else None
    return commits.find_latest(session, found.model) if head is None and branch == MAIN else head


def has_draft(session: Session, actor: Actor, found: Found) -> bool:
    """Whether `main` has what no version has, as far as the caller may know."""
    head = find_head(session, found, MAIN) if is_member(actor, found) else None
    published = select(exists().where(Version.commit_id == head.id)) if head is not None and head.is_draft else None
    return published is not None and not session.scalar(published)


def _is_sayable(name: str) -> bool:
    """Whether every database can be asked for it."""
    return len(name) <= _MOST_CHARACTERS and "\0" not in name and name.isprintable()


def _find(session: Session, actor: Actor, found: Found, name: str) -> Revision | None:
    if name.startswith(BRANCHES):
        return _find_branch(session, actor, found, name.removeprefix(BRANCHES))
    if name.startswith(TAGS):
        return _find_tag(session, found, name.removeprefix(TAGS))
    commit = commits.find_commit(session, found.model.id, name) if _SHA.fullmatch(name) else None
    if commit is not None:
        return _revision(session, found, commit)
    named = _find_branch(session, actor, found, name) or _find_tag(session, found, name)
    return named or (_find_branch(session, actor, found, MAIN) if name == _UNSAID else None)


def _find_branch(session: Session, actor: Actor, found: Found, name: str) -> Revision | None:
    head = commits.find_head(session, found.model.id, name) if is_member(actor, found) else None
    if head is not None:
        return _revision(session, found, head)
    return _of_version(session, versions.find_latest(session, found)) if name == MAIN else None


def _find_tag(session: Session, found: Found, name: str) -> Revision | None:
    """A mere name goes first."""
    query = select(Commit).join(Tag, Tag.commit_id == Commit.id)
    commit = session.scalar(query.where(Tag.model_id == found.model.id, Tag.name == name))
    if commit is not None:
        return _revision(session, found, commit)
    return _of_version(session, _find_version(session, found, name))


def _revision(session: Session, found: Found, commit: Commit) -> Revision:
    query = versions_in_order(found.model.id).where(Version.commit_id == commit.id).limit(1)
    return Revision(commit, session.scalar(query))


def _of_version(session: Session, version: Version | None) -> Revision | None:
    if version is None or version.commit_id is None:
        return None
    return Revision(session.get_one(Commit, version.commit_id), version)


def _find_version(session: Session, found: Found, name: str) -> Version | None:
    """An alias may be called `v1.2.3`, too: a version goes first."""
    for text in dict.fromkeys((_without_v(name), name)):
        try:
            return versions.resolve(session, found, text).version
        except (NotFound, Invalid):
            continue
    return None


def _without_v(name: str) -> str:
    bare = name.removeprefix("v")
    try:
        return str(SemVer.parse(bare))
    except InvalidName:
        return name


# --- which names there are


def list_refs(session: Session, actor: Actor, found: Found) -> Refs:
    """The branches and tags that the caller may know of."""
    return Refs(
        _list_branches(session, actor, found), _list_versions(session, found) + _list_tags(session, actor, found)
    )


def _list_branches(session: Session, actor: Actor, found: Found) -> list[tuple[str, str]]:
    query = select(Branch.name, Commit.sha).join(Commit, Commit.id == Branch.commit_id)
    query = query.where(Branch.model_id == found.model.id).order_by(Branch.name)
    branches = [(name, sha) for name, sha in session.execute(query)] if is_member(actor, found) else []
    latest = None if MAIN in dict(branches) else commits.find_latest(session, found.model)
    return branches if latest is None else [(MAIN, latest.sha), *branches]


def _list_versions(session: Session, found: Found) -> list[tuple[str, str]]:
    query = versions_in_order(found.model.id).join(Commit, Commit.id == Version.commit_id)
    return [(number, sha) for number, sha in session.execute(query.with_only_columns(Version.version, Commit.sha))]


def _list_tags(session: Session, actor: Actor, found: Found) -> list[tuple[str, str]]:
    query = select(Tag.name, Commit.sha).join(Commit, Commit.id == Tag.commit_id)
    query = query.where(Tag.model_id == found.model.id).order_by(Tag.name)
    query = query if is_member(actor, found) else query.where(_is_published())
    return [(name, sha) for name, sha in session.execute(query)]


# --- how a commit came to be


def list_commits(
    session: Session, actor: Actor, found: Found, revision: Revision, *, after: str | None, most: int
) -> list[Commit]:
    """The history of a revision, newest first; `after` is the sha of the last one of the page before. Those who are no
    members see the commits that versions have. Raises `RevisionNotFound` for an `after` that is no commit of it."""
    sees_all = is_member(actor, found)
    start: int | None = revision.commit.id
    if after is not None:
        start = resolve_revision(session, actor, found, after).commit.parent_id
    line = _line_of(start, most if sees_all else None)
    query = select(Commit).join(line, line.c.id == Commit.id).order_by(line.c.steps).limit(most)
    return list(session.scalars(query if sees_all else query.where(_is_published())))


def _line_of(start: int | None, most: int | None) -> Any:
    """The commit and those before it, `most` of them or all, with how many steps each lies back."""
    steps = literal_column("0", Integer).label("steps")
    line = select(Commit.id, Commit.parent_id, steps).where(Commit.id == start).cte("line", recursive=True)
    before = select(Commit.id, Commit.parent_id, line.c.steps + 1).join(line, Commit.id == line.c.parent_id)
    return line.union_all(before if most is None else before.where(line.c.steps + 1 < most))


def _is_published() -> ColumnElement[bool]:
    return exists().where(Version.commit_id == Commit.id)


def files_of(session: Session, trees: TreeCache, commit: Commit) -> Mapping[str, File]:
    """The files of a commit by path, in the order of paths. Asks nobody whether he may see them."""
    return trees.get(session, commit).files


def author_of(actor: Actor, found: Found, commit: Commit) -> str:
    """The author as the caller may know him: those who are no members are told the organisation."""
    return commit.author if is_member(actor, found) else found.org.slug
