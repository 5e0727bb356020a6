"""How a request of a container tool reaches a handler: which repository it is about, and by what right."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from steelyard.server.context import Registry
from steelyard.server.core import models, orgs
from steelyard.server.core.access import Action, Actor, may
from steelyard.server.core.models import Found
from steelyard.server.core.tickets import Ticket
from steelyard.server.db.tables import Org
from steelyard.server.doors.calls import ANONYMOUS, Call, CallRoute, acting_by, call_by
from steelyard.server.doors.credentials import read_secret
from steelyard.server.doors.oci.errors import InsufficientScope, InvalidToken, NameInvalid, NameUnknown
from steelyard.server.doors.repos import Repo
from steelyard.server.doors.turns import at_the_database
from steelyard.server.errors import NotFound, Unauthenticated
from steelyard.server.names import InvalidName, ModelName, OrgSlug

LONGEST_TICKET = 8_000  # one for many repositories is longer than any API token


class OciRoute(CallRoute):
    """A route at `/v2`: by an API token, or by a token that `/token` gave for some repositories."""

    admits_anonymous: ClassVar[bool] = True

    async def open_call(self, request: Request) -> Call:
        """Who calls. Raises `Unauthenticated`, also for a token that was not given for this, and `Forbidden` or
        `NameUnknown` where no token could be."""
        ticket = find_ticket(request)
        request.state.scopes = None if ticket is None else read_scopes(ticket.span or "")
        if ticket is None:
            return knowing_who_writes(request, await super().open_call(request))
        within_seconds: float = request.app.state.registry.settings.database_timeout_seconds
        return await at_the_database(partial(_call_of_ticket, request, ticket), within_seconds=within_seconds)


def knowing_who_writes(request: Request, call: Call) -> Call:
    """The call, if it only reads or somebody in particular makes it. Raises `Unauthenticated` before a body is read."""
    if call.actor.is_anonymous and request.method not in ("GET", "HEAD"):
        raise Unauthenticated("Authentication failed: this takes a token, as the password of any user or as a Bearer.")
    return call


Scopes = dict[str, frozenset[str]]
"""`org/name`, in lower case -> what may be done there, of `pull`, `push` and `delete`."""


def read_scopes(text: str) -> Scopes:
    """What a token was given for, as its ticket has it: `org/name:pull,push`, separated by spaces."""
    pairs = (scope.rpartition(":") for scope in text.split())
    return {name: frozenset(actions.split(",")) for name, _, actions in pairs}


def write_scopes(scopes: Scopes) -> str:
    """The same, as `read_scopes` reads it."""
    return " ".join(f"{name}:{','.join(sorted(actions))}" for name, actions in scopes.items())


def has_token(request: Request) -> bool:
    """Whether a token of `/token` came with a request, be it one that was given to nobody in particular."""
    return request.state.scopes is not None


def is_scoped(request: Request) -> bool:
    """Whether the token that came with a request was given for some repositories only."""
    return getattr(request.state, "scopes", None) is not None


def may_pull_from(request: Request, name: str) -> bool:
    """Whether the token that came with a request reaches this other repository; what its holder may is not asked."""
    scopes: Scopes | None = getattr(request.state, "scopes", None)
    return scopes is None or "pull" in scopes.get(name.lower(), ())


def find_ticket(request: Request) -> Ticket | None:
    """What `/token` gave, if that is what came. Raises `InvalidToken` for a ticket that is another door's, or past its
    end: tools ask for a new one then."""
    registry: Registry = request.app.state.registry
    secret = read_secret(request.headers, longest=LONGEST_TICKET)
    if secret is None or not registry.tickets.has_signed(secret):
        return None
    ticket = registry.tickets.check(secret, refusal=InvalidToken)
    if ticket.purpose != "oci":
        raise InvalidToken("This token is for something else. Ask `/token` for another one.")
    return ticket


def _call_of_ticket(request: Request, ticket: Ticket) -> Call:
    registry: Registry = request.app.state.registry
    call = call_by(request, ANONYMOUS)
    with registry.database.read() as session:
        call = acting_by(session, call, ticket, request)
        _check_scope(session, call.actor, request)
    return call


_NEEDS: Mapping[str, str] = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}


def _check_scope(session: Session, actor: Actor, request: Request) -> None:
    """Raise `InsufficientScope` where a token with more in it would do, which tools ask for then. Where its holder may
    not himself, raise what he is told with his own token: they would ask for ever."""
    parameters = request.path_params
    if "org" not in parameters or "name" not in parameters:
        return
    name = f"{parameters['org']}/{parameters['name']}".lower()
    repo = find_repo(name)
    needed = "push" if "/blobs/uploads/" in request.url.path else _NEEDS.get(request.method, "push")
    if repo is None or needed in request.state.scopes.get(name, ()):
        return
    if not actor.is_anonymous and needed not in rights_at(session, actor, repo):
        repo.get(session, actor) if needed == "pull" else repo.get_org_to_push(session, actor)
    raise InsufficientScope("This token was not given for that. Ask `/token` for one with the scope of the challenge.")


@dataclass(frozen=True, slots=True)
class OciRepo(Repo):
    """A repository: a model by its name, and where the door has it, `/v2` or `/api/v1`."""

    base: str

    @classmethod
    async def of_request(cls, request: Request, org: str, name: str) -> "OciRepo":
        """The one that a path names. Raises `NameInvalid`."""
        base = "/v2" if request.url.path.startswith("/v2/") else "/api/v1"
        try:
            return cls(OrgSlug.parse_any(org), ModelName.parse(name), base)
        except InvalidName as error:
            raise NameInvalid(f"There is no such repository: {error}. Repositories here are `org/model`.") from error

    @property
    def path(self) -> str:
        """Where all that is asked of this repository begins."""
        return f"{self.base}/{self.slug}/{self.name}"

    def get(self, session: Session, actor: Actor) -> Found:
        """The model, if the caller may see it. Raises `NameUnknown`, and `Unauthenticated` for nobody in particular:
        tools send what they have once they are asked."""
        try:
            return models.get_model(session, actor, self.slug, self.name)
        except NotFound as error:
            raise _unknown(actor, error) from error

    def find(self, session: Session, actor: Actor) -> Found | None:
        """The model, if the caller may see it."""
        try:
            return models.get_model(session, actor, self.slug, self.name)
        except NotFound:
            return None

    def get_org_to_push(self, session: Session, actor: Actor) -> Org:
        """The organisation, if the caller may publish there: the model need not be there yet. Raises `NameUnknown`,
        `Forbidden` or `Unauthenticated`."""
        try:
            return orgs.get_org_to(session, actor, Action.PUBLISH, self.slug)
        except NotFound as error:
            raise _unknown(actor, error) from error

    def find_org(self, session: Session, actor: Actor) -> Org | None:
        """The organisation, if the caller may see it."""
        try:
            return orgs.get_org(session, actor, self.slug)
        except NotFound:
            return None


def _unknown(actor: Actor, error: NotFound) -> NotFound | Unauthenticated:
    return Unauthenticated(error.detail) if actor.is_anonymous else NameUnknown(error.detail)


RepoPath = Annotated[OciRepo, Depends(OciRepo.of_request)]


def find_repo(name: str) -> OciRepo | None:
    """The repository at `/v2` that a scope or a query names, if one can have this name."""
    org, _, model = name.partition("/")
    try:
        return OciRepo(OrgSlug.parse_any(org), ModelName.parse(model), "/v2")
    except InvalidName:
        return None


def rights_at(session: Session, actor: Actor, repo: OciRepo) -> frozenset[str]:
    """What of a repository the caller may, as scopes name it. It need not be there for those who may push to it; who
    may delete what in it is asked when it is done."""
    org = repo.find_org(session, actor)
    if org is not None and may(actor, Action.PUBLISH, org.id):
        return frozenset({"pull", "push", "delete"})
    return frozenset({"pull"} if repo.find(session, actor) else ())
