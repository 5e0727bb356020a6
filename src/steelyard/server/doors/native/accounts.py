"""Around the models: users, tokens, organisations, members, service accounts, audit (contract section 6)."""

from typing import Annotated

from fastapi import APIRouter, Query

from steelyard.server.core import accounts, audit, orgs, sessions, tokens
from steelyard.server.core.access import Action, Role, allow_administering
from steelyard.server.core.audit import AuditFilter
from steelyard.server.core.limits import LimitedAction
from steelyard.server.core.tokens import TokenWish
from steelyard.server.db.tables import Member, User
from steelyard.server.doors.calls import CallHere
from steelyard.server.doors.native import answers
from steelyard.server.doors.native import schemas as s
from steelyard.server.doors.native.calls import NativeRoute
from steelyard.server.doors.native.documentation import NO_CONTENT, errors
from steelyard.server.doors.native.parameters import (
    Cursor,
    Limit200,
    Moment,
    OrgPath,
    SearchText,
    ServicePath,
    UserPath,
    UuidPath,
)
from steelyard.server.doors.wishes import NO_NUL

router = APIRouter(route_class=NativeRoute, responses=errors())
ACCOUNTS = LimitedAction.ACCOUNTS


# --- the caller


@router.get("/user", tags=["user"])
def get_user(call: CallHere) -> s.CurrentUser:
    """Get who is calling."""
    with call.read() as session:
        user = session.get(User, call.actor.user_id) if call.actor.user_id is not None else None
    email = user.email_address if user else None
    principal = call.actor.principal.partition(":")[2]
    return s.CurrentUser(id=principal, email_address=email, username=call.actor.name)


@router.get("/user/organizations", tags=["user"])
def list_user_organizations(call: CallHere) -> list[s.Organization]:
    """List the organizations that the caller is a member of."""
    with call.read() as session:
        return [answers.organization(org) for org in orgs.list_own_orgs(session, call.actor)]


@router.post("/user/api-keys", tags=["user"], status_code=201)
def create_api_key(call: CallHere, body: s.NewApiKey) -> s.CreatedApiKey:
    """Make a token that may do no more than the one that asks. Its secret is shown this once."""
    with call.write(ACCOUNTS) as session:
        org = orgs.get_org(session, call.actor, body.org) if body.org else None
        wish = TokenWish(body.name, org, body.access, body.expires_at)
        made = tokens.create_own_token(session, call.actor, wish)
        held_to = orgs.get_org_by_id(session, made.token.org_id) if made.token.org_id is not None else None
        return answers.created_api_key(made.token, held_to, made.secret)


@router.get("/user/api-keys", tags=["user"])
def list_api_keys(call: CallHere) -> s.ApiKeyList:
    """List the caller's live tokens, without their secrets."""
    with call.read() as session:
        rows = tokens.list_own_tokens(session, call.actor)
    return s.ApiKeyList(api_keys=[answers.api_key(token, org) for token, org in rows])


@router.delete("/user/api-keys/{key_id}", tags=["user"], **NO_CONTENT)
def revoke_api_key(call: CallHere, key_id: UuidPath) -> None:
    """Revoke one of the caller's tokens."""
    with call.write(ACCOUNTS) as session:
        tokens.revoke_own_token(session, call.actor, key_id)


@router.get("/user/sessions", tags=["user"])
def list_sessions(call: CallHere) -> s.SessionList:
    """List the browsers that the caller is signed in to the web pages with."""
    with call.read() as session:
        return s.SessionList(sessions=[answers.session_item(row) for row in sessions.list_own(session, call.actor)])


@router.delete("/user/sessions", tags=["user"], **NO_CONTENT)
def end_sessions(call: CallHere) -> None:
    """Sign the caller out of the web pages everywhere."""
    with call.write(ACCOUNTS) as session:
        sessions.end_all(session, call.actor)


@router.delete("/user/sessions/{session_id}", tags=["user"], **NO_CONTENT)
def end_session(call: CallHere, session_id: UuidPath) -> None:
    """Sign the caller out of one browser."""
    with call.write(ACCOUNTS) as session:
        sessions.end(session, call.actor, session_id)


# --- users


@router.post("/users", tags=["users"], status_code=201)
def create_user(call: CallHere, body: s.NewUser) -> s.CreatedUser:
    """Make a user, his organization, and his first token, shown this once. For instance admins."""
    with call.write(ACCOUNTS) as session:
        user, made = accounts.create_user(session, call.actor, body.username, body.email_address)
        return s.CreatedUser(**answers.user_item(user).model_dump(), key=made.secret)


