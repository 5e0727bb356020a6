"""Models as the Hub's clients and Git LFS write them, `org/name`: where a path leads, for whoever calls."""

from dataclasses import dataclass
from typing import Self

from sqlalchemy.orm import Session

from steelyard.server.core import models
from steelyard.server.core.access import Action, Actor
from steelyard.server.core.models import Found
from steelyard.server.errors import NotFound
from steelyard.server.names import InvalidName, ModelName, OrgSlug


@dataclass(frozen=True, slots=True)
class Repo:
    """A model's name."""

    slug: OrgSlug
    name: ModelName

    @classmethod
    async def at_path(cls, org: str, name: str) -> Self:
        """The one that a path names. Raises `NotFound` for what cannot be a model's name: nothing is there."""
        try:
            return cls(OrgSlug.parse_any(org), ModelName.parse(name))
        except InvalidName as error:
            raise NotFound(f"There is no such model: {error}.") from error

    def get(self, session: Session, actor: Actor) -> Found:
        """The model, if the caller may see it; raises `NotFound`."""
        return models.get_model(session, actor, self.slug, self.name)

    def get_to(self, session: Session, actor: Actor, action: Action) -> Found:
        """The model, if the caller may do that to it, too; raises `Forbidden` or `Unauthenticated`."""
        return models.get_model_to(session, actor, action, self.slug, self.name)
