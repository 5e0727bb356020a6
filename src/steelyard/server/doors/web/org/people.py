"""Who belongs to an organisation: its members, and the service accounts that act for it, with their tokens."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from sqlalchemy.orm import Session

from steelyard.server.core import accounts, orgs, tokens
from steelyard.server.core.access import Action, Role
from steelyard.server.core.limits import LimitedAction
from steelyard.server.db.tables import Org
from steelyard.server.doors.web import fields
from steelyard.server.doors.web.calls import CallHere, WebCall, WebRoute
from steelyard.server.doors.web.fields import OrgPath
from steelyard.server.doors.web.frames import frame_org
from steelyard.server.doors.web.pages import url_path
from steelyard.server.doors.web.paging import PageNumber, page_of
from steelyard.server.doors.web.person.token_pages import show_secret, token_rows, wish_of
from steelyard.server.errors import NotFound
from steelyard.server.names import OrgSlug

router = APIRouter(route_class=WebRoute)
ACCOUNTS = LimitedAction.ACCOUNTS
ROLES = tuple(Role)


@dataclass(frozen=True, slots=True)
class Belonging:
    """Somebody, or a service account, and what he is in the organisation."""

    name: str
    role: str
    since: datetime
    is_viewer: bool = False


def _get_managed(session: Session, call: WebCall, slug: str) -> Org:
    return orgs.get_org_to(session, call.actor, Action.MANAGE_MEMBERS, slug)


# --- members


def _members_of(slug: str) -> str:
    return url_path(slug, "-", "members")


@router.get("/{org}/-/members")
def show_members(call: CallHere, org: OrgPath, page: PageNumber = 1) -> Response:
    """The people of an organisation."""
    with call.read() as session:
        org_row = orgs.get_org_to(session, call.actor, Action.READ_MEMBERS, org)
        found = orgs.list_members(session, org_row)
        frame = frame_org(call, org_row, "members")
    rows = [Belonging(user.username, m.role, m.added_at, user.id == call.actor.user_id) for m, user in found]
    return call.page(
        "members.html",
        title=f"Members of {org}",
        json_twin=url_path("api", "v1", "org", org, "members"),
        org=frame,
        members=page_of(rows, page),
        roles=ROLES,
        may_leave=not call.actor.read_only,
    )


@router.post("/{org}/-/members")
def add_member(call: CallHere, org: OrgPath) -> Response:
    """Let a person in."""
    username, role = fields.named(call, "username", OrgSlug.parse_any, "user name"), fields.choice(call, "role", Role)
    with call.write(ACCOUNTS) as session:
        org_row = _get_managed(session, call, org)
        orgs.add_member(session, call.actor, org_row, accounts.get_user(session, username), role)
    return call.go(_members_of(org), notice=f"{username} is a member now, as {role}.")


@router.post("/{org}/-/members/role")
def set_member_role(call: CallHere, org: OrgPath) -> Response:
    """Change a member's role."""
    username, role = fields.named(call, "username", OrgSlug.parse_any, "user name"), fields.choice(call, "role", Role)
    with call.write(ACCOUNTS) as session:
        orgs.set_member_role(session, call.actor, _get_managed(session, call, org), username, role)
    return call.go(_members_of(org), notice=f"{username} is {role} now.")


@router.post("/{org}/-/members/remove")
def remove_member(call: CallHere, org: OrgPath) -> Response:
    """Take a person out; everybody may take himself out."""
    username = fields.named(call, "username", OrgSlug.parse_any, "user name")
    with call.write(ACCOUNTS) as session:
        orgs.remove_member(session, call.actor, orgs.get_org(session, call.actor, org), username)
    if username == call.actor.name:
        return call.go("/", notice=f"You are no longer a member of {org}.")
    return call.go(_members_of(org), notice=f"{username} is no longer a member.")


# --- service accounts


async def _account_at(account: str) -> OrgSlug:
    return fields.parsed("service account", OrgSlug.parse_any, account, refusal=NotFound)


AccountPath = Annotated[OrgSlug, Depends(_account_at)]


