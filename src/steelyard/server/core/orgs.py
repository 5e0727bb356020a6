"""Organisations, their members and their service accounts. An organisation always keeps one owner."""

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from steelyard.server.core import tokens
from steelyard.server.core.access import Action, Actor, Role, allow, allow_administering, allow_writing, org_visible_to
from steelyard.server.core.audit import record
from steelyard.server.core.tokens import NewToken, TokenWish
from steelyard.server.db.tables import Member, Org, ServiceAccount, Token, User
from steelyard.server.errors import AlreadyExists, Conflict, Forbidden, NotFound
from steelyard.server.names import OrgSlug


def get_org(session: Session, actor: Actor, slug: str) -> Org:
    """The organisation, if the caller may see it; raises `NotFound` alike for a hidden and a missing one."""
    org = session.scalar(select(Org).where(Org.slug == slug, org_visible_to(actor)))
    if org is None:
        raise NotFound(f"There is no organisation '{slug}', or you may not see it.")
    return org


def get_org_by_id(session: Session, org_id: int) -> Org:
    """The organisation of a row that names it."""
    return session.get_one(Org, org_id)


def get_org_to(session: Session, actor: Actor, action: Action, slug: str) -> Org:
    """The organisation, if the caller may see it and do this there; raises `NotFound` or `Forbidden`."""
    org = get_org(session, actor, slug)
    allow(actor, action, org.id)
    return org


def list_own_orgs(session: Session, actor: Actor) -> list[Org]:
    """The organisations that the caller is a member of, by slug."""
    return list(session.scalars(select(Org).where(Org.id.in_(actor.roles)).order_by(Org.slug)))


def create_org(session: Session, actor: Actor, slug: OrgSlug, name: str | None, owner: User) -> Org:
    """Make an organisation with its first owner. For instance admins. Raises `AlreadyExists`."""
    allow_administering(actor)
    org = add_org(session, slug=slug, name=name or slug, owner=owner)
    record(session, actor, "org.create", slug, org_id=org.id, owner=owner.username)
    return org


def add_org(session: Session, *, slug: str, name: str, owner: User) -> Org:
    """The rows of a new organisation. Raises `AlreadyExists`."""
    if session.scalar(select(Org.id).where(Org.slug == slug)) is not None:
        raise AlreadyExists(f"The name '{slug}' is taken by another organisation.")
    org = Org(slug=slug, name=name)
    session.add(org)
    session.flush()
    session.add(Member(org_id=org.id, user_id=owner.id, role=Role.OWNER))
    session.flush()
    return org


# --- members


def list_members(session: Session, org: Org) -> list[tuple[Member, User]]:
    """The people of an organisation, by name."""
    query = select(Member, User).join(User, Member.user_id == User.id).where(Member.org_id == org.id)
    return [(member, user) for member, user in session.execute(query.order_by(User.username))]


def get_member(session: Session, org: Org, username: str) -> tuple[Member, User]:
    """One person of an organisation; raises `NotFound`."""
    found = next((pair for pair in list_members(session, org) if pair[1].username == username), None)
    if found is None:
        raise NotFound(f"'{username}' is not a member of '{org.slug}'.")
    return found


def add_member(session: Session, actor: Actor, org: Org, user: User, role: Role) -> Member:
    """Let a person in. Raises `AlreadyExists` when he is in."""
    if session.get(Member, (org.id, user.id)) is not None:
        raise AlreadyExists(f"'{user.username}' is a member of '{org.slug}' already; change his role instead.")
    member = Member(org_id=org.id, user_id=user.id, role=role)
    session.add(member)
    session.flush()
    record(session, actor, "member.add", user.username, org_id=org.id, role=role)
    return member


def set_member_role(session: Session, actor: Actor, org: Org, username: str, role: Role) -> tuple[Member, User]:
    """Change a member's role. Raises `Conflict` for the last owner."""
    member, user = get_member(session, org, username)
    before, member.role = member.role, role
    _keep_an_owner(session, org)
    record(session, actor, "member.role", username, org_id=org.id, before=before, after=role)
    return member, user


