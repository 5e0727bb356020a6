"""How a request of Git LFS reaches a handler: which repository it is about, and by what right."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from fastapi import Depends, Query, Request

from steelyard.server.doors.calls import CallRoute, TicketCallRoute
from steelyard.server.doors.repos import Repo

MOST_BODY_BYTES = 2 * 2**20  # ten thousand parts, each with the store's name of it


class LfsRoute(CallRoute):
    """A route that an operator may open to callers without a token: it shows nothing but public models to them."""

    admits_anonymous: ClassVar[bool] = True

    def most_body_bytes(self, request: Request) -> int:
        """A thousand objects, or the parts of one."""
        return min(MOST_BODY_BYTES, super().most_body_bytes(request))


class LinkRoute(TicketCallRoute):
    """A route behind a link that we signed."""

    def most_body_bytes(self, request: Request) -> int:
        """Of those that read JSON."""
        return min(MOST_BODY_BYTES, super().most_body_bytes(request))


@dataclass(frozen=True, slots=True)
class LfsRepo(Repo):
    """A model's name, and where its LFS server is: `/org/name.git/info/lfs`."""

    @property
    def path(self) -> str:
        """Where all that Git LFS asks of this model begins."""
        return f"/{self.slug}/{self.name}.git/info/lfs"

    def subject_of(self, digest: str) -> str:
        """Bytes of this model, as the tickets of links to them name them."""
        return f"{self.slug}/{self.name.key}@{digest}"


RepoPath = Annotated[LfsRepo, Depends(LfsRepo.at_path)]
TicketQuery = Annotated[str, Query(max_length=2_000)]