def _accounts_of(slug: str, *account: str) -> str:
    return url_path(slug, "-", "service-accounts", *account)


@router.get("/{org}/-/service-accounts")
def show_service_accounts(call: CallHere, org: OrgPath, page: PageNumber = 1) -> Response:
    """What acts for an organisation without being anybody."""
    with call.read() as session:
        org_row = orgs.get_org_to(session, call.actor, Action.READ_MEMBERS, org)
        found = orgs.list_service_accounts(session, org_row)
        frame = frame_org(call, org_row, "service-accounts")
    return call.page(
        "service_accounts.html",
        title=f"Service accounts of {org}",
        json_twin=url_path("api", "v1", "org", org, "service-accounts"),
        org=frame,
        accounts=page_of([Belonging(row.name, row.role, row.created_at) for row in found], page),
        roles=ROLES,
    )


@router.post("/{org}/-/service-accounts")
def add_service_account(call: CallHere, org: OrgPath) -> Response:
    """Make a service account, and go on to its tokens."""
    name, role = fields.named(call, "name", OrgSlug.parse), fields.choice(call, "role", Role)
    with call.write(ACCOUNTS) as session:
        orgs.add_service_account(session, call.actor, _get_managed(session, call, org), name, role)
    return call.go(_accounts_of(org, name), notice=f"{name} is there. Make a token for whatever acts as it.")


@router.get("/{org}/-/service-accounts/{account}")
def show_service_account(call: CallHere, org: OrgPath, account: AccountPath, page: PageNumber = 1) -> Response:
    """One service account, and its tokens."""
    with call.read() as session:
        org_row = orgs.get_org_to(session, call.actor, Action.READ_TOKENS, org)
        row = orgs.get_service_account(session, org_row, account)
        rows = token_rows(call, tokens.list_service_tokens(session, row))
        shown = Belonging(row.name, row.role, row.created_at)
        frame = frame_org(call, org_row, "service-accounts")
    return call.page(
        "service_account.html",
        title=f"Service account {account} of {org}",
        json_twin=url_path("api", "v1", "org", org, "service-accounts", account, "api-keys"),
        org=frame,
        account=shown,
        tokens=page_of(rows, page),
        roles=ROLES,
    )


@router.post("/{org}/-/service-accounts/{account}/role")
def set_service_account_role(call: CallHere, org: OrgPath, account: AccountPath) -> Response:
    """Change a service account's role."""
    role = fields.choice(call, "role", Role)
    with call.write(ACCOUNTS) as session:
        orgs.set_service_account_role(session, call.actor, _get_managed(session, call, org), account, role)
    return call.go(_accounts_of(org, account), notice=f"{account} is {role} now.")


@router.post("/{org}/-/service-accounts/{account}/remove")
def remove_service_account(call: CallHere, org: OrgPath, account: AccountPath) -> Response:
    """Remove a service account with its tokens."""
    with call.write(ACCOUNTS) as session:
        orgs.remove_service_account(session, call.actor, _get_managed(session, call, org), account)
    return call.go(_accounts_of(org), notice=f"{account} is removed, and its tokens open nothing any more.")


@router.post("/{org}/-/service-accounts/{account}/tokens")
def create_service_token(call: CallHere, org: OrgPath, account: AccountPath) -> Response:
    """Make a token of a service account, and show its secret this once."""
    wish = wish_of(call)
    with call.write(ACCOUNTS) as session:
        org_row = _get_managed(session, call, org)
        made = orgs.create_service_token(session, call.actor, org_row, account, wish)
    return show_secret(call, made, whose=f"the service account {org}/{account}", back=_accounts_of(org, account))


@router.post("/{org}/-/service-accounts/{account}/tokens/revoke")
def revoke_service_token(call: CallHere, org: OrgPath, account: AccountPath) -> Response:
    """Revoke a token of a service account."""
    with call.write(ACCOUNTS) as session:
        org_row = _get_managed(session, call, org)
        orgs.revoke_service_token(session, call.actor, org_row, account, fields.uuid(call, "token"))
    return call.go(_accounts_of(org, account), notice="The token is revoked.")
