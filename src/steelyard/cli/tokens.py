"""`steelyard token` and `service`: tokens of one's own, and robots that have tokens and no person."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from steelyard.cli.console import as_dict
from steelyard.cli.session import ROLES, Session, connected

if TYPE_CHECKING:
    from steelyard.client.types import ApiKey

_ACCESS = click.Choice(["read", "write"])
_SPAN = re.compile(r"(\d{1,4})([hdw])")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def show_new_token(session: Session, raw: Mapping[str, Any], whose: str, key: str | None) -> None:
    """A token that is shown this once."""

    def human() -> None:
        session.console.say(f"A token for {whose}. It is shown this once:")
        session.console.line(key or "")

    session.console.show(dict(raw), human)


class Expiry(click.ParamType[str]):
    """A span (12h, 30d, 8w) or a moment (ISO 8601), as the ISO 8601 moment in UTC that the registry takes."""

    name = "expiry"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if match := _SPAN.fullmatch(value):
            moment = datetime.now(UTC) + timedelta(**{_UNITS[match[2]]: int(match[1])})
        else:
            try:
                moment = datetime.fromisoformat(value)
            except ValueError:
                self.fail(
                    f"{value!r} is neither a span like 30d or 12h nor a time like 2030-01-31T00:00:00Z", param, ctx
                )
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _list_keys(session: Session, keys: "Sequence[ApiKey]") -> None:
    rows = [
        (each.id, each.name, each.org, each.access, each.created_at, each.expires_at, each.last_used_at)
        for each in keys
    ]
    headers = ("ID", "NAME", "ORG", "ACCESS", "CREATED", "EXPIRES", "LAST USED")
    session.console.show({"api_keys": [as_dict(each) for each in keys]}, lambda: session.console.table(headers, rows))


@click.group()
def token() -> None:
    """Your own tokens. One may be narrowed to an organisation, to reading, or in time."""


@token.command("create")
@click.argument("name")
@click.option("--org", metavar="ORG", help="Good for this organisation only.")
@click.option("--access", type=_ACCESS, help="`read`: good for reading only.")
@click.option("--expires", type=Expiry(), metavar="WHEN", help="After a span (12h, 30d, 8w) or at a time (ISO 8601).")
@connected
def create_token(session: Session, name: str, org: str | None, access: str | None, expires: str | None) -> None:
    """Make a token called NAME; it is shown once."""
    key = session.client.create_api_key(name, org=org, access=access, expires_at=expires)
    show_new_token(session, as_dict(key), f"you, called {name}", key.key)


@token.command("list")
@connected
def list_tokens(session: Session) -> None:
    """List your tokens, without their secrets."""
    _list_keys(session, session.client.list_api_keys())


@token.command("revoke")
@click.argument("token_id", metavar="ID")
@connected
def revoke_token(session: Session, token_id: str) -> None:
    """End a token of yours; ID as `steelyard token list` shows it."""
    session.client.delete_api_key(token_id)
    session.console.show({"revoked": token_id}, lambda: session.console.line(f"Token {token_id} is revoked."))


@click.group()
def service() -> None:
    """Service accounts of an organisation: they have tokens and no person."""


@service.command("list")
@click.argument("org")
@connected
def list_services(session: Session, org: str) -> None:
    """List the service accounts of ORG."""
    accounts = session.client.list_service_accounts(org)
    rows = [(each.name, each.role, each.created_at) for each in accounts]
    session.console.show(
        {"service_accounts": [as_dict(each) for each in accounts]},
        lambda: session.console.table(("NAME", "ROLE", "CREATED"), rows),
    )


@service.command("add")
@click.argument("org")
@click.argument("name")
@click.option("--role", type=ROLES, default="reader", show_default=True, help="What it may do.")
@connected
def add_service(session: Session, org: str, name: str, role: str) -> None:
    """Add a service account to ORG; `steelyard service token` gives it a token."""
    made = session.client.create_service_account(org, name, role)
    session.console.show(as_dict(made), lambda: session.console.line(f"{made.name} is {made.role} of {org} now."))


@service.command("role")
@click.argument("org")
@click.argument("name")
@click.argument("role", type=ROLES)
@connected
def set_service_role(session: Session, org: str, name: str, role: str) -> None:
    """Change what a service account of ORG may do."""
    changed = session.client.set_service_account_role(org, name, role)
    session.console.show(
        as_dict(changed), lambda: session.console.line(f"{changed.name} is {changed.role} of {org} now.")
    )


@service.command("remove")
@click.argument("org")
@click.argument("name")
@connected
def remove_service(session: Session, org: str, name: str) -> None:
    """Remove a service account of ORG, its tokens with it."""
    session.client.remove_service_account(org, name)
    session.console.show({"removed": name, "org": org}, lambda: session.console.line(f"{name} has left {org}."))


@service.command("token")
@click.argument("org")
@click.argument("name")
@click.option("--label", metavar="TEXT", help="What to call the token.")
@click.option("--access", type=_ACCESS, help="`read`: good for reading only.")
@click.option("--expires", type=Expiry(), metavar="WHEN", help="After a span (12h, 30d, 8w) or at a time (ISO 8601).")
@connected
def create_service_token(
    session: Session, org: str, name: str, label: str | None, access: str | None, expires: str | None
) -> None:
    """Make a token for a service account of ORG; it is shown once."""
    key = session.client.create_service_account_key(org, name, key_name=label, access=access, expires_at=expires)
    show_new_token(session, as_dict(key), f"service account {name} of {org}", key.key)


@service.command("tokens")
@click.argument("org")
@click.argument("name")
@connected
def list_service_tokens(session: Session, org: str, name: str) -> None:
    """List the tokens of a service account of ORG, without their secrets."""
    _list_keys(session, session.client.list_service_account_keys(org, name))


@service.command("revoke")
@click.argument("org")
@click.argument("name")
@click.argument("token_id", metavar="ID")
@connected
def revoke_service_token(session: Session, org: str, name: str, token_id: str) -> None:
    """End a token of a service account of ORG."""
    session.client.delete_service_account_key(org, name, token_id)
    session.console.show({"revoked": token_id}, lambda: session.console.line(f"Token {token_id} is revoked."))
