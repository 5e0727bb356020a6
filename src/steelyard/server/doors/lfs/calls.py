"""How a request of Git LFS reaches a handler: which repository it is about, and by what right."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from fastapi import Depends, Query, Request
from sqlalchemy.orm import Session

from steelyard.server.core import models
from steelyard.server.core.access import Action, Actor
from steelyard.server.core.models import Found
from steelyard.server.doors.calls import Call, CallRoute, TicketCallRoute
from steelyard.server.errors import NotFound
from steelyard.server.names import InvalidName, ModelName, OrgSlug

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
class Repo:
    """A model's name, and where its LFS server is: `/org/name.git/info/lfs`."""

    slug: OrgSlug
    name: ModelName

    @property
    def path(self) -> str:
        """Where all that Git LFS asks of this model begins."""
        return f"/{self.slug}/{self.name}.git/info/lfs"

    def subject_of(self, digest: str) -> str:
        """Bytes of this model, as the tickets of links to them name them."""
        return f"{self.slug}/{self.name.key}@{digest}"

    def get(self, session: Session, actor: Actor) -> Found:
        """The model, if the caller may see it; raises `NotFound`."""
        return models.get_model(session, actor, self.slug, self.name)

    def get_to_publish(self, session: Session, call: Call) -> Found:
        """The model, if the caller may publish there, too; raises `Forbidden` or `Unauthenticated`."""
        return models.get_model_to(session, call.actor, Action.PUBLISH, self.slug, self.name)


async def _repo(org: str, name: str) -> Repo:
    try:
        return Repo(OrgSlug.parse_any(org), ModelName.parse(name))
    except InvalidName as error:
        raise NotFound(f"There is no such model: {error}.") from error


RepoPath = Annotated[Repo, Depends(_repo)]
TicketQuery = Annotated[str, Query(max_length=2_000)]
