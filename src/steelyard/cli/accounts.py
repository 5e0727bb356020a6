"""`steelyard user`, `org`, `member`: who there is and who belongs where."""

from typing import TYPE_CHECKING

import click

from steelyard.cli.console import as_dict
from steelyard.cli.session import ROLES, Session, connected
from steelyard.cli.tokens import show_new_token

if TYPE_CHECKING:
    from steelyard.client.types import UserAccount


@click.group()
def user() -> None:
    """Users of the instance (for its admins), and who you are."""


@user.command("show")
@connected
def show_user(session: Session) -> None:
    """Show whose token this is."""
    me = session.client.get_user()
    session.console.show(
        as_dict(me), lambda: session.console.fields({"username": me.username, "email": me.email_address, "id": me.id})
    )


@user.command("create")
@click.argument("username")
@click.option("--email", metavar="ADDRESS", help="His e-mail address.")
@connected
def create_user(session: Session, username: str, email: str | None) -> None:
    """Make a user, his own organisation, and a token for him, which is shown once."""
    account = session.client.create_user(username, email_address=email)
    show_new_token(session, as_dict(account), f"user {account.username}", account.key)


@user.command("list")
@connected
def list_users(session: Session) -> None:
    """List all users."""
    users: list[UserAccount] = []
    cursor = None
    while True:
        page = session.client.list_users(limit=200, cursor=cursor)
        users += page.users
        cursor = page.next_cursor
        if cursor is None:
            break
    rows = [(each.username, each.email_address, each.is_admin, each.disabled, each.created_at) for each in users]
    session.console.show(
        {"users": [as_dict(each) for each in users], "next_cursor": None},
        lambda: session.console.table(("USERNAME", "EMAIL", "ADMIN", "DISABLED", "CREATED"), rows),
    )


@user.command("disable")
@click.argument("username")
@connected
def disable_user(session: Session, username: str) -> None:
    """Lock a user out; none of his tokens works any more."""
    account = session.client.set_user(username, disabled=True)
    session.console.show(as_dict(account), lambda: session.console.line(f"{account.username} is disabled."))


@user.command("enable")
@click.argument("username")
@connected
def enable_user(session: Session, username: str) -> None:
    """Let a disabled user in again."""
    account = session.client.set_user(username, disabled=False)
    session.console.show(as_dict(account), lambda: session.console.line(f"{account.username} is enabled."))


@user.command("token")
@click.argument("username")
@connected
def create_user_token(session: Session, username: str) -> None:
    """Make a new token for a user who lost his; it is shown once."""
    key = session.client.create_user_token(username)
    show_new_token(session, as_dict(key), f"user {username}", key.key)


@click.group()
def org() -> None:
    """Organisations."""


@org.command("create")
@click.argument("org")
@click.option("--name", metavar="TEXT", help="What people see, where the slug is not enough.")
@click.option("--owner", metavar="USERNAME", help="Its first owner, else you.")
@connected
def create_org(session: Session, org: str, name: str | None, owner: str | None) -> None:
    """Make an organisation (instance admins); ORG is its slug."""
    made = session.client.create_organization(org, name=name, owner=owner)
    session.console.show(as_dict(made), lambda: session.console.line(f"Made organisation {made.key}."))


@org.command("show")
@click.argument("org")
@connected
def show_org(session: Session, org: str) -> None:
    """Show one organisation."""
    found = session.client.get_organization(org)
    fields = {"slug": found.key, "name": found.name, "id": found.id, "created": found.created_at}
    session.console.show(as_dict(found), lambda: session.console.fields(fields))


@org.command("list")
@connected
def list_orgs(session: Session) -> None:
    """List the organisations you belong to."""
    found = session.client.list_organizations()
    rows = [(each.key, each.name, each.created_at) for each in found]
    session.console.show(
        [as_dict(each) for each in found], lambda: session.console.table(("ORG", "NAME", "CREATED"), rows)
    )


@click.group()
def member() -> None:
    """Who belongs to an organisation, as reader, contributor or owner."""


@member.command("list")
@click.argument("org")
@connected
def list_members(session: Session, org: str) -> None:
    """List the members of ORG."""
    members = session.client.list_members(org)
    rows = [(each.username, each.role, each.added_at) for each in members]
    session.console.show(
        {"members": [as_dict(each) for each in members]},
        lambda: session.console.table(("USERNAME", "ROLE", "ADDED"), rows),
    )


@member.command("add")
@click.argument("org")
@click.argument("username")
@click.option("--role", type=ROLES, default="reader", show_default=True, help="What he may do.")
@connected
def add_member(session: Session, org: str, username: str, role: str) -> None:
    """Add a user to ORG."""
    added = session.client.add_member(org, username, role)
    session.console.show(
        as_dict(added), lambda: session.console.line(f"{added.username} is {added.role} of {org} now.")
    )


@member.command("set-role")
@click.argument("org")
@click.argument("username")
@click.argument("role", type=ROLES)
@connected
def set_member_role(session: Session, org: str, username: str, role: str) -> None:
    """Change what a member of ORG may do."""
    changed = session.client.set_member_role(org, username, role)
    session.console.show(
        as_dict(changed), lambda: session.console.line(f"{changed.username} is {changed.role} of {org} now.")
    )


@member.command("remove")
@click.argument("org")
@click.argument("username")
@connected
def remove_member(session: Session, org: str, username: str) -> None:
    """Take a user out of ORG."""
    session.client.remove_member(org, username)
    session.console.show({"removed": username, "org": org}, lambda: session.console.line(f"{username} has left {org}."))
