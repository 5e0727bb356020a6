"""Repositories as a whole: making, deleting, showing and hiding them.

Who may see a model is its organisation's to say. Old clients always send `private: false` when they make a repository,
and so it is no wish: a new model is private unless `visibility` is said to be `public`. In the settings the same field
is there only because somebody asked for it, and is followed.
"""

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from steelyard.server.core import models, orgs
from steelyard.server.core.access import Action
from steelyard.server.core.history import drafts
from steelyard.server.doors.calls import Call, CallHere
from steelyard.server.doors.hf.account import namespace
from steelyard.server.doors.hf.answers import json_response
from steelyard.server.doors.hf.calls import RepoPath, TokenRoute
from steelyard.server.doors.hf.errors import answer
from steelyard.server.doors.repos import Repo
from steelyard.server.errors import AlreadyExists, BadRequest
from steelyard.server.names import InvalidName, ModelName, OrgSlug

router = APIRouter(route_class=TokenRoute)

Visibility = Literal["public", "private"]


class NamedRepo(BaseModel):
    """A repository, by its name; without an organisation it is in the caller's own."""

    name: str
    organization: str | None = None
    type: str | None = None

    def read(self, own: str) -> Repo:
        """Raises `BadRequest` for what is no model, or no name of one."""
        if self.type not in (None, "model"):
            raise BadRequest(f"This server keeps models. A {self.type[:50]} cannot be made here.")
        named, slash, bare = self.name.partition("/")
        slug, name = (named, bare) if slash else (self.organization or own, self.name)
        try:
            return Repo(OrgSlug.parse_any(slug), ModelName.parse(name))
        except InvalidName as error:
            raise BadRequest(f"{error}.") from error


class NewRepo(NamedRepo):
    """A repository to be made. `private` is not looked at: see above."""

    visibility: Visibility | None = None


@router.post("/repos/create")
def create_repo(request: Request, call: CallHere, body: NewRepo) -> Response:
    """Make a model, with a first, empty commit. One that is there is 409, with its address all the same."""
    with call.write() as session:
        repo = body.read(_own(session, call))
        org = orgs.get_org_to(session, call.actor, Action.PUBLISH, repo.slug)
        there = models.find_model(session, org, repo.name)
        if there is None:
            is_public = body.visibility == "public"
            made = models.create_model(session, call.actor, org, repo.name, is_public=is_public)
            drafts.begin_main(session, call.actor, models.Found(made, org))
    if there is not None:
        error = AlreadyExists(f"You already created this model repo: {org.slug}/{there.name} is there.")
        return answer(request.scope, error, **_told(call, org.slug, there.name))
    return json_response(_told(call, org.slug, made.name))


def _own(session: Session, call: Call) -> str:
    return namespace(call.actor, orgs.list_own_orgs(session, call.actor))


def _told(call: Call, slug: str, name: str) -> dict[str, str]:
    """Clients read the repository's name from the end of `url`."""
    return {"url": call.url(f"/{slug}/{name}"), "name": f"{slug}/{name}", "id": f"{slug}/{name}"}


@router.delete("/repos/delete")
def delete_repo(call: CallHere, body: NamedRepo) -> Response:
    """Delete a model with all its versions and drafts. For owners."""
    with call.write() as session:
        repo = body.read(_own(session, call))
        found = repo.get_to(session, call.actor, Action.DELETE)
        models.delete_model(session, call.actor, found)
    return json_response({})


@router.post("/repos/move")
def move_repo() -> Response:
    """Refused: a version's name is what people pin, and numbers that were spent stay with it."""
    raise BadRequest("Models are not renamed or moved here. Make a new one, push to it, and delete the old one.")


class Settings(BaseModel):
    """What is to change. `private` is the older spelling of `visibility`."""

    visibility: Visibility | None = None
    private: bool | None = None
    gated: Literal["auto", "manual", False] | None = None

    @property
    def is_public(self) -> bool | None:
        """What was asked for; None when nothing was."""
        if self.visibility is not None:
            return self.visibility == "public"
        return None if self.private is None else not self.private


@router.put("/models/{org}/{name}/settings")
def update_repo_settings(call: CallHere, repo: RepoPath, body: Settings) -> Response:
    """Show a model to everybody, or to its organisation only. For owners."""
    if body.gated:
        raise BadRequest("Gated models are not offered here: a model is public, or for its organisation.")
    with call.write() as session:
        found = repo.get_to(session, call.actor, Action.SET_VISIBILITY)
        if body.is_public is not None:
            models.set_visibility(session, call.actor, found, is_public=body.is_public)
        is_public = found.model.is_public
    return json_response({"private": not is_public, "visibility": "public" if is_public else "private"})
