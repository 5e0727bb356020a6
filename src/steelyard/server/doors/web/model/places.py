"""Where among a model's files a page is: at which revision, and at which path; and the ways from there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from sqlalchemy.orm import Session

from steelyard.server.core.aliases import aliases_of
from steelyard.server.core.files.trees import File
from steelyard.server.core.history import revisions
from steelyard.server.core.history.revisions import Revision
from steelyard.server.core.models import Found
from steelyard.server.db.tables import Version
from steelyard.server.doors.repos import Repo
from steelyard.server.doors.web.calls import WebCall
from steelyard.server.doors.web.frames import ModelFrame, frame_model
from steelyard.server.doors.web.pages import url_path
from steelyard.server.names import is_range

RepoPath = Annotated[Repo, Depends(Repo.at_path)]
_MOST_CHOICES = 200


@dataclass(frozen=True, slots=True)
class Place:
    """Files of a revision, and one path among them. `ref` is what the address says; `sha` the commit; `version` the
    number of the version that has it, None for a draft."""

    model: ModelFrame
    ref: str
    path: str
    sha: str
    version: str | None
    yank_reason: str | None
    branches: Sequence[str]
    versions: Sequence[str]
    more_versions: int
    files: Mapping[str, File]

    def url(self, kind: str, path: str = "", ref: str | None = None, **query: str) -> str:
        """A page of this place's model: `tree`, `blob` or `raw`, at this revision or another."""
        ref = self.ref if ref is None else ref
        segments = (kind, ref, path) if path or "/" in ref else (kind, ref)
        return self.model.url(*segments, **query)

    @property
    def crumbs(self) -> list[tuple[str, str]]:
        """The folders above, the root left out: each name with its address."""
        parents = self.path.split("/")[:-1]
        return [(name, self.url("tree", "/".join(parents[: number + 1]))) for number, name in enumerate(parents)]

    @property
    def last_name(self) -> str:
        """What the folder or file itself is called; empty for the root."""
        return self.path.rpartition("/")[2]

    def api_path(self, *below: str, **query: str | None) -> str:
        """The version in the native API, or something below it; a draft is in the Hub's alone."""
        org, name = self.model.org, self.model.name
        if self.version is None:
            return url_path("api", "models", org, name, "tree", self.sha)
        return url_path("api", "v1", "org", org, "models", name, self.version, *below, **query)

    @property
    def file_path(self) -> str:
        """Where programs with a token get this file."""
        if self.version is None:
            return self.model.url("resolve", self.sha, self.path)
        return self.api_path("files", self.path)

    @property
    def page_title(self) -> str:
        """What the window is called."""
        return f"{self.path or 'Files'} of {self.model.full_name} at {self.ref}"


def find_place(session: Session, call: WebCall, repo: Repo, ref: str, path: str) -> tuple[Place, Revision]:
    """The place that an address names, whether or not there is anything at the path. Raises `NotFound`."""
    found = repo.get(session, call.actor)
    revision = revisions.resolve_revision(session, call.actor, found, ref)
    version = revision.version
    refs = revisions.list_refs(session, call.actor, found)
    numbers = [name for name, _ in refs.tags]
    place = Place(
        model=frame_model(session, call, found, "files", version, _ref_of_pages(session, found, ref, version)),
        ref=ref,
        path=path.rstrip("/"),
        sha=revision.commit.sha,
        version=version.version if version else None,
        yank_reason=version.yank_reason if version and version.yanked_at else None,
        branches=[name for name, _ in refs.branches][:_MOST_CHOICES],
        versions=numbers[:_MOST_CHOICES],
        more_versions=len(numbers[_MOST_CHOICES:]),
        files=revisions.files_of(session, call.registry.trees, revision.commit),
    )
    return place, revision


def _ref_of_pages(session: Session, found: Found, ref: str, version: Version | None) -> str:
    """What the other pages of this model call the version: they know nothing of branches, tags and commits."""
    if version is None:
        return "latest"
    is_known = ref in ("latest", version.version) or is_range(ref) or ref in aliases_of(session, version.id)
    return ref if is_known else version.version
