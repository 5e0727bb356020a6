"""A model to which drafts are committed, seen by a member of its organisation and by a stranger."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from steelyard.server.context import Registry
from steelyard.server.core import models
from steelyard.server.core.access import Actor, Role
from steelyard.server.core.files.trees import TreeCache
from steelyard.server.core.history import drafts, revisions
from steelyard.server.core.history.drafts import Added, Change, Deleted
from steelyard.server.core.history.revisions import Refs, Revision
from steelyard.server.core.models import Found
from steelyard.server.core.publish import Description, Published
from steelyard.server.db.tables import Commit, Org, OrgBlob
from steelyard.server.names import ModelName, Version
from tests.house import Person, Registered

NAME = ModelName("tiny")


@dataclass
class Line:
    """The public model `ada/tiny`. `member` owns its organisation, and is the `ada` who calls by HTTP."""

    registered: Registered
    ada: Person
    member: Actor
    stranger: Actor = field(default_factory=lambda: Actor("user:eve", "eve", token_uuid="eve"))

    @property
    def registry(self) -> Registry:
        registry = self.registered.client.app.state.registry  # type: ignore[attr-defined]
        assert isinstance(registry, Registry)
        return registry

    @contextmanager
    def reading(self) -> Iterator[tuple[Session, Found]]:
        """A look at the model."""
        with self.registry.database.read() as session:
            yield session, models.get_model(session, self.member, "ada", NAME)

    @contextmanager
    def writing(self) -> Iterator[tuple[Session, Found]]:
        """A transaction, and the model in it."""
        with self.registry.database.write() as session:
            yield session, models.get_model(session, self.member, "ada", NAME)

    # --- what is done

    def make(self) -> None:
        """The model, new and empty, without a commit."""
        with self.registry.database.write() as session:
            org = session.scalars(select(Org).where(Org.slug == "ada")).one()
            models.create_model(session, self.member, org, NAME, is_public=True)

    def age(self, *, days: int) -> None:
        """Make it so long ago that the organisation was last seen to want its bytes."""
        with self.writing() as (session, _):
            for held in session.scalars(select(OrgBlob)):
                held.touched_at -= timedelta(days=days)

    def change(
        self,
        changes: Iterable[Change],
        branch: str = "main",
        *,
        title: str = "a change",
        message: str = "",
        parent_sha: str | None = None,
        actor: Actor | None = None,
    ) -> Commit:
        """Commit these changes; answers the commit."""
        with self.writing() as (session, found):
            return drafts.commit_changes(
                session,
                actor or self.member,
                found,
                branch,
                list(changes),
                title=title,
                message=message,
                parent_sha=parent_sha,
            )

    def commit(
        self, files: Mapping[str, bytes], branch: str = "main", *, deleted: Iterable[str] = (), title: str = "a change"
    ) -> Commit:
        """Upload files and commit them; answers the commit."""
        oids = dict(zip(files, self.ada.upload("ada/tiny", *files.values()), strict=True)) if files else {}
        added = [Added(path, oid) for path, oid in oids.items()]
        return self.change([*map(Deleted, deleted), *added], branch, title=title)

    def publish(self, commit: Commit, number: str, summary: str | None = None, tag: str | None = None) -> Published:
        """Make a version of a commit."""
        with self.writing() as (session, found):
            said = Description(summary=summary)
            return drafts.publish_commit(session, self.member, found, commit, Version.parse(number), said, tag=tag)

    def branch(self, name: str, revision: str | None = None) -> Commit:
        """A new branch."""
        with self.writing() as (session, found):
            return drafts.create_branch(session, self.member, found, name, revision)

    def tag(self, name: str, revision: str | None = None) -> Commit:
        """A new tag that is no version."""
        with self.writing() as (session, found):
            return drafts.create_tag(session, self.member, found, name, revision, "a word on it")

    # --- what is seen

    def resolve(self, text: str | None, actor: Actor | None = None) -> Revision:
        """What a revision leads to, for the member unless it is somebody else."""
        with self.reading() as (session, found):
            return revisions.resolve_revision(session, actor or self.member, found, text)

    def files(self, text: str | None = None) -> dict[str, str]:
        """The files of a revision, path -> OID."""
        with self.reading() as (session, found):
            commit = revisions.resolve_revision(session, self.member, found, text).commit
            return {path: file.oid for path, file in revisions.files_of(session, TreeCache(), commit).items()}

    def refs(self, actor: Actor | None = None) -> Refs:
        """The branches and tags."""
        with self.reading() as (session, found):
            return revisions.list_refs(session, actor or self.member, found)

    def titles(
        self, text: str | None = None, actor: Actor | None = None, *, after: str | None = None, most: int = 100
    ) -> list[str]:
        """What the commits of a revision say, the newest first."""
        who = actor or self.member
        with self.reading() as (session, found):
            revision = revisions.resolve_revision(session, who, found, text)
            commits = revisions.list_commits(session, who, found, revision, after=after, most=most)
            return [commit.title for commit in commits]


def open_line(registered: Registered) -> Line:
    """The model, new and empty, without a commit."""
    ada = registered.user("ada")
    registry: Registry = registered.client.app.state.registry  # type: ignore[attr-defined]
    with registry.database.read() as session:
        org = session.scalars(select(Org).where(Org.slug == "ada")).one()
    line = Line(registered, ada, Actor("user:ada", "ada", {org.id: Role.OWNER}, token_uuid="ada"))
    line.make()
    return line
