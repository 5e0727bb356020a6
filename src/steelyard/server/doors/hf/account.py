"""What is asked about no repository: who calls, whether a model card reads well; and what clients send along."""

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from steelyard.server.core import tokens
from steelyard.server.core.access import Actor, Role
from steelyard.server.core.files import cards
from steelyard.server.core.orgs import list_own_orgs
from steelyard.server.db.tables import Org, User
from steelyard.server.doors.calls import CallHere
from steelyard.server.doors.hf.answers import Json, json_response, moment
from steelyard.server.doors.hf.calls import HubRoute, TokenRoute
from steelyard.server.doors.hf.errors import answer
from steelyard.server.errors import BadRequest

router = APIRouter(route_class=TokenRoute)
cards_router = APIRouter(route_class=HubRoute)
open_to_all = APIRouter()

_ROLES = {Role.READER: "read", Role.CONTRIBUTOR: "write", Role.OWNER: "admin"}


@router.get("/whoami-v2")
def get_whoami(call: CallHere) -> Response:
    """Get who is calling, by the name under which his repositories are made where he names no organisation."""
    with call.read() as session:
        return json_response(_identity(session, call.actor))


def _identity(session: Session, actor: Actor) -> Json:
    own = list_own_orgs(session, actor)
    user = session.get(User, actor.user_id) if actor.user_id is not None else None
    token = tokens.get_token_of(session, actor)
    return {
        "type": "user",
        "id": actor.principal.partition(":")[2],
        "name": namespace(actor, own),
        "fullname": actor.name,
        "email": user.email_address if user else None,
        "emailVerified": False,
        "canPay": False,
        "isPro": False,
        "orgs": [_org_item(actor, org) for org in own if user is None or org.slug != user.username],
        "auth": {
            "type": "access_token",
            "accessToken": {
                "displayName": token.name,
                "role": "read" if actor.read_only else "write",
                "createdAt": moment(token.created_at),
            },
        },
    }


def namespace(actor: Actor, own: list[Org]) -> str:
    """The organisation that a bare name is meant in: a person's own. Who acts in one other alone, a service account or
    by a token narrowed to it, means that one."""
    slugs = [org.slug for org in own]
    return actor.name if actor.name in slugs or not slugs else slugs[0]


def _org_item(actor: Actor, org: Org) -> Json:
    role = actor.role_in(org.id) or Role.READER
    return {"type": "org", "id": org.uuid, "name": org.slug, "fullname": org.name, "roleInOrg": _ROLES[role]}


class CardToCheck(BaseModel):
    """A README before it is sent."""

    content: str


@cards_router.post("/validate-yaml")
def check_card(request: Request, _call: CallHere, body: CardToCheck) -> Response:
    """Tell whether a model card can be read, before it is sent."""
    if fault := cards.find_fault(body.content.encode("utf-8", "replace")):
        return answer(request.scope, BadRequest(fault), errors=[{"message": fault}], warnings=[])
    return json_response({"errors": [], "warnings": []})


@open_to_all.head("/telemetry/{topic:path}")
@open_to_all.get("/telemetry/{topic:path}")
async def ignore_telemetry(topic: str) -> Response:
    """Libraries say here that they are in use. Nobody listens."""
    return Response()