@router.get("/users", tags=["users"])
def list_users(call: CallHere, limit: Limit200 = 50, cursor: Cursor = None) -> s.UserPage:
    """List users. For instance admins."""
    with call.read(LimitedAction.SEARCH) as session:
        rows = accounts.list_users(session, call.actor, limit=limit, after_id=int(cursor) if cursor else None)
    following = answers.next_cursor(rows, limit, rows[-1].id if rows else None)
    return s.UserPage(users=[answers.user_item(user) for user in rows], next_cursor=following)


@router.patch("/users/{username}", tags=["users"])
def update_user(call: CallHere, username: UserPath, body: s.UserUpdate) -> s.UserItem:
    """Disable or enable a user, or make him an instance admin or not. For instance admins."""
    with call.write(ACCOUNTS) as session:
        user = accounts.set_user(session, call.actor, username, disabled=body.disabled, is_admin=body.is_admin)
        return answers.user_item(user)


@router.post("/users/{username}/api-keys", tags=["users"], status_code=201)
def create_user_api_key(call: CallHere, username: UserPath) -> s.CreatedApiKey:
    """Make a token for a user who lost his. For instance admins."""
    with call.write(ACCOUNTS) as session:
        made = accounts.create_token_for(session, call.actor, username)
        return answers.created_api_key(made.token, None, made.secret)


# --- organisations


@router.post("/orgs", tags=["organizations"], status_code=201)
def create_org(call: CallHere, body: s.NewOrganization) -> s.Organization:
    """Make an organization. For instance admins."""
    with call.write(ACCOUNTS) as session:
        allow_administering(call.actor)
        owner = accounts.get_user(session, body.owner or call.actor.name)
        return answers.organization(orgs.create_org(session, call.actor, body.key, body.name, owner))


@router.get("/org/{org}", tags=["organizations"])
def get_org(call: CallHere, org: OrgPath) -> s.Organization:
    """Get an organization."""
    with call.read() as session:
        return answers.organization(orgs.get_org(session, call.actor, org))


@router.get("/org/{org}/members", tags=["organizations"])
def list_members(call: CallHere, org: OrgPath) -> s.MemberList:
    """List the people of an organization. For members."""
    with call.read() as session:
        org_row = orgs.get_org_to(session, call.actor, Action.READ_MEMBERS, org)
        rows = orgs.list_members(session, org_row)
    return s.MemberList(members=[_member(user.username, m.role, m) for m, user in rows])


def _member(username: str, role: str, member: Member) -> s.MemberItem:
    return s.MemberItem(username=username, role=Role(role), added_at=member.added_at)


@router.post("/org/{org}/members", tags=["organizations"], status_code=201)
def add_member(call: CallHere, org: OrgPath, body: s.NewMember) -> s.MemberItem:
    """Let a person in. For owners."""
    with call.write(ACCOUNTS) as session:
        org_row = orgs.get_org_to(session, call.actor, Action.MANAGE_MEMBERS, org)
        user = accounts.get_user(session, body.username)
        member = orgs.add_member(session, call.actor, org_row, user, body.role)
        return _member(user.username, member.role, member)


@router.patch("/org/{org}/members/{username}", tags=["organizations"])
def set_member_role(call: CallHere, org: OrgPath, username: UserPath, body: s.RoleUpdate) -> s.MemberItem:
    """Change a member's role. For owners."""
    with call.write(ACCOUNTS) as session:
        org_row = orgs.get_org_to(session, call.actor, Action.MANAGE_MEMBERS, org)
        member, user = orgs.set_member_role(session, call.actor, org_row, username, body.role)
        return _member(user.username, member.role, member)


@router.delete("/org/{org}/members/{username}", tags=["organizations"], **NO_CONTENT)
def remove_member(call: CallHere, org: OrgPath, username: UserPath) -> None:
    """Take a person out. For owners; everybody may take himself out."""
    with call.write(ACCOUNTS) as session:
        orgs.remove_member(session, call.actor, orgs.get_org(session, call.actor, org), username)


# --- service accounts


@router.get("/org/{org}/service-accounts", tags=["organizations"])
def list_service_accounts(call: CallHere, org: OrgPath) -> s.ServiceAccountList:
    """List service accounts. For members."""
    with call.read() as session:
        org_row = orgs.get_org_to(session, call.actor, Action.READ_MEMBERS, org)
        rows = orgs.list_service_accounts(session, org_row)
    return s.ServiceAccountList(service_accounts=[answers.service_account(row) for row in rows])


