"""What instance admins do: users, and new organisations."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response

from steelyard.server.core import accounts, orgs
from steelyard.server.core.access import allow_administering
from steelyard.server.core.limits import LimitedAction
from steelyard.server.db.tables import User
from steelyard.server.doors.web import fields
from steelyard.server.doors.web.calls import CallHere, WebCall, WebRoute, invalid
from steelyard.server.doors.web.pages import url_path
from steelyard.server.doors.web.person.token_pages import show_secret
from steelyard.server.names import OrgSlug

router = APIRouter(route_class=WebRoute)
ACCOUNTS = LimitedAction.ACCOUNTS
ROWS_ON_A_PAGE = 50
_LONGEST_ADDRESS = 320
_USERS = "/-/users"


@dataclass(frozen=True, slots=True)
class UserRow:
    """A user, as instance admins see him."""

    username: str
    email: str | None
    is_admin: bool
    is_disabled: bool
    made_at: datetime
    is_viewer: bool


# --- users


@router.get("/-/users")
def show_users(call: CallHere, cursor: Annotated[str | None, Query(pattern=r"^[0-9]{1,15}$")] = None) -> Response:
    """All users, oldest first."""
    with call.read(LimitedAction.SEARCH) as session:
        after_id = int(cursor) if cursor else None
        found = accounts.list_users(session, call.actor, limit=ROWS_ON_A_PAGE + 1, after_id=after_id)
    shown = found[:ROWS_ON_A_PAGE]
    return call.page(
        "users.html",
        title="Users",
        json_twin=url_path("api", "v1", "users", limit=str(ROWS_ON_A_PAGE), cursor=cursor),
        users=[_row(user, call) for user in shown],
        following=str(shown[-1].id) if len(found) > len(shown) else None,
        is_first=cursor is None,
        may_change=not call.actor.read_only,
    )


def _row(user: User, call: WebCall) -> UserRow:
    return UserRow(
        username=user.username,
        email=user.email_address,
        is_admin=user.is_admin,
        is_disabled=user.disabled_at is not None,
        made_at=user.created_at,
        is_viewer=user.id == call.actor.user_id,
    )


@router.post("/-/users")
def create_user(call: CallHere) -> Response:
    """Make a user, the organisation of his name, and his first token, shown this once."""
    username = fields.named(call, "username", OrgSlug.parse, "user name")
    with call.write(ACCOUNTS) as session:
        user, made = accounts.create_user(session, call.actor, username, _email(call))
    return show_secret(call, made, whose=f"{user.username}, who signs in with it", back=_USERS)


def _email(call: WebCall) -> str | None:
    """An address, if one was written. Raises `Invalid`."""
    text = fields.free_text(call, "email", "E-mail address", most=_LONGEST_ADDRESS)
    before, at, after = text.partition("@")
    if text and not (before and at and after and "@" not in after and text.isprintable() and " " not in text):
        raise invalid("E-mail address", "write one such as ada@example.com, or nothing.")
    return text or None


@router.post("/-/users/token")
def create_token_for_user(call: CallHere) -> Response:
    """Make a token for a user who lost his, shown this once."""
    username = fields.named(call, "username", OrgSlug.parse_any, "user name")
    with call.write(ACCOUNTS) as session:
        made = accounts.create_token_for(session, call.actor, username)
    return show_secret(call, made, whose=f"{username}, who signs in with it", back=_USERS)


@router.post("/-/users/change")
def change_user(call: CallHere) -> Response:
    """Disable or enable a user, or make him an instance admin or not."""
    username, change = fields.named(call, "username", OrgSlug.parse_any, "user name"), call.text("change")
    disabled = {"disable": True, "enable": False}.get(change)
    is_admin = {"make-admin": True, "unmake-admin": False}.get(change)
    if disabled is None and is_admin is None:
        raise invalid("Change", "choose one of those on the page.")
    with call.write(ACCOUNTS) as session:
        accounts.set_user(session, call.actor, username, disabled=disabled, is_admin=is_admin)
    return call.go(_USERS, notice=f"{username} is changed.")


# --- organisations


@router.get("/-/orgs/new")
def show_new_org(call: CallHere) -> Response:
    """What is asked of a new organisation."""
    allow_administering(call.actor)
    return call.page("new_org.html", title="New organisation", json_twin="/api/v1/user/organizations")


@router.post("/-/orgs/new")
def create_org(call: CallHere) -> Response:
    """Make an organisation with its first owner."""
    slug = fields.named(call, "key", OrgSlug.parse, "organisation")
    name = fields.free_text(call, "name", "Full name", most=fields.LONGEST_LABEL)
    owner = fields.parsed("owner", OrgSlug.parse_any, call.text("owner") or call.actor.name)
    with call.write(ACCOUNTS) as session:
        allow_administering(call.actor)
        orgs.create_org(session, call.actor, slug, name or None, accounts.get_user(session, owner))
    if owner != call.actor.name:
        return call.go("/", notice=f"{slug} is there, and {owner} owns it.")
    return call.go(url_path(slug), notice=f"{slug} is there, and you own it.")