def remove_member(session: Session, actor: Actor, org: Org, username: str) -> None:
    """Take a person out; everybody may take himself out. Raises `Conflict` for the last owner."""
    if username == actor.name and actor.user_id is not None and actor.role_in(org.id):
        allow_writing(actor)
    else:
        allow(actor, Action.MANAGE_MEMBERS, org.id)
    member, _ = get_member(session, org, username)
    session.delete(member)
    _keep_an_owner(session, org)
    record(session, actor, "member.remove", username, org_id=org.id)


def _keep_an_owner(session: Session, org: Org) -> None:
    session.flush()
    owners = select(func.count()).select_from(Member).join(User, User.id == Member.user_id)
    owners = owners.where(Member.org_id == org.id, Member.role == Role.OWNER, User.disabled_at.is_(None))
    if not session.scalar(owners):
        raise Conflict(f"'{org.slug}' would have no owner who can act. Make somebody else an owner first.")


# --- service accounts


def list_service_accounts(session: Session, org: Org) -> list[ServiceAccount]:
    """The service accounts of an organisation, by name."""
    query = select(ServiceAccount).where(ServiceAccount.org_id == org.id)
    return list(session.scalars(query.order_by(ServiceAccount.name)))


def get_service_account(session: Session, org: Org, name: str) -> ServiceAccount:
    """One service account; raises `NotFound`."""
    query = select(ServiceAccount).where(ServiceAccount.org_id == org.id, ServiceAccount.name == name)
    account = session.scalar(query)
    if account is None:
        raise NotFound(f"'{org.slug}' has no service account '{name}'.")
    return account


def add_service_account(session: Session, actor: Actor, org: Org, name: str, role: Role) -> ServiceAccount:
    """Make a service account, without a token yet. Raises `AlreadyExists`."""
    taken = select(ServiceAccount.id).where(ServiceAccount.org_id == org.id, ServiceAccount.name == name)
    if session.scalar(taken) is not None:
        raise AlreadyExists(f"'{org.slug}' has a service account '{name}' already.")
    account = ServiceAccount(org_id=org.id, name=name, role=role)
    session.add(account)
    session.flush()
    record(session, actor, "service_account.add", name, org_id=org.id, role=role)
    return account


def set_service_account_role(session: Session, actor: Actor, org: Org, name: str, role: Role) -> ServiceAccount:
    """Change a service account's role."""
    account = get_service_account(session, org, name)
    before, account.role = account.role, role
    record(session, actor, "service_account.role", name, org_id=org.id, before=before, after=role)
    return account


def remove_service_account(session: Session, actor: Actor, org: Org, name: str) -> None:
    """Remove a service account and all its tokens."""
    account = get_service_account(session, org, name)
    session.execute(delete(Token).where(Token.service_account_id == account.id))
    session.delete(account)
    record(session, actor, "service_account.remove", name, org_id=org.id)


def create_service_token(session: Session, actor: Actor, org: Org, name: str, wish: TokenWish) -> NewToken:
    """Make a token of a service account. Made with a token that expires, it may not live longer."""
    account = get_service_account(session, org, name)
    tokens.check_expiry(wish.expires_at)
    if actor.expires_at is not None and (wish.expires_at is None or wish.expires_at > actor.expires_at):
        raise Forbidden("Your token expires and cannot make a longer-lived one. Name an `expires_at` before its end.")
    made = tokens.issue(
        session, account, name=wish.name, org_id=org.id, access=wish.access or "write", expires_at=wish.expires_at
    )
    record(
        session, actor, "token.create", f"service:{org.slug}/{name}/{made.token.uuid}", org_id=org.id, name=wish.name
    )
    return made


def revoke_service_token(session: Session, actor: Actor, org: Org, name: str, token_uuid: str) -> None:
    """Revoke a token of a service account; raises `NotFound`."""
    account = get_service_account(session, org, name)
    query = select(Token).where(Token.uuid == token_uuid, Token.service_account_id == account.id)
    token = session.scalar(query.where(Token.revoked_at.is_(None)))
    if token is None:
        raise NotFound(f"The service account '{name}' has no such token, or it is revoked already.")
    tokens.revoke(session, actor, token, target=f"service:{org.slug}/{name}/{token_uuid}", org_id=org.id)