@router.post("/org/{org}/service-accounts", tags=["organizations"], status_code=201)
def add_service_account(call: CallHere, org: OrgPath, body: s.NewServiceAccount) -> s.ServiceAccountItem:
    """Make a service account. For owners."""
    with call.write(ACCOUNTS) as session:
        org_row = orgs.get_org_to(session, call.actor, Action.MANAGE_MEMBERS, org)
        return answers.service_account(orgs.add_service_account(session, call.actor, org_row, body.name, body.role))


@router.patch("/org/{org}/service-accounts/{account}", tags=["organizations"])
def set_service_account_role(
    call: CallHere, org: OrgPath, account: ServicePath, body: s.RoleUpdate
) -> s.ServiceAccountItem:
    """Change a service account's role. For owners."""
    with call.write(ACCOUNTS) as session:
        org_row = orgs.get_org_to(session, call.actor, Action.MANAGE_MEMBERS, org)
        return answers.service_account(orgs.set_service_account_role(session, call.actor, org_row, account, body.role))


@router.delete("/org/{org}/service-accounts/{account}", tags=["organizations"], **NO_CONTENT)
def remove_service_account(call: CallHere, org: OrgPath, account: ServicePath) -> None:
    """Remove a service account with its tokens. For owners."""
    with call.write(ACCOUNTS) as session:
        org_row = orgs.get_org_to(session, call.actor, Action.MANAGE_MEMBERS, org)
        orgs.remove_service_account(session, call.actor, org_row, account)


@router.post("/org/{org}/service-accounts/{account}/api-keys", tags=["organizations"], status_code=201)
def create_service_token(call: CallHere, org: OrgPath, account: ServicePath, body: s.NewServiceKey) -> s.CreatedApiKey:
    """Make a token of a service account. Its secret is shown this once. For owners."""
    with call.write(ACCOUNTS) as session:
        org_row = orgs.get_org_to(session, call.actor, Action.MANAGE_MEMBERS, org)
        wish = TokenWish(body.name, None, body.access, body.expires_at)
        made = orgs.create_service_token(session, call.actor, org_row, account, wish)
        return answers.created_api_key(made.token, org_row, made.secret)


@router.get("/org/{org}/service-accounts/{account}/api-keys", tags=["organizations"])
def list_service_tokens(call: CallHere, org: OrgPath, account: ServicePath) -> s.ApiKeyList:
    """List the live tokens of a service account. For owners."""
    with call.read() as session:
        org_row = orgs.get_org_to(session, call.actor, Action.READ_TOKENS, org)
        rows = tokens.list_service_tokens(session, orgs.get_service_account(session, org_row, account))
    return s.ApiKeyList(api_keys=[answers.api_key(token, held) for token, held in rows])


@router.delete("/org/{org}/service-accounts/{account}/api-keys/{key_id}", tags=["organizations"], **NO_CONTENT)
def revoke_service_token(call: CallHere, org: OrgPath, account: ServicePath, key_id: UuidPath) -> None:
    """Revoke a token of a service account. For owners."""
    with call.write(ACCOUNTS) as session:
        org_row = orgs.get_org_to(session, call.actor, Action.MANAGE_MEMBERS, org)
        orgs.revoke_service_token(session, call.actor, org_row, account, key_id)


# --- audit


@router.get("/org/{org}/audit", tags=["organizations"])
def list_audit_events(
    call: CallHere,
    org: OrgPath,
    action: SearchText = None,
    actor: SearchText = None,
    target: Annotated[str | None, Query(max_length=400, pattern=NO_NUL)] = None,
    since: Moment | None = None,
    until: Moment | None = None,
    limit: Limit200 = 50,
    cursor: Cursor = None,
) -> s.AuditPage:
    """List who did what, when, and from where, newest first. For owners."""
    wanted = AuditFilter(action, actor, target, since, until)
    with call.read(LimitedAction.SEARCH) as session:
        org_row = orgs.get_org_to(session, call.actor, Action.READ_AUDIT, org)
        rows = audit.list_events(session, org_row.id, wanted, limit=limit, before_id=int(cursor) if cursor else None)
    following = answers.next_cursor(rows, limit, rows[-1].id if rows else None)
    return s.AuditPage(events=[answers.audit_item(row) for row in rows], next_cursor=following)
